/**
 * Run: drills on a simulated cluster from one seed, and everything that must hold meanwhile. What a test asserts, and what a
 * later look at a failed seed repeats.
 */
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import { runDrill } from "../../drill/drill.ts";
import { limitsOf } from "../../drill/limits.ts";
import { CORE_SCENARIOS, type DrillResult, type Scenario } from "../../drill/model.ts";
import { nodesOf, type Stage, waitSettledOn } from "../../drill/stage.ts";
import type { Bug } from "./bugs.ts";
import { CommitWatch, unlikeReplicas } from "./checks.ts";
import { SimCluster, type SimOptions } from "./cluster.ts";
import { plugHosts, type SimHosts } from "./hosts.ts";
import { simStage } from "./stage.ts";
import type { SimLoad } from "./traffic.ts";

/** After the last drill: time for what was closed to be closed on both sides. */
const REST_MS = 1_000;

export interface RunOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Default: lan. */
  readonly profile?: "lan" | "vm";
  readonly scenarios: readonly Scenario[];
  readonly load: SimLoad;
  readonly flowsMax: number;
  readonly warmUpMs: number;
  readonly aftermathMs: number;
  readonly bug?: Bug;
  readonly recordFormats?: SimOptions["recordFormats"];
  /** Sees the cluster before it starts, to look at it now and then. */
  readonly onCluster?: (cluster: SimCluster) => void;
  /** Hears every entry of every journal. */
  readonly onEvent?: (member: string, event: JournalEvent) => void;
}

/** Little load: what matters in tests is order, not amount. The demo runs the whole of it. */
export const SMALL_RUN = {
  nodes: 2,
  scenarios: CORE_SCENARIOS,
  load: { connections: 20, visitsPerSecond: 60, feedIntervalMs: 100 },
  flowsMax: 8192,
  warmUpMs: 400,
  aftermathMs: 600,
} as const;

export interface RunReport {
  readonly results: readonly DrillResult[];
  /** Rules that were broken; empty when all held. */
  readonly findings: readonly string[];
  /** Of all events of the run. */
  readonly digest: string;
  /** First packets of flows that were looked at. */
  readonly commitsWatched: number;
}

export async function runSimulation(options: RunOptions): Promise<RunReport> {
  const { scenarios, load, warmUpMs, aftermathMs } = options;
  const cluster = new SimCluster({ hasWitness: true, profile: "lan", ...options });
  options.onCluster?.(cluster);
  const hosts = plugHosts(cluster);
  const watch = new CommitWatch(cluster);
  const stage = disarming(simStage(cluster, hosts, { load }), watch);
  const results: DrillResult[] = [];
  const story = async (): Promise<string[]> => {
    await cluster.startAll();
    await waitSettledOn(stage);
    const nodes = nodesOf(stage);
    for (const [i, scenario] of scenarios.entries()) {
      watch.isArmed = true;
      const victim = nodes[i % nodes.length]!;
      results.push(await runDrill(stage, { scenario, victim, warmUpMs, aftermathMs }));
      watch.isArmed = false;
    }
    await stage.pause(REST_MS);
    return unlikeReplicas(cluster);
  };
  const unlike = await cluster.clock.drive(story());
  const findings = [...results.flatMap(breaches), ...watch.findings, ...strangers(hosts), ...unlike];
  return { results, findings, digest: cluster.digest.toString(), commitsWatched: watch.watched };
}

/** The same stage; from the first fault of a drill on, a node may rightly be alone. */
function disarming(stage: Stage, watch: CommitWatch): Stage {
  const disarmed =
    <Args extends unknown[], Answer>(work: (...args: Args) => Answer) =>
    (...args: Args): Answer => {
      watch.isArmed = false;
      return work(...args);
    };
  return {
    ...stage,
    kill: disarmed(stage.kill),
    start: disarmed(stage.start),
    restart: disarmed(stage.restart),
    cutAll: disarmed(stage.cutAll),
    cut: disarmed(stage.cut),
    harm: disarmed(stage.harm),
    pauseMember: disarmed(stage.pauseMember),
    ask: (member, method, params, askOptions) => {
      if (method === "drain") watch.isArmed = false;
      return stage.ask(member, method, params, askOptions);
    },
  };
}

/** What no single failure may cost. */
function breaches(result: DrillResult): string[] {
  const { scenario, victim, connections, visits, download, packets, overlaps, translationsLost } = result;
  const outageMs = Math.max(result.outageMs.toServer, result.outageMs.toClient);
  const isPlanned = scenario === "drain" || scenario === "rejoin" || scenario === "upgrade";
  const broken = Object.entries(connections.reasons).map(([why, count]) => `${count} ${why}`);
  const checks: readonly [boolean, string][] = [
    [connections.established === 0, "no connection stood"],
    [connections.broken > 0, `${connections.broken} connections broken (${broken.join(", ")})`],
    [visits.attempted === 0, "no new connection was tried"],
    [visits.failed > 0, `${visits.failed} new connections failed`],
    [!download.isHashRight, `download damaged ${download.error}`],
    [translationsLost > 0, `${translationsLost} translated addresses changed`],
    [packets.sent === 0, "no probe was sent"],
    [outageMs > limitsOf("lan", scenario).outageMsMax, `outage ${outageMs.toFixed(1)} ms`],
    [packets.duplicated > 0, `${packets.duplicated} probes doubled`],
    [isPlanned && packets.lost > 0, `${packets.lost} probes lost`],
    [overlaps.length > 0, `${overlaps.length} slots had two owners at a time`],
    [result.settledMs === null, `not settled: ${result.unsettled}`],
  ];
  return checks.filter(([isBreach]) => isBreach).map(([, what]) => `${scenario} ${victim}: ${what}`);
}

/** What the policy denies, and what was damaged on the way. */
function strangers(hosts: SimHosts): string[] {
  return Object.entries(hosts).flatMap(([name, host]) => [
    ...(host.strangers > 0 ? [`${name} got ${host.strangers} packets that nobody there asked for`] : []),
    ...(host.malformed > 0 ? [`${name} got ${host.malformed} damaged packets`] : []),
  ]);
}
