import { expect, test } from "vitest";
import type { ClusterState, MemberState } from "../../../cluster/control/model.ts";
import { buildStatus, slotsUnsynced } from "../../../src/node/status.ts";
import { clusterState } from "./cluster-state.ts";

function pairWithWitness(second: MemberState): ClusterState {
  return clusterState([
    ["node", "active"],
    ["node", second],
    ["witness", "active"],
  ]);
}

test("slots without a proven backup count while two nodes are up", () => {
  const state = pairWithWitness("active");
  expect(slotsUnsynced({ ...state, table: { ...state.table, synced: [true, false, true, false] } })).toBe(2);
  expect(slotsUnsynced(pairWithWitness("joining"))).toBe(4);
  expect(slotsUnsynced(pairWithWitness("drained"))).toBe(4);
});

test("a survivor and a witness are no two nodes: nothing is missing that could be there", () => {
  expect(slotsUnsynced(pairWithWitness("down"))).toBe(0);
  expect(slotsUnsynced(pairWithWitness("removed"))).toBe(0);
});

test("a refused stream stands among the alerts with its reason, while the peer is alive", () => {
  const ack = { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
  const sync = {
    connected: false,
    lagMs: 0,
    lagRecords: 0,
    lagBytes: 0,
    ack,
    resyncs: 0,
    policy: "same" as const,
  };
  const alertsOf = (isAlive: boolean, refusal?: string): readonly string[] =>
    buildStatus({
      cluster: "edge",
      self: { id: 1, name: "fw1", role: "node" },
      version: "0.1.0",
      uptimeMs: 1,
      state: pairWithWitness("active"),
      raft: { term: 1, commit: 1, state: "leader", lead: 1 },
      voters: [1, 2, 3],
      peers: [
        {
          ...{ id: 2, name: "fw2", role: "node", state: "active", alive: isAlive },
          links: { cluster: isAlive },
          sync: refusal === undefined ? sync : { ...sync, refusal },
        },
        {
          ...{ id: 3, name: "witness", role: "witness", state: "active", alive: true },
          links: { cluster: true },
        },
      ],
      unsettledOwn: 0,
    }).alerts;
  expect(alertsOf(true)).toEqual([]);
  expect(alertsOf(true, "needs 2")).toEqual([expect.stringMatching(/^sync to fw2 is refused: needs 2; /)]);
  expect(alertsOf(false, "needs 2").join()).not.toContain("refused");
});

test("a pair without a witness says what it is, and what it may not do", () => {
  const factsOf = (pair: { isAlone: boolean; isHeld: boolean; isWaiting: boolean; why: string }) => ({
    cluster: "edge",
    self: { id: 1, name: "fw1", role: "node" } as const,
    version: "0.1.0",
    uptimeMs: 1,
    state: clusterState([
      ["node", "active"],
      ["node", "active"],
    ]),
    raft: { term: 1, commit: 1, state: "leader", lead: 1 },
    voters: [1, 2],
    peers: [],
    pair,
    unsettledOwn: 0,
  });
  const whole = { isAlone: false, isHeld: false, isWaiting: false, why: "heard" };
  const lineOf = (pair: typeof whole): string =>
    buildStatus(factsOf(pair)).alerts.find((line) => line.startsWith("unwitnessed")) ?? "";
  expect(lineOf(whole)).toMatch(/cannot tell a dead peer from cut links/);
  expect(lineOf({ ...whole, isAlone: true })).toMatch(/went on alone/);
  expect(lineOf({ ...whole, isWaiting: true })).toMatch(/waits for quorum.forgiveAfter/);
  expect(lineOf({ ...whole, isHeld: true, why: "answers" })).toMatch(/answers ARP/);
  expect(lineOf({ ...whole, isHeld: true, why: "deaf" })).toMatch(/the one that is cut off/);
});
