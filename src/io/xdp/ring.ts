/**
 * XSK ring: one of the four rings between an XDP socket and the kernel, mapped into this process. Owns the indices and
 * their memory order; does not own what an entry means (queue.ts).
 *
 *   words:  | producer | . | consumer | . | flags | . . | entry 0 | entry 1 | ... |
 *
 * Indices run freely, modulo 2^32. Each ring has one producer and one consumer, one of which is the kernel, on another
 * CPU. Order matters: an entry must be seen before the index that covers it, and be read after it. Atomics give that:
 * their loads and stores are sequentially consistent on every CPU that Node.js runs on, no compiler moves an access
 * across them, and they work on any integer array, shared or not. They are called once per batch; the entries
 * themselves are plain accesses.
 */
import { errno, MAP_POPULATE, MAP_SHARED, map, munmap, type Pointer } from "../libc.ts";
import { SystemError } from "./errors.ts";

const NEED_WAKEUP = 1;
const INVALID = -1;

/** Byte offsets inside a ring's mapping, as XDP_MMAP_OFFSETS tells them. */
export interface RingOffsets {
  readonly producer: number;
  readonly consumer: number;
  readonly entries: number;
  readonly flags: number;
}

abstract class XskRing {
  readonly capacity: number;
  protected readonly words: Int32Array;
  protected readonly mask: number;
  protected readonly entriesAt: number;
  protected readonly wordsPerEntry: number;
  protected readonly producerAt: number;
  protected readonly consumerAt: number;
  readonly #flagsAt: number;
  readonly #pointer: Pointer;
  readonly #lengthBytes: number;

  constructor(fd: number, pageOffset: number, offsets: RingOffsets, capacity: number, entryBytes: number) {
    this.#lengthBytes = offsets.entries + capacity * entryBytes;
    const mapping = map(this.#lengthBytes, MAP_SHARED | MAP_POPULATE, fd, pageOffset);
    if (mapping === undefined) throw new SystemError("mapping an XDP ring", errno());
    this.#pointer = mapping.pointer;
    this.words = new Int32Array(mapping.memory);
    this.capacity = capacity;
    this.mask = capacity - 1;
    this.entriesAt = offsets.entries >>> 2;
    this.wordsPerEntry = entryBytes >>> 2;
    this.producerAt = offsets.producer >>> 2;
    this.consumerAt = offsets.consumer >>> 2;
    this.#flagsAt = offsets.flags >>> 2;
  }

  /** True when the kernel sleeps and must be called to look at this ring. */
  needsWakeup(): boolean {
    return (Atomics.load(this.words, this.#flagsAt) & NEED_WAKEUP) !== 0;
  }

  /** After this the ring must not be touched: its memory is gone. */
  unmap(): void {
    munmap(this.#pointer, this.#lengthBytes);
  }
}

/** We produce, the kernel consumes: fill and tx. */
export class ProducerRing extends XskRing {
  #producer = 0;
  /** The kernel's index, as last read: room is never less than it says. */
  #consumer = 0;

  /** Entries that can be pushed; looks at the kernel's index only when `wanted` do not fit what is known. */
  room(wanted: number): number {
    const known = this.capacity - ((this.#producer - this.#consumer) | 0);
    if (known >= wanted) return known;
    this.#consumer = Atomics.load(this.words, this.consumerAt);
    return this.capacity - ((this.#producer - this.#consumer) | 0);
  }

  /** Writes an entry; seen by the kernel after publish(). Ask room() first. */
  push(at: number, lengthBytes: number): void {
    const word = this.entriesAt + (this.#producer & this.mask) * this.wordsPerEntry;
    this.words[word] = at;
    this.words[word + 1] = 0;
    if (this.wordsPerEntry === 4) {
      this.words[word + 2] = lengthBytes;
      this.words[word + 3] = 0;
    }
    this.#producer = (this.#producer + 1) | 0;
  }

  publish(): void {
    Atomics.store(this.words, this.producerAt, this.#producer);
  }

  /** Published entries that the kernel has not taken. */
  pending(): number {
    this.#consumer = Atomics.load(this.words, this.consumerAt);
    return (this.#producer - this.#consumer) | 0;
  }

  /** Frame offset in the i-th pending entry. */
  pendingAt(i: number): number {
    return this.words[this.#pendingWord(i)]! >>> 0;
  }

  pendingLengthBytes(i: number): number {
    return this.words[this.#pendingWord(i) + 2]!;
  }

  /** Makes the i-th pending entry one that the kernel skips: its address is beyond the memory. */
  invalidate(i: number): void {
    const word = this.#pendingWord(i);
    this.words[word] = INVALID;
    this.words[word + 1] = INVALID;
  }

  isInvalid(i: number): boolean {
    return this.words[this.#pendingWord(i) + 1] === INVALID;
  }

  #pendingWord(i: number): number {
    return this.entriesAt + ((this.#consumer + i) & this.mask) * this.wordsPerEntry;
  }
}

/** The kernel produces, we consume: completion and rx. */
export class ConsumerRing extends XskRing {
  #consumer = 0;

  /** Entries that wait. */
  waiting(): number {
    return (Atomics.load(this.words, this.producerAt) - this.#consumer) | 0;
  }

  /** Frame offset in the i-th waiting entry. A pool is smaller than 4 GiB, so the low word is all of it. */
  at(i: number): number {
    return this.words[this.entriesAt + ((this.#consumer + i) & this.mask) * this.wordsPerEntry]! >>> 0;
  }

  /** Frame length in the i-th waiting entry (rx only). */
  lengthBytes(i: number): number {
    return this.words[this.entriesAt + ((this.#consumer + i) & this.mask) * this.wordsPerEntry + 2]!;
  }

  /** Gives the oldest `count` entries back to the kernel. */
  release(count: number): void {
    this.#consumer = (this.#consumer + count) | 0;
    Atomics.store(this.words, this.consumerAt, this.#consumer);
  }
}
