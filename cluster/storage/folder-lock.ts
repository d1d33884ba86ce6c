/**
 * Folder lock: keeps a second process out of a folder. The kernel holds the lock, on the open file `lock` in it: nobody has to see the other
 * process to know of it, be it another user's, hidden (hidepid of proc(5)) or in another PID namespace, and a lock never outlives its
 * process. The file stays, since a file that is removed can be locked twice; what is in it is for the message alone.
 *
 * Node.js has no flock(2). A lock belongs to the open file, which a child process can be handed: flock(1) of util-linux locks it and goes.
 */
import { spawnSync } from "node:child_process";
import { closeSync, fchownSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { lifeOf, startTicksOf } from "./process-life.ts";

/** How long a process that was killed may take to let go of the folder. */
const ENDING_MS_MAX = 5_000;
const ENDING_POLL_MS = 50;
/** Where the child finds the file. */
const CHILD_FD = 3;
/** What flock(1) answers when another one has it. */
const STATUS_TAKEN = 1;

/** Throws SW_STORAGE_FAILED when another process has the folder, or this one has it already. Gives the function that lets go of it. */
export function lockFolder(folder: string, endingMsMax = ENDING_MS_MAX): () => void {
  const path = `${folder}/lock`;
  const fd = openSync(path, "a+", 0o600);
  try {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    for (let waitedMs = 0; !tryLock(fd, folder); waitedMs += ENDING_POLL_MS) {
      if (waitedMs >= endingMsMax || isRunning(path)) throw inUse(folder, path);
      Atomics.wait(cell, 0, 0, ENDING_POLL_MS);
    }
    // What root begins, the service's user goes on with.
    const { uid, gid } = statSync(folder);
    if (process.getuid?.() === 0) fchownSync(fd, uid, gid);
    ftruncateSync(fd);
    writeSync(fd, `${process.pid} ${startTicksOf(process.pid) ?? 0}\n`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => closeSync(fd);
}

function tryLock(fd: number, folder: string): boolean {
  const { error, status, signal, stderr } = spawnSync("flock", ["-x", "-n", `${CHILD_FD}`], {
    stdio: ["ignore", "ignore", "pipe", fd],
  });
  if (status === 0) return true;
  const why = error?.message ?? stderr.toString().trim();
  if (status === STATUS_TAKEN && why === "") return false;
  throw new SynwallError(
    "SW_STORAGE_FAILED",
    `Cannot lock ${folder}: flock: ${why === "" ? (signal ?? status) : why}; it is part of util-linux`,
  );
}

/** Whoever has it is seen to run. One that the kernel takes down is waited for, and so is one that cannot be seen. */
function isRunning(path: string): boolean {
  const [pid = "", startTicks = ""] = readFileSync(path, "utf8").trim().split(" ");
  return lifeOf(Number(pid), startTicks) === "running";
}

function inUse(folder: string, path: string): SynwallError {
  const [pid = ""] = readFileSync(path, "utf8").split(" ");
  return new SynwallError("SW_STORAGE_FAILED", `Cannot use ${folder}: process ${pid} uses it already`);
}
