import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope } from "../../../../cluster/control/codec.ts";
import { downCommand } from "../../../../cluster/control/commands.ts";
import type { Command } from "../../../../cluster/control/model.ts";
import { plan } from "../../../../cluster/control/planner.ts";
import type { SaveDone, Saved } from "../../../../cluster/storage/log-store.ts";
import { MemoryLogStore } from "../../../../cluster/storage/memory.ts";
import { SynwallError } from "../../../../src/base/errors.ts";
import { saveNow } from "../storage/workload.ts";
import { confState, DriverCluster, snapshotState } from "./cluster-of-drivers.ts";

function up(id: number, role: "node" | "witness" = "node"): Command {
  const weight = role === "node" ? 1 : 0;
  return { type: "up", member: { id, name: `fw${id}`, role, address: `192.0.2.${id}`, weight } };
}

describe("proposing", () => {
  test("a proposal of the leader is applied on every node, with the same result", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const answer = leader.driver.propose(up(1));
    await cluster.clock.until(() => cluster.states().every((state) => state.members.length === 1));
    expect(await answer).toEqual({ ok: true, changed: true });
    expect(new Set(cluster.states().map((state) => JSON.stringify(state))).size).toBe(1);
  });

  test("a proposal of a follower answers on that follower after two round trips", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], delayMsMin: 1, delayMsMax: 1 });
    const leader = await cluster.elect();
    const follower = cluster.node(leader.id === 1 ? 2 : 1);
    let isDone = false;
    void follower.driver.propose(up(2)).then(() => {
      isDone = true;
    });
    // To the leader, to a quorum and back, and the news of the commit: four ways of 1 ms, no tick among them.
    expect(await cluster.clock.until(() => isDone)).toBe(4);
  });

  test("proposals made before there is a leader are answered once there is one", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const answer = cluster.node(2).driver.propose(up(2));
    await cluster.clock.until(() => cluster.states().every((state) => state.members.length === 1));
    expect(await answer).toEqual({ ok: true, changed: true });
  });

  test("propose() fails with SW_CONTROL_TIMEOUT when there is no majority", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    await cluster.elect();
    cluster.kill(2);
    cluster.kill(3);
    const answer = cluster
      .node(1)
      .driver.propose(up(1), 500)
      .catch((error: unknown) => error);
    await cluster.clock.pass(600);
    expect(await answer).toBeInstanceOf(SynwallError);
    expect(((await answer) as SynwallError).code).toBe("SW_CONTROL_TIMEOUT");
  });

  test("a command that is proposed again after its message got lost is applied once", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const follower = cluster.node(leader.id === 1 ? 2 : 1);
    cluster.network.setLoss(follower.id, leader.id, 1000);
    const answer = follower.driver.propose(up(2));
    await cluster.clock.pass(50);
    cluster.network.setLoss(follower.id, leader.id, 0);
    await cluster.clock.pass(300);
    expect(await answer).toEqual({ ok: true, changed: true });
    expect(leader.driver.state().members.map((member) => member.incarnation)).toEqual([1]);
  });

  test("the same envelope in two entries is applied once and answers the same", async () => {
    const cluster = new DriverCluster({ ids: [1] });
    const { driver } = await cluster.elect();
    const data = encodeEnvelope({ id: "x-1", by: 1, cmd: up(7) });
    const first = await driver.proposeEncoded("x-1", data, "up", 1000);
    const second = await driver.proposeEncoded("x-1", data, "up", 1000);
    expect([first, second]).toEqual([
      { ok: true, changed: true },
      { ok: true, changed: true },
    ]);
    expect(driver.state().members[0]?.incarnation).toBe(1);
  });

  test("an entry that is no command is refused on every node and the log goes on", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const garbage = new TextEncoder().encode('{"v":1,"id":"g","by":1,"cmd":{"type":"format-disk"}}');
    expect(decodeEnvelope(garbage).ok).toBe(false);
    const lost = leader.driver.proposeEncoded("g", garbage, "garbage", 200).catch(() => "timeout");
    const answer = leader.driver.propose(up(1));
    await cluster.clock.pass(300);
    expect(await lost).toBe("timeout");
    expect(await answer).toEqual({ ok: true, changed: true });
    for (const node of cluster.nodes.values()) {
      expect(node.fatal).toEqual([]);
      expect(node.commits.map((commit) => commit.result.ok)).toEqual([false, true]);
    }
  });
});

