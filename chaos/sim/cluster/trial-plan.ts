/**
 * Plan of a trial: how large the cluster is and what kind of trouble it gets, drawn from the seed alone.
 *
 *   single   one fault of one member of a cluster, settled or while its slots move: nothing established may break
 *   storm    faults of any members at any time: nobody decides twice, nothing committed is lost, all heals
 */
import { seededRandom } from "../../../src/base/env.ts";
import { type Bug, STALLING, trialOf } from "./bugs.ts";
import type { Fault } from "./trial-faults.ts";

export interface TrialPlan {
  readonly seed: number;
  readonly nodes: number;
  readonly hasWitness: boolean;
  readonly profile: "lan" | "vm";
  readonly kind: "single" | "storm";
  readonly isWeatherBad: boolean;
  readonly warmUpMs: number;
  /** The first election is hurried: most trials are about what comes after it. */
  readonly isHurried: boolean;
  /** Of a single fault: a member has just been given another weight, and slots are on their way. */
  readonly isMoving: boolean;
  /** The fault: a main thread stands still while slots move and more flows begin than replication has room for. */
  readonly isCramped: boolean;
  /** Members lose their vote and get it back, are parted from each other, and make way for others in their name. */
  readonly isChanging: boolean;
  /** Of a storm. */
  readonly stormMs: number;
  /** Of a single fault, default: drawn when it happens; of a storm: all there is of it. */
  readonly fault?: Fault;
  readonly driftPpmMax: number;
  readonly bug: Bug | undefined;
}

/** Of a hundred clusters, so many have as many nodes: mostly small ones, which are the common case and quick. */
type Shares = readonly (readonly [nodes: number, share: number])[];
const NODES: Shares = [
  [2, 52],
  [3, 27],
  [4, 11],
  [5, 5],
  [6, 2],
  [7, 1],
  [8, 2],
];
const BRIEF_NODES: Shares = [
  [2, 62],
  [3, 23],
  [4, 8],
  [5, 3],
  [6, 2],
  [7, 1],
  [8, 1],
];
const CHANGING_NODES: Shares = [
  [2, 35],
  [3, 35],
  [4, 15],
  [5, 10],
  [6, 5],
];
/** Leases allow for 1 % between two clocks: each may be off by half of that. */
const DRIFT_PPM_MAX = 5000;
const STORM_MS = { lan: 450, vm: 1200 } as const;
const BRIEF_STORM_MS = { lan: 200, vm: 700 } as const;
/** From the first questions to the fault: connections stand, copies are made. */
const WARM_UP_MS = 120;
const BRIEF_WARM_UP_MS = 20;
/** Of a hundred brief trials, so many begin with an election that nobody hurries. */
const UNHURRIED = 12;
/** Of a hundred single faults, so many come while slots move. */
const MOVING = 50;
/** Of a hundred trials, so many are about a node whose replication is full. */
const CRAMPED = 4;
/** A storm long enough for voters to change, and to change back. */
const CHANGING = {
  ...{ profile: "lan", kind: "storm", isHurried: true, isCramped: false, isChanging: true },
  ...{ stormMs: 700, warmUpMs: BRIEF_WARM_UP_MS },
} as const satisfies Partial<TrialPlan>;
/** Of a hundred of them that do not need a witness, so many have one. */
const CHANGING_WITNESSES = 30;
/** Keeps the plan's chances apart from the trial's. */
const PLAN_SEED = 0x5eed;

/** Kinds of trouble of their own, by the word that asks for them. */
export const SCENES = ["stalling", "changing"] as const;
export type Scene = (typeof SCENES)[number];

export interface PlanOptions {
  /** Small clusters and little trouble, so that many of them cost little. */
  readonly isBrief?: boolean | undefined;
  readonly bug?: Bug | undefined;
  /** A bug is planted in clusters and troubles as they come, not in those that show it soon. */
  readonly isMixed?: boolean | undefined;
  /** A kind of trouble that random faults hardly ever make. */
  readonly scene?: Scene | undefined;
}

export function planTrial(seed: number, options: PlanOptions = {}): TrialPlan {
  const { isBrief = false, bug, isMixed = false, scene } = options;
  const random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ PLAN_SEED);
  const nodes = drawNodes(isBrief ? BRIEF_NODES : NODES, random(100));
  const profile = random(100) < (isBrief ? 97 : 85) ? "lan" : "vm";
  const plan: TrialPlan = {
    seed,
    nodes,
    // An even number of voters would only waste one: the witness joins pairs, and sometimes more.
    hasWitness: nodes % 2 === 0 || random(100) < 20,
    profile,
    kind: random(100) < 45 ? "single" : "storm",
    isWeatherBad: random(100) < 50,
    stormMs: isBrief ? BRIEF_STORM_MS[profile] : STORM_MS[profile],
    warmUpMs: isBrief ? BRIEF_WARM_UP_MS : WARM_UP_MS,
    driftPpmMax: random(100) < 80 ? DRIFT_PPM_MAX : 0,
    isHurried: isBrief && random(100) >= UNHURRIED,
    isMoving: random(100) < MOVING,
    isCramped: random(100) < CRAMPED,
    isChanging: false,
    bug,
  };
  if (scene === "stalling") return { ...plan, ...STALLING };
  if (scene === "changing") {
    const members = drawNodes(CHANGING_NODES, random(100));
    const hasWitness = members === 2 || random(100) < CHANGING_WITNESSES;
    return { ...plan, ...CHANGING, nodes: members, hasWitness };
  }
  const asked = isMixed ? plan : { ...plan, ...trialOf(bug) };
  return asked.isCramped ? { ...asked, kind: "single", isWeatherBad: false } : asked;
}

function drawNodes(shares: Shares, drawn: number): number {
  let left = drawn;
  for (const [nodes, share] of shares) {
    left -= share;
    if (left < 0) return nodes;
  }
  return 2;
}
