/**
 * A run of the comparison: many seeds, counted by class. Owns the two firewalls, which are made anew before their hosts run out,
 * and what is kept of a run: counts, and an example of what nothing explains.
 */
import { Comparison, type Disagreement, transcript } from "./compare.ts";
import { classOf } from "./differences.ts";
import { EngineFirewall } from "./engine-firewall.ts";
import { generate } from "./generate.ts";
import { KernelFirewall } from "./kernel-firewall.ts";
import { LANES, type Sequence } from "./steps.ts";

/** Sequences that one engine and one namespace bear; shrinking takes lanes too. */
const SEQUENCES_PER_WORLD = 500;
const FLOWS_MAX = 16_384;
const LANES_MARGIN = 10_000;

export interface RunResult {
  readonly sequences: number;
  readonly packets: number;
  /** Sequences without any disagreement. */
  readonly agreed: number;
  /** By class. */
  readonly differences: ReadonlyMap<string, number>;
  /** What no class explains: seed, and the shortest sequence that shows it. */
  readonly unexplained: readonly { readonly seed: number; readonly text: string }[];
}

const UNEXPLAINED_MAX = 5;

/** Compares the sequences of `count` seeds from `first` on. */
export function runSeeds(first: number, count: number, progress?: (done: number) => void): RunResult {
  const differences = new Map<string, number>();
  const unexplained: { seed: number; text: string }[] = [];
  let packets = 0;
  let agreed = 0;
  for (let from = first; from < first + count; from += SEQUENCES_PER_WORLD) {
    const to = Math.min(first + count, from + SEQUENCES_PER_WORLD);
    packets += inWorld((comparison) => {
      for (let seed = from; seed < to; seed++) {
        const found = explain(comparison, generate(seed));
        if (found === undefined) agreed++;
        else if (typeof found === "string") differences.set(found, (differences.get(found) ?? 0) + 1);
        else if (unexplained.length < UNEXPLAINED_MAX) {
          unexplained.push({ seed, text: transcript(comparison.shrink(found, classOf)) });
        }
      }
    });
    progress?.(to - first);
  }
  return { sequences: count, packets, agreed, differences, unexplained };
}

/** The class of a sequence's first disagreement, the disagreement when there is none, or undefined when both agree. */
export function explain(comparison: Comparison, sequence: Sequence): string | Disagreement | undefined {
  const found = comparison.play(sequence);
  if (found === undefined) return undefined;
  // Played again up to there: what the engine's tracker knew is cheap to ask for, what the kernel knew is not.
  let looked = found;
  for (const looks of ["engine", "both"] as const) {
    looked = comparison.play(found.sequence, looks) ?? found;
    const name = classOf(looked);
    if (name !== undefined) return name;
  }
  return looked;
}

/** Runs `body` with a fresh pair of firewalls, and answers how many packets both saw. */
function inWorld(body: (comparison: Comparison) => void): number {
  const engine = new EngineFirewall(FLOWS_MAX);
  const kernel = new KernelFirewall();
  try {
    const comparison = new Comparison(engine, kernel);
    body(comparison);
    if (comparison.lanes > LANES - LANES_MARGIN)
      throw new Error("a world ran out of hosts: give it fewer sequences");
    return comparison.packets;
  } finally {
    kernel.close();
  }
}
