/**
 * The membership together with what is known of each member: progress, and votes during a campaign.
 * Owns the link between the two; who is a member is decided by confchange/changer.ts.
 */
import { EMPTY_MEMBERSHIP, type Membership } from "../confchange/changer.ts";
import { toConfState } from "../confchange/restore.ts";
import { committedIndex, voteResult, voterIds } from "../quorum/joint.ts";
import type { VoteResult } from "../quorum/majority.ts";
import { type ConfState, copyConfState, type Index, type NodeId } from "../types.ts";
import { Progress } from "./progress.ts";

export class Tracker {
  readonly #maxInflight: number;
  #membership: Membership = EMPTY_MEMBERSHIP;
  /** As stored; made when it is asked for. */
  #confState: ConfState | undefined;
  /** Ascending by id, so that messages go out in an order that does not depend on history. */
  #progress = new Map<NodeId, Progress>();
  #votes = new Map<NodeId, boolean>();

  constructor(maxInflight: number) {
    this.#maxInflight = maxInflight;
  }

  get membership(): Membership {
    return this.#membership;
  }

  get members(): ReadonlyMap<NodeId, Progress> {
    return this.#progress;
  }

  progressOf(id: NodeId): Progress | undefined {
    return this.#progress.get(id);
  }

  isVoter(id: NodeId): boolean {
    return this.#membership.incoming.has(id) || this.#membership.outgoing.has(id);
  }

  voterIds(): NodeId[] {
    return voterIds(this.#membership);
  }

  /** A copy: it goes out to the application. */
  confState(): ConfState {
    this.#confState ??= toConfState(this.#membership);
    return copyConfState(this.#confState);
  }

  /** Takes a new membership over: members that stay keep their progress, others come and go. */
  switchTo(membership: Membership, lastIndex: Index): void {
    const ids = [...new Set([...voterIds(membership), ...membership.learners])].sort((a, b) => a - b);
    const progress = new Map<NodeId, Progress>();
    for (const id of ids) {
      const isLearner = membership.learners.has(id);
      let pr = this.#progress.get(id);
      if (pr === undefined) {
        // A new member counts as active at first, else a quorum check before its first answer would depose us.
        pr = new Progress({ next: Math.max(lastIndex, 1), maxInflight: this.#maxInflight, isLearner });
        pr.recentActive = true;
      }
      pr.isLearner = isLearner;
      progress.set(id, pr);
    }
    this.#membership = membership;
    this.#confState = undefined;
    this.#progress = progress;
  }

  /** Forgets everything but the membership, as at the begin of a term. */
  resetProgress(lastIndex: Index): void {
    for (const [id, { isLearner }] of this.#progress) {
      this.#progress.set(
        id,
        new Progress({ next: lastIndex + 1, maxInflight: this.#maxInflight, isLearner }),
      );
    }
  }

  /** The highest index that a quorum holds. */
  committed(): Index {
    return this.reachedByQuorum((id) => this.#progress.get(id)?.match);
  }

  /** The highest number that a quorum has reached, where each server has reached `of(id)`. */
  reachedByQuorum(of: (id: NodeId) => number | undefined): number {
    return committedIndex(this.#membership, of);
  }

  /** Whether a quorum was heard from since the last check. */
  isQuorumActive(): boolean {
    const active = new Map<NodeId, boolean>();
    for (const id of this.voterIds()) active.set(id, this.#progress.get(id)?.recentActive ?? false);
    return this.hasQuorum(active);
  }

  hasQuorum(votes: ReadonlyMap<NodeId, boolean>): boolean {
    return voteResult(this.#membership, votes) === "won";
  }

  resetVotes(): void {
    this.#votes = new Map();
  }

  /** The first answer of a voter counts, a second one is a duplicate. */
  recordVote(id: NodeId, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  tallyVotes(): VoteResult {
    return voteResult(this.#membership, this.#votes);
  }
}
