/**
 * Drill model: what a rehearsed failure is called and what its measurement says. Plain JSON-safe data; the report and
 * scripts read it. Owns no judgement (limits.ts).
 */
import type { JournalEvent, LatencySummary } from "../../src/node/admin-model.ts";
import type { Overlap } from "./ownership.ts";

/** What `npm start` rehearses, in its order. */
export const CORE_SCENARIOS = ["kill", "silent", "drain", "rejoin"] as const;
/** In the order in which `all` runs them. */
export const SCENARIOS = [
  ...CORE_SCENARIOS,
  "pause",
  "hung-worker",
  "hung-main",
  "mute",
  "deaf",
  "carrier",
  "wire",
  "wire-in",
  "wire-out",
  "outside-in",
  "outside-out",
  "link",
  "link-in",
  "link-out",
  "flap",
  "loss",
  "slow",
  "witness",
  "relay",
  "overtaken",
  "flood",
  "log",
  "lost-disk",
  "grow",
  "two",
  "disk",
  "disk-log",
  "clock",
  "again",
  "upgrade",
  "rotate",
  "far-witness",
  "far-silent",
  "far-drain",
] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** Nodes that a cluster needs for it, where two are not enough. */
const NODES_MIN: Partial<Readonly<Record<Scenario, number>>> = { two: 3 };

/** How far away the witness is, there and back. */
export const FAR_ROUND_TRIP_MS = 20;
/** Those in which it is. */
export const FAR_SCENARIOS: ReadonlySet<Scenario> = new Set(["far-witness", "far-silent", "far-drain"]);
const WITNESS_SCENARIOS: ReadonlySet<Scenario> = new Set(["witness", ...FAR_SCENARIOS]);
/** Why `quorum: pair` without a witness can not have these. */
const NOT_IN_A_PAIR: Partial<Readonly<Record<Scenario, string>>> = {
  deaf: "without a witness nobody can tell which of two nodes is the deaf one, so it is not replaced",
  grow: "quorum: pair is for exactly two nodes",
};

export interface DrillLab {
  readonly members: readonly { readonly role: "node" | "witness" }[];
  readonly isPair: boolean;
}

/** Why a cluster can not have this drill, in one line; empty when it can. */
export function whyNot(scenario: Scenario, { members, isPair }: DrillLab): string {
  const nodes = members.filter(({ role }) => role === "node").length;
  const nodesMin = NODES_MIN[scenario] ?? 2;
  if (nodes < nodesMin) {
    return `${scenario} does not apply: it needs ${nodesMin} nodes, and this lab has ${nodes}; make one with --nodes ${nodesMin}`;
  }
  if (WITNESS_SCENARIOS.has(scenario) && nodes === members.length) {
    return `${scenario} does not apply: it needs a witness, and this lab has none; make one without --no-witness`;
  }
  const whyNotPair = NOT_IN_A_PAIR[scenario];
  if (isPair && nodes === members.length && whyNotPair !== undefined) {
    return `${scenario} does not apply: ${whyNotPair}; make a lab without --no-witness`;
  }
  return "";
}

export const SCENARIO_TEXT: Readonly<Record<Scenario, string>> = {
  kill: "a node's process is killed (SIGKILL)",
  silent: "a node is cut off all links, its carrier stays",
  drain: "a node hands all its slots over, for maintenance",
  rejoin: "a node that was dead comes back and is given its slots",
  pause: "a node stands still for 2 s, as a suspended VM, and goes on",
  "hung-worker":
    "a node's packet worker hangs: the others take over, and its process ends itself within seconds",
  "hung-main": "a node's main thread (consensus, replication) stands still for 2 s: its packets go on",
  mute: "nothing that a node sends arrives any more; it hears the others",
  deaf: "a node hears nothing any more; the others hear it",
  carrier: "a node's wire to the inside is pulled and put back",
  wire: "a node's wire to the outside carries nothing for 6 s, although it keeps its carrier",
  "wire-in": "nothing comes in by a node's wire to the inside for 6 s; the others hear the node",
  "wire-out": "nothing leaves by a node's wire to the inside for 6 s; the node hears the others",
  "outside-in": "nothing comes in by a node's wire to the outside for 6 s; the others hear the node",
  "outside-out": "nothing leaves by a node's wire to the outside for 6 s; the node hears the others",
  link: "a node's cluster link is cut for 3 s; the zones are fine",
  "link-in": "nothing comes in by a node's cluster link for 3 s; the others hear the node there",
  "link-out": "nothing leaves by a node's cluster link for 3 s; the node hears the others there",
  flap: "a node's cluster link goes and comes five times in 3 s",
  loss: "a fifth of all frames on a node's cluster link is lost for 4 s, both ways",
  slow: "a node's cluster link carries 200 kB/s for 4 s",
  witness:
    "the witness dies, and when it is forgiven, a node dies too (of two, the one that does not vote alone)",
  relay: "a node dies and comes back, then the other one dies",
  overtaken: "a node is killed while it is drained: a drill during a drill",
  flood: "a node is killed while spoofed SYNs come in as fast as the machine can send them",
  log: "a dead node's log is damaged: it must refuse to start, and come back when that is repaired",
  "lost-disk": "a node dies with its disk: its machine joins anew, under another id, in its name",
  grow: "one more node joins the cluster, is given slots, and leaves for good",
  two: "two nodes die, one after the other, in a cluster of three or more",
  disk: "a node's disk is full: it must leave in order, and come back when there is room",
  "disk-log":
    "not even a node's log finds room on its disk: the node must end by itself, and start when there is room",
  clock: "somebody sets a node's time of day: an hour forward, two hours back, and right again",
  again: "a node dies, and dies again while it comes back: a drill during a drill",
  upgrade: "all members are restarted, one after the other, each emptied before: a rolling upgrade",
  rotate: "all members get new certificates, one after the other",
  "far-witness": `a node's process is killed while the witness is ${FAR_ROUND_TRIP_MS} ms away`,
  "far-silent": `a node is cut off all links while the witness is ${FAR_ROUND_TRIP_MS} ms away`,
  "far-drain": `a node hands all its slots over while the witness is ${FAR_ROUND_TRIP_MS} ms away`,
};

