/**
 * Pressure: what changes as the flow table fills. Owns two rules and no state: unassured flows live shorter the fuller it is,
 * and its last rows are kept for those who must always get through.
 *
 *   life of unassured flows                                       rows
 *   1000 |-----------.                                            |  anybody                          | reserve |
 *        |            `-.                                         0                                         capacity
 *     50 |               `---------
 *        '-----------|----|--------> used
 *           shrink from   to
 */
import { assert } from "../../base/assert.ts";

/** A whole life, in thousandths. */
export const LIFE_WHOLE = 1000;
/** What is left of it in a full table: enough for a handshake that takes a second of a time-out of twenty. */
export const LIFE_LEAST = 50;

export interface PressureLimits {
  /** Percent of the table; both 0: nothing shrinks. */
  readonly shrinkFromPercent: number;
  readonly shrinkToPercent: number;
  readonly reservePercent: number;
}

export class Pressure {
  readonly #shrinkFrom: number;
  readonly #shrinkTo: number;
  readonly #open: number;
  readonly #capacity: number;

  constructor(capacity: number, limits: PressureLimits) {
    const isShrinking = limits.shrinkFromPercent > 0 || limits.shrinkToPercent > 0;
    assert(
      !isShrinking || limits.shrinkFromPercent < limits.shrinkToPercent,
      `lives cannot shrink from ${limits.shrinkFromPercent} % to ${limits.shrinkToPercent} %`,
    );
    this.#capacity = capacity;
    this.#shrinkFrom = isShrinking ? Math.floor((capacity * limits.shrinkFromPercent) / 100) : capacity;
    this.#shrinkTo = isShrinking
      ? Math.max(this.#shrinkFrom + 1, Math.floor((capacity * limits.shrinkToPercent) / 100))
      : capacity + 1;
    this.#open = capacity - Math.floor((capacity * limits.reservePercent) / 100);
  }

  /** How much of its time-out an unassured flow gets while `used` rows are taken, in thousandths: LIFE_LEAST..LIFE_WHOLE. */
  life(used: number): number {
    if (used <= this.#shrinkFrom) return LIFE_WHOLE;
    if (used >= this.#shrinkTo) return LIFE_LEAST;
    const left = ((this.#shrinkTo - used) * (LIFE_WHOLE - LIFE_LEAST)) / (this.#shrinkTo - this.#shrinkFrom);
    return LIFE_LEAST + Math.floor(left);
  }

  /** Whether one more row may be taken while `used` are: the reserve is for the privileged alone. */
  mayTake(used: number, isPrivileged: boolean): boolean {
    return used < (isPrivileged ? this.#capacity : this.#open);
  }
}
