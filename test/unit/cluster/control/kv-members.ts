/**
 * Members of a cluster whose log is in a store, for tests: drivers over a MemoryKv in virtual time, without a dataplane.
 */
import { KvDriver } from "../../../../cluster/control/kv-driver.ts";
import { beginLog } from "../../../../cluster/control/kv-founding.ts";
import { KvKeys } from "../../../../cluster/control/kv-keys.ts";
import type { Command } from "../../../../cluster/control/model.ts";
import { plan } from "../../../../cluster/control/planner.ts";
import { MemoryKv, type MemoryKvClient } from "../../../../cluster/storage/memory-kv.ts";
import { MemoryNote, type StoreNote } from "../../../../cluster/storage/store-note.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { SynwallError } from "../../../../src/base/errors.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const LOG_ID = "log-1";
export const SLOTS = 16;
export const PROMISE_MS = 204;

export class KvMembers {
  readonly clock = new VirtualClock();
  readonly store = new MemoryKv();
  readonly keys = new KvKeys("/synwall", "edge");
  readonly random = seededRandom(7);
  readonly drivers = new Map<number, KvDriver>();
  readonly clients = new Map<number, MemoryKvClient>();
  readonly notes = new Map<number, StoreNote>();
  /** By member: each applied entry's index and command. */
  readonly applied = new Map<number, string[]>();
  readonly ended = new Map<number, string>();
  readonly logged: string[] = [];

  async begin(id = LOG_ID): Promise<void> {
    const client = this.store.client(this.clock, { delayMs: 0, timeoutMs: 100, isCut: false, isMute: false });
    const begun = beginLog({ kv: client, keys: this.keys }, { id, slots: SLOTS });
    await this.clock.pass(1);
    await begun;
  }

  start(self: number, { isPlanning = false, founders = [1, 2] } = {}): KvDriver {
    const kv = this.store.client(this.clock, { delayMs: 1, timeoutMs: 100, isCut: false, isMute: false });
    const note = this.notes.get(self) ?? new MemoryNote();
    this.notes.set(self, note);
    this.clients.set(self, kv);
    const applied: string[] = [];
    this.applied.set(self, applied);
    const driver = new KvDriver({
      log: { kv, keys: this.keys, id: LOG_ID, slots: SLOTS, note },
      self,
      isWitness: false,
      founders,
      slots: SLOTS,
      promiseMs: PROMISE_MS,
      candidates: (_state, voters) => voters,
      timers: this.clock,
      random: this.random,
      plan: (state) => (isPlanning ? plan(state) : undefined),
      onCommitted: (_state, { index, command }) => applied.push(`${index} ${command?.type ?? "snapshot"}`),
      onFatal: (error) => {
        if (!(error instanceof SynwallError)) throw error;
        this.ended.set(self, error.code);
      },
      onLog: (level, text) => this.logged.push(`${self} ${level} ${text}`),
    });
    this.drivers.set(self, driver);
    driver.start();
    return driver;
  }

  driver(self: number): KvDriver {
    return this.drivers.get(self)!;
  }

  /** How a member reaches the store. */
  way(self: number): MemoryKvClient["way"] {
    return this.clients.get(self)!.way;
  }

  kill(self: number): void {
    this.driver(self).stop();
    this.drivers.delete(self);
  }

  /** Until all that run have applied all that is committed, and know the same leader. */
  async settle(): Promise<void> {
    await this.clock.until(() => {
      const all = [...this.drivers.values()].map((driver) => driver.status());
      const [first] = all;
      return all.every((one) => one.lead !== 0 && one.lead === first!.lead && one.applied === first!.applied);
    });
  }
}

export function up(id: number): Command {
  return {
    type: "up",
    member: { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 },
    slots: SLOTS,
  };
}

/** A command that changes something each time. */
export function weigh(node: number, weight: number): Command {
  return { type: "weight", node, weight };
}
