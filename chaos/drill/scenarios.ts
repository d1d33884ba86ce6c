/**
 * Scenarios: what each drill does to its victim, and what the cluster must have become before the drill is over.
 * Owns no traffic and no measuring (drill.ts).
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { Harm } from "../lab/harm.ts";
import type { SettleOptions } from "../lab/settling.ts";
import type { Link } from "../lab/topology.ts";
import { fullLog, shrinkBefore } from "./full-log.ts";
import { lostDisk } from "./lost-disk.ts";
import { FAR_ROUND_TRIP_MS, type MemberEvent, type Scenario } from "./model.ts";
import { rollingRestart } from "./rolling-restart.ts";
import { journalOn, nodesOf, type Stage, statusOn, waitSettledOn } from "./stage.ts";

const MOVE_TIMEOUT_MS = 30_000;
const ANSWER_MARGIN_MS = 5_000;
const PAUSE_MS = 2_000;
/** The watchdog ends the process after 5 s (machine-watch.ts). */
const HUNG_WORKER_MS_MAX = 10_000;
const ENDS_WITHIN_MS = 2_000;
/** Long enough for the others to take over, and for the one that is mute or deaf to find out. */
const ONE_WAY_MS = 2_000;
const PULLED_MS = 3_000;
/** A wire without its carrier is given up at once, a silent one after some seconds. */
const WIRE_MS = 6_000;
const LINK_CUT_MS = 3_000;
const FLAPS = 5;
const FLAP_MS = 300;
const HARMED_MS = 4_000;
const LOSS_PERCENT = 20;
const SLOW_KBYTES_PER_SECOND = 200;
/** quorum.forgiveAfter of the lab's configuration, and some. */
const FORGIVEN_MS = 12_000;
/** Into a drain: some slots are moved, some not. */
const OVERTAKEN_AFTER_MS = 15;
const FLOOD_RISES_MS = 1_000;
/** Ten looks at the disk, and the hand-over. */
const LEAVES_WITHIN_MS = 20_000;
/** As long as it is left out: what it still holds must stand that. */
const FULL_MS = 3_000;
const HOUR_MS = 3_600_000;
/** Eight looks at the clock (machine-watch.ts). */
const NOTICED_WITHIN_MS = 2_000;
const ANSWERS_WITHIN_MS = 20_000;
/** It loads a library for it, on a machine that is busy with the load. */
const ROTATED_WITHIN_MS = 30_000;
const LOOK_MS = 50;

export interface Death {
  readonly member: string;
  /** CLOCK_MONOTONIC. */
  readonly atMs: number;
}

export interface Injection {
  /** CLOCK_MONOTONIC, right before the fault. */
  readonly faultAtMs: number;
  /** Processes that ended. */
  readonly deaths?: readonly Death[];
  /** Dead or cut off at the end: nothing can be replicated to it. */
  readonly gone?: string;
  /** No slot has to move: the epoch stays. */
  readonly isStill?: boolean;
  /** What the rest must reach. */
  readonly settle: SettleOptions;
  /** What members wrote that are not there any more. */
  readonly events?: readonly MemberEvent[];
  /** Lives at the end and is asked; absent: the helper. */
  readonly witness?: string;
}

interface Script {
  /** The fault is the victim's return. */
  readonly isVictimDownBefore?: boolean;
  /** Which node the fault may hit, where that is not free: `asked`, or another one. */
  choose?(stage: Stage, asked: string): Promise<string>;
  /** Before traffic starts. */
  prepare?(stage: Stage, victim: string): Promise<void>;
  inject(stage: Stage, victim: string, helper: string): Promise<Injection>;
}

const SILENT: Script = {
  async inject(stage, victim) {
    const faultAtMs = await stage.cutAll(victim);
    return { faultAtMs, gone: victim, settle: { without: [victim] } };
  },
};

const DRAIN: Script = {
  async inject(stage, victim, helper) {
    const faultAtMs = stage.nowMs();
    await drain(stage, victim, helper);
    return { faultAtMs, settle: { without: [victim] } };
  },
};