describe("succession", () => {
  test("after leaderDied() the others have a leader and a commit within milliseconds, not an election timeout", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, delayMsMin: 0.5, delayMsMax: 0.5 });
    for (const id of [1, 2]) {
      const answer = cluster.node(id).driver.propose(up(id));
      await cluster.clock.until(() => cluster.states().some((s) => s.members.some((m) => m.id === id)));
      await answer;
    }
    const leader = await leadBy(cluster, 1);
    cluster.kill(leader.id);
    const { driver } = cluster.node(2);
    driver.leaderDied(1);
    cluster.node(3).driver.leaderDied(1);
    let isDone = false;
    void driver.propose(downCommand(driver.state(), 1)!).then(() => {
      isDone = true;
    });
    // Pre-vote, vote and append: three round trips of 1 ms.
    expect(await cluster.clock.until(() => isDone)).toBeLessThanOrEqual(4);
    expect(driver.status().state).toBe("leader");
    expect(driver.state().members[0]?.state).toBe("down");
  });

  test("a survivor that learns of the death later does not keep the others waiting", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3 });
    await leadBy(cluster, 1);
    cluster.kill(1);
    cluster.node(2).driver.leaderDied(1);
    await cluster.clock.pass(25);
    expect(cluster.leader()).toBeUndefined();
    cluster.node(3).driver.leaderDied(1);
    expect(await cluster.clock.until(() => cluster.leader() !== undefined)).toBeLessThanOrEqual(50);
  });

  test("a voter that misses the leader as well gives its vote at once, before it has judged", async () => {
    const isQuiet = (self: number, node: number): boolean => self === 3 && node === 1;
    const cluster = new DriverCluster({
      ids: [1, 2, 3],
      witness: 3,
      delayMsMin: 0.5,
      delayMsMax: 0.5,
      isQuiet,
    });
    await leadBy(cluster, 1);
    cluster.kill(1);
    const { driver } = cluster.node(2);
    driver.leaderDied(1);
    let isDone = false;
    void driver.propose(up(2)).then(() => {
      isDone = true;
    });
    // Pre-vote, vote and append, a round trip of 1 ms each: no tick, and nothing asked twice.
    expect(await cluster.clock.until(() => isDone)).toBeLessThanOrEqual(4);
  });

  test("what a dead leader had sent before does not call the election off, and is not lost", async () => {
    const isQuiet = (_self: number, node: number): boolean => node === 1;
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, delayMsMin: 5, delayMsMax: 5, isQuiet });
    const leader = await leadBy(cluster, 1);
    await cluster.clock.pass(50);
    leader.driver.propose(up(1)).catch(() => {});
    await cluster.clock.pass(1);
    cluster.kill(1);
    cluster.node(2).driver.leaderDied(1);
    // Its last append arrives 4 ms later. Then: pre-vote, vote and append, 10 ms each.
    const { driver } = cluster.node(2);
    expect(await cluster.clock.until(() => driver.state().members.length === 1)).toBeLessThanOrEqual(36);
    expect(driver.status().state).toBe("leader");
  });

  test("a witness that alone holds what was committed brings it to the survivor, without waiting for its patience", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, delayMsMin: 0.5, delayMsMax: 0.5 });
    const leader = await leadBy(cluster, 1);
    await cluster.clock.pass(50);
    cluster.network.cut(1, 2);
    const answer = leader.driver.propose(up(1));
    await cluster.clock.pass(5);
    expect(await answer).toEqual({ ok: true, changed: true });
    cluster.kill(1);
    const { driver } = cluster.node(2);
    driver.leaderDied(1);
    cluster.node(3).driver.leaderDied(1);
    // Asked again after two ticks, the witness is elected in two round trips, brings the entry in one, hands over in two.
    await cluster.clock.until(() => driver.state().members.length === 1, 28);
    await cluster.clock.until(() => driver.status().state === "leader", 8);
  });

  test("a request for a vote that came too early is answered when the death is known, not when it is repeated", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, delayMsMin: 0.5, delayMsMax: 0.5 });
    await leadBy(cluster, 1);
    cluster.kill(1);
    cluster.node(2).driver.leaderDied(1);
    await cluster.clock.pass(25);
    expect(cluster.leader()).toBeUndefined();
    cluster.node(3).driver.leaderDied(1);
    // The candidate asked at 0 and 20 ms and asks again at 60: the pre-vote and the vote take 2 ms.
    expect(await cluster.clock.until(() => cluster.leader() !== undefined)).toBeLessThanOrEqual(3);
  });

  test("a voter that begins to miss the leader gives its vote at once, not with the next tick or request", async () => {
    let isQuiet = false;
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, isQuiet: () => isQuiet });
    await leadBy(cluster, 1);
    cluster.kill(1);
    cluster.node(2).driver.leaderDied(1);
    await cluster.clock.pass(25);
    isQuiet = true;
    // It looks every millisecond; the rest of the pre-vote and the vote take 1.2 ms at most.
    expect(await cluster.clock.until(() => cluster.leader() !== undefined)).toBeLessThanOrEqual(3);
  });

  test("a voter looks whether it misses the leader while somebody waits for that, and at no other time", async () => {
    let looks = 0;
    const isQuiet = (): boolean => ++looks < 0;
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, isQuiet });
    await leadBy(cluster, 1);
    looks = 0;
    await cluster.clock.pass(500);
    expect(looks).toBe(0);
    // 2 asks for votes although 1 is well.
    cluster.node(2).driver.leaderDied(1);
    await cluster.clock.until(() => looks > 10);
    await cluster.clock.pass(500);
    looks = 0;
    await cluster.clock.pass(500);
    expect(looks).toBe(0);
  });

  test("a node that lost touch with the leader does not depose it while the voters hear it", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, isQuiet: () => false });
    const leader = await leadBy(cluster, 1);
    const { term } = leader.driver.status();
    cluster.network.cut(1, 2);
    cluster.network.cut(2, 1);
    cluster.node(2).driver.leaderDied(1);
    await cluster.clock.pass(1_000);
    expect(leader.driver.status()).toMatchObject({ term, state: "leader" });
  });

  test("a witness campaigns only after its patience, never at once", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3 });
    await leadBy(cluster, 1);
    cluster.kill(1);
    cluster.node(3).driver.leaderDied(1);
    await cluster.clock.pass(20);
    expect(cluster.node(3).driver.status().state).toBe("follower");
  });

  test("several survivors agree on a leader by rank", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3, 4, 5] });
    await leadBy(cluster, 5);
    cluster.kill(5);
    for (const id of [1, 2, 3, 4]) cluster.node(id).driver.leaderDied(5);
    expect(await cluster.clock.until(() => cluster.leader() !== undefined)).toBeLessThanOrEqual(5);
    expect(cluster.leader()?.id).toBe(1);
  });

  test("survivors of slow links that learn of it one after the other do not split the votes again and again", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const cluster = new DriverCluster({
        ids: [1, 2, 3, 4, 5],
        witness: 5,
        delayMsMin: 20,
        delayMsMax: 60,
        seed,
      });
      await leadBy(cluster, 2);
      cluster.kill(2);
      // The last that would campaign is told first. Two round trips of up to 120 ms each, and once more what a vote may take.
      [4, 3, 1, 5].forEach((id, i) => {
        cluster.clock.schedule(i * 20, () => cluster.node(id).driver.leaderDied(2));
      });
      const tookMs = await cluster.clock.until(() => cluster.leader() !== undefined);
      expect(tookMs, `seed ${seed}`).toBeLessThanOrEqual(40 + 3 * 120);
      expect(cluster.leader()?.id).toBe(1);
    }
  });

  test("nobody waits for a lower rank that cannot be elected", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3, 4, 5], witness: 5, delayMsMin: 5, delayMsMax: 15 });
    const leader = await leadBy(cluster, 2);
    await cluster.clock.pass(100);
    cluster.network.cut(2, 1);
    const answer = leader.driver.propose(up(2));
    await cluster.clock.pass(60);
    expect(await answer).toEqual({ ok: true, changed: true });
    cluster.kill(2);
    for (const id of [1, 3, 4, 5]) cluster.node(id).driver.leaderDied(2);
    expect(await cluster.clock.until(() => cluster.leader() !== undefined)).toBeLessThanOrEqual(150);
    expect(cluster.leader()?.id).not.toBe(1);
  });

  test("leaderDied() of somebody who does not lead changes nothing", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const [other, third] = [1, 2, 3].filter((id) => id !== leader.id) as [number, number];
    const before = leader.driver.status();
    cluster.node(other).driver.leaderDied(third);
    await cluster.clock.pass(100);
    expect(leader.driver.status()).toMatchObject({ term: before.term, state: "leader" });
  });
});

