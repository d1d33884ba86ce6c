import { expect, test } from "vitest";
import { aloneOf, longestLagMs, measureTraffic, worstLag } from "../../../../chaos/drill/measure.ts";
import type { ProbeReport } from "../../../../chaos/traffic/probe-end.ts";
import type { ProbeRecord } from "../../../../chaos/traffic/probe-log.ts";
import type { TrafficReport } from "../../../../chaos/traffic/traffic.ts";
import type { StatusReport } from "../../../../src/node/admin-model.ts";

const sentAtMs = Array.from({ length: 1000 }, (_, i) => i);

function record(flow: number, lost: (sequence: number) => boolean = () => false): ProbeRecord {
  const heard = sentAtMs.filter((n) => !lost(n));
  return {
    flow,
    sentAtMs,
    sentByMs: sentAtMs,
    heard,
    heardAtMs: heard.map((n) => n + 0.2),
    peerChanges: 0,
  };
}

function probeEnd(...flows: ProbeRecord[]): ProbeReport {
  return { flows, readMs: sentAtMs };
}

function report(changes: Partial<TrafficReport> = {}): TrafficReport {
  return {
    probes: { client: probeEnd(record(0), record(1)), server: probeEnd(record(0), record(1)) },
    load: {
      streams: { wanted: 200, established: 200, broken: 0, reasons: {}, exchanges: 1, stallMsMax: 1 },
      visits: {
        attempted: 10,
        succeeded: 10,
        failed: 0,
        reasons: {},
        slow: 0,
        latencyMs: { p50: 1, p99: 2, max: 3 },
        skipped: 0,
      },
      download: { bytes: 5, hash: "aa", isComplete: true, error: "", stallMsMax: 1 },
    },
    served: { bulkBytes: 5, bulkHash: "aa", resets: 0 },
    ping: { sent: 10, received: 9, duplicated: 0, rttMsMax: 1 },
    quietAtMs: 1000,
    isRealtime: false,
    ...changes,
  };
}

const flows = [
  { address: "10.10.0.2", owner: "fw1" },
  { address: "10.10.0.3", owner: "fw2" },
];
const window = { fromMs: 100, faultAtMs: 500 };

test("measureTraffic() of undisturbed traffic has no outage beyond the interval", () => {
  const figures = measureTraffic(report(), flows, window);
  expect(figures.outageMs.toServer).toBeCloseTo(1);
  expect(figures.packets).toMatchObject({ lost: 0, duplicated: 0 });
  expect(figures.download.isHashRight).toBe(true);
  expect(figures.ping).toEqual({ sent: 10, lost: 1, duplicated: 0 });
});

test("the outage of a direction is that of its worst flow, and flows tell whose it was", () => {
  const lost = (n: number) => n >= 510 && n < 530;
  const probes = { client: probeEnd(record(0), record(1)), server: probeEnd(record(0, lost), record(1)) };
  const figures = measureTraffic(report({ probes }), flows, window);
  expect(figures.outageMs.toServer).toBeCloseTo(21);
  expect(figures.outageMs.toClient).toBeCloseTo(1);
  expect(figures.flows.map(({ owner, outageMs }) => [owner, Math.round(outageMs.toServer)])).toEqual([
    ["fw1", 21],
    ["fw2", 1],
  ]);
  expect(figures.packets.lost).toBe(20);
});

test("what happens before the fault is noise, not outage", () => {
  const lost = (n: number) => n >= 200 && n < 230;
  const probes = { client: probeEnd(record(0, lost), record(1)), server: probeEnd(record(0), record(1)) };
  const figures = measureTraffic(report({ probes }), flows, window);
  expect(figures.noiseMs.toClient).toBeCloseTo(31);
  expect(figures.outageMs.toClient).toBeCloseTo(1);
});

test("a flow of which one end heard nothing is an outage to the end", () => {
  const probes = { client: probeEnd(record(0), record(1)), server: probeEnd(record(0)) };
  expect(measureTraffic(report({ probes }), flows, window).outageMs.toServer).toBeGreaterThan(400);
});

test.each([
  { bytes: 5, hash: "bb", isComplete: true, error: "", stallMsMax: 1 },
  { bytes: 5, hash: "aa", isComplete: false, error: "ECONNRESET", stallMsMax: 1 },
  { bytes: 0, hash: "aa", isComplete: true, error: "", stallMsMax: 1 },
])("a download like %j is not right", (download) => {
  const { load } = report();
  expect(measureTraffic(report({ load: { ...load, download } }), flows, window).download.isHashRight).toBe(
    false,
  );
});

test("longestLagMs() leaves out what nobody can acknowledge", () => {
  const samples = [
    { peer: 2, lagMs: 3 },
    { peer: 3, lagMs: 9000 },
    { peer: 1, lagMs: 60 },
  ];
  expect(longestLagMs(samples, [1, 2])).toBe(60);
  expect(longestLagMs(samples, [1, 2, 3])).toBe(9000);
  expect(longestLagMs([], [1, 2])).toBe(0);
});

test("worstLag() takes the worst node's figures and ignores nodes without samples", () => {
  const none = { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
  const lag = worstLag([
    none,
    { count: 2, p50Ms: 1, p99Ms: 2, maxMs: 3 },
    { count: 3, p50Ms: 0.5, p99Ms: 4, maxMs: 4 },
  ]);
  expect(lag).toEqual({ count: 5, p50Ms: 1, p99Ms: 4, maxMs: 4 });
  expect(worstLag([none])).toEqual(none);
});

test("of a pair without a witness it is told whether the node that was left is marked as alone", () => {
  const members = ["fw1", "fw2"].map(
    (name) => ({ name, role: "node" as const }) as StatusReport["members"][number],
  );
  const witness = { name: "witness", role: "witness" } as StatusReport["members"][number];
  const pair = { isAlone: true } as NonNullable<StatusReport["pair"]>;
  const alerts = ["unwitnessed: this node went on alone (quorum: pair)"];
  const after = { members, pair, forced: { epoch: 8, by: 2 }, isUnwitnessed: true, alerts };
  expect(aloneOf({ epoch: 6 }, after, "fw1")).toEqual({ isForced: true, isUnwitnessed: true });
  expect(aloneOf({ epoch: 8 }, after, "fw1")).toEqual({ isForced: false, isUnwitnessed: true });
  expect(aloneOf({ epoch: 6 }, { ...after, alerts: [] }, "fw1")).toEqual({
    isForced: true,
    isUnwitnessed: false,
  });
  // Nobody is gone, a witness decided with it, or it is no pair.
  expect(aloneOf({ epoch: 6 }, after, undefined)).toBeNull();
  expect(aloneOf({ epoch: 6 }, { ...after, members: [...members, witness] }, "fw1")).toBeNull();
  const { pair: _pair, ...majority } = after;
  expect(aloneOf({ epoch: 6 }, majority, "fw1")).toBeNull();
});
