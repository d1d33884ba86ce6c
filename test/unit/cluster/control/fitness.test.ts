import { expect, test } from "vitest";
import type { Command } from "../../../../cluster/control/model.ts";
import type { LogStore } from "../../../../cluster/storage/log-store.ts";
import { MemoryLogStore } from "../../../../cluster/storage/memory.ts";
import { confState, DriverCluster, type Node, SLOTS } from "./cluster-of-drivers.ts";

let logs = 0;

/** A store with a name of its own, as a disk that was begun anew would give it. */
function named(_id: number, voters: readonly number[]): LogStore {
  return new MemoryLogStore(confState(voters), { voters, slots: SLOTS, log: `log-${++logs}` });
}

function up(cluster: DriverCluster, id: number, slots = SLOTS): Command {
  const member = { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 } as const;
  return { type: "up", member, slots, log: cluster.stores.get(id)!.founding!.log };
}

/** Three members that came up once, and 1 leads. */
async function lived(): Promise<DriverCluster> {
  const cluster = new DriverCluster({ ids: [1, 2, 3], store: named });
  await cluster.elect();
  for (const id of [1, 2, 3]) {
    void cluster.node(id).driver.propose(up(cluster, id));
    await cluster.clock.until(() =>
      cluster.states().every((state) => state.members.some((m) => m.id === id)),
    );
  }
  cluster.leader()!.driver.transferLeader(1);
  await cluster.clock.until(() => cluster.leader()?.id === 1);
  await cluster.clock.pass(50);
  return cluster;
}

function fatalCode(node: Node): unknown {
  return (node.fatal[0] as { code?: string } | undefined)?.code;
}

test("a member whose disk was emptied ends with one line when the leader counts on what it confirmed", async () => {
  const cluster = await lived();
  cluster.wipe(3);
  const node = cluster.start(3);
  await cluster.clock.until(() => node.fatal.length > 0);
  expect(fatalCode(node)).toBe("SW_STORAGE_LOST");
  expect((node.fatal[0] as Error).message).toMatch(
    /^control\.dataDir: this member had confirmed entry \d+, its log ends at 0: .* docs\/errors\.md says$/,
  );
});

test("a member whose disk was emptied ends under a leader that never heard of it, too", async () => {
  const cluster = await lived();
  cluster.wipe(3);
  cluster.kill(1);
  cluster.start(1);
  await cluster.clock.until(() => cluster.leader() !== undefined);
  const node = cluster.start(3);
  await cluster.clock.until(() => node.fatal.length > 0);
  expect(fatalCode(node)).toBe("SW_STORAGE_LOST");
  expect(cluster.leader()?.driver.state().members).toHaveLength(3);
});

test("an emptied log gives no vote to a member that may lack what was committed with it", async () => {
  const cluster = await lived();
  // Entry 5 is committed by 1 and 3; 2 lacks it.
  cluster.network.cut(1, 2);
  cluster.network.cut(2, 1);
  await cluster.clock.pass(1);
  const answer = cluster.node(1).driver.propose({ type: "setState", node: 3, state: "active" });
  await cluster.clock.pass(5);
  expect(await answer).toMatchObject({ ok: true });
  cluster.wipe(3);
  cluster.kill(1);
  cluster.network.healAll();
  const node = cluster.start(3);
  await cluster.clock.pass(3_000);
  expect(cluster.leader()).toBeUndefined();
  expect(
    cluster
      .node(2)
      .driver.state()
      .members.find((m) => m.id === 3)?.state,
  ).toBe("joining");
  cluster.start(1);
  await cluster.clock.until(() => node.fatal.length > 0);
  expect(fatalCode(node)).toBe("SW_STORAGE_LOST");
  await cluster.clock.until(() => cluster.leader()?.id === 1);
  await cluster.clock.until(
    () =>
      cluster
        .node(2)
        .driver.state()
        .members.find((m) => m.id === 3)?.state === "active",
  );
});

