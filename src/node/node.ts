/**
 * Node: one forwarding member as a running process. Starts its parts in the order in which they can refuse, and takes them
 * down again in reverse. Owns threads, disk and network; how the parts work together is node-core.ts.
 *
 *   certificates, lifelines -> disk -> dataplane worker -> listeners -> admin socket, HTTP -> Raft -> "up"
 */
import { mkdirSync } from "node:fs";
import { systemTimers } from "../../cluster/control/timers.ts";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import type { TlsMaterial } from "../../cluster/transport/tls.ts";
import { interfaceLabel, type MemberConfig, type NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";
import { RecordRing } from "../base/ring.ts";
import { clusterMtuNeeded } from "../dataplane/cluster-mtu.ts";
import { flowTableBytes } from "../dataplane/flow-table.ts";
import { Metrics } from "../metrics/registry.ts";
import { adminHandlers } from "./admin-handlers.ts";
import { AdminServer } from "./admin-server.ts";
import { CERTIFICATE_WATCH_MS, CertificateWatch } from "./certificate-watch.ts";
import { Certificates } from "./certificates.ts";
import { nowMs, realEnv, wallMs } from "./clock.ts";
import type { ClusterAdminParts } from "./cluster-admin.ts";
import { DataplaneHost, type Started } from "./dataplane-host.ts";
import { checkDiskRoom, DiskWatch, diskFreeBytesMin } from "./disk-watch.ts";
import { HttpServer } from "./http-server.ts";
import { Journal } from "./journal.ts";
import { KEEP_AGAIN_MS, KeptMembers } from "./kept-members.ts";
import { LifelineHost } from "./lifeline-host.ts";
import type { Log } from "./log.ts";
import { MACHINE_WATCH_MS, MachineWatch } from "./machine-watch.ts";
import { NodeCore } from "./node-core.ts";
import { NodeReport } from "./node-report.ts";
import { type ControlStorage, logIdOf } from "./open-driver.ts";
import { openRegistration } from "./open-registration.ts";
import { type OpenedStore, openStore } from "./open-store.ts";
import { loadPolicyApart } from "./policy-loader.ts";
import type { RestartWay } from "./processes.ts";
import { REFUSAL_LINES_MS, RefusalLines } from "./refusal-lines.ts";
import { nodeRefusals } from "./refusal-sources.ts";
import type { Registration } from "./registration.ts";
import { RULE_LOG_WRITE_MS, RuleLogLines } from "./rule-log-lines.ts";
import { createSharedMemory } from "./shared-memory.ts";
import { SuspensionWatch } from "./suspension-watch.ts";
import { WorkerBoard } from "./worker-board.ts";

export class Node {
  readonly #config: NodeConfig;
  readonly #journal: Journal;
  readonly #log: Log;
  readonly #onFatal: (error: unknown) => void;
  readonly #restart: RestartWay;
  readonly #undo: (() => void | Promise<void>)[] = [];
  readonly #lifelinesUp = new Set<number>();
  readonly #kept: KeptMembers;
  #stopped: Promise<void> | undefined;
  // Set by start(), in this order.
  #core: NodeCore | undefined;
  #host: DataplaneHost | undefined;
  #lifelines: LifelineHost | undefined;
  #transport: GrpcTransport | undefined;
  #registration: Registration | undefined;

  constructor(config: NodeConfig, log: Log, onFatal: (error: unknown) => void, restart: RestartWay) {
    this.#config = config;
    this.#restart = restart;
    this.#log = log;
    this.#onFatal = onFatal;
    this.#journal = new Journal((event) => log.event(event));
    this.#kept = new KeptMembers(config, (text) => log.line("warn", text));
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
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#journal.add("stopping", "this node is stopping");
    for (const undo of this.#undo.reverse()) await undo();
  }

  async #start(): Promise<void> {
    const { cluster, control, notes = [] } = this.#config;
    for (const note of notes) this.#log.line("warn", note);
    const certificates = this.#makeCertificates();
    const { tls } = certificates;
    const lifelines = await this.#startLifelines(tls);
    mkdirSync(control.dataDir, { recursive: true, mode: 0o700 });
    checkDiskRoom(control.dataDir, diskFreeBytesMin(this.#config));
    const store = await openStore(this.#config);
    this.#undo.push(() => store.close());
    const transport = new GrpcTransport({
      self: cluster.self,
      peers: cluster.members.filter((member) => member.id !== cluster.self.id),
      port: cluster.ports.grpc,
      tls,
      founders: cluster.founders,
      onRefused: (why) => this.#log.line("warn", why),
    });
    this.#transport = transport;
    this.#undo.push(() => transport.close());
    const core = this.#makeCore(store.storage, transport);
    this.#startRuleLog(core);
    const started = await this.#startDataplane(core);
    const machine = this.#watchMachine(core, store.diskBeats, certificates);
    this.#tellRefusals(core);
    await transport.start(core.handlers());
    const registration = await this.#startRegistration(core, transport, tls, logIdOf(store.storage));
    await this.#startServers(new NodeReport({ core, started, store, transport, lifelines, machine }), {
      certificates,
      registration: () => (registration?.isOpen ? registration : undefined),
    });
    this.#undo.push(() => core.stop());
    core.start();
    this.#undo.push(() => core.controller.succession.handOver());
    this.#journal.add("started", `${cluster.self.name} started, ports by ${started.reason}`);
  }

  #makeCertificates(): Certificates {
    const { cluster } = this.#config;
    return new Certificates({
      cluster,
      registrars: () => [cluster.self, ...(this.#core?.controller.peers.all() ?? [])],
      onChange: (tls) => {
        this.#transport?.setTls(tls);
        this.#lifelines?.setTls(tls);
        this.#registration?.setTls(tls);
        this.#log.line("info", "another certificate holds; connections that stand stay");
      },
      onNote: (text) => this.#log.line("warn", text),
    });
  }

  async #startRegistration(
    core: NodeCore,
    transport: GrpcTransport,
    tls: TlsMaterial,
    logId: string,
  ): Promise<Registration | undefined> {
    const registration = await openRegistration({
      config: this.#config,
      tls,
      controller: core.controller,
      logId,
      refused: transport.counters.refused,
      log: this.#log,
    });
    this.#registration = registration;
    this.#undo.push(() => registration?.close());
    return registration;
  }

  #onPeers(peers: readonly MemberConfig[], present: readonly MemberConfig[]): void {
    this.#lifelines?.setPeers(peers.filter(({ role }) => role === "node"));
    this.#kept.keep(present);
  }

  #makeCore(storage: ControlStorage, transport: GrpcTransport): NodeCore {
    const { flowsMax, policy } = this.#config.dataplane!;
    const core = new NodeCore({
      config: this.#config,
      memory: createSharedMemory(flowTableBytes(flowsMax), policy.rules.length),
      storage,
      transport,
      timers: systemTimers,
      env: realEnv,
      journal: this.#journal,
      log: this.#log,
      post: (message) => this.#host?.post(message),
      onPeers: (peers, present) => this.#onPeers(peers, present),
      onFatal: this.#onFatal,
      restart: this.#restart,
    });
    this.#core = core;
    return core;
  }

  /** First of all: what is open by now is copied into the thread's own descriptor table, and must stay little. */
  async #startLifelines(tls: TlsMaterial): Promise<LifelineHost> {
    const { cluster, dataplane } = this.#config;
    const { self, members, ports } = cluster;
    const lifelines = new LifelineHost(
      {
        self,
        peers: members.filter((member) => member.role === "node" && member.id !== self.id),
        port: ports.lifeline,
        tls,
        founders: cluster.founders,
        realtime: dataplane!.realtime,
      },
      {
        onUp: (node) => {
          this.#lifelinesUp.add(node);
          this.#core?.lifelineOpened(node);
        },
        onClosed: (node) => {
          this.#lifelinesUp.delete(node);
          this.#core?.lifelineClosed(node);
        },
        onWarning: (text) => this.#log.line("warn", text),
        onDeath: (error) => this.#onFatal(error),
      },
    );
    this.#undo.push(() => lifelines.stop());
    await lifelines.start();
    this.#lifelines = lifelines;
    return lifelines;
  }

  async #startDataplane(core: NodeCore): Promise<Started> {
    const host = new DataplaneHost(core.setup, {
      onMessage: (message) => {
        if (this.#stopped === undefined) core.receive(message);
      },
      onDeath: (error) => this.#onFatal(error),
    });
    this.#host = host;
    this.#undo.push(() => host.stop());
    const started = await host.start();
    // What was up before the worker ran; to hear of one twice does no harm.
    for (const node of this.#lifelinesUp) core.lifelineOpened(node);
    this.#log.line("info", `dataplane: ${started.reason}; ${started.realtimeReason}`);
    const needed = clusterMtuNeeded(
      Math.max(...started.ports.slice(0, -1).map((port) => port.mtuBytes)),
      this.#config.dataplane!.sealRedirects !== "never",
    );
    const link = started.ports.at(-1);
    if (link !== undefined && link.mtuBytes < needed) {
      throw new SynwallError(
        "SW_IO_INTERFACE",
        `dataplane.interfaces: the cluster link ${link.name} has MTU ${link.mtuBytes}, redirected frames need ${needed}: ip link set ${link.name} mtu ${needed}`,
      );
    }
    return started;
  }

  /** Once the worker runs: its start has a limit of its own. */
  #watchMachine(
    { config, controller, memory }: NodeCore,
    diskBeats: OpenedStore["diskBeats"],
    certificates: Certificates,
  ): MachineWatch {
    const board = new WorkerBoard(memory.board);
    const suspension = new SuspensionWatch();
    const member = this.#config.cluster.self.name;
    const watch = new CertificateWatch({ member, certificates, wallMs, log: this.#log });
    this.#undo.push(systemTimers.every(CERTIFICATE_WATCH_MS, () => void watch.tick()));
    const machine = new MachineWatch({
      disk: new DiskWatch({
        self: config.cluster.self,
        directory: config.control.dataDir,
        freeBytesMin: diskFreeBytesMin(config),
        members: () => (controller.membership.isAdmitted ? controller.driver.state().members : []),
        propose: (command) => controller.propose(command),
        journal: this.#journal,
      }),
      certificates: watch,
      beats: () => board.beats(),
      beat: () => board.mainBeat(),
      diskBeats,
      clock: { nowMs, wallMs },
      readSuspension: () => suspension.takeSuspendedMs(),
      journal: this.#journal,
      onHung: this.#onFatal,
    });
    this.#undo.push(systemTimers.every(MACHINE_WATCH_MS, () => machine.tick()));
    this.#undo.push(systemTimers.every(KEEP_AGAIN_MS, () => this.#kept.tick()));
    return machine;
  }

  #tellRefusals({ memory, controller }: NodeCore): void {
    const sources = nodeRefusals(memory, () => controller.peers.all());
    const lines = new RefusalLines(sources, (line) => this.#log.line("warn", line));
    this.#undo.push(systemTimers.every(REFUSAL_LINES_MS, () => lines.tick()));
  }

  /** Before the dataplane, so that it stops after it: what was decided last is written too. */
  #startRuleLog({ memory, policies }: NodeCore): void {
    const lines = new RuleLogLines({
      ring: new RecordRing(memory.ruleLog),
      policy: (number) => policies.byNumber(number),
      portNames: this.#config.dataplane!.interfaces.map(interfaceLabel),
      clock: { nowMs, wallMs },
      write: (line, text) => this.#log.rule(line, text),
    });
    const stop = systemTimers.every(RULE_LOG_WRITE_MS, () => void lines.write());
    this.#undo.push(() => {
      stop();
      lines.write();
    });
  }

  async #startServers(report: NodeReport, parts: Partial<ClusterAdminParts>): Promise<void> {
    const { control } = this.#config;
    const admin = new AdminServer(control.socket, adminHandlers(report, loadPolicyApart, parts));
    await admin.start();
    this.#undo.push(() => admin.stop());
    const metrics = new Metrics(() => report.metrics());
    const http = new HttpServer(control.http.address, control.http.port, {
      metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
      health: () => report.health(),
    });
    await http.start();
    this.#undo.push(() => http.stop());
  }
}
