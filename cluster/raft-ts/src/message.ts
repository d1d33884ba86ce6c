/**
 * The border where messages come in: checks every field and fills in what the sender left out.
 * What passes here has safe-integer indices and contiguous entries; what it means is up to raft.ts.
 */
import { checkConfChange, decodeConfChange } from "./confchange/codec.ts";
import { restore } from "./confchange/restore.ts";
import { MalformedError, StepLocalMessageError } from "./errors.ts";
import { type ConfState, type Entry, isBytes, type Message, type Snapshot, type Term } from "./types.ts";

/**
 * Rejects with MalformedError or StepLocalMessageError, else answers a complete, frozen copy. What a leader of an earlier term than
 * `term` has to append is not looked at: nobody will.
 */
export function checkMessage(m: Message, term: Term): Message {
  if (!isObject(m)) throw new MalformedError(`Cannot take ${String(m)} as a message: expected an object`);
  const { type } = m;
  const base = {
    from: integer(m, "from", m.from),
    to: integer(m, "to", m.to),
    term: integer(m, "term", m.term),
  };
  switch (m.type) {
    case "MsgApp": {
      const index = integer(m, "index", m.index);
      const entries = entriesOf(m, m.entries);
      const isStale = base.term !== 0 && base.term < term;
      for (const [i, entry] of entries.entries()) {
        if (entry.index !== index + 1 + i && !isStale) {
          throw new MalformedError(`Cannot take MsgApp: entry ${entry.index} where ${index + 1 + i} is due`);
        }
      }
      const logTerm = integer(m, "logTerm", m.logTerm);
      return Object.freeze({
        type: m.type,
        ...base,
        index,
        logTerm,
        commit: integer(m, "commit", m.commit),
        entries,
      });
    }
    case "MsgAppResp":
      return Object.freeze({
        type: m.type,
        ...base,
        index: integer(m, "index", m.index),
        reject: flag(m.reject),
        rejectHint: integer(m, "rejectHint", m.rejectHint),
        logTerm: integer(m, "logTerm", m.logTerm),
      });
    case "MsgVote":
    case "MsgPreVote":
      return Object.freeze({
        type: m.type,
        ...base,
        index: integer(m, "index", m.index),
        logTerm: integer(m, "logTerm", m.logTerm),
        ...contextOf(m, m.context),
      });
    case "MsgVoteResp":
    case "MsgPreVoteResp":
      return Object.freeze({ type: m.type, ...base, reject: flag(m.reject) });
    case "MsgHeartbeat":
      return Object.freeze({
        type: m.type,
        ...base,
        commit: integer(m, "commit", m.commit),
        ...contextOf(m, m.context),
      });
    case "MsgHeartbeatResp":
      return Object.freeze({ type: m.type, ...base, ...contextOf(m, m.context) });
    case "MsgSnap":
      return Object.freeze({ type: m.type, ...base, snapshot: snapshotOf(m.snapshot) });
    case "MsgTimeoutNow":
    case "MsgTransferLeader":
      return Object.freeze({ type: m.type, ...base });
    case "MsgReadIndex":
      return Object.freeze({ type: m.type, ...base, context: bytes(m, m.context) });
    case "MsgReadIndexResp":
      return Object.freeze({
        type: m.type,
        ...base,
        index: integer(m, "index", m.index),
        context: bytes(m, m.context),
      });
    case "MsgProp": {
      const entries = entriesOf(m, m.entries);
      if (entries.length === 0) throw new MalformedError("Cannot take MsgProp: expected at least one entry");
      for (const entry of entries)
        if (entry.type === "confChange") checkConfChange(decodeConfChange(entry.data));
      return Object.freeze({ type: m.type, ...base, entries });
    }
    default:
      throw new StepLocalMessageError(String(type));
  }
}

function integer(m: Message, field: string, value: number | undefined): number {
  const n = value ?? 0;
  if (!isIndex(n)) {
    throw new MalformedError(
      `Cannot take ${m.type}: ${field} is ${n}, expected a safe integer of at least 0`,
    );
  }
  return n;
}

function isObject<T>(value: T): value is T & object {
  return typeof value === "object" && value !== null;
}

function isIndex(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

function flag(value: boolean | undefined): boolean {
  return value === true;
}

function bytes(m: Message, value: Uint8Array | undefined): Uint8Array {
  if (!isBytes(value)) {
    throw new MalformedError(`Cannot take ${m.type}: expected the bytes of its context`);
  }
  return value;
}

function contextOf(m: Message, value: Uint8Array | undefined): { context?: Uint8Array } {
  return value == null || value.length === 0 ? {} : { context: bytes(m, value) };
}

function entriesOf(m: Message, given: readonly Entry[] | undefined): readonly Entry[] {
  const entries = given ?? [];
  if (!Array.isArray(entries) || !entries.every(isObject)) {
    throw new MalformedError(`Cannot take ${m.type}: expected an array of entries`);
  }
  return Object.freeze(
    entries.map((entry: Entry): Entry => {
      const type = entry.type ?? "normal";
      if (type !== "normal" && type !== "confChange") {
        throw new MalformedError(`Cannot take ${m.type}: unknown entry type ${String(type)}`);
      }
      const index = integer(m, "entry index", entry.index);
      const data = entry.data ?? new Uint8Array(0);
      return Object.freeze({ term: integer(m, "entry term", entry.term), index, type, data: bytes(m, data) });
    }),
  );
}

function snapshotOf(snapshot: Snapshot | undefined): Snapshot {
  const isWhole =
    isObject(snapshot) &&
    isIndex(snapshot.index) &&
    isIndex(snapshot.term) &&
    isConfState(snapshot.confState) &&
    isBytes(snapshot.data);
  if (!isWhole) throw new MalformedError("Cannot take MsgSnap: expected a whole snapshot");
  try {
    restore(snapshot.confState);
  } catch (error) {
    throw new MalformedError(`Cannot take MsgSnap: ${(error as Error).message}`);
  }
  return snapshot;
}

function isConfState(c: ConfState | undefined): boolean {
  return [c?.voters, c?.votersOutgoing, c?.learners, c?.learnersNext].every((ids) => Array.isArray(ids));
}
