/**
 * Drill: one rehearsed failure on a standing cluster, from a whole cluster back to a whole cluster. Owns the order: settle,
 * prepare, load, fault, settle, measure, restore. Figures are computed in measure.ts, the verdict in limits.ts.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { LatencySummary, StatusReport } from "../../src/node/admin-model.ts";
import { clientAddresses, type LabMember } from "../lab/topology.ts";
import { type TrafficReport, VISITS_PER_SECOND } from "../traffic/traffic.ts";
import { judge } from "./limits.ts";
import { aloneOf, longestLagMs, measureTraffic, type ProbeFlowInfo, worstLag } from "./measure.ts";
import {
  type DrillMeasurement,
  type DrillResult,
  type DrillSeries,
  type MemberEvent,
  type Scenario,
  whyNot,
} from "./model.ts";
import { overlapsOf, reigns } from "./ownership.ts";
import { restore } from "./restore.ts";
import { SlotSampler } from "./sampler.ts";
import { type Injection, SCRIPTS } from "./scenarios.ts";
import { journalOn, nodesOf, type RunningTraffic, type Stage, statusOn } from "./stage.ts";
import { timingOf } from "./timing.ts";

const WARM_UP_MS = 2_000;
/** Times that load may shake the cluster before a drill gives up. */
const SHAKES_MAX = 3;
/** Cold code on a full machine: a change that waits for so long, within half a warm-up, is waited for; so many times at most. */
const COLD_LAG_MS = 50;
const COLD_WAITS_MAX = 5;
const AFTERMATH_MS = 2_000;
const SETTLE_TIMEOUT_MS = 30_000;
export interface DrillOptions {
  readonly scenario: Scenario;
  readonly victim: string;
  /** New connections that are tried each second; absent: VISITS_PER_SECOND. */
  readonly newPerSecond?: number;
  /** How long traffic is watched before the fault, and after the cluster has settled again. */
  readonly warmUpMs?: number;
  readonly aftermathMs?: number;
}

/** Runs one drill and answers its measured result. Throws SW_DRILL_FAILED when it could not be carried out. */
export async function runDrill(stage: Stage, options: DrillOptions): Promise<DrillResult> {
  const { scenario, newPerSecond = VISITS_PER_SECOND } = options;
  checkVictim(stage, scenario, options.victim);
  await restore(stage);
  const victim = (await SCRIPTS[scenario].choose?.(stage, options.victim)) ?? options.victim;
  const helper = nodesOf(stage).find((name) => name !== victim)!;
  const flows = await chooseFlows(stage, helper, victim);
  await SCRIPTS[scenario].prepare?.(stage, victim);
  stage.progress(
    `${scenario} ${victim}: 200 connections, ${newPerSecond} new ones a second, a download, probes each millisecond`,
  );
  const traffic = await stage.startTraffic({
    probeAddresses: flows.map(({ address }) => address),
    downloadAddress: flows[0]!.address,
    visitsPerSecond: newPerSecond,
  });
  try {
    const plan = { ...options, victim, helper, flows, newPerSecond };
    const measured = toMeasurement(stage, plan, await observe(stage, plan, traffic));
    await restore(stage);
    return judge(measured, stage.profile);
  } finally {
    traffic.kill();
  }
}

interface Plan extends DrillOptions {
  /** A node that lives through the drill and is asked. */
  readonly helper: string;
  readonly flows: readonly ProbeFlowInfo[];
  readonly newPerSecond: number;
}

