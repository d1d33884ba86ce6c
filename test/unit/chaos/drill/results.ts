/**
 * A drill's measurement as it looks when all went well, for tests to spoil.
 */
import type { DrillMeasurement } from "../../../../chaos/drill/model.ts";

export function goodMeasurement(changes: Partial<DrillMeasurement> = {}): DrillMeasurement {
  const both = (value: number) => ({ toServer: value, toClient: value });
  return {
    scenario: "kill",
    victim: "fw1",
    newPerSecond: 500,
    wasLeader: true,
    startedAt: "2026-01-01T00:00:00.000Z",
    faultAtMs: 1000,
    settledMs: 80,
    unsettled: "",
    outageMs: both(12),
    rawGapMs: both(13),
    noiseMs: both(2),
    flows: [
      { address: "10.10.0.2", owner: "fw1", outageMs: both(12) },
      { address: "10.10.0.3", owner: "fw2", outageMs: both(3) },
    ],
    detectMs: 9,
    steerMs: 10,
    decideMs: 20,
    activateMs: 25,
    packets: { sent: 10_000, lost: 20, duplicated: 0, reordered: 0 },
    translationsLost: 0,
    connections: { established: 200, broken: 0, reasons: {}, stallMsMax: 210 },
    visits: { attempted: 3000, failed: 0, slow: 4, reasons: {}, p50Ms: 2, p99Ms: 11 },
    download: { bytes: 30_000_000, isHashRight: true, error: "", stallMsMax: 210 },
    ping: { sent: 140, lost: 1, duplicated: 0 },
    unprotectedFlows: 0,
    syncLag: { count: 5000, p50Ms: 0.4, p99Ms: 1.5, maxMs: 9 },
    epochBefore: 4,
    epochAfter: 6,
    alone: null,
    flowShare: { fw1: 0.48, fw2: 0.52 },
    overlaps: [],
    events: [
      {
        atMs: 1009,
        wallMs: 0,
        kind: "peer-down",
        epoch: 4,
        node: 1,
        slots: [],
        text: "fw1 is dead: lifeline",
        member: "fw2",
        order: 0,
      },
    ],
    series: {
      probeGaps: {
        toServer: [
          [-500, 1.1],
          [0, 12],
          [500, 1],
        ],
        toClient: [
          [-500, 1.2],
          [0, 11],
          [500, 1],
        ],
      },
      syncLag: {
        "fw1 to fw2": [[-500, 0.4]],
        "fw2 to fw1": [
          [-500, 0.5],
          [10, 9],
        ],
      },
      slots: {
        fw1: [
          [-500, 32],
          [200, 0],
        ],
        fw2: [
          [-500, 32],
          [200, 64],
        ],
      },
    },
    isRealtime: true,
    ...changes,
  };
}
