/**
 * Admin model: requests and answers on a node's Unix socket, and the journal's events. JSON, one object a line:
 *
 *   -> {"id":1,"method":"status","params":{}}
 *   <- {"id":1,"result":{...}}   or   {"id":1,"error":{"code":"SW_...","message":"..."}}
 *
 * Owns the shapes only. Server: admin-server.ts; clients: cli and chaos.
 */

import type { ProcessReport } from "../../cluster/transport/transport.ts";
import type { NatAddressView } from "./nat-view.ts";
import type { TraceReport, TraceRequest } from "./replay/trace.ts";

/** Milliseconds of a histogram; NaN never appears: an empty histogram has count 0 and zeros. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface PeerStatus {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly state: string;
  readonly alive: boolean;
  /** Link name ("cluster", interface names) -> heartbeats heard. */
  readonly links: Readonly<Record<string, boolean>>;
  /** Frames carried to and from this peer because the slot's owner is another; `refused`: forged, replayed or unsealed. */
  readonly redirects?: {
    readonly out: number;
    readonly in: number;
    readonly refused: number;
    readonly zoneOut: number;
  };
  /** Frames of the cluster link's full MTU do not come through from this peer. */
  readonly isPathNarrow?: boolean;
  /** What goes to this peer over the cluster link comes late or not at all: redirected packets go over the zones. */
  readonly isLate?: boolean;
  /** Replication towards this peer. */
  readonly sync?: {
    readonly connected: boolean;
    /** Age of the oldest unacknowledged change; grows while the peer is silent. */
    readonly lagMs: number;
    readonly lagRecords: number;
    readonly lagBytes: number;
    readonly ack: LatencySummary;
    readonly resyncs: number;
    /** Version of the records that the peer is sent; absent before this was told. */
    readonly recordVersion?: number;
    /** Whether the peer's policy means the same by rules, zones and addresses; unknown before it told, and of older builds. */
    readonly policy: "same" | "different" | "unknown";
    /** Why the stream was refused, by either end, while it is; absent when it is not. */
    readonly refusal?: string;
  };
}

export interface StatusReport {
  readonly cluster: string;
  readonly node: string;
  readonly id: number;
  readonly role: "node" | "witness";
  readonly version: string;
  readonly uptimeMs: number;
  readonly epoch: number;
  readonly leader: string;
  readonly raft: { readonly term: number; readonly commit: number; readonly state: string };
  /** The store of the site that keeps the log; absent: the members keep it by Raft. `refusal`: empty when it is the right one. */
  readonly store?: { readonly place: string; readonly isConnected: boolean; readonly refusal: string };
  readonly members: readonly {
    readonly id: number;
    readonly name: string;
    readonly role: string;
    readonly state: string;
    readonly incarnation: number;
    readonly slotsOwned: number;
    readonly slotsBackedUp: number;
  }[];
  readonly peers: readonly PeerStatus[];
  /** By slot: owner's and backup's node id (0 nobody) and whether the backup is proven. */
  readonly slots: {
    readonly owner: readonly number[];
    readonly backup: readonly number[];
    readonly synced: readonly boolean[];
  };
  /** True when every slot has a settled owner and a synced backup (where more than one node is up). */
  readonly isSettled: boolean;
  /** This node holds all that it must hold, proven. */
  readonly isReady: boolean;
  readonly lease?: { readonly validForMs: number; readonly isFenced: boolean };
  /** No witness or third voter: a single failure leaves no majority. */
  readonly isUnwitnessed: boolean;
  /** With `quorum: pair`: whether this node decides alone, and what it makes of a silent other one. */
  readonly pair?: {
    readonly isAlone: boolean;
    /** The other one is silent, and this node must not go on alone. */
    readonly isHeld: boolean;
    readonly isWaiting: boolean;
    readonly why: string;
  };
  /** The latest epoch in which one node of a pair went on alone, and its id; absent: never. */
  readonly forced?: { readonly epoch: number; readonly by: number };
  readonly dataplane?: {
    readonly driver: string;
    readonly realtime: boolean;
    readonly flows: number;
    readonly flowsMax: number;
    readonly ports: readonly {
      readonly name: string;
      readonly zone: string;
      readonly driver: string;
      readonly carrier: boolean;
      /** Nothing comes through, although there is a carrier, and it is this node's fault; absent before this was told. */
      readonly silent?: boolean;
      /** As it is now; absent before this was told. */
      readonly mtuBytes?: number;
    }[];
    /** What the cluster link's MTU has to be; absent before this was told. */
    readonly clusterMtuNeeded?: number;
    readonly drops: Readonly<Record<string, number>>;
    /** Flows whose packets went on before a backup held them, since the start, by reason; absent before this was told. */
    readonly unprotected?: UnprotectedFlows;
    /** By pool address. */
    readonly nat: readonly NatAddressView[];
  };
  /** One line each, for the operator: what is wrong, what it means, what to do. */
  readonly alerts: readonly string[];
}

