/**
 * The vocabulary of the package: identities, log entries, persistent state, snapshots and messages.
 * Owns no behaviour beyond building frozen values; checking what came from outside is in message.ts.
 */

/** A server's identity: an integer >= 1, never given to another server, not even after a removal. */
export type NodeId = number;

/** An election term (Raft section 5.1): a safe integer that only grows. */
export type Term = number;

/** A position in the log: the first entry has index 1, and 0 is "before the log". */
export type Index = number;

/** "Nobody": no leader known, no vote given, no transfer under way. */
export const NONE: NodeId = 0;
export { NONE as None };

/** What a server is at the moment; a pre-candidate asks whether it could win before it raises its term. */
export type StateType = "follower" | "precandidate" | "candidate" | "leader";

export type EntryType = "normal" | "confChange";

/** One log entry. `data` of a `confChange` entry is what encodeConfChange() made. */
export interface Entry {
  readonly term: Term;
  readonly index: Index;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/** What must survive a crash besides the log (Raft figure 2, "persistent state"). */
export interface HardState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: Index;
}

/** A membership as it is stored: `votersOutgoing` is not empty exactly while the configuration is joint. */
export interface ConfState {
  readonly voters: NodeId[];
  readonly votersOutgoing: NodeId[];
  readonly learners: NodeId[];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: NodeId[];
  readonly autoLeave: boolean;
}

/** The state machine at `index`, with the membership as of that index. */
export interface Snapshot {
  readonly index: Index;
  readonly term: Term;
  readonly confState: ConfState;
  readonly data: Uint8Array;
}

export type ConfChangeType = "addVoter" | "addLearner" | "remove";

/**
 * How a change goes through: `auto` takes the simple protocol for one change and else a joint configuration
 * that is left by itself; `implicit` is always joint and left by itself; `explicit` is joint until asked to leave.
 */
export type ConfChangeTransition = "auto" | "implicit" | "explicit";

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly id: NodeId;
}

/** A membership change. No `changes` means: leave the joint configuration. */
export interface ConfChange {
  readonly changes: readonly ConfChangeSingle[];
  readonly transition: ConfChangeTransition;
  /** Opaque to the core; travels with the change. */
  readonly context?: Uint8Array;
}

/** A read that may be served once `index` is applied. */
export interface ReadState {
  readonly index: Index;
  readonly context: Uint8Array;
}

export interface SoftState {
  readonly lead: NodeId;
  readonly state: StateType;
}

interface Addressed {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's term; 0 on MsgProp and MsgReadIndex; the future term on pre-votes. */
  readonly term: Term;
}

/** AppendEntries: `index` and `logTerm` name the entry right before `entries`. */
export interface MsgApp extends Addressed {
  readonly type: "MsgApp";
  readonly index: Index;
  readonly logTerm: Term;
  readonly commit: Index;
  readonly entries: readonly Entry[];
}

/** `index` is the last matching index, or the refused one with `rejectHint`/`logTerm` as the catch-up hint. */
export interface MsgAppResp extends Addressed {
  readonly type: "MsgAppResp";
  readonly index: Index;
  readonly reject: boolean;
  readonly rejectHint: Index;
  readonly logTerm: Term;
}

/** RequestVote: `index` and `logTerm` are the candidate's last entry; `context` marks a leader transfer. */
export interface MsgVote extends Addressed {
  readonly type: "MsgVote";
  readonly index: Index;
  readonly logTerm: Term;
  readonly context?: Uint8Array;
}

/** Asks whether a vote in `term` (the candidate's own + 1) would be given (Raft thesis section 9.6). */
export interface MsgPreVote extends Addressed {
  readonly type: "MsgPreVote";
  readonly index: Index;
  readonly logTerm: Term;
  readonly context?: Uint8Array;
}

export interface MsgVoteResp extends Addressed {
  readonly type: "MsgVoteResp";
  readonly reject: boolean;
}

/** A grant echoes the request's future term, a rejection carries the rejecter's own. */
export interface MsgPreVoteResp extends Addressed {
  readonly type: "MsgPreVoteResp";
  readonly reject: boolean;
}

