/**
 * Process life: whether a process that was noted by id and start time still runs, is being taken down, or is gone.
 *
 * A killed process becomes a zombie as soon as its first thread ended, while others may still hold sockets, ports and memory
 * (up to some 100 ms on a busy machine). It stays one until its parent asks for it, which may be never: then it holds nothing.
 */
import { readFileSync } from "node:fs";

/** `ending`: killed, but the kernel has not taken everything away from it yet. */
export type ProcessLife = "running" | "ending" | "gone";

/** PF_EXITING of include/linux/sched.h. */
const EXITING = 0x4;

interface ProcessStat {
  /** In the kernel's ticks since boot; tells a process from a later one with its number. */
  readonly startTicks: string;
  readonly life: ProcessLife;
}

/** How the process `pid` that started at `startTicks` is. */
export function lifeOf(pid: number, startTicks: string): ProcessLife {
  const stat = statOf(pid);
  return stat === undefined || stat.startTicks !== startTicks ? "gone" : stat.life;
}

/** When the process started; undefined when it is gone. */
export function startTicksOf(pid: number): string | undefined {
  const stat = statOf(pid);
  return stat === undefined || stat.life === "gone" ? undefined : stat.startTicks;
}

/** Reads /proc/PID/stat (proc(5)); undefined when there is no such process. */
function statOf(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * The fields of a stat file of a process or thread from the third on (the state) at 0: the second is the command in parentheses and may
 * hold anything, so the rest is counted behind the last one.
 */
export function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

export function parseStat(stat: string): ProcessStat {
  const fields = fieldsOf(stat);
  const [state = "", flags = 0, threads = 0] = [fields[0], Number(fields[6]), Number(fields[17])];
  const startTicks = fields[19] ?? "";
  // A zombie whose other threads are gone too holds nothing any more.
  if (state === "X" || (state === "Z" && threads <= 1)) return { startTicks, life: "gone" };
  return { startTicks, life: (flags & EXITING) === 0 && state !== "Z" ? "running" : "ending" };
}