export interface UnprotectedFlows {
  /** No backup was up. */
  readonly noPeer: number;
  /** It did not acknowledge within `flows.syncDeadlineMs`. */
  readonly deadline: number;
  /** Too many packets waited for it already. */
  readonly holdFull: number;
}

export interface FlowView {
  /** "tcp", "icmpv6", ... or, of what is no connection, "udp-binding", "tcp-expectation", ... */
  readonly protocol: string;
  readonly state: string;
  /** "10.10.0.2:40000", "[2001:db8::2]:40000"; without a port where there is none -> as seen before and after translation. */
  readonly original: { readonly source: string; readonly destination: string };
  readonly reply: { readonly source: string; readonly destination: string };
  readonly slot: number;
  readonly owner: string;
  readonly isReplica: boolean;
  readonly ageMs: number;
  readonly expiresInMs: number;
  /** Empty when the policy that let it in is not known any more, and of what is no connection. */
  readonly rule: string;
}

/** Filter of flows.list and flows.count; absent fields match all. */
export interface FlowFilter {
  readonly protocol?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
  readonly slot?: number;
  /** "own" | "replica" */
  readonly role?: string;
  /** Also what the table keeps besides connections: NAT bindings and pointers, expectations and adjustments of helpers. */
  readonly all?: boolean;
  readonly limit?: number;
}

/** One thing that happened, stamped with CLOCK_MONOTONIC (one clock for all processes of a machine) and wall time. */
export interface JournalEvent {
  readonly atMs: number;
  readonly wallMs: number;
  readonly kind: JournalKind;
  readonly epoch: number;
  /** The peer or member concerned; 0: none. */
  readonly node: number;
  readonly slots: readonly number[];
  readonly text: string;
}

export interface MemberView {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly address: string;
  readonly weight: number;
  /** "expected": it joined and was never up. */
  readonly state: string;
  readonly isDisabled: boolean;
  /** Leases or Raft count it; while voters change, both sets do. */
  readonly votes: boolean;
}

/** What a member's process is, as it says itself. */
export interface MemberProcess {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly isReachable: boolean;
  /** Absent when it does not answer. */
  readonly version?: string;
  /** Absent when it does not answer, and of builds that do not tell. */
  readonly process?: ProcessReport;
}

export type JournalKind =
  | "started"
  | "ready"
  | "peer-up"
  | "peer-down"
  | "link-up"
  | "link-down"
  | "link-late"
  | "link-timely"
  | "lifeline-closed"
  | "takeover-proposed"
  | "takeover-deferred"
  | "forced"
  | "epoch-committed"
  | "steered"
  | "slots-gained"
  | "slots-lost"
  | "fenced"
  | "unfenced"
  | "leader"
  | "drain"
  | "rejoin"
  | "resync"
  | "policy"
  | "stall"
  | "mtu"
  | "suspended"
  | "hung"
  | "disk"
  | "clock"
  | "restart"
  | "stopping";

