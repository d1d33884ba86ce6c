/**
 * Linked lists: items 0..n-1, each in at most one of several doubly linked lists, without allocation. Owns the links only.
 */
import { NONE } from "./flow-layout.ts";

/** The links of items that are all free: each to the one behind it. */
export function freeLinks(items: number): Int32Array {
  const next = new Int32Array(items);
  for (let item = 0; item < items; item++) next[item] = item + 1 < items ? item + 1 : NONE;
  return next;
}

export class LinkedLists {
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;

  constructor(items: number, lists: number) {
    this.#heads = new Int32Array(lists).fill(NONE);
    this.#tails = new Int32Array(lists).fill(NONE);
    this.#next = new Int32Array(items).fill(NONE);
    this.#previous = new Int32Array(items).fill(NONE);
  }

  /** The item that was appended first, or NONE. */
  head(list: number): number {
    return this.#heads[list]!;
  }

  /** The item behind another one, or NONE. */
  next(item: number): number {
    return this.#next[item]!;
  }

  append(list: number, item: number): void {
    const tail = this.#tails[list]!;
    this.#next[item] = NONE;
    this.#previous[item] = tail;
    if (tail === NONE) this.#heads[list] = item;
    else this.#next[tail] = item;
    this.#tails[list] = item;
  }

  /** Takes an item out of the list that it is in. */
  remove(list: number, item: number): void {
    const next = this.#next[item]!;
    const previous = this.#previous[item]!;
    if (next === NONE) this.#tails[list] = previous;
    else this.#previous[next] = previous;
    if (previous === NONE) this.#heads[list] = next;
    else this.#next[previous] = next;
  }
}
