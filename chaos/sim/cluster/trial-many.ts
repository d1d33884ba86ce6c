/**
 * Many trials: `npx tsx chaos/sim/cluster/trial-many.ts FROM TO [brief] [BUG]` runs the seeds FROM..TO one after the other and ends with
 * the figures. Each seed that breaks a rule is named at once, with the command that replays it. With a bug planted it ends at the
 * first one.
 */
import { BUGS } from "./bugs.ts";
import { runTrial, type TrialReport } from "./trial.ts";

const [fromText = "1", toText = "100", ...words] = process.argv.slice(2);
const isBrief = words.includes("brief");
const bug = BUGS.find((each) => words.includes(each));

const sums = { trials: 0, violations: 0, virtualMs: 0, faults: 0, committed: 0, flows: 0, looked: 0 };
const recoveredMs: number[] = [];
const nodes: Record<string, number> = {};
for (let seed = Number(fromText); seed <= Number(toText); seed++) {
  const report = await runTrial({ seed, isBrief, ...(bug === undefined ? {} : { bug }) });
  add(report);
  if (report.findings.length === 0) continue;
  sums.violations++;
  const [first = ""] = report.findings;
  const command = ["npx tsx chaos/sim/cluster/trial-replay.ts", seed, ...words];
  process.stdout.write(`seed ${seed}: ${first.split("\n")[0]}; replay: ${command.join(" ")}\n`);
  if (bug !== undefined) break;
}
recoveredMs.sort((a, b) => a - b);
const at = (share: number): number => Math.round(recoveredMs[Math.floor(share * (recoveredMs.length - 1))]!);
process.stdout.write(
  `${JSON.stringify({
    from: Number(fromText),
    ...sums,
    virtualHours: Math.round(sums.virtualMs / 36_000) / 100,
    nodes,
    recoveredMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
    cpuSeconds: Math.round(process.cpuUsage().user / 1e6),
  })}\n`,
);
process.exitCode = sums.violations === 0 ? 0 : 1;

function add({ plan, faults, counts, virtualMs, recoveredMs: ms }: TrialReport): void {
  sums.trials++;
  sums.virtualMs += virtualMs;
  sums.faults += faults.length;
  sums.committed += counts.committed;
  sums.flows += counts.flows;
  sums.looked += counts.looked;
  recoveredMs.push(ms);
  nodes[plan.nodes] = (nodes[plan.nodes] ?? 0) + 1;
}
