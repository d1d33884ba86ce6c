/**
 * A pair with a witness for tests: three controllers over a memory network in virtual time. A dataplane is played that settles
 * and proves every slot at once.
 */

import type { ClusterState, Command } from "../../../cluster/control/model.ts";
import { MemoryLogStore } from "../../../cluster/storage/memory.ts";
import { MemoryNetwork } from "../../../cluster/transport/in-memory.ts";
import { parseNodeConfig } from "../../../config/load.ts";
import { seededRandom } from "../../../src/base/env.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import { Controller } from "../../../src/node/controller.ts";
import { Journal } from "../../../src/node/journal.ts";
import { NO_LINKS } from "../../../src/node/link-watch.ts";
import { confState } from "../cluster/control/cluster-of-drivers.ts";
import { VirtualClock } from "../cluster/control/virtual-clock.ts";
import { type Example, exampleText } from "../config/site.ts";

const VOTERS = [1, 2, 3];
const NAMES = ["fw1", "fw2", "witness"] as const;

export class Controllers {
  readonly clock = new VirtualClock();
  /** Members that ended themselves, and why. */
  readonly ended = new Map<number, string>();
  readonly members: Controller[];
  readonly #random = seededRandom(5);
  readonly #network: MemoryNetwork;
  readonly #alive = new Set(VOTERS);
  readonly #stores = VOTERS.map(() => new MemoryLogStore(confState(VOTERS)));

  constructor() {
    this.#network = new MemoryNetwork({
      schedule: (delayMs, callback) => this.clock.schedule(delayMs, callback),
      random: this.#random,
      delayMsMin: 0.2,
      delayMsMax: 0.4,
    });
    this.members = NAMES.map((name, i) => this.#start(name, VOTERS[i]!));
  }

  member(id: number): Controller {
    return this.members[id - 1]!;
  }

  get leader(): number {
    const leads = ({ driver }: Controller): boolean => driver.status().state === "leader";
    return [...this.#alive].find((id) => this.#alive.has(id) && leads(this.member(id))) ?? 0;
  }

  /** The process ends, and all others know at once. */
  kill(id: number): void {
    this.#alive.delete(id);
    this.member(id).stop();
    this.#network.kill(id);
    for (const other of this.#alive) this.member(other).peerDown(id, 0, true);
  }

  /** Starts a killed one again, with its log. */
  revive(id: number): void {
    this.#alive.add(id);
    this.members[id - 1] = this.#start(NAMES[id - 1]!, id);
  }

  /** Passes time until both nodes are active and every slot has its proven backup. */
  async settle(): Promise<void> {
    await this.clock.until(() => {
      const { members, table } = this.member(1).driver.state();
      const active = members.filter(({ role, state }) => role === "node" && state === "active");
      return this.leader !== 0 && active.length === 2 && table.synced.every((isSynced) => isSynced);
    });
  }

  /** Starts a member that joined: it knows those of the configuration, and was not there when the log was begun. */
  join(id: number, name: string): Controller {
    this.#alive.add(id);
    this.#stores[id - 1] = new MemoryLogStore(confState(VOTERS));
    this.members[id - 1] = this.#start("fw1", id, name);
    return this.member(id);
  }

  #start(example: Example, id: number, name = example as string): Controller {
    const parsed = parseNodeConfig(exampleText(example), example === "witness" ? "witness" : "node", {
      name: example,
      secret: new Uint8Array(32),
    });
    const self = { ...parsed.cluster.self, id, name };
    const members = parsed.cluster.members.map((member) => (member.id === id ? self : member));
    const config = { ...parsed, cluster: { ...parsed.cluster, self, members } };
    const transport = this.#network.attach(id);
    const controller: Controller = new Controller({
      config,
      storage: this.#stores[id - 1]!,
      transport,
      timers: this.clock,
      random: this.#random,
      journal: new Journal(() => {}, { nowMs: () => this.clock.nowMs(), wallMs: () => this.clock.nowMs() }),
      alive: () => this.#alive,
      onPeers: () => {},
      onState: (state) =>
        this.clock.schedule(1, () => {
          if (!this.#alive.has(id)) return;
          for (const command of provenBy(id, state)) void controller.propose(command).catch(() => {});
          if (state.quorum !== undefined) controller.quorum.known(state.quorum.epoch);
        }),
      onAdmitted: () => {},
      onFatal: (error) => {
        if (!(error instanceof SynwallError)) throw error;
        this.ended.set(id, error.code);
        this.#alive.delete(id);
      },
      log: () => {},
    });
    void transport.start(
      controller.handlers({
        version: "0.1.0",
        onSyncLink: (_from, link) => link.close(),
        links: NO_LINKS,
        processes: {
          own: () => ({
            build: "",
            recordVersions: [],
            syncVersion: 1,
            commandVersion: 1,
            heartbeatVersion: 1,
            incarnation: 0,
            isSupervised: false,
          }),
          restart: () => "nobody starts it again",
        },
      }),
    );
    controller.start();
    return controller;
  }
}

/** What a dataplane without flows reports about its slots. */
export function provenBy(node: number, { table }: ClusterState): Command[] {
  const all = [...table.owner.keys()];
  const own = all.filter((slot) => table.owner[slot] === node && table.awaiting[slot]!.length > 0);
  const copies = all.filter((slot) => table.backup[slot] === node && !table.synced[slot]);
  return [
    ...(own.length === 0
      ? []
      : [
          {
            type: "settled",
            node,
            slots: own,
            movedEpochs: own.map((slot) => table.movedEpoch[slot]!),
          } as const,
        ]),
    ...(copies.length === 0
      ? []
      : [
          {
            type: "ready",
            node,
            slots: copies,
            backupEpochs: copies.map((slot) => table.backupEpoch[slot]!),
          } as const,
        ]),
  ];
}
