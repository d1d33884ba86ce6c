/**
 * Limits: what a drill must keep to be passed. One table; the verdict follows from it. Pure.
 */
import { CLIENT_ADDRESSES } from "../lab/topology.ts";
import {
  type DrillMeasurement,
  type DrillResult,
  FAR_ROUND_TRIP_MS,
  FAR_SCENARIOS,
  SCENARIOS,
  type Scenario,
} from "./model.ts";

export interface Limits {
  /** Longest outage in either direction. */
  readonly outageMsMax: number;
  /** Probes lost or doubled. */
  readonly lostMax: number;
  readonly duplicatedMax: number;
  readonly pingsLostMax: number;
}

const ANY = Number.POSITIVE_INFINITY;

/** What kind of failure a scenario is decides what it may cost. */
type Kind =
  | "death"
  | "silence"
  | "deafness"
  | "wire"
  | "planned"
  | "rejoining"
  | "rolling"
  | "bystander"
  | "renewal"
  | "nothing";

/** Kinds in which no slot may move. */
const STILL_KINDS: ReadonlySet<Kind> = new Set<Kind>(["bystander", "renewal", "nothing"]);

const KINDS: Readonly<Record<Scenario, Kind>> = {
  kill: "death",
  silent: "silence",
  drain: "planned",
  rejoin: "rejoining",
  pause: "silence",
  "hung-worker": "silence",
  "hung-main": "nothing",
  mute: "silence",
  deaf: "deafness",
  carrier: "deafness",
  wire: "wire",
  "wire-in": "wire",
  "wire-out": "wire",
  "outside-in": "wire",
  "outside-out": "wire",
  link: "bystander",
  "link-in": "bystander",
  "link-out": "bystander",
  flap: "bystander",
  loss: "bystander",
  slow: "bystander",
  witness: "death",
  relay: "silence",
  overtaken: "death",
  flood: "silence",
  log: "rejoining",
  "lost-disk": "silence",
  grow: "rejoining",
  two: "death",
  disk: "planned",
  "disk-log": "silence",
  clock: "nothing",
  again: "silence",
  upgrade: "rolling",
  rotate: "renewal",
  "far-witness": "death",
  "far-silent": "silence",
  "far-drain": "planned",
};

/**
 * By profile: how long a silent node may go unnoticed decides the outage of `silence`. What is moved by plan may lose nothing; a
 * packet may be late while a node starts, since in a lab that takes its processor time from the others, but not by more than what
 * the profile bears at any time. A bystander is a failure in which every node can go on: no slot moves, and packets that cross the
 * cluster link wait until the loss of the link is detected. A node that must notice by itself that it is cut off, since the others
 * still hear it, is one lease later than a silent one: its lease has to run out first, and then what it was promised. Deaths with
 * a start of a node in them, or a flood beside them, may last as long as a silence, for the same lack of processor time. `nothing` is
 * what must not be felt at all: no slot moves and nothing is lost; its outage is what a plan may cost, since a busy machine is that late.
 * Of a `wire` that carries nothing although it has a carrier the nodes must find out whose fault it is, which takes a second of silence,
 * up to two looks of half a second each, and an answer.
 * A `renewal` is the same as `nothing`, except that it runs code that no member has run before, which takes processor time as a start does.
 */
