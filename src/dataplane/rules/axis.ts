/**
 * Axis: the classes of one field. An interval (cuts.ts) has one row of lines (bit-rows.ts); equal rows are one class.
 *
 *   interval   |     0     |  1  |  2  |  3  |         4         |
 *   lines      |     0     | 0 1 |0 1 2| 0 1 |         0         |
 *   class      |     0     |  1  |  2  |  1  |         0         |
 *
 * When the rows would take more than the limits, 2, 4, 8 ... neighbouring intervals share a row, which then holds the lines
 * of all of them: too many. Such an axis is coarse, and a line that was found is asked again whether it wants the interval.
 */
import { type BitRows, BLOCK_LINES, BLOCK_WORDS } from "./bit-rows.ts";
import type { Spans } from "./cuts.ts";

export class Axis {
  /** By interval >> shift. */
  readonly classes: Int32Array;
  readonly shift: number;
  /** By class. */
  readonly rows: Int32Array;

  constructor(spans: Spans, bitOf: Int32Array, bits: BitRows) {
    let shift = 0;
    let rows = sweep(spans, bitOf, shift, bits);
    while (rows === undefined) rows = sweep(spans, bitOf, ++shift, bits);
    this.shift = shift;
    const classOf = new Map<number, number>();
    for (const row of rows) if (!classOf.has(row)) classOf.set(row, classOf.size);
    this.classes = rows.map((row) => classOf.get(row)!);
    this.rows = Int32Array.from(classOf.keys());
  }

  get isCoarse(): boolean {
    return this.shift > 0;
  }
}

/** The row of every group of 2^shift intervals; undefined when the limits do not allow that many. */
function sweep(spans: Spans, bitOf: Int32Array, shift: number, bits: BitRows): Int32Array | undefined {
  const groups = ((spans.intervals - 1) >> shift) + 1;
  const { toggles, lines } = togglesOf(spans, shift, groups);
  const mark = bits.mark();
  const present = new Int32Array(bits.blocks * BLOCK_WORDS);
  const touched = new Set<number>();
  for (let block = 0; block < bits.blocks; block++) bits.draw(block, present);
  const rows = new Int32Array(groups);
  for (let group = 0; group < groups; group++) {
    touched.clear();
    for (let i = toggles[group]!; i < toggles[group + 1]!; i++) {
      const bit = bitOf[lines[i]!]!;
      present[bit >> 5] = present[bit >> 5]! ^ (1 << (bit & 31));
      touched.add(Math.floor(bit / BLOCK_LINES));
    }
    for (const block of touched) bits.draw(block, present);
    rows[group] = touched.size === 0 && group > 0 ? rows[group - 1]! : bits.store();
    if (bits.isOver(mark) && groups > 1) {
      bits.undo(mark);
      return undefined;
    }
  }
  return rows;
}

/** Which lines begin or cease to hold at each group: those of group g from toggles[g] to toggles[g + 1]. */
function togglesOf(
  { starts, pairs }: Spans,
  shift: number,
  groups: number,
): { toggles: Int32Array; lines: Int32Array } {
  const counts = new Int32Array(groups + 2);
  const visit = (take: (group: number, line: number) => void): void => {
    for (let line = 0; line + 1 < starts.length; line++) {
      let open = -1;
      for (let i = starts[line]!; i < starts[line + 1]!; i++) {
        const from = pairs[2 * i]! >> shift;
        // Spans that were apart may touch or overlap in groups: one goes on where the other did.
        if (from <= open) open = Math.max(open, ((pairs[2 * i + 1]! - 1) >> shift) + 1);
        else {
          if (open >= 0) take(open, line);
          take(from, line);
          open = ((pairs[2 * i + 1]! - 1) >> shift) + 1;
        }
      }
      if (open >= 0 && open < groups) take(open, line);
    }
  };
  visit((group) => {
    counts[group + 1] = counts[group + 1]! + 1;
  });
  for (let group = 0; group <= groups; group++) counts[group + 1] = counts[group + 1]! + counts[group]!;
  const toggles = counts.slice(0, groups + 1);
  const lines = new Int32Array(toggles[groups]!);
  visit((group, line) => {
    lines[counts[group]!] = line;
    counts[group] = counts[group]! + 1;
  });
  return { toggles, lines };
}
