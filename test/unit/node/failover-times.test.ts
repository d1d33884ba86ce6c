import { expect, test } from "vitest";
import type { ClusterState, MemberState, SlotTable } from "../../../cluster/control/model.ts";
import { FailoverTimes } from "../../../src/node/failover-times.ts";
import { clusterState } from "./cluster-state.ts";

/** Seen by fw1, in a cluster of three nodes of which fw2 is in this state. */
function state(second: MemberState, epoch: number, table: Partial<SlotTable>): ClusterState {
  return clusterState(
    [
      ["node", "active"],
      ["node", second],
      ["node", "active"],
    ],
    { epoch, ...table },
  );
}

const before = state("active", 1, { owner: [1, 2, 2, 3], movedEpoch: [1, 1, 1, 1] });
/** fw1 gains slot 1, fw3 slot 2. */
const takeover = state("down", 2, { owner: [1, 1, 3, 3], movedEpoch: [1, 2, 2, 1], cause: "takeover" });
/** fw3 gains them all. */
const elsewhere = state("down", 2, { owner: [1, 3, 3, 3], movedEpoch: [1, 2, 2, 1], cause: "takeover" });

function times(): FailoverTimes {
  const made = new FailoverTimes(1);
  made.applied(before, true, 0);
  return made;
}

test("a takeover is measured in three steps", () => {
  const failover = times();
  failover.judged(2, 1000, 1040);
  failover.applied(takeover, true, 1045);
  failover.gained([1], 1060);
  expect(failover.takeovers).toBe(1);
  expect([failover.detect.sumMs, failover.decide.sumMs, failover.activate.sumMs]).toEqual([40, 5, 15]);
});

test("a takeover that is committed before our own judgement counts, without a time to decide", () => {
  const failover = times();
  failover.applied(takeover, true, 1045);
  failover.judged(2, 1000, 1050);
  failover.gained([1], 1060);
  expect(failover.takeovers).toBe(1);
  expect([failover.detect.count, failover.decide.count, failover.activate.count]).toEqual([1, 0, 1]);
});

test("a judgement after the commit says nothing about the next death", () => {
  const failover = times();
  failover.applied(takeover, true, 1045);
  failover.judged(2, 1000, 1050);
  failover.applied(state("active", 3, { ...takeover.table, epoch: 3, cause: "handover" }), true, 5000);
  failover.applied(state("down", 4, { ...takeover.table, epoch: 4 }), true, 9_000_000);
  expect(failover.decide.count).toBe(0);
});

test("a judgement that nobody followed is forgotten when the peer is heard", () => {
  const failover = times();
  failover.judged(2, 1000, 1040);
  failover.heard(2);
  failover.applied(takeover, true, 9_000_000);
  expect(failover.decide.count).toBe(0);
});

test("a takeover in which we gained nothing leaves nothing behind for a planned move", () => {
  const failover = times();
  failover.judged(2, 1000, 1040);
  failover.applied(elsewhere, true, 1045);
  expect(failover.decide.count).toBe(1);
  const handover = { owner: [1, 1, 3, 3], movedEpoch: [1, 3, 2, 1], cause: "handover" } as const;
  failover.applied(state("down", 3, handover), true, 9_000_000);
  failover.gained([1], 9_000_010);
  expect([failover.takeovers, failover.activate.count]).toEqual([0, 0]);
});

test("a planned move into the middle of a takeover is told apart by its slots", () => {
  const failover = times();
  failover.applied(takeover, true, 1045);
  const moved = { owner: [1, 1, 3, 1], movedEpoch: [1, 2, 2, 3], cause: "handover" } as const;
  failover.applied(state("down", 3, moved), true, 1050);
  failover.gained([3], 1055);
  expect(failover.takeovers).toBe(0);
  failover.gained([1], 1065);
  expect([failover.takeovers, failover.activate.sumMs]).toEqual([1, 20]);
});

test("slots that were taken from us before we decided them are not gained later", () => {
  const failover = times();
  failover.applied(takeover, true, 1045);
  failover.applied(state("down", 3, { owner: [1, 3, 3, 3], movedEpoch: [1, 3, 2, 1] }), true, 2000);
  failover.applied(state("down", 4, { owner: [1, 1, 3, 3], movedEpoch: [1, 4, 2, 1] }), true, 9000);
  failover.gained([1], 9001);
  expect(failover.takeovers).toBe(0);
});

test("a takeover counts once, however many steps its slots take", () => {
  const failover = times();
  const both = state("down", 2, { owner: [1, 1, 1, 3], movedEpoch: [1, 2, 2, 1], cause: "takeover" });
  failover.applied(both, true, 1045);
  failover.gained([1], 1060);
  failover.gained([2], 1070);
  expect([failover.takeovers, failover.activate.sumMs]).toEqual([1, 15]);
});

test("what the log tells of an earlier life is no takeover", () => {
  const failover = times();
  failover.applied(takeover, false, 10);
  failover.gained([1], 20);
  expect(failover.takeovers).toBe(0);
});
