/**
 * Main thread: what the main thread of a bench's process is to have in common with a node's: its priority, and scripts that were bundled
 * beside its own. And the count of the CPU that it took.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { requestRealtime } from "../src/io/sched.ts";
import { hurryProcess, PRIORITY } from "../src/node/priorities.ts";

/** Takes the priorities of a node's control thread, and its helpers theirs. */
export function beControlThread(): void {
  hurryProcess("auto");
  requestRealtime(PRIORITY.control);
}

/** The bundle of another script; it lies beside that of the running one. */
export function besides(name: string): string {
  return join(dirname(process.argv[1]!), `${name}.mjs`);
}

/** CPU time of the main thread of this process, in seconds. */
export function mainThreadCpuSeconds(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1e9;
}
