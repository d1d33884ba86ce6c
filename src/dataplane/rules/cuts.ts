/**
 * Cuts: a field, cut where any line's wanted values begin or end. Inside an interval all values are alike to all lines.
 * Owns the way from a value to its interval, and which intervals a line wants. Does not own sets of lines (axis.ts). What a look-up
 * needs is plain arrays, so that another thread can make them.
 *
 *   line 0 (any)          ---------------------------------------------
 *   line 1 (10.0.0.0/8)             ----------------
 *   line 2 (10.1.0.0/16)                ----
 *   interval            |     0     | 1 | 2  |  3  |         4         |
 */
import { type Address, isIpv4, mappedValue } from "../../base/address.ts";
import { assert } from "../../base/assert.ts";
import type { PortRange, Prefix } from "../policy-model.ts";

/** For every line the intervals that it wants. */
export interface Spans {
  readonly intervals: number;
  /** A line's spans are those from starts[line] to starts[line + 1]. */
  readonly starts: Int32Array;
  /** First interval of a span and the one after its last; a line's are ascending and apart. */
  readonly pairs: Int32Array;
}

/** Whether a line wants an interval. */
export function isWantedBy({ starts, pairs }: Spans, line: number, interval: number): boolean {
  const first = starts[line]!;
  let low = first;
  let high = starts[line + 1]!;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pairs[2 * middle]! <= interval) low = middle + 1;
    else high = middle;
  }
  // The span before `low` is the last that begins at the interval or before.
  return low > first && interval < pairs[2 * low - 1]!;
}

/** Interval by value. */
export type ValueCuts = Uint16Array;

/** Interval of a value of a field of small integers; whatever is none of them counts as the last one. */
export function findValue(cuts: ValueCuts, value: number): number {
  const last = cuts.length - 1;
  return cuts[value >= 0 && value < last ? value : last]!;
}

/** Cuts the values 0..last. For every line the values that it wants; undefined: any. */
export function cutValues(
  wanted: readonly (readonly PortRange[] | undefined)[],
  last: number,
): { readonly cuts: ValueCuts; readonly spans: Spans } {
  const isStart = new Uint8Array(last + 2);
  for (const { from, to } of wanted.flatMap((ranges) => ranges ?? [])) {
    assert(from >= 0 && to <= last, `a rule wants ${from} to ${to} in a field of values up to ${last}`);
    isStart[from] = 1;
    isStart[to + 1] = 1;
  }
  const cuts = new Uint16Array(last + 1);
  for (let value = 1; value <= last; value++) cuts[value] = cuts[value - 1]! + isStart[value]!;
  const count = cuts[last]! + 1;
  const begin = (value: number): number => (value > last ? count : cuts[value]!);
  const spanOf = ({ from, to }: PortRange): Span => [begin(from), begin(to + 1)];
  const spans = spansOf(
    wanted.map((ranges) => ranges?.map(spanOf)),
    count,
  );
  return { cuts, spans };
}

/** Where intervals of addresses begin: one word each, and four words each; biased, so that signed order is address order. */
export interface AddressStarts {
  readonly starts4: Int32Array;
  readonly starts6: Int32Array;
}

