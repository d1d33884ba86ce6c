/**
 * Succession: who campaigns when, after liveness said that the leader is dead, so that a new leader is there within
 * milliseconds instead of an election timeout, and survivors do not split the votes.
 *
 *   rank 0 (lowest living id, no witness)   campaigns at once
 *   rank r                                  r * RANK_TICKS later, if there is still no leader
 *   witness                                 lets go of the leader only, so that its vote is free
 *
 * Others may not have noticed yet: they answer as soon as they have (driver.ts). Against losses the request is repeated every
 * REPEAT_TICKS and a little later each time, ATTEMPTS_MAX times.
 */

const RANK_TICKS = 3;
const REPEAT_TICKS = 2;
const ATTEMPTS_MAX = 25;

export class Succession {
  #ticksLeft = -1;
  #attempts = 0;
  #isFirst = false;

  /** This node is the one that campaigns at once, and there is no leader yet. */
  get isFirst(): boolean {
    return this.#isFirst && this.#ticksLeft >= 0;
  }

  get isActive(): boolean {
    return this.#ticksLeft >= 0;
  }

  /** Answers true when this node is to campaign at once. `candidates`: ids of voters that are no witness. */
  begin(self: number, dead: Pick<ReadonlySet<number>, "has">, candidates: readonly number[]): boolean {
    const rank = candidates
      .filter((id) => !dead.has(id))
      .sort((a, b) => a - b)
      .indexOf(self);
    if (rank < 0) {
      this.end();
      return false;
    }
    this.#isFirst = rank === 0;
    this.#attempts = 0;
    this.#ticksLeft = rank === 0 ? REPEAT_TICKS : rank * RANK_TICKS;
    if (rank === 0) this.#attempts = 1;
    return rank === 0;
  }

  /** Answers true when it is time to campaign (again). */
  tick(): boolean {
    if (this.#ticksLeft < 0) return false;
    if (--this.#ticksLeft > 0) return false;
    this.#attempts++;
    if (this.#attempts > ATTEMPTS_MAX) {
      this.end();
      return false;
    }
    // Longer each time: two that campaign in step must fall out of step.
    this.#ticksLeft = REPEAT_TICKS + this.#attempts;
    return true;
  }

  /** There is a leader. */
  end(): void {
    this.#ticksLeft = -1;
  }
}