describe("stalls", () => {
  test("a follower whose loop stalled for long does not disturb the leader", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const { term } = leader.driver.status();
    const follower = cluster.node(leader.id === 1 ? 2 : 1);
    // Heartbeats pile up behind a stalled loop and are delivered after it, before the ticks are made up for.
    cluster.network.cut(leader.id, follower.id);
    await cluster.clock.pass(100);
    cluster.network.heal(leader.id, follower.id);
    await cluster.clock.pass(500);
    expect(leader.driver.status()).toMatchObject({ term, state: "leader" });
  });
});

describe("planning", () => {
  test("the leader carries out the plan until there is nothing left, and nobody else plans", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], witness: 3, plan: (state) => plan(state) });
    void cluster.node(1).driver.propose(up(1));
    await cluster.clock.until(() => cluster.node(1).driver.state().members[0]?.state === "active");
    void cluster.node(2).driver.propose(up(2));
    await cluster.clock.until(() =>
      cluster
        .node(1)
        .driver.state()
        .table.backup.every((b) => b !== 0),
    );
    const { table, members } = cluster.node(1).driver.state();
    expect(new Set(table.owner).size).toBe(1);
    expect(members.map((member) => member.state).sort()).toEqual(["active", "joining"]);
    const planned = cluster.node(1).commits.filter((c) => c.command?.type === "table");
    expect(new Set(planned.map((c) => c.by))).toEqual(new Set([cluster.leader()?.id]));
    expect(planned.every((c) => c.result.ok)).toBe(true);
  });

  test("a plan that is refused is not proposed for ever", async () => {
    const cluster = new DriverCluster({
      ids: [1],
      plan: () => ({ type: "setState", node: 9, state: "active" }),
    });
    await cluster.elect();
    await cluster.clock.pass(200);
    expect(cluster.node(1).commits).toHaveLength(1);
  });
});

