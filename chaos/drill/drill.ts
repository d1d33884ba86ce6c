/**
 * Drill: one rehearsed failure on a standing lab, from a whole cluster back to a whole cluster. Owns the order: settle,
 * prepare, load, fault, settle, measure, restore. Figures are computed in measure.ts, the verdict in limits.ts.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { LatencySummary, StatusReport } from "../../src/node/admin-model.ts";
import { nowMs } from "../../src/node/clock.ts";
import { statusOf } from "../lab/ask.ts";
import { type Lab, memberOf, trySettled } from "../lab/lab.ts";
import { clientAddresses } from "../lab/topology.ts";
import { pause } from "../lab/wait.ts";
import { startTraffic, type Traffic, type TrafficReport } from "../traffic/traffic.ts";
import { judge } from "./limits.ts";
import { measureTraffic, type ProbeFlowInfo, worstLag } from "./measure.ts";
import type { DrillMeasurement, DrillResult, DrillSeries, MemberEvent, Scenario } from "./model.ts";
import { overlapsOf, reigns } from "./ownership.ts";
import { restore } from "./restore.ts";
import { SlotSampler } from "./sampler.ts";
import { type Injection, SCRIPTS } from "./scenarios.ts";
import { timingOf } from "./timing.ts";

const WARM_UP_MS = 2_000;
const AFTERMATH_MS = 2_000;
const SETTLE_TIMEOUT_MS = 30_000;
/**
 * Events are stamped this exactly: a worker takes the time once for all that it handles in one turn, and a turn on a busy
 * machine takes some milliseconds. Shorter overlaps are for the simulator to find, which has one exact clock.
 */
const STAMP_TOLERANCE_MS = 10;

export interface DrillOptions {
  readonly scenario: Scenario;
  readonly victim: string;
}

/** Runs one drill and answers its measured result. Throws SW_DRILL_FAILED when it could not be carried out. */
export async function runDrill(lab: Lab, { scenario, victim }: DrillOptions): Promise<DrillResult> {
  checkVictim(lab, victim);
  await restore(lab);
  const helper = nodesOf(lab).find((name) => name !== victim)!;
  const flows = await chooseFlows(lab, helper, victim);
  await SCRIPTS[scenario].prepare(lab, victim);
  lab.context.progress(
    `${scenario} ${victim}: 200 connections, 500 new ones a second, a download, probes each millisecond`,
  );
  const traffic = await startTraffic({
    lab: lab.state.options.name,
    probeAddresses: flows.map(({ address }) => address),
    downloadAddress: flows[0]!.address,
  });
  try {
    const plan = { scenario, victim, helper, flows };
    const measured = toMeasurement(lab, plan, await observe(lab, plan, traffic));
    await restore(lab);
    return judge(measured, lab.state.options.profile);
  } finally {
    traffic.kill();
  }
}

interface Plan extends DrillOptions {
  /** A node that lives through the drill and is asked. */
  readonly helper: string;
  readonly flows: readonly ProbeFlowInfo[];
}

/** What was seen, before it is made into figures. */
interface Observation {
  readonly startedAt: string;
  readonly before: Snapshot;
  readonly after: Snapshot;
  readonly shares: Readonly<Record<string, number>>;
  readonly injection: Injection;
  readonly settledMs: number | null;
  readonly unsettled: string;
  readonly report: TrafficReport;
  readonly evidence: Evidence;
  readonly sampler: SlotSampler;
}

