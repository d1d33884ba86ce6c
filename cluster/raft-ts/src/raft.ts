/**
 * One server of the Raft algorithm: its state, the rules on terms, the transitions between roles, and the clock.
 * What the roles do with a message is in append.ts (replication), election.ts (votes and transfer), snapshot.ts,
 * reads.ts and membership.ts. RawNode is the only caller.
 *
 *                          times out                 quorum of votes
 *   [ follower ] --> [ precandidate ] --> [ candidate ] ------------> [ leader ]
 *        ^                  |                   |                          |
 *        +------------------+-- leader found ---+------ higher term -------+
 */
import {
  handleAppend,
  handleAppendResponse,
  handleHeartbeat,
  handleHeartbeatResponse,
  handleUnreachable,
  sendHeartbeat,
} from "./append.ts";
import type { Membership } from "./confchange/changer.ts";
import { restoreStored } from "./confchange/restore.ts";
import { type Config, type Logger, validate } from "./config.ts";
import {
  campaign,
  handleTimeoutNow,
  handleTransfer,
  handleVoteRequest,
  handleVoteResponse,
  isForcedVote,
} from "./election.ts";
import { InvariantError, invariant } from "./errors.ts";
import { RaftLog } from "./log.ts";
import { requireNewMembership } from "./membership.ts";
import { appendOwn, handleProposal } from "./proposal.ts";
import { ReadOnly } from "./read-only.ts";
import { handleReadIndex } from "./reads.ts";
import { handleSnapshot, handleSnapshotReport } from "./snapshot.ts";
import { Tracker } from "./tracker/tracker.ts";
import {
  EMPTY_BYTES,
  type HardState,
  type Index,
  type Message,
  type MsgReadIndex,
  NONE,
  type NodeId,
  type ReadState,
  type SoftState,
  type StateType,
  type Term,
} from "./types.ts";

/** How much longer a witness waits before it campaigns, so that a node with a dataplane wins. */
const WITNESS_PATIENCE = 3;

export class Raft {
  readonly id: NodeId;
  readonly config: Readonly<Config>;
  readonly isWitness: boolean;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  readonly readOnly = new ReadOnly();

  term: Term = 0;
  vote: NodeId = NONE;
  lead: NodeId = NONE;
  state: StateType = "follower";

  /** To whom leadership is being handed. */
  transferee: NodeId = NONE;
  /** Whom a witness asked last to take over, in vain so far. */
  declinedBy: NodeId = NONE;
  /** Ticks for which a witness keeps leadership after a failed hand-over, so that proposals get through. */
  handOverPause = 0;

  /** At or above the index of the latest conf change that may not be applied yet. */
  pendingConfIndex: Index = 0;
  /** Payload bytes proposed in this term and not applied; an estimate that never exceeds the truth. */
  uncommittedBytes = 0;

  /** The membership of a restored snapshot, as long as entries from before it are being applied. */
  restoredMembership: Membership | undefined;

  /** Reads that came before the first commit of this term. */
  pendingReads: MsgReadIndex[] = [];
  readStates: ReadState[] = [];

  /** What may leave at once. */
  messages: Message[] = [];
  /** What must wait for the disk, also votes and acks to this node itself. */
  messagesAfterPersist: Message[] = [];

  /** Ticks since the leader was heard (follower), the campaign began, or the quorum was checked (leader). */
  electionElapsed = 0;
  #heartbeatElapsed = 0;
  /** Drawn anew at each change of role. */
  #electionTimeout = 0;

  constructor(config: Config) {
    validate(config);
    this.config = Object.freeze({ ...config });
    this.id = config.id;
    this.isWitness = config.witness === true;
    const { hardState, confState } = config.storage.initialState();
    this.log = new RaftLog(config.storage);
    this.tracker = new Tracker(config.maxInflightMessages);
    this.tracker.switchTo(restoreStored(confState), this.log.lastIndex());
    this.term = hardState.term;
    this.vote = hardState.vote;
    if (hardState.term > 0 || hardState.vote !== NONE || hardState.commit > 0) {
      // A commit index alone need not be durable; the snapshot that was installed or made at it is.
      this.log.loadCommitted(Math.max(hardState.commit, this.log.committed));
    }
    if (config.applied > 0) this.log.appliedTo(config.applied);
    this.becomeFollower(this.term, NONE);
  }

