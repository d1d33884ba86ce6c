/**
 * The engine beside the kernel's conntrack under an equal policy: generated sequences, packet by packet. A verdict that differs for
 * no listed reason fails, with the shortest sequence that shows it. chaos/conntrack/conntrack-main.ts runs more of them.
 */
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { Comparison, transcript } from "../../chaos/conntrack/compare.ts";
import { EngineFirewall } from "../../chaos/conntrack/engine-firewall.ts";
import { generateRegular } from "../../chaos/conntrack/generate.ts";
import { KernelFirewall, whyNoKernel } from "../../chaos/conntrack/kernel-firewall.ts";
import { runSeeds } from "../../chaos/conntrack/run.ts";

const SEEDS = 1500;
const REGULAR_SEEDS = 500;
const FLOWS_MAX = 4096;
const why = whyNoKernel();

describe.skipIf(why !== undefined)(`conntrack${why === undefined ? "" : ` (skipped: ${why})`}`, () => {
  test("verdicts agree on generated sequences, or differ for a reason that is listed", () => {
    const { unexplained, agreed, differences } = runSeeds(0, SEEDS);
    expect(unexplained.map(({ seed, text }) => `seed ${seed}:\n${text}`)).toEqual([]);
    expect(agreed + [...differences.values()].reduce((a, b) => a + b, 0)).toBe(SEEDS);
    // The generator still makes what is worth comparing.
    expect(agreed).toBeGreaterThan(SEEDS / 3);
  });

  test("of connections in which nothing is wrong, neither drops anything", () => {
    const kernel = new KernelFirewall();
    try {
      const comparison = new Comparison(new EngineFirewall(FLOWS_MAX), kernel);
      for (let seed = 0; seed < REGULAR_SEEDS; seed++) {
        const found = comparison.play(generateRegular(seed));
        expect(found === undefined ? "" : `seed ${seed}:\n${transcript(found)}`).toBe("");
        expect(comparison.dropped).toBe(0);
      }
    } finally {
      kernel.close();
    }
  });

  test("nothing is left behind, also after a failure", () => {
    const kernel = new KernelFirewall();
    expect(() => {
      try {
        throw new Error("in between");
      } finally {
        kernel.close();
      }
    }).toThrow("in between");
    expect(execFileSync("ip", ["netns", "list"], { encoding: "utf8" })).not.toContain(
      `swcmp-${process.pid}-`,
    );
  });
});