describe("snapshots and restarts", () => {
  const tuning = { snapshotEntries: 20, keepEntries: 5 };

  test("a follower that missed more than the log holds gets the leader's snapshot", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3], tuning });
    await cluster.elect();
    cluster.kill(3);
    const { driver } = cluster.leader() ?? (await cluster.elect());
    for (let i = 0; i < 60; i++) {
      void driver.propose(up(10));
      await cluster.clock.pass(5);
    }
    expect(cluster.stores.get(driver.status().lead)?.firstIndex()).toBeGreaterThan(20);
    cluster.start(3);
    await cluster.clock.until(() => cluster.node(3).driver.state().members[0]?.incarnation === 60);
    expect(snapshotState(cluster.stores.get(3)!).members[0]?.incarnation).toBeGreaterThan(20);
    expect(cluster.node(3).fatal).toEqual([]);
  });

  test("a node that starts again goes on from its snapshot and applies the rest of its log", async () => {
    const cluster = new DriverCluster({ ids: [1], tuning });
    await cluster.elect();
    for (let i = 0; i < 50; i++) await cluster.node(1).driver.propose(up(10));
    cluster.kill(1);
    const node = cluster.start(1);
    await cluster.clock.until(() => node.driver.state().members[0]?.incarnation === 50);
    expect(node.commits.length).toBeLessThan(25);
  });

  test("a snapshot that cannot be read stops the start with SW_STORAGE_CORRUPT", () => {
    const store = new MemoryLogStore(confState([1]));
    saveNow(store, {
      entries: [],
      mustSync: true,
      snapshot: { index: 5, term: 1, confState: confState([1]), data: new Uint8Array([1, 2, 3]) },
      hardState: { term: 1, vote: 1, commit: 5 },
    });
    const cluster = new DriverCluster({ ids: [] });
    cluster.stores.set(1, store);
    expect(() => cluster.start(1)).toThrow(/Cannot restore the cluster's state/);
  });
});

