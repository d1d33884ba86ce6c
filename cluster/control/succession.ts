/**
 * Succession: who campaigns when, after liveness said that the leader is dead, so that a new leader is there within
 * milliseconds instead of an election timeout, and survivors do not split the votes, also when messages or members are slow.
 *
 *   rank 0 (lowest living id, no witness)   campaigns at once
 *   rank r                                  r * RANK_TICKS later, if there is still no leader
 *   witness                                 lets go of the leader only, so that its vote is free
 *
 * Others may not have noticed yet: they answer as soon as they have (driver.ts). Against losses the request is repeated, after
 * REPEAT_TICKS and a little later each time, ATTEMPTS_MAX times; but votes may take twice as long as the pre-vote took. Who is asked by a
 * lower rank lets its own pre-vote lapse and waits for that one, longer each time: two that campaign in step share the votes, again and
 * again, when a round takes longer than what lies between their ranks.
 */

const RANK_TICKS = 3;
/** A lower rank that asks has so many times what lies between two ranks, to be elected and to say so. */
const YIELD_RANKS = 3;
const REPEAT_TICKS = 2;
/** Votes may take so long at least: to ask again is to throw away those that are on their way. */
const VOTE_TICKS_MIN = 9;
const ATTEMPTS_MAX = 25;

export class Succession {
  #self = 0;
  #rank = 0;
  #ticksLeft = -1;
  #attempts = 0;
  #isYielding = false;
  /** Of the pre-vote that goes on, or that led to asking for votes. */
  #preVoteTicks = 0;
  #hasPreVotes = false;
  /** The latest term in which this node asked for votes, as far as it was told. */
  #candidateTerm = 0;

  /** This node is the one that campaigns at once, and there is no leader yet. */
  get isFirst(): boolean {
    return this.#rank === 0 && this.#ticksLeft >= 0;
  }

  get isActive(): boolean {
    return this.#ticksLeft >= 0;
  }

  /** Another one is to be elected: what this node's own pre-vote brings is not wanted any more. */
  get isYielding(): boolean {
    return this.#isYielding && this.isActive;
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
    this.#self = self;
    this.#rank = rank;
    this.#isYielding = false;
    this.#attempts = 0;
    this.#beginPreVote();
    this.#ticksLeft = rank === 0 ? REPEAT_TICKS : rank * RANK_TICKS;
    if (rank === 0) this.#attempts = 1;
    return rank === 0;
  }

  /** Another one, which could be elected, asks for votes. */
  asked(by: number): void {
    if (!this.isActive || by >= this.#self) return;
    this.#isYielding = true;
    this.#ticksLeft = Math.max(this.#ticksLeft, (this.#attempts + YIELD_RANKS) * this.#rank * RANK_TICKS);
  }

  /** Answers true when it is time to campaign (again). `candidateTerm`: the term in which this node asks for votes now, or 0. */
  tick(candidateTerm: number): boolean {
    if (this.#ticksLeft < 0) return false;
    if (candidateTerm > this.#candidateTerm) {
      this.#candidateTerm = candidateTerm;
      this.#hasPreVotes = true;
      this.#ticksLeft = Math.max(VOTE_TICKS_MIN, this.#repeatTicks, 2 * this.#preVoteTicks);
      return false;
    }
    if (!this.#hasPreVotes) this.#preVoteTicks++;
    if (--this.#ticksLeft > 0) return false;
    this.#attempts++;
    if (this.#attempts > ATTEMPTS_MAX) {
      this.end();
      return false;
    }
    this.#ticksLeft = this.#repeatTicks;
    this.#isYielding = false;
    if (this.#hasPreVotes || this.#attempts === 1) this.#beginPreVote();
    return true;
  }

  /** There is a leader. */
  end(): void {
    this.#ticksLeft = -1;
  }

  #beginPreVote(): void {
    this.#hasPreVotes = false;
    this.#preVoteTicks = 0;
  }

  get #repeatTicks(): number {
    return REPEAT_TICKS + this.#attempts * (1 + this.#rank);
  }
}
