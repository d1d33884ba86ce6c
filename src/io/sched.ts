/**
 * Scheduling: real-time priority for the calling thread, so that a busy machine does not keep packets and heartbeats
 * waiting. Other threads of the process keep theirs, and what the thread starts does not inherit it.
 */
import { describeErrno, errno, schedSetscheduler } from "./libc.ts";

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
  // struct sched_param: sched_priority.
  const parameters = Buffer.alloc(128);
  parameters.writeInt32LE(priority, 0);
  if (schedSetscheduler(CALLING_THREAD, SCHED_RR | SCHED_RESET_ON_FORK, parameters) === 0) {
    return { granted: true, reason: `SCHED_RR priority ${priority}` };
  }
  const why = errno();
  const advice = why === EPERM ? ": run as root, or with CAP_SYS_NICE or LimitRTPRIO=" : "";
  return { granted: false, reason: `real-time scheduling refused with ${describeErrno(why)}${advice}` };
}
