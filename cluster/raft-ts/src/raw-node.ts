/**
 * RawNode: the only class that applications touch. Inputs go in, a Ready comes out, and advance() tells that it
 * was dealt with. Not reentrant, one Ready at a time:
 *
 *     rd = ready(); send(rd.messages); await save(rd); send(rd.messagesAfterPersist);
 *     install(rd.snapshot); apply(rd.committedEntries); advance();
 *
 * Inputs may come between ready() and advance(); what they cause is part of the next Ready.
 */
import { checkConfChange, encodeConfChange } from "./confchange/codec.ts";
import type { Config } from "./config.ts";
import { InvariantError, MalformedError, StepLocalMessageError } from "./errors.ts";
import { applyConfChange, requireNewMembership } from "./membership.ts";
import { checkMessage } from "./message.ts";
import { releaseUncommitted } from "./proposal.ts";
import { Raft } from "./raft.ts";
import { adoptRestoredMembership } from "./snapshot.ts";
import { type BasicStatus, basicStatusOf, type Status, statusOf } from "./status.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type EntryType,
  type HardState,
  type Index,
  isBytes,
  type Message,
  type NodeId,
  type Ready,
  type SoftState,
  type Term,
} from "./types.ts";

/** What advance() has to do for the Ready that is out. */
interface Outstanding {
  readonly toSelf: readonly Message[];
  /** The last entry that was handed out to be made durable. */
  readonly lastEntry: { readonly index: Index; readonly term: Term } | undefined;
  readonly snapshotIndex: Index | undefined;
  readonly committedEntries: readonly Entry[];
}

export class RawNode {
  readonly #raft: Raft;
  #softState: SoftState;
  #hardState: HardState;
  #outstanding: Outstanding | undefined;

  /** Throws ConfigError, or InvariantError when the stored state contradicts itself. */
  constructor(config: Config) {
    this.#raft = new Raft(config);
    this.#softState = this.#raft.softState();
    this.#hardState = this.#raft.hardState();
  }

  /** One unit of the logical clock. */
  tick(): void {
    this.#raft.tick();
  }

  /** Starts an election now; with preVote it asks first whether it can win. */
  campaign(): void {
    this.#raft.campaign();
  }

