/**
 * Whole clusters of real parts under random faults (chaos/sim/cluster/trial.ts): every rule holds whatever the seed; and proof
 * that each rule's check sees it when the rule is broken. docs/simulation.md has the figures of longer runs.
 */
import { describe, expect, test } from "vitest";
import { waitSettledOn } from "../../chaos/drill/stage.ts";
import { BUGS, type TrialBug } from "../../chaos/sim/cluster/bugs.ts";
import { SimCluster } from "../../chaos/sim/cluster/cluster.ts";
import { plugHosts } from "../../chaos/sim/cluster/hosts.ts";
import { runMany } from "../../chaos/sim/cluster/many.ts";
import { SMALL_SIZES } from "../../chaos/sim/cluster/sizes.ts";
import { simStage } from "../../chaos/sim/cluster/stage.ts";
import { runTrial } from "../../chaos/sim/cluster/trial.ts";
import { Replacements } from "../../chaos/sim/cluster/trial-changes.ts";

const TRIALS = Number(process.env["SYNWALL_TRIALS"] ?? 2000);
const SCENE_TRIALS = TRIALS / 20;
/** A seed takes 0.1 s to 0.3 s of one core; the machine may be busy. */
const TRIAL_MS_MAX = 2000;
const PROCESSES = 2;
const SEEDS_FOR_BUGS = 100;

test(`no rule is broken in ${TRIALS} clusters under random faults`, {
  timeout: 60_000 + TRIALS * TRIAL_MS_MAX,
}, async () => {
  const sums = await runMany({ fromSeed: 1, toSeed: TRIALS, processes: PROCESSES, isBrief: true });
  const [first] = sums.violations;
  expect(sums.violations, `replay: npx tsx chaos/sim/cluster/trial-replay.ts ${first?.seed} brief`).toEqual(
    [],
  );
  expect(sums.seeds).toBe(TRIALS);
});

test.each([
  ["workers stop in the middle of their turns", "stalling"],
  ["voters change, groups are parted and members are replaced", "changing"],
] as const)(
  `nor while %s (${SCENE_TRIALS} clusters)`,
  {
    timeout: 60_000 + SCENE_TRIALS * TRIAL_MS_MAX,
  },
  async (_, scene) => {
    const options = { isBrief: false, scene };
    const sums = await runMany({ fromSeed: 1, toSeed: SCENE_TRIALS, processes: PROCESSES, ...options });
    const [first] = sums.violations;
    const replay = `replay: npx tsx chaos/sim/cluster/trial-replay.ts ${first?.seed} ${scene}`;
    expect(sums.violations, replay).toEqual([]);
  },
);

test("a trial does the same to the last frame when it is run again", async () => {
  const [first, second] = [await runTrial({ seed: 7 }), await runTrial({ seed: 7 })];
  expect(second).toEqual(first);
  expect((await runTrial({ seed: 8 })).digest).not.toBe(first.digest);
});

const FINDINGS: Readonly<Record<TrialBug, readonly RegExp[]>> = {
  "awaits-nobody": [/both decide slot/],
  "stretches-lease": [/both decide slot/],
  races: [/both decide slot/],
  "forwards-unreplicated": [/went out, and only/],
  "shares-a-port": [/was given to flow \d+ and to flow/],
  "accepts-all": [/that no rule allows/],
  "drops-copies": [/flow \d+, .*: (no answer|is now|E[A-Z]+)|only its owner has|waits for slots to settle/],
  "repairs-nothing": [/only its owner has|went out, and only/],
  "alters-entries": [/holds another committed entry/],
  "votes-for-all": [/voted for \d+ and for \d+ in term|both lead term/],
  "elects-itself": [/both lead term/],
  misapplies: [/to \d different states/],
  "mangles-copies": [
    /flow \d+, .*: (no answer|is now|E[A-Z]+)/,
    /only its owner has/,
    /is given to .* and to/,
  ],
  "hurries-barriers": [/flow \d+, .*: (no answer|is now|E[A-Z]+)/],
  "dates-by-turn": [/both decide slot/],
  "lying-disk": [/SW_STORAGE_CORRUPT|another committed entry|committed entries/],
};

