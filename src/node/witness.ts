/**
 * Witness: a voter without a dataplane, as a running process. Keeps the log, votes on leases and fences, never owns a slot.
 * Starts all or nothing, as a node does. Owns disk and network; how the parts work together is witness-core.ts.
 */
import { mkdirSync } from "node:fs";
import { systemTimers } from "../../cluster/control/timers.ts";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { Metrics } from "../metrics/registry.ts";
import { AdminServer } from "./admin-server.ts";
import { CERTIFICATE_WATCH_MS, CertificateWatch } from "./certificate-watch.ts";
import { Certificates } from "./certificates.ts";
import { realEnv, wallMs } from "./clock.ts";
import type { ClusterAdminParts } from "./cluster-admin.ts";
import { checkDiskRoom, DiskWatch, diskFreeBytesMin } from "./disk-watch.ts";
import { senderAt } from "./heartbeat-sender.ts";
import { HttpServer } from "./http-server.ts";
import { Journal } from "./journal.ts";
import { KEEP_AGAIN_MS, KeptMembers } from "./kept-members.ts";
import type { Log } from "./log.ts";
import { MACHINE_WATCH_MS, MachineWatch } from "./machine-watch.ts";
import { logIdOf } from "./open-driver.ts";
import { openRegistration } from "./open-registration.ts";
import { type OpenedStore, openStore } from "./open-store.ts";
import type { RestartWay } from "./processes.ts";
import { REFUSAL_LINES_MS, RefusalLines } from "./refusal-lines.ts";
import type { Registration } from "./registration.ts";
import { SuspensionWatch } from "./suspension-watch.ts";
import { witnessHandlers } from "./witness-admin.ts";
import { WitnessCore } from "./witness-core.ts";
import { WitnessHeartbeats } from "./witness-heartbeats.ts";

export class Witness {
  readonly #config: NodeConfig;
  readonly #journal: Journal;
  readonly #log: Log;
  readonly #onFatal: (error: unknown) => void;
  readonly #restart: RestartWay;
  readonly #undo: (() => void | Promise<void>)[] = [];
  readonly #suspension = new SuspensionWatch();
  readonly #kept: KeptMembers;
  #core: WitnessCore | undefined;
  #registration: Registration | undefined;
  #stopped: Promise<void> | undefined;

