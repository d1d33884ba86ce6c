/**
 * The window of appends that were sent to one follower and not yet acknowledged.
 * Owns only the last index of each such message; Progress decides what fullness means.
 */
import { InvariantError } from "../errors.ts";
import type { Index } from "../types.ts";

export class Inflights {
  readonly #capacity: number;
  /** Ascending last indices, oldest at `#start`. */
  #ring: Index[] = [];
  #start = 0;
  #count = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.#capacity;
  }

  /** Notes a sent message that ends with entry `last`. */
  add(last: Index): void {
    if (this.isFull) throw new InvariantError(`Cannot add ${last} to a full window of ${this.#capacity}`);
    this.#ring[(this.#start + this.#count) % this.#capacity] = last;
    this.#count++;
  }

  /** Frees every message whose last entry is at or below `index`. */
  freeTo(index: Index): void {
    while (this.#count > 0 && this.#ring[this.#start]! <= index) {
      this.#start = (this.#start + 1) % this.#capacity;
      this.#count--;
    }
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
  }
}
