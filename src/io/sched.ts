/**
 * Scheduling: real-time priority for the calling thread, so that a busy machine does not keep packets and heartbeats
 * waiting. Other threads of the process keep theirs unless they are named, and what a thread starts does not inherit it.
 */
import { readdirSync } from "node:fs";
import { describeErrno, errno, schedGetscheduler, schedSetscheduler } from "./libc.ts";

const SCHED_OTHER = 0;
const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x40000000;
const EPERM = 1;
const CALLING_THREAD = 0;

export interface RealtimeAnswer {
  readonly granted: boolean;
  /** One line: what was got, or why not and what to do. */
  readonly reason: string;
}

/** Asks for SCHED_RR with a priority of 1 (lowest) to 99, for the thread that calls. Never throws. */
export function requestRealtime(priority: number): RealtimeAnswer {
  if (process.platform !== "linux") {
    return { granted: false, reason: `real-time scheduling is not known on ${process.platform}` };
  }
  if (setPriority(CALLING_THREAD, priority)) {
    return { granted: true, reason: `SCHED_RR priority ${priority}` };
  }
  const why = errno();
  const advice = why === EPERM ? ": run as root, or with CAP_SYS_NICE or LimitRTPRIO=" : "";
  return { granted: false, reason: `real-time scheduling refused with ${describeErrno(why)}${advice}` };
}

/** The same for each thread that the process has now and that has ordinary priority yet; threads that cannot get it keep theirs. */
export function raiseOrdinaryThreads(priority: number): void {
  if (process.platform !== "linux") return;
  for (const name of readdirSync("/proc/self/task")) {
    const thread = Number(name);
    if (schedGetscheduler(thread) === SCHED_OTHER) setPriority(thread, priority);
  }
}

function setPriority(thread: number, priority: number): boolean {
  // struct sched_param: sched_priority.
  const parameters = Buffer.alloc(128);
  parameters.writeInt32LE(priority, 0);
  return schedSetscheduler(thread, SCHED_RR | SCHED_RESET_ON_FORK, parameters) === 0;
}
