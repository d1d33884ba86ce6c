/**
 * Tick clock: counts the ticks that Raft is given. Owns the timer: it wakes up for each tick, or for several at a time while nothing
 * depends on them. What a tick does is the driver's.
 *
 *   pace 1:   |  .  .  .  .  .  .        one wake-up each
 *   pace 3:   |        ...      ...      one for three, at the moment of the third
 */
import type { Timers } from "./timers.ts";

/** A timer may fire a little early: that much counts as in time. */
const EARLY_MS = 0.5;

export interface TickClockOptions {
  readonly timers: Timers;
  readonly tickMs: number;
  /** So many ticks have passed. */
  readonly onTicks: (ticks: number) => void;
}

export class TickClock {
  readonly #options: TickClockOptions;
  /** When the last counted tick was. */
  #lastMs = 0;
  #pace = 1;
  #callOff: (() => void) | undefined;
  #isRunning = false;

  constructor(options: TickClockOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isRunning = true;
    this.#lastMs = this.#options.timers.nowMs();
    this.#arm();
  }

  stop(): void {
    this.#isRunning = false;
    this.#callOff?.();
  }

  /** From now on at most `ticks` of them come at a time. */
  pace(ticks: number): void {
    if (ticks === this.#pace) return;
    this.#pace = ticks;
    if (this.#isRunning) this.#arm();
  }

  /**
   * Before something happens from which ticks are counted: those that passed before it come first. Not after a stall: then they are for
   * the timer, which lets all that lies in the sockets go first.
   */
  catchUp(): void {
    const passed = this.#passed();
    if (this.#isRunning && passed > 0 && passed <= this.#pace + 1) this.#count();
  }

  #passed(): number {
    const { timers, tickMs } = this.#options;
    return Math.floor((timers.nowMs() + EARLY_MS - this.#lastMs) / tickMs);
  }

  #arm(): void {
    const { timers, tickMs } = this.#options;
    this.#callOff?.();
    const dueMs = this.#lastMs + this.#pace * tickMs;
    this.#callOff = timers.after(Math.max(0, Math.ceil(dueMs - timers.nowMs())), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#callOff = undefined;
    if (this.#passed() <= this.#pace + 1) this.#count();
    // After a stall the messages that lie in the sockets come first: the leader may be well.
    else this.#options.timers.afterInput(() => this.#count());
  }

  #count(): void {
    if (!this.#isRunning) return;
    const ticks = Math.max(0, this.#passed());
    this.#lastMs += ticks * this.#options.tickMs;
    this.#arm();
    if (ticks > 0) this.#options.onTicks(ticks);
  }
}
