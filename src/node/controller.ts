/**
 * Controller: a member's part in the control plane, the same for nodes and witnesses: Raft, membership, and what the operator
 * may ask of the cluster. Owns no packet and no socket; storage, transport and liveness are handed in.
 */
import { downCommand, wouldLoseFlows } from "../../cluster/control/commands.ts";
import type { Committed, ControlDriver } from "../../cluster/control/control-driver.ts";
import { termInside } from "../../cluster/control/generation.ts";
import { Generations } from "../../cluster/control/generations.ts";
import {
  type ClusterState,
  type Command,
  type CommandResult,
  STORE_VOTER,
} from "../../cluster/control/model.ts";
import { plan } from "../../cluster/control/planner.ts";
import { quorumOf } from "../../cluster/control/quorum.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import { PROFILES } from "../../cluster/liveness/model.ts";
import type { Transport, TransportHandlers } from "../../cluster/transport/transport.ts";
import type { MemberConfig, NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";
import { AbsentMembers } from "./absent-members.ts";
import type { Journal } from "./journal.ts";
import { leaseVoters } from "./lease-voters.ts";
import type { LinkWatch } from "./link-watch.ts";
import { Membership } from "./membership.ts";
import { type ControlStorage, isShared, openDriver } from "./open-driver.ts";
import { PAIR_TICK_MS, PairKeeper } from "./pair-keeper.ts";
import { PeerList, type PeerListOptions } from "./peer-list.ts";
import type { Processes } from "./processes.ts";
import { QuorumKeeper } from "./quorum-keeper.ts";
import { isSettled } from "./status.ts";
import { Succession } from "./succession.ts";

/** In leases: what a member has to come back that fell silent while nobody held a proven copy of its flows. */
const UNPROVEN_LEASES = 10;
/** Until then a member that hears nobody has judged them all. */
const DEAF_INTERVALS = 3;
const WATCH_INTERVAL_MS = 100;

export interface ControllerOptions {
  readonly config: NodeConfig;
  readonly storage: ControlStorage;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: (bound: number) => number;
  readonly journal: Journal;
  /** Members that this one hears on any link, itself included. */
  readonly alive: () => ReadonlySet<number>;
  /** See RaftDriverOptions; where heartbeats run in another thread, nobody can tell. */
  readonly isQuiet?: (node: number) => boolean;
  /** See MembershipOptions. */
  readonly beats?: () => number;
  /** Has the dataplane probe a silent node, or stop that. Absent on a witness. */
  readonly probe?: (node: number, isOn: boolean) => void;
  /** Other peers than the configuration's, or than before; see PeerListOptions. */
  readonly onPeers: PeerListOptions["onChange"];
  /** After every applied entry. */
  readonly onState: (state: ClusterState, ownIncarnation: number) => void;
  /** This process was let in, and has applied all that was committed before. */
  readonly onAdmitted: () => void;
  readonly onFatal: (error: unknown) => void;
  readonly log: (level: "debug" | "info" | "warn", text: string) => void;
}

export class Controller {
  readonly driver: ControlDriver;
  readonly membership: Membership;
  readonly quorum: QuorumKeeper;
  readonly succession: Succession;
  /** With `quorum: pair`, on nodes. */
  readonly pair: PairKeeper | undefined;
  /** Where the members keep the log. */
  readonly #generations: Generations | undefined;
  readonly peers: PeerList;
  readonly #options: ControllerOptions;
  readonly #watchers = new Set<(state: ClusterState) => void>();
  readonly #absent = new AbsentMembers();
  #stopWatch: (() => void) | undefined;
  #epoch = -1;
  #proposals = 0;
  #proposalsRefused = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { config, storage, transport, timers, random, onFatal, onPeers } = options;
    const { self, members, slots, profile } = config.cluster;
    const hasStore = isShared(storage);
    const log = hasStore ? "" : (storage.founding?.log ?? "");
    this.peers = new PeerList({ self: self.id, configured: members, timers, onChange: onPeers });
    this.driver = openDriver({
      isServing: () =>
        self.role === "witness" ? this.driver.status().lead !== 0 : this.membership.isAdmitted,
      onGeneration: (change) => {
        // What the log before knew of this life does not count in the next, unless this member made it.
        if (change !== "lost") return;
        this.pair?.gaveWay();
        this.membership.rejoin();
      },
      onYielding: (isYielding, to) => this.#onYielding(isYielding, to.by),
      self: self.id,
      isWitness: self.role === "witness",
      candidates: (_state, voters) => voters.filter((id) => this.#memberById(id)?.role === "node"),
      slots,
      storage,
      transport,
      timers,
      random,
      profile: PROFILES[profile],
      founders: leaseVoters(config),
      ...(options.isQuiet === undefined ? {} : { isQuiet: options.isQuiet }),
      plan: (state) => plan(state),
      onCommitted: (state, committed) => this.#onCommitted(state, committed),
      onLeader: (lead, term) => this.#onLeader(lead, term),
      onFatal,
      onLog: options.log,
    });
    this.#generations = this.driver instanceof Generations ? this.driver : undefined;
    this.membership = new Membership({
      self,
      timers,
      slots,
      log,
      propose: (command) => this.propose(command),
      state: () => this.driver.state(),
      alive: options.alive,
      company: this.driver.company,
      detectionMs: PROFILES[profile].intervalMs * (PROFILES[profile].multiplier + 1),
      onAdmitted: () => options.onAdmitted(),
      beats: options.beats,
      onLog: options.log,
    });
    this.succession = new Succession({
      ...{ self, timers, driver: this.driver, alive: options.alive, journal: options.journal },
      nameOf: (id) => this.name(id),
    });
    this.quorum = new QuorumKeeper({
      self: self.id,
      founders: leaseVoters(config),
      hasStore,
      leaseMs: PROFILES[profile].leaseMs,
      forgiveAfterMs: config.cluster.forgiveAfterMs,
      isPair: config.cluster.isPair,
      timers,
      driver: this.driver,
      alive: options.alive,
      propose: (command) => this.propose(command),
    });
    this.pair = this.#makePair();
  }

  /** What the transport must call; `onSyncLink` is the dataplane's business. */
  handlers(
    rest: Pick<TransportHandlers, "onSyncLink"> & {
      readonly version: string;
      readonly processes: Pick<Processes, "own" | "restart">;
      readonly links: Pick<LinkWatch, "lost" | "hearing">;
    },
  ): TransportHandlers {
    const { driver } = this;
    return {
      onRaft: (from, message) => {
        this.pair?.heard(from);
        driver.receive(message);
      },
      onStatus: () => {
        const { term, commit, applied, state, lead } = driver.status();
        const { self } = this.#options.config.cluster;
        return {
          node: self.id,
          version: rest.version,
          term,
          commit,
          applied,
          state,
          lead,
          epoch: driver.state().table.epoch,
          lostLinks: rest.links.lost(),
          hearing: rest.links.hearing(),
          process: rest.processes.own(),
        };
      },
      onRestart: (_from, incarnation) => rest.processes.restart(incarnation),
      onSyncLink: rest.onSyncLink,
      onUnreachable: (to) => driver.unreachable(to),
      onTurnedAway: (by) => this.succession.turnedAway(by),
      onSnapshotSent: (to, isDelivered) => driver.snapshotSent(to, isDelivered),
    };
  }

  start(): void {
    this.peers.observe(this.driver.state());
    const { timers } = this.#options;
    const isToWait = this.pair?.isToWait(this.driver.status().confState) === true;
    if (this.#generations === undefined) this.driver.start();
    else this.#generations.start(isToWait);
    const stopWatch = timers.every(WATCH_INTERVAL_MS, () => {
      this.#watchAbsent();
      this.quorum.tick();
      this.#generations?.tick();
      for (const watch of this.#watchers) watch(this.driver.state());
    });
    const stopPair =
      this.pair === undefined ? undefined : timers.every(PAIR_TICK_MS, () => this.pair?.tick());
    this.#stopWatch = () => {
      stopWatch();
      stopPair?.();
    };
    void this.membership.join();
  }

  stop(): void {
    this.#stopWatch?.();
    this.#stopWatch = undefined;
    this.membership.stop();
    this.driver.stop();
  }

  get proposals(): number {
    return this.#proposals;
  }

  get proposalsRefused(): number {
    return this.#proposalsRefused;
  }

  async propose(command: Command): Promise<CommandResult> {
    this.#proposals++;
    let result: CommandResult;
    try {
      result = await this.driver.propose(command);
    } catch (error) {
      this.#proposalsRefused++;
      throw error;
    }
    if (!result.ok) {
      this.#proposalsRefused++;
      this.#options.log("debug", `${command.type} refused: ${result.reason}`);
    }
    return result;
  }

  /**
   * Liveness says that `node` is dead on all links. Only nodes declare it down: a witness sees one link only. And only
   * nodes are declared down at once: nothing waits for a witness (see #watchAbsent()). `incarnation` is the highest that
   * the life in question has shown, 0 when it showed none: a later life must not be declared down for it.
   *
   * A node that is silent may be back in a moment. Where copies are proven a takeover costs nothing; where they are not it
   * breaks flows for certain, so such a node is given time, unless its process is provably gone (`isGone`).
   *
   * A member that hears no majority (`isDeaf`) may be the one that is cut off, while what it says is heard and would be
   * decided: it declares nobody down before it hears one.
   */
  peerDown(node: number, incarnation: number, isGone: boolean, isDeaf = false): void {
    if (isDeaf) {
      this.#judgeLater(node, incarnation);
      return;
    }
    const isLeader = this.driver.status().lead === node;
    this.driver.leaderDied(node);
    const { self } = this.#options.config.cluster;
    if (self.role !== "node" || this.#memberById(node)?.role !== "node") return;
    const present = this.driver.state().members.find((member) => member.id === node);
    if (incarnation !== 0 && present !== undefined && present.incarnation > incarnation) return;
    if (downCommand(this.driver.state(), node) === undefined || this.membership.isDeclaring(node)) return;
    if (!isGone && wouldLoseFlows(this.driver.state(), node)) {
      this.#deferTakeover(node);
      return;
    }
    if (this.driver.company?.mayDeclareDown(node, isLeader, this.#options.alive()) === false) {
      this.#absent.expect(node, 0, this.#options.timers.nowMs());
      return;
    }
    this.#options.journal.add("takeover-proposed", `${this.name(node)} is to be declared down`, {
      node,
      epoch: this.driver.state().table.epoch,
    });
    this.membership.peerDied(node, isLeader);
  }

  /** Empties a node of its slots, losing nothing. Resolves when it owns none; answers the epoch. */
  async drain(name: string, timeoutMs: number): Promise<number> {
    const member = this.#memberByName(name);
    this.#options.journal.add("drain", `${name} is being drained`, { node: member.id });
    await this.command({ type: "setState", node: member.id, state: "draining" });
    return this.until(`${name} to be drained`, timeoutMs, (state) => stateOf(state, member.id) === "drained");
  }

  /** Lets a drained node take part again. Resolves when slots are balanced and proven; answers the epoch. */
  async rejoin(name: string, timeoutMs: number): Promise<number> {
    const member = this.#memberByName(name);
    this.#options.journal.add("rejoin", `${name} rejoins`, { node: member.id });
    const present = stateOf(this.driver.state(), member.id);
    if (present === "draining") await this.command({ type: "setState", node: member.id, state: "active" });
    if (present === "drained") await this.command({ type: "setState", node: member.id, state: "joining" });
    if (present === "down") {
      throw new SynwallError(
        "SW_CONTROL_REFUSED",
        `Cannot rejoin ${name}: it is down; start it, it then rejoins by itself`,
      );
    }
    return this.until(
      `${name} to be back`,
      timeoutMs,
      (state) => stateOf(state, member.id) === "active" && isSettled(state),
    );
  }

  name(id: number): string {
    return this.#memberById(id)?.name ?? `member ${id}`;
  }

  #memberById(id: number): MemberConfig | undefined {
    const { self } = this.#options.config.cluster;
    return id === self.id ? self : this.peers.find(id);
  }

  #memberByName(name: string): { readonly id: number } {
    const { self } = this.#options.config.cluster;
    const nodes = [self, ...this.peers.present()].filter(({ role }) => role === "node");
    for (const node of nodes) if (node.name === name) return node;
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      `no node "${name}" in this cluster: use one of ${nodes.map((node) => node.name).join(", ")}`,
    );
  }

  /** Has the cluster decide it. Throws SW_CONTROL_REFUSED with the reason, SW_CONTROL_TIMEOUT. */
  async command(command: Command): Promise<void> {
    const result = await this.propose(command);
    if (!result.ok) throw new SynwallError("SW_CONTROL_REFUSED", result.reason);
  }

  /** Resolves with the epoch when `isDone`, which may depend on more than the state; rejects with SW_CONTROL_TIMEOUT. */
  until(what: string, timeoutMs: number, isDone: (state: ClusterState) => boolean): Promise<number> {
    const now = this.driver.state();
    if (isDone(now)) return Promise.resolve(now.table.epoch);
    return new Promise((resolve, reject) => {
      const callOff = this.#options.timers.after(timeoutMs, () => {
        this.#watchers.delete(watch);
        reject(
          new SynwallError(
            "SW_CONTROL_TIMEOUT",
            `Waited ${timeoutMs} ms for ${what}: it goes on by itself; 'synwall status' shows how far it is`,
          ),
        );
      });
      const watch = (state: ClusterState): void => {
        if (!isDone(state)) return;
        callOff();
        this.#watchers.delete(watch);
        resolve(state.table.epoch);
      };
      this.#watchers.add(watch);
    });
  }

  #onCommitted(state: ClusterState, committed: Committed): void {
    const { table } = state;
    this.peers.observe(state);
    // The worker first: its slots wait for this table, nothing else does.
    this.#options.onState(state, this.membership.incarnation);
    // What was decided before this process was let in is history: it did not happen now.
    if (table.epoch !== this.#epoch && this.membership.incarnation !== 0) {
      this.#epoch = table.epoch;
      const node = committed.command?.type === "down" ? committed.command.node : 0;
      const text =
        node === 0
          ? `epoch ${table.epoch}: ${table.cause}`
          : `epoch ${table.epoch}: ${this.name(node)} is down`;
      this.#options.journal.add("epoch-committed", text, { epoch: table.epoch, node });
    }
    this.membership.onCommitted();
    this.succession.observe(state, committed.command);
    for (const watch of this.#watchers) watch(state);
  }

  #onLeader(lead: number, term: number): void {
    const number = termInside(term);
    const text = lead === 0 ? `no leader in term ${number}` : `${this.name(lead)} leads in term ${number}`;
    this.#options.journal.add("leader", text, { node: lead });
    this.succession.observeLead(lead);
  }

  #makePair(): PairKeeper | undefined {
    const { config, timers, alive, probe, journal } = this.#options;
    const { self, isPair, founders, profile, forgiveAfterMs } = config.cluster;
    const driver = this.#generations;
    if (!isPair || probe === undefined || driver === undefined) return undefined;
    return new PairKeeper({
      self: self.id,
      founders,
      profile: PROFILES[profile],
      startPatienceMs: forgiveAfterMs,
      timers,
      driver,
      alive,
      isAdmitted: () => this.membership.isAdmitted,
      probe,
      journal,
      nameOf: (id) => this.name(id),
    });
  }

  #onYielding(isYielding: boolean, winner: number): void {
    const name = this.name(winner);
    const text = isYielding
      ? `${name} went on alone as well, and its log wins: this node gives way and takes over what ${name} decided`
      : `${name} is not heard any more: this node goes on with its own log`;
    this.#options.journal.add("forced", text, { node: winner });
    if (!isYielding) {
      this.membership.rejoin();
      return;
    }
    this.membership.suspend();
    this.#options.onState(this.driver.state(), 0);
  }

  #judgeLater(node: number, incarnation: number): void {
    const { intervalMs } = PROFILES[this.#options.config.cluster.profile];
    this.#options.timers.after(DEAF_INTERVALS * intervalMs, () => {
      if (this.#stopWatch === undefined || this.#options.alive().has(node)) return;
      this.peerDown(node, incarnation, false, !this.#hearsMajority());
    });
  }

  /** A store that votes counts as heard, as for leases: where it is not, nothing can be committed. */
  #hearsMajority(): boolean {
    const { voters } = quorumOf(this.driver.state(), leaseVoters(this.#options.config));
    const alive = this.#options.alive();
    const heard = voters.filter((id) => id === STORE_VOTER || alive.has(id));
    return voters.length < 3 || 2 * heard.length > voters.length;
  }

  /** Leaves the silent node to #watchAbsent(), sooner than one that nobody saw dying. */
  #deferTakeover(node: number): void {
    const { config, journal, timers } = this.#options;
    const patienceMs = UNPROVEN_LEASES * PROFILES[config.cluster.profile].leaseMs;
    this.#absent.expect(node, patienceMs, timers.nowMs());
    const text = `${this.name(node)} is silent, but no copy of all its flows is proven yet: it has ${patienceMs} ms to come back`;
    journal.add("takeover-deferred", text, { node, epoch: this.driver.state().table.epoch });
  }

  /** A member that nobody hears and nobody saw die keeps slots that nobody serves. */
  #watchAbsent(): void {
    const { self } = this.#options.config.cluster;
    if (self.role !== "node" || !this.membership.isAdmitted) return;
    const alive = this.#options.alive();
    const nowMs = this.#options.timers.nowMs();
    if (!this.#hearsMajority()) {
      this.#absent.forget();
      return;
    }
    const absent = this.#absent.due(this.driver.state().members, alive, nowMs);
    for (const id of absent) this.membership.peerDied(id);
  }
}

function stateOf(state: ClusterState, id: number): string | undefined {
  return state.members.find((member) => member.id === id)?.state;
}
