/**
 * Node: one forwarding member as a running process. Starts its parts in the order in which they can refuse, connects them, and
 * takes them down again in reverse. Owns the wiring between threads, disk and network; every rule lives in the parts.
 *
 *   disk -> certificates, listeners -> dataplane worker -> admin socket, HTTP -> Raft -> "up"
 */
import { mkdirSync } from "node:fs";
import type { ClusterState } from "../../cluster/control/model.ts";
import { systemTimers } from "../../cluster/control/timers.ts";
import { PROFILES } from "../../cluster/liveness/model.ts";
import { DurableStorage } from "../../cluster/storage/durable-storage.ts";
import type { SyncLink } from "../../cluster/sync/link.ts";
import { Replication } from "../../cluster/sync/replication.ts";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import { loadTls, type TlsMaterial } from "../../cluster/transport/tls.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { VERSION } from "../../config/version.ts";
import { SynwallError } from "../base/errors.ts";
import { clusterMtuNeeded } from "../base/mtu.ts";
import { RecordRing } from "../base/ring.ts";
import { counterIndex } from "../dataplane/counters.ts";
import { flowTableBytes } from "../dataplane/flow-table.ts";
import { Metrics } from "../metrics/registry.ts";
import { policyFingerprint } from "../policy/fingerprint.ts";
import { adminHandlers } from "./admin-handlers.ts";
import { AdminServer } from "./admin-server.ts";
import { nowMs, realEnv } from "./clock.ts";
import { Controller } from "./controller.ts";
import { DataplaneHost, type Started } from "./dataplane-host.ts";
import { FailoverTimes } from "./failover-times.ts";
import { HEARTBEAT_UDP_PORT } from "./heartbeat-frames.ts";
import { HttpServer } from "./http-server.ts";
import { Journal } from "./journal.ts";
import { deriveKeys } from "./keys.ts";
import { LAG_SAMPLE_INTERVAL_MS, LagRecorder } from "./lag-recorder.ts";
import { LifelineHost } from "./lifeline-host.ts";
import type { Log } from "./log.ts";
import { NodeReport } from "./node-report.ts";
import { createSharedMemory, type SharedMemory } from "./shared-memory.ts";
import { DOORBELL, type FromWorker, type WorkerPeer, type WorkerSetup } from "./worker-protocol.ts";

/** Packets that wait in the worker, for an acknowledgement or otherwise. */
const HELD = counterIndex("heldNow");
/** GENEVE (RFC 8926). */
const REDIRECT_UDP_PORT = 6081;

export class Node {
  readonly config: NodeConfig;
  readonly journal: Journal;
  readonly failover = new FailoverTimes();
  readonly lag = new LagRecorder();
  readonly memory: SharedMemory;
  readonly #log: Log;
  readonly #onFatal: (error: unknown) => void;
  readonly #undo: (() => void | Promise<void>)[] = [];
  #isFenced = true;
  #revision = -1;
  #epoch = 0;
  #incarnation = 0;
  #isStopping = false;
  #isDrainDue = false;
  #isWakeDue = false;
  #claimsSeen = 0;
  readonly #counters: Float64Array;
  readonly #lifelinesUp = new Set<number>();
  readonly #changes: RecordRing;
  readonly #replicas: RecordRing;
  readonly #acked: Float64Array;
  // Set by start(), in this order.
  #transport!: GrpcTransport;
  #lifelines!: LifelineHost;
  #host!: DataplaneHost;
  #replication!: Replication;
  #controller!: Controller;
  #started!: Started;
  #storage!: DurableStorage;

  constructor(config: NodeConfig, log: Log, onFatal: (error: unknown) => void) {
    this.config = config;
    this.#log = log;
    this.#onFatal = onFatal;
    this.journal = new Journal((event) => log.event(event));
    const dataplane = config.dataplane!;
    this.memory = createSharedMemory(flowTableBytes(dataplane.flowsMax), dataplane.policy.rules.length);
    this.#changes = new RecordRing(this.memory.changes);
    this.#replicas = new RecordRing(this.memory.replicas);
    this.#acked = new Float64Array(this.memory.acked);
    this.#counters = new Float64Array(this.memory.counters);
  }

  get isFenced(): boolean {
    return this.#isFenced;
  }

