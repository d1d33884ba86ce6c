/**
 * Messages of replication: what travels on the link between an owner (sender) and one peer that reads (receiver). One
 * duplex link per ordered pair of nodes: records go one way, acknowledgements the other. Each node of a pair is the
 * sender of one link and the receiver of another.
 * Owns shapes and limits; does not own their encoding (transport/) nor what a record means (src/base/record.ts).
 *
 *   sender                                                receiver
 *     | -- hello { session, nodeId, versions, policy } ----> |   first message of every link
 *     | <-- welcome { session, received, applied } --------- |   or refuse
 *     | -- batch { firstSequence, count, slab } -----------> |   contiguous: the next one begins where this one ended
 *     | -- heartbeat { beat, lastSequence } ---------------> |   when idle
 *     | <-- ack { applied, beat } -------------------------- |
 *     | <-- resync { slots, reason } ----------------------- |
 *
 * Sequences count the records of one session to one peer, from 1; they are whole numbers below 2^53. A session is one
 * unbroken numbering: the sender begins a new one when it starts, and whenever it can no longer send what is missing.
 */
import { RECORD_BYTES } from "../../src/base/record.ts";
import { recordsPerBatch } from "./wire-format.ts";

/** Version of these messages; the version of records travels beside it. */
export const SYNC_PROTOCOL_VERSION = 1;

/** Records of this build in one batch, at most. */
export const BATCH_RECORDS_MAX = recordsPerBatch(RECORD_BYTES);

/** Slots that one resync request may name: all of the largest cluster. */
export const RESYNC_SLOTS_MAX = 1024;

/** Sender: who speaks, and which numbering follows. */
export interface Hello {
  readonly type: "hello";
  readonly protocolVersion: number;
  /** The newest version of records that the sender offers (wire-format.ts). */
  readonly recordVersion: number;
  /** Bytes of one record of that version. */
  readonly recordBytes: number;
  /** The sender's node id. */
  readonly nodeId: number;
  /** Whom the sender means to reach: a receiver with another id refuses. */
  readonly peerId: number;
  /** 1..2^48: random at the sender's start, then counting. Never 0. */
  readonly session: number;
  /** Names what the sender's policy means by positions; empty: not told. A difference is reported, replication goes on. */
  readonly policyFingerprint: string;
}

/** What two nodes know of each other's policies. */
export type PolicyMatch = "same" | "different" | "unknown";

/** An older build tells nothing, which is not a difference. */
export function matchPolicies(own: string, other: string): PolicyMatch {
  if (own === "" || other === "") return "unknown";
  return own === other ? "same" : "different";
}

/** Receiver: where to go on. */
export interface Welcome {
  readonly type: "welcome";
  readonly protocolVersion: number;
  /** The version in which records are to be sent: that of the hello, or an older one. */
  readonly recordVersion: number;
  /** The receiver's node id. */
  readonly nodeId: number;
  /** The receiver's own life: random at its start. Another life holds none of the replicas. */
  readonly life: number;
  /** The session of this sender that the receiver holds; 0 when none. The next two belong to it. */
  readonly session: number;
  /** Every record up to this one was received and will be applied: send on from the next. */
  readonly receivedSequence: number;
  readonly appliedSequence: number;
}

export interface Batch {
  readonly type: "batch";
  readonly firstSequence: number;
  /** Records in the slab, at least 1. */
  readonly count: number;
  /** `count` records of the version that the welcome named. See SyncLink for who owns them. */
  readonly slab: Uint8Array;
}

/** Sender: nothing to send, but alive. Answered by an ack that carries the same `beat`. */
export interface Heartbeat {
  readonly type: "heartbeat";
  /** Counts heartbeats of this session, from 1. */
  readonly beat: number;
  /** The last record sent in this session; a receiver that misses some knows it now. */
  readonly lastSequence: number;
}

/** Receiver: every record up to this one is applied by its dataplane (not merely received). */
export interface Ack {
  readonly type: "ack";
  readonly appliedSequence: number;
  /** The latest heartbeat that was seen; 0 when none. */
  readonly beat: number;
}

/** `digest`: contents differ. `refused`: records could not be applied. `operator`: asked for by hand. */
export type ResyncReason = "digest" | "refused" | "operator";

/** Receiver: these slots must be sent whole again. */
export interface ResyncRequest {
  readonly type: "resync";
  readonly slots: readonly number[];
  readonly reason: ResyncReason;
}

/** `version`: not understood, will not get better by itself. The others: a fault of the stream; connect again. */
export type RefuseReason = "version" | "identity" | "order" | "sequence" | "bounds";

/** Either side, as the last message before it closes the link. */
export interface Refuse {
  readonly type: "refuse";
  readonly reason: RefuseReason;
  /** For the log: the action, what was required, what came. */
  readonly detail: string;
}

export type SenderMessage = Hello | Batch | Heartbeat | Refuse;
export type ReceiverMessage = Welcome | Ack | ResyncRequest | Refuse;
