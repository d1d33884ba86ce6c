/**
 * Measuring: from what traffic saw to the figures of a drill. Pure.
 */
import type { LatencySummary, StatusReport } from "../../src/node/admin-model.ts";
import { countStream, gapsOverTime, longestGap, type Stream } from "../traffic/gaps.ts";
import type { ProbeReport } from "../traffic/probe-end.ts";
import type { ProbeRecord } from "../traffic/probe-log.ts";
import type { TrafficReport } from "../traffic/traffic.ts";
import type { Alone, ByDirection, DrillMeasurement, DrillSeries } from "./model.ts";

/** Probes sent so shortly before the end may not have arrived yet. */
const TAIL_MS = 50;
const PLOT_BUCKET_MS = 10;

export interface ProbeFlowInfo {
  readonly address: string;
  readonly owner: string;
}

export interface Window {
  /** Traffic stood and was steady. */
  readonly fromMs: number;
  readonly faultAtMs: number;
}

type TrafficFigures = Pick<
  DrillMeasurement,
  | "outageMs"
  | "rawGapMs"
  | "noiseMs"
  | "flows"
  | "packets"
  | "translationsLost"
  | "connections"
  | "visits"
  | "download"
  | "ping"
  | "isRealtime"
> & { readonly probeGaps: DrillSeries["probeGaps"] };

interface FlowStreams {
  readonly toServer: Stream;
  readonly toClient: Stream;
  readonly peerChanges: number;
}

/** Figures of all traffic. */
export function measureTraffic(
  report: TrafficReport,
  flows: readonly ProbeFlowInfo[],
  { fromMs, faultAtMs }: Window,
): TrafficFigures {
  const toMs = report.quietAtMs - TAIL_MS;
  const streams = flows.map((_, flow) => streamsOf(report, flow));
  const perFlow = streams.map((each) => byDirection((way) => longestGap(each[way], faultAtMs, toMs)));
  const noise = streams.map((each) => byDirection((way) => longestGap(each[way], fromMs, faultAtMs)));
  const counts = streams.flatMap(({ toServer, toClient }) =>
    [toServer, toClient].map((stream) => countStream(stream, fromMs, toMs)),
  );
  const sum = (pick: (each: (typeof counts)[number]) => number): number =>
    counts.reduce((total, each) => total + pick(each), 0);
  const gapsOf = (way: keyof ByDirection): [number, number][] =>
    worstOverTime(streams.map((each) => gapsOverTime(each[way], fromMs, toMs, PLOT_BUCKET_MS))).map(
      ([ms, gap]) => [ms + fromMs - faultAtMs, gap],
    );
  return {
    outageMs: byDirection((way) => Math.max(...perFlow.map((each) => each[way].outageMs))),
    rawGapMs: byDirection((way) => Math.max(...perFlow.map((each) => each[way].rawMs))),
    noiseMs: byDirection((way) => Math.max(...noise.map((each) => each[way].outageMs))),
    flows: flows.map((info, i) => ({ ...info, outageMs: byDirection((way) => perFlow[i]![way].outageMs) })),
    packets: {
      sent: sum(({ sent }) => sent),
      lost: sum(({ lost }) => lost),
      duplicated: sum(({ duplicated }) => duplicated),
      reordered: sum(({ reordered }) => reordered),
    },
    translationsLost: streams.reduce((total, { peerChanges }) => total + peerChanges, 0),
    ...measureLoad(report),
    isRealtime: report.isRealtime,
    probeGaps: { toServer: gapsOf("toServer"), toClient: gapsOf("toClient") },
  };
}