/** Cuts the addresses of both families. For every line the prefixes that it wants; undefined: any. */
export function cutAddresses(wanted: readonly (readonly Prefix[] | undefined)[]): {
  readonly cuts: AddressStarts;
  readonly spans: Spans;
} {
  const bounds4 = [0, END4];
  const bounds6 = [0n, END6];
  for (const prefix of wanted.flatMap((prefixes) => prefixes ?? [])) {
    if (typeof prefix.address === "number") bounds4.push(...range4(prefix));
    else bounds6.push(...range6(prefix));
  }
  // No Set or Map of IPv6 bounds: V8 hashes a bigint by its low 64 bits, and those of prefixes are all zero.
  const starts4 = distinct(bounds4.sort((a, b) => a - b));
  const starts6 = distinct(bounds6.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  const first6 = starts4.length - 1;
  const spanOf = (prefix: Prefix): Span => {
    if (typeof prefix.address === "number") {
      const [from, to] = range4(prefix);
      return [rankOf(starts4, from), rankOf(starts4, to)];
    }
    const [from, to] = range6(prefix);
    return [first6 + rankOf(starts6, from), first6 + rankOf(starts6, to)];
  };
  const spans = spansOf(
    wanted.map((prefixes) => prefixes?.map(spanOf)),
    first6 + starts6.length - 1,
  );
  const cuts = {
    starts4: Int32Array.from(starts4.slice(0, first6), (start) => start ^ SIGN),
    starts6: Int32Array.from(starts6.slice(0, -1).flatMap(biasedWords)),
  };
  return { cuts, spans };
}

/** Addresses: binary search. The intervals of IPv4 come before those of IPv6. */
export class AddressCuts {
  readonly #starts4: Int32Array;
  readonly #starts6: Int32Array;

  constructor({ starts4, starts6 }: AddressStarts) {
    this.#starts4 = starts4;
    this.#starts6 = starts6;
  }

  find(words: Int32Array, at: number): number {
    if (isIpv4(words, at)) return this.#find4(words[at + 3]! ^ SIGN);
    const a = words[at]! ^ SIGN;
    const b = words[at + 1]! ^ SIGN;
    return this.#starts4.length + this.#find6(a, b, words[at + 2]! ^ SIGN, words[at + 3]! ^ SIGN);
  }

  #find4(address: number): number {
    const starts = this.#starts4;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= address) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #find6(a: number, b: number, c: number, d: number): number {
    const starts = this.#starts6;
    let low = 0;
    let high = (starts.length >> 2) - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const at = middle << 2;
      const isAfter =
        starts[at]! !== a
          ? starts[at]! > a
          : starts[at + 1]! !== b
            ? starts[at + 1]! > b
            : starts[at + 2]! !== c
              ? starts[at + 2]! > c
              : starts[at + 3]! > d;
      if (isAfter) high = middle - 1;
      else low = middle;
    }
    return low;
  }
}

const END4 = 2 ** 32;
const END6 = 1n << 128n;

const SIGN = 0x80000000 | 0;

type Span = readonly [from: number, to: number];

function range4({ address, bits }: Prefix): Span {
  const size = 2 ** (32 - bits);
  const from = Math.floor((Number(address) >>> 0) / size) * size;
  return [from, from + size];
}

function range6({ address, bits }: Prefix): readonly [from: bigint, to: bigint] {
  const free = BigInt(128 - bits);
  const from = (mappedValue(address) >> free) << free;
  return [from, from + (1n << free)];
}

function distinct<T>(ordered: readonly T[]): T[] {
  return ordered.filter((value, i) => i === 0 || value !== ordered[i - 1]);
}

/** Index of a value that is in the list. */
function rankOf<T extends Address>(ordered: readonly T[], value: T): number {
  let low = 0;
  let high = ordered.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function biasedWords(address: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number(BigInt.asIntN(32, address >> shift)) ^ SIGN);
}

/** Orders every line's spans and joins those that touch; any is one span over all. */
function spansOf(lines: readonly (readonly Span[] | undefined)[], intervals: number): Spans {
  const starts = new Int32Array(lines.length + 1);
  const pairs: number[] = [];
  lines.forEach((spans, line) => {
    const first = pairs.length;
    const ordered = spans === undefined ? [[0, intervals] as const] : [...spans].sort((a, b) => a[0] - b[0]);
    for (const [from, to] of ordered) {
      const last = pairs.length - 1;
      if (last > first && pairs[last]! >= from) pairs[last] = Math.max(pairs[last]!, to);
      else pairs.push(from, to);
    }
    starts[line + 1] = pairs.length / 2;
  });
  return { intervals, starts, pairs: Int32Array.from(pairs) };
}
