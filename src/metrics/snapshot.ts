/**
 * Metrics snapshot: what a node knows at the moment of a scrape, as plain values. The shell fills it in when it is asked;
 * nothing is done per packet or per flow. Owns the shape only; times are milliseconds here and seconds in the exposition.
 * `Latencies` are base/histogram.ts LatencyHistograms, handed over as they are.
 */
import type { MemberState } from "../../cluster/control/model.ts";
import type { InboundCounts } from "../../cluster/sync/inbound.ts";
import type { ReadinessCounts } from "../../cluster/sync/readiness.ts";
import type { RouterCounts } from "../../cluster/sync/router-options.ts";
import type { SenderCounts } from "../../cluster/sync/sender.ts";
import type { Latencies } from "./histogram.ts";

export interface PairSnapshot {
  /** This node votes alone: it went on without the other one, which does not vote again yet. */
  readonly isAlone: boolean;
  /** The other node is silent, and this one does not go on alone: its machine answers, or nobody else is heard either. */
  readonly isHeld: boolean;
  /** Times that this node went on alone, and that it gave way to the other one's log, since it was started. */
  readonly forced: number;
  readonly lost: number;
}

export interface MetricsSnapshot {
  readonly info: {
    readonly cluster: string;
    readonly node: string;
    readonly role: "node" | "witness";
    readonly version: string;
    readonly profile: string;
    /** "xdp", "cap", "memory"; empty on a witness. */
    readonly driver: string;
  };
  readonly cluster: {
    readonly epoch: number;
    readonly hasLeader: boolean;
    readonly isSettled: boolean;
    readonly isReady: boolean;
    readonly isUnwitnessed: boolean;
    /** Where `quorum: pair` is set. */
    readonly pair?: PairSnapshot;
    /** State of each member, this one included. */
    readonly memberStates: readonly MemberState[];
    /** Slots of the whole cluster of which only the owner has a proven copy, where two nodes are up. */
    readonly slotsUnsynced: number;
  };
  readonly raft: {
    readonly term: number;
    readonly commitIndex: number;
    readonly isLeader: boolean;
    readonly proposals: number;
    readonly proposalsRefused: number;
    readonly proposalsWaiting: number;
    /** Messages of other members that this one could not take. */
    readonly messagesRefused: number;
    /** How long the disk took to confirm a write to the log. */
    readonly fsync: Latencies;
  };
  /** Absent where the members keep the log themselves. */
  readonly store?: StoreSnapshot;
  readonly peers: readonly PeerSnapshot[];
  readonly failover: {
    /** Takeovers in which this node gained slots of a dead one. */
    readonly takeovers: number;
    /** Last sign of life to judgement; judgement to committed epoch; commit to deciding. */
    readonly detect: Latencies;
    readonly decide: Latencies;
    readonly activate: Latencies;
  };
  readonly transport: {
    /** Connections refused, by reason (cluster/transport/refusals.ts). */
    readonly refusals: Readonly<Record<string, number>>;
    /** Raft messages: sent, received, not sent for want of a connection or of room, and waiting to leave. */
    readonly raftSent: number;
    readonly raftReceived: number;
    readonly raftDropped: number;
    readonly raftQueued: number;
    /** Connections to peers: those that stood, and those of them that broke. */
    readonly connects: number;
    readonly disconnects: number;
    /** Snapshots of the log: taken by a peer, received whole, not taken by a peer. */
    readonly snapshotsSent: number;
    readonly snapshotsReceived: number;
    readonly snapshotsFailed: number;
  };
  readonly heartbeats: {
    /** Datagrams refused, by reason (liveness/envelope.ts). */
    readonly refused: Readonly<Record<string, number>>;
  };
  /** Absent on a witness. */
  readonly replication?: {
    /** Streams refused before their sender said who it is, in a way to be believed. */
    readonly hellosRefused: number;
    /** What this node sends, as its owner. */
    readonly router: RouterCounts;
    /** What this node holds, as a backup. */
    readonly readiness: ReadinessCounts;
  };
  /** Absent on a witness. */
  readonly dataplane?: DataplaneSnapshot;
  /** Absent where there is no machine (simulation). */
  readonly machine?: MachineSnapshot;
}

