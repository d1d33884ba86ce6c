/**
 * Token bucket: `perSecond` of something on average, as many at once. Owns its level; time is handed in.
 */
export class TokenBucket {
  readonly #perSecond: number;
  /** Tokens, and when they were counted. */
  readonly #state: Float64Array;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#state = Float64Array.of(perSecond, 0);
  }

  /** Takes a token at time `clock[0]`; false when there is none. */
  take(clock: Float64Array): boolean {
    const state = this.#state;
    const now = clock[0]!;
    const tokens = state[0]! + ((now - state[1]!) * this.#perSecond) / 1000;
    state[1] = now;
    state[0] = Math.min(tokens, this.#perSecond);
    if (state[0]! < 1) return false;
    state[0] = state[0]! - 1;
    return true;
  }
}
