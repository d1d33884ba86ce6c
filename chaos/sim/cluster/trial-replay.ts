/**
 * Replays one seed of a trial with all journals: `npx tsx chaos/sim/cluster/trial-replay.ts SEED [brief | stalling | changing] [BUG [mixed]]`. With
 * SYNWALL_LOG=1 all lines of all logs, too.
 */
import { BUGS } from "./bugs.ts";
import { runTrial } from "./trial.ts";
import { SCENES } from "./trial-plan.ts";

const [seedText = "1", ...words] = process.argv.slice(2);
const bug = BUGS.find((each) => words.includes(each));
const say = (trueMs: number, member: string, text: string): void =>
  void process.stdout.write(`${trueMs.toFixed(3).padStart(13)} ${member.padEnd(8)}${text}\n`);
const report = await runTrial({
  seed: Number(seedText),
  isBrief: words.includes("brief"),
  bug,
  isMixed: words.includes("mixed"),
  scene: SCENES.find((each) => words.includes(each)),
  onEvent: (trueMs, member, { kind, epoch, text }) =>
    say(trueMs, member, `${kind.padEnd(18)}epoch ${epoch}  ${text}`),
  ...(process.env["SYNWALL_LOG"] === undefined
    ? {}
    : { onLog: (trueMs, member, level, text) => say(trueMs, member, `${level.padEnd(18)}${text}`) }),
});
process.stdout.write(`${JSON.stringify(report, undefined, 1)}\n`);
process.exitCode = report.findings.length === 0 ? 0 : 1;
