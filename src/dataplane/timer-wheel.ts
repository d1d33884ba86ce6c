/**
 * Timer wheel: a hashed wheel of rows by deadline, intrusive in the flow table's words. Owns when a row is looked at again;
 * what happens then is the engine's. A later deadline costs nothing: the row is looked at at its old time and put back.
 *
 *   buckets:  | 0 | 1 | 2 | ... | 8191 |     one bucket = 32 ms, one turn = 262 s; beyond: looked at once a turn
 *               ^ cursor
 */
import { F_WHEEL_BUCKET, F_WHEEL_NEXT, F_WHEEL_PREVIOUS, NONE, ROW_WORDS } from "./flow-layout.ts";

export const WHEEL_BUCKETS = 8192;
const MASK = WHEEL_BUCKETS - 1;
const BUCKET_MS = 32;
/** A row is put at most this far ahead, so that a bucket never holds rows of two turns. */
const REACH_BUCKETS = WHEEL_BUCKETS - 2;

export class TimerWheel {
  readonly #words: Int32Array;
  readonly #heads: Int32Array;
  /** Bucket number (not masked) that is due next; -1 before start(). */
  #cursor = -1;
  #due = -1;

  constructor(words: Int32Array, heads: Int32Array) {
    this.#words = words;
    this.#heads = heads;
  }

  /** Tells a wheel that has not turned yet what time it is: nothing can be filed before. Later calls do nothing. */
  start(nowMs: Float64Array): void {
    if (this.#cursor < 0) this.#cursor = Math.floor(nowMs[0]! / BUCKET_MS);
  }

  /** Files a row to be looked at when `deadlineMs[index]` has passed. */
  add(row: number, deadlines: Float64Array, index: number): void {
    let bucket = Math.ceil(deadlines[index]! / BUCKET_MS);
    if (bucket < this.#cursor) bucket = this.#cursor;
    if (bucket > this.#cursor + REACH_BUCKETS) bucket = this.#cursor + REACH_BUCKETS;
    const cell = bucket & MASK;
    const at = row * ROW_WORDS;
    const next = this.#heads[cell]!;
    this.#words[at + F_WHEEL_BUCKET] = cell;
    this.#words[at + F_WHEEL_NEXT] = next;
    this.#words[at + F_WHEEL_PREVIOUS] = NONE;
    if (next !== NONE) this.#words[next * ROW_WORDS + F_WHEEL_PREVIOUS] = row;
    this.#heads[cell] = row;
  }

  remove(row: number): void {
    const words = this.#words;
    const at = row * ROW_WORDS;
    const next = words[at + F_WHEEL_NEXT]!;
    const previous = words[at + F_WHEEL_PREVIOUS]!;
    if (next !== NONE) words[next * ROW_WORDS + F_WHEEL_PREVIOUS] = previous;
    if (previous !== NONE) words[previous * ROW_WORDS + F_WHEEL_NEXT] = next;
    else this.#heads[words[at + F_WHEEL_BUCKET]!] = next;
  }

  /** Sets the time up to which takeDue() may go: `nowMs[0]`. */
  advance(nowMs: Float64Array): void {
    this.start(nowMs);
    this.#due = Math.floor(nowMs[0]! / BUCKET_MS);
    // After a long pause every cell is due; each needs one visit only.
    if (this.#due - this.#cursor > WHEEL_BUCKETS) this.#cursor = this.#due - WHEEL_BUCKETS;
  }

  /** When a row may be due that is in the bucket at hand; later ones are not looked for. Infinity: none is there. */
  dueMs(): number {
    return this.#heads[this.#cursor & MASK] === NONE ? Number.POSITIVE_INFINITY : this.#cursor * BUCKET_MS;
  }

  /** A row whose time has come, taken out of the wheel (the caller adds it again or frees it); NONE when all are done. */
  takeDue(): number {
    while (this.#cursor <= this.#due) {
      const row = this.#heads[this.#cursor & MASK]!;
      if (row !== NONE) {
        this.remove(row);
        return row;
      }
      this.#cursor++;
    }
    return NONE;
  }
}
