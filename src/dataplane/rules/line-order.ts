/**
 * Line order: which bit of a row stands for which line. Lines that are wide in the same fields (any source, a broad range of
 * ports) stand together, in blocks of their own; among them, lines keep their order.
 *
 *   lines    0 any-a   1 any-b   2 x-a   3 any-c   4 y-any          rules mix as their author thought of them
 *   bits   | 0 1 3 - - - - - | 2 - - - - - - - | 4 - - - - - - - |
 *            any source        neither           any destination
 *
 * In the order of the rules one wide line in each word is enough to make every word of a field's row worth a look, although
 * the words have no line in common. Apart, all summaries but few are zero.
 */
import { BLOCK_LINES } from "./bit-rows.ts";
import type { Spans } from "./cuts.ts";

/** A line is wide in a field of which it wants more than one interval in this many. */
const WIDE = 32;
/** lineAt of a bit that stands for none. */
const NO_LINE = -1;

export interface LineOrder {
  /** Bits of a row, whole blocks. */
  readonly bits: number;
  /** By line: its bit. */
  readonly bitOf: Int32Array;
  /** By bit: its line. */
  readonly lineAt: Int32Array;
  /** By block: its first line; those after it are ascending. */
  readonly firstOf: Int32Array;
}

/** `fields`: those in which lines may be wide, that is, those with many values. */
export function orderLines(lines: number, fields: readonly Spans[]): LineOrder {
  const group = new Int32Array(lines);
  // One block is no more than a look at one summary, in whatever order.
  if (lines > BLOCK_LINES) {
    for (const [field, spans] of fields.entries()) markWide(spans, 1 << field, group);
  }
  const order = Array.from(group.keys()).sort((a, b) => group[a]! - group[b]! || a - b);
  const bitOf = new Int32Array(lines);
  let bit = 0;
  order.forEach((line, i) => {
    if (i > 0 && group[line] !== group[order[i - 1]!]) bit = wholeBlocks(bit);
    bitOf[line] = bit++;
  });
  const bits = wholeBlocks(bit);
  const lineAt = new Int32Array(bits).fill(NO_LINE);
  for (let line = 0; line < lines; line++) lineAt[bitOf[line]!] = line;
  return { bits, bitOf, lineAt, firstOf: lineAt.filter((_, i) => i % BLOCK_LINES === 0) };
}

function markWide({ intervals, starts, pairs }: Spans, mark: number, group: Int32Array): void {
  for (let line = 0; line < group.length; line++) {
    let wanted = 0;
    for (let i = starts[line]!; i < starts[line + 1]!; i++) wanted += pairs[2 * i + 1]! - pairs[2 * i]!;
    if (wanted * WIDE > intervals) group[line] = group[line]! | mark;
  }
}

function wholeBlocks(bits: number): number {
  return Math.ceil(bits / BLOCK_LINES) * BLOCK_LINES;
}
