/**
 * Raft codec: raft-ts messages to and from their wire form (proto/synwall/v1/raft.proto). Snapshots travel apart, see
 * grpc-snapshot.ts. Decoding throws MalformedError on what no member would send.
 */
import { type ConfState, type Entry, MalformedError, type Message, type MsgSnap } from "raft-ts";
import {
  EntryType,
  type RaftMessage,
  RaftMessageType as T,
  type ConfState as WireConfState,
  type Entry as WireEntry,
} from "../../proto/gen/synwall/v1/raft.ts";

/** Everything but snapshots. */
export type PlainMessage = Exclude<Message, MsgSnap>;

const TYPES: Readonly<Record<PlainMessage["type"], T>> = {
  MsgApp: T.RAFT_MESSAGE_TYPE_APP,
  MsgAppResp: T.RAFT_MESSAGE_TYPE_APP_RESP,
  MsgVote: T.RAFT_MESSAGE_TYPE_VOTE,
  MsgVoteResp: T.RAFT_MESSAGE_TYPE_VOTE_RESP,
  MsgPreVote: T.RAFT_MESSAGE_TYPE_PRE_VOTE,
  MsgPreVoteResp: T.RAFT_MESSAGE_TYPE_PRE_VOTE_RESP,
  MsgHeartbeat: T.RAFT_MESSAGE_TYPE_HEARTBEAT,
  MsgHeartbeatResp: T.RAFT_MESSAGE_TYPE_HEARTBEAT_RESP,
  MsgTimeoutNow: T.RAFT_MESSAGE_TYPE_TIMEOUT_NOW,
  MsgReadIndex: T.RAFT_MESSAGE_TYPE_READ_INDEX,
  MsgReadIndexResp: T.RAFT_MESSAGE_TYPE_READ_INDEX_RESP,
  MsgProp: T.RAFT_MESSAGE_TYPE_PROP,
  MsgTransferLeader: T.RAFT_MESSAGE_TYPE_TRANSFER_LEADER,
};

const NO_BYTES = new Uint8Array(0);

export function toWire(message: PlainMessage): RaftMessage {
  const { type, from, to, term } = message;
  // One shape for all types: what a type lacks stays at its default and takes no bytes.
  const wire: RaftMessage = {
    type: TYPES[type],
    from,
    to,
    term,
    logTerm: 0,
    index: 0,
    commit: 0,
    entries: [],
    reject: false,
    rejectHint: 0,
    context: NO_BYTES,
  };
  if ("logTerm" in message) wire.logTerm = message.logTerm;
  if ("index" in message) wire.index = message.index;
  if ("commit" in message) wire.commit = message.commit;
  if ("entries" in message) wire.entries = message.entries.map(entryToWire);
  if ("reject" in message) wire.reject = message.reject;
  if ("rejectHint" in message) wire.rejectHint = message.rejectHint;
  if ("context" in message && message.context !== undefined) wire.context = message.context;
  return wire;
}

export function fromWire(wire: RaftMessage): PlainMessage {
  const { from, to, term, logTerm, index, commit, reject, rejectHint } = wire;
  const base = { from, to, term };
  const context = wire.context.length === 0 ? {} : { context: new Uint8Array(wire.context) };
  switch (wire.type) {
    case T.RAFT_MESSAGE_TYPE_APP:
      return { type: "MsgApp", ...base, index, logTerm, commit, entries: wire.entries.map(entryFromWire) };
    case T.RAFT_MESSAGE_TYPE_APP_RESP:
      return { type: "MsgAppResp", ...base, index, reject, rejectHint, logTerm };
    case T.RAFT_MESSAGE_TYPE_VOTE:
      return { type: "MsgVote", ...base, index, logTerm, ...context };
    case T.RAFT_MESSAGE_TYPE_VOTE_RESP:
      return { type: "MsgVoteResp", ...base, reject };
    case T.RAFT_MESSAGE_TYPE_PRE_VOTE:
      return { type: "MsgPreVote", ...base, index, logTerm, ...context };
    case T.RAFT_MESSAGE_TYPE_PRE_VOTE_RESP:
      return { type: "MsgPreVoteResp", ...base, reject };
    case T.RAFT_MESSAGE_TYPE_HEARTBEAT:
      return { type: "MsgHeartbeat", ...base, commit, ...context };
    case T.RAFT_MESSAGE_TYPE_HEARTBEAT_RESP:
      return { type: "MsgHeartbeatResp", ...base, ...context };
    case T.RAFT_MESSAGE_TYPE_TIMEOUT_NOW:
      return { type: "MsgTimeoutNow", ...base };
    case T.RAFT_MESSAGE_TYPE_READ_INDEX:
      return { type: "MsgReadIndex", ...base, context: new Uint8Array(wire.context) };
    case T.RAFT_MESSAGE_TYPE_READ_INDEX_RESP:
      return { type: "MsgReadIndexResp", ...base, index, context: new Uint8Array(wire.context) };
    case T.RAFT_MESSAGE_TYPE_PROP:
      return { type: "MsgProp", ...base, entries: wire.entries.map(entryFromWire) };
    case T.RAFT_MESSAGE_TYPE_TRANSFER_LEADER:
      return { type: "MsgTransferLeader", ...base };
    default:
      throw new MalformedError(`Cannot take a Raft message of type ${wire.type}: it is not known here`);
  }
}

/** Bytes that a message takes in a queue, roughly: payloads and a constant. */
export function queuedBytes(message: PlainMessage): number {
  let bytes = 64;
  if ("entries" in message) for (const entry of message.entries) bytes += entry.data.length + 24;
  return bytes;
}

export function confStateToWire(confState: ConfState): WireConfState {
  return {
    voters: [...confState.voters],
    votersOutgoing: [...confState.votersOutgoing],
    learners: [...confState.learners],
    learnersNext: [...confState.learnersNext],
    autoLeave: confState.autoLeave,
  };
}

function entryToWire(entry: Entry): WireEntry {
  const type = entry.type === "normal" ? EntryType.ENTRY_TYPE_NORMAL : EntryType.ENTRY_TYPE_CONF_CHANGE;
  return { term: entry.term, index: entry.index, type, data: entry.data };
}

/**
 * Entries are kept for long, but the decoded bytes are a view into the network's buffer, and a small command would keep a
 * large buffer alive: they are copied out.
 */
function entryFromWire(wire: WireEntry): Entry {
  const { term, index } = wire;
  const data = new Uint8Array(wire.data);
  switch (wire.type) {
    case EntryType.ENTRY_TYPE_NORMAL:
      return { term, index, type: "normal", data };
    case EntryType.ENTRY_TYPE_CONF_CHANGE:
      return { term, index, type: "confChange", data };
    default:
      throw new MalformedError(`Cannot take entry ${index}: type ${wire.type} is not known here`);
  }
}
