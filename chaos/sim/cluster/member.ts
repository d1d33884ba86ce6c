/**
 * Member of a simulated cluster: a machine with a disk, places on the wires, and a process that lives on it now and then.
 * Owns lives and what outlives them; what runs in a life is node.ts and witness.ts.
 */
import { KvKeys } from "../../../cluster/control/kv-keys.ts";
import { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import type { KvWay } from "../../../cluster/storage/memory-kv.ts";
import { MemoryNote } from "../../../cluster/storage/store-note.ts";
import type { RecordFormat } from "../../../cluster/sync/wire-format.ts";
import type { Transport } from "../../../cluster/transport/transport.ts";
import type { NodeConfig } from "../../../config/node-config.ts";
import type { Env } from "../../../src/base/env.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import type { MemoryPort } from "../../../src/io/memory.ts";
import type { AdminMethod, AdminMethods } from "../../../src/node/admin-model.ts";
import type { AdminHandlers } from "../../../src/node/admin-server.ts";
import type { Controller } from "../../../src/node/controller.ts";
import type { DataplaneCore } from "../../../src/node/dataplane-core.ts";
import { Journal } from "../../../src/node/journal.ts";
import type { Log } from "../../../src/node/log.ts";
import type { ControlStorage } from "../../../src/node/open-driver.ts";
import type { Processes } from "../../../src/node/processes.ts";
import type { SharedMemory } from "../../../src/node/shared-memory.ts";
import type { Link } from "../../lab/topology.ts";
import { spoiledRaft, spoiledReply, spoiledSync, spoilLog } from "./bugs.ts";
import { SimDisk } from "./disk.ts";
import { Life } from "./life.ts";
import { EXACT_CLOCKS, type MachineClocks } from "./machine-clocks.ts";
import type { World } from "./world.ts";

const DATA_FOLDER = "/data";
/** Where the log is in a store that keeps it; it must be begun before the members start. */
export const SIM_STORE = { prefix: "/synwall", logId: "sim" };
const ASK_TIMEOUT_MS = 60_000;

/** What a process is started with. */
export interface Boot {
  readonly world: World;
  readonly config: NodeConfig;
  readonly life: Life;
  readonly env: Env;
  readonly storage: ControlStorage;
  readonly transport: Transport;
  readonly journal: Journal;
  readonly log: Pick<Log, "line">;
  readonly onFatal: (error: unknown) => void;
  readonly recordFormats?: readonly RecordFormat[];
  /** Puts a port where the wire of this link ends. */
  readonly plug: (link: Link, port: MemoryPort) => void;
  /** To be called whenever the worker has done something. */
  readonly onWorked: () => void;
}

/** A process that runs. */
export interface Running {
  readonly admin: AdminHandlers;
  readonly controller: Controller;
  readonly processes: Processes;
  readonly storage: ControlStorage;
  /** Tables and rings of a node. */
  readonly memory?: SharedMemory;
  readonly dataplane?: DataplaneCore;
  lifelineOpened(node: number): void;
  lifelineClosed(node: number): void;
}

export class SimMember {
  readonly config: NodeConfig;
  readonly #world: World;
  readonly #boot: (boot: Boot) => Running;
  readonly #plugs = new Map<Link, MemoryPort>();
  readonly disk: SimDisk;
  /** How this machine reaches the store that keeps the log; may be changed. */
  readonly storeWay: KvWay = { delayMs: 0.3, timeoutMs: 1_000, isCut: false, isMute: false };
  /** On its disk. */
  readonly #note = new MemoryNote();
  readonly clocks: MachineClocks;
  #life: Life | undefined;
  #running: Running | undefined;
  #processes = 0;

  constructor(
    world: World,
    config: NodeConfig,
    boot: (boot: Boot) => Running,
    clocks: MachineClocks = EXACT_CLOCKS,
  ) {
    this.#world = world;
    this.config = config;
    this.#boot = boot;
    this.clocks = clocks;
    this.disk = new SimDisk(
      world.random,
      (ms) => this.#life?.main.stall(ms),
      (ms, work) => void this.#life?.after(ms, work),
    );
    this.disk.isLying = world.bug === "lying-disk";
  }

  get id(): number {
    return this.config.cluster.self.id;
  }

  get name(): string {
    return this.config.cluster.self.name;
  }

  get isNode(): boolean {
    return this.config.cluster.self.role === "node";
  }

  get isRunning(): boolean {
    return this.#life !== undefined;
  }

  /** The present life; another object after a restart. */
  get life(): Life | undefined {
    return this.#life;
  }

  get running(): Running | undefined {
    return this.#running;
  }

  get plugs(): ReadonlyMap<Link, MemoryPort> {
    return this.#plugs;
  }

  start(): void {
    const { clock, network, bug, onRaft } = this.#world;
    const life = new Life(clock, {
      clocks: this.clocks,
      onRaft: (message) => onRaft(this, message),
      spoiledRaft: (message) => spoiledRaft(bug, this.id, message),
      spoiledReply: (message) => spoiledReply(bug, this.id, message),
      spoiledSync: (message) => spoiledSync(bug, this.id, message),
    });
    this.#life = life;
    this.#processes++;
    try {
      this.#running = this.#boot(this.#makeBoot(life));
    } catch (error) {
      this.#ended(error);
      return;
    }
    // It may have ended while it started.
    if (!life.isOver) {
      network.watchLifelines(this.id, (peer) => life.run(() => this.#running?.lifelineClosed(peer)));
    }
  }

  /** The log on this machine's disk, or in the store that all share. */
  #openStorage(life: Life): ControlStorage {
    const { bug, store, sizes, onStored } = this.#world;
    const { cluster } = this.config;
    if (store !== undefined) {
      const kv = store.client({ schedule: (ms, work) => void life.after(ms, work) }, this.storeWay);
      const keys = new KvKeys(SIM_STORE.prefix, cluster.name);
      return { kv, keys, id: SIM_STORE.logId, slots: cluster.slots, note: this.#note };
    }
    const storage = DurableStorage.open({
      directory: DATA_FOLDER,
      clusterName: cluster.name,
      nodeId: this.id,
      voters: cluster.founders,
      slots: cluster.slots,
      fs: this.disk.fs,
      segmentBytes: sizes.segmentBytes,
    });
    onStored(this, storage);
    spoilLog(bug, this.id, storage);
    return storage;
  }

  #makeBoot(life: Life): Boot {
    const { config } = this;
    const { network, random, onEvent, onLog, onWorked } = this.#world;
    const recordFormats = this.#world.recordFormats?.(this.name, this.#processes);
    const storage = this.#openStorage(life);
    const transport = network.attach(this.id);
    transport.setPeers(config.cluster.members.filter(({ id }) => id !== this.id));
    return {
      world: this.#world,
      config,
      life,
      env: { nowMs: () => life.nowMs(), random },
      storage,
      transport: life.transport(transport),
      journal: new Journal((event) => onEvent(this.name, event), life),
      log: { line: (level, text) => onLog(this.name, level, text) },
      onFatal: (error) => {
        if (!life.isOver) this.#ended(error);
      },
      ...(recordFormats === undefined ? {} : { recordFormats }),
      plug: (link, port) => this.#plug(link, port),
      onWorked: () => onWorked(this),
    };
  }

  /** The process ended by itself: for a fault of its disk, or for a mistake of ours. */
  #ended(error: unknown): void {
    const isDisk = this.disk.hasFailed;
    this.kill();
    if (!isDisk) this.#world.onFatal(this, error);
  }

  /**
   * The process ends at once. Its disk keeps all that it wrote; with `isPowerLost` only what was synced is sure to be there.
   */
  kill({ isPowerLost = false }: { readonly isPowerLost?: boolean } = {}): void {
    this.#life?.end();
    this.#life = undefined;
    this.#running = undefined;
    this.disk.reopen(isPowerLost);
    this.#world.network.kill(this.id);
  }

  /** The process stands still, as a frozen virtual machine. */
  pause(): void {
    this.#life?.pause();
  }

  resume(): void {
    this.#life?.resume({ isWorkerFirst: this.#world.random(2) === 0 });
  }

  /** What the admin socket would answer. Throws SW_ADMIN_UNREACHABLE when nobody does. */
  ask<Method extends AdminMethod>(
    method: Method,
    params: AdminMethods[Method]["params"],
    { timeoutMs = ASK_TIMEOUT_MS }: { readonly timeoutMs?: number } = {},
  ): Promise<AdminMethods[Method]["result"]> {
    const life = this.#life;
    const unreachable = (): SynwallError =>
      new SynwallError("SW_ADMIN_UNREACHABLE", `${this.name} does not answer`);
    if (life === undefined) return Promise.reject(unreachable());
    return new Promise((resolve, reject) => {
      const callOff = this.#world.clock.after(timeoutMs, () => reject(unreachable()));
      life.run(() => {
        const answer = async () => this.#running!.admin[method](params);
        answer().then(resolve, reject).finally(callOff);
      });
    });
  }

  #plug(link: Link, port: MemoryPort): void {
    const segment = this.#world.wires.segments[link];
    const former = this.#plugs.get(link);
    if (former === undefined) segment.attach(port);
    else segment.replug(former, port);
    this.#plugs.set(link, port);
  }
}
