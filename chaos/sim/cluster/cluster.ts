/**
 * Simulated cluster: real nodes and a real witness in one process, in virtual time, from one seed. Owns the machines and what
 * can be done to them; the hosts around them are traffic.ts, drills are stage.ts.
 *
 *   topology and policy are those of a lab (chaos/lab/topology.ts, files.ts)
 *
 *            inside --[ MemorySegment ]--+   +--[ MemorySegment ]-- outside
 *                                      fw1..N
 *                        [ MemorySegment ]--- witness        Raft, replication: MemoryNetwork
 */
import type { Message } from "raft-ts";
import type { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import type { MemoryKv } from "../../../cluster/storage/memory-kv.ts";
import type { RecordFormat } from "../../../cluster/sync/wire-format.ts";
import { MemoryNetwork } from "../../../cluster/transport/in-memory.ts";
import { parseNodeConfig } from "../../../config/load.ts";
import type { MemberConfig, NodeConfig } from "../../../config/node-config.ts";
import { seededRandom } from "../../../src/base/env.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import type { FrameInFlight } from "../../../src/io/memory-segment.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import type { LabFeatures } from "../../lab/features.ts";
import { memberYaml } from "../../lab/files.ts";
import { labPaths } from "../../lab/state.ts";
import { type LabMember, type Link, planTopology, type Topology } from "../../lab/topology.ts";
import { type Bug, spoiledRate } from "./bugs.ts";
import { SimClock } from "./clock.ts";
import { EventDigest } from "./digest.ts";
import { openLifelines } from "./lifelines.ts";
import { EXACT_CLOCKS, MachineClocks } from "./machine-clocks.ts";
import { SimMember } from "./member.ts";
import { bootNode } from "./node.ts";
import { LAB_SIZES, type Sizes } from "./sizes.ts";
import { SimWires } from "./wires.ts";
import { bootWitness } from "./witness.ts";
import type { World } from "./world.ts";

const RPC_MS = { min: 0.1, max: 0.4 };
const MILLION = 1_000_000;
/** Machines were started this long before, at most. */
const UPTIME_MS_MAX = 1_000_000;
const SECRET_BYTES = 32;
/** Members of one cluster are not started in the same instant. */
const START_SPREAD_MS = 20;

export interface SimOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly hasWitness: boolean;
  readonly profile: "lan" | "vm";
  /** Default: the lab's. */
  readonly flowsMax?: number;
  /** Less than a configuration may say, so that voters change soon; default: the lab's. */
  readonly forgiveAfterMs?: number | undefined;
  readonly bug?: Bug | undefined;
  /** The time of day at which it begins, in ms since 1970; default: clock.ts's. */
  readonly startWallMs?: number;
  /** Changes the text of a member's configuration before the member reads it. */
  readonly configure?: (text: string) => string;
  /** Default: the lab's. */
  readonly features?: LabFeatures;
  /** Default: a node's own. */
  readonly sizes?: Sizes;
  /** Keeps the members' log (control.store: etcd), which must be begun in it; default: they keep it themselves, by Raft. */
  readonly store?: MemoryKv;
  /** Machines' clocks run this much too fast or too slow, at most, in parts of a million; default 0. */
  readonly driftPpmMax?: number;
  /** Versions of records that the n-th process of a member speaks, from 1; default: this build's. */
  readonly recordFormats?: ((member: string, n: number) => readonly RecordFormat[]) | undefined;
  readonly onEvent?: (member: string, event: JournalEvent) => void;
  readonly onLog?: (member: string, level: string, text: string) => void;
}

/** Which way of a member's wire is cut, seen from the member. */
export type Way = "both" | "out" | "in";

export class SimCluster {
  readonly options: SimOptions;
  readonly topology: Topology;
  readonly clock: SimClock;
  readonly random: (bound: number) => number;
  readonly network: MemoryNetwork;
  readonly wires: SimWires;
  /** Those that belong; another array after a replacement. */
  members: readonly SimMember[];
  /** Their places were taken while they were away; they live until they hear of it. */
  readonly ghosts: SimMember[] = [];
  readonly digest = new EventDigest();
  /** Members that ended by themselves, and why. */
  readonly failures: { readonly member: string; readonly error: unknown }[] = [];
  /** A switch has taken a frame, for each place to which it goes. */
  onSent: (frame: FrameInFlight) => void = () => undefined;
  /** A process opened its log. */
  onStored: (member: SimMember, storage: DurableStorage) => void = () => undefined;
  /** A process sent a Raft message. */
  onRaft: (member: SimMember, message: Message) => void = () => undefined;
  /** A worker has done something. */
  onWorked: (member: SimMember) => void = () => undefined;
  /** A member ended because somebody else was let in under its name; default: that is a failure. */
  onRemoved: ((member: SimMember) => void) | undefined;
  /** How long messages of the control plane and of replication are under way; may be changed. */
  readonly rpcMs = { ...RPC_MS };
  readonly #world: World;
  readonly #secret: Uint8Array;

