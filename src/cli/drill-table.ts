/**
 * Drill table: results of drills as an operator reads them, one line a run and, when there are several, one a scenario.
 */
import { median, worstOutage } from "../../chaos/drill/limits.ts";
import type { DrillResult } from "../../chaos/drill/model.ts";
import { SCENARIOS } from "../../chaos/drill/model.ts";
import { formatShare, table } from "./terminal.ts";

/** One line for each result, and the reasons of those that failed. */
export function formatDrills(results: readonly DrillResult[]): string {
  const columns = [
    ...["SCENARIO", "NODE", "VERDICT"].map((title) => ({ title })),
    ...[
      "OUTAGE OUT/BACK",
      "NOISE",
      "DETECT",
      "STEER",
      "DECIDE",
      "ACTIVE",
      "PROBES LOST/DUP",
      "TCP BROKEN",
      "NEW FAILED/SLOW",
      "PINGS LOST",
      "HASH",
      "LAG P50/P99/MAX",
      "EPOCH",
      "SHARES",
    ].map((title) => ({ title, isRight: true })),
  ];
  const failures = results
    .filter(({ verdict }) => verdict === "fail")
    .map(({ scenario, victim, reasons }) => `  ! ${scenario} ${victim}: ${reasons.join("; ")}\n`);
  return [table(columns, results.map(row)), ...failures].join("");
}

/** Median and maximum of each scenario's outage; empty when nothing ran twice. */
export function formatSummary(results: readonly DrillResult[]): string {
  const rows = SCENARIOS.flatMap((scenario) => {
    const runs = results.filter((result) => result.scenario === scenario);
    if (runs.length < 2) return [];
    const outages = runs.map(worstOutage).toSorted((a, b) => a - b);
    const total = (pick: (run: DrillResult) => number): string =>
      String(runs.reduce((sum, run) => sum + pick(run), 0));
    return [
      [
        scenario,
        String(runs.length),
        ms(median(outages)),
        ms(outages.at(-1)!),
        total((run) => run.packets.lost),
        total((run) => run.packets.duplicated),
        total((run) => run.connections.broken),
        String(runs.filter((run) => run.verdict === "pass").length),
      ],
    ];
  });
  if (rows.length === 0) return "";
  const titles = ["RUNS", "OUTAGE MEDIAN", "MAX", "LOST", "DOUBLED", "TCP BROKEN", "PASSED"];
  return table([{ title: "SCENARIO" }, ...titles.map((title) => ({ title, isRight: true }))], rows);
}

function row(result: DrillResult): string[] {
  const { outageMs, noiseMs, packets, connections, visits, ping, download, syncLag, flowShare } = result;
  return [
    result.scenario,
    result.victim + (result.wasLeader ? " (leader)" : ""),
    result.verdict,
    `${ms(outageMs.toServer)}/${ms(outageMs.toClient)}`,
    ms(Math.max(noiseMs.toServer, noiseMs.toClient)),
    optionalMs(result.detectMs),
    optionalMs(result.steerMs),
    optionalMs(result.decideMs),
    optionalMs(result.activateMs),
    `${packets.lost}/${packets.duplicated} of ${packets.sent}`,
    `${connections.broken} of ${connections.established}`,
    `${visits.failed}/${visits.slow} of ${visits.attempted}`,
    `${ping.lost} of ${ping.sent}`,
    download.isHashRight ? "right" : "WRONG",
    `${syncLag.p50Ms.toFixed(1)}/${syncLag.p99Ms.toFixed(1)}/${syncLag.maxMs.toFixed(1)} ms`,
    `${result.epochBefore} to ${result.epochAfter}`,
    Object.values(flowShare)
      .map((share) => formatShare(share, 1))
      .join(", "),
  ];
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

function optionalMs(value: number | null): string {
  return value === null ? "-" : ms(value);
}
