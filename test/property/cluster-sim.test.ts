import { describe, expect, test } from "vitest";
import type { Scenario } from "../../chaos/drill/model.ts";
import type { Bug } from "../../chaos/sim/cluster/bugs.ts";
import { type RunReport, runSimulation } from "../../chaos/sim/cluster/run.ts";

interface Given {
  readonly seed: number;
  readonly scenarios: readonly Scenario[];
  readonly nodes?: number;
  readonly bug?: Bug;
}

/** Little load: what matters here is order, not amount. The demo runs the whole of it. */
function simulate(given: Given): Promise<RunReport> {
  return runSimulation({
    nodes: 2,
    load: { connections: 20, visitsPerSecond: 60, feedIntervalMs: 100 },
    flowsMax: 8192,
    warmUpMs: 400,
    aftermathMs: 600,
    ...given,
  });
}

describe("a cluster of real nodes in virtual time", () => {
  test.each([
    { seed: 11, nodes: 2 },
    { seed: 12, nodes: 3 },
  ])(
    "of $nodes nodes, seed $seed, breaks no rule when nodes die, fall silent, are drained and come back",
    async (given) => {
      const scenarios = ["kill", "silent", "drain", "rejoin"] as const;
      const { findings, results, commitsWatched } = await simulate({ ...given, scenarios });
      expect(findings).toEqual([]);
      expect(results.map(({ scenario }) => scenario)).toEqual(scenarios);
      expect(commitsWatched).toBeGreaterThan(20);
    },
  );

  test("does the same to the last frame when it is run again", async () => {
    const given: Given = { seed: 13, scenarios: ["drain"] };
    const [first, second] = [await simulate(given), await simulate(given)];
    expect(second.digest).toBe(first.digest);
    expect(second.results).toEqual(first.results);
    expect((await simulate({ ...given, seed: 14 })).digest).not.toBe(first.digest);
  });
});

describe("the checks of a simulated cluster find", () => {
  test.each<[Bug, Scenario, RegExp]>([
    ["awaits-nobody", "silent", /two owners at a time/],
    ["stretches-lease", "silent", /two owners at a time/],
    ["forwards-unreplicated", "drain", /went out, and only fw[12]-outside has it/],
  ])("a planted bug: %s", async (bug, scenario, finding) => {
    const { findings } = await simulate({ seed: 15, scenarios: [scenario], bug });
    expect(findings.join("\n")).toMatch(finding);
  });
});
