/**
 * Witness: a voter without a dataplane, as a running process. Keeps the log, votes on leases and fences, never owns a slot.
 * Starts all or nothing, as a node does.
 */
import { mkdirSync } from "node:fs";
import { systemTimers } from "../../cluster/control/timers.ts";
import { PROFILES } from "../../cluster/liveness/model.ts";
import { DurableStorage } from "../../cluster/storage/durable-storage.ts";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import { loadTls } from "../../cluster/transport/tls.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { VERSION } from "../../config/version.ts";
import { LatencyHistogram } from "../base/histogram.ts";
import { Metrics } from "../metrics/registry.ts";
import type { MetricsSnapshot } from "../metrics/snapshot.ts";
import { witnessHandlers } from "./admin-handlers.ts";
import type { StatusReport } from "./admin-model.ts";
import { AdminServer } from "./admin-server.ts";
import { nowMs } from "./clock.ts";
import { Controller } from "./controller.ts";
import { HttpServer } from "./http-server.ts";
import { Journal } from "./journal.ts";
import { deriveKeys, heartbeatMac } from "./keys.ts";
import type { Log } from "./log.ts";
import { buildStatus } from "./status.ts";
import { WitnessHeartbeats } from "./witness-heartbeats.ts";

export class Witness {
  readonly journal: Journal;
  readonly #config: NodeConfig;
  readonly #log: Log;
  readonly #onFatal: (error: unknown) => void;
  readonly #undo: (() => void | Promise<void>)[] = [];
  readonly #startedMs = nowMs();
  #isStopping = false;
  #storage!: DurableStorage;
  #transport!: GrpcTransport;
  #heartbeats!: WitnessHeartbeats;
  #controller!: Controller;

  constructor(config: NodeConfig, log: Log, onFatal: (error: unknown) => void) {
    this.#config = config;
    this.#log = log;
    this.#onFatal = onFatal;
    this.journal = new Journal((event) => log.event(event));
  }

  get controller(): Controller {
    return this.#controller;
  }

