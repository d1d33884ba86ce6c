/**
 * Wall jumps: the rule by which a member notices that somebody set its time of day. Pure: readings of two clocks in, a jump out.
 * Nothing that decides is timed by the time of day; what is (schedules of rules, SYN cookies, certificates, the stamps of
 * journals) an operator should hear about. A clock that is slewed, as NTP does, is followed in silence.
 */

/** Less than this between two looks is no jump: NTP steps a clock only when it is off by more than 128 ms. */
const JUMP_MS_MIN = 1000;
/** Both clocks are read within this time, or the reading says nothing: the thread was put aside in between. */
const READING_MS_MAX = 100;

export class WallJumps {
  #offsetMs = Number.NaN;
  #count = 0;

  /** Jumps since the start. */
  get count(): number {
    return this.#count;
  }

  /**
   * A reading of the time of day, taken between two readings of the clock that nobody sets. Answers by how much the time of day
   * jumped since the last one, forward above zero; 0: it did not.
   */
  read(beforeMs: number, wallMs: number, afterMs: number): number {
    if (afterMs - beforeMs > READING_MS_MAX) return 0;
    const offsetMs = wallMs - beforeMs;
    const jumpMs = offsetMs - this.#offsetMs;
    this.#offsetMs = offsetMs;
    if (!(Math.abs(jumpMs) >= JUMP_MS_MIN)) return 0;
    this.#count++;
    return jumpMs;
  }
}