/** What was seen, before it is made into figures. */
interface Observation {
  readonly startedAt: string;
  /** Before the fault: one of them may have another id after it. */
  readonly members: readonly LabMember[];
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

async function observe(stage: Stage, plan: Plan, traffic: RunningTraffic): Promise<Observation> {
  const { scenario, victim, helper, aftermathMs = AFTERMATH_MS } = plan;
  const startedAt = new Date(stage.wallMs()).toISOString();
  const { before, sampler } = await warmUp(stage, plan);
  const { members } = stage;
  try {
    const shares = await flowShares(stage);
    stage.progress(`${scenario} ${victim}: now`);
    const injection = await SCRIPTS[scenario].inject(stage, victim, helper);
    const unsettled = await stage.trySettled({
      afterEpoch: injection.isStill === true ? 0 : before.status.epoch,
      ...injection.settle,
      timeoutMs: SETTLE_TIMEOUT_MS,
    });
    const settledMs = unsettled === "" ? stage.nowMs() - injection.faultAtMs : null;
    await stage.pause(aftermathMs);
    const report = await traffic.end();
    const evidence = await collect(stage, before.atMs, injection.events);
    const after = await snapshot(stage, injection.witness ?? helper);
    const seen = { startedAt, members, before, after, shares, injection, settledMs, unsettled };
    return { ...seen, report, evidence, sampler };
  } finally {
    sampler.stop();
  }
}

/**
 * Lets the load run until the cluster has borne it unchanged for a while: a drill begins with a whole cluster or not at all. What
 * load does to members that were started a moment ago is no part of the fault that is rehearsed; it is told, and waited for. A machine
 * that stays full is drilled as it is.
 */
async function warmUp(stage: Stage, plan: Plan): Promise<{ before: Snapshot; sampler: SlotSampler }> {
  const { scenario, victim, helper, warmUpMs = WARM_UP_MS } = plan;
  const without = downBefore(stage, SCRIPTS[scenario].isVictimDownBefore === true ? victim : "");
  let shakes = 0;
  let colds = 0;
  for (;;) {
    await stage.pause(warmUpMs / 2);
    const shaken = await stage.trySettled({ without });
    if (shaken !== "")
      throw new SynwallError("SW_DRILL_FAILED", `the cluster does not bear the load: ${shaken}`);
    await resetLag(stage);
    const before = await snapshot(stage, helper);
    const sampler = new SlotSampler(stage);
    await stage.pause(warmUpMs / 2);
    const { epoch } = (await snapshot(stage, helper)).status;
    const lagMs = await lagSince(stage, before.atMs, without);
    const isShaken = epoch !== before.status.epoch;
    if (!isShaken && (lagMs <= COLD_LAG_MS || colds === COLD_WAITS_MAX)) return { before, sampler };
    sampler.stop();
    if (!isShaken) {
      colds++;
      const what = `changes wait ${Math.round(lagMs)} ms for their backup`;
      stage.progress(`${scenario} ${victim}: ${what}; waiting for members to warm up`);
    } else {
      shakes++;
      const what = `the load alone moved slots (epoch ${before.status.epoch} to ${epoch})`;
      if (shakes === SHAKES_MAX) {
        throw new SynwallError("SW_DRILL_FAILED", `${what}, ${shakes} times: 'synwall journal' tells why`);
      }
      stage.progress(`${scenario} ${victim}: ${what}; waiting for the cluster to settle again`);
    }
  }
}

/** Of all changes since `sinceMs`, between members that run. */
async function lagSince(stage: Stage, sinceMs: number, without: readonly string[]): Promise<number> {
  const running = nodesOf(stage).filter((name) => !without.includes(name));
  const lags = await Promise.all(running.map((name) => lagOf(stage, name, { sinceMs })));
  const ids = stage.members.filter(({ name }) => running.includes(name)).map(({ id }) => id);
  return longestLagMs(
    lags.flatMap((lag) => lag?.samples ?? []),
    ids,
  );
}

/** Members that are down before the fault: the victim of a return, a witness that died before. */
function downBefore(stage: Stage, victim: string): string[] {
  return stage.members.map(({ name }) => name).filter((name) => name === victim || !stage.isRunning(name));
}

function toMeasurement(
  stage: Stage,
  { scenario, victim, flows, newPerSecond }: Plan,
  seen: Observation,
): DrillMeasurement {
  const { before, after, injection, evidence } = seen;
  const { faultAtMs } = injection;
  // Ids are never given again.
  const members = [...seen.members, ...stage.members];
  const { probeGaps, ...figures } = measureTraffic(seen.report, flows, { fromMs: before.atMs, faultAtMs });
  const all = reigns({
    events: evidence.events,
    ownersAtStart: before.status.slots.owner.map((id) => nameOf(members, id)),
    startMs: before.atMs,
    endMs: evidence.untilMs,
    deaths: injection.deaths ?? [],
  });
  return {
    ...figures,
    scenario,
    victim,
    wasLeader: before.status.leader === victim,
    newPerSecond,
    startedAt: seen.startedAt,
    faultAtMs,
    settledMs: seen.settledMs,
    unsettled: seen.unsettled,
    ...timingOf({
      events: evidence.events,
      victim: seen.members.find(({ name }) => name === victim)!,
      faultAtMs,
      epochBefore: before.status.epoch,
    }),
    unprotectedFlows: seen.sampler.unprotectedFlows,
    syncLag: worstLag(evidence.lag),
    epochBefore: before.status.epoch,
    epochAfter: after.status.epoch,
    alone: aloneOf(before.status, after.status, injection.gone),
    flowShare: seen.shares,
    overlaps: overlapsOf(all, stage.stampToleranceMs),
    events: evidence.events,
    series: {
      probeGaps,
      syncLag: lagSeries(members, evidence, faultAtMs, injection.gone ?? ""),
      slots: seen.sampler.series(faultAtMs),
    },
  };
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

function checkVictim(stage: Stage, scenario: Scenario, victim: string): void {
  const nodes = nodesOf(stage);
  const why = whyNot(scenario, stage);
  if (why !== "") throw new SynwallError("SW_LAB_FAILED", why);
  if (!nodes.includes(victim)) {
    throw new SynwallError("SW_LAB_FAILED", `no node "${victim}": use one of ${nodes.join(", ")}`);
  }
}

/** A client address in a slot of the victim, and one in a slot of another node. */
async function chooseFlows(stage: Stage, helper: string, victim: string): Promise<ProbeFlowInfo[]> {
  const found: { theirs?: ProbeFlowInfo; others?: ProbeFlowInfo } = {};
  for (const address of clientAddresses()) {
    const { owner } = await stage.ask(helper, "locate", { address });
    if (owner === victim) found.theirs ??= { address, owner };
    else found.others ??= { address, owner };
    if (found.theirs !== undefined && found.others !== undefined) return [found.theirs, found.others];
  }
  throw new SynwallError(
    "SW_DRILL_FAILED",
    `all client addresses are in slots of one node: ${victim} owns none, or all`,
  );
}

async function snapshot(stage: Stage, member: string): Promise<Snapshot> {
  const atMs = stage.nowMs();
  const status = await statusOn(stage, member);
  if (status === undefined) throw new SynwallError("SW_DRILL_FAILED", `${member} does not answer`);
  return { atMs, status };
}

async function resetLag(stage: Stage): Promise<void> {
  await Promise.all(
    nodesOf(stage).map((name) => lagOf(stage, name, { sinceMs: stage.nowMs(), reset: true })),
  );
}

type Lag = Awaited<ReturnType<typeof lagOf>>;

async function lagOf(stage: Stage, name: string, params: { sinceMs: number; reset?: boolean }) {
  try {
    return await stage.ask(name, "lag", params);
  } catch {
    return undefined; // Dead: it keeps its figures for itself.
  }
}

async function flowShares(stage: Stage): Promise<Record<string, number>> {
  const nodes = nodesOf(stage);
  const owned = await Promise.all(
    nodes.map(async (name) => {
      try {
        return (await stage.ask(name, "flows.count", {})).own;
      } catch {
        return 0; // Dead: it carries none.
      }
    }),
  );
  const total = owned.reduce((sum, count) => sum + count, 0);
  return Object.fromEntries(nodes.map((name, i) => [name, total === 0 ? 0 : owned[i]! / total]));
}

/** Journals first and together: what one member wrote while another was asked would be missing here and present there. */
async function collect(stage: Stage, sinceMs: number, gone: readonly MemberEvent[] = []): Promise<Evidence> {
  const untilMs = stage.nowMs();
  const names = stage.members.map(({ name }) => name);
  const journals = await Promise.all(names.map((name) => journalOn(stage, name, sinceMs)));
  const lags: (Lag & object)[] = [];
  const samples: { member: string; atMs: number; peer: number; lagMs: number }[] = [];
  for (const name of nodesOf(stage)) {
    const lag = await lagOf(stage, name, { sinceMs });
    if (lag === undefined) continue;
    lags.push(lag);
    samples.push(...lag.samples.map((sample) => ({ ...sample, member: name })));
  }
  return {
    untilMs,
    events: inOneRow(gone, journals.flat()).toSorted((a, b) => a.atMs - b.atMs),
    lag: lags.map(({ ack }) => ack),
    samples,
  };
}

/** What a member notes in its next life comes after all that it noted before. */
function inOneRow(former: readonly MemberEvent[], present: readonly MemberEvent[]): MemberEvent[] {
  const notedBy = (name: string): number => former.filter(({ member }) => member === name).length;
  return [...former, ...present.map((event) => ({ ...event, order: event.order + notedBy(event.member) }))];
}

/** Lag of the peers that there are: towards one that is `gone` it grows for ever and says nothing. */
function lagSeries(
  members: readonly LabMember[],
  { samples }: Evidence,
  zeroMs: number,
  gone: string,
): DrillSeries["syncLag"] {
  const series: Record<string, [number, number][]> = {};
  for (const { member, peer, atMs, lagMs } of samples) {
    const isGone = atMs > zeroMs && (member === gone || nameOf(members, peer) === gone);
    if (isGone) continue;
    if (nameOf(members, peer) === "") continue; // It left the cluster meanwhile.
    const key = `${member} to ${nameOf(members, peer)}`;
    series[key] ??= [];
    series[key].push([atMs - zeroMs, lagMs]);
  }
  return series;
}

function nameOf(members: readonly LabMember[], id: number): string {
  return members.find((member) => member.id === id)?.name ?? "";
}