test.each(BUGS)("a planted bug is found in a trial: %s", { timeout: 600_000 }, async (bug) => {
  let found = "";
  const isFound = (): boolean => FINDINGS[bug].every((finding) => finding.test(found));
  for (let seed = 1; seed <= SEEDS_FOR_BUGS && !isFound(); seed++) {
    found = (await runTrial({ seed, bug })).findings.join("\n");
  }
  for (const finding of FINDINGS[bug]) expect(found).toMatch(finding);
});

describe("what trials found once", () => {
  // Trial 6 of those in which voters change: it lost its lease the moment that others voted again, until they had promised something.
  test.each([
    ["the witness is back", ["witness"]],
    ["the witness and the other node are back", ["witness", "fw2"]],
  ])("a node that voted alone serves on while others get their votes again: %s", async (_, gone) => {
    let fenced = 0;
    const cluster: SimCluster = new SimCluster({
      ...{ seed: 1, nodes: 2, hasWitness: true, profile: "vm", flowsMax: 256, sizes: SMALL_SIZES },
      forgiveAfterMs: 1500,
      onEvent: (member, { kind }) => {
        if (member === "fw1" && kind === "fenced") fenced++;
      },
    });
    const voters = () => cluster.member("fw1").running!.controller.driver.state().quorum?.voters;
    const story = async (): Promise<void> => {
      await cluster.startAll();
      await waitSettledOn(simStage(cluster, plugHosts(cluster)));
      cluster.kill("witness");
      await cluster.clock.pause(6000);
      for (const name of gone) if (cluster.member(name).isRunning) cluster.kill(name);
      await cluster.clock.pause(3000);
      expect(voters()).toEqual([1]);
      fenced = 0;
      for (const name of gone) cluster.start(name);
      await cluster.clock.pause(6000);
    };
    await cluster.clock.drive(story());
    expect(voters()).toEqual([1, 2, 3]);
    expect(fenced).toBe(0);
  });

  // The leader is a stranger to it, and only a leader could tell it who that is.
  test("a node that was away while the leader joined comes back: an older member leads", async () => {
    const cluster: SimCluster = new SimCluster({
      ...{ seed: 1, nodes: 4, hasWitness: true, profile: "lan", flowsMax: 256, sizes: SMALL_SIZES },
    });
    const story = async (): Promise<void> => {
      const { clock } = cluster;
      await cluster.startAll();
      await waitSettledOn(simStage(cluster, plugHosts(cluster)));
      cluster.kill("fw3");
      await clock.pause(1000);
      new Replacements(cluster, () => undefined).lose(cluster.member("fw1"), { isAlive: false });
      const newcomer = () => cluster.member("fw1");
      const leads = () => newcomer().running?.controller.driver.status().state === "leader";
      for (let tries = 0; tries < 50 && !leads(); tries++) {
        await clock.pause(300);
        if (newcomer().id > 5) cluster.campaign(newcomer());
      }
      expect(leads()).toBe(true);
      cluster.start("fw3");
      await clock.pause(3000);
      expect(leads()).toBe(false);
      const { members } = newcomer().running!.controller.driver.state();
      expect(members.find(({ name }) => name === "fw3")?.state).toBe("active");
    };
    await cluster.clock.drive(story());
  });

  // Trial 139: its words were heard, and believed: the others were declared down and fenced one after the other.
  test("a node that hears nobody, while all hear it, has no other declared down or fenced, and makes way itself", async () => {
    const events: string[] = [];
    const cluster = new SimCluster({
      ...{ seed: 1, nodes: 3, hasWitness: true, profile: "lan", flowsMax: 256, sizes: SMALL_SIZES },
      onEvent: (member, { kind, text }) => events.push(`${member} ${kind}: ${text}`),
    });
    const story = async (): Promise<void> => {
      await cluster.startAll();
      await waitSettledOn(simStage(cluster, plugHosts(cluster)));
      events.length = 0;
      cluster.cut("fw3", "all", "in");
      await cluster.clock.pause(110);
      cluster.heal("fw3");
      await cluster.clock.pause(400);
    };
    await cluster.clock.drive(story());
    const told = events.join("\n");
    expect(told).toMatch(/^fw3 peer-down/m);
    expect(told).toMatch(/^fw3 fenced/m);
    expect(told).toMatch(/fw3 is down/);
    expect(events.filter((event) => /^fw[12] fenced|fw[12] is (to be declared )?down/.test(event))).toEqual(
      [],
    );
  });
});
