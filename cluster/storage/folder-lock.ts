/**
 * Folder lock: keeps a second process out of a folder. Each process that wants it puts down a name of its own, and then looks for those
 * of others: of two that start at the same moment at least one sees the other. Both may, and then neither gets it; there is no
 * moment in which both have it. A name is made of the process' id and start time, so no later process has the same, and whoever
 * finds that its process is gone may take it away.
 */
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { lifeOf, startTicksOf } from "./process-life.ts";

const NAME = /^lock-(\d+)-(\d+)$/;
/** How long a process that was killed may take to let go of the folder. */
const ENDING_MS_MAX = 5_000;
const ENDING_POLL_MS = 10;

/** Throws SW_STORAGE_FAILED when another process has the folder, or this one has it already. Gives the function that lets go of it. */
export function lockFolder(folder: string): () => void {
  const mine = `lock-${process.pid}-${startTicksOf(process.pid) ?? 0}`;
  const path = `${folder}/${mine}`;
  const letGo = (): void => rmSync(path, { force: true });
  try {
    writeFileSync(path, "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw inUse(folder, process.pid);
    throw error;
  }
  try {
    for (const name of readdirSync(folder)) {
      const [, pid, startTicks] = NAME.exec(name) ?? [];
      if (pid === undefined || startTicks === undefined || name === mine) continue;
      if (!isLetGo(Number(pid), startTicks)) throw inUse(folder, Number(pid));
      rmSync(`${folder}/${name}`, { force: true });
    }
  } catch (error) {
    letGo();
    throw error;
  }
  return letGo;
}

function inUse(folder: string, pid: number): SynwallError {
  return new SynwallError("SW_STORAGE_FAILED", `Cannot use ${folder}: process ${pid} uses it already`);
}

/** Waits for a process that the kernel is taking down; one that runs is not waited for. */
function isLetGo(pid: number, startTicks: string): boolean {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < ENDING_MS_MAX; waitedMs += ENDING_POLL_MS) {
    const life = lifeOf(pid, startTicks);
    if (life !== "ending") return life === "gone";
    Atomics.wait(cell, 0, 0, ENDING_POLL_MS);
  }
  return false;
}
