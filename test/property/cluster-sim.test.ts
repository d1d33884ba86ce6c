/**
 * A whole cluster of real nodes in virtual time, over several seeds (chaos/sim/cluster): no single failure breaks a rule; and
 * proof that the checks see it when a rule is broken.
 */
import { describe, expect, test } from "vitest";
import { CORE_SCENARIOS, type Scenario } from "../../chaos/drill/model.ts";
import type { Bug } from "../../chaos/sim/cluster/bugs.ts";
import { runSimulation, SMALL_RUN } from "../../chaos/sim/cluster/run.ts";

describe("a cluster of real nodes in virtual time", () => {
  test.each([
    { seed: 11, nodes: 2 },
    { seed: 12, nodes: 3 },
  ])(
    "breaks no rule when nodes die, fall silent, are drained and come back: seed $seed, $nodes nodes",
    async (given) => {
      const { findings, results, commitsWatched } = await runSimulation({ ...SMALL_RUN, ...given });
      const replay = `replay: npx tsx chaos/sim/cluster/cluster-replay.ts ${given.seed} ${given.nodes}`;
      expect(findings, replay).toEqual([]);
      expect(results.map(({ scenario }) => scenario)).toEqual(CORE_SCENARIOS);
      expect(commitsWatched).toBeGreaterThan(20);
    },
  );

  test("loses its witness, and then whichever node does not vote alone", async () => {
    const scenarios = ["witness", "witness"] as const;
    const { findings, results } = await runSimulation({ ...SMALL_RUN, seed: 17, scenarios });
    expect(findings).toEqual([]);
    expect(results.map(({ wasLeader }) => wasLeader)).toEqual([false, false]);
  });

  test.each([
    { scenario: "link-in", hasMoved: false },
    { scenario: "link-out", hasMoved: false },
    { scenario: "outside-in", hasMoved: true },
    { scenario: "outside-out", hasMoved: true },
  ] as const)("breaks no rule when one link carries nothing in one way: $scenario", async (given) => {
    const { findings, results } = await runSimulation({
      ...SMALL_RUN,
      seed: 18,
      scenarios: [given.scenario],
    });
    expect(findings).toEqual([]);
    const moves = results.map(({ epochBefore, epochAfter }) => epochAfter > epochBefore);
    expect(moves).toEqual([given.hasMoved]);
  });

  test("does the same to the last frame when it is run again", async () => {
    const given = { ...SMALL_RUN, seed: 13, scenarios: ["drain"] } as const;
    const [first, second] = [await runSimulation(given), await runSimulation(given)];
    expect(second.digest).toBe(first.digest);
    expect(second.results).toEqual(first.results);
    expect((await runSimulation({ ...given, seed: 14 })).digest).not.toBe(first.digest);
  });

  test("is settled within half a second, with every backup proven by its first digest", async () => {
    const events: number[] = [];
    await runSimulation({
      ...SMALL_RUN,
      seed: 16,
      scenarios: [],
      onEvent: (_member, { atMs }) => events.push(atMs),
    });
    expect(events.at(-1)! - events[0]!).toBeLessThan(500);
  });
});

interface Expected {
  readonly scenario: Scenario;
  readonly profile: "lan" | "vm";
  readonly finding: RegExp;
}

/** What drills find; the others need trials (cluster-trials.test.ts). */
const EXPECTED = {
  // In a lan a lease is out by the time of detection: who awaits nobody does no harm there.
  "awaits-nobody": { scenario: "silent", profile: "vm", finding: /two owners at a time/ },
  "stretches-lease": { scenario: "silent", profile: "lan", finding: /two owners at a time/ },
  "forwards-unreplicated": {
    scenario: "drain",
    profile: "lan",
    finding: /went out, and only fw[12]-outside has it/,
  },
} as const satisfies Partial<Record<Bug, Expected>>;
/** Whether a lease is out when another node decides depends on when the last promise was made. */
const SEEDS_FOR_BUGS = 10;
const DRILLED = ["awaits-nobody", "stretches-lease", "forwards-unreplicated"] as const;

test.each(DRILLED)("a planted bug is found in a simulated cluster: %s", async (bug) => {
  const { scenario, profile, finding } = EXPECTED[bug];
  let found = "";
  for (let seed = 15; seed < 15 + SEEDS_FOR_BUGS && !finding.test(found); seed++) {
    const run = await runSimulation({ ...SMALL_RUN, seed, scenarios: [scenario], profile, bug });
    found = run.findings.join("\n");
  }
  expect(found).toMatch(finding);
});