export const SCRIPTS: Readonly<Record<Scenario, Script>> = {
  kill: { inject: kill },
  silent: SILENT,
  drain: DRAIN,
  rejoin: {
    isVictimDownBefore: true,
    prepare: stopBefore,
    async inject(stage, victim) {
      return { faultAtMs: await stage.start(victim), settle: {} };
    },
  },
  pause: {
    async inject(stage, victim) {
      return { faultAtMs: await stage.pauseMember(victim, PAUSE_MS), settle: {} };
    },
  },
  "hung-worker": {
    async inject(stage, victim) {
      const faultAtMs = await stage.hangThread(victim, "worker", HUNG_WORKER_MS_MAX);
      const otherwise = `${victim} runs on, though its packet worker stood still for seconds`;
      await waitFor(stage, ENDS_WITHIN_MS, otherwise, async () => !stage.isRunning(victim));
      // It decided nothing any more from the moment in which it stood.
      const deaths = [{ member: victim, atMs: faultAtMs }];
      return { faultAtMs, deaths, gone: victim, settle: { without: [victim] } };
    },
  },
  "hung-main": {
    async inject(stage, victim) {
      const faultAtMs = await stage.hangThread(victim, "main", PAUSE_MS);
      return { faultAtMs, isStill: true, settle: {} };
    },
  },
  mute: { inject: (stage, victim) => oneWay(stage, victim, "out") },
  deaf: { inject: (stage, victim) => oneWay(stage, victim, "in") },
  carrier: {
    async inject(stage, victim) {
      const faultAtMs = await stage.setCarrier(victim, "inside", false);
      await stage.pause(PULLED_MS);
      await stage.setCarrier(victim, "inside", true);
      return { faultAtMs, settle: {} };
    },
  },
  wire: { inject: (stage, victim) => silentWire(stage, () => stage.cut(victim, "outside")) },
  "wire-in": { inject: (stage, victim) => silentWire(stage, () => cutWay(stage, victim, "inside", "in")) },
  "wire-out": { inject: (stage, victim) => silentWire(stage, () => cutWay(stage, victim, "inside", "out")) },
  "outside-in": {
    inject: (stage, victim) => silentWire(stage, () => cutWay(stage, victim, "outside", "in")),
  },
  "outside-out": {
    inject: (stage, victim) => silentWire(stage, () => cutWay(stage, victim, "outside", "out")),
  },
  link: { inject: (stage, victim) => silentLink(stage, () => stage.cut(victim, "cluster")) },
  "link-in": { inject: (stage, victim) => silentLink(stage, () => cutWay(stage, victim, "cluster", "in")) },
  "link-out": { inject: (stage, victim) => silentLink(stage, () => cutWay(stage, victim, "cluster", "out")) },
  flap: {
    async inject(stage, victim) {
      const faultAtMs = stage.nowMs();
      for (let i = 0; i < FLAPS; i++) {
        await stage.cut(victim, "cluster");
        await stage.pause(FLAP_MS);
        await stage.heal();
        await stage.pause(FLAP_MS);
      }
      return { faultAtMs, isStill: true, settle: {} };
    },
  },
  loss: { inject: (stage, victim) => harmed(stage, victim, { way: "both", lossPercent: LOSS_PERCENT }) },
  slow: {
    inject: (stage, victim) => harmed(stage, victim, { way: "in", kbytesPerSecond: SLOW_KBYTES_PER_SECOND }),
  },
  witness: {
    choose: sparingTheSingleVoter,
    async prepare(stage) {
      const witness = witnessOf(stage);
      await stage.kill(witness);
      await stage.pause(FORGIVEN_MS);
    },
    async inject(stage, victim) {
      const killed = await kill(stage, victim);
      return { ...killed, settle: { without: [victim, witnessOf(stage)] } };
    },
  },
  relay: {
    async inject(stage, victim, helper) {
      const before = await stage.ask(helper, "status", {});
      const faultAtMs = await stage.kill(victim);
      await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
      await stage.start(victim);
      await waitSettledOn(stage);
      const next = await stage.ask(victim, "status", {});
      const deaths = [
        { member: victim, atMs: faultAtMs },
        { member: helper, atMs: await stage.kill(helper) },
      ];
      const settle = { without: [helper], afterEpoch: next.epoch };
      return { faultAtMs, deaths, gone: helper, settle, witness: victim };
    },
  },
  overtaken: {
    async inject(stage, victim, helper) {
      const moving = drain(stage, victim, helper).catch(() => undefined); // It can not come to its end.
      await stage.pause(OVERTAKEN_AFTER_MS);
      const killed = await kill(stage, victim);
      await moving;
      return killed;
    },
  },
  flood: {
    async inject(stage, victim) {
      const flood = await stage.flood();
      try {
        await stage.pause(FLOOD_RISES_MS);
        const killed = await kill(stage, victim);
        await stage.pause(FLOOD_RISES_MS);
        return killed;
      } finally {
        await flood.end();
      }
    },
  },
  log: {
    isVictimDownBefore: true,
    prepare: stopBefore,
    async inject(stage, victim) {
      const faultAtMs = stage.nowMs();
      const damage = stage.damageLog(victim);
      try {
        stage.progress(`${victim} refused: ${await damage.startRefused(victim)}`);
      } finally {
        damage.repair();
      }
      await stage.start(victim);
      return { faultAtMs, settle: {} };
    },
  },
  "lost-disk": { inject: lostDisk },
  grow: {
    async inject(stage, _victim, helper) {
      const { name, atMs: faultAtMs } = await stage.join();
      await waitSettledOn(stage);
      // Emptied first, while its journal can be read to the end.
      const params = { node: name, timeoutMs: MOVE_TIMEOUT_MS };
      await stage.ask(helper, "cluster.disable", params, { timeoutMs: MOVE_TIMEOUT_MS + ANSWER_MARGIN_MS });
      const events = await journalOn(stage, name, faultAtMs);
      const deaths = [{ member: name, atMs: await stage.leave(name) }];
      return { faultAtMs, deaths, events, settle: {} };
    },
  },
  two: {
    async inject(stage, victim, helper) {
      await untilAllVote(stage, helper);
      const before = await stage.ask(helper, "status", {});
      const first = await kill(stage, victim);
      await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
      const second = await untilSpared(stage, victim, helper);
      const deaths = [...first.deaths!, { member: second, atMs: await stage.kill(second) }];
      const without = [victim, second];
      const witness = nodesOf(stage).find((name) => !without.includes(name))!;
      const { epoch } = await stage.ask(witness, "status", {});
      return { ...first, deaths, gone: second, settle: { without, afterEpoch: epoch }, witness };
    },
  },
  disk: {
    async inject(stage, victim, helper) {
      const faultAtMs = await stage.fillDisk(victim);
      try {
        await waitFor(
          stage,
          LEAVES_WITHIN_MS,
          `${victim} did not leave, though its disk is full`,
          async () => {
            const status = await statusOn(stage, helper);
            return status?.members.some(({ name, state }) => name === victim && state === "drained") === true;
          },
        );
        await stage.pause(FULL_MS);
      } finally {
        await stage.freeDisk(victim);
      }
      return { faultAtMs, settle: {} };
    },
  },
  "disk-log": { prepare: shrinkBefore, inject: fullLog },
  clock: {
    async inject(stage, victim) {
      const faultAtMs = stage.nowMs();
      let jumps = 0;
      for (const offsetMs of [HOUR_MS, -HOUR_MS, 0]) {
        stage.setClock(victim, offsetMs);
        jumps++;
        await waitFor(
          stage,
          NOTICED_WITHIN_MS,
          `${victim} did not notice that its clock was set`,
          async () => {
            const { events } = await stage.ask(victim, "journal", { sinceMs: faultAtMs });
            return events.filter(({ kind }) => kind === "clock").length === jumps;
          },
        );
      }
      return { faultAtMs, isStill: true, settle: {} };
    },
  },
  again: {
    async inject(stage, victim, helper) {
      const before = await stage.ask(helper, "status", {});
      const faultAtMs = await stage.kill(victim);
      await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
      await stage.start(victim);
      await waitFor(stage, ANSWERS_WITHIN_MS, `${victim} did not come back`, async () => {
        return (await statusOn(stage, victim)) !== undefined;
      });
      const againAtMs = await stage.kill(victim);
      await stage.start(victim);
      const deaths = [faultAtMs, againAtMs].map((atMs) => ({ member: victim, atMs }));
      return { faultAtMs, deaths, settle: {} };
    },
  },
  upgrade: {
    async inject(stage) {
      const faultAtMs = stage.nowMs();
      return { faultAtMs, events: await rollingRestart(stage), settle: {} };
    },
  },
  rotate: {
    async inject(stage) {
      const faultAtMs = stage.nowMs();
      for (const { name } of stage.members) {
        const { from } = await stage.ask(name, "cluster.rotate", {}, { timeoutMs: ROTATED_WITHIN_MS });
        stage.progress(`${name} has a new certificate, signed by the member at ${from}`);
      }
      return { faultAtMs, isStill: true, settle: {} };
    },
  },
  "far-witness": { prepare: sendWitnessAway, inject: kill },
  "far-silent": { prepare: sendWitnessAway, inject: SILENT.inject },
  "far-drain": { prepare: sendWitnessAway, inject: DRAIN.inject },
};