async function observe(lab: Lab, { scenario, victim, helper }: Plan, traffic: Traffic): Promise<Observation> {
  const { progress, abort } = lab.context;
  const startedAt = new Date().toISOString();
  await pause(WARM_UP_MS / 2, abort);
  // Load may have shaken what was settled before; a drill begins with a whole cluster or not at all.
  const shaken = await trySettled(lab, { without: SCRIPTS[scenario].isVictimDownBefore ? [victim] : [] });
  if (shaken !== "")
    throw new SynwallError("SW_DRILL_FAILED", `the cluster does not bear the load: ${shaken}`);
  await resetLag(lab);
  const before = await snapshot(lab, helper);
  const sampler = new SlotSampler(lab);
  try {
    await pause(WARM_UP_MS / 2, abort);
    const shares = await flowShares(lab);
    progress(`${scenario} ${victim}: now`);
    const injection = await SCRIPTS[scenario].inject(lab, victim, helper);
    const unsettled = await trySettled(lab, {
      ...injection.settle,
      afterEpoch: before.status.epoch,
      timeoutMs: SETTLE_TIMEOUT_MS,
    });
    const settledMs = unsettled === "" ? nowMs() - injection.faultAtMs : null;
    await pause(AFTERMATH_MS, abort);
    const report = await traffic.end();
    const evidence = await collect(lab, before.atMs);
    const after = await snapshot(lab, helper);
    return { startedAt, before, after, shares, injection, settledMs, unsettled, report, evidence, sampler };
  } finally {
    sampler.stop();
  }
}

function toMeasurement(lab: Lab, { scenario, victim, flows }: Plan, seen: Observation): DrillMeasurement {
  const { before, after, injection, evidence } = seen;
  const { faultAtMs } = injection;
  const { probeGaps, ...figures } = measureTraffic(seen.report, flows, { fromMs: before.atMs, faultAtMs });
  const all = reigns({
    events: evidence.events,
    ownersAtStart: before.status.slots.owner.map((id) => nameOf(lab, id)),
    startMs: before.atMs,
    endMs: evidence.untilMs,
    deaths: injection.isDead ? [{ member: victim, atMs: faultAtMs }] : [],
  });
  return {
    ...figures,
    scenario,
    victim,
    wasLeader: before.status.leader === victim,
    startedAt: seen.startedAt,
    faultAtMs,
    settledMs: seen.settledMs,
    unsettled: seen.unsettled,
    ...timingOf({
      events: evidence.events,
      victim: memberOf(lab, victim),
      faultAtMs,
      epochBefore: before.status.epoch,
    }),
    syncLag: worstLag(evidence.lag),
    epochBefore: before.status.epoch,
    epochAfter: after.status.epoch,
    flowShare: seen.shares,
    overlaps: overlapsOf(all, STAMP_TOLERANCE_MS),
    events: evidence.events,
    series: {
      probeGaps,
      syncLag: lagSeries(lab, evidence, faultAtMs, injection.isGone ? victim : ""),
      slots: seen.sampler.series(faultAtMs),
    },
  };
}

/** Names of the lab's nodes. */
export function nodesOf(lab: Lab): string[] {
  return lab.state.topology.members.filter(({ role }) => role === "node").map(({ name }) => name);
}

interface Snapshot {
  readonly atMs: number;
  readonly status: StatusReport;
}

interface Evidence {
  /** Journals are whole up to here. */
  readonly untilMs: number;
  readonly events: readonly MemberEvent[];
  readonly lag: readonly LatencySummary[];
  readonly samples: readonly {
    readonly member: string;
    readonly atMs: number;
    readonly peer: number;
    readonly lagMs: number;
  }[];
}

function checkVictim(lab: Lab, victim: string): void {
  const nodes = nodesOf(lab);
  if (nodes.length < 2) {
    throw new SynwallError(
      "SW_LAB_FAILED",
      "a drill needs two nodes: this lab has one; make one with --nodes 2",
    );
  }
  if (!nodes.includes(victim)) {
    throw new SynwallError("SW_LAB_FAILED", `no node "${victim}": use one of ${nodes.join(", ")}`);
  }
}

