/**
 * Latency histogram: counts durations in cells whose width grows with the value, so any quantile is right to about 3 %.
 * Recording is a few integer operations and allocates nothing. Owns no name and no clock.
 *
 *   microseconds   0 1 2 ... 63 | 64 66 68 ... | 128 132 ... | 256 ...        32 cells for each power of two
 */

const SUB_CELLS = 32;
const EXACT_CELLS = 64;
const MAX_MICROS = 0xffff_ffff;
const CELLS = EXACT_CELLS + 26 * SUB_CELLS;

export class LatencyHistogram {
  readonly #cells = new Float64Array(CELLS);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  /** The longest duration, exact; 0 when nothing was recorded. */
  get maxMs(): number {
    return this.#maxMs;
  }

  /** Counts one duration; what is longer than 71 minutes counts as that. */
  record(durationMs: number): void {
    const ms = Math.max(durationMs, 0);
    const micros = Math.min(MAX_MICROS, Math.round(ms * 1000)) >>> 0;
    const cell = cellOf(micros);
    this.#cells[cell] = this.#cells[cell]! + 1;
    this.#count++;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The duration that the share `q` (0..1) of all did not exceed; 0 when nothing was recorded. */
  quantileMs(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let cell = 0; cell < CELLS; cell++) {
      seen += this.#cells[cell]!;
      if (seen >= rank) return Math.min(upperMicros(cell) / 1000, this.#maxMs);
    }
    return 0;
  }

  /** For each bound, how many durations were at most that long, right to a cell's width. Bounds ascend. */
  cumulative(boundsMs: readonly number[]): number[] {
    const counts: number[] = [];
    let cell = 0;
    let seen = 0;
    for (const bound of boundsMs) {
      const micros = bound * 1000;
      while (cell < CELLS && upperMicros(cell) <= micros) seen += this.#cells[cell++]!;
      counts.push(seen);
    }
    return counts;
  }

  reset(): void {
    this.#cells.fill(0);
    this.#count = 0;
    this.#sumMs = 0;
    this.#maxMs = 0;
  }
}

function cellOf(micros: number): number {
  if (micros < EXACT_CELLS) return micros;
  const shift = 26 - Math.clz32(micros);
  return EXACT_CELLS + (shift - 1) * SUB_CELLS + (micros >>> shift) - SUB_CELLS;
}

/** The largest value that is counted in the cell. */
function upperMicros(cell: number): number {
  if (cell < EXACT_CELLS) return cell;
  const shift = Math.floor((cell - EXACT_CELLS) / SUB_CELLS) + 1;
  const sub = (cell - EXACT_CELLS) % SUB_CELLS;
  return (SUB_CELLS + sub + 1) * 2 ** shift - 1;
}
