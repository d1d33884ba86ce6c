/**
 * Hand-over between whole members in virtual time: how long nobody decides.
 */
import { expect, test } from "vitest";
import { SimCluster } from "../../../chaos/sim/cluster/cluster.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";

/** The owner's last changes take some hops between threads and one over the wire. */
const GAP_MS_MAX = 5;
const DISK_MS = 100;

test("a successor with a slow disk learns late of a hand-over, and somebody decides all the time", async () => {
  const lost = new Map<number, number>();
  const gaps = new Map<number, number>();
  const onEvent = (name: string, { kind, slots = [], atMs }: JournalEvent): void => {
    if (name === "fw1" && kind === "slots-lost") for (const slot of slots) lost.set(slot, atMs);
    if (name !== "fw2" || kind !== "slots-gained") return;
    for (const slot of slots) if (lost.has(slot)) gaps.set(slot, atMs - lost.get(slot)!);
  };
  const sim = new SimCluster({ seed: 5, nodes: 2, hasWitness: true, profile: "lan", onEvent });
  const owned = async (name: string): Promise<number> => {
    const { members } = await sim.member("witness").ask("status", {});
    return members.find((member) => member.name === name)?.slotsOwned ?? 0;
  };
  await sim.clock.drive(
    (async () => {
      await sim.startAll();
      while ((await owned("fw1")) === 0 || (await owned("fw2")) === 0) await sim.clock.pause(50);
      await sim.clock.pause(1000);
      sim.member("fw2").disk.syncMs = DISK_MS;
      await sim.member("fw1").ask("drain", { node: "fw1", timeoutMs: 20_000 }, { timeoutMs: 20_000 });
    })(),
  );
  expect(sim.failures).toEqual([]);
  expect(gaps.size).toBeGreaterThan(5);
  expect(Math.max(...gaps.values())).toBeLessThan(GAP_MS_MAX);
});
