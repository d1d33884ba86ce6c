/**
 * Whole pairs without a witness whose log is in a store (control.store: etcd), and four nodes that fall into halves, in virtual time:
 * real nodes, their dataplanes and heartbeats, over a store in memory that has etcd's semantics.
 */
import { expect, test } from "vitest";
import { SimCluster } from "../../../chaos/sim/cluster/cluster.ts";
import { SIM_STORE, type SimMember } from "../../../chaos/sim/cluster/member.ts";
import { beginLog } from "../../../cluster/control/kv-founding.ts";
import { KvKeys } from "../../../cluster/control/kv-keys.ts";
import { MemoryKv } from "../../../cluster/storage/memory-kv.ts";
import { SLOT_OWNED } from "../../../src/base/slot-state.ts";
import { isSettled } from "../../../src/node/status.ts";

const ETCD = "control:\n  store: etcd\n  etcd: { endpoints: [http://127.0.0.1:2379] }\n";
const LIMIT_MS = 20_000;

interface World {
  readonly sim: SimCluster;
  readonly store: MemoryKv;
  /** Moments in which two decided one slot. */
  readonly owners: { twice: number };
}

/** Tells a story of a settled pair. */
function pair(seed: number, story: (world: World) => Promise<void>): Promise<void> {
  return cluster(2, seed, story);
}

/** Tells a story of a settled cluster. */
async function cluster(nodes: number, seed: number, story: (world: World) => Promise<void>): Promise<void> {
  const store = new MemoryKv();
  const owners = { twice: 0 };
  const sim: SimCluster = new SimCluster({
    seed,
    nodes,
    hasWitness: false,
    profile: "vm",
    flowsMax: 1024,
    store,
    configure: (text) => text.replace(/^control:\n/m, ETCD),
  });
  sim.onWorked = () => {
    if (isOwnedTwice(sim)) owners.twice++;
  };
  const clock = { schedule: (ms: number, work: () => void) => void sim.clock.after(ms, work) };
  const kv = store.client(clock, { delayMs: 0, timeoutMs: 100, isCut: false, isMute: false });
  const { name, slots } = sim.members[0]!.config.cluster;
  const keys = new KvKeys(SIM_STORE.prefix, name);
  await sim.clock.drive(
    (async () => {
      await beginLog({ kv, keys }, { id: SIM_STORE.logId, slots });
      await sim.startAll();
      await until(sim, () => isCalm(sim, namesOf(sim)));
      await story({ sim, store, owners });
    })(),
  );
  expect(owners.twice).toBe(0);
  expect(sim.failures).toEqual([]);
}

const namesOf = ({ members }: SimCluster): readonly string[] => members.map(({ name }) => name);

function isOwnedTwice({ members }: SimCluster): boolean {
  return members.some((a, i) => members.slice(i + 1).some((b) => isOwnedByBoth(a, b)));
}

function isOwnedByBoth(a: SimMember, b: SimMember): boolean {
  const [one, two] = [a.running?.dataplane, b.running?.dataplane];
  if (one === undefined || two === undefined) return false;
  if (a.life!.nowMs() >= one.view.leaseUntilMs[0]! || b.life!.nowMs() >= two.view.leaseUntilMs[0]!)
    return false;
  for (let slot = 0; slot < one.view.slots; slot++) {
    if (one.view.state[slot] === SLOT_OWNED && two.view.state[slot] === SLOT_OWNED) return true;
  }
  return false;
}

/** By slot: the node acts exclusively now. */
function decides({ running, life }: SimMember): boolean[] {
  const { dataplane } = running ?? {};
  if (dataplane === undefined || life === undefined) return [];
  const hasLease = life.nowMs() < dataplane.view.leaseUntilMs[0]!;
  return [...dataplane.view.state.subarray(0, dataplane.view.slots)].map(
    (is) => hasLease && is === SLOT_OWNED,
  );
}

function isCalm(sim: SimCluster, names: readonly string[]): boolean {
  return names.every((name) => {
    const { running } = sim.member(name);
    return (
      running !== undefined &&
      isSettled(running.controller.driver.state()) &&
      decides(sim.member(name)).includes(true)
    );
  });
}

