/**
 * Lag recorder: one sample of every peer's sync lag each 10 ms, for the last 60 s at least, so that a drill or an operator can look at
 * lag over time after the fact. While nothing is replicated samples are rarer: there is only the age of the last heartbeat to see. The
 * live gauge and the histogram belong to cluster/sync.
 */
export interface LagSample {
  readonly atMs: number;
  readonly peer: number;
  readonly lagMs: number;
}

const SAMPLE_INTERVAL_MS = 10;
/** After so long without changes or replicas. */
const IDLE_AFTER_MS = 200;
/** Four of them are the interval of an idle stream's heartbeats. */
const IDLE_INTERVAL_MS = 25;
const SAMPLES_MAX = 6000 * 4;

export class LagRecorder {
  readonly #atMs = new Float64Array(SAMPLES_MAX);
  readonly #lagMs = new Float64Array(SAMPLES_MAX);
  readonly #peer = new Uint8Array(SAMPLES_MAX);
  #written = 0;

  add(atMs: number, peer: number, lagMs: number): void {
    const cell = this.#written++ % SAMPLES_MAX;
    this.#atMs[cell] = atMs;
    this.#peer[cell] = peer;
    this.#lagMs[cell] = lagMs;
  }

  /** Until the next sample, when changes or replicas were seen last at `workedMs`. */
  static intervalMs(workedMs: number, nowMs: number): number {
    return nowMs - workedMs > IDLE_AFTER_MS ? IDLE_INTERVAL_MS : SAMPLE_INTERVAL_MS;
  }

  since(sinceMs: number): LagSample[] {
    const samples: LagSample[] = [];
    for (let i = Math.max(0, this.#written - SAMPLES_MAX); i < this.#written; i++) {
      const cell = i % SAMPLES_MAX;
      const atMs = this.#atMs[cell]!;
      if (atMs >= sinceMs) samples.push({ atMs, peer: this.#peer[cell]!, lagMs: this.#lagMs[cell]! });
    }
    return samples;
  }
}