async function sendWitnessAway(stage: Stage): Promise<void> {
  const witness = witnessOf(stage);
  const roundTripMs = await stage.setDistance(witness, FAR_ROUND_TRIP_MS / 2);
  stage.progress(`${witness} is ${roundTripMs.toFixed(1)} ms away, there and back`);
}

async function waitFor(
  stage: Stage,
  withinMs: number,
  otherwise: string,
  isDone: () => Promise<boolean>,
): Promise<void> {
  const untilMs = stage.nowMs() + withinMs;
  while (!(await isDone())) {
    if (stage.nowMs() > untilMs) throw new SynwallError("SW_DRILL_FAILED", otherwise);
    await stage.pause(LOOK_MS);
  }
}

/** Who has just joined, or was away for long, gets its vote some seconds after it is active. */
async function untilAllVote(stage: Stage, asked: string): Promise<void> {
  await waitFor(stage, FORGIVEN_MS, "some members do not vote", async () => {
    const { members } = await stage.ask(asked, "cluster.members", {});
    return members.every(({ votes }) => votes);
  });
}

/**
 * A node without whose vote the others decide, while `dead` is: `wished`, if that is one. Of an even number of voters, or of three, nobody
 * is until the dead one's vote does not count any more.
 */
async function untilSpared(stage: Stage, dead: string, wished: string): Promise<string> {
  const living = nodesOf(stage).filter((name) => name !== dead && name !== wished);
  let spared: string | undefined;
  const look = async (): Promise<boolean> => {
    const { members } = await stage.ask(wished, "cluster.members", {});
    const voters = members.filter(({ votes }) => votes).map(({ name }) => name);
    spared = [wished, ...living].find(
      (node) => 2 * voters.filter((name) => name !== dead && name !== node).length > voters.length,
    );
    return spared !== undefined;
  };
  await waitFor(stage, FORGIVEN_MS, `nobody can be spared after ${dead}: its vote still counts`, look);
  return spared!;
}

