/**
 * Machine faults: what can happen to the machine that one member runs on: its disk is full, somebody sets its time of day. Done to that
 * member's processes alone.
 *
 * A full disk is an empty file system without room, mounted over the member's data folder in its own mount namespace (`ip netns exec`
 * gave it one): the log that is open can be written on, as one whose space was reserved, nothing new can be made, and the member is told
 * that nothing is free. A process that is started anew does not see it.
 *
 * The time of day is what Date says in the member's threads (clock-shift.ts), since a kernel has one such clock for all.
 */
import { writeFileSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { type Lab, memberOf, runningProcess } from "./lab.ts";
import { run } from "./run.ts";

/** No room, and no file may be made but the folder itself. */
const FULL = "size=4k,nr_inodes=1";

/** Answers when (CLOCK_MONOTONIC). */
export async function fillDisk(lab: Lab, name: string): Promise<number> {
  const atMs = nowMs();
  const mount = ["mount", "-t", "tmpfs", "-o", FULL, "tmpfs", lab.paths.data(name)];
  await run("nsenter", [`--target=${pidOf(lab, name)}`, "--mount", ...mount]);
  return atMs;
}

/** Makes room again; a member that has ended has it already. */
export async function freeDisk(lab: Lab, name: string): Promise<void> {
  const pid = runningProcess(lab, memberOf(lab, name).name)?.pid;
  if (pid === undefined) return;
  await run("nsenter", [`--target=${pid}`, "--mount", "umount", lab.paths.data(name)]);
}

/** Sets the member's time of day, by so much off the machine's. Answers when (CLOCK_MONOTONIC). */
export function setClock(lab: Lab, name: string, offsetMs: number): number {
  const atMs = nowMs();
  writeFileSync(lab.paths.clock(memberOf(lab, name).name), `${offsetMs}\n`);
  return atMs;
}

function pidOf(lab: Lab, name: string): number {
  const found = runningProcess(lab, memberOf(lab, name).name);
  if (found !== undefined) return found.pid;
  throw new SynwallError("SW_LAB_FAILED", `${name} does not run: its disk can not be filled`);
}
