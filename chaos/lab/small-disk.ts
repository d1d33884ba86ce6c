/**
 * Small disk: a file system of its own under a member's data folder, so that nothing at all may be left of it. Made and taken away
 * while the member does not run; its files are carried over each time. Meanwhile the member does not watch the room that is left
 * (control.diskFreeMiBMin: 0, for a disk that is small on purpose): else it would give its slots away before its log met the end.
 *
 * A full disk does not stop the log at once, since the log has reserved its next megabyte. So that is taken back as well, as by a
 * disk that promised more than it has (thin provisioning, copy on write): the next write but a few finds no room.
 *
 *   segment:  | records ... | a few KiB | a hole where zeros were |        filler: all the rest
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { type Lab, memberOf, runningProcess } from "./lab.ts";
import { mountsUnder } from "./mounts.ts";
import { run } from "./run.ts";

/** A few segments of a log, and its snapshots. */
const SIZE = "size=16m,mode=700";
const DATA_DIR_LINE = /^( +)dataDir: .*\n/m;
const UNWATCHED_LINE = /^ +diskFreeMiBMin: 0\n/m;
const PAGE_BYTES = 4096;
/** What a log may grow by between a look at it and the hole. */
const MARGIN_BYTES = PAGE_BYTES;
const FILLER = "filler";
/** $1: the data folder, $2: where its files are meanwhile. */
const SHRINK = `mv "$1" "$2" && mkdir -m 700 "$1" && mount -t tmpfs -o ${SIZE} tmpfs "$1" && cp -a "$2/." "$1/"`;
const GIVE_BACK =
  'rm -rf "$2" && mkdir -m 700 "$2" && cp -a "$1/." "$2/" && umount "$1" && rmdir "$1" && mv "$2" "$1"';
/** Writes what still fits; that it ends with an error is meant. */
const FILL = 'cat /dev/zero >"$1" 2>/dev/null; test "$(stat --file-system --format %a "$1")" = 0';

export function hasSmallDisk(lab: Lab, name: string): boolean {
  return mountsUnder(lab.paths.data(name)).length > 0;
}

/** Puts the data folder of a member that does not run on a small disk. */
export async function shrinkDisk(lab: Lab, name: string): Promise<void> {
  requireStopped(lab, name);
  if (hasSmallDisk(lab, name)) return;
  await run("sh", ["-c", SHRINK, "sh", ...folders(lab, name)]);
  rewriteConfig(lab, name, (text) => text.replace(DATA_DIR_LINE, "$&$1diskFreeMiBMin: 0\n"));
}

/** Leaves nothing of a small disk, nor of what the running member's log has reserved on it. Answers when. */
export async function useUpDisk(lab: Lab, name: string): Promise<number> {
  const data = lab.paths.data(name);
  const wal = join(data, "wal");
  const segment = readdirSync(wal)
    .filter((file) => file.endsWith(".wal"))
    .toSorted()
    .at(-1);
  if (segment === undefined) throw new SynwallError("SW_LAB_FAILED", `${name} has no log`);
  const atMs = nowMs();
  const file = join(wal, segment);
  const bytes = readFileSync(file);
  const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const from = Math.ceil((used + MARGIN_BYTES) / PAGE_BYTES) * PAGE_BYTES;
  if (from < bytes.length) {
    await run("fallocate", [
      "--punch-hole",
      "--offset",
      `${from}`,
      "--length",
      `${bytes.length - from}`,
      file,
    ]);
  }
  await run("sh", ["-c", FILL, "sh", join(data, FILLER)]);
  return atMs;
}

/** Makes room; a member that does not run has its own disk again. */
export async function giveDiskBack(lab: Lab, name: string): Promise<void> {
  rmSync(join(lab.paths.data(name), FILLER), { force: true });
  if (runningProcess(lab, name) !== undefined) return;
  await run("sh", ["-c", GIVE_BACK, "sh", ...folders(lab, name)]);
  rewriteConfig(lab, name, (text) => text.replace(UNWATCHED_LINE, ""));
}

function requireStopped(lab: Lab, name: string): void {
  if (runningProcess(lab, memberOf(lab, name).name) === undefined) return;
  throw new SynwallError("SW_LAB_FAILED", `${name} runs: its disk can not be exchanged`);
}

function rewriteConfig({ paths }: Lab, name: string, change: (text: string) => string): void {
  const file = paths.config(name);
  writeFileSync(file, change(readFileSync(file, "utf8")), { mode: 0o600 });
}

function folders({ paths }: Lab, name: string): [data: string, aside: string] {
  return [paths.data(name), `${paths.data(name)}.aside`];
}
