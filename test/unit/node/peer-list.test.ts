/**
 * Members that come and go while the others run: over real Raft, in virtual time.
 */
import { expect, test } from "vitest";
import type { Command, CommandResult, Member } from "../../../cluster/control/model.ts";
import { clusterHandlers } from "../../../src/node/cluster-admin.ts";
import { PeerList } from "../../../src/node/peer-list.ts";
import type { Processes } from "../../../src/node/processes.ts";
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

test("a peer list that one member took another's place in: the former one may still hear of it, and only the new one belongs", async () => {
  const clock = new VirtualClock();
  const told: number[][] = [];
  const list = new PeerList({
    self: 1,
    configured: [member(1), member(2)],
    timers: clock,
    onChange: (_peers, present) => told.push(present.map(({ id }) => id)),
  });
  const successor = { ...member(2, "down"), id: 3 };
  list.observe({ members: [member(1), member(2, "removed"), successor] });
  expect(list.all().map(({ id }) => id)).toEqual([2, 3]);
  expect(list.present().map(({ id }) => id)).toEqual([3]);
  await clock.pass(2500);
  expect(told).toEqual([[3], [3]]);
});

test("a peer list of who joined is not confused by a log that begins before others, or it, were replaced", () => {
  const list = new PeerList({
    self: 5,
    configured: [
      { ...member(4), name: "fw1" },
      { ...member(5), name: "fw2" },
    ],
    timers: new VirtualClock(),
    onChange: () => {},
  });
  list.observe({ members: [member(1), member(2), member(3)] });
  expect(list.all().map(({ id, name }) => [id, name])).toEqual([
    [4, "fw1"],
    [3, "fw3"],
  ]);
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

test.each([
  ["the one that stays is asked, and leads", 1, 1],
  ["the one that stays is asked, and the other one leads", 1, 2],
  ["the one that goes is asked, and leads", 2, 2],
])(
  "of two voters that run one is removed, and the other one goes on alone: %s",
  async (_how, asked, leader) => {
    const cluster = new Controllers();
    await cluster.settle();
    await withoutWitness(cluster);
    cluster.member(cluster.leader).driver.transferLeader(leader);
    await cluster.clock.until(() => cluster.leader === leader, 5000);
    await removed(cluster, "fw2", asked);
    await cluster.clock.until(() => cluster.ended.get(2) === "SW_MEMBER_REMOVED", 5000);
    await cluster.clock.until(() => votersOf(cluster) === "1" && cluster.leader === 1, 5000);
    await decided(cluster, { type: "weight", node: 1, weight: 2 });
  },
);

test("the last node does not need its witness: it may be stopped and removed as well", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  await removed(cluster, "fw2", 1);
  await cluster.clock.until(() => votersOf(cluster) === "1", 10_000);
  await withoutWitness(cluster);
  await decided(cluster, { type: "weight", node: 1, weight: 2 });
});

test("a voter is not removed before the others have a majority: one that is silent is forgiven first", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  cluster.kill(3);
  await removed(cluster, "fw2", 1);
  await cluster.clock.until(() => votersOf(cluster) === "1", 5000);
  await decided(cluster, { type: "weight", node: 1, weight: 2 });
});

test("one of a pair without a witness that is disabled and empty has its vote again when it is enabled", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  await withoutWitness(cluster);
  await decided(cluster, { type: "enable", node: 2, isEnabled: false });
  await cluster.clock.until(() => votersOf(cluster) === "1", 10_000);
  await decided(cluster, { type: "enable", node: 2, isEnabled: true });
  await cluster.clock.until(() => votersOf(cluster) === "1,2", 10_000);
});

/** The operator stops the witness and removes it. */
async function withoutWitness(cluster: Controllers): Promise<void> {
  cluster.kill(3);
  await cluster.clock.until(() => cluster.member(1).driver.state().members[2]?.state === "down", 20_000);
  await removed(cluster, "witness", 1);
  const rest = [1, 2].filter((id) => !cluster.ended.has(id)).join();
  await cluster.clock.until(() => votersOf(cluster) === rest, 20_000);
}

/** As fw1 sees it, when leases and Raft go by the same. */
function votersOf(cluster: Controllers): string {
  const { driver } = cluster.member(1);
  const { voters, votersOutgoing } = driver.status().confState;
  const quorum = driver.state().quorum;
  const isOver = votersOutgoing.length === 0 && (quorum === undefined || quorum.outgoing.length === 0);
  const ids = [...voters].sort().join();
  return isOver && (quorum === undefined || quorum.voters.join() === ids) ? ids : "";
}

/** An operator asks `asked` to remove `name`. */
async function removed(cluster: Controllers, name: string, asked: number): Promise<void> {
  const handlers = clusterHandlers({
    controller: cluster.member(asked),
    founders: [1, 2, 3],
    processes: {} as Processes,
    registration: () => undefined,
  });
  let isDone = false;
  const answer = handlers["cluster.remove"]({ node: name, timeoutMs: 60_000 }) as Promise<unknown>;
  // Who goes may end before it could answer.
  void answer.then(
    () => {
      isDone = true;
    },
    (error: unknown) => expect(cluster.ended.has(asked), String(error)).toBe(true),
  );
  await cluster.clock.until(() => isDone || cluster.ended.has(asked), 90_000);
}

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