async function until(sim: SimCluster, isDone: () => boolean): Promise<number> {
  const beganMs = sim.clock.nowMs();
  while (!isDone()) {
    if (sim.clock.nowMs() - beganMs > LIMIT_MS) throw new Error(`not within ${LIMIT_MS} ms`);
    await sim.clock.pause(2);
  }
  return sim.clock.nowMs() - beganMs;
}

const ownsAll = (sim: SimCluster, name: string): boolean => {
  const own = decides(sim.member(name));
  return own.length > 0 && own.every((is) => is);
};

test("a pair shares slots, its leases rest on the two of them, and the store is asked for no promise", async () => {
  await pair(1, async ({ sim, store }) => {
    const promises = (): (number | undefined)[] =>
      [1, 2].map((id) => store.backup().get(`/synwall/sim/lease/${id}`)?.modRevision);
    // While they start, neither has a vote yet.
    await sim.clock.pause(6_000);
    const before = promises();
    await sim.clock.pause(2_000);
    expect(promises()).toEqual(before);
    expect(sim.members.map((member) => decides(member).filter(Boolean).length)).toEqual([32, 32]);
  });
});

test("one of a pair is killed: the other takes over as quickly as with a witness, and keeps its lease by the store", async () => {
  await pair(2, async ({ sim }) => {
    sim.kill("fw1");
    const tookMs = await until(sim, () => ownsAll(sim, "fw2"));
    expect(tookMs).toBeLessThan(300);
    await sim.clock.pause(5_000);
    expect(ownsAll(sim, "fw2")).toBe(true);
    sim.start("fw1");
    await until(sim, () => isCalm(sim, ["fw1", "fw2"]));
  });
});

test("after forgiveAfter the survivor needs no voter but itself, and the pair is one again when the other is back", async () => {
  await pair(3, async ({ sim }) => {
    sim.kill("fw2");
    await until(
      sim,
      () => sim.member("fw1").running!.controller.driver.state().quorum?.voters.join() === "1",
    );
    await until(
      sim,
      () => sim.member("fw1").running!.controller.driver.state().quorum?.outgoing.length === 0,
    );
    for (const member of sim.members) member.storeWay.isCut = true;
    await sim.clock.pause(2_000);
    expect(ownsAll(sim, "fw1")).toBe(true);
    for (const member of sim.members) member.storeWay.isCut = false;
    sim.start("fw2");
    await until(
      sim,
      () => sim.member("fw1").running!.controller.driver.state().quorum?.voters.join() === "1,2,256",
    );
    await until(sim, () => isCalm(sim, ["fw1", "fw2"]));
  });
});

test("while the store is away both go on with what they own; what waits is decided when it is back", async () => {
  await pair(4, async ({ sim }) => {
    for (const member of sim.members) member.storeWay.isCut = true;
    await sim.clock.pause(8_000);
    expect(sim.members.map((member) => decides(member).filter(Boolean).length)).toEqual([32, 32]);
    // Without the store and without the other nobody may decide for the other's slots; its own lease runs out too.
    sim.kill("fw1");
    await sim.clock.pause(2_000);
    expect(ownsAll(sim, "fw2")).toBe(false);
    for (const member of sim.members) member.storeWay.isCut = false;
    await until(sim, () => ownsAll(sim, "fw2"));
  });
});

test("two that hear each other no more: one of them goes on, never both for one slot", async () => {
  for (let seed = 10; seed < 13; seed++) {
    await pair(seed, async ({ sim }) => {
      sim.cut("fw1", "all", seed % 3 === 0 ? "both" : seed % 3 === 1 ? "in" : "out");
      await until(sim, () => ownsAll(sim, "fw1") || ownsAll(sim, "fw2"));
      const [stays, goes] = ownsAll(sim, "fw1") ? (["fw1", "fw2"] as const) : (["fw2", "fw1"] as const);
      for (let i = 0; i < 300; i++) {
        await sim.clock.pause(50);
        expect([ownsAll(sim, stays), decides(sim.member(goes)).includes(true)]).toEqual([true, false]);
      }
      sim.healAll();
      await until(sim, () => isCalm(sim, ["fw1", "fw2"]));
    });
  }
});

test("of two that hear each other no more the one that waits goes on when the other one dies", async () => {
  await pair(14, async ({ sim }) => {
    sim.cut("fw1", "all");
    await until(sim, () => ownsAll(sim, "fw1") || ownsAll(sim, "fw2"));
    const [dies, waits] = ownsAll(sim, "fw1") ? (["fw1", "fw2"] as const) : (["fw2", "fw1"] as const);
    await sim.clock.pause(3_000);
    sim.kill(dies);
    await until(sim, () => ownsAll(sim, waits));
  });
});