  /** Starts everything or nothing. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.journal.add("stopping", "this witness is stopping");
    for (const undo of this.#undo.reverse()) await undo();
  }

  status(): StatusReport {
    const { cluster } = this.#config;
    const { driver } = this.#controller;
    const raft = driver.status();
    const state = driver.state();
    const alive = this.#alive();
    return buildStatus({
      cluster: cluster.name,
      self: cluster.self,
      version: VERSION,
      uptimeMs: nowMs() - this.#startedMs,
      state,
      raft,
      voters: raft.voters.length,
      peers: cluster.members
        .filter((member) => member.id !== cluster.self.id)
        .map((member) => ({
          id: member.id,
          name: member.name,
          role: member.role,
          state: state.members.find((candidate) => candidate.id === member.id)?.state ?? "unknown",
          alive: alive.has(member.id),
          links: { cluster: alive.has(member.id) },
        })),
      unsettledOwn: 0,
      unprotectedFlows: 0,
    });
  }

  async #start(): Promise<void> {
    const { cluster, control } = this.#config;
    const others = cluster.members.filter((member) => member.id !== cluster.self.id);
    const tls = loadTls(cluster.tls, cluster.self.name);
    mkdirSync(control.dataDir, { recursive: true, mode: 0o700 });
    this.#storage = DurableStorage.open({
      directory: control.dataDir,
      clusterName: cluster.name,
      nodeId: cluster.self.id,
      voters: cluster.members.map((member) => member.id),
      slots: cluster.slots,
    });
    this.#undo.push(() => this.#storage.close());
    this.#transport = new GrpcTransport({
      self: cluster.self,
      peers: others,
      port: cluster.ports.grpc,
      tls,
      onRefused: (why) => this.#log.line("warn", why),
    });
    this.#undo.push(() => this.#transport.close());
    this.#heartbeats = this.#makeHeartbeats();
    await this.#heartbeats.start();
    this.#undo.push(() => this.#heartbeats.stop());
    this.#controller = new Controller({
      config: this.#config,
      storage: this.#storage,
      transport: this.#transport,
      timers: systemTimers,
      journal: this.journal,
      alive: () => this.#alive(),
      isQuiet: (node) => this.#heartbeats.authority.heartbeats.isQuiet(node, nowMs()),
      onState: (state, ownIncarnation) =>
        this.#heartbeats.authority.applyState(state, ownIncarnation, nowMs()),
      onAdmitted: () => {
        this.#heartbeats.authority.setCaughtUp();
        this.journal.add("ready", `${cluster.self.name} was let in`);
      },
      onFatal: this.#onFatal,
      log: (level, text) => this.#log.line(level, text),
    });
    await this.#transport.start(
      this.#controller.handlers({ version: VERSION, onSyncLink: (_from, link) => link.close() }),
    );
    const admin = new AdminServer(control.socket, witnessHandlers(this));
    await admin.start();
    this.#undo.push(() => admin.stop());
    const metrics = new Metrics(() => this.#metrics());
    const http = new HttpServer(control.http.address, control.http.port, {
      metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
      health: () => {
        const { isReady, alerts, epoch, leader } = this.status();
        return { isHealthy: isReady, body: { isHealthy: isReady, epoch, leader, alerts } };
      },
    });
    await http.start();
    this.#undo.push(() => http.stop());
    this.#undo.push(() => this.#controller.stop());
    this.#controller.start();
    this.journal.add("started", `witness ${cluster.self.name} started`);
  }

  #makeHeartbeats(): WitnessHeartbeats {
    const { cluster } = this.#config;
    const nodes = cluster.members.filter((member) => member.id !== cluster.self.id && member.role === "node");
    return new WitnessHeartbeats({
      config: {
        selfId: cluster.self.id,
        cluster: cluster.name,
        profile: PROFILES[cluster.profile],
        peers: nodes.map((member) => ({ nodeId: member.id, role: member.role, links: [0] })),
        voters: cluster.members.map((member) => member.id),
        slots: cluster.slots,
      },
      mac: heartbeatMac(deriveKeys(cluster.secret, cluster.name).heartbeatKey),
      address: cluster.self.address,
      peerAddresses: new Map(nodes.map((member) => [member.id, member.address])),
      onEvent: (event) => {
        if (event.type === "peerDown") {
          this.#controller.peerDown(event.node, event.incarnation);
          this.journal.add(
            "peer-down",
            `${this.#controller.name(event.node)} is silent on the cluster link`,
            event,
          );
        } else if (event.type === "peerUp") {
          this.journal.add("peer-up", `${this.#controller.name(event.node)} is heard`, event);
        }
      },
    });
  }

  #alive(): ReadonlySet<number> {
    const { cluster } = this.#config;
    const { heartbeats } = this.#heartbeats.authority;
    return new Set(
      cluster.members
        .map((member) => member.id)
        .filter((id) => id === cluster.self.id || heartbeats.isAlive(id)),
    );
  }

  #metrics(): MetricsSnapshot {
    const { cluster } = this.#config;
    const status = this.status();
    const { driver, proposals, proposalsRefused } = this.#controller;
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
        slotsUnsynced: status.slots.synced.filter((isSynced) => !isSynced).length,
      },
      raft: {
        term: raft.term,
        commitIndex: raft.commit,
        isLeader: raft.lead === cluster.self.id,
        proposals,
        proposalsRefused,
        fsync: this.#storage.syncLatency,
      },
      peers: status.peers.map((peer) => ({ name: peer.name, isAlive: peer.alive, links: peer.links })),
      failover: { takeovers: 0, detect: none, decide: none, activate: none },
      transport: {
        refusals: {
          certificate: this.#transport.counters.peersRefused,
          malformed: this.#transport.counters.malformed,
        },
      },
    };
  }
}
