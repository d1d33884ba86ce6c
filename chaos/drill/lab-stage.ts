/**
 * Lab stage: a lab of processes as drills see it.
 */
import { nowMs } from "../../src/node/clock.ts";
import { Hosts } from "../clients/hosts.ts";
import { requireTools } from "../clients/tools.ts";
import { setDistance } from "../lab/distance.ts";
import {
  cutMember,
  healAll,
  killMember,
  pauseMember,
  restartMember,
  setCarrier,
  startAgain,
} from "../lab/faults.ts";
import { hangThread } from "../lab/hang.ts";
import { harmWires } from "../lab/harm.ts";
import { fatalWords, type Lab, runningProcess, trySettled } from "../lab/lab.ts";
import { LogDamage } from "../lab/log-damage.ts";
import { hasLostDisk, loseDisk, returnAnew } from "../lab/lost-disk.ts";
import { fillDisk, freeDisk, setClock } from "../lab/machine-faults.ts";
import { joinMember, leaveMember } from "../lab/membership.ts";
import { giveDiskBack, hasSmallDisk, shrinkDisk, useUpDisk } from "../lab/small-disk.ts";
import { isPair, NAT_POOL } from "../lab/topology.ts";
import { pause } from "../lab/wait.ts";
import { startTraffic } from "../traffic/traffic.ts";
import type { Stage } from "./stage.ts";

/**
 * A worker takes the time once for all that it handles in one turn, and a turn on a busy machine takes some milliseconds.
 * Shorter overlaps are for the simulator to find, which has one exact clock.
 */
const STAMP_TOLERANCE_MS = 10;
/** The port that the lab's policy forwards to a host inside. */
const FLOODED_PORT = "8080";

export function labStage(lab: Lab): Stage {
  const { context, paths, state } = lab;
  return {
    get members() {
      return lab.state.topology.members;
    },
    profile: state.options.profile,
    isPair: isPair(state.options),
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
    loseDisk: (member) => loseDisk(lab, member),
    start: (member) => (hasLostDisk(lab, member) ? returnAnew(lab, member) : startAgain(lab, member)),
    restart: (member) => restartMember(lab, member),
    cutAll: (member) => cutMember(lab, member, "all"),
    cut: (member, link) => cutMember(lab, member, link),
    setCarrier: (member, link, isUp) => setCarrier(lab, member, link, isUp),
    harm: (member, link, harm) => harmWires(lab, member, link, harm),
    setDistance: (member, oneWayMs) => setDistance(lab, member, oneWayMs),
    pauseMember: (member, ms) => pauseMember(lab, member, ms),
    hangThread: (member, thread, ms) => hangThread(lab, member, thread, ms),
    join: async () => {
      const { member, atMs } = await joinMember(lab);
      return { name: member.name, atMs };
    },
    leave: (member) => leaveMember(lab, member),
    shrinkDisk: (member) => shrinkDisk(lab, member),
    fillDisk: (member) => (hasSmallDisk(lab, member) ? useUpDisk(lab, member) : fillDisk(lab, member)),
    freeDisk: (member) => (hasSmallDisk(lab, member) ? giveDiskBack(lab, member) : freeDisk(lab, member)),
    lastWords: (member) => fatalWords(lab, member),
    setClock: (member, offsetMs) => setClock(lab, member, offsetMs),
    damageLog: (member) => LogDamage.of(lab, member),
    flood: async () => {
      requireTools(["hping3"]);
      const hosts = new Hosts(state.options.name);
      hosts.start("server", [
        "hping3",
        "--flood",
        "--rand-source",
        "-q",
        "-S",
        "-p",
        FLOODED_PORT,
        NAT_POOL[0],
      ]);
      return { end: () => hosts.endAll() };
    },
    heal: () => healAll(lab),
    startTraffic: (plan) => startTraffic({ lab: state.options.name, ...plan }),
  };
}
