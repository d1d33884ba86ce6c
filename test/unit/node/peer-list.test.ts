/**
 * Members that come and go while the others run: over real Raft, in virtual time.
 */
import { expect, test } from "vitest";
import type { Command, CommandResult, Member } from "../../../cluster/control/model.ts";
import { PeerList } from "../../../src/node/peer-list.ts";
import { VirtualClock } from "../cluster/control/virtual-clock.ts";
import { Controllers } from "./controllers.ts";

const KEY = "ab".repeat(32);

function member(id: number, state: Member["state"] = "active"): Member {
  return { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1, state, incarnation: 1 };
}

test("a peer list tells of members that come at once, and of those that were removed after they could hear it", async () => {
  const clock = new VirtualClock();
  const told: number[][] = [];
  const list = new PeerList({
    self: 1,
    configured: [member(1), member(2)],
    timers: clock,
    onChange: (peers) => told.push(peers.map(({ id }) => id)),
  });
  list.observe({ members: [member(1), member(2)] });
  expect(told).toEqual([]);
  list.observe({ members: [member(1), member(2), member(3)] });
  expect(told).toEqual([[2, 3]]);
  list.observe({ members: [member(1), member(2, "removed"), member(3)] });
  expect(list.find(2)).toBeDefined();
  await clock.pass(2500);
  expect(told).toEqual([[2, 3], [3]]);
});

test("a member that joins gets the log, comes up, votes, and is removed again while the others go on", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  const token = { id: "t1", key: KEY, role: "node", weight: 1, expiresWallMs: 1e15 } as const;
  await decided(cluster, { type: "token", token });
  await decided(cluster, {
    type: "join",
    token: "t1",
    name: "fw4",
    role: "node",
    address: "192.0.2.40",
    aboveId: 3,
    atWallMs: 0,
  });
  const joined = cluster.join(4, "fw4");
  const voters = (): string => cluster.member(1).driver.status().voters.join();
  await cluster.clock.until(
    () => voters() === "1,2,3,4" && joined.driver.status().voters.length === 4,
    30_000,
  );
  await cluster.clock.until(() => {
    const { members, table } = joined.driver.state();
    return members[3]?.state === "active" && table.owner.filter((owner) => owner === 4).length >= 20;
  }, 30_000);
  expect(cluster.member(1).name(4)).toBe("fw4");

  await decided(cluster, { type: "enable", node: 4, isEnabled: false });
  await cluster.clock.until(() => cluster.member(1).driver.state().members[3]?.state === "drained", 30_000);
  await decided(cluster, { type: "setState", node: 4, state: "removed" });
  await cluster.clock.until(() => cluster.ended.has(4), 5000);
  expect(cluster.ended.get(4)).toBe("SW_MEMBER_REMOVED");
  await cluster.clock.until(() => voters() === "1,2,3", 5000);
});

async function decided(cluster: Controllers, command: Command): Promise<void> {
  let result: CommandResult | undefined;
  void cluster
    .member(1)
    .propose(command)
    .then((value) => {
      result = value;
    });
  await cluster.clock.until(() => result !== undefined, 5000);
  expect(result).toEqual({ ok: true, changed: true });
}