/** Methods of the socket. */
export interface AdminMethods {
  readonly status: { params: Record<string, never>; result: StatusReport };
  readonly "flows.list": {
    params: FlowFilter;
    result: { readonly flows: readonly FlowView[]; readonly total: number };
  };
  readonly "flows.count": {
    params: FlowFilter;
    result: {
      readonly total: number;
      readonly own: number;
      readonly replica: number;
      readonly byProtocol: Readonly<Record<string, number>>;
    };
  };
  /** Slot and present owner of an inside host's address. */
  readonly locate: {
    params: { readonly address: string };
    result: { readonly slot: number; readonly owner: string; readonly backup: string };
  };
  /** What the first packet of a flow would meet, by the policy that this node runs. */
  readonly trace: { params: TraceRequest; result: TraceReport };
  /** Answers when the drain is complete (or failed). */
  readonly drain: {
    params: { readonly node: string; readonly timeoutMs?: number };
    result: { readonly epoch: number };
  };
  readonly rejoin: {
    params: { readonly node: string; readonly timeoutMs?: number };
    result: { readonly epoch: number };
  };
  readonly journal: {
    params: { readonly sinceMs?: number; readonly limit?: number };
    result: { readonly nowMs: number; readonly events: readonly JournalEvent[] };
  };
  /** Sync lag samples kept by the node: one per 10 ms, the last 60 s; and the ack histogram since the call before with reset. */
  readonly lag: {
    params: { readonly sinceMs?: number; readonly reset?: boolean };
    result: {
      readonly samples: readonly { readonly atMs: number; readonly peer: number; readonly lagMs: number }[];
      readonly ack: LatencySummary;
    };
  };
  /** Sends all slots that this node owns to their backups again; only to `peer` when given. Answers how many. */
  readonly "sync.full": {
    params: { readonly peer?: string };
    result: { readonly slots: number };
  };
  /** Reads the policy of a configuration file that is the running one's otherwise; from then on it holds. */
  readonly "policy.apply": {
    params: { readonly config: string };
    result: { readonly rules: number; readonly fingerprint: string; readonly notes: readonly string[] };
  };
  readonly "cluster.members": {
    params: Record<string, never>;
    result: { readonly members: readonly MemberView[] };
  };
  /** Which build each member runs, asked of each now. */
  readonly "cluster.processes": {
    params: Record<string, never>;
    result: { readonly members: readonly MemberProcess[] };
  };
  /** Has a member end its process, to be started again by its supervisor. Refused while it owns anything. */
  readonly "cluster.restart": {
    params: { readonly node: string; readonly incarnation: number };
    result: Record<string, never>;
  };
  /** A token that lets one new member in, once; only where the CA's key is. */
  readonly "cluster.token": {
    params: {
      readonly role?: string;
      readonly name?: string;
      readonly weight?: number;
      readonly ttlMs?: number;
    };
    result: { readonly token: string; readonly expiresWallMs: number };
  };
  /** Answers when the node owns nothing. */
  readonly "cluster.disable": {
    params: { readonly node: string; readonly timeoutMs?: number };
    result: { readonly epoch: number };
  };
  readonly "cluster.enable": { params: { readonly node: string }; result: { readonly epoch: number } };
  readonly "cluster.weight": {
    params: { readonly node: string; readonly weight: number };
    result: { readonly epoch: number };
  };
  /** A node that is up is emptied first. */
  readonly "cluster.remove": {
    params: { readonly node: string; readonly timeoutMs?: number };
    result: { readonly id: number; readonly epoch: number };
  };
  /** Another certificate for this member, from a registrar or, with `isReload`, as it lies in its files. */
  readonly "cluster.rotate": {
    params: { readonly isReload?: boolean };
    result: { readonly validTo: string; readonly from?: string };
  };
  /** Current values of the dataplane's counters by name (verdicts, drops, extras). */
  readonly counters: { params: Record<string, never>; result: Readonly<Record<string, number>> };
}

export type AdminMethod = keyof AdminMethods;
