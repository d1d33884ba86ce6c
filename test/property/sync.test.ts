import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Rig } from "./sync-rig.ts";

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 });

describe("replication in virtual time", () => {
  test("copies become equal and claims stay true when links break", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const report = new Rig({ seed, nodes: 2, chaosMs: 400, cuts: 20 }).run();
        expect(report.problems).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });
});