async function kill(stage: Stage, victim: string): Promise<Injection> {
  const faultAtMs = await stage.kill(victim);
  const deaths = [{ member: victim, atMs: faultAtMs }];
  return { faultAtMs, deaths, gone: victim, settle: { without: [victim] } };
}

async function stopBefore(stage: Stage, victim: string): Promise<void> {
  const before = await stage.ask(victim, "status", {});
  await stage.kill(victim);
  await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
}

async function drain(stage: Stage, victim: string, helper: string): Promise<void> {
  const params = { node: victim, timeoutMs: MOVE_TIMEOUT_MS };
  await stage.ask(helper, "drain", params, { timeoutMs: MOVE_TIMEOUT_MS + ANSWER_MARGIN_MS });
}

/** A wire of a zone carries nothing, although it has its carrier, and is mended again. */
async function silentWire(stage: Stage, cut: () => Promise<number>): Promise<Injection> {
  const faultAtMs = await cut();
  await stage.pause(WIRE_MS);
  await stage.heal();
  return { faultAtMs, settle: {} };
}

/** The cluster link carries nothing, while all zones do, and is mended again: nobody has to take over. */
async function silentLink(stage: Stage, cut: () => Promise<number>): Promise<Injection> {
  const faultAtMs = await cut();
  await stage.pause(LINK_CUT_MS);
  await stage.heal();
  return { faultAtMs, isStill: true, settle: {} };
}

/** "out" is what the victim sends. Answers when. */
function cutWay(stage: Stage, victim: string, link: Link | "all", way: "in" | "out"): Promise<number> {
  return stage.harm(victim, link, { way, lossPercent: 100 });
}

async function oneWay(stage: Stage, victim: string, way: "in" | "out"): Promise<Injection> {
  const faultAtMs = await cutWay(stage, victim, "all", way);
  await stage.pause(ONE_WAY_MS);
  await stage.heal();
  return { faultAtMs, settle: {} };
}

async function harmed(stage: Stage, victim: string, harm: Harm): Promise<Injection> {
  const faultAtMs = await stage.harm(victim, "cluster", harm);
  await stage.pause(HARMED_MS);
  await stage.heal();
  return { faultAtMs, isStill: true, settle: {} };
}

/**
 * Of two nodes whose witness is gone the leader votes alone (cluster/control/quorum.ts): its loss ends all decisions, the loss of the
 * other one ends nothing. With `quorum: pair` either may die.
 */
async function sparingTheSingleVoter(stage: Stage, asked: string): Promise<string> {
  const { leader, pair } = await stage.ask(asked, "status", {});
  const nodes = nodesOf(stage);
  if (nodes.length > 2 || pair !== undefined || leader !== asked) return asked;
  const other = nodes.find((name) => name !== asked)!;
  stage.progress(
    `${asked} leads, so it votes alone when the witness is forgiven, and must live (unless quorum: pair): ${other} dies instead`,
  );
  return other;
}

function witnessOf(stage: Stage): string {
  const witness = stage.members.find(({ role }) => role === "witness");
  if (witness !== undefined) return witness.name;
  throw new SynwallError("SW_DRILL_FAILED", "this lab has no witness: make one without --no-witness");
}
