/**
 * Many trials: `npx tsx chaos/sim/cluster/trial-many.ts FROM TO [brief | SCENE] [BUG [mixed]] [--processes N] [--log FILE]` runs the seeds
 * FROM..TO and ends with the figures. Scenes: "stalling", workers stop in the middle of their turns; "changing", voters change, groups are
 * parted, members are replaced. Each seed that breaks a rule is named at once, with the command that replays it. With a log, a run that
 * was ended goes on where it was. With a bug planted it ends at the first violation; "mixed": in clusters as they come.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { BUGS } from "./bugs.ts";
import { runMany } from "./many.ts";
import { SCENES } from "./trial-plan.ts";
import { recoveryMs, type TrialSums } from "./trial-sums.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { processes: { type: "string", default: "1" }, log: { type: "string" } },
});
const [fromText = "1", toText = "100", ...words] = positionals;
const isBrief = words.includes("brief");
const bug = BUGS.find((each) => words.includes(each));
const git = spawnSync("git", ["describe", "--always", "--dirty"], { cwd: ROOT_DIRECTORY, encoding: "utf8" });

const sums = await runMany({
  fromSeed: Number(fromText),
  toSeed: Number(toText),
  processes: Number(values.processes),
  isBrief,
  bug,
  isMixed: words.includes("mixed"),
  scene: SCENES.find((each) => words.includes(each)),
  isOver: bug === undefined ? "at its end" : "at a violation",
  logPath: values.log,
  version: git.stdout.trim(),
  onBatch: tell,
});
const { virtualMs, recoveredMs: _, violations, ...rest } = sums;
process.stdout.write(
  `${JSON.stringify({
    ...rest,
    virtualHours: Math.round(virtualMs / 36_000) / 100,
    recoveredMs: { p50: recoveryMs(sums, 0.5), p99: recoveryMs(sums, 0.99), max: recoveryMs(sums, 1) },
    violations,
  })}\n`,
);
process.exitCode = violations.length === 0 ? 0 : 1;

function tell({ violations: found }: TrialSums): void {
  for (const { seed, finding } of found) {
    const command = ["npx tsx chaos/sim/cluster/trial-replay.ts", seed, ...words];
    process.stdout.write(`seed ${seed}: ${finding}; replay: ${command.join(" ")}\n`);
  }
}