  get parts(): {
    readonly transport: GrpcTransport;
    readonly host: DataplaneHost;
    readonly replication: Replication;
    readonly controller: Controller;
    readonly started: Started;
    readonly storage: DurableStorage;
  } {
    return {
      transport: this.#transport,
      host: this.#host,
      replication: this.#replication,
      controller: this.#controller,
      started: this.#started,
      storage: this.#storage,
    };
  }

  /** Starts everything or nothing: on failure what was started is stopped again, and the error is thrown on. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops in order: gives up the lease and says good-bye, so that peers need not detect anything. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.journal.add("stopping", "this node is stopping");
    for (const undo of this.#undo.reverse()) await undo();
  }

  async #start(): Promise<void> {
    const { cluster, control } = this.config;
    const others = cluster.members.filter((member) => member.id !== cluster.self.id);
    const tls = loadTls(cluster.tls, cluster.self.name);
    await this.#startLifelines(tls);
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
    await this.#startDataplane();
    this.#makeReplication();
    this.#controller = new Controller({
      config: this.config,
      storage: this.#storage,
      transport: this.#transport,
      timers: systemTimers,
      journal: this.journal,
      alive: () => this.#host.alive(),
      onState: (state, ownIncarnation) => this.#onState(state, ownIncarnation),
      onAdmitted: () => this.#onAdmitted(),
      onFatal: (error) => this.#onFatal(error),
      log: (level, text) => this.#log.line(level, text),
    });
    await this.#transport.start(
      this.#controller.handlers({
        version: VERSION,
        onSyncLink: (from, link) => this.#replication.attachReceiver(this.#watched(link), from),
      }),
    );

    const report = new NodeReport(this);
    const admin = new AdminServer(control.socket, adminHandlers(report));
    await admin.start();
    this.#undo.push(() => admin.stop());
    const metrics = new Metrics(() => report.metrics());
    const http = new HttpServer(control.http.address, control.http.port, {
      metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
      health: () => report.health(),
    });
    await http.start();
    this.#undo.push(() => http.stop());

    this.#undo.push(() => this.#controller.stop());
    this.#controller.start();
    this.journal.add("started", `${cluster.self.name} started, ports by ${this.#started.reason}`);
  }

  /** First of all: what is open by now is copied into the thread's own descriptor table, and must stay little. */
  async #startLifelines(tls: TlsMaterial): Promise<void> {
    const { cluster, dataplane } = this.config;
    const { self, members, ports } = cluster;
    this.#lifelines = new LifelineHost(
      {
        self,
        peers: members.filter((member) => member.role === "node" && member.id !== self.id),
        port: ports.lifeline,
        tls,
        realtime: dataplane!.realtime,
      },
      {
        onUp: (node) => {
          this.#lifelinesUp.add(node);
          this.#host?.post({ type: "lifeline", node, isOpen: true });
        },
        onClosed: (node) => this.#onLifelineClosed(node),
        onRefused: (why) => this.#log.line("warn", why),
        onDeath: (error) => this.#onFatal(error),
      },
    );
    this.#undo.push(() => this.#lifelines.stop());
    await this.#lifelines.start();
  }

  async #startDataplane(): Promise<void> {
    this.#host = new DataplaneHost(this.#workerSetup(), {
      onDoorbell: () => this.#onDoorbell(),
      onMessage: (message) => this.#onWorker(message),
      onDeath: (error) => this.#onFatal(error),
    });
    this.#undo.push(() => this.#host.stop());
    this.#started = await this.#host.start();
    for (const node of this.#lifelinesUp) this.#host.post({ type: "lifeline", node, isOpen: true });
    this.#log.line("info", `dataplane: ${this.#started.reason}; ${this.#started.realtimeReason}`);
    const ports = this.#started.ports;
    const needed = clusterMtuNeeded(Math.max(...ports.slice(0, -1).map((port) => port.mtuBytes)));
    const cluster = ports.at(-1);
    if (cluster !== undefined && cluster.mtuBytes < needed) {
      throw new SynwallError(
        "SW_IO_INTERFACE",
        `dataplane.interfaces: the cluster link ${cluster.name} has MTU ${cluster.mtuBytes}, redirected frames need ${needed}: ip link set ${cluster.name} mtu ${needed}`,
      );
    }
  }

  #workerSetup(): WorkerSetup {
    const { cluster, dataplane } = this.config;
    const { interfaces, policy, driver, realtime, flowsMax } = dataplane!;
    const zoneLinks = interfaces.slice(0, -1).map((_, index) => index + 1);
    const peers: WorkerPeer[] = cluster.members
      .filter((member) => member.id !== cluster.self.id)
      .map((member) => ({
        nodeId: member.id,
        name: member.name,
        role: member.role,
        address: member.address,
        links: member.role === "node" ? [0, ...zoneLinks] : [0],
      }));
    return {
      memory: this.memory,
      flowsMax,
      policy,
      driver,
      realtime,
      ports: interfaces.map((port) => ({
        interfaceName: port.name,
        filter: port.cluster
          ? { kind: "cluster", udpPorts: [HEARTBEAT_UDP_PORT, REDIRECT_UDP_PORT] }
          : { kind: "all" },
      })),
      selfId: cluster.self.id,
      selfAddress: cluster.self.address,
      slots: cluster.slots,
      profile: PROFILES[cluster.profile],
      peers,
      voters: cluster.members.map((member) => member.id),
      ...deriveKeys(cluster.secret, cluster.name),
      clusterName: cluster.name,
    };
  }

  #makeReplication(): void {
    const { cluster } = this.config;
    const { memory } = this;
    this.#replication = new Replication({
      selfId: cluster.self.id,
      slots: cluster.slots,
      changes: this.#changes,
      replicas: this.#replicas,
      applied: new Float64Array(memory.applied),
      acked: this.#acked,
      env: realEnv,
      policy: policyFingerprint(this.config.dataplane!.policy, cluster.slots),
      openLink: (peer) => this.#watched(this.#transport.openSyncLink(peer)),
      requestExport: (slots) => this.#host.post({ type: "export", slots }),
      requestDigest: (slots) => this.#host.post({ type: "digest", slots }),
      reportReady: (slots, backupEpochs) =>
        void this.#propose({ type: "ready", node: cluster.self.id, slots, backupEpochs }),
    });
    const peers = cluster.members.filter((member) => member.role === "node" && member.id !== cluster.self.id);
    for (const peer of peers) this.#replication.addPeer(peer.id);
    const stop = systemTimers.every(LAG_SAMPLE_INTERVAL_MS, () => {
      const now = nowMs();
      for (const peer of peers) {
        this.lag.add(now, peer.id, this.#replication.status(peer.id, now).lagMs);
      }
      this.#replication.tick(now);
      this.#onDoorbell();
    });
    this.#undo.push(stop);
  }

  /** The rings have news: send changes, acknowledge replicas, wake the worker when peers acknowledged ours. */
  #onDoorbell(): void {
    if (this.#isStopping) return;
    const isMore = this.#replication.onDoorbell(nowMs());
    this.#wakeWorker();
    // Before sleeping: ask to be woken, and look once more, so that nothing comes between.
    if ((isMore || !this.#changes.arm()) && !this.#isDrainDue) {
      this.#isDrainDue = true;
      setImmediate(() => {
        this.#isDrainDue = false;
        this.#onDoorbell();
      });
    }
  }

  /** The same link; after each message, the worker is woken when there is something for it. */
  #watched<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return {
      bind: (handlers) =>
        link.bind({
          onOpen: () => handlers.onOpen(),
          onMessage: (message) => {
            handlers.onMessage(message);
            this.#onPeerMessage();
          },
          onWritable: () => handlers.onWritable(),
          onClose: (why) => handlers.onClose(why),
        }),
      send: (message) => link.send(message),
      pause: () => link.pause(),
      resume: () => link.resume(),
      close: () => link.close(),
    };
  }

  /** A peer said something: replicas may lie in the ring, or its acknowledgement may let packets go. One doorbell for all of it. */
  #onPeerMessage(): void {
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    queueMicrotask(() => {
      this.#isWakeDue = false;
      this.#wakeWorker();
    });
  }

  #wakeWorker(): void {
    const { claims } = this.#replication.router.counts;
    const isAckNews = claims !== this.#claimsSeen && this.#counters[HELD]! > 0;
    this.#claimsSeen = claims;
    if ((this.#replicas.length() > 0 && this.#replicas.takeArmed()) || isAckNews) this.#host.post(DOORBELL);
  }

  #onWorker(message: Exclude<FromWorker, 0>): void {
    switch (message.type) {
      case "liveness":
        this.#onLiveness(message.event);
        return;
      case "slots": {
        const kind = ({ gained: "slots-gained", lost: "slots-lost", steered: "steered" } as const)[
          message.change
        ];
        const { slots, epoch, atMs } = message;
        this.journal.add(kind, `${slots.length} slots ${message.change}`, { slots, epoch, atMs });
        if (message.change === "gained") this.failover.gained(atMs);
        return;
      }
      case "settle":
        void this.#propose({
          type: "settled",
          node: this.config.cluster.self.id,
          slots: message.slots,
          movedEpochs: message.movedEpochs,
        });
        return;
      case "fenced":
        this.#isFenced = message.isFenced;
        this.journal.add(
          message.isFenced ? "fenced" : "unfenced",
          message.isFenced ? "the lease ran out" : "the lease is valid",
          {
            atMs: message.atMs,
          },
        );
        return;
      case "digest":
        this.#replication.digestResult(message.slot, message.isEqual);
        return;
      case "carrier": {
        const name = this.config.dataplane!.interfaces[message.port]?.name ?? "";
        this.journal.add(
          message.isUp ? "link-up" : "link-down",
          `carrier of ${name} is ${message.isUp ? "back" : "lost"}`,
          {
            atMs: message.atMs,
          },
        );
        return;
      }
      case "started":
      case "failed":
      case "stopped":
        return;
      default:
        message satisfies never;
    }
  }

  #onLiveness(event: Extract<FromWorker, { type: "liveness" }>["event"]): void {
    if (event.type === "stalled") {
      this.journal.add("stall", `the packet worker was late by ${event.lateMs.toFixed(1)} ms`, {
        atMs: event.atMs,
      });
      return;
    }
    const { node, atMs } = event;
    const name = this.#controller?.name(node) ?? `member ${node}`;
    switch (event.type) {
      case "linkUp":
      case "linkDown": {
        const kind = event.type === "linkUp" ? "link-up" : "link-down";
        this.journal.add(
          kind,
          `${name} is ${event.type === "linkUp" ? "heard" : "silent"} on link ${event.link}`,
          { node, atMs },
        );
        return;
      }
      case "peerUp":
        this.journal.add("peer-up", `${name} is heard`, { node, atMs });
        return;
      case "peerDown":
        // The takeover first: everything else can wait.
        this.#controller.peerDown(node, event.incarnation);
        this.failover.judged(node, event.lastHeardMs, atMs);
        this.journal.add("peer-down", `${name} is dead: ${event.cause}`, { node, atMs });
        return;
      case "peerGone":
        this.journal.add("peer-down", `the process of ${name} is gone for good`, { node, atMs });
        return;
      default:
        event satisfies never;
    }
  }

  #onLifelineClosed(node: number): void {
    this.#lifelinesUp.delete(node);
    this.#host?.post({ type: "lifeline", node, isOpen: false });
    this.journal.add(
      "lifeline-closed",
      `the process of ${this.#controller?.name(node) ?? `member ${node}`} closed its lifeline`,
      {
        node,
      },
    );
  }

  #onState(state: ClusterState, ownIncarnation: number): void {
    const { table, members, revision } = state;
    if (revision === this.#revision && ownIncarnation === this.#incarnation) return;
    this.#revision = revision;
    this.#incarnation = ownIncarnation;
    // Replication first, so that no record of the new epoch is routed by the old table.
    this.#replication.setTable(table);
    this.#host.post({ type: "state", table, members, ownIncarnation });
    if (table.epoch === this.#epoch) return;
    this.#epoch = table.epoch;
    if (table.cause !== "takeover") return;
    for (const member of members) if (member.state === "down") this.failover.committed(member.id, nowMs());
  }

  #onAdmitted(): void {
    this.#host.post({ type: "caughtUp" });
    const { driver, membership } = this.#controller;
    this.#onState(driver.state(), membership.incarnation);
    this.journal.add("ready", `${this.config.cluster.self.name} was let in`);
  }

  async #propose(command: Parameters<Controller["propose"]>[0]): Promise<void> {
    try {
      await this.#controller.propose(command);
    } catch (error) {
      // The parts repeat what stays undone.
      this.#log.line("debug", `${command.type}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