/** `commit` never passes what the receiver is known to hold; `context` numbers a read-index round. */
export interface MsgHeartbeat extends Addressed {
  readonly type: "MsgHeartbeat";
  readonly commit: Index;
  readonly context?: Uint8Array;
}

export interface MsgHeartbeatResp extends Addressed {
  readonly type: "MsgHeartbeatResp";
  readonly context?: Uint8Array;
}

export interface MsgSnap extends Addressed {
  readonly type: "MsgSnap";
  readonly snapshot: Snapshot;
}

/** From the leader to its chosen successor: campaign now (Raft thesis section 3.10). */
export interface MsgTimeoutNow extends Addressed {
  readonly type: "MsgTimeoutNow";
}

/** `from` is the server that asked first, also when a follower passes the request on. */
export interface MsgReadIndex extends Addressed {
  readonly type: "MsgReadIndex";
  readonly context: Uint8Array;
}

export interface MsgReadIndexResp extends Addressed {
  readonly type: "MsgReadIndexResp";
  readonly index: Index;
  readonly context: Uint8Array;
}

/** A proposal on its way to the leader; `term` and `index` of its entries are 0. */
export interface MsgProp extends Addressed {
  readonly type: "MsgProp";
  readonly entries: readonly Entry[];
}

/** A wish for another leader on its way to the leader; `from` is the wished successor. */
export interface MsgTransferLeader extends Addressed {
  readonly type: "MsgTransferLeader";
}

export type Message =
  | MsgApp
  | MsgAppResp
  | MsgVote
  | MsgVoteResp
  | MsgPreVote
  | MsgPreVoteResp
  | MsgHeartbeat
  | MsgHeartbeatResp
  | MsgSnap
  | MsgTimeoutNow
  | MsgReadIndex
  | MsgReadIndexResp
  | MsgProp
  | MsgTransferLeader;

export type MessageType = Message["type"];

/** One batch of work for the driver; see RawNode. */
export interface Ready {
  /** Present when leader or role changed; need not be stored. */
  readonly softState?: SoftState;
  /** Present when term, vote or commit changed. */
  readonly hardState?: HardState;
  /** To be made durable; a first index at or below the stored last index truncates first. */
  readonly entries: Entry[];
  /** To be made durable and installed before `entries`. */
  readonly snapshot?: Snapshot;
  /** False when hardState may be written without waiting for the disk: only its commit changed. A snapshot is durable in any case. */
  readonly mustSync: boolean;
  /** May be sent at once. */
  readonly messages: Message[];
  /** May be sent only after hardState, entries and snapshot are durable. */
  readonly messagesAfterPersist: Message[];
  /** To be applied in order, after hardState, entries and snapshot are durable. */
  readonly committedEntries: Entry[];
  readonly readStates: ReadState[];
}

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

export function copyConfState(c: ConfState): ConfState {
  return {
    voters: [...c.voters],
    votersOutgoing: [...c.votersOutgoing],
    learners: [...c.learners],
    learnersNext: [...c.learnersNext],
    autoLeave: c.autoLeave,
  };
}

/** With a membership of its own, so that neither side can alter the other's. The bytes are shared. */
export function copySnapshot(s: Snapshot): Snapshot {
  return { index: s.index, term: s.term, confState: copyConfState(s.confState), data: s.data };
}

/** Whether `value` is a Uint8Array, also one of another realm (as test runners and vm contexts make them). */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || Object.prototype.toString.call(value) === "[object Uint8Array]";
}

/** Sum of the payloads of `entries`, in bytes. */
export function payloadBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.data.length;
  return bytes;
}

/**
 * The longest prefix of `entries` whose payloads fit into `maxBytes`, yet at least one entry.
 * `maxBytes` 0 means one entry at a time, also where entries are empty.
 */
export function limitEntries(entries: readonly Entry[], maxBytes: number): Entry[] {
  let bytes = 0;
  let count = 0;
  for (const entry of entries) {
    bytes += entry.data.length;
    if (count > 0 && (maxBytes === 0 || bytes > maxBytes)) break;
    count++;
  }
  return entries.slice(0, count);
}
