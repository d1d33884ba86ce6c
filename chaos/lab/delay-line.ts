/**
 * Delay line: frames that are under way for a fixed time, in the order in which they came. Pure: the time is handed in. Bounded: a
 * frame more than that is dropped and counted, as a switch does.
 */

export interface DelayLineOptions {
  readonly delayMs: number;
  readonly framesMax: number;
}

export class DelayLine {
  /** Frames for which there was no room. */
  dropped = 0;
  readonly #options: DelayLineOptions;
  readonly #frames: { readonly dueMs: number; readonly frame: Uint8Array }[] = [];

  constructor(options: DelayLineOptions) {
    this.#options = options;
  }

  enter(frame: Uint8Array, nowMs: number): void {
    const { delayMs, framesMax } = this.#options;
    if (this.#frames.length >= framesMax) this.dropped++;
    else this.#frames.push({ dueMs: nowMs + delayMs, frame });
  }

  /** The next frame that has arrived; undefined: none yet. */
  leave(nowMs: number): Uint8Array | undefined {
    const first = this.#frames[0];
    if (first === undefined || first.dueMs > nowMs) return undefined;
    this.#frames.shift();
    return first.frame;
  }

  /** Until the next one arrives; Infinity: nothing is under way. */
  waitMs(nowMs: number): number {
    const first = this.#frames[0];
    return first === undefined ? Number.POSITIVE_INFINITY : Math.max(0, first.dueMs - nowMs);
  }
}
