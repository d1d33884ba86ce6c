/**
 * Rhythm: the one timer of something that is to be called when it is due, neither earlier nor more often than that is worth. Owns the
 * timer; what is due when is for the other to say. A call that comes later than the timer was set for tells how long the loop stood
 * still.
 */

/** A timer that is set for so much earlier than needed stays: it costs one needless wake-up at most. */
const EARLY_MS = 0.5;

export interface Beating {
  /** When tick() is needed next, as of now. */
  dueMs(nowMs: number): number;
  /** For a loop that is awake anyway: to call tick() now is needed, or saves a wake-up. */
  isTickWorthwhile(nowMs: number): boolean;
  /** `askedMs`: for when the timer was set. */
  tick(nowMs: number, askedMs: number): void;
}

export interface RhythmOptions {
  readonly beating: Beating;
  /** Calls back once, in about `ms`, a whole number; gives the function that calls it off. */
  readonly after: (ms: number, callback: () => void) => () => void;
  /** Time is up: this should lead to goOn(). */
  readonly onTimer: () => void;
}

export class Rhythm {
  readonly #options: RhythmOptions;
  #callOff: (() => void) | undefined;
  #askedMs: number;
  #isStopped = false;

  constructor(options: RhythmOptions, nowMs: number) {
    this.#options = options;
    this.#askedMs = nowMs;
  }

  /** For when the timer is set, or was set last. */
  get askedMs(): number {
    return this.#askedMs;
  }

  /** Call it after anything that happened: ticks if that is worth it, and sets the timer anew. */
  goOn(nowMs: number): void {
    if (this.#isStopped) return;
    const { beating, after } = this.#options;
    if (beating.isTickWorthwhile(nowMs)) beating.tick(nowMs, this.#askedMs);
    const dueMs = beating.dueMs(nowMs);
    const isGood = this.#askedMs <= dueMs && this.#askedMs > dueMs - EARLY_MS;
    if (isGood && this.#callOff !== undefined) return;
    this.#callOff?.();
    this.#askedMs = dueMs;
    // Event loops count whole milliseconds, and round down.
    this.#callOff = after(Math.max(0, Math.ceil(dueMs - nowMs)), this.#onTimer);
  }

  stop(): void {
    this.#isStopped = true;
    this.#callOff?.();
  }

  readonly #onTimer = (): void => {
    this.#callOff = undefined;
    this.#options.onTimer();
  };
}
