/**
 * MAC table: where a bridge last saw a source address. Fixed capacity, open addressing, no allocation after the start;
 * when it is three quarters full it forgets everything, as a small switch does.
 */
import { assert } from "../base/assert.ts";

const EMPTY = -1;

export class MacTable {
  readonly #mask: number;
  readonly #high: Uint16Array;
  readonly #low: Uint32Array;
  readonly #where: Int16Array;
  #used = 0;

  /** `capacity` must be a power of two. */
  constructor(capacity: number) {
    assert((capacity & (capacity - 1)) === 0, `MAC table capacity ${capacity} is not a power of two`);
    this.#mask = capacity - 1;
    this.#high = new Uint16Array(capacity);
    this.#low = new Uint32Array(capacity);
    this.#where = new Int16Array(capacity).fill(EMPTY);
  }

  /** The address at `at` was seen at `where` (0 or more). Group addresses are no sources and are ignored. */
  learn(bytes: Uint8Array, at: number, where: number): void {
    if ((bytes[at]! & 1) !== 0) return;
    let slot = this.#slot(bytes, at);
    if (this.#where[slot] === EMPTY) {
      if (this.#used * 4 >= this.#mask * 3) {
        this.clear();
        slot = this.#slot(bytes, at);
      }
      this.#used++;
      this.#high[slot] = high(bytes, at);
      this.#low[slot] = low(bytes, at);
    }
    this.#where[slot] = where;
  }

  /** Where the address at `at` is, or -1. */
  find(bytes: Uint8Array, at: number): number {
    return this.#where[this.#slot(bytes, at)]!;
  }

  /** Forgets all addresses seen at `where`. */
  forget(where: number): void {
    // Taking single entries out would break probe chains; addresses are learned again soon enough.
    if (this.#where.includes(where)) this.clear();
  }

  clear(): void {
    this.#where.fill(EMPTY);
    this.#used = 0;
  }

  #slot(bytes: Uint8Array, at: number): number {
    const h = high(bytes, at);
    const l = low(bytes, at);
    let slot = (Math.imul(l ^ (h << 7), 0x9e3779b1) >>> 15) & this.#mask;
    while (this.#where[slot] !== EMPTY && (this.#high[slot] !== h || this.#low[slot] !== l)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

function high(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function low(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
}
