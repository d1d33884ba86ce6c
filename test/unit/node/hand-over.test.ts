/**
 * Hand-over between whole members in virtual time: how long nobody decides, how soon it is done, and that nobody is fenced for it.
 */
import { expect, test } from "vitest";
import { SimCluster } from "../../../chaos/sim/cluster/cluster.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";

interface Seen {
  /** From the moment in which the owner stopped until a successor decided, by slot. */
  readonly gapsMs: Map<number, number>;
  /** From the commit, as the first member knew of it, until a successor decided, by slot. */
  readonly tookMs: Map<number, number>;
  fences: number;
}

/** fw1 is drained by an operator, when `trouble` has come over the cluster. */
async function drain(nodes: number, trouble: (sim: SimCluster) => void | Promise<void>): Promise<Seen> {
  const seen: Seen = { gapsMs: new Map(), tookMs: new Map(), fences: 0 };
  const lost = new Map<number, number>();
  const committed = new Map<number, number>();
  let isOn = false;
  const onEvent = (name: string, { kind, slots = [], atMs, epoch }: JournalEvent): void => {
    if (!isOn) return;
    if (kind === "fenced") seen.fences++;
    if (kind === "epoch-committed" && !committed.has(epoch)) committed.set(epoch, atMs);
    if (name === "fw1" && kind === "slots-lost") for (const slot of slots) lost.set(slot, atMs);
    if (name === "fw1" || kind !== "slots-gained") return;
    for (const slot of slots) {
      seen.gapsMs.set(slot, atMs - lost.get(slot)!);
      seen.tookMs.set(slot, atMs - committed.get(epoch)!);
    }
  };
  const sim = new SimCluster({ seed: 5, nodes, hasWitness: nodes === 2, profile: "vm", onEvent });
  const owned = (): number[] =>
    sim.members
      .filter(({ isNode }) => isNode)
      .map(
        ({ id }) =>
          sim
            .member("fw1")
            .running!.controller.driver.state()
            .table.owner.filter((o) => o === id).length,
      );
  await sim.clock.drive(
    (async () => {
      await sim.startAll();
      while (owned().some((slots) => slots === 0)) await sim.clock.pause(50);
      await sim.clock.pause(2000);
      await trouble(sim);
      isOn = true;
      await sim.member("fw1").ask("drain", { node: "fw1", timeoutMs: 20_000 }, { timeoutMs: 20_000 });
    })(),
  );
  expect(sim.failures).toEqual([]);
  expect(seen.gapsMs.size).toBeGreaterThan(5);
  return seen;
}

const most = (all: ReadonlyMap<number, number>): number => Math.max(...all.values());

test("where all is well it takes some hops between threads and over the wire", async () => {
  const { gapsMs, tookMs, fences } = await drain(2, () => undefined);
  expect(most(gapsMs)).toBeLessThan(2);
  expect(most(tookMs)).toBeLessThan(5);
  expect(fences).toBe(0);
});

test("a successor with a slow disk learns late of it, and somebody decides all the time", async () => {
  const { gapsMs, tookMs, fences } = await drain(2, async (sim) => {
    sim.campaign(sim.member("fw1"));
    await sim.clock.pause(500);
    sim.member("fw2").disk.syncMs = 150;
  });
  expect(most(tookMs)).toBeGreaterThan(100);
  expect(most(gapsMs)).toBeLessThan(2);
  expect(fences).toBe(0);
});

test("of two successors the slow one does not keep the other one waiting, and the owner is not fenced", async () => {
  const { tookMs, fences } = await drain(3, (sim) => {
    sim.member("fw3").disk.syncMs = 500;
  });
  expect(Math.min(...tookMs.values())).toBeLessThan(10);
  expect(fences).toBe(0);
});

test("an owner that does not vote, as the witness is away for long, is told as soon", async () => {
  const { gapsMs, tookMs, fences } = await drain(2, async (sim) => {
    sim.kill("witness");
    const voters = (): string => {
      const { driver } = sim.member("fw1").running!.controller;
      return `${driver.state().quorum?.voters.join()} ${driver.state().quorum?.outgoing.length}`;
    };
    while (!/^\d 0$/.test(voters())) await sim.clock.pause(50);
    await sim.clock.pause(1000);
    if (voters() === "1 0") throw new Error("fw1 votes: choose another seed");
  });
  expect(most(gapsMs)).toBeLessThan(2);
  expect(most(tookMs)).toBeLessThan(5);
  expect(fences).toBe(0);
});
