/**
 * Lab stage: a lab of processes as drills see it.
 */
import { nowMs } from "../../src/node/clock.ts";
import { cutMember, healAll, killMember, startAgain } from "../lab/faults.ts";
import { type Lab, runningProcess, trySettled } from "../lab/lab.ts";
import { pause } from "../lab/wait.ts";
import { startTraffic } from "../traffic/traffic.ts";
import type { Stage } from "./stage.ts";

/**
 * A worker takes the time once for all that it handles in one turn, and a turn on a busy machine takes some milliseconds.
 * Shorter overlaps are for the simulator to find, which has one exact clock.
 */
const STAMP_TOLERANCE_MS = 10;

export function labStage(lab: Lab): Stage {
  const { context, paths, state } = lab;
  return {
    members: state.topology.members,
    profile: state.options.profile,
    stampToleranceMs: STAMP_TOLERANCE_MS,
    abort: context.abort,
    progress: (line) => context.progress(line),
    nowMs,
    wallMs: () => Date.now(),
    pause: (ms) => pause(ms, context.abort),
    every: (ms, callback) => {
      const timer = setInterval(callback, ms);
      return () => clearInterval(timer);
    },
    ask: (member, method, params, options) => context.ask(paths.socket(member), method, params, options),
    trySettled: (options) => trySettled(lab, options),
    isRunning: (member) => runningProcess(lab, member) !== undefined,
    kill: (member) => killMember(lab, member),
    start: (member) => startAgain(lab, member),
    cutAll: (member) => cutMember(lab, member, "all"),
    heal: () => healAll(lab),
    startTraffic: (plan) => startTraffic({ lab: state.options.name, ...plan }),
  };
}
