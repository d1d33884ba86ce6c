/**
 * Restoring: from whatever a drill or an operator left to a whole, settled cluster: wires mended, members running, drained
 * nodes back.
 */
import { statusOf } from "../lab/ask.ts";
import { healAll, startAgain } from "../lab/faults.ts";
import { type Lab, runningProcess, waitSettled } from "../lab/lab.ts";

const REJOIN_TIMEOUT_MS = 30_000;

export async function restore(lab: Lab): Promise<void> {
  await healAll(lab);
  for (const { name } of lab.state.topology.members) {
    if (runningProcess(lab, name) === undefined) await startAgain(lab, name);
  }
  await rejoinDrained(lab);
  await waitSettled(lab);
}

async function rejoinDrained(lab: Lab): Promise<void> {
  const { members } = lab.state.topology;
  const reports = await Promise.all(
    members.map(({ name }) => statusOf(lab.context.ask, lab.paths.socket(name))),
  );
  // The one that knows most: a member that was cut off may not have heard of the drain.
  const latest = reports.toSorted((a, b) => (b?.raft.commit ?? -1) - (a?.raft.commit ?? -1))[0];
  if (latest === undefined) return;
  for (const { name, state } of latest.members) {
    if (state !== "drained" && state !== "draining") continue;
    await lab.context.ask(
      lab.paths.socket(latest.node),
      "rejoin",
      { node: name, timeoutMs: REJOIN_TIMEOUT_MS },
      { timeoutMs: REJOIN_TIMEOUT_MS + 5_000 },
    );
  }
}
