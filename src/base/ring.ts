/**
 * Record ring: a single-producer, single-consumer queue of fixed-size records between two threads, over one
 * SharedArrayBuffer. Owns order, capacity and the doorbell flag; does not own what a record means.
 *
 *      head (consumer)            tail (producer)
 *        v                          v
 *   | . | r | r | r | r | r | r | . | . |        tail - head = records waiting
 *
 * Doorbell: a consumer that is about to sleep calls arm(); a producer that published calls takeArmed() and, when
 * true, wakes the consumer once. Nothing is posted per record. A consumer that was awake a moment ago may ask to be woken
 * only from a later moment on, so that more gathers; the producer has to look again then.
 *
 * What can wait: a consumer that cannot get rid of what it takes holds the producer back, which then publishes only what is urgent.
 */
import { assert } from "./assert.ts";

const HEAD = 0;
const TAIL = 1;
const ARMED = 2;
const REFUSED = 3;
const ENOUGH = 4;
const HELD_BACK = 5;
/** In the header's view as Float64. */
const FROM_MS = 4;
const HEADER_BYTES = 64;

/** What a thread needs to attach to a ring that another made. Structured-cloneable. */
export interface RingMemory {
  readonly buffer: SharedArrayBuffer;
  readonly recordBytes: number;
  readonly capacity: number;
}

/** Allocates a ring. `capacity` must be a power of two. */
export function createRing(recordBytes: number, capacity: number): RingMemory {
  assert(
    capacity > 0 && (capacity & (capacity - 1)) === 0,
    `ring capacity ${capacity} is not a power of two`,
  );
  assert(recordBytes % 4 === 0, `record size ${recordBytes} is not a multiple of 4`);
  return { buffer: new SharedArrayBuffer(HEADER_BYTES + recordBytes * capacity), recordBytes, capacity };
}

/** One side's view of a ring. A process must use it as producer or as consumer, never both from two threads. */
export class RecordRing {
  /** All records; a record starts at the offset that reserve() or at() gives. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly recordBytes: number;
  readonly capacity: number;
  readonly #control: Int32Array;
  readonly #times: Float64Array;
  readonly #mask: number;

  constructor(memory: RingMemory) {
    this.#control = new Int32Array(memory.buffer, 0, HEADER_BYTES / 4);
    this.#times = new Float64Array(memory.buffer, 0, HEADER_BYTES / 8);
    this.bytes = new Uint8Array(memory.buffer, HEADER_BYTES);
    this.view = new DataView(memory.buffer, HEADER_BYTES);
    this.recordBytes = memory.recordBytes;
    this.capacity = memory.capacity;
    this.#mask = memory.capacity - 1;
  }

  /** Producer: byte offset of a free record, or -1 when the ring is full (counted in refused()). */
  reserve(): number {
    const tail = Atomics.load(this.#control, TAIL);
    if (((tail - Atomics.load(this.#control, HEAD)) | 0) >= this.capacity) {
      Atomics.add(this.#control, REFUSED, 1);
      return -1;
    }
    return (tail & this.#mask) * this.recordBytes;
  }

  /** Producer: hands the record that reserve() gave to the consumer. */
  publish(): void {
    Atomics.store(this.#control, TAIL, (Atomics.load(this.#control, TAIL) + 1) | 0);
  }

  /**
   * Producer: true once after the consumer armed the doorbell; then wake it. `nowMs`: not before the moment that the consumer
   * named, unless enough waits.
   */
  takeArmed(nowMs = Number.POSITIVE_INFINITY): boolean {
    if (Atomics.load(this.#control, ARMED) !== 1) return false;
    if (nowMs < this.#times[FROM_MS]! && this.length() < this.#control[ENOUGH]!) return false;
    return Atomics.exchange(this.#control, ARMED, 0) === 1;
  }

  /** Producer: records wait for which the consumer asked to be woken, and was not yet. */
  get isRingDue(): boolean {
    return this.length() > 0 && Atomics.load(this.#control, ARMED) === 1;
  }

  /** Producer: what can wait is to wait. */
  get isHeldBack(): boolean {
    return Atomics.load(this.#control, HELD_BACK) === 1;
  }

  /** Records waiting. */
  length(): number {
    return (Atomics.load(this.#control, TAIL) - Atomics.load(this.#control, HEAD)) | 0;
  }

  /** Records that were refused because the ring was full, modulo 2^32. */
  refused(): number {
    return Atomics.load(this.#control, REFUSED) >>> 0;
  }

  /** Consumer: byte offset of the i-th waiting record (0 = oldest); i < length(). */
  at(i: number): number {
    return ((Atomics.load(this.#control, HEAD) + i) & this.#mask) * this.recordBytes;
  }

  /** Consumer: gives the oldest `count` records back to the producer. */
  release(count: number): void {
    Atomics.store(this.#control, HEAD, (Atomics.load(this.#control, HEAD) + count) | 0);
  }

  /** Consumer: whether what can wait is to wait. Nobody is woken: the producer looks by itself. */
  holdBack(isHeld: boolean): void {
    const value = isHeld ? 1 : 0;
    if (this.#control[HELD_BACK] !== value) Atomics.store(this.#control, HELD_BACK, value);
  }

  /** Consumer: asks for a wake-up. False when records came meanwhile: then read on instead of sleeping. */
  arm(): boolean {
    return this.armFrom(Number.NEGATIVE_INFINITY, 1);
  }

  /** Consumer: the same, from `fromMs` on or when `enough` records wait. False when that many came meanwhile. */
  armFrom(fromMs: number, enough: number): boolean {
    this.#times[FROM_MS] = fromMs;
    this.#control[ENOUGH] = enough;
    Atomics.store(this.#control, ARMED, 1);
    if (this.length() < enough) return true;
    Atomics.store(this.#control, ARMED, 0);
    return false;
  }
}
