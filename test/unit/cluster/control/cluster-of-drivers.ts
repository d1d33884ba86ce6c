/**
 * A cluster of drivers over a memory network in virtual time: what driver tests and properties stand on.
 */

import type { Committed } from "../../../../cluster/control/control-driver.ts";
import { RaftDriver, type RaftDriverOptions } from "../../../../cluster/control/driver.ts";
import { decodeMachine } from "../../../../cluster/control/machine.ts";
import type { ClusterState } from "../../../../cluster/control/model.ts";
import type { LogStore } from "../../../../cluster/storage/log-store.ts";
import { MemoryLogStore } from "../../../../cluster/storage/memory.ts";
import { MemoryNetwork } from "../../../../cluster/transport/in-memory.ts";
import type { TransportHandlers } from "../../../../cluster/transport/transport.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const SLOTS = 16;

export interface Node {
  readonly id: number;
  readonly driver: RaftDriver;
  readonly commits: Committed[];
  readonly fatal: unknown[];
  readonly epochs: Map<number, string>;
}

export interface ClusterOptions {
  readonly ids: readonly number[];
  readonly witness?: number;
  readonly seed?: number;
  readonly delayMsMin?: number;
  readonly delayMsMax?: number;
  readonly tuning?: RaftDriverOptions["tuning"];
  readonly plan?: RaftDriverOptions["plan"];
  /** Whether `self` misses `node`; absent: nobody can tell. */
  readonly isQuiet?: (self: number, node: number) => boolean;
  /** Slots by the configuration of `id`. */
  readonly slots?: (id: number) => number;
  readonly store?: (id: number, voters: readonly number[]) => LogStore;
}

export class DriverCluster {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly nodes = new Map<number, Node>();
  readonly stores = new Map<number, LogStore>();
  readonly #options: ClusterOptions;
  readonly #random: (bound: number) => number;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed ?? 1);
    this.network = new MemoryNetwork({
      schedule: (delayMs, callback) => this.clock.schedule(delayMs, callback),
      random: this.#random,
      delayMsMin: options.delayMsMin ?? 0.2,
      delayMsMax: options.delayMsMax ?? 0.4,
    });
    for (const id of options.ids) this.start(id);
  }

  /** Starts `id`, with the log that it had when it runs for the second time. */
  start(id: number): Node {
    const { ids, witness, tuning, plan, isQuiet, slots } = this.#options;
    const voters = [...ids];
    const make = this.#options.store ?? ((_id, all) => new MemoryLogStore(confState(all)));
    const storage = this.stores.get(id) ?? make(id, voters);
    this.stores.set(id, storage);
    const transport = this.network.attach(id);
    const commits: Committed[] = [];
    const fatal: unknown[] = [];
    const driver = new RaftDriver({
      self: id,
      isWitness: id === witness,
      candidates: (_state, voters) => voters.filter((other) => other !== witness),
      slots: slots?.(id) ?? SLOTS,
      storage,
      transport,
      timers: this.clock,
      random: this.#random,
      onCommitted: (_state, committed) => commits.push(committed),
      onFatal: (error) => fatal.push(error),
      ...(tuning === undefined ? {} : { tuning }),
      ...(plan === undefined ? {} : { plan }),
      ...(isQuiet === undefined ? {} : { isQuiet: (node: number) => isQuiet(id, node) }),
    });
    const handlers: TransportHandlers = {
      onRaft: (_from, message) => driver.receive(message),
      onStatus: () => {
        throw new Error("not asked for");
      },
      onSyncLink: () => {},
      onUnreachable: (to) => driver.unreachable(to),
      onSnapshotSent: (to, isDelivered) => driver.snapshotSent(to, isDelivered),
    };
    void transport.start(handlers);
    driver.start();
    const node: Node = { id, driver, commits, fatal, epochs: new Map() };
    this.nodes.set(id, node);
    return node;
  }

  /** The process ends, and its disk is emptied. */
  wipe(id: number): void {
    this.kill(id);
    this.stores.delete(id);
  }

  /** The process ends without warning; its log stays. */
  kill(id: number): void {
    this.node(id).driver.stop();
    this.network.kill(id);
    this.nodes.delete(id);
  }

  node(id: number): Node {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`node ${id} is not running`);
    return node;
  }

  leader(): Node | undefined {
    return [...this.nodes.values()].find((node) => node.driver.status().state === "leader");
  }

  /** Waits for a leader that every running node knows. */
  async elect(): Promise<Node> {
    await this.clock.until(() => {
      const leader = this.leader();
      return (
        leader !== undefined &&
        [...this.nodes.values()].every((node) => node.driver.status().lead === leader.id)
      );
    });
    return this.leader()!;
  }

  states(): ClusterState[] {
    return [...this.nodes.values()].map((node) => node.driver.state());
  }
}

export function confState(voters: readonly number[]): {
  voters: number[];
  votersOutgoing: number[];
  learners: number[];
  learnersNext: number[];
  autoLeave: boolean;
} {
  return { voters: [...voters], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
}

/** The decoded state machine of a stored snapshot. */
export function snapshotState(store: LogStore): ClusterState {
  const decoded = decodeMachine(store.snapshot().data);
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value.cluster;
}