  get logger(): Logger | undefined {
    return this.config.logger;
  }

  softState(): SoftState {
    return Object.freeze({ lead: this.lead, state: this.state });
  }

  hardState(): HardState {
    return Object.freeze({ term: this.term, vote: this.vote, commit: this.log.committed });
  }

  /** A member that counts, whose log is not about to be replaced: only such a server may campaign. */
  isPromotable(): boolean {
    const progress = this.tracker.progressOf(this.id);
    return progress !== undefined && !progress.isLearner && this.log.unstable.snapshot === undefined;
  }

  /**
   * Queues a message. Only what a leader says as leader may overtake its own disk (thesis section 10.2.1); votes,
   * acks and everything else are promises that must be durable before they are given (section 3.8).
   */
  send(m: Message): void {
    Object.freeze(m);
    switch (m.type) {
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
      case "MsgTimeoutNow":
      case "MsgReadIndexResp":
        invariant(m.to !== this.id, () => `${m.type} must not be addressed to the sender itself`);
        this.messages.push(m);
        return;
      default:
        this.messagesAfterPersist.push(m);
    }
  }

  // ---------------------------------------------------------------- roles

  becomeFollower(term: Term, lead: NodeId): void {
    this.#reset(term);
    this.lead = lead;
    this.state = "follower";
    this.logger?.info(`${this.id} became follower at term ${this.term}, leader ${lead}`);
  }

  /** Asks for votes without raising the term; neither term nor vote changes. */
  becomePreCandidate(): void {
    invariant(this.state !== "leader", () => "A leader cannot become precandidate");
    this.tracker.resetVotes();
    this.lead = NONE;
    this.state = "precandidate";
    this.logger?.info(`${this.id} became precandidate at term ${this.term}`);
  }

  becomeCandidate(): void {
    invariant(this.state !== "leader", () => "A leader cannot become candidate");
    invariant(Number.isSafeInteger(this.term + 1), () => "The term left the safe integers");
    this.#reset(this.term + 1);
    this.vote = this.id;
    this.state = "candidate";
    this.logger?.info(`${this.id} became candidate at term ${this.term}`);
  }

  becomeLeader(): void {
    invariant(this.state !== "follower", () => "A follower cannot become leader without an election");
    this.#reset(this.term);
    this.lead = this.id;
    this.state = "leader";
    const own = this.tracker.progressOf(this.id);
    if (own === undefined) throw new InvariantError("A server that is no member cannot become leader");
    own.match = this.log.lastIndex();
    own.becomeReplicate();
    own.recentActive = true;
    // Whether the log holds an unapplied conf change is unknown, so all of it counts as one.
    this.pendingConfIndex = this.log.lastIndex();
    // Entries of earlier terms are committed only together with one of this term (section 5.4.2).
    appendOwn(this, [{ type: "normal", data: EMPTY_BYTES }]);
    this.logger?.info(`${this.id} became leader at term ${this.term}`);
  }

