/**
 * Bucket histogram: counts of observations by fixed upper bounds, in typed arrays, as Prometheus wants them. Observing allocates
 * nothing. Owns no name (catalogue.ts).
 */
import { assert } from "../base/assert.ts";

export interface HistogramSnapshot {
  /** Upper bounds, ascending, without the infinite one. */
  readonly bounds: readonly number[];
  /** Observations up to each bound (cumulative); one cell per bound. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

/** Seconds: from a round trip on a cable to a link that is in trouble. */
export const SYNC_ACK_BOUNDS_SECONDS: readonly number[] = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
];
/** Seconds: from a battery-backed cache to a dying disk. */
export const FSYNC_BOUNDS_SECONDS: readonly number[] = [
  0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
];
/** Seconds: from a process that ends to a profile for distant sites. */
export const FAILOVER_BOUNDS_SECONDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5,
];

export class BucketHistogram {
  readonly #bounds: readonly number[];
  readonly #cells: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    assert(
      bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]!),
      "histogram bounds must ascend",
    );
    this.#bounds = bounds;
    this.#cells = new Float64Array(bounds.length + 1);
  }

  /** Counts one observation, in the unit of the bounds. */
  observe(value: number): void {
    let cell = 0;
    while (cell < this.#bounds.length && value > this.#bounds[cell]!) cell++;
    this.#cells[cell]! += 1;
    this.#sum += value;
  }

  snapshot(): HistogramSnapshot {
    let count = 0;
    const counts = this.#bounds.map((_, i) => (count += this.#cells[i]!));
    return { bounds: this.#bounds, counts, count: count + this.#cells[this.#bounds.length]!, sum: this.#sum };
  }
}