  constructor(config: NodeConfig, log: Log, onFatal: (error: unknown) => void, restart: RestartWay) {
    this.#config = config;
    this.#restart = restart;
    this.#log = log;
    this.#onFatal = onFatal;
    this.#journal = new Journal((event) => log.event(event));
    this.#kept = new KeptMembers(config, (text) => log.line("warn", text));
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

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#journal.add("stopping", "this witness is stopping");
    for (const undo of this.#undo.reverse()) await undo();
  }

  async #start(): Promise<void> {
    const { cluster, control } = this.#config;
    const others = cluster.members.filter((member) => member.id !== cluster.self.id);
    const certificates: Certificates = new Certificates({
      cluster,
      registrars: () => [cluster.self, ...(this.#core?.controller.peers.all() ?? [])],
      onChange: (tls) => {
        transport.setTls(tls);
        this.#registration?.setTls(tls);
      },
      onNote: (text) => this.#log.line("warn", text),
    });
    mkdirSync(control.dataDir, { recursive: true, mode: 0o700 });
    checkDiskRoom(control.dataDir, diskFreeBytesMin(this.#config));
    const store = await openStore(this.#config);
    this.#undo.push(() => store.close());
    const transport = new GrpcTransport({
      self: cluster.self,
      peers: others,
      port: cluster.ports.grpc,
      tls: certificates.tls,
      founders: cluster.founders,
      onRefused: (why) => this.#log.line("warn", why),
    });
    this.#undo.push(() => transport.close());
    const core = await this.#startCore(store, transport, certificates);
    await transport.start(core.handlers());
    const registration = await openRegistration({
      config: this.#config,
      tls: certificates.tls,
      controller: core.controller,
      logId: logIdOf(store.storage),
      refused: transport.counters.refused,
      log: this.#log,
    });
    this.#registration = registration;
    this.#undo.push(() => registration?.close());
    await this.#startServers(core, store, {
      certificates,
      registration: () => (registration?.isOpen ? registration : undefined),
    });
    this.#undo.push(() => core.stop());
    core.start();
    this.#undo.push(() => core.controller.succession.handOver());
    this.#journal.add("started", `witness ${cluster.self.name} started`);
  }

  /** The core, with heartbeats running. */
  async #startCore(
    { storage, diskBeats }: OpenedStore,
    transport: GrpcTransport,
    certificates: Certificates,
  ): Promise<WitnessCore> {
    const { cluster } = this.#config;
    const machine = this.#watchMachine(diskBeats, certificates);
    const core: WitnessCore = new WitnessCore({
      config: this.#config,
      storage,
      transport,
      timers: systemTimers,
      env: { ...realEnv, nowMs: this.#suspension.nowMs },
      journal: this.#journal,
      log: this.#log,
      sendHeartbeat: (node, bytes) => heartbeats.send(node, bytes),
      onPeers: (_peers, present) => this.#kept.keep(present),
      onFatal: this.#onFatal,
      restart: this.#restart,
      machine,
    });
    this.#core = core;
    const heartbeats = new WitnessHeartbeats({
      address: cluster.self.address,
      addressOf: (node) => core.controller.peers.find(node)?.address,
      onDatagram: (bytes, address) => void core.receiveHeartbeat(bytes, senderAt(address)),
    });
    await heartbeats.start();
    core.startHeartbeats();
    const { refused, refusedSender } = core.authority.heartbeats;
    const lines = new RefusalLines(
      { heartbeats: () => ({ ...refused }), heartbeatSender: (reason) => refusedSender[reason] },
      (line) => this.#log.line("warn", line),
    );
    this.#undo.push(systemTimers.every(REFUSAL_LINES_MS, () => lines.tick()));
    this.#undo.push(() => {
      core.shutdown();
      heartbeats.close();
    });
    return core;
  }

  #watchMachine(diskBeats: OpenedStore["diskBeats"], certificates: Certificates): MachineWatch {
    const { cluster, control } = this.#config;
    const member = this.#config.cluster.self.name;
    const watch = new CertificateWatch({ member, certificates, wallMs, log: this.#log });
    this.#undo.push(systemTimers.every(CERTIFICATE_WATCH_MS, () => void watch.tick()));
    const machine = new MachineWatch({
      disk: new DiskWatch({
        self: cluster.self,
        directory: control.dataDir,
        freeBytesMin: diskFreeBytesMin(this.#config),
        journal: this.#journal,
      }),
      certificates: watch,
      diskBeats,
      clock: { nowMs: realEnv.nowMs, wallMs },
      readSuspension: () => this.#suspension.takeSuspendedMs(),
      journal: this.#journal,
      onHung: this.#onFatal,
    });
    this.#undo.push(systemTimers.every(MACHINE_WATCH_MS, () => machine.tick()));
    this.#undo.push(systemTimers.every(KEEP_AGAIN_MS, () => this.#kept.tick()));
    return machine;
  }

  async #startServers(
    core: WitnessCore,
    store: OpenedStore,
    parts: Partial<ClusterAdminParts>,
  ): Promise<void> {
    const { control } = this.#config;
    const admin = new AdminServer(control.socket, witnessHandlers(core, parts));
    await admin.start();
    this.#undo.push(() => admin.stop());
    const metrics = new Metrics(() => core.metrics(store));
    const http = new HttpServer(control.http.address, control.http.port, {
      metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
      health: () => {
        const { isReady, alerts, epoch, leader } = core.status();
        return { isHealthy: isReady, body: { isHealthy: isReady, epoch, leader, alerts } };
      },
    });
    await http.start();
    this.#undo.push(() => http.stop());
  }
}
