/**
 * A node's snapshot for tests of metrics: every counter cell holds its own index, so a mix-up shows.
 */

import { LatencyHistogram } from "../../../src/base/histogram.ts";
import { COUNTER_CELLS } from "../../../src/dataplane/counters.ts";
import type { MetricsSnapshot } from "../../../src/metrics/snapshot.ts";

function observedMs(...valuesMs: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of valuesMs) histogram.record(value);
  return histogram;
}

export const NODE_SNAPSHOT: MetricsSnapshot = {
  info: { cluster: "edge", node: "fw1", role: "node", version: "0.1.0", profile: "lan", driver: "xdp" },
  cluster: {
    epoch: 12,
    hasLeader: true,
    isSettled: true,
    isReady: true,
    isUnwitnessed: false,
    pair: { isAlone: false, isHeld: false, forced: 1, lost: 0 },
    memberStates: ["active", "active", "down"],
    slotsUnsynced: 0,
  },
  raft: {
    term: 3,
    commitIndex: 240,
    isLeader: false,
    proposals: 17,
    proposalsRefused: 1,
    proposalsWaiting: 0,
    messagesRefused: 6,
    fsync: observedMs(0.8, 3),
  },
  store: {
    isConnected: true,
    isRefused: false,
    requests: 40,
    refused: 1,
    unanswered: 2,
    latency: observedMs(0.8, 3),
  },
  peers: [
    {
      name: "fw2",
      isAlive: true,
      links: { cluster: true, eth1: false },
      isPathNarrow: true,
      isLate: false,
      redirects: { out: 5, in: 4, refused: 1, zoneOut: 2 },
      sync: {
        isConnected: true,
        lagMs: 1.5,
        lagRecords: 3,
        lagBytes: 480,
        resyncs: 2,
        isPolicyDifferent: false,
        ack: observedMs(0.4, 0.4, 9000),
        sender: {
          records: 900,
          recordsResent: 12,
          batches: 400,
          heartbeats: 70,
          linksOpened: 2,
          linksSilent: 1,
          sessionEnds: { overflow: 1, restart: 0, forgot: 0 },
          refusals: { version: 3, identity: 0, order: 0, sequence: 0, bounds: 0 },
        },
        staged: 6,
        inbound: {
          records: 800,
          batches: 300,
          acks: 290,
          stale: 5,
          stalls: 6,
          overflows: 7,
          sessions: 1,
          refusals: { version: 4, identity: 0, order: 0, sequence: 0, bounds: 0 },
        },
      },
    },
    { name: "witness", isAlive: false, links: { cluster: false } },
  ],
  failover: {
    takeovers: 1,
    detect: observedMs(48),
    decide: observedMs(4),
    activate: observedMs(20),
  },
  transport: {
    refusals: { certificate: 4 },
    ...{ raftSent: 90, raftReceived: 91, raftDropped: 3, raftQueued: 1 },
    ...{ connects: 8, disconnects: 7, snapshotsSent: 41, snapshotsReceived: 42, snapshotsFailed: 43 },
  },
  heartbeats: { refused: { version: 2, forged: 1 } },
  replication: {
    hellosRefused: 2,
    router: {
      ...{ drained: 60, unbacked: 61, lost: 62, stray: 63, claims: 64 },
      ...{ exportsAsked: 65, exportsDone: 66, exportsExpired: 67, barriersOwed: 68, barriersBare: 69 },
      resyncs: { digest: 1, refused: 0, operator: 1 },
    },
    readiness: { proven: 71, divergences: 72, mismatches: 73 },
  },
  dataplane: {
    counters: Float64Array.from({ length: COUNTER_CELLS }, (_, i) => 1000 + i),
    flowsMax: 262_144,
    natPortsMax: 129_024,
    natAddresses: [{ address: "198.51.100.10", portsInUse: 31, refused: 32 }],
    isRealtime: true,
    rings: [{ name: "changes", waiting: 5, capacity: 65_536 }],
    ports: [
      {
        name: "eth1",
        zone: "inside",
        carrier: true,
        silent: false,
        mtuBytes: 1500,
        rxDropped: 21,
        txDropped: 22,
        rxUnknownVlan: 23,
      },
    ],
    slotsOwned: 32,
    slotsBackedUp: 32,
    lease: { validForMs: 143, isFenced: false },
    ruleHits: [
      { rule: "out", hits: 7 },
      { rule: "default", hits: 9 },
    ],
  },
  machine: {
    diskFreeBytes: 5_000_000_000,
    diskFreeBytesMin: 67_108_864,
    wallJumps: 1,
    suspensions: 2,
    suspendedMs: 61_500,
    workerStillMs: 250,
    certificateUntilMs: 1_800_000_000_000,
    caUntilMs: 2_000_000_000_000,
    diskStillMs: 1500,
  },
};

export const WITNESS_SNAPSHOT: MetricsSnapshot = (() => {
  const { dataplane: _dataplane, replication: _replication, ...rest } = NODE_SNAPSHOT;
  const { workerStillMs: _workerStillMs, ...machine } = rest.machine!;
  return { ...rest, machine, info: { ...rest.info, node: "witness", role: "witness", driver: "" } };
})();
