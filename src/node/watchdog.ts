/**
 * Watchdog: the rule by which the control thread tells a dataplane worker that hangs (an endless loop, a system call that never
 * returns) from one that is slow. Pure: the worker's beats in, a verdict out. Owns no clock and no thread (machine-watch.ts).
 *
 *   beats:    7   8   8   8   8   8 ...
 *   still:    0   0   1   2   3   4 checks      limit reached: it hangs
 *
 * Time counts only as far as this thread looked: of the time between two looks no more than two intervals. So a control thread that
 * stalled, a process that was stopped and a suspended machine, in which nobody ran, accuse nobody.
 */

export interface WatchdogLimits {
  /** Between two looks. */
  readonly checkMs: number;
  /** Standing still for so long is hanging. */
  readonly limitMs: number;
}

export class Watchdog {
  readonly #limits: WatchdogLimits;
  #beats: number;
  #lookedMs: number;
  #stillMs = 0;

  constructor(limits: WatchdogLimits, beats: number, nowMs: number) {
    this.#limits = limits;
    this.#beats = beats;
    this.#lookedMs = nowMs;
  }

  /** For how long the beats have stood still, as far as this thread can tell. */
  get stillMs(): number {
    return this.#stillMs;
  }

  /** A look at the beats so far; call it every `checkMs`. True: the worker hangs. */
  check(beats: number, nowMs: number): boolean {
    const { checkMs, limitMs } = this.#limits;
    const sinceMs = Math.min(Math.max(0, nowMs - this.#lookedMs), 2 * checkMs);
    this.#lookedMs = nowMs;
    this.#stillMs = beats === this.#beats ? this.#stillMs + sinceMs : 0;
    this.#beats = beats;
    return this.#stillMs >= limitMs;
  }
}
