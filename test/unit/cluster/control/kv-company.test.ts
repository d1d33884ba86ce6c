import { expect, test } from "vitest";
import { KvCompany } from "../../../../cluster/control/kv-company.ts";
import type { ClusterState, MemberState } from "../../../../cluster/control/model.ts";
import { nodeMember } from "../members.ts";

/** Member 1 of those in these states, where `lead` leads and another leader was seen `silentMs` ago. */
function company(states: readonly MemberState[], lead: number, silentMs = 0): KvCompany {
  const members = states.map((state, i) => nodeMember(i + 1, { state }));
  return new KvCompany({
    self: 1,
    state: () => ({ members }) as unknown as ClusterState,
    lead: () => lead,
    otherSeenMs: () => 10_000,
    nowMs: () => 10_000 + silentMs,
  });
}

const ME = new Set([1]);

test.each([
  ["who is alone in a new cluster", company([], 0), ME, true],
  ["who hears all that are up", company(["down", "active", "down"], 1), new Set([1, 2]), true],
  ["who hears the leader of several", company(["down", "active", "active"], 3), new Set([1, 3]), true],
  ["not who hears others than the leader", company(["down", "active", "active"], 3), new Set([1, 2]), false],
  ["not who leads, and hears nobody who is up", company(["down", "active"], 1), ME, false],
  ["who has long seen no other leader", company(["down", "active"], 1, 6000), ME, true],
])("comes up: %s", (_who, it, alive, may) => {
  expect(it.mayComeUp(alive)).toBe(may);
});

test.each([
  ["who leads", company(["active", "active"], 1), ME, false, true],
  ["who hears the leader", company(["active", "active", "active"], 3), new Set([1, 3]), false, true],
  ["whoever saw the leader itself die", company(["active", "active"], 2), ME, true, true],
  ["not who lost a leader that was not the one", company(["active", "active", "active"], 3), ME, true, false],
  ["not who hears no leader", company(["active", "active", "active"], 3), new Set([1]), false, false],
  ["not who is down", company(["down", "active"], 1), ME, false, false],
  ["who has long seen no other leader", company(["active", "active"], 0, 6000), ME, false, true],
])("declares member 2 down: %s", (_who, it, alive, isLeader, may) => {
  expect(it.mayDeclareDown(2, isLeader, alive)).toBe(may);
});

test("a member that was declared down leads nobody, unless nobody is up", () => {
  expect(company(["down", "active"], 1).mayLead).toBe(false);
  expect(company(["active", "active"], 1).mayLead).toBe(true);
  expect(company(["down", "down"], 1).mayLead).toBe(true);
});
