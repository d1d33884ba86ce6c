/**
 * Full log: a node's disk has no byte left, not even for its log, and the cluster goes on deciding, as a drill. Owns how the log is made to
 * grow, and that the node ends by itself, with the line that names the disk.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { journalOn, type Stage, statusOn, waitSettledOn } from "./stage.ts";

const ENDS_WITHIN_MS = 20_000;
const TOKEN_MS = 1_000;
const LAST_WORDS = /^SW_STORAGE_FAILED: .*ENOSPC/;

/** Before traffic starts: the victim's data folder is moved to a disk that can be used up. */
export async function shrinkBefore(stage: Stage, victim: string): Promise<void> {
  const before = await stage.ask(victim, "status", {});
  await stage.kill(victim);
  await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
  await stage.shrinkDisk(victim);
  await stage.start(victim);
  await waitSettledOn(stage);
}

export async function fullLog(stage: Stage, victim: string, helper: string) {
  const before = await stage.ask(helper, "status", {});
  const faultAtMs = await stage.fillDisk(victim);
  try {
    await growLogUntilEnd(stage, victim, helper, faultAtMs);
    const deaths = [{ member: victim, atMs: await endOf(stage, victim, helper, faultAtMs) }];
    await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
    const said = stage.lastWords(victim);
    stage.progress(`${victim} ended: ${said}`);
    if (!LAST_WORDS.test(said)) {
      throw new SynwallError(
        "SW_DRILL_FAILED",
        `${victim} ended with ${JSON.stringify(said)}, not for its full disk`,
      );
    }
    await stage.freeDisk(victim);
    await stage.start(victim);
    return { faultAtMs, deaths, settle: {} };
  } catch (error) {
    // Whatever went wrong: the next drill finds a member with room.
    if (stage.isRunning(victim)) await stage.kill(victim);
    await stage.freeDisk(victim).catch(() => undefined);
    throw error;
  }
}

/** Each token that is issued is one entry more in everybody's log. */
async function growLogUntilEnd(stage: Stage, victim: string, helper: string, sinceMs: number): Promise<void> {
  while (stage.isRunning(victim)) {
    if (stage.nowMs() > sinceMs + ENDS_WITHIN_MS) {
      throw new SynwallError("SW_DRILL_FAILED", `${victim} runs on, though its log finds no room`);
    }
    await stage.ask(helper, "cluster.token", { ttlMs: TOKEN_MS }).catch((error: unknown) => {
      // Nobody leads for a moment when the one that ends did.
      if (!(error instanceof SynwallError)) throw error;
    });
  }
}

/** When its peer saw the process end. */
async function endOf(stage: Stage, victim: string, helper: string, sinceMs: number): Promise<number> {
  const status = await statusOn(stage, helper);
  const id = status?.members.findLast(({ name }) => name === victim)?.id;
  const events = await journalOn(stage, helper, sinceMs);
  const closed = events.find(({ kind, node }) => kind === "lifeline-closed" && node === id);
  return closed?.atMs ?? stage.nowMs();
}
