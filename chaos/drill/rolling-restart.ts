/**
 * Rolling restart: the upgrade of a whole cluster as a drill, with the steps of `synwall upgrade`. Owns how a stage serves it, and
 * keeps the journals of lives that end, which the drill's judgement needs.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { thisBuild } from "../../src/node/upgrade/this-build.ts";
import { type UpgradeStage, upgrade } from "../../src/node/upgrade/upgrade.ts";
import type { MemberEvent } from "./model.ts";
import { journalOn, type Stage } from "./stage.ts";

/** On a machine that a lab of many nodes fills, a process that starts waits long for a CPU. */
const STEP_MS_MAX = 180_000;
/** Journals are kept from some time before the fault on: a drill's window begins a little earlier. */
const BEFORE_MS = 30_000;

/** Restarts every member. Answers what the former lives noted. Throws SW_DRILL_FAILED with the reason when it stopped. */
export async function rollingRestart(stage: Stage): Promise<MemberEvent[]> {
  const sinceMs = stage.nowMs() - BEFORE_MS;
  const noted: MemberEvent[] = [];
  const { isDone, stopped } = await upgrade(
    upgradeStageOf(stage, async (member) => {
      noted.push(...(await journalOn(stage, member, sinceMs)));
      await stage.restart(member);
    }),
    {
      target: thisBuild(),
      only: [],
      isAll: true,
      isDryRun: false,
      mayLoseMajority: false,
      needsSupervisor: false,
      stepTimeoutMs: STEP_MS_MAX,
    },
  );
  if (isDone) return noted;
  throw new SynwallError("SW_DRILL_FAILED", `the upgrade stopped: ${stopped.join("; ")}`);
}

function upgradeStageOf(stage: Stage, restart: (member: string) => Promise<void>): UpgradeStage {
  return {
    async ask(method, params, options) {
      let silence: unknown;
      // One of them is being restarted; the last one that did not answer tells why.
      for (const { name } of stage.members.filter((member) => stage.isRunning(member.name))) {
        try {
          return await stage.ask(name, method, params, options);
        } catch (error) {
          if (!(error instanceof SynwallError) || error.code !== "SW_ADMIN_UNREACHABLE") throw error;
          silence = error;
        }
      }
      throw silence ?? new SynwallError("SW_ADMIN_UNREACHABLE", "no member runs");
    },
    restart: ({ name }) => restart(name),
    nowMs: () => stage.nowMs(),
    pause: (ms) => stage.pause(ms),
    progress: (member, text) => stage.progress(`${member}: ${text}`),
  };
}
