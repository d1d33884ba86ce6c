/**
 * Backlog: the records that one peer has not acknowledged, oldest first, in fixed memory. Beside each record it keeps when the
 * record was taken from the changes ring and which change of the owner it is.
 * Owns memory and order; what was sent is the sender's business.
 *
 *      first unacknowledged (sequence head)            next to append
 *        v                                               v
 *   | . | r | r | r | r | r | r | r | r | r | r | r | r | . | . |
 */
import { RECORD_BYTES } from "../../src/base/record.ts";

export class Backlog {
  readonly capacity: number;
  /** Read with wordAt(). */
  readonly words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #publishedMs: Float64Array;
  readonly #change: Float64Array;
  readonly #mask: number;
  readonly #recordWords: number;
  #head = 0;
  #length = 0;

  /** `capacity` is a power of two. */
  constructor(capacity: number, recordBytes = RECORD_BYTES) {
    this.capacity = capacity;
    this.#recordWords = recordBytes / 4;
    this.words = new Uint32Array(capacity * this.#recordWords);
    this.#bytes = new Uint8Array(this.words.buffer);
    this.#publishedMs = new Float64Array(capacity);
    this.#change = new Float64Array(capacity);
    this.#mask = capacity - 1;
  }

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length === this.capacity;
  }

  /** Copies the record at word `at` of `words`; the backlog must not be full. */
  append(words: Uint32Array, at: number, change: number, publishedMs: number): void {
    const cell = (this.#head + this.#length) & this.#mask;
    const recordWords = this.#recordWords;
    const to = cell * recordWords;
    const own = this.words;
    for (let i = 0; i < recordWords; i++) own[to + i] = words[at + i]!;
    this.#publishedMs[cell] = publishedMs;
    this.#change[cell] = change;
    this.#length++;
  }

  /** Forgets the oldest `count` records. */
  release(count: number): void {
    this.#head = (this.#head + count) & this.#mask;
    this.#length -= count;
  }

  clear(): void {
    this.release(this.#length);
  }

  /** When the i-th record (0 = oldest) was taken from the ring. */
  publishedMs(i: number): number {
    return this.#publishedMs[(this.#head + i) & this.#mask]!;
  }

  /** The owner's count of changes at the i-th record, itself included. */
  change(i: number): number {
    return this.#change[(this.#head + i) & this.#mask]!;
  }

  /** Word offset of the i-th record. */
  wordAt(i: number): number {
    return ((this.#head + i) & this.#mask) * this.#recordWords;
  }

  /** How many of `count` records from the i-th on lie in one piece. */
  contiguous(i: number, count: number): number {
    return Math.min(count, this.capacity - ((this.#head + i) & this.#mask));
  }

  /** The bytes of `count` records from the i-th on, which must lie in one piece. Valid until they are released. */
  slab(i: number, count: number): Uint8Array {
    const recordBytes = this.#recordWords * 4;
    const from = ((this.#head + i) & this.#mask) * recordBytes;
    return this.#bytes.subarray(from, from + count * recordBytes);
  }
}