/** How a node of a pair (`quorum: pair`, no witness) went on when the other one was `gone`; null: that is not what happened. */
export function aloneOf(
  before: Pick<StatusReport, "epoch">,
  after: Pick<StatusReport, "members" | "pair" | "forced" | "isUnwitnessed" | "alerts">,
  gone: string | undefined,
): Alone | null {
  const hasWitness = after.members.some(({ role }) => role === "witness");
  if (after.pair === undefined || hasWitness || gone === undefined) return null;
  return {
    isForced: (after.forced?.epoch ?? 0) > before.epoch,
    isUnwitnessed: after.isUnwitnessed && after.alerts.some((alert) => alert.startsWith("unwitnessed")),
  };
}

/** The worst of several nodes' lag figures; nodes without a sample do not count. */
export function worstLag(summaries: readonly LatencySummary[]): LatencySummary {
  const counted = summaries.filter(({ count }) => count > 0);
  const worst = (pick: (each: LatencySummary) => number): number => Math.max(0, ...counted.map(pick));
  return {
    count: counted.reduce((total, { count }) => total + count, 0),
    p50Ms: worst(({ p50Ms }) => p50Ms),
    p99Ms: worst(({ p99Ms }) => p99Ms),
    maxMs: worst(({ maxMs }) => maxMs),
  };
}

/** Of changes on their way to one of `peers` (ids): one that is down acknowledges nothing, and its lag grows for ever. */
export function longestLagMs(
  samples: readonly { readonly peer: number; readonly lagMs: number }[],
  peers: readonly number[],
): number {
  return samples.reduce(
    (longest, { peer, lagMs }) => (peers.includes(peer) ? Math.max(longest, lagMs) : longest),
    0,
  );
}

function measureLoad(
  report: TrafficReport,
): Pick<TrafficFigures, "connections" | "visits" | "download" | "ping"> {
  const { load, served, ping } = report;
  const { streams, visits, download } = load;
  return {
    connections: {
      established: streams.established,
      broken: streams.broken,
      reasons: streams.reasons,
      stallMsMax: streams.stallMsMax,
    },
    visits: {
      attempted: visits.attempted,
      failed: visits.failed,
      slow: visits.slow,
      reasons: visits.reasons,
      p50Ms: visits.latencyMs.p50,
      p99Ms: visits.latencyMs.p99,
    },
    download: {
      bytes: download.bytes,
      isHashRight:
        download.isComplete &&
        download.bytes > 0 &&
        download.bytes === served.bulkBytes &&
        download.hash === served.bulkHash,
      error: download.error,
      stallMsMax: download.stallMsMax,
    },
    ping: { sent: ping.sent, lost: ping.sent - ping.received, duplicated: ping.duplicated },
  };
}

function streamsOf(report: TrafficReport, flow: number): FlowStreams {
  const { client, server } = report.probes;
  return {
    toServer: stream(client, server, flow),
    toClient: stream(server, client, flow),
    peerChanges: recordOf(server, flow).peerChanges,
  };
}

/** A flow of which one end heard nothing has an empty record there. */
function recordOf({ flows }: ProbeReport, flow: number): ProbeRecord {
  return (
    flows.find((record) => record.flow === flow) ?? {
      flow,
      sentAtMs: [],
      sentByMs: [],
      heard: [],
      heardAtMs: [],
      peerChanges: 0,
    }
  );
}

function stream(sender: ProbeReport, receiver: ProbeReport, flow: number): Stream {
  const { sentAtMs, sentByMs } = recordOf(sender, flow);
  const { heard, heardAtMs } = recordOf(receiver, flow);
  return { sentAtMs, sentByMs, heard, heardAtMs, receiverReadMs: receiver.readMs };
}

function byDirection<T>(pick: (way: keyof ByDirection) => T): { readonly toServer: T; readonly toClient: T } {
  return { toServer: pick("toServer"), toClient: pick("toClient") };
}

function worstOverTime(lists: readonly (readonly [number, number][])[]): [number, number][] {
  const worst = new Map<number, number>();
  for (const [ms, gap] of lists.flat()) worst.set(ms, Math.max(worst.get(ms) ?? 0, gap));
  return [...worst].sort((a, b) => a[0] - b[0]);
}