  constructor(options: SimOptions) {
    this.options = options;
    this.clock = new SimClock(options.startWallMs);
    this.random = seededRandom(options.seed);
    this.wires = new SimWires(this.clock, this.random, {
      onSent: (frame) => this.onSent(frame),
      onArrived: (frame, atMs) => this.digest.frame(frame, atMs),
    });
    const { clock, random, rpcMs } = this;
    this.network = new MemoryNetwork({
      schedule: (delayMs, callback) => void clock.after(delayMs, callback),
      random,
      get delayMsMin() {
        return rpcMs.min;
      },
      get delayMsMax() {
        return rpcMs.max;
      },
    });
    this.#world = this.#makeWorld();
    this.topology = planTopology({ ...labOptions(options) });
    this.#secret = Uint8Array.from({ length: SECRET_BYTES }, () => this.random(256));
    this.members = this.topology.members.map((member) => this.#makeMember(member));
  }

  /** Starts all members; they are settled later. `spreadMs`: from one start to the next, at most. */
  async startAll(spreadMs = START_SPREAD_MS): Promise<void> {
    for (const member of this.members) {
      await this.clock.pause((spreadMs * this.random(256)) / 256);
      this.start(member.name);
    }
  }

  /** A member campaigns at once, as if a leader had asked it to, instead of after an election timeout. */
  campaign(member: SimMember): void {
    const { life, running } = member;
    const term = running?.controller.driver.status().term ?? 0;
    const from = this.members.find(({ id }) => id !== member.id)!.id;
    life?.run(() => running?.controller.driver.receive({ type: "MsgTimeoutNow", from, to: member.id, term }));
  }

  member(name: string): SimMember {
    const member = this.members.find((each) => each.name === name);
    if (member !== undefined) return member;
    const names = this.members.map((each) => each.name).join(", ");
    throw new SynwallError("SW_LAB_FAILED", `no member "${name}": use one of ${names}`);
  }

  start(name: string): void {
    const member = this.member(name);
    if (member.isRunning) throw new SynwallError("SW_LAB_FAILED", `${name} runs already: kill it first`);
    member.start();
    openLifelines(this.#world, this.members, member);
  }

  kill(name: string, how: { readonly isPowerLost?: boolean } = {}): void {
    const member = this.member(name);
    if (!member.isRunning) throw new SynwallError("SW_LAB_FAILED", `${name} does not run: nothing to kill`);
    member.kill(how);
  }

  /**
   * Another machine takes the place of one whose disk is lost, in its name, under an id that it was given; `known`: the members that it
   * was told of. It is started later. If the former process lives, it is a ghost from now on.
   */
  replace(former: SimMember, id: number, known: readonly MemberConfig[]): SimMember {
    const { config } = former;
    const self = { ...config.cluster.self, id };
    const members = [...known.filter((member) => member.name !== self.name), self];
    const cluster = { ...config.cluster, self, members, areMembersListed: false };
    const successor = this.#boot({ ...config, cluster });
    this.members = this.members.map((member) => (member === former ? successor : member));
    if (former.isRunning) this.ghosts.push(former);
    return successor;
  }

  /** The process stands still for `ms`. */
  pause(name: string, ms: number): void {
    const member = this.member(name);
    const { life } = member;
    member.pause();
    this.clock.after(ms, () => {
      if (member.life === life) member.resume();
    });
  }

  /** Cuts a member's wire in the switch; both ends keep their carrier. */
  cut(name: string, link: Link | "all", way: Way = "both"): void {
    const member = this.member(name);
    for (const [each, port] of member.plugs) {
      if (link !== "all" && link !== each) continue;
      this.wires.block(each, port, { fromPort: way !== "in", toPort: way !== "out" });
      if (each === "cluster") this.#cutNetwork(member, way);
    }
  }

  /** Mends what cut() did to a member. */
  heal(name: string): void {
    const member = this.member(name);
    for (const [link, port] of member.plugs) this.wires.unblock(link, port);
    for (const other of this.members) {
      this.network.heal(member.id, other.id);
      this.network.heal(other.id, member.id);
    }
  }

  healAll(): void {
    this.network.healAll();
    this.wires.healPairs();
    for (const { plugs } of [...this.members, ...this.ghosts]) {
      for (const [link, port] of plugs) this.wires.unblock(link, port);
    }
  }

  /** Nothing goes from one member to another any more, on one link or on all that they share; others hear both. */
  cutPair(from: SimMember, to: SimMember, link: Link | "all"): void {
    for (const [each, port] of from.plugs) {
      const far = to.plugs.get(each);
      if (far === undefined || (link !== "all" && link !== each)) continue;
      this.wires.cutPair(port.name, far.name);
      if (each === "cluster") this.network.cut(from.id, to.id);
    }
  }

  healPair(from: SimMember, to: SimMember): void {
    for (const [each, port] of from.plugs) {
      const far = to.plugs.get(each);
      if (far !== undefined) this.wires.healPair(port.name, far.name);
    }
    this.network.heal(from.id, to.id);
  }

  #cutNetwork(member: SimMember, way: Way): void {
    for (const other of this.members) {
      if (other === member) continue;
      if (way !== "in") this.network.cut(member.id, other.id);
      if (way !== "out") this.network.cut(other.id, member.id);
    }
  }

  #makeWorld(): World {
    const { clock, random, wires, network, options } = this;
    return {
      clock,
      random,
      wires,
      network,
      store: options.store,
      sizes: options.sizes ?? LAB_SIZES,
      bug: options.bug,
      recordFormats: options.recordFormats,
      onStored: (member, storage) => this.onStored(member, storage),
      onRaft: (member, message) => this.onRaft(member, message),
      onWorked: (member) => this.onWorked(member),
      onEvent: (member, event) => {
        this.digest.event(member, event);
        options.onEvent?.(member, event);
      },
      onLog: (member, level, text) => options.onLog?.(member, level, text),
      onFatal: (member, error) => {
        const isRemoved = error instanceof SynwallError && error.code === "SW_MEMBER_REMOVED";
        if (isRemoved && this.ghosts.includes(member)) return;
        if (isRemoved && this.onRemoved !== undefined) this.onRemoved(member);
        else this.failures.push({ member: member.name, error });
      },
    };
  }