/** One value for each way of the probes. */
export interface ByDirection {
  readonly toServer: number;
  readonly toClient: number;
}

export interface PacketCounts {
  readonly sent: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

/** A journal event, the member that wrote it, and its place in that journal: times of different threads may cross. */
export interface MemberEvent extends JournalEvent {
  readonly member: string;
  readonly order: number;
}

export interface DrillSeries {
  /** Milliseconds after the fault, and the largest gap between probes in that moment, over all flows. */
  readonly probeGaps: { readonly toServer: [number, number][]; readonly toClient: [number, number][] };
  /** By "from-to" member names: milliseconds after the fault, lag in milliseconds. */
  readonly syncLag: Readonly<Record<string, [number, number][]>>;
  /** By member name: milliseconds after the fault, slots owned. */
  readonly slots: Readonly<Record<string, [number, number][]>>;
}

export interface Alone {
  /** The epoch in which it went on is marked. */
  readonly isForced: boolean;
  /** `status` and an alert say that one more failure ends it. */
  readonly isUnwitnessed: boolean;
}

export interface DrillMeasurement {
  readonly scenario: Scenario;
  readonly victim: string;
  /** The victim led the cluster when it was hit. */
  /** New connections that were tried each second, as far as the client got its processor. */
  readonly newPerSecond: number;
  readonly wasLeader: boolean;
  readonly startedAt: string;
  /** CLOCK_MONOTONIC. */
  readonly faultAtMs: number;
  /** From the fault until every slot was settled again, with what is left of the cluster; null when it never was. */
  readonly settledMs: number | null;
  /** What was still waited for when time was up. */
  readonly unsettled: string;
  /** Longest gap of a 1 ms UDP probe in each direction, over all probe flows, without the ends' own stalls. */
  readonly outageMs: ByDirection;
  /** The same gap as heard. */
  readonly rawGapMs: ByDirection;
  /** The longest gap before the fault: what the machine itself does to the probes. */
  readonly noiseMs: ByDirection;
  /** By probe flow: whose slot it is in. */
  readonly flows: readonly {
    readonly address: string;
    readonly owner: string;
    readonly outageMs: ByDirection;
  }[];
  /** After the fault; null where the scenario has no such step. */
  readonly detectMs: number | null;
  readonly steerMs: number | null;
  readonly decideMs: number | null;
  readonly activateMs: number | null;
  /** Probes. */
  readonly packets: PacketCounts;
  /** The probes' translated address changed under way: a binding was lost. */
  readonly translationsLost: number;
  readonly connections: {
    readonly established: number;
    readonly broken: number;
    readonly reasons: Readonly<Record<string, number>>;
    readonly stallMsMax: number;
  };
  readonly visits: {
    readonly attempted: number;
    readonly failed: number;
    readonly slow: number;
    readonly reasons: Readonly<Record<string, number>>;
    readonly p50Ms: number;
    readonly p99Ms: number;
  };
  readonly download: {
    readonly bytes: number;
    readonly isHashRight: boolean;
    readonly error: string;
    readonly stallMsMax: number;
  };
  readonly ping: { readonly sent: number; readonly lost: number; readonly duplicated: number };
  /**
   * Flows that went on before their backup held them, as it was too slow, during the drill: lost when their owner dies before it
   * has them. Those for which there was no backup are not counted: after a death that is so.
   */
  readonly unprotectedFlows: number;
  /** Change to acknowledgement: the worst node's figures. */
  readonly syncLag: LatencySummary;
  readonly epochBefore: number;
  readonly epochAfter: number;
  /** Of a pair without a witness, what the node says that was left behind; null where none had to go on alone. */
  readonly alone: Alone | null;
  /** By node, before the fault: its part of all flows. */
  readonly flowShare: Readonly<Record<string, number>>;
  /** Times in which two members decided one slot: must be empty. */
  readonly overlaps: readonly Overlap[];
  readonly events: readonly MemberEvent[];
  readonly series: DrillSeries;
  readonly isRealtime: boolean;
}

export interface DrillResult extends DrillMeasurement {
  readonly verdict: "pass" | "fail";
  /** What was beyond its limit; empty when the verdict is pass. */
  readonly reasons: readonly string[];
}