  /**
   * Takes in a message from another node. Throws MalformedError and StepLocalMessageError for what must not come
   * over the network, and ProposalDroppedError for a forwarded proposal; neither changes anything.
   */
  step(m: Message): void {
    const { id, term } = this.#raft;
    const message = checkMessage(m, term);
    // Votes and acks for oneself count at advance(), when they are durable, and come from nowhere else.
    if (message.from === id && !mayComeBack(message, term)) throw new StepLocalMessageError(message.type);
    // Nobody asked a stranger, so its answer proves nothing, not even a later term.
    if (isAnswer(message) && this.#raft.tracker.progressOf(message.from) === undefined) return;
    this.#raft.step(message);
  }

  /** Throws ProposalDroppedError when there is no leader to take it, or the leader must not. Keeps a copy of `data`. */
  propose(data: Uint8Array): void {
    if (!isBytes(data)) throw new MalformedError("Cannot propose: expected a Uint8Array");
    // An entry must never change again, and a caller may use its buffer for the next one.
    this.#propose("normal", new Uint8Array(data));
  }

  /**
   * As propose(); a change that does not fit now is replaced by an empty entry. The change takes effect when the
   * application hands it to applyConfChange().
   */
  proposeConfChange(cc: ConfChange): void {
    this.#propose("confChange", encodeConfChange(cc));
  }

  /** To be called when a committed conf change is applied; answers the membership to be stored in snapshots. */
  applyConfChange(cc: ConfChange): ConfState {
    checkConfChange(cc);
    return applyConfChange(this.#raft, cc);
  }

  /** Asks for an index from which a linearizable read may be served; the answer comes in Ready.readStates. */
  readIndex(context: Uint8Array): void {
    if (!isBytes(context))
      throw new MalformedError("Cannot ask for a read: expected a Uint8Array as its context");
    const { id } = this.#raft;
    const copy = new Uint8Array(context);
    this.#raft.step(Object.freeze({ type: "MsgReadIndex", from: id, to: id, term: 0, context: copy }));
  }

  /** Asks the leader to hand leadership to `to`; without effect when nobody leads. */
  transferLeader(to: NodeId): void {
    this.#raft.step(Object.freeze({ type: "MsgTransferLeader", from: to, to: this.#raft.id, term: 0 }));
  }

  /**
   * A follower lets go of its leader, known to be dead by other means: it then gives votes at once. The leader
   * is known again as soon as it is heard. Without effect on other roles and with lease-based reads.
   */
  forgetLeader(): void {
    this.#raft.forgetLeader();
  }

  /** The last message to `id` was not delivered. */
  reportUnreachable(id: NodeId): void {
    this.#raft.reportUnreachable(id);
  }

  /** The snapshot to `id` was delivered, or not. */
  reportSnapshot(id: NodeId, ok: boolean): void {
    this.#raft.reportSnapshot(id, ok);
  }

  /** Whether ready() has anything to say; false while a Ready is out. */
  hasReady(): boolean {
    if (this.#outstanding !== undefined) return false;
    const r = this.#raft;
    return (
      r.messages.length > 0 ||
      r.messagesAfterPersist.length > 0 ||
      r.readStates.length > 0 ||
      r.log.unstable.hasNextEntries ||
      r.log.unstable.nextSnapshot !== undefined ||
      r.log.hasNextCommitted() ||
      isHardStateChanged(r.hardState(), this.#hardState) ||
      isSoftStateChanged(r.softState(), this.#softState)
    );
  }

  /** Hands the work out. Must be followed by advance() before the next ready(). */
  ready(): Ready {
    if (this.#outstanding !== undefined) {
      throw new InvariantError("Cannot make a Ready: the one before was not advanced");
    }
    const r = this.#raft;
    const { unstable } = r.log;
    const entries = unstable.nextEntries();
    const snapshot = unstable.nextSnapshot;
    const committedEntries = r.log.nextCommitted(r.config.maxSizePerMessage);
    const softState = r.softState();
    const hardState = r.hardState();
    const isSoftChanged = isSoftStateChanged(softState, this.#softState);
    const isHardChanged = isHardStateChanged(hardState, this.#hardState);
    const isTermOrVoteChanged =
      hardState.term !== this.#hardState.term || hardState.vote !== this.#hardState.vote;
    const toSelf: Message[] = [];
    const toOthers: Message[] = [];
    for (const m of r.messagesAfterPersist) (m.to === r.id ? toSelf : toOthers).push(m);
    const rd: Ready = Object.freeze({
      ...(isSoftChanged ? { softState } : {}),
      ...(isHardChanged ? { hardState } : {}),
      ...(snapshot === undefined ? {} : { snapshot }),
      entries,
      mustSync: entries.length > 0 || isTermOrVoteChanged,
      messages: r.messages,
      messagesAfterPersist: toOthers,
      committedEntries,
      readStates: r.readStates,
    });
    const lastApplying = committedEntries.at(-1);
    if (lastApplying !== undefined) r.log.acceptApplying(lastApplying.index);
    unstable.acceptInProgress();
    r.messages = [];
    r.messagesAfterPersist = [];
    r.readStates = [];
    this.#softState = softState;
    this.#hardState = hardState;
    this.#outstanding = {
      toSelf,
      lastEntry: entries.at(-1),
      snapshotIndex: snapshot?.index,
      // The application may alter the arrays that it was given.
      committedEntries: [...committedEntries],
    };
    return rd;
  }

  /** The Ready is dealt with: sent, durable, applied. */
  advance(): void {
    const done = this.#outstanding;
    if (done === undefined) throw new InvariantError("Cannot advance: no Ready is out");
    this.#outstanding = undefined;
    const r = this.#raft;
    // Own votes and acks are durable now and count like anybody else's; outdated ones fall to the rules on terms.
    for (const m of done.toSelf) r.step(m);
    if (done.lastEntry !== undefined) r.log.unstable.stableTo(done.lastEntry.index, done.lastEntry.term);
    if (done.snapshotIndex !== undefined) {
      r.log.unstable.stableSnapshotTo(done.snapshotIndex);
      this.#appliedTo(done.snapshotIndex);
    }
    const lastApplied = done.committedEntries.at(-1);
    if (lastApplied !== undefined) {
      this.#appliedTo(lastApplied.index);
      releaseUncommitted(r, done.committedEntries);
      adoptRestoredMembership(r);
    }
  }

  status(): Status {
    return statusOf(this.#raft);
  }

  /** The part of it that a driver looks at with each message. */
  basicStatus(): BasicStatus {
    return basicStatusOf(this.#raft);
  }

  #appliedTo(index: Index): void {
    const { log } = this.#raft;
    log.appliedTo(Math.max(index, log.applied));
    requireNewMembership(this.#raft);
  }

  #propose(type: EntryType, data: Uint8Array): void {
    const { id } = this.#raft;
    const entries = Object.freeze([Object.freeze({ term: 0, index: 0, type, data })]);
    this.#raft.step(Object.freeze({ type: "MsgProp", from: id, to: id, term: 0, entries }));
  }
}

function isHardStateChanged(a: HardState, b: HardState): boolean {
  return a.term !== b.term || a.vote !== b.vote || a.commit !== b.commit;
}

function isSoftStateChanged(a: SoftState, b: SoftState): boolean {
  return a.lead !== b.lead || a.state !== b.state;
}

/** Requests come back to who asked first; the answer to a heartbeat proves no more than a later term. */
function mayComeBack({ type, term }: Message, ownTerm: Term): boolean {
  if (type === "MsgHeartbeatResp") return term > ownTerm;
  return type === "MsgProp" || type === "MsgReadIndex" || type === "MsgTransferLeader";
}

/** What only those are asked for whom one knows. A read may be answered by a leader that one does not know yet. */
function isAnswer({ type }: Message): boolean {
  return (
    type === "MsgVoteResp" ||
    type === "MsgPreVoteResp" ||
    type === "MsgAppResp" ||
    type === "MsgHeartbeatResp"
  );
}
