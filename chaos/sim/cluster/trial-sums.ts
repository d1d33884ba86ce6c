/**
 * Sums over trials: the figures of one or many seeds, as plain data that adds up across processes and lines of a log. Owns what is
 * counted; what breaks a rule is trial.ts.
 */
import type { TrialReport } from "./trial.ts";

/** By name: of nodes, kinds, faults. */
type Counts = Record<string, number>;

export interface Violation {
  readonly seed: number;
  readonly finding: string;
}

export interface TrialSums {
  seeds: number;
  virtualMs: number;
  /** Clusters by their number of nodes. */
  nodes: Counts;
  witnesses: number;
  kinds: Counts;
  faults: Counts;
  takeovers: number;
  fenced: number;
  /** Committed entries that all members were compared by. */
  committed: number;
  /** Connections that were followed through the trouble. */
  flows: number;
  /** Short flows that were answered. */
  answers: number;
  /** Attempts at what the policy denies. */
  denied: number;
  /** First packets that were looked for on two machines. */
  watched: number;
  /** Frames on the zones' wires. */
  looked: number;
  /** From the end of the trouble until the cluster was whole: trials by RECOVERY_STEP_MS, rounded up. */
  recoveredMs: Counts;
  violations: Violation[];
}

const RECOVERY_STEP_MS = 10;

export function noSums(): TrialSums {
  return {
    seeds: 0,
    virtualMs: 0,
    nodes: {},
    witnesses: 0,
    kinds: {},
    faults: {},
    takeovers: 0,
    fenced: 0,
    committed: 0,
    flows: 0,
    answers: 0,
    denied: 0,
    watched: 0,
    looked: 0,
    recoveredMs: {},
    violations: [],
  };
}

export function sumsOf(report: TrialReport): TrialSums {
  const { plan, findings, faultCounts, counts, virtualMs, recoveredMs } = report;
  const [first] = findings;
  return {
    seeds: 1,
    virtualMs,
    nodes: { [plan.nodes]: 1 },
    witnesses: plan.hasWitness ? 1 : 0,
    kinds: { [plan.kind]: 1 },
    faults: { ...faultCounts },
    ...counts,
    recoveredMs: { [Math.ceil(recoveredMs / RECOVERY_STEP_MS) * RECOVERY_STEP_MS]: 1 },
    violations: first === undefined ? [] : [{ seed: plan.seed, finding: first.split("\n")[0]! }],
  };
}

/** Adds `more` to `sums`. */
export function addSums(sums: TrialSums, more: TrialSums): void {
  for (const key of NUMBERS) sums[key] += more[key];
  for (const key of COUNTS) {
    for (const [name, count] of Object.entries(more[key])) sums[key][name] = (sums[key][name] ?? 0) + count;
  }
  sums.violations.push(...more.violations);
}

const NUMBERS = [
  "seeds",
  "virtualMs",
  "witnesses",
  "takeovers",
  "fenced",
  "committed",
  "flows",
  "answers",
  "denied",
  "watched",
  "looked",
] as const;
const COUNTS = ["nodes", "kinds", "faults", "recoveredMs"] as const;

/** The recovery that this share of all trials did not exceed. */
export function recoveryMs({ seeds, recoveredMs }: TrialSums, share: number): number {
  let left = share * seeds;
  let ms = 0;
  const steps = Object.keys(recoveredMs).map(Number);
  for (const step of steps.sort((a, b) => a - b)) {
    if (left <= 0) break;
    ms = step;
    left -= recoveredMs[step]!;
  }
  return ms;
}
