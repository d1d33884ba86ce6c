/**
 * Raft figure 3 under random faults. To replay a failure, put its seed into the list of a single test.
 */
import { expect, test } from "vitest";
import { Chaos, type ChaosOptions } from "../support/chaos.ts";

const STEPS = 4_000;
/** More of them in a long run: RAFT_SEEDS=2000 npx vitest run cluster/raft-ts/test/property */
const SEEDS = Number(process.env["RAFT_SEEDS"] ?? 40);

interface Tally {
  applied: number;
  terms: number;
  reads: number;
  snapshots: number;
  joint: number;
}

function survive(options: Omit<ChaosOptions, "seed" | "steps">): Tally {
  const tally: Tally = { applied: 0, terms: 0, reads: 0, snapshots: 0, joint: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const chaos = new Chaos({ ...options, seed, steps: STEPS });
    try {
      chaos.run();
      chaos.converge();
    } catch (error) {
      throw new Error(`seed ${seed}, ${STEPS} steps, ${JSON.stringify(options)}`, { cause: error });
    }
    tally.applied += chaos.appliedCount;
    tally.terms += chaos.termCount;
    tally.reads += chaos.counts.reads;
    tally.snapshots += chaos.counts.snapshots;
    tally.joint += chaos.counts.joint;
  }
  return tally;
}

const VARIANTS: { name: string; options: Omit<ChaosOptions, "seed" | "steps"> }[] = [
  { name: "plain elections", options: {} },
  { name: "pre-vote", options: { preVote: true } },
  { name: "pre-vote, check-quorum and a witness", options: { preVote: true, checkQuorum: true, witness: 3 } },
  { name: "changing memberships", options: { isMembershipChanging: true } },
  {
    name: "changing memberships with pre-vote and check-quorum",
    options: { isMembershipChanging: true, preVote: true, checkQuorum: true },
  },
];

for (const { name, options } of VARIANTS) {
  test(`a cluster with ${name} keeps all safety properties under faults and works again when they end`, () => {
    const tally = survive(options);
    // The runs must have done something: entries over several terms, reads, snapshots, joint configurations.
    expect(tally.applied).toBeGreaterThan(SEEDS * 20);
    expect(tally.terms).toBeGreaterThan(SEEDS * 2);
    expect(tally.reads).toBeGreaterThan(SEEDS / 4);
    expect(tally.snapshots).toBeGreaterThan(SEEDS / 4);
    if (options.isMembershipChanging === true) expect(tally.joint).toBeGreaterThan(SEEDS / 4);
  }, 600_000);
}
