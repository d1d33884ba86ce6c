/**
 * Machine faults: what can happen to the machine that one member runs on: its disk is full, somebody sets its time of day. Done to that
 * member's processes alone.
 *
 * A full disk is a file system of next to no room, mounted over the member's data folder in its own mount namespace (`ip netns exec` gave it
 * one), with the folders of its log and snapshots where they were: the member is told that less is free than it wants (diskFreeMiBMin), and
 * what it still has to write it can, as on a disk that is nearly full. A process that is started anew does not see it.
 *
 * The time of day is what Date says in the member's threads (clock-shift.ts), since a kernel has one such clock for all.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { type Lab, memberOf, runningProcess } from "./lab.ts";
import { run } from "./run.ts";

/** Far less than a member wants. */
const FULL = "size=256k";
/** $1: the data folder. Its folders are seen through the one that covers it; $2: an empty folder, meanwhile. */
const FILL = `
mount --bind "$1" "$2" && mount -t tmpfs -o ${FULL} tmpfs "$1" || exit 1
for folder in "$2"/*/; do
  mkdir "$1/\${folder#"$2"/}" && mount --bind "$folder" "$1/\${folder#"$2"/}" || exit 1
done
umount "$2"`;

/** Answers when (CLOCK_MONOTONIC). */
export async function fillDisk(lab: Lab, name: string): Promise<number> {
  const atMs = nowMs();
  const aside = mkdtempSync(join(tmpdir(), "synwall-disk-"));
  try {
    const script = ["sh", "-c", FILL, "sh", lab.paths.data(name), aside];
    await run("nsenter", [`--target=${pidOf(lab, name)}`, "--mount", ...script]);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  return atMs;
}

/** Makes room again; a member that has ended has it already. */
export async function freeDisk(lab: Lab, name: string): Promise<void> {
  const pid = runningProcess(lab, memberOf(lab, name).name)?.pid;
  if (pid === undefined) return;
  await run("nsenter", [`--target=${pid}`, "--mount", "umount", "--recursive", lab.paths.data(name)]);
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
