/**
 * Interval map: longest-prefix match by binary search over disjoint intervals, made once from the policy.
 *
 *   0.0.0.0/0 -> a, 10.0.0.0/8 -> b:    | 0.0.0.0: a | 10.0.0.0: b | 11.0.0.0: a |
 */
import type { Prefix } from "./policy-model.ts";

/** What find() answers when no prefix holds the address. */
export const NO_INTERVAL = -1;

export interface PrefixValue {
  readonly prefix: Prefix;
  readonly value: number;
}

export class IntervalMap {
  /** First addresses of the intervals, biased so that signed order is address order. */
  readonly #starts: Int32Array;
  readonly #values: Int32Array;

  /** Of equal prefixes the first stays. */
  constructor(entries: readonly PrefixValue[]) {
    const bounds = new Set<number>([0]);
    for (const { prefix } of entries) {
      bounds.add(firstOf(prefix));
      const after = lastOf(prefix) + 1;
      if (after <= 0xffffffff) bounds.add(after);
    }
    const starts = [...bounds].sort((a, b) => a - b);
    const position = new Map(starts.map((start, i) => [start, i]));
    const values = new Int32Array(starts.length).fill(NO_INTERVAL);
    // Painted from the shortest prefix to the longest, each over what it refines; reversed, so the first of equals wins.
    const order = entries.map((_, i) => i).reverse();
    order.sort((a, b) => entries[a]!.prefix.bits - entries[b]!.prefix.bits || b - a);
    for (const i of order) {
      const { prefix, value } = entries[i]!;
      const from = position.get(firstOf(prefix))!;
      const to = position.get(lastOf(prefix) + 1) ?? starts.length;
      values.fill(value, from, to);
    }
    this.#starts = Int32Array.from(starts, bias);
    this.#values = values;
  }

  /** The value of the longest prefix that holds the address, or NO_INTERVAL. */
  find(address: number): number {
    const key = bias(address);
    const starts = this.#starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= key) low = middle;
      else high = middle - 1;
    }
    return this.#values[low]!;
  }
}

/** Maps address order onto the order of signed integers. */
export function bias(address: number): number {
  return (address ^ 0x80000000) | 0;
}

/** First address of a prefix, unsigned. */
export function firstOf(prefix: Prefix): number {
  return (prefix.address & maskOf(prefix.bits)) >>> 0;
}

/** Last address of a prefix, unsigned. */
export function lastOf(prefix: Prefix): number {
  return (prefix.address | ~maskOf(prefix.bits)) >>> 0;
}

function maskOf(bits: number): number {
  return bits === 0 ? 0 : (-1 << (32 - bits)) | 0;
}
