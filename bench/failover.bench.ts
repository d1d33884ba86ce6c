/**
 * failover: outage, detection, decision and activation of the four main drills, measured on a lab of this machine with real traffic,
 * each drill in turn so that a slow phase of the machine hits all of them alike.
 *
 *   npm run build && node --import tsx bench/failover.bench.ts [--runs 7] [--smoke]
 *
 * Needs root for its network namespaces. Exit status 1 when a drill failed, or when a median is over its budget.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { judgeMedians } from "../chaos/drill/limits.ts";
import { CORE_SCENARIOS, type DrillResult, SCENARIOS } from "../chaos/drill/model.ts";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "7" }, smoke: { type: "boolean", default: false } },
});
const runs = values.smoke ? 1 : Number(values.runs);
const SYNWALL = fileURLToPath(new URL("../bin/synwall", import.meta.url));
const NAME = `bench${process.pid % 1000}`;
const OUTPUT_BYTES_MAX = 512 * 1024 * 1024;

if (process.getuid?.() !== 0) {
  process.stdout.write("failover: skipped, network namespaces need root\n");
  process.exit(0);
}

let status = 1;
try {
  execFileSync(SYNWALL, ["lab", "up", "--name", NAME, "--profile", "lan"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const scenario = values.smoke ? "kill" : CORE_SCENARIOS.join();
  const drills = spawnSync(
    SYNWALL,
    ["drill", "run", scenario, "--name", NAME, "--repeat", String(runs), "--json"],
    {
      stdio: ["ignore", "pipe", "inherit"],
      maxBuffer: OUTPUT_BYTES_MAX,
      encoding: "utf8",
    },
  );
  const parsed = JSON.parse(drills.stdout) as DrillResult | DrillResult[];
  const results = Array.isArray(parsed) ? parsed : [parsed];
  print(results);
  const medians = judgeMedians(results);
  for (const { line } of medians) process.stdout.write(`${line}\n`);
  const isGood = results.every(({ verdict }) => verdict === "pass") && medians.every(({ isKept }) => isKept);
  status = values.smoke || isGood ? 0 : 1;
} finally {
  execFileSync(SYNWALL, ["lab", "down", "--name", NAME], { stdio: ["ignore", "ignore", "inherit"] });
}
process.exitCode = status;

function print(results: readonly DrillResult[]): void {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? "?"}, kernel ${release()}, Node.js ${process.version}`;
  process.stdout.write(`failover: profile lan, ${runs} runs each; ${machine}\n`);
  process.stdout.write("median (least to most)\n");
  for (const scenario of SCENARIOS) {
    const own = results.filter((result) => result.scenario === scenario);
    if (own.length === 0) continue;
    const outages = own.map(({ outageMs }) => Math.max(outageMs.toServer, outageMs.toClient));
    const noises = own.map(({ noiseMs }) => Math.max(noiseMs.toServer, noiseMs.toClient));
    const row = [
      `outage ${spread(outages)} ms`,
      `noise before ${spread(noises)} ms`,
      `detect ${spread(own.map((result) => result.detectMs))} ms`,
      `decide ${spread(own.map((result) => result.decideMs))} ms`,
      `activate ${spread(own.map((result) => result.activateMs))} ms`,
      `lost ${sum(own.map((result) => result.packets.lost))}, doubled ${sum(own.map((result) => result.packets.duplicated))}`,
      `TCP broken ${sum(own.map((result) => result.connections.broken))} of ${sum(own.map((result) => result.connections.established))}`,
      `hash wrong ${own.filter((result) => !result.download.isHashRight).length}`,
      `sync lag p50 ${spread(own.map((result) => result.syncLag.p50Ms))} ms`,
      `failed ${own.filter((result) => result.verdict === "fail").length} of ${own.length}`,
    ];
    process.stdout.write(`${scenario.padEnd(7)} ${row.join("; ")}\n`);
  }
}

/** Median, least and most; "-" where a drill has no such step. */
function spread(values: readonly (number | null)[]): string {
  const present = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (present.length === 0) return "-";
  const median = present[Math.floor((present.length - 1) / 2)]!;
  return `${median.toFixed(1)} (${present[0]!.toFixed(1)} to ${present.at(-1)!.toFixed(1)})`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