  #reset(term: Term): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = NONE;
    }
    this.lead = NONE;
    this.electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.#drawElectionTimeout();
    this.transferee = NONE;
    this.declinedBy = NONE;
    this.handOverPause = 0;
    this.tracker.resetVotes();
    this.tracker.resetProgress(this.log.lastIndex());
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.readOnly.clear();
    this.pendingReads = [];
  }

  #drawElectionTimeout(): void {
    const { electionTick, random } = this.config;
    const extra = random(electionTick);
    invariant(
      Number.isInteger(extra) && extra >= 0 && extra < electionTick,
      () => `random(${electionTick}) answered ${extra}`,
    );
    this.#electionTimeout = (electionTick + extra) * (this.isWitness ? WITNESS_PATIENCE : 1);
  }

  // ---------------------------------------------------------------- clock

  tick(): void {
    if (this.state === "leader") this.#tickLeader();
    else this.#tickElection();
  }

  #tickElection(): void {
    this.electionElapsed++;
    if (this.isPromotable() && this.electionElapsed >= this.#electionTimeout) {
      this.electionElapsed = 0;
      this.campaign();
    }
  }

  #tickLeader(): void {
    this.#heartbeatElapsed++;
    this.electionElapsed++;
    if (this.handOverPause > 0) this.handOverPause--;
    if (this.electionElapsed >= this.config.electionTick) {
      this.electionElapsed = 0;
      if (this.config.checkQuorum) this.#checkQuorum();
      // A transfer that has not worked by now is given up, and proposals flow again (thesis section 3.10).
      if (this.state === "leader" && this.transferee !== NONE) this.#giveTransferUp();
    }
    if (this.state !== "leader") return;
    if (this.#heartbeatElapsed >= this.config.heartbeatTick) {
      this.#heartbeatElapsed = 0;
      this.broadcastHeartbeat(this.readOnly.lastContext());
    }
  }

  /** A leader that hears no quorum cannot know whether it still is one (thesis section 6.2). */
  #checkQuorum(): void {
    if (!this.tracker.isQuorumActive()) {
      this.logger?.warn(`${this.id} stepped down at term ${this.term}: no quorum is active`);
      this.becomeFollower(this.term, NONE);
      return;
    }
    for (const [id, progress] of this.tracker.members) if (id !== this.id) progress.recentActive = false;
  }

  #giveTransferUp(): void {
    this.logger?.info(`${this.id} gave up the transfer of leadership to ${this.transferee}`);
    this.declinedBy = this.transferee;
    this.handOverPause = this.config.electionTick;
    this.transferee = NONE;
    requireNewMembership(this);
  }

  broadcastHeartbeat(context: Uint8Array | undefined): void {
    for (const [id, progress] of this.tracker.members) {
      if (id !== this.id) sendHeartbeat(this, id, progress, context);
    }
  }

  // ---------------------------------------------------------------- inputs

  /** Starts an election by the clock or by the application's wish. */
  campaign(): void {
    campaign(this, this.config.preVote ? "preElection" : "election");
  }

  /** Lets go of the known leader, so that votes are given without waiting for its lease. */
  forgetLeader(): void {
    if (this.state !== "follower" || this.lead === NONE) return;
    // A lease-based read trusts that no other leader arises within the lease.
    if (this.config.readOnly === "lease") {
      this.logger?.warn(`${this.id} keeps leader ${this.lead}: reads rely on its lease`);
      return;
    }
    this.logger?.info(`${this.id} forgot leader ${this.lead} at term ${this.term}`);
    this.lead = NONE;
  }

  reportUnreachable(id: NodeId): void {
    if (this.state === "leader") handleUnreachable(this, id);
  }

  reportSnapshot(id: NodeId, isOk: boolean): void {
    if (this.state === "leader") handleSnapshotReport(this, id, isOk);
  }

  /** Takes one message in, after the rules on terms (section 5.1). */
  step(m: Message): void {
    if (m.term > this.term) {
      if (!this.#acceptHigherTerm(m)) return;
    } else if (m.term < this.term && m.term > 0) {
      this.#answerLowerTerm(m);
      return;
    }
    if (m.type === "MsgVote" || m.type === "MsgPreVote") {
      handleVoteRequest(this, m);
      return;
    }
    switch (this.state) {
      case "leader":
        this.#stepLeader(m);
        return;
      case "candidate":
      case "precandidate":
        this.#stepCandidate(m);
        return;
      case "follower":
        this.#stepFollower(m);
        return;
      default:
        this.state satisfies never;
    }
  }

  /** Answers whether the message is to be handled further. */
  #acceptHigherTerm(m: Message): boolean {
    switch (m.type) {
      case "MsgVote":
      case "MsgPreVote":
        // Within the lease of a leader that was heard, a vote would only disrupt (section 6, last problem).
        if (this.#isInLease() && !isForcedVote(m)) {
          this.logger?.debug(
            `${this.id} ignored ${m.type} of ${m.from}: leader ${this.lead} was heard lately`,
          );
          return false;
        }
        // A pre-vote never changes the voter's term.
        if (m.type === "MsgVote") this.becomeFollower(m.term, NONE);
        return true;
      case "MsgPreVoteResp":
        // A grant echoes the future term that was asked for; a rejection comes from a real higher term.
        if (m.reject) this.becomeFollower(m.term, NONE);
        return true;
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
        this.becomeFollower(m.term, m.from);
        return true;
      default:
        this.becomeFollower(m.term, NONE);
        return true;
    }
  }

  #isInLease(): boolean {
    return this.config.checkQuorum && this.lead !== NONE && this.electionElapsed < this.config.electionTick;
  }

  #answerLowerTerm(m: Message): void {
    const { checkQuorum, preVote } = this.config;
    const isFromLeader = m.type === "MsgHeartbeat" || m.type === "MsgApp" || m.type === "MsgSnap";
    if (isFromLeader && (checkQuorum || preVote)) {
      // This server's term may have grown while it was cut off, and then it hears only a leader that it must
      // ignore, while its own votes are ignored: the higher term makes that leader step down and frees it.
      this.sendAppendResponse(m.from, { index: 0 });
    } else if (m.type === "MsgPreVote") {
      // Silence could deadlock a cluster where one server has the higher term and another the longer log.
      this.send({ type: "MsgPreVoteResp", from: this.id, to: m.from, term: this.term, reject: true });
    } else {
      this.logger?.debug(`${this.id} ignored ${m.type} of ${m.from} with term ${m.term}, at ${this.term}`);
    }
  }

  sendAppendResponse(
    to: NodeId,
    answer: { index: Index; reject?: boolean; rejectHint?: Index; logTerm?: Term },
  ): void {
    const { index, reject = false, rejectHint = 0, logTerm = 0 } = answer;
    const type = "MsgAppResp";
    this.send({ type, from: this.id, to, term: this.term, index, reject, rejectHint, logTerm });
  }

  #stepLeader(m: Message): void {
    switch (m.type) {
      case "MsgProp":
        handleProposal(this, m);
        return;
      case "MsgReadIndex":
        handleReadIndex(this, m);
        return;
      case "MsgAppResp":
        handleAppendResponse(this, m);
        return;
      case "MsgHeartbeatResp":
        handleHeartbeatResponse(this, m);
        return;
      case "MsgTransferLeader":
        handleTransfer(this, m.from);
        return;
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
        // A stranger's claim proves nothing, nor one without a term; a member's means that this term has two leaders.
        if (m.term !== this.term || this.tracker.progressOf(m.from) === undefined) return;
        throw new InvariantError(`${m.from} claims to lead term ${m.term}, which ${this.id} leads itself`);
      default:
        return;
    }
  }

  #stepCandidate(m: Message): void {
    switch (m.type) {
      case "MsgProp":
        handleProposal(this, m);
        return;
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
        // Somebody else won this term (section 5.2). A message without a term must not take this server's away.
        this.becomeFollower(this.term, m.from);
        this.#hearLeader(m);
        return;
      case "MsgPreVoteResp":
      case "MsgVoteResp":
        handleVoteResponse(this, m);
        return;
      default:
        return;
    }
  }

  #stepFollower(m: Message): void {
    switch (m.type) {
      case "MsgProp":
        handleProposal(this, m);
        return;
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
        this.electionElapsed = 0;
        this.lead = m.from;
        this.#hearLeader(m);
        return;
      case "MsgTimeoutNow":
        handleTimeoutNow(this);
        return;
      case "MsgTransferLeader":
        if (this.lead !== NONE) this.send({ ...m, to: this.lead, term: this.term });
        return;
      case "MsgReadIndex":
        if (this.lead !== NONE) this.send({ ...m, to: this.lead, term: 0 });
        return;
      case "MsgReadIndexResp":
        this.readStates.push({ index: m.index, context: m.context });
        return;
      default:
        return;
    }
  }

  #hearLeader(m: Message & { type: "MsgApp" | "MsgHeartbeat" | "MsgSnap" }): void {
    switch (m.type) {
      case "MsgApp":
        handleAppend(this, m);
        return;
      case "MsgHeartbeat":
        handleHeartbeat(this, m);
        return;
      case "MsgSnap":
        handleSnapshot(this, m);
        return;
      default:
        m satisfies never;
    }
  }
}
