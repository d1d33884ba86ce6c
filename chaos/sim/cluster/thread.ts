/**
 * Simulated thread: whether it runs, stands still or has ended, and what waits for it meanwhile. Owns no time of its own but the
 * end of a stall; who schedules its work is life.ts.
 */
import type { SimClock } from "./clock.ts";

const ROUNDING_MS = 1e-6;

export class SimThread {
  readonly #clock: SimClock;
  #isOver = false;
  /** Reasons to stand still. */
  #holds = 0;
  #stalledUntilMs = 0;
  #waiting: { readonly work: () => void; readonly atMs: number }[] = [];
  /** When the work in hand looked at the clock, if that was before it stood still. */
  #lookedMs: number | undefined;

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isPaused(): boolean {
    return this.#holds > 0;
  }

  end(): void {
    this.#isOver = true;
    this.#waiting = [];
  }

  pause(): void {
    this.#holds++;
  }

  /**
   * Ends one pause. What waited happens when nothing else holds the thread, in order. `isMidTurn`: the first of it had begun when it came,
   * and stood still right after its first look at the clock.
   */
  resume(isMidTurn = false): void {
    this.#holds--;
    if (this.#holds > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    if (isMidTurn) this.#lookedMs = waiting[0]?.atMs;
    for (const { work } of waiting) {
      this.run(work);
      this.#lookedMs = undefined;
    }
  }

  /** True time, as the thread sees it. */
  nowMs(): number {
    const nowMs = this.#lookedMs ?? this.#clock.nowMs();
    this.#lookedMs = undefined;
    return nowMs;
  }

  /** A system call takes `ms`: what the caller does after it happens then, and everything else behind that. */
  stall(ms: number): void {
    const now = this.#clock.nowMs();
    if (this.#stalledUntilMs <= now) this.pause();
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, now) + ms;
    this.#clock.after(this.#stalledUntilMs - now, () => {
      // A later call of the same turn may have made it longer.
      const isDone = this.#clock.nowMs() >= this.#stalledUntilMs - ROUNDING_MS;
      if (!this.#isOver && isDone) this.resume();
    });
  }

  run(work: () => void): void {
    if (this.#isOver) return;
    if (this.#holds > 0) this.#waiting.push({ work, atMs: this.#clock.nowMs() });
    else work();
  }
}
