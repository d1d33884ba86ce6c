/**
 * Env: the only door through which a pure core sees time and randomness.
 * Owns no clock: the shell (real clocks) and the simulator (virtual time) hand one in.
 */

/** Time and randomness, handed to every pure core. */
export interface Env {
  /** Milliseconds on a clock that never goes back (CLOCK_MONOTONIC); fractions allowed; origin arbitrary but
   * one per machine, so all threads and processes of a machine agree. */
  nowMs(): number;
  /** A whole number, 0 <= n < bound. */
  random(bound: number): number;
}

/** A seeded generator for tests and simulation (mulberry32); never for secrets. */
export function seededRandom(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}
