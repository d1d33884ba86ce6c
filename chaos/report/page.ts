/**
 * Page: report.html, one file without scripts or outside references. Owns wording and looks; charts are in chart.ts.
 * Pure: results in, HTML out.
 */
import { limitsOf } from "../drill/limits.ts";
import { type ByDirection, type DrillResult, SCENARIO_TEXT } from "../drill/model.ts";
import { type ChartOptions, chart, escapeText, type Marker, type Series } from "./chart.ts";

export interface ReportFacts {
  readonly results: readonly DrillResult[];
  readonly profile: "lan" | "vm";
  /** One line each: machine, kernel, Node.js, driver. */
  readonly environment: readonly string[];
  readonly createdAt: string;
}

const COLORS = [
  "var(--a)",
  "var(--b)",
  "var(--c)",
  "var(--d)",
  "var(--e)",
  "var(--f)",
  "var(--g)",
  "var(--h)",
];
const LAG_BUCKET_MS = 20;
const BEFORE_S = 1;
const SHOWN_S_MAX = 12;

export function reportPage(facts: ReportFacts): string {
  const { results, environment, createdAt, profile } = facts;
  const passed = results.filter(({ verdict }) => verdict === "pass").length;
  const isGood = passed === results.length && results.length > 0;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Synwall drills: ${passed} of ${results.length} passed</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Synwall drills <span class="chip ${isGood ? "pass" : "fail"}">${passed} of ${results.length} passed</span></h1>
<p>${escapeText(createdAt)}, profile ${profile}. ${environment.map(escapeText).join(" · ")}</p>
<p>Each drill ran under 200 long-lived TCP connections with checked bytes, ${results[0]?.newPerSecond ?? 0} new connections a second, a hashed download, pings, and UDP probes each millisecond in both directions.</p>
</header>
<section class="wide">${summaryTable(results)}</section>
${results.map((result) => drillSection(result, profile)).join("\n")}
<footer>Outage: the longest gap between two arriving probes, without the stalls of the probes' own ends. Noise: the same before the fault. Steer: packets of the dead node's flows go through the other; decide: the cluster committed the new owners; active: they open new flows in those slots.</footer>
</body>
</html>
`;
}

function summaryTable(results: readonly DrillResult[]): string {
  const head = [
    "Scenario",
    "Node",
    "Verdict",
    "Outage out / back",
    "Noise",
    "Detect",
    "Steer",
    "Decide",
    "Active",
    "Probes lost / doubled",
    "TCP broken",
    "New failed / slow",
    "Unprotected flows",
    "Pings lost",
    "Download",
    "Sync lag p50 / p99 / max",
    "Epoch",
    "Flow shares",
  ];
  const rows = results.map((result) => {
    const { outageMs, noiseMs, packets, connections, visits, ping, download, syncLag, flowShare } = result;
    const { unprotectedFlows } = result;
    const cells = [
      result.scenario,
      `${escapeText(result.victim)}${result.wasLeader ? " (leader)" : ""}`,
      `<span class="chip ${result.verdict}">${result.verdict}</span>`,
      both(outageMs),
      ms(Math.max(noiseMs.toServer, noiseMs.toClient)),
      ...[result.detectMs, result.steerMs, result.decideMs, result.activateMs].map((each) =>
        each === null ? "–" : ms(each),
      ),
      `${packets.lost} / ${packets.duplicated} <small>of ${packets.sent.toLocaleString("en-US")}</small>`,
      `${connections.broken} <small>of ${connections.established}</small>`,
      `${visits.failed} / ${visits.slow} <small>of ${visits.attempted.toLocaleString("en-US")}</small>`,
      unprotectedFlows.toLocaleString("en-US"),
      `${ping.lost} <small>of ${ping.sent}</small>`,
      download.isHashRight ? `${(download.bytes / 1e6).toFixed(0)} MB, hash right` : "damaged",
      `${[syncLag.p50Ms, syncLag.p99Ms, syncLag.maxMs].map((each) => each.toFixed(1)).join(" / ")} ms`,
      `${result.epochBefore} → ${result.epochAfter}`,
      Object.entries(flowShare)
        .map(([node, share]) => `${escapeText(node)} ${Math.round(share * 100)} %`)
        .join(", "),
    ];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  return `<table><thead><tr>${head.map((each) => `<th>${each}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function drillSection(result: DrillResult, profile: "lan" | "vm"): string {
  const reasons = result.reasons.map((reason) => `<li>${escapeText(reason)}</li>`).join("");
  const frame = frameOf(result);
  const outageLimit = limitsOf(profile, result.scenario).outageMsMax;
  return `<section>
<h2>${result.scenario} ${escapeText(result.victim)} <span class="chip ${result.verdict}">${result.verdict}</span></h2>
<p>${escapeText(SCENARIO_TEXT[result.scenario])}. ${result.settledMs === null ? "Never settled again" : `Settled again after ${ms(result.settledMs)}`}.</p>
${reasons === "" ? "" : `<ul class="reasons">${reasons}</ul>`}
${chart({ ...frame, title: "Gap between probes", unit: "ms", kind: "line", series: gapSeries(result), limit: outageLimit })}
${chart({ ...frame, title: "Sync lag", unit: "ms", kind: "line", series: lagSeries(result) })}
${chart({ ...frame, title: "Slots by owner", unit: "slots", kind: "stack", series: slotSeries(result) })}
${eventList(result)}
</section>`;
}

function frameOf(result: DrillResult): Pick<ChartOptions, "fromS" | "toS" | "markers"> {
  const markers: Marker[] = [{ x: 0, label: result.scenario }];
  const steps = { detect: result.detectMs, active: result.activateMs };
  for (const [name, atMs] of Object.entries(steps)) {
    if (atMs !== null) markers.push({ x: atMs / 1000, label: `${name} ${ms(atMs)}` });
  }
  const lastMs = Math.max(0, ...result.series.probeGaps.toServer.map(([x]) => x));
  return { fromS: -BEFORE_S, toS: Math.min(SHOWN_S_MAX, Math.max(2, lastMs / 1000)), markers };
}

function gapSeries({ series }: DrillResult): Series[] {
  const { toServer, toClient } = series.probeGaps;
  return [
    { name: "client to server", color: COLORS[0]!, points: seconds(toServer) },
    { name: "server to client", color: COLORS[1]!, points: seconds(toClient) },
  ];
}

function lagSeries({ series }: DrillResult): Series[] {
  return Object.entries(series.syncLag).map(([name, points], i) => ({
    name,
    color: COLORS[i % COLORS.length]!,
    points: seconds(highestPerBucket(points, LAG_BUCKET_MS)),
  }));
}

function slotSeries({ series }: DrillResult): Series[] {
  return Object.entries(series.slots).map(([name, points], i) => ({
    name,
    color: COLORS[i % COLORS.length]!,
    points: seconds(points),
  }));
}

function eventList({ events, faultAtMs }: DrillResult): string {
  const rows = events.map(
    ({ atMs, member, kind, text }) =>
      `<tr><td class="number">${(atMs - faultAtMs).toFixed(1)} ms</td><td>${escapeText(member)}</td><td>${kind}</td><td>${escapeText(text)}</td></tr>`,
  );
  return `<details><summary>${events.length} events of the members' journals</summary><table>${rows.join("")}</table></details>`;
}

/** The highest value of each bucket, so that a chart of many samples stays small and shows every peak. */
export function highestPerBucket(
  points: readonly (readonly [number, number])[],
  bucketMs: number,
): [number, number][] {
  const highest = new Map<number, number>();
  for (const [atMs, value] of points) {
    const bucket = Math.floor(atMs / bucketMs) * bucketMs;
    highest.set(bucket, Math.max(highest.get(bucket) ?? 0, value));
  }
  return [...highest].sort((a, b) => a[0] - b[0]);
}

function seconds(points: readonly (readonly [number, number])[]): [number, number][] {
  return points.map(([atMs, value]) => [atMs / 1000, value]);
}

function both({ toServer, toClient }: ByDirection): string {
  return `${ms(toServer)} / ${ms(toClient)}`;
}

function ms(value: number): string {
  return value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(1)} s`;
}

const STYLE = `
:root { color-scheme: light dark; --bg:#f6f7f9; --card:#fff; --text:#1c2430; --dim:#667085; --line:#e3e7ed;
  --good:#12805c; --bad:#b42318; --a:#2563eb; --b:#d97706; --c:#0d9488; --d:#9333ea; --e:#db2777; --f:#65a30d; --g:#0891b2; --h:#78716c; }
@media (prefers-color-scheme: dark) { :root { --bg:#11151b; --card:#1a2029; --text:#e6eaf0; --dim:#8d98a8; --line:#2b3440;
  --good:#34d399; --bad:#f97066; --a:#60a5fa; --b:#fbbf24; --c:#2dd4bf; --d:#c084fc; --e:#f472b6; --f:#a3e635; --g:#22d3ee; --h:#a8a29e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 28px 24px 60px; background: var(--bg); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(560px, 100%), 1fr)); }
header, footer, .wide { grid-column: 1 / -1; }
h1 { font-size: 26px; margin: 0 0 6px; } h2 { font-size: 18px; margin: 0 0 4px; } p { margin: 2px 0; color: var(--dim); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; min-width: 0; }
.wide { overflow-x: auto; }
.chip { font-size: 13px; font-weight: 600; padding: 2px 10px; border-radius: 99px; color: #fff; vertical-align: middle; white-space: nowrap; }
.chip.pass { background: #12805c; } .chip.fail { background: #b42318; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--dim); font-weight: 600; white-space: nowrap; }
td, th { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; } td { white-space: nowrap; }
tr:last-child td { border-bottom: 0; } small { color: var(--dim); } .number { text-align: right; }
.reasons { color: var(--bad); margin: 6px 0; padding-left: 20px; }
svg { display: block; width: 100%; margin-top: 14px; } svg text { font-size: 11px; fill: var(--text); }
svg .title { font-weight: 600; font-size: 12px; } svg .tick { fill: var(--dim); font-size: 10px; }
.grid { stroke: var(--line); } .limit { stroke: var(--bad); stroke-dasharray: 5 4; } svg .limit-text { fill: var(--bad); font-size: 10px; }
.marker { stroke: var(--dim); stroke-dasharray: 2 3; } svg .marker-text { fill: var(--dim); font-size: 10px; }
details { margin-top: 14px; color: var(--dim); overflow-x: auto; } summary { cursor: pointer; }
footer { color: var(--dim); font-size: 13px; }
`;