/** The site's store that keeps the log (control.store). */
export interface StoreSnapshot {
  readonly isConnected: boolean;
  /** It is not the store that this member knows. */
  readonly isRefused: boolean;
  readonly requests: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly latency: Latencies;
}

/** What may go wrong with the machine below the member. */
export interface MachineSnapshot {
  /** Room for the Raft log; NaN until it was measured. */
  readonly diskFreeBytes: number;
  readonly diskFreeBytesMin: number;
  /** The time of day was set. */
  readonly wallJumps: number;
  /** The machine was suspended: how often, and how long in all. */
  readonly suspensions: number;
  readonly suspendedMs: number;
  /** How long the packet worker's loop has not turned; absent on a witness. */
  readonly workerStillMs?: number;
  /** How long a write to the data folder has waited for the disk. */
  readonly diskStillMs: number;
  /** Wall time until which the member's certificate, and the CA's, hold. */
  readonly certificateUntilMs: number;
  readonly caUntilMs: number;
}

export interface PeerRedirects {
  /** Over the cluster link. */
  readonly out: number;
  readonly in: number;
  /** Forged, replayed, or in clear where it has to be sealed. */
  readonly refused: number;
  /** Over the wire of a zone. */
  readonly zoneOut: number;
}

export interface PeerSnapshot {
  readonly name: string;
  readonly isAlive: boolean;
  /** Link name -> heard. */
  readonly links: Readonly<Record<string, boolean>>;
  /** Frames carried to and from this peer; absent for a witness. */
  readonly redirects?: PeerRedirects;
  /** Frames of the cluster link's full MTU do not come through from it; absent for a witness. */
  readonly isPathNarrow?: boolean;
  /** What goes to it over the cluster link comes late or not at all; absent for a witness. */
  readonly isLate?: boolean;
  /** Replication towards this peer; absent for a witness. */
  readonly sync?: {
    readonly isConnected: boolean;
    readonly lagMs: number;
    readonly lagRecords: number;
    readonly lagBytes: number;
    readonly resyncs: number;
    /** The peer is alive and its policy means something else. */
    readonly isPolicyDifferent: boolean;
    /** From change to acknowledgement. */
    readonly ack: Latencies;
    readonly sender: SenderCounts;
    /** What comes in from this peer; absent until it spoke. */
    readonly inbound?: InboundCounts;
    /** Records of this peer that wait because the ring to the dataplane is full. */
    readonly staged: number;
  };
}

export interface PortSnapshot {
  readonly name: string;
  readonly zone: string;
  readonly carrier: boolean;
  readonly silent: boolean;
  /** As it is now. */
  readonly mtuBytes: number;
  /** Frames that were lost before they were seen, and after they were handed over. */
  readonly rxDropped: number;
  readonly txDropped: number;
  /** Frames of VLANs that nobody on the interface has. */
  readonly rxUnknownVlan: number;
}

export interface NatAddressSnapshot {
  readonly address: string;
  readonly portsInUse: number;
  /** New flows that found no port of it. */
  readonly refused: number;
}

export interface DataplaneSnapshot {
  /** The counter block of dataplane/counters.ts: shared memory is fine, it is read once. */
  readonly counters: Float64Array;
  readonly flowsMax: number;
  /** Ports of all pool addresses towards one destination; 0 without pools. */
  readonly natPortsMax: number;
  readonly natAddresses: readonly NatAddressSnapshot[];
  readonly isRealtime: boolean;
  /** Rings between the worker and the main thread. */
  readonly rings: readonly { readonly name: string; readonly waiting: number; readonly capacity: number }[];
  readonly ports: readonly PortSnapshot[];
  readonly slotsOwned: number;
  readonly slotsBackedUp: number;
  readonly lease: { readonly validForMs: number; readonly isFenced: boolean };
  /** Packets that began a flow or were dropped, by rule; the built-in last rule is "default". */
  readonly ruleHits: readonly { readonly rule: string; readonly hits: number }[];
}