  #makeMember(member: LabMember): SimMember {
    const { configure = (text) => text } = this.options;
    const text = textOf(labOptions(this.options), this.topology, member);
    const config = resized(configOf(configure(text), member, this.#secret), this.options);
    return this.#boot(config);
  }

  #boot(config: NodeConfig): SimMember {
    const { id, role } = config.cluster.self;
    const boot = role === "node" ? bootNode : bootWitness;
    return new SimMember(this.#world, config, boot, this.#makeClocks(id));
  }

  #makeClocks(id: number): MachineClocks {
    const { driftPpmMax = 0, bug } = this.options;
    if (driftPpmMax === 0) return EXACT_CLOCKS;
    const drift = (driftPpmMax * (this.random(2001) - 1000)) / 1000 / MILLION;
    return new MachineClocks(spoiledRate(bug, id, 1 + drift), this.random(UPTIME_MS_MAX));
  }
}

/** Named in the configuration, and never looked at. */
const PATHS = labPaths("sim", { uid: 0, isUserNamespace: false });

function labOptions({ nodes, hasWitness, profile, features, store }: SimOptions) {
  const rest = {
    ...(features === undefined ? {} : { features }),
    // The store votes.
    ...(store === undefined ? {} : { isPair: false }),
  };
  return { name: "sim", nodes, hasWitness, profile, port: "auto", ...rest } as const;
}

/** Texts of configurations by what they are made of: seed after seed it is the same. */
const TEXTS = new Map<string, string>();

function textOf(options: ReturnType<typeof labOptions>, topology: Topology, member: LabMember): string {
  const key = JSON.stringify([options, member.name]);
  let text = TEXTS.get(key);
  if (text === undefined) {
    text = memberYaml(options, topology, member, PATHS);
    if (TEXTS.size >= CONFIGS_MAX) TEXTS.clear();
    TEXTS.set(key, text);
  }
  return text;
}

/** Configurations by their text, without the secret. */
const CONFIGS = new Map<string, NodeConfig>();
const CONFIGS_MAX = 256;

function configOf(text: string, { name, role }: LabMember, secret: Uint8Array): NodeConfig {
  let config = CONFIGS.get(text);
  if (config === undefined) {
    config = parseNodeConfig(text, role, { name, secret });
    if (CONFIGS.size >= CONFIGS_MAX) CONFIGS.clear();
    CONFIGS.set(text, config);
  }
  return { ...config, cluster: { ...config.cluster, secret } };
}

function resized(config: NodeConfig, { flowsMax, forgiveAfterMs }: SimOptions): NodeConfig {
  const { cluster, dataplane } = config;
  return {
    ...config,
    ...(forgiveAfterMs === undefined ? {} : { cluster: { ...cluster, forgiveAfterMs } }),
    ...(flowsMax === undefined || dataplane === undefined ? {} : { dataplane: { ...dataplane, flowsMax } }),
  };
}
