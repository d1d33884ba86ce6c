/**
 * Replays one story of a pair with all journals: `npx tsx chaos/sim/cluster/pair-replay.ts STORY SEED [BUG]`, or counts seeds FROM..TO of
 * all stories: `pair-replay.ts all FROM TO`. With SYNWALL_LOG=1 all lines of all logs, too.
 */
import { PAIR_BUGS } from "./bugs.ts";
import { PAIR_STORIES, runPair } from "./pair.ts";

const [word = "kill", from = "1", to = from] = process.argv.slice(2);
const story = PAIR_STORIES.find((each) => each === word);
const bug = PAIR_BUGS.find((each) => each === to);

function say(trueMs: number, member: string, text: string): void {
  process.stdout.write(`${trueMs.toFixed(3).padStart(13)} ${member.padEnd(8)}${text}\n`);
}

if (story !== undefined) {
  const report = await runPair({
    story,
    seed: Number(from),
    ...(bug === undefined ? {} : { bug }),
    onEvent: (trueMs, member, { kind, epoch, text }) =>
      say(trueMs, member, `${kind.padEnd(18)}epoch ${epoch}  ${text}`),
    ...(process.env["SYNWALL_LOG"] === undefined
      ? {}
      : { onLog: (trueMs, member, level, text) => say(trueMs, member, `${level.padEnd(18)}${text}`) }),
  });
  process.stdout.write(`${JSON.stringify(report, undefined, 1)}\n`);
  process.exitCode = report.findings.length === 0 ? 0 : 1;
} else {
  for (const each of PAIR_STORIES) {
    const aloneMs: number[] = [];
    let excused = 0;
    for (let seed = Number(from); seed <= Number(to); seed++) {
      const report = await runPair({ story: each, seed });
      aloneMs.push(report.aloneMs);
      if (report.excused > 0) excused++;
      if (report.findings.length === 0) continue;
      process.stdout.write(`${each} ${seed}: ${report.findings.join("; ")}\n`);
      process.exitCode = 1;
    }
    aloneMs.sort((a, b) => a - b);
    const [median, max] = [aloneMs[aloneMs.length >> 1] ?? 0, aloneMs.at(-1) ?? 0];
    process.stdout.write(
      `${each.padEnd(18)}${aloneMs.length} seeds, alone after ${median.toFixed(0)} ms, at most ${max.toFixed(0)} ms; both served in ${excused}\n`,
    );
  }
}
