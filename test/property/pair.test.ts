/**
 * Two nodes without a witness, from their first start through trouble to one log again (chaos/sim/cluster/pair.ts): every rule holds
 * whatever the seed; and proof that the checks see it when the rule of a pair is broken. docs/simulation.md has figures of longer runs.
 */
import { expect, test } from "vitest";
import { PAIR_BUGS } from "../../chaos/sim/cluster/bugs.ts";
import { PAIR_STORIES, type PairStory, runPair } from "../../chaos/sim/cluster/pair.ts";

const SEEDS = Number(process.env["SYNWALL_PAIRS"] ?? 1);
/** A story takes 2 s to 6 s of one core; the machine may be busy. */
const STORY_MS_MAX = 60_000;

test.each(PAIR_STORIES)(
  "one of two nodes goes on, and both come together again: %s",
  {
    timeout: SEEDS * STORY_MS_MAX,
  },
  async (story) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { findings, forced, excused } = await runPair({ seed, story });
      expect(findings, `replay: npx tsx chaos/sim/cluster/pair-replay.ts ${story} ${seed}`).toEqual([]);
      if (story === "mute") expect(forced).toBe(0);
      else expect(forced).toBeGreaterThan(0);
      if (story !== "split") expect(excused).toBe(0);
    }
  },
);

test("a node that hears the other one, and is not heard, does not go on alone, though the other one speaks seldom", {
  timeout: STORY_MS_MAX,
}, async () => {
  const { findings, forced } = await runPair({ seed: 1, story: "one-way", profile: "vm" });
  expect(findings).toEqual([]);
  expect(forced).toBe(1);
});

const FOUND_IN: Readonly<Record<(typeof PAIR_BUGS)[number], readonly [story: PairStory, what: RegExp]>> = {
  "probes-nobody": ["mute", /both decide slot|went on alone, though/],
  "buries-the-silent": ["one-way", /both decide slot/],
  "marks-nothing": ["power", /not marked as forced/],
  "gives-way-to-nobody": ["swap", /logs of 2 generations/],
};

test.each(PAIR_BUGS)("a planted bug is found: %s", { timeout: 5 * STORY_MS_MAX }, async (bug) => {
  const [story, what] = FOUND_IN[bug];
  let found = "";
  for (let seed = 1; seed <= 5 && !what.test(found); seed++) {
    found = (await runPair({ seed, story, bug })).findings.join("\n");
  }
  expect(found).toMatch(what);
});