/** A disk that is busy as long as a test says so. */
class BusyStore extends MemoryLogStore {
  isBusy = false;
  #waiting: SaveDone[] = [];

  override save(ready: Saved, done: SaveDone): void {
    super.save(ready, (error) => {
      if (this.isBusy && ready.mustSync) this.#waiting.push(done);
      else done(error);
    });
  }

  end(): void {
    this.isBusy = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) done();
  }
}

describe("a disk that takes its time", () => {
  function busyCluster() {
    const stores = new Map<number, BusyStore>();
    const cluster = new DriverCluster({
      ids: [1, 2, 3],
      store: (id, voters) => {
        const store = new BusyStore(confState(voters));
        stores.set(id, store);
        return store;
      },
    });
    return { cluster, stores };
  }

  test("of one follower holds up nobody else, and the follower has all of it afterwards", async () => {
    const { cluster, stores } = busyCluster();
    const leader = await cluster.elect();
    const follower = cluster.node(leader.id === 1 ? 2 : 1);
    const { term } = leader.driver.status();
    const store = stores.get(follower.id)!;
    store.isBusy = true;
    for (let i = 1; i <= 3; i++) await answered(cluster, leader.driver.propose(up(i)));
    const { matches, commit } = leader.driver.status();
    expect(matches.get(follower.id)).toBeLessThan(commit);
    expect(follower.driver.status().applied).toBeLessThan(commit);
    store.end();
    await cluster.clock.until(() => follower.driver.status().applied === commit);
    expect(leader.driver.status()).toMatchObject({ term, state: "leader" });
  });

  test("of a majority: nothing counts as committed before it is on their disks", async () => {
    const { cluster, stores } = busyCluster();
    const leader = await cluster.elect();
    await cluster.clock.pass(50);
    const { commit } = leader.driver.status();
    for (const [id, store] of stores) store.isBusy = id !== leader.id;
    const answer = leader.driver.propose(up(1));
    await cluster.clock.pass(5);
    expect(leader.driver.status().commit).toBe(commit);
    stores.get(leader.id === 1 ? 2 : 1)!.end();
    await expect(answered(cluster, answer)).resolves.toMatchObject({ ok: true });
  });

  test("of the leader alone: the others commit, and the leader applies when it has the entry itself", async () => {
    const { cluster, stores } = busyCluster();
    const leader = await cluster.elect();
    await cluster.clock.pass(50);
    const { applied } = leader.driver.status();
    stores.get(leader.id)!.isBusy = true;
    const answer = leader.driver.propose(up(1));
    await cluster.clock.pass(5);
    expect(leader.driver.status().applied).toBe(applied);
    stores.get(leader.id)!.end();
    await expect(answered(cluster, answer)).resolves.toMatchObject({ ok: true });
  });
});

describe("failures", () => {
  test("a disk that fails ends the driver once, and nothing that waited for the disk is sent", async () => {
    const cluster = new DriverCluster({ ids: [1, 2, 3] });
    const leader = await cluster.elect();
    const follower = cluster.node(leader.id === 1 ? 2 : 1);
    const store = cluster.stores.get(follower.id)!;
    store.save = () => {
      throw new SynwallError("SW_STORAGE_FAILED", "no space left");
    };
    void leader.driver.propose(up(1)).catch(() => {});
    await cluster.clock.pass(500);
    expect(follower.fatal).toHaveLength(1);
    expect((follower.fatal[0] as SynwallError).code).toBe("SW_STORAGE_FAILED");
    expect(leader.driver.state().members).toHaveLength(1);
  });
});

/** Lets time pass until the answer is there. */
async function answered<T>(cluster: DriverCluster, answer: Promise<T>): Promise<T> {
  let isHere = false;
  const note = (): void => {
    isHere = true;
  };
  answer.then(note, note);
  await cluster.clock.until(() => isHere);
  return answer;
}

/** Moves leadership to `id`. */
async function leadBy(cluster: DriverCluster, id: number) {
  const leader = await cluster.elect();
  leader.driver.transferLeader(id);
  await cluster.clock.until(() => cluster.node(id).driver.status().state === "leader");
  return cluster.elect();
}