test("a pair without power comes back, also when one of the two does not", async () => {
  await pair(15, async ({ sim }) => {
    for (const { name } of sim.members) sim.kill(name);
    await sim.clock.pause(1_000);
    sim.start("fw1");
    await until(sim, () => ownsAll(sim, "fw1"));
    sim.start("fw2");
    await until(sim, () => isCalm(sim, ["fw1", "fw2"]));
  });
});

test("a node that reaches neither the other nor the store is fenced, and the other takes over", async () => {
  await pair(20, async ({ sim }) => {
    sim.cut("fw1", "all");
    sim.member("fw1").storeWay.isCut = true;
    await until(sim, () => ownsAll(sim, "fw2"));
    expect(decides(sim.member("fw1")).includes(true)).toBe(false);
  });
});

test("a node that stood still while the other took over decides nothing when it wakes up", async () => {
  for (let seed = 30; seed < 32; seed++) {
    await pair(seed, async ({ sim }) => {
      sim.pause("fw2", 1_500);
      await until(sim, () => ownsAll(sim, "fw1"));
      await until(sim, () => isCalm(sim, ["fw1", "fw2"]));
    });
  }
});

test("what the store promised to a node that then reaches nobody is waited for before its slots are decided by the other", async () => {
  await pair(40, async ({ sim, store }) => {
    const promised = (): number | undefined => store.backup().get("/synwall/sim/lease/1")?.modRevision;
    await sim.clock.pause(1_000);
    const before = promised();
    sim.cut("fw1", "all");
    await until(sim, () => promised() !== before);
    await sim.clock.pause(2);
    sim.member("fw1").storeWay.isCut = true;
    // Its lease runs on, and it cannot learn that it was declared down.
    expect(decides(sim.member("fw1")).includes(true)).toBe(true);
    await until(sim, () => ownsAll(sim, "fw2"));
  });
});

/** Four nodes of which fw1 and fw2 do not hear fw3 and fw4 any more, nor are heard by them, on any link. */
function halve(sim: SimCluster): void {
  const [a, b] = [sim.members.slice(0, 2), sim.members.slice(2)];
  for (const one of a) {
    for (const other of b) {
      sim.cutPair(one, other, "all");
      sim.cutPair(other, one, "all");
    }
  }
}

/** How many slots the two decide together. */
function decided({ members }: SimCluster, half: readonly [number, number]): number {
  return half.flatMap((at) => decides(members[at]!)).filter(Boolean).length;
}

const SLOTS = 64;
const FIRST = [0, 1] as const;
const SECOND = [2, 3] as const;

test("four nodes fall into halves, and one half reaches the store: it decides everything, the other nothing", async () => {
  for (const [seed, half, rest] of [
    [50, FIRST, SECOND],
    [51, SECOND, FIRST],
  ] as const) {
    await cluster(4, seed, async ({ sim }) => {
      halve(sim);
      for (const at of rest) sim.members[at]!.storeWay.isCut = true;
      await until(sim, () => decided(sim, half) === SLOTS);
      await sim.clock.pause(2_000);
      expect([decided(sim, half), decided(sim, rest)]).toEqual([SLOTS, 0]);
      for (const at of rest) sim.members[at]!.storeWay.isCut = false;
      sim.healAll();
      await until(sim, () => isCalm(sim, namesOf(sim)));
    });
  }
});

test("four nodes fall into halves that both reach the store: one of them takes everything over, and no slot is decided twice", async () => {
  for (let seed = 60; seed < 62; seed++) {
    await cluster(4, seed, async ({ sim }) => {
      halve(sim);
      await until(sim, () => decided(sim, FIRST) === SLOTS || decided(sim, SECOND) === SLOTS);
      const [stay, go] =
        decided(sim, FIRST) === SLOTS ? ([FIRST, SECOND] as const) : ([SECOND, FIRST] as const);
      for (let i = 0; i < 300; i++) {
        await sim.clock.pause(50);
        expect([decided(sim, stay), decided(sim, go)]).toEqual([SLOTS, 0]);
      }
      sim.healAll();
      await until(sim, () => isCalm(sim, namesOf(sim)));
    });
  }
});
