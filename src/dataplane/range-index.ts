/**
 * Range index: which rules, in order, have a range that holds a value. Made once; asked by binary search.
 *
 *   starts:   | 0   | 10    | 20      | 30 |        rule 1: 10..29, rule 2: 20..39
 *   entries:  |     | 1     | 1 2     | 2  |
 */

export interface IndexedRange {
  readonly from: number;
  readonly to: number;
  readonly rule: number;
}

export class RangeIndex {
  /** Rules of all intervals; an interval's are entries[begin(i)] to entries[end(i) - 1], ascending. */
  readonly entries: Int32Array;
  readonly #starts: Int32Array;
  readonly #offsets: Int32Array;

  /** Ranges of signed integers, both ends included; no range may hold the largest one's successor. */
  constructor(ranges: readonly IndexedRange[]) {
    const starts = [...new Set([-0x80000000, ...ranges.flatMap(({ from, to }) => [from, to + 1])])]
      .filter((start) => start <= 0x7fffffff)
      .sort((a, b) => a - b);
    const opens = new Map<number, number[]>();
    const closes = new Map<number, number[]>();
    for (const { from, to, rule } of ranges) {
      push(opens, from, rule);
      push(closes, to + 1, rule);
    }
    // How often each rule is open: a rule may have several ranges, also overlapping ones.
    const open = new Map<number, number>();
    const entries: number[] = [];
    const offsets: number[] = [];
    for (const start of starts) {
      for (const rule of closes.get(start) ?? []) {
        const count = open.get(rule)! - 1;
        if (count === 0) open.delete(rule);
        else open.set(rule, count);
      }
      for (const rule of opens.get(start) ?? []) open.set(rule, (open.get(rule) ?? 0) + 1);
      offsets.push(entries.length);
      for (const rule of [...open.keys()].sort((a, b) => a - b)) entries.push(rule);
    }
    offsets.push(entries.length);
    this.#starts = Int32Array.from(starts);
    this.#offsets = Int32Array.from(offsets);
    this.entries = Int32Array.from(entries);
  }

  /** The interval that holds a value. */
  find(value: number): number {
    const starts = this.#starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= value) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  begin(interval: number): number {
    return this.#offsets[interval]!;
  }

  end(interval: number): number {
    return this.#offsets[interval + 1]!;
  }
}

function push(map: Map<number, number[]>, key: number, rule: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [rule]);
  else list.push(rule);
}
