/**
 * A node's snapshot for tests of metrics: every counter cell holds its own index, so a mix-up shows.
 */
import { COUNTER_CELLS } from "../../../src/dataplane/counters.ts";
import {
  BucketHistogram,
  FAILOVER_BOUNDS_SECONDS,
  FSYNC_BOUNDS_SECONDS,
  type HistogramSnapshot,
  SYNC_ACK_BOUNDS_SECONDS,
} from "../../../src/metrics/bucket-histogram.ts";
import type { MetricsSnapshot } from "../../../src/metrics/snapshot.ts";

function observed(bounds: readonly number[], ...values: readonly number[]): HistogramSnapshot {
  const histogram = new BucketHistogram(bounds);
  for (const value of values) histogram.observe(value);
  return histogram.snapshot();
}

export const NODE_SNAPSHOT: MetricsSnapshot = {
  info: { cluster: "edge", node: "fw1", role: "node", version: "0.1.0", profile: "lan", driver: "xdp" },
  cluster: {
    epoch: 12,
    hasLeader: true,
    isSettled: true,
    isReady: true,
    isUnwitnessed: false,
    memberStates: ["active", "active", "down"],
    slotsUnsynced: 0,
  },
  raft: {
    term: 3,
    commitIndex: 240,
    isLeader: false,
    proposals: 17,
    proposalsRefused: 1,
    fsync: observed(FSYNC_BOUNDS_SECONDS, 0.0008, 0.003),
  },
  peers: [
    {
      name: "fw2",
      isAlive: true,
      links: { cluster: true, eth1: false },
      sync: {
        isConnected: true,
        lagMs: 1.5,
        lagRecords: 3,
        lagBytes: 480,
        resyncs: 2,
        ack: observed(SYNC_ACK_BOUNDS_SECONDS, 0.0004, 0.0004, 9),
      },
    },
    { name: "witness", isAlive: false, links: { cluster: false } },
  ],
  failover: {
    takeovers: 1,
    detect: observed(FAILOVER_BOUNDS_SECONDS, 0.048),
    decide: observed(FAILOVER_BOUNDS_SECONDS, 0.004),
    activate: observed(FAILOVER_BOUNDS_SECONDS, 0.02),
  },
  transport: { refusals: { certificate: 4 } },
  dataplane: {
    counters: Float64Array.from({ length: COUNTER_CELLS }, (_, i) => 1000 + i),
    flowsMax: 262_144,
    natPortsMax: 129_024,
    isRealtime: true,
    ports: [{ name: "eth1", zone: "inside", carrier: true }],
    slotsOwned: 32,
    slotsBackedUp: 32,
    lease: { validForMs: 143, isFenced: false },
    ruleHits: [
      { rule: "out", hits: 7 },
      { rule: "default", hits: 9 },
    ],
  },
};

export const WITNESS_SNAPSHOT: MetricsSnapshot = (() => {
  const { dataplane: _dataplane, ...rest } = NODE_SNAPSHOT;
  return { ...rest, info: { ...rest.info, node: "witness", role: "witness", driver: "" } };
})();
