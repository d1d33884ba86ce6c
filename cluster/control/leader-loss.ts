/**
 * Leader loss: what happens between "the leader is dead" and "another one leads", so that it takes a few round trips instead of
 * an election timeout. Owns which members count as dead and which requests for votes wait; who campaigns when is
 * succession.ts's, votes are raft-ts'.
 *
 *   this member         dead leader              another member
 *     | <- append (late) ---|                          |   taken, but no sign of life
 *     |                                                |
 *     |-- pre-vote --------------------------------->  |   the leader counts as heard there: Raft ignores it, it waits
 *     | <------------------------- granted ----------- |   as soon as that one is told, or misses the leader as well
 *
 * While a leader counts as heard, Raft ignores requests for votes (thesis section 4.2.3). That only keeps leaders from being
 * disturbed; safety does not rest on it, as reads ask a quorum. So a member may let go of a leader for good reasons.
 */
import type { Message, MsgPreVote, MsgVote, RawNode } from "raft-ts";
import { Succession } from "./succession.ts";

export interface LeaderLossOptions {
  readonly node: Pick<RawNode, "basicStatus" | "forgetLeader" | "campaign">;
  readonly self: number;
  readonly isWitness: boolean;
  /** Voters that have a dataplane, this member included; they succeed each other by id. */
  readonly candidates: () => readonly number[];
  /** For so many ticks after a death, what arrives of the dead counts as sent before. */
  readonly lateTicks: number;
  readonly isQuiet: (node: number) => boolean;
  /** Hands a message to Raft; never throws for what is wrong with the message. */
  readonly step: (message: Message) => void;
}

export class LeaderLoss {
  readonly #options: LeaderLossOptions;
  readonly #succession = new Succession();
  /** Members that liveness called dead and that were not heard since, with the ticks that are left of lateTicks. */
  readonly #dead = new Map<number, number>();
  /** By sender: the latest request for a vote that came while the leader still counted as heard. */
  readonly #waiting = new Map<number, MsgPreVote | MsgVote>();

  /** The candidate that asked with a shorter log than this one; 0: none did. */
  #lacking = 0;

  constructor(options: LeaderLossOptions) {
    this.#options = options;
  }

  /** Liveness is sure that `node` is dead. */
  died(node: number): void {
    const { node: raft, self, isWitness, candidates, lateTicks } = this.#options;
    this.#dead.set(node, lateTicks);
    const { lead, state } = raft.basicStatus();
    if (state === "leader" || (lead !== 0 && lead !== node)) return;
    raft.forgetLeader();
    this.#answerWaiting();
    if (!isWitness && this.#succession.begin(self, this.#dead, candidates())) raft.campaign();
  }

  /** Steps a message of another member. */
  receive(message: Message): void {
    const { node: raft, step } = this.#options;
    const { lead, term, id, lastIndex } = raft.basicStatus();
    if (message.type === "MsgPreVoteResp" && this.#succession.isYielding) return;
    if (this.#dead.get(message.from) === 0) this.#dead.delete(message.from);
    if (message.from === lead) this.#waiting.clear();
    step(message);
    this.#disbelieveDead(term);
    if (message.type !== "MsgPreVote" && message.type !== "MsgVote") return;
    if (message.index >= lastIndex) this.#succession.asked(message.from);
    if (lead === 0) this.#helpOut(message);
    if (lead === 0 || lead === id) return;
    this.#waiting.set(message.from, message);
    this.#answerWaiting();
  }

  /** Somebody waits for this member to let go of the leader. */
  get isAsked(): boolean {
    return this.#waiting.size > 0;
  }

  /** Nothing that it waits for is counted in ticks. */
  get isQuiet(): boolean {
    if (this.#waiting.size > 0 || this.#succession.isActive) return false;
    for (const ticksLeft of this.#dead.values()) if (ticksLeft > 0) return false;
    return true;
  }

  /** Looks again whether this member has begun to miss the leader. */
  reconsider(): void {
    this.#answerWaiting();
  }

  /** So many ticks passed. After a stall they count as one for who campaigns: in that time nobody could be heard. */
  ticked(ticks: number): void {
    const { node: raft } = this.#options;
    for (const [node, left] of this.#dead) this.#dead.set(node, Math.max(0, left - ticks));
    const { state, term, lead } = raft.basicStatus();
    if (this.#succession.tick(state === "candidate" ? term : 0) && lead === 0) raft.campaign();
    this.#answerWaiting();
  }

  /** Somebody leads. */
  over(): void {
    this.#lacking = 0;
    this.#succession.end();
  }

  /** What a leader sent before it died is taken: it may be committed, and a candidate without it would not be elected. */
  #disbelieveDead(termBefore: number): void {
    const { node: raft } = this.#options;
    const { lead, term } = raft.basicStatus();
    if (term !== termBefore || (this.#dead.get(lead) ?? 0) === 0) return;
    raft.forgetLeader();
    if (this.#succession.isFirst) raft.campaign();
  }

  #answerWaiting(): void {
    if (this.#waiting.size === 0) return;
    const { node: raft, isQuiet, step } = this.#options;
    const { lead } = raft.basicStatus();
    if (lead !== 0 && !this.#dead.has(lead) && !isQuiet(lead)) return;
    raft.forgetLeader();
    const requests = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const request of requests) {
      step(request);
      this.#helpOut(request);
    }
  }

  /**
   * A candidate that lacks entries which only the dead leader and this witness have cannot be elected. Nobody else would
   * bring them to it: the witness leads for the few round trips that this takes. Not at the first request: the entries may
   * be on their way, and then two would campaign against each other.
   */
  #helpOut(request: MsgPreVote | MsgVote): void {
    const { node: raft, isWitness } = this.#options;
    const { state, lead, lastIndex } = raft.basicStatus();
    if (!isWitness || state !== "follower" || lead !== 0 || request.index >= lastIndex) return;
    if (this.#lacking === request.from) raft.campaign();
    this.#lacking = request.from;
  }
}
