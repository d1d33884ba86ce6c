/**
 * Witness core: what a witness is besides disk and network: its vote on leases and fences joined to the control plane, and what
 * it says about itself. The process (witness.ts) runs it in real time, the simulator (chaos/sim/cluster) in virtual time.
 */
import { termInside } from "../../cluster/control/generation.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { Mac } from "../../cluster/liveness/envelope.ts";
import {
  CLUSTER_LINK,
  type LivenessEvent,
  type PeerConfig,
  PROFILES,
  restMsOf,
} from "../../cluster/liveness/model.ts";
import { Authority } from "../../cluster/takeover/authority.ts";
import type { Transport, TransportHandlers } from "../../cluster/transport/transport.ts";
import type { MemberConfig, NodeConfig } from "../../config/node-config.ts";
import { VERSION } from "../../config/version.ts";
import type { Env } from "../base/env.ts";
import { LatencyHistogram } from "../base/histogram.ts";
import type { MetricsSnapshot } from "../metrics/snapshot.ts";
import type { StatusReport } from "./admin-model.ts";
import { Controller } from "./controller.ts";
import type { Journal } from "./journal.ts";
import { deriveKeys, heartbeatMac } from "./keys.ts";
import { leaseVoters } from "./lease-voters.ts";
import { NO_LINKS } from "./link-watch.ts";
import type { Log } from "./log.ts";
import type { MachineWatch } from "./machine-watch.ts";
import { type ControlStorage, logIdOf } from "./open-driver.ts";
import type { OpenedStore } from "./open-store.ts";
import type { PeerListOptions } from "./peer-list.ts";
import { Processes, type RestartWay } from "./processes.ts";
import { Rhythm } from "./rhythm.ts";
import { buildStatus, slotsUnsynced, storeSnapshot } from "./status.ts";

/** Between two ticks of the heartbeats at least. */
const TICK_MS = 1;

export interface WitnessCoreOptions {
  readonly config: NodeConfig;
  readonly storage: ControlStorage;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly env: Env;
  readonly journal: Journal;
  readonly log: Pick<Log, "line">;
  /** Sends a heartbeat over the cluster link; `bytes` is valid during the call only. */
  readonly sendHeartbeat: (node: number, bytes: Uint8Array) => void;
  /** The other members are others than before; see PeerListOptions. */
  readonly onPeers?: PeerListOptions["onChange"];
  readonly onFatal: (error: unknown) => void;
  /** Absent where there is no machine (simulation). */
  readonly machine?: Pick<MachineWatch, "snapshot" | "alerts">;
  /** What heartbeats are sealed with; default: keys.ts. */
  readonly mac?: Mac;
  /** Absent where nobody can restart it (simulation). */
  readonly restart?: RestartWay;
}

export class WitnessCore {
  readonly journal: Journal;
  readonly controller: Controller;
  readonly processes: Processes;
  readonly #options: WitnessCoreOptions;
  readonly authority: Authority;
  readonly #rhythm: Rhythm;
  readonly #startedMs: number;

  constructor(options: WitnessCoreOptions) {
    this.#options = options;
    this.journal = options.journal;
    this.#startedMs = options.env.nowMs();
    this.authority = this.#makeAuthority();
    this.#rhythm = this.#makeRhythm();
    this.controller = this.#makeController();
    this.processes = this.#makeProcesses();
  }

  get founders(): readonly number[] {
    return leaseVoters(this.#options.config);
  }

  nowMs(): number {
    return this.#options.env.nowMs();
  }

  /** What the transport must call. A witness has no flows to replicate. */
  handlers(): TransportHandlers {
    return this.controller.handlers({
      version: VERSION,
      processes: this.processes,
      onSyncLink: (_from, link) => link.close(),
      links: NO_LINKS,
    });
  }

  /** Once the transport runs. */
  start(): void {
    this.controller.start();
  }

  stop(): void {
    this.controller.stop();
  }

  /** Once heartbeats can be sent and received. */
  startHeartbeats(): void {
    this.#rhythm.goOn(this.nowMs());
  }

  /** A heartbeat arrived. Answers the node that provably sent it, or 0. */
  receiveHeartbeat(bytes: Uint8Array, sender = 0): number {
    const nowMs = this.nowMs();
    const from = this.authority.receive(CLUSTER_LINK, bytes, nowMs, sender);
    this.#rhythm.goOn(nowMs);
    return from;
  }

  /** Lets no more time pass, and says good-bye in heartbeats. */
  shutdown(): void {
    this.#rhythm.stop();
    this.authority.shutdown(this.nowMs());
  }

  status(): StatusReport {
    const { cluster } = this.#options.config;
    const { driver } = this.controller;
    const raft = driver.status();
    const state = driver.state();
    const alive = this.#alive();
    return buildStatus({
      cluster: cluster.name,
      self: cluster.self,
      version: VERSION,
      uptimeMs: this.nowMs() - this.#startedMs,
      state,
      raft,
      voters: raft.voters,
      peers: this.controller.peers.all().map((member) => ({
        id: member.id,
        name: member.name,
        role: member.role,
        state: state.members.find((candidate) => candidate.id === member.id)?.state ?? "unknown",
        alive: alive.has(member.id),
        links: { cluster: alive.has(member.id) },
      })),
      unsettledOwn: 0,
      machineAlerts: this.#options.machine?.alerts() ?? [],
    });
  }

  metrics(store: Pick<OpenedStore, "syncLatency" | "counters">): MetricsSnapshot {
    const { config, transport, machine } = this.#options;
    const { cluster } = config;
    const status = this.status();
    const { driver, proposals, proposalsRefused } = this.controller;
    const raft = driver.status();
    const none = new LatencyHistogram();
    return {
      info: {
        cluster: cluster.name,
        node: cluster.self.name,
        role: "witness",
        version: VERSION,
        profile: cluster.profile,
        driver: "",
      },
      cluster: {
        epoch: status.epoch,
        hasLeader: raft.lead !== 0,
        isSettled: status.isSettled,
        isReady: status.isReady,
        isUnwitnessed: status.isUnwitnessed,
        memberStates: driver.state().members.map((member) => member.state),
        slotsUnsynced: slotsUnsynced(driver.state()),
      },
      raft: {
        term: termInside(raft.term),
        commitIndex: raft.commit,
        isLeader: raft.lead === cluster.self.id,
        proposals,
        proposalsRefused,
        proposalsWaiting: raft.proposalsWaiting,
        messagesRefused: raft.messagesRefused,
        fsync: store.syncLatency,
      },
      ...storeSnapshot(raft.store, store.counters),
      peers: status.peers.map((peer) => ({ name: peer.name, isAlive: peer.alive, links: peer.links })),
      failover: { takeovers: 0, detect: none, decide: none, activate: none },
      transport: { ...transport.counters, refusals: transport.counters.refused },
      heartbeats: { refused: this.authority.heartbeats.refused },
      ...(machine === undefined ? {} : { machine: machine.snapshot() }),
    };
  }

  #makeAuthority(): Authority {
    const { config, storage, env, sendHeartbeat, mac } = this.#options;
    const { cluster } = config;
    return new Authority(
      {
        selfId: cluster.self.id,
        role: "witness",
        cluster: cluster.name,
        profile: PROFILES[cluster.profile],
        peers: heartbeatPeers(cluster.members.filter(({ id }) => id !== cluster.self.id)),
        voters: leaseVoters(config),
        slots: cluster.slots,
        mac: mac ?? heartbeatMac(deriveKeys(cluster.secret, cluster.name, logIdOf(storage)).heartbeatKey),
        lifelineReleases: false,
      },
      env,
      {
        send: (_link, node, bytes) => sendHeartbeat(node, bytes),
        event: (event) => this.#onLiveness(event),
        effect: (effect) => {
          // What others claim matters to nodes: a witness follows the log that is led.
          if (effect.type === "voters") this.controller.quorum.known(effect.epoch);
        },
      },
    );
  }

