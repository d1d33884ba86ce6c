/**
 * Histograms in the exposition: which bounds each has, and the way there from the latency histograms that the node keeps.
 * Owns no observation (base/histogram.ts).
 */

/** What a metric needs of a base/histogram.ts LatencyHistogram. */
export interface Latencies {
  readonly count: number;
  readonly sumMs: number;
  cumulative(boundsMs: readonly number[]): number[];
}

/** One histogram at the time of a scrape, in seconds. */
export interface Buckets {
  /** Upper bounds, ascending, without the infinite one. */
  readonly bounds: readonly number[];
  /** Observations up to each bound (cumulative). */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

/** Seconds: from a round trip on a cable to a link that is in trouble. */
export const SYNC_ACK_BOUNDS: readonly number[] = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
];
/** Seconds: from a battery-backed cache to a dying disk. */
export const FSYNC_BOUNDS: readonly number[] = [
  0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
];
/** Seconds: from a process that ends to a profile for distant sites. */
export const FAILOVER_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5,
];

/** Latencies as buckets with these bounds (seconds). */
export function buckets(latencies: Latencies, bounds: readonly number[]): Buckets {
  return {
    bounds,
    counts: latencies.cumulative(bounds.map((bound) => bound * 1000)),
    count: latencies.count,
    sum: latencies.sumMs / 1000,
  };
}
