/**
 * Prefix map: longest-prefix match for both families by binary search over disjoint intervals, made once from the policy.
 *
 *   0.0.0.0/0 -> a, 10.0.0.0/8 -> b:    | 0.0.0.0: a | 10.0.0.0: b | 11.0.0.0: a |
 *
 * IPv4 and IPv6 have a list of intervals each, so that ::/0 says nothing of IPv4. A map with marks answers two questions in one
 * look-up: find() gives value * 2, and one more where a marked prefix holds the address too.
 */
import { ADDRESS_WORDS, compareAddress, isIpv4, listWords, widthOf } from "../base/address.ts";
import type { Prefix } from "./policy-model.ts";

/** What find() answers when no prefix holds the address. */
export const NO_INTERVAL = -1;

export interface PrefixValue {
  readonly prefix: Prefix;
  readonly value: number;
}

export class PrefixMap {
  /** First addresses of the intervals: IPv4 ones biased so that signed order is address order, IPv6 ones in four words. */
  readonly #starts4: Int32Array;
  readonly #values4: Int32Array;
  readonly #starts6: Int32Array;
  readonly #values6: Int32Array;

  /** Of equal prefixes the first stays. `marked`: makes a map with marks. */
  constructor(entries: readonly PrefixValue[], marked?: readonly Prefix[]) {
    const four = intervals(
      entries.filter(({ prefix }) => isIpv4Prefix(prefix)),
      marked?.filter(isIpv4Prefix),
      1n << 32n,
    );
    this.#starts4 = Int32Array.from(four.starts, (start) => bias(Number(start)));
    this.#values4 = four.values;
    const six = intervals(
      entries.filter(({ prefix }) => !isIpv4Prefix(prefix)),
      marked?.filter((prefix) => !isIpv4Prefix(prefix)),
      1n << 128n,
    );
    this.#starts6 = listWords(six.starts);
    this.#values6 = six.values;
  }

  /** The value of the longest prefix that holds the address at `words[at]`, or NO_INTERVAL. */
  find(words: Int32Array, at: number): number {
    return isIpv4(words, at) ? this.#find4(words[at + 3]!) : this.#find6(words, at);
  }

  #find4(address: number): number {
    const key = bias(address);
    const starts = this.#starts4;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= key) low = middle;
      else high = middle - 1;
    }
    return this.#values4[low]!;
  }

  #find6(words: Int32Array, at: number): number {
    const starts = this.#starts6;
    let low = 0;
    let high = this.#values6.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (compareAddress(starts, middle * ADDRESS_WORDS, words, at) <= 0) low = middle;
      else high = middle - 1;
    }
    return this.#values6[low]!;
  }
}

/** Prefixes of which it only matters whether one holds an address. */
export class PrefixSet {
  readonly #map: PrefixMap;

  constructor(prefixes: readonly Prefix[]) {
    this.#map = new PrefixMap(prefixes.map((prefix) => ({ prefix, value: 1 })));
  }

  has(words: Int32Array, at: number): boolean {
    return this.#map.find(words, at) !== NO_INTERVAL;
  }
}

/** Disjoint intervals that cover all addresses of a family below `end`: first addresses, ascending from 0, and values. */
function intervals(
  entries: readonly PrefixValue[],
  marked: readonly Prefix[] | undefined,
  end: bigint,
): { starts: bigint[]; values: Int32Array } {
  const bounds = new Set<bigint>([0n]);
  for (const prefix of [...entries.map((entry) => entry.prefix), ...(marked ?? [])]) {
    bounds.add(firstOf(prefix));
    const after = lastOf(prefix) + 1n;
    if (after < end) bounds.add(after);
  }
  const starts = [...bounds].sort((a, b) => (a < b ? -1 : 1));
  const position = new Map(starts.map((start, i) => [start, i]));
  const values = new Int32Array(starts.length).fill(NO_INTERVAL);
  const paint = (prefix: Prefix, to: Int32Array, value: number): void => {
    to.fill(value, position.get(firstOf(prefix))!, position.get(lastOf(prefix) + 1n) ?? starts.length);
  };
  // Painted from the shortest prefix to the longest, each over what it refines; reversed, so the first of equals wins.
  const order = entries.map((_, i) => i);
  order.sort((a, b) => entries[a]!.prefix.bits - entries[b]!.prefix.bits || b - a);
  for (const i of order) paint(entries[i]!.prefix, values, entries[i]!.value);
  if (marked === undefined) return { starts, values };
  const marks = new Int32Array(starts.length);
  for (const prefix of marked) paint(prefix, marks, 1);
  return { starts, values: values.map((value, i) => value * 2 + marks[i]!) };
}

export function isIpv4Prefix(prefix: Prefix): boolean {
  return typeof prefix.address === "number";
}

/** Whether two prefixes hold the same addresses. */
export function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return isIpv4Prefix(a) === isIpv4Prefix(b) && a.bits === b.bits && firstOf(a) === firstOf(b);
}

/** Maps IPv4 address order onto the order of signed integers. */
export function bias(address: number): number {
  return (address ^ 0x80000000) | 0;
}

/** First address of a prefix, as a number of its family's width. */
export function firstOf(prefix: Prefix): bigint {
  const host = hostMask(prefix);
  return BigInt(prefix.address) & ~host;
}

/** Last address of a prefix. */
export function lastOf(prefix: Prefix): bigint {
  return firstOf(prefix) | hostMask(prefix);
}

function hostMask(prefix: Prefix): bigint {
  return (1n << BigInt(widthOf(prefix.address) - prefix.bits)) - 1n;
}