const KIND_LIMITS: Readonly<Record<"lan" | "vm", Readonly<Record<Kind, Limits>>>> = {
  lan: {
    death: { outageMsMax: 50, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    silence: { outageMsMax: 120, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    deafness: { outageMsMax: 180, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    wire: { outageMsMax: 2500, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    planned: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    rejoining: { outageMsMax: 120, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    rolling: { outageMsMax: 120, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    bystander: { outageMsMax: 70, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    renewal: { outageMsMax: 120, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    nothing: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
  },
  vm: {
    death: { outageMsMax: 120, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    silence: { outageMsMax: 350, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    deafness: { outageMsMax: 550, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    wire: { outageMsMax: 2700, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    planned: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    rejoining: { outageMsMax: 350, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    rolling: { outageMsMax: 350, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    bystander: { outageMsMax: 200, lostMax: ANY, duplicatedMax: 0, pingsLostMax: ANY },
    renewal: { outageMsMax: 350, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
    nothing: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0, pingsLostMax: 0 },
  },
};

/** With a witness that is far away an outage may last longer by the way to it and back, which a decision takes. */
export function limitsOf(profile: "lan" | "vm", scenario: Scenario): Limits {
  const limits = KIND_LIMITS[profile][KINDS[scenario]];
  if (!FAR_SCENARIOS.has(scenario)) return limits;
  return { ...limits, outageMsMax: limits.outageMsMax + FAR_ROUND_TRIP_MS };
}

/** Median of the outages of several runs of a drill, with profile lan. A single run may be slower; see limitsOf(). */
export const MEDIAN_OUTAGE_MS_MAX: Partial<Readonly<Record<Scenario, number>>> = { kill: 15, silent: 70 };

/** Standard deviations that a node's share of the flows may lie below the even one: chance goes so far once in thousands of labs. */
const SHARE_DEVIATIONS_MAX = 4;

/** Streams that must stand before the fault, or the drill proves nothing. */
const CONNECTIONS_MIN = 200;

/** The verdict on a measurement. */
export function judge(measured: DrillMeasurement, profile: "lan" | "vm"): DrillResult {
  const reasons = breaches(measured, limitsOf(profile, measured.scenario));
  return { ...measured, verdict: reasons.length === 0 ? "pass" : "fail", reasons };
}

function breaches(measured: DrillMeasurement, limits: Limits): string[] {
  const { packets, connections, visits, download, overlaps, translationsLost, ping, alone } = measured;
  const worstMs = worstOutage(measured);
  const shares = Object.values(measured.flowShare);
  const unprotected =
    measured.unprotectedFlows === 0
      ? ""
      : `; ${measured.unprotectedFlows} flows went on before their backup held them, as it was too slow: the machine is full`;
  // Before a rejoin the others carry all.
  const leastMin = KINDS[measured.scenario] === "rejoining" ? 0 : leastShare(shares.length);
  const least = Math.min(...shares);
  const checks: readonly [boolean, string][] = [
    [worstMs > limits.outageMsMax, `outage ${worstMs.toFixed(1)} ms, limit ${limits.outageMsMax} ms`],
    [measured.settledMs === null, `the cluster did not settle: ${measured.unsettled}`],
    [
      STILL_KINDS.has(KINDS[measured.scenario]) && measured.epochAfter !== measured.epochBefore,
      `slots moved (epoch ${measured.epochBefore} to ${measured.epochAfter}) although every node could forward`,
    ],
    [packets.sent === 0, "no probe was sent"],
    [packets.lost > limits.lostMax, `${packets.lost} probes lost, limit ${limits.lostMax}`],
    [packets.duplicated > limits.duplicatedMax, `${packets.duplicated} probes doubled`],
    [translationsLost > 0, `${translationsLost} translated addresses changed`],
    [
      connections.established < CONNECTIONS_MIN,
      `only ${connections.established} of ${CONNECTIONS_MIN} connections stood`,
    ],
    [connections.broken > 0, `${connections.broken} connections broken (${counted(connections.reasons)})`],
    [visits.attempted === 0, "no new connection was tried"],
    [visits.failed > 0, `${visits.failed} new connections failed (${counted(visits.reasons)}${unprotected})`],
    [!download.isHashRight, `download damaged${download.error === "" ? "" : ` (${download.error})`}`],
    [ping.sent === 0, "no ping was sent"],
    [ping.lost > limits.pingsLostMax, `${ping.lost} pings lost, limit ${limits.pingsLostMax}`],
    [
      least < leastMin,
      `a node carried ${percent(least)} of the flows, at least ${percent(leastMin)} are due`,
    ],
    [alone?.isForced === false, "the node that was left went on in an epoch that is not marked as forced"],
    [alone?.isUnwitnessed === false, "the node that was left does not say that it is unwitnessed"],
    [overlaps.length > 0, `${overlaps.length} slots had two owners at a time`],
  ];
  return checks.filter(([isBreach]) => isBreach).map(([, reason]) => reason);
}

/**
 * Share of all flows that each of `nodes` must carry before the fault, or the drill hits nobody. A flow lies where its host's slot
 * is, and a lab has few hosts: of N hosts chance moves a share by sqrt((nodes - 1) / N) of the even one (binomial distribution).
 */
function leastShare(nodes: number): number {
  return (1 - SHARE_DEVIATIONS_MAX * Math.sqrt((nodes - 1) / CLIENT_ADDRESSES)) / nodes;
}

/** What several runs kept of the budget, one line a scenario that has one. */
export function judgeMedians(
  results: readonly DrillMeasurement[],
): { readonly line: string; readonly isKept: boolean }[] {
  return SCENARIOS.flatMap((scenario) => {
    const budgetMs = MEDIAN_OUTAGE_MS_MAX[scenario];
    const outages = results.filter((result) => result.scenario === scenario).map(worstOutage);
    if (budgetMs === undefined || outages.length === 0) return [];
    const medianMs = median(outages.toSorted((a, b) => a - b));
    const isKept = medianMs <= budgetMs;
    const verdict = isKept ? "kept" : "MISSED";
    const line = `${scenario}: median outage ${medianMs.toFixed(1)} ms of ${outages.length} runs, budget ${budgetMs} ms: ${verdict}`;
    return [{ line, isKept }];
  });
}

/** The longer of the outages in both directions. */
export function worstOutage({ outageMs }: DrillMeasurement): number {
  return Math.max(outageMs.toServer, outageMs.toClient);
}

/** Of ascending numbers; 0 of none. */
export function median(sorted: readonly number[]): number {
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function counted(reasons: Readonly<Record<string, number>>): string {
  return Object.entries(reasons)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ");
}
