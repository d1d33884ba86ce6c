/**
 * Failover times: how long each step of a takeover took, from the events of this node. Owns the three histograms:
 *
 *   last sign of life --detect--> judged dead --decide--> epoch committed --activate--> slots decided here
 */
import { LatencyHistogram } from "../base/histogram.ts";

export class FailoverTimes {
  readonly detect = new LatencyHistogram();
  readonly decide = new LatencyHistogram();
  readonly activate = new LatencyHistogram();
  #takeovers = 0;
  /** By node id: when it was judged dead. */
  readonly #judgedMs = new Map<number, number>();
  #committedMs = 0;

  /** Takeovers in which this node gained slots. */
  get takeovers(): number {
    return this.#takeovers;
  }

  judged(node: number, lastHeardMs: number, atMs: number): void {
    this.detect.record(atMs - lastHeardMs);
    this.#judgedMs.set(node, atMs);
  }

  committed(node: number, atMs: number): void {
    const judgedMs = this.#judgedMs.get(node);
    if (judgedMs === undefined) return;
    this.#judgedMs.delete(node);
    this.decide.record(atMs - judgedMs);
    this.#committedMs = atMs;
  }

  gained(atMs: number): void {
    if (this.#committedMs === 0) return;
    this.activate.record(Math.max(0, atMs - this.#committedMs));
    this.#committedMs = 0;
    this.#takeovers++;
  }
}
