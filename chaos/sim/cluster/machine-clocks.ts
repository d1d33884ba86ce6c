/**
 * Machine clocks: what a simulated machine believes about time. Its monotonic clock started at a moment of its own and runs a
 * little fast or slow; its time of day may be wrong and jump. Owns the arithmetic; true time is clock.ts.
 */
export class MachineClocks {
  /** Local milliseconds in a true one. */
  readonly rate: number;
  /** How far the time of day is ahead of the true one. */
  wallAheadMs = 0;
  readonly #offsetMs: number;

  constructor(rate: number, offsetMs: number) {
    this.rate = rate;
    this.#offsetMs = offsetMs;
  }

  localMs(trueMs: number): number {
    return this.#offsetMs + this.rate * trueMs;
  }

  /** How long `ms` of this machine take. */
  trueMs(ms: number): number {
    return ms / this.rate;
  }
}

/** No drift, no offset. Nobody changes it. */
export const EXACT_CLOCKS = new MachineClocks(1, 0);
