/**
 * Restoring: from whatever a drill or an operator left to a whole, settled cluster: wires mended, members running, drained
 * nodes back.
 */
import { type Stage, statusOn, waitSettledOn } from "./stage.ts";

const REJOIN_TIMEOUT_MS = 30_000;

export async function restore(stage: Stage): Promise<void> {
  await stage.heal();
  for (const { name } of stage.members) {
    if (!stage.isRunning(name)) await stage.start(name);
  }
  await rejoinDrained(stage);
  await waitSettledOn(stage);
}

async function rejoinDrained(stage: Stage): Promise<void> {
  const reports = await Promise.all(stage.members.map(({ name }) => statusOn(stage, name)));
  // The one that knows most: a member that was cut off may not have heard of the drain.
  const latest = reports.toSorted((a, b) => (b?.raft.commit ?? -1) - (a?.raft.commit ?? -1))[0];
  if (latest === undefined) return;
  for (const { name, state } of latest.members) {
    if (state !== "drained" && state !== "draining") continue;
    await stage.ask(
      latest.node,
      "rejoin",
      { node: name, timeoutMs: REJOIN_TIMEOUT_MS },
      { timeoutMs: REJOIN_TIMEOUT_MS + 5_000 },
    );
  }
}
