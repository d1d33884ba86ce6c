/**
 * Suspension: the rule by which a thread learns for how long its machine was suspended. CLOCK_MONOTONIC stands still meanwhile,
 * CLOCK_BOOTTIME does not. Pure: readings of both in, milliseconds out. Who reads them when is suspension-watch.ts.
 *
 * Read CLOCK_BOOTTIME first: whatever happens between the two readings then makes their difference smaller, never larger, and the
 * largest one is the truth. So no stall is taken for a suspension, and none is missed for longer than until the next reading.
 */

/** Below this it is the noise of reading two clocks, one after the other. */
const SUSPENDED_MS_MIN = 5;

export class Suspension {
  #differenceMs = Number.NEGATIVE_INFINITY;

  /** The difference before anything is judged; call it a few times at the start. */
  calibrate(bootMs: number, monotonicMs: number): void {
    this.#differenceMs = Math.max(this.#differenceMs, bootMs - monotonicMs);
  }

  /** Answers how long the machine was suspended since the last reading; nearly always 0. */
  read(bootMs: number, monotonicMs: number): number {
    const grownMs = bootMs - monotonicMs - this.#differenceMs;
    if (!(grownMs >= SUSPENDED_MS_MIN)) return 0;
    this.#differenceMs += grownMs;
    return grownMs;
  }
}