/** A client address in a slot of the victim, and one in a slot of another node. */
async function chooseFlows(lab: Lab, helper: string, victim: string): Promise<ProbeFlowInfo[]> {
  const found: { theirs?: ProbeFlowInfo; others?: ProbeFlowInfo } = {};
  for (const address of clientAddresses()) {
    const { owner } = await lab.context.ask(lab.paths.socket(helper), "locate", { address });
    if (owner === victim) found.theirs ??= { address, owner };
    else found.others ??= { address, owner };
    if (found.theirs !== undefined && found.others !== undefined) return [found.theirs, found.others];
  }
  throw new SynwallError(
    "SW_DRILL_FAILED",
    `all client addresses are in slots of one node: ${victim} owns none, or all`,
  );
}

async function snapshot(lab: Lab, member: string): Promise<Snapshot> {
  const atMs = nowMs();
  const status = await statusOf(lab.context.ask, lab.paths.socket(member));
  if (status === undefined) throw new SynwallError("SW_DRILL_FAILED", `${member} does not answer`);
  return { atMs, status };
}

async function resetLag(lab: Lab): Promise<void> {
  await Promise.all(nodesOf(lab).map((name) => lagOf(lab, name, { sinceMs: nowMs(), reset: true })));
}

type Lag = Awaited<ReturnType<typeof lagOf>>;

async function lagOf(lab: Lab, name: string, params: { sinceMs: number; reset?: boolean }) {
  try {
    return await lab.context.ask(lab.paths.socket(name), "lag", params);
  } catch {
    return undefined; // Dead: it keeps its figures for itself.
  }
}

async function flowShares(lab: Lab): Promise<Record<string, number>> {
  const nodes = nodesOf(lab);
  const owned = await Promise.all(
    nodes.map(async (name) => {
      try {
        return (await lab.context.ask(lab.paths.socket(name), "flows.count", {})).own;
      } catch {
        return 0; // Dead: it carries none.
      }
    }),
  );
  const total = owned.reduce((sum, count) => sum + count, 0);
  return Object.fromEntries(nodes.map((name, i) => [name, total === 0 ? 0 : owned[i]! / total]));
}

/** Journals first and together: what one member wrote while another was asked would be missing here and present there. */
async function collect(lab: Lab, sinceMs: number): Promise<Evidence> {
  const untilMs = nowMs();
  const names = lab.state.topology.members.map(({ name }) => name);
  const journals = await Promise.all(names.map((name) => journalOf(lab, name, sinceMs)));
  const lags: (Lag & object)[] = [];
  const samples: { member: string; atMs: number; peer: number; lagMs: number }[] = [];
  for (const name of nodesOf(lab)) {
    const lag = await lagOf(lab, name, { sinceMs });
    if (lag === undefined) continue;
    lags.push(lag);
    samples.push(...lag.samples.map((sample) => ({ ...sample, member: name })));
  }
  return {
    untilMs,
    events: journals.flat().toSorted((a, b) => a.atMs - b.atMs),
    lag: lags.map(({ ack }) => ack),
    samples,
  };
}

async function journalOf(lab: Lab, name: string, sinceMs: number): Promise<MemberEvent[]> {
  try {
    const { events } = await lab.context.ask(lab.paths.socket(name), "journal", { sinceMs });
    return events.map((event, order) => ({ ...event, member: name, order }));
  } catch {
    return []; // Dead: its journal died with it.
  }
}

/** Lag of the peers that there are: towards one that is `gone` it grows for ever and says nothing. */
function lagSeries(lab: Lab, { samples }: Evidence, zeroMs: number, gone: string): DrillSeries["syncLag"] {
  const series: Record<string, [number, number][]> = {};
  for (const { member, peer, atMs, lagMs } of samples) {
    const isGone = atMs > zeroMs && (member === gone || nameOf(lab, peer) === gone);
    if (isGone) continue;
    const key = `${member} to ${nameOf(lab, peer)}`;
    series[key] ??= [];
    series[key].push([atMs - zeroMs, lagMs]);
  }
  return series;
}

function nameOf(lab: Lab, id: number): string {
  return lab.state.topology.members.find((member) => member.id === id)?.name ?? "";
}
