/**
 * Engine options: what the shell hands to an engine. Owns the interface and the limits' defaults.
 */
import type { HashKey } from "../base/hash.ts";
import type { RecordRing } from "../base/ring.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { FlowTable } from "./flow-table.ts";
import type { EnginePort, FrameMemory, FrameOutput } from "./frame-memory.ts";
import type { PolicyModel } from "./policy-model.ts";
import type { RedirectSeal } from "./redirect-seal.ts";
import type { CompiledRules } from "./rules/compile.ts";

export interface EngineOptions {
  readonly policy: PolicyModel;
  /** Its rules, when somebody compiled them already. */
  readonly compiled?: CompiledRules | undefined;
  readonly view: ClusterView;
  readonly frames: FrameMemory;
  readonly output: FrameOutput;
  /** In the order of port indices; the cluster link has zone -1. */
  readonly ports: readonly EnginePort[];
  readonly table: FlowTable;
  /** Where changes of flows go, or null when nobody replicates. */
  readonly changes: RecordRing | null;
  /** Where records of rules with `log: true` go (RULE_LOG_BYTES each); absent when nobody reads them. */
  readonly ruleLog?: RecordRing;
  /** NAT_USAGE_BYTES of memory, where the use of pool addresses is told (nat-usage.ts); absent when nobody reads it. */
  readonly natUsage?: SharedArrayBuffer;
  /** Encrypts redirected frames and opens those of peers; absent: they travel in clear. */
  readonly seal?: RedirectSeal;
  /** REDIRECT_COUNT_CELLS cells, by peer (redirect.ts); absent when nobody reads them. */
  readonly redirectCounts?: Float64Array;
  /** COUNTER_CELLS cells. */
  readonly counters: Float64Array;
  /** One cell per rule and one for packets that no rule matched. */
  readonly ruleHits: Float64Array;
  readonly key: HashKey;
  /** Of SYN cookies, the same on all nodes; absent: `key`. */
  readonly cookieKey?: HashKey;
  /** Reads the clock that calls are given the time of; without it, a call's own time counts until it ends. */
  readonly nowMs?: () => number;
  /** A whole number, 0 <= n < bound. */
  readonly random: (bound: number) => number;
  readonly limits?: Partial<EngineLimits>;
}

export interface EngineLimits {
  /** Frames that may wait for anything at the same time. */
  readonly heldFramesMax: number;
  /** Frames that the pool must have left, or nothing is held any more: receiving comes first. */
  readonly freeFramesMin: number;
  readonly neighboursMax: number;
  readonly icmpErrorsPerSecond: number;
  readonly ruleLogsPerSecond: number;
  /** Flows ended between two ticks. */
  readonly expiriesPerTick: number;
  /** How long a packet waits for a slot in a planned move. */
  readonly handoverHoldMs: number;
  /** How long a packet of an unknown flow waits for a takeover. */
  readonly takeoverHoldMs: number;
}

export const DEFAULT_LIMITS: EngineLimits = {
  heldFramesMax: 2048,
  freeFramesMin: 64,
  neighboursMax: 4096,
  icmpErrorsPerSecond: 200,
  ruleLogsPerSecond: 1000,
  expiriesPerTick: 4096,
  handoverHoldMs: 50,
  takeoverHoldMs: 400,
};
