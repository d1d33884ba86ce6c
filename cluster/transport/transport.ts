/**
 * Transport: how the members of a cluster talk over the cluster link, as the control plane and replication see it.
 * Implemented over gRPC with mTLS (grpc.ts) and in memory for simulation (in-memory.ts); one conformance suite for both.
 *
 * Contract
 * - Every identity that a handler is given was proven by the peer: a Raft message whose `from` is not its sender is refused,
 *   counted and never delivered.
 * - Raft messages to one peer arrive in order, each at most once; they are lost when the peer is not connected or a queue
 *   is full, and then `onUnreachable` says so. sendRaft() never throws and never calls a handler before it returns.
 * - A snapshot travels on its own and ends in `onSnapshotSent`, exactly once.
 */
import type { Message, MsgSnap } from "raft-ts";
import type { LinkHearing } from "../liveness/model.ts";
import type { ReceiverLink, SenderLink } from "../sync/link.ts";
import { type RefusalCounts, zeroRefusals } from "./refusals.ts";

export interface TransportPeer {
  readonly id: number;
  readonly name: string;
  /** Dotted IPv4 on the cluster link. */
  readonly address: string;
}

/** Which build a member's process runs, and what it can speak. */
export interface ProcessReport {
  /** Names the build; empty when it runs from its sources. */
  readonly build: string;
  /** Versions of replicated records that it reads and writes; a witness has none. */
  readonly recordVersions: readonly number[];
  readonly syncVersion: number;
  /** Of the replicated state (control/codec.ts). */
  readonly commandVersion: number;
  readonly heartbeatVersion: number;
  /** The life that the cluster gave it; 0 before it was let in. */
  readonly incarnation: number;
  /** Whoever started it starts it again when it ends. */
  readonly isSupervised: boolean;
}

/** What a node tells a peer that asks how it is. */
export interface PeerReport {
  readonly node: number;
  readonly version: string;
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  /** Raft role, in raft-ts' words. */
  readonly state: string;
  /** Node id of the leader; 0: none known. */
  readonly lead: number;
  readonly epoch: number;
  /** Zone links that the node lost, by number: no carrier, or nothing comes through (silent-links.ts). */
  readonly lostLinks: readonly number[];
  /** What the node hears on its zones' wires; empty in builds that do not tell. */
  readonly hearing: readonly LinkHearing[];
  /** Absent in builds that do not tell. */
  readonly process?: ProcessReport | undefined;
}

export interface TransportHandlers {
  onRaft(from: number, message: Message): void;
  onStatus(from: number): PeerReport;
  /** This process is to end and to be started again, if it is in life `incarnation`. Answers why not, or "". */
  onRestart?(from: number, incarnation: number): string;
  /** A peer wants to replicate to this node. The link is not bound yet. */
  onSyncLink(from: number, link: ReceiverLink): void;
  onUnreachable(to: number): void;
  /** A peer knows no such member as this one; told again and again while that lasts. */
  onTurnedAway?(by: number): void;
  onSnapshotSent(to: number, isDelivered: boolean): void;
}

export interface TransportCounters {
  raftSent: number;
  raftReceived: number;
  /** Not connected, or the queue to the peer was full. */
  raftDropped: number;
  /** Waiting in the queues to all peers now; the only one that goes down again. */
  raftQueued: number;
  /** Who was turned away. */
  readonly refused: RefusalCounts;
  snapshotsSent: number;
  snapshotsReceived: number;
  snapshotsFailed: number;
  connects: number;
  disconnects: number;
}

export interface Transport {
  /** Listens and begins to connect to every peer. Rejects with SW_PORT_TAKEN when the address is in use. */
  start(handlers: TransportHandlers): Promise<void>;
  /** Everything but MsgSnap. */
  sendRaft(message: Exclude<Message, MsgSnap>): void;
  sendSnapshot(message: MsgSnap): void;
  /** Rejects with SW_CONTROL_TIMEOUT when no answer came in time. */
  status(to: number, timeoutMs: number): Promise<PeerReport>;
  /** Has a peer's process end and be started again. Answers why it refuses, or "". Rejects as status(). */
  restart(to: number, incarnation: number, timeoutMs: number): Promise<string>;
  /** A new link to replicate to `to`; opens once the peer is reached, closes when it is not. Never reconnects. */
  openSyncLink(to: number): SenderLink;
  isConnected(to: number): boolean;
  /** Other peers than before: connects to new ones, and has nothing to do any more with those that are not among them. */
  setPeers(peers: readonly TransportPeer[]): void;
  readonly counters: Readonly<TransportCounters>;
  /** Ends everything; nothing is called back afterwards. */
  close(): Promise<void>;
}

/** What a build answers that has nobody who could start it again. */
export const CANNOT_RESTART = "it cannot be restarted from afar";

export function zeroCounters(): TransportCounters {
  return {
    raftSent: 0,
    raftReceived: 0,
    raftDropped: 0,
    raftQueued: 0,
    refused: zeroRefusals(),
    snapshotsSent: 0,
    snapshotsReceived: 0,
    snapshotsFailed: 0,
    connects: 0,
    disconnects: 0,
  };
}

/** Whether `peer` may send this: only in its own name, but for requests that a follower passes on to the leader. */
export function maySend(peer: number, message: Message): boolean {
  switch (message.type) {
    case "MsgProp":
    case "MsgReadIndex":
    case "MsgTransferLeader":
      return true;
    default:
      return message.from === peer;
  }
}
