/**
 * Worker protocol: what the control thread and the dataplane worker say to each other besides shared memory. Rare events only:
 * tables, judgements, requests. The doorbell (DOORBELL) is the one frequent message: "look into the rings", at most one
 * per sleep of the receiver.
 */
import type { Claim, Generation } from "../../cluster/control/generation.ts";
import type { Member, Quorum, SlotTable } from "../../cluster/control/model.ts";
import type {
  LinkHearing,
  LivenessEvent,
  LivenessProfile,
  PeerConfig,
} from "../../cluster/liveness/model.ts";
import type { FenceAsk, FenceReply } from "../../cluster/takeover/messages.ts";
import type { SealMode } from "../base/seal-mode.ts";
import type { EngineLimits } from "../dataplane/engine-options.ts";
import type { PolicyModel } from "../dataplane/policy-model.ts";
import type { CompiledRules } from "../dataplane/rules/compile.ts";
import type { PortOptions } from "../io/port.ts";
import type { SharedMemory } from "./shared-memory.ts";

export const DOORBELL = 0;

export function nodesOf(peers: readonly WorkerPeer[]): ReadonlySet<number> {
  return new Set(peers.filter(({ role }) => role === "node").map(({ nodeId }) => nodeId));
}

export interface WorkerPeer extends PeerConfig {
  readonly name: string;
  /** Dotted IPv4 on the cluster link. */
  readonly address: string;
}

/** `workerData` of the dataplane worker. */
export interface WorkerSetup {
  readonly memory: SharedMemory;
  readonly flowsMax: number;
  readonly policy: PolicyModel;
  /** The policy's rules, when somebody compiled them already. */
  readonly compiled?: CompiledRules;
  /** Other limits than an engine's own. */
  readonly engineLimits?: Partial<EngineLimits>;
  /** Records of rules with `log: true`, at most. */
  readonly ruleLogsPerSecond: number;
  readonly driver: "auto" | "xdp" | "cap";
  readonly realtime: "auto" | "never";
  /** Zone ports first, the cluster port last. */
  readonly ports: readonly PortOptions[];
  readonly selfId: number;
  readonly selfAddress: string;
  readonly slots: number;
  readonly profile: LivenessProfile;
  readonly peers: readonly WorkerPeer[];
  /** Ids of all voters that the log was begun with, this node's too if it is one. */
  readonly voters: readonly number[];
  /** Routers between this node and the witness, at most. */
  readonly witnessHops: number;
  /** One of two nodes may go on alone. */
  readonly isPair: boolean;
  /** Keys derived from the cluster secret; see keys.ts. */
  readonly flowKey: Uint8Array;
  readonly heartbeatKey: Uint8Array;
  readonly cookieKey: Uint8Array;
  readonly redirectKey: Uint8Array;
  readonly sealRedirects: SealMode;
  readonly clusterName: string;
}

export type ToWorker =
  | typeof DOORBELL
  /** The committed state. `ownIncarnation`: what the "up" of this process was given; 0 before that. */
  | {
      readonly type: "state";
      readonly table: SlotTable;
      readonly members: readonly Member[];
      readonly quorum?: Quorum;
      readonly forced?: Generation;
      readonly ownIncarnation: number;
    }
  /** All other members, when they are others than before. */
  | { readonly type: "peers"; readonly peers: readonly WorkerPeer[] }
  /** All that was committed at some moment after the start is applied: the worker may vote on leases. */
  | { readonly type: "caughtUp" }
  /** The store gave its vote to the lease request with this number, or tells about a fence. */
  | { readonly type: "store"; readonly answer: number | FenceReply }
  | { readonly type: "lifeline"; readonly node: number; readonly isOpen: boolean }
  /** Ask the machine of a silent node whether it is there, again and again, and tell what became of it. */
  | { readonly type: "probe"; readonly node: number; readonly isOn: boolean }
  /** Send these slots whole, each ending in a digest. */
  | { readonly type: "export"; readonly slots: readonly number[] }
  | { readonly type: "digest"; readonly slots: readonly number[] }
  /**
   * Another policy holds, with the same zones and ports; its rules are not in it but in `compiled`. `ruleHits` has a Float64 cell per
   * rule and one more.
   */
  | {
      readonly type: "policy";
      readonly policy: PolicyModel;
      readonly compiled: CompiledRules;
      readonly ruleHits: SharedArrayBuffer;
    }
  /** Zone links that have fallen silent: is anybody there? */
  | { readonly type: "listen"; readonly links: readonly number[] }
  | { readonly type: "stop" };

export type FromWorker =
  | typeof DOORBELL
  | {
      readonly type: "started";
      readonly driver: string;
      readonly reason: string;
      readonly isRealtime: boolean;
      readonly realtimeReason: string;
      readonly ports: readonly WorkerPort[];
    }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "liveness"; readonly event: LivenessEvent }
  | {
      readonly type: "slots";
      readonly change: "gained" | "lost" | "steered";
      readonly slots: readonly number[];
      readonly epoch: number;
      readonly atMs: number;
    }
  | { readonly type: "settle"; readonly slots: readonly number[]; readonly movedEpochs: readonly number[] }
  /** The worker goes by the voters of this epoch. */
  | { readonly type: "voters"; readonly epoch: number }
  /** To be asked of the store that keeps the log, which votes too. */
  | {
      readonly type: "storeLease";
      readonly seq: number;
      readonly epoch: number;
      readonly incarnation: number;
    }
  | { readonly type: "storeFence"; readonly ask: FenceAsk }
  /** What a peer says about its log. */
  | { readonly type: "claim"; readonly node: number; readonly claim: Claim }
  /** A peer's worker has applied this epoch. */
  | { readonly type: "shown"; readonly node: number; readonly epoch: number }
  /** What came of `probes` ARP probes for a silent node. */
  | {
      readonly type: "probed";
      readonly node: number;
      readonly lastHeardMs: number;
      readonly probes: number;
      /** Of them, those after which others were heard. */
      readonly probesHeard: number;
      readonly isAnswering: boolean;
      /** It is heard, at the pace that it keeps itself, though it may not hear us. */
      readonly isSpeaking: boolean;
    }
  | { readonly type: "fenced"; readonly isFenced: boolean; readonly atMs: number }
  /** A digest in the replication stream of `slot` was compared. */
  | { readonly type: "digest"; readonly slot: number; readonly isEqual: boolean }
  /** A copy of a flow of `slot` found the table full; once a second at most. */
  | { readonly type: "noRoom"; readonly slot: number }
  /** What is heard on each zone's wire is not what it was. */
  | {
      readonly type: "hearing";
      readonly hearing: readonly LinkHearing[];
      /** Zone links on which hosts that were there before were asked, and nobody answered. */
      readonly asked: readonly number[];
    }
  | { readonly type: "carrier"; readonly port: number; readonly isUp: boolean; readonly atMs: number }
  /** An interface's MTU is another one than before. */
  | { readonly type: "mtu"; readonly port: number; readonly mtuBytes: number; readonly atMs: number }
  /** Whether the largest redirected frame still comes through from a node; "unknown" when nothing is heard of it. */
  | { readonly type: "path"; readonly node: number; readonly path: PathState; readonly atMs: number }
  | { readonly type: "stopped" };

export type PathState = "whole" | "narrow" | "unknown";

export interface WorkerPort {
  readonly name: string;
  readonly driver: string;
  readonly mode: string;
  readonly mtuBytes: number;
}
