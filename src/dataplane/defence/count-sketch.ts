/**
 * Count sketch: how many of each key there are, in fixed memory (a count-min sketch whose keys may leave again). Owns cells;
 * the caller hashes keys with a secret, so nobody can aim at another's cells.
 *
 *   hash bits:  | first 0..15 | first 16..31 | second 0..15 | second 16..31 |     least() = smallest of the four cells
 *                     v              v               v               v
 *               |  row 0 ...  |  row 1 ...   |   row 2 ...  |   row 3 ...   |
 *
 * A cell holds all keys that meet in it, so the answer is never too small. When `total` are counted, a cell holds total / cells
 * of others on average, hence `excess` or more of them with a probability of at most total / (cells * excess) (Markov); the
 * answer is too large by `excess` only when that is so in all four rows: the fourth power of it.
 */
import { assert } from "../../base/assert.ts";

const ROWS = 4;
/** 16 hash bits a row. */
const CELLS_MAX = 65_536;
const CELLS_MIN = 256;
/** Chosen so that a key is wronged with a probability of at most 32 ** -4, below 1e-6. */
const CELLS_PER_FULL_KEY = 32;

/** Cells a row so that keys of at most `total` are counted, and `excess` too many with a probability below 1e-6 if possible. */
export function sketchCells(total: number, excess: number): number {
  const wanted = (CELLS_PER_FULL_KEY * total) / excess;
  return 2 ** Math.ceil(Math.log2(Math.min(CELLS_MAX, Math.max(CELLS_MIN, wanted))));
}

/** The bound of the picture above: the probability that a key's count is too large by `excess` or more. */
export function sketchError(cells: number, total: number, excess: number): number {
  return Math.min(1, total / (cells * excess)) ** ROWS;
}

export class CountSketch {
  readonly cells: number;
  readonly #counts: Int32Array;
  readonly #mask: number;

  constructor(cells: number) {
    assert(
      cells >= 1 && cells <= CELLS_MAX && (cells & (cells - 1)) === 0,
      `a sketch cannot have ${cells} cells`,
    );
    this.cells = cells;
    this.#counts = new Int32Array(ROWS * cells);
    this.#mask = cells - 1;
  }

  /** Adds `by` to the key with these two hashes; a negative number takes away what was added before. */
  add(first: number, second: number, by: number): void {
    const counts = this.#counts;
    const mask = this.#mask;
    const cells = this.cells;
    const a = first & mask;
    const b = cells + ((first >>> 16) & mask);
    const c = 2 * cells + (second & mask);
    const d = 3 * cells + ((second >>> 16) & mask);
    counts[a] = counts[a]! + by;
    counts[b] = counts[b]! + by;
    counts[c] = counts[c]! + by;
    counts[d] = counts[d]! + by;
  }

  /** How many of the key there are at most. */
  least(first: number, second: number): number {
    const counts = this.#counts;
    const mask = this.#mask;
    const cells = this.cells;
    const a = counts[first & mask]!;
    const b = counts[cells + ((first >>> 16) & mask)]!;
    const c = counts[2 * cells + (second & mask)]!;
    const d = counts[3 * cells + ((second >>> 16) & mask)]!;
    return Math.min(a, b, c, d);
  }
}