test("the cluster refuses a member that comes with another log", async () => {
  const cluster = await lived();
  const { driver } = cluster.node(1);
  const member = { id: 3, name: "fw3", role: "node", address: "192.0.2.3", weight: 1 } as const;
  const answer = driver.propose({ type: "up", member, slots: SLOTS, log: "another" });
  await cluster.clock.pass(20);
  expect(await answer).toEqual({
    ok: false,
    reason: "fw3 comes with another log: it has forgotten what it voted",
  });
});

test("the first member that comes up decides the slots, and one that is set otherwise ends", async () => {
  const slots = (id: number): number => (id === 3 ? 2 * SLOTS : SLOTS);
  const store = (id: number, voters: readonly number[]): LogStore =>
    new MemoryLogStore(confState(voters), { voters, slots: slots(id), log: `slots-${id}` });
  const cluster = new DriverCluster({ ids: [1, 2, 3], store, slots });
  await cluster.elect();
  const odd = cluster.node(3);
  void cluster.node(1).driver.propose(up(cluster, 1, SLOTS));
  await cluster.clock.until(() => odd.fatal.length > 0);
  expect(fatalCode(odd)).toBe("SW_CLUSTER_DIFFERS");
  expect((odd.fatal[0] as Error).message).toMatch(/the cluster has 16 slots, the configuration says 32/);
  await cluster.clock.pass(500);
  for (const id of [1, 2]) {
    expect(cluster.node(id).fatal).toEqual([]);
    expect(cluster.node(id).driver.state().table.owner).toHaveLength(SLOTS);
  }
});

test("a member that was set to other slots takes part once it is set right, with the log that it has", async () => {
  let oddSlots = 2 * SLOTS;
  const slots = (id: number): number => (id === 3 ? oddSlots : SLOTS);
  const store = (id: number, voters: readonly number[]): LogStore =>
    new MemoryLogStore(confState(voters), { voters, slots: slots(id), log: `right-${id}` });
  const cluster = new DriverCluster({ ids: [1, 2, 3], store, slots });
  await cluster.elect();
  const odd = cluster.node(3);
  void cluster.node(1).driver.propose(up(cluster, 1, SLOTS));
  await cluster.clock.until(() => odd.fatal.length > 0);
  cluster.network.kill(3);
  cluster.nodes.delete(3);
  oddSlots = SLOTS;
  const node = cluster.start(3);
  await cluster.clock.until(() => node.driver.state().members.length === 1);
  expect(node.fatal).toEqual([]);
  expect(new Set(cluster.states().map((state) => JSON.stringify(state))).size).toBe(1);
});

test("a member whose configured slots were changed ends as soon as its own log tells what they are", async () => {
  let own = SLOTS;
  const store = (id: number, voters: readonly number[]): LogStore =>
    new MemoryLogStore(confState(voters), { voters, slots: SLOTS, log: `own-${id}` });
  const cluster = new DriverCluster({ ids: [1], store, slots: () => own });
  await cluster.elect();
  void cluster.node(1).driver.propose(up(cluster, 1));
  await cluster.clock.until(() => cluster.node(1).driver.state().members.length === 1);
  cluster.kill(1);
  own = 2 * SLOTS;
  // Nobody else is there to tell: what was committed is applied at the start.
  expect(fatalCode(cluster.start(1))).toBe("SW_CLUSTER_DIFFERS");
});

test("a snapshot of a cluster with other slots stops the start", async () => {
  let own = SLOTS;
  const cluster = new DriverCluster({
    ids: [1],
    store: named,
    slots: () => own,
    tuning: { snapshotEntries: 1 },
  });
  await cluster.elect();
  void cluster.node(1).driver.propose(up(cluster, 1));
  await cluster.clock.until(() => cluster.node(1).driver.state().members.length === 1);
  cluster.kill(1);
  own = 2 * SLOTS;
  expect(() => cluster.start(1)).toThrow(expect.objectContaining({ code: "SW_CLUSTER_DIFFERS" }));
});
