/**
 * Hanging threads: one thread of a member stands still while the others go on, which a stopped process cannot show. Owns which thread is
 * which; how it is stopped is hang-main.ts.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fieldsOf } from "../../cluster/storage/process-life.ts";
import { SynwallError } from "../../src/base/errors.ts";
import { PRIORITY } from "../../src/node/priorities.ts";
import { type Lab, memberOf, runningProcess } from "./lab.ts";
import { moduleCommand } from "./processes.ts";
import { run } from "./run.ts";

/** The thread of consensus and replication, or that of the packets. */
export type MemberThread = "main" | "worker";

/** The real-time priority, field 40 of proc(5), as fieldsOf() counts. */
const PRIORITY_FIELD = 37;
const MARGIN_MS = 30_000;

/** For `ms`, or until the process ends. Answers when it began (CLOCK_MONOTONIC), after it ended. */
export async function hangThread(lab: Lab, name: string, thread: MemberThread, ms: number): Promise<number> {
  const pid = runningProcess(lab, memberOf(lab, name).name)?.pid;
  if (pid === undefined) throw new SynwallError("SW_LAB_FAILED", `${name} does not run: nothing can hang`);
  const id = thread === "main" ? pid : workerOf(pid);
  if (id === undefined) {
    throw new SynwallError(
      "SW_LAB_FAILED",
      `${name} has no packet worker with real-time priority: this needs a lab that root made`,
    );
  }
  const [command, ...args] = moduleCommand("chaos/lab/hang-main", [String(id), String(ms)]);
  return Number(await run(command!, args, { timeoutMs: ms + MARGIN_MS }));
}

function workerOf(pid: number): number | undefined {
  const folder = `/proc/${pid}/task`;
  const found = readdirSync(folder).find((id) => {
    const stat = readFileSync(`${folder}/${id}/stat`, "utf8");
    return Number(fieldsOf(stat)[PRIORITY_FIELD]) === PRIORITY.dataplane;
  });
  return found === undefined ? undefined : Number(found);
}
