import { expect, test } from "vitest";
import type { ClusterState, MemberState } from "../../../cluster/control/model.ts";
import { slotsUnsynced } from "../../../src/node/status.ts";
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
