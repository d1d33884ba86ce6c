/**
 * Simulated stage: a simulated cluster and its hosts as drills see them.
 */

import { SynwallError } from "../../../src/base/errors.ts";
import type { Stage } from "../../drill/stage.ts";
import { statusOn } from "../../drill/stage.ts";
import { settle } from "../../lab/settling.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimHosts } from "./hosts.ts";
import { FULL_LOAD, type SimLoad, SimTraffic } from "./traffic.ts";

/** One clock for all, and it is exact: what is left is the thread that notes an event a moment after it happened. */
const STAMP_TOLERANCE_MS = 0.001;
/** Until the next poll sees a member that was killed, nothing else happens. */
const OBSERVED_MS = 1;
/** A process ends and another one is loaded. */
const RESTART_MS = 400;

export interface SimStageOptions {
  readonly load?: SimLoad;
  readonly progress?: (line: string) => void;
  readonly abort?: AbortSignal;
}

export function simStage(cluster: SimCluster, hosts: SimHosts, options: SimStageOptions = {}): Stage {
  const { clock, topology } = cluster;
  const { load = FULL_LOAD, progress = () => undefined, abort } = options;
  const pause = async (ms: number): Promise<void> => {
    abort?.throwIfAborted();
    await clock.pause(ms);
  };
  const at = async (work: () => void): Promise<number> => {
    const atMs = clock.nowMs();
    work();
    await pause(OBSERVED_MS);
    return atMs;
  };
  const stage: Stage = {
    members: topology.members,
    profile: cluster.options.profile,
    isPair: false,
    stampToleranceMs: STAMP_TOLERANCE_MS,
    abort,
    progress,
    nowMs: () => clock.nowMs(),
    wallMs: () => clock.wallMs(),
    pause,
    every: (ms, callback) => clock.every(ms, callback),
    ask: (member, method, params, askOptions) => cluster.member(member).ask(method, params, askOptions),
    trySettled: (settleOptions) =>
      settle(
        {
          members: topology.members,
          nowMs: () => clock.nowMs(),
          pause,
          statusOf: (member) => statusOn(stage, member),
          failWhenDead: (without) => failWhenDead(cluster, without),
          progress,
        },
        settleOptions,
      ),
    isRunning: (member) => cluster.member(member).isRunning,
    kill: (member) => at(() => cluster.kill(member)),
    loseDisk: async () => refuse("a lost disk"),
    start: (member) => at(() => cluster.start(member)),
    restart: async (name) => {
      const atMs = clock.nowMs();
      await cluster.member(name).running?.controller.succession.handOver();
      cluster.kill(name);
      await pause(RESTART_MS);
      cluster.start(name);
      await pause(OBSERVED_MS);
      return atMs;
    },
    cutAll: (member) => at(() => cluster.cut(member, "all")),
    cut: (member, link) => at(() => cluster.cut(member, link)),
    setCarrier: async () => refuse("taking a carrier away"),
    harm: async (member, link, { way, lossPercent }) => {
      if (lossPercent !== 100) return refuse("a wire that loses some frames, or is slow");
      return at(() => cluster.cut(member, link, way));
    },
    setDistance: async () => refuse("a member that is far away"),
    pauseMember: async (member, ms) => {
      const atMs = await at(() => cluster.pause(member, ms));
      await pause(ms);
      return atMs;
    },
    hangThread: async () => refuse("a thread that hangs"),
    join: async () => refuse("a node that joins"),
    leave: async () => refuse("a member that leaves"),
    shrinkDisk: async () => refuse("a small disk"),
    fillDisk: async () => refuse("a full disk"),
    freeDisk: async () => refuse("a full disk"),
    lastWords: () => refuse("a process that ends by itself"),
    setClock: () => refuse("a time of day that is set"),
    damageLog: () => refuse("damaging a log"),
    flood: async () => refuse("a flood"),
    heal: async () => cluster.healAll(),
    startTraffic: async (plan) => {
      const traffic = new SimTraffic(clock, hosts, cluster.random, load);
      await traffic.begin(plan);
      return traffic;
    },
  };
  return stage;
}

function refuse(what: string): never {
  throw new SynwallError("SW_DRILL_FAILED", `${what} can be rehearsed on a lab only: synwall lab up`);
}

function failWhenDead(cluster: SimCluster, without: readonly string[]): void {
  const [failure] = cluster.failures;
  if (failure !== undefined) {
    const why = failure.error instanceof Error ? (failure.error.stack ?? "") : String(failure.error);
    throw new SynwallError("SW_LAB_FAILED", `${failure.member} ended: ${why}`);
  }
  for (const { name, isRunning } of cluster.members) {
    if (!isRunning && !without.includes(name)) throw new SynwallError("SW_LAB_FAILED", `${name} ended`);
  }
}
