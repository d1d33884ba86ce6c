/**
 * A pair of control planes without a witness on a real etcd, in real time: what they decide, and what an etcd that goes away, comes
 * back or was emptied does to them. Leases and packets are played; test/unit/chaos/store-cluster.test.ts has them.
 */
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ClusterState } from "../../../cluster/control/model.ts";
import { systemTimers } from "../../../cluster/control/timers.ts";
import { MemoryNetwork } from "../../../cluster/transport/in-memory.ts";
import { parseNodeConfig } from "../../../config/load.ts";
import type { NodeConfig } from "../../../config/node-config.ts";
import { seededRandom } from "../../../src/base/env.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import { Controller } from "../../../src/node/controller.ts";
import { Journal } from "../../../src/node/journal.ts";
import { initStore, type OpenedStore, openStore } from "../../../src/node/open-store.ts";
import { isSettled } from "../../../src/node/status.ts";
import { ETCD, EtcdServer } from "../../support/etcd.ts";
import { exampleText } from "../config/site.ts";
import { provenBy } from "./controllers.ts";

const random = seededRandom(3);

class Pair {
  readonly server: EtcdServer;
  readonly members = new Map<number, Controller>();
  readonly stores = new Map<number, OpenedStore>();
  readonly ended = new Map<number, string>();
  readonly alive = new Set<number>();
  readonly #network = new MemoryNetwork({
    schedule: (ms, work) => void setTimeout(work, ms),
    random,
    delayMsMin: 0.2,
    delayMsMax: 0.4,
  });
  readonly #folder = join(tmpdir(), `synwall-pair-${process.pid}-${Math.trunc(systemTimers.nowMs())}`);

  constructor(server: EtcdServer) {
    this.server = server;
  }

  config(id: number): NodeConfig {
    const parsed = parseNodeConfig(exampleText(id === 1 ? "fw1" : "fw2"), "node", {
      name: "file",
      secret: new Uint8Array(32),
    });
    const { cluster, control } = parsed;
    const members = cluster.members.filter(({ role }) => role === "node");
    const etcd = { endpoints: [this.server.url], prefix: "/synwall", timeoutMs: 1_000 };
    return {
      ...parsed,
      cluster: { ...cluster, members, founders: members.map((member) => member.id) },
      control: { ...control, dataDir: join(this.#folder, String(id)), etcd },
    };
  }

  async init(): Promise<void> {
    const { cluster, control } = this.config(1);
    await initStore(control.etcd!, cluster.name, cluster.slots);
  }

  async start(id: number): Promise<Controller> {
    const config = this.config(id);
    const store = await openStore(config);
    this.stores.set(id, store);
    this.alive.add(id);
    const transport = this.#network.attach(id);
    const controller: Controller = new Controller({
      config,
      storage: store.storage,
      transport,
      timers: systemTimers,
      random,
      journal: new Journal(() => {}),
      alive: () => this.alive,
      onPeers: () => {},
      onState: (state) => {
        setTimeout(() => {
          if (this.members.get(id) !== controller) return;
          for (const command of provenBy(id, state)) void controller.propose(command).catch(() => {});
          if (state.quorum !== undefined) controller.quorum.known(state.quorum.epoch);
        }, 1);
      },
      onAdmitted: () => {},
      onFatal: (error) => {
        if (!(error instanceof SynwallError)) throw error;
        this.ended.set(id, error.code);
      },
      log: () => {},
    });
    this.members.set(id, controller);
    controller.start();
    return controller;
  }

  kill(id: number): void {
    this.alive.delete(id);
    this.members.get(id)!.stop();
    this.members.delete(id);
    for (const other of this.members.values()) other.peerDown(id, 0, true);
  }

  state(id: number): ClusterState {
    return this.members.get(id)!.driver.state();
  }

  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  async settled(): Promise<void> {
    await this.until(() => {
      const [one, two] = [this.state(1), this.state(2)];
      const active = one.members.filter(({ state }) => state === "active");
      return one.revision === two.revision && isSettled(one) && active.length === 2;
    });
  }

  async stop(): Promise<void> {
    for (const member of this.members.values()) member.stop();
    this.members.clear();
    await this.server.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

describe.skipIf(ETCD === undefined)("a pair on etcd", () => {
  let pair: Pair;

  beforeEach(async () => {
    pair = new Pair(await EtcdServer.start());
  });
  afterEach(() => pair.stop());

  test("a member does not begin a log by itself, and an operator begins it once", async () => {
    await expect(openStore(pair.config(1))).rejects.toMatchObject({ code: "SW_STORE_EMPTY" });
    await pair.init();
    await expect(pair.init()).rejects.toMatchObject({ code: "SW_CONTROL_REFUSED" });
  });

  test("one of two is killed: the other takes all slots over, and the first comes back", async () => {
    await pair.init();
    await pair.start(1);
    await pair.start(2);
    await pair.settled();
    pair.kill(2);
    await pair.until(() => pair.state(1).table.owner.every((owner) => owner === 1));
    await pair.until(() => pair.members.get(1)!.driver.status().lead === 1);
    await pair.start(2);
    await pair.settled();
    expect(pair.state(1).members.map(({ incarnation }) => incarnation)).toEqual([1, 2]);
    expect(pair.ended.size).toBe(0);
  });

  test("etcd crashes: the nodes keep what they own, and decide again when it is back", async () => {
    await pair.init();
    await pair.start(1);
    await pair.start(2);
    await pair.settled();
    const { owner } = pair.state(1).table;
    await pair.server.kill();
    await pair.until(() => pair.members.get(1)!.driver.status().store?.isConnected === false);
    await expect(pair.members.get(1)!.command({ type: "weight", node: 1, weight: 2 })).rejects.toMatchObject({
      code: "SW_CONTROL_TIMEOUT",
    });
    expect(pair.state(1).table.owner).toEqual(owner);
    expect(pair.stores.get(1)!.counters!.unanswered).toBeGreaterThan(0);
    await pair.server.run();
    let isDone = false;
    while (!isDone) {
      isDone = await pair.members
        .get(1)!
        .command({ type: "weight", node: 2, weight: 3 })
        .then(
          () => true,
          () => false,
        );
    }
    await pair.until(() => pair.state(2).members[1]!.weight === 3);
    expect(pair.ended.size).toBe(0);
  });

  test("etcd was emptied: those that run refuse it, one that starts ends, also when a log was begun anew", async () => {
    await pair.init();
    await pair.start(1);
    await pair.start(2);
    await pair.settled();
    const before = pair.state(1);
    await pair.server.kill();
    pair.server.empty();
    await pair.server.run();
    await pair.init();
    await pair.until(() => pair.members.get(1)!.driver.status().store?.refusal !== "");
    expect(pair.state(1)).toBe(before);
    pair.kill(2);
    await pair.start(2);
    await pair.until(() => pair.ended.has(2));
    expect(pair.ended.get(2)).toBe("SW_STORE_LOST");
  });
});