  #makeRhythm(): Rhythm {
    const { config, timers } = this.#options;
    const restMs = restMsOf(PROFILES[config.cluster.profile]);
    let tickedMs = this.nowMs();
    const beating = {
      dueMs: (nowMs: number) =>
        Math.min(Math.max(this.authority.dueMs(nowMs), tickedMs + TICK_MS), tickedMs + restMs),
      isTickWorthwhile: (nowMs: number) => nowMs >= tickedMs + restMs / 2 || nowMs >= beating.dueMs(nowMs),
      tick: (nowMs: number, askedMs: number) => {
        tickedMs = nowMs;
        this.authority.tick(nowMs, askedMs);
      },
    };
    const onTimer = (): void => {
      const isLate = this.nowMs() > rhythm.askedMs + TICK_MS;
      // After a stall the heartbeats that lie in the socket come first.
      if (isLate) timers.afterInput(() => rhythm.goOn(this.nowMs()));
      else rhythm.goOn(this.nowMs());
    };
    const rhythm = new Rhythm(
      { beating, after: (ms, callback) => timers.after(ms, callback), onTimer },
      tickedMs,
    );
    return rhythm;
  }

  #makeController(): Controller {
    const { config, storage, transport, timers, env, journal, log, onFatal } = this.#options;
    return new Controller({
      config,
      storage,
      transport,
      timers,
      random: (bound) => env.random(bound),
      journal,
      alive: () => this.#alive(),
      isQuiet: (node) => this.authority.heartbeats.isQuiet(node, this.nowMs()),
      onPeers: (peers, present) => {
        transport.setPeers(peers);
        this.authority.setPeers(heartbeatPeers(peers), this.nowMs());
        this.#options.onPeers?.(peers, present);
      },
      onState: (state, ownIncarnation) => this.authority.applyState(state, ownIncarnation, this.nowMs()),
      onAdmitted: () => {
        this.authority.setCaughtUp();
        journal.add("ready", `${config.cluster.self.name} was let in`);
      },
      onFatal,
      log: (level, text) => log.line(level, text),
    });
  }

  #makeProcesses(): Processes {
    const { config, transport, timers, journal, restart } = this.#options;
    const { controller } = this;
    return new Processes({
      self: config.cluster.self,
      transport,
      timers,
      journal,
      recordFormats: [],
      restart,
      state: () => controller.driver.state(),
      incarnation: () => controller.membership.incarnation,
      peers: () => controller.peers.all(),
    });
  }

  #onLiveness(event: LivenessEvent): void {
    if (event.type === "peerDown") {
      this.controller.peerDown(event.node, event.incarnation, false);
      const text = `${this.controller.name(event.node)} is silent on the cluster link`;
      this.journal.add("peer-down", text, event);
    } else if (event.type === "peerUp") {
      this.journal.add("peer-up", `${this.controller.name(event.node)} is heard`, event);
    }
  }

  #alive(): ReadonlySet<number> {
    const { cluster } = this.#options.config;
    const { heartbeats } = this.authority;
    const peers = this.controller.peers.all().map(({ id }) => id);
    return new Set([cluster.self.id, ...peers.filter((id) => heartbeats.isAlive(id))]);
  }
}

/** Witnesses do not watch each other. */
function heartbeatPeers(peers: readonly MemberConfig[]): readonly PeerConfig[] {
  return peers
    .filter(({ role }) => role === "node")
    .map(({ id, role }) => ({ nodeId: id, role, links: [CLUSTER_LINK] }));
}
