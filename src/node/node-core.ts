/**
 * Node core: what a forwarding member is besides threads, disk and network: control plane, replication and journal, joined to
 * each other and to the dataplane worker. Owns this wiring; every rule lives in the parts. The process (node.ts) runs it in
 * real time, the simulator (chaos/sim/cluster) in virtual time.
 *
 *   worker --receive()--> NodeCore --post()--> worker
 *   peers  --handlers()->    |
 *                            +--> transport, storage, journal
 */
import type { ClusterState } from "../../cluster/control/model.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { SyncLimits } from "../../cluster/sync/limits.ts";
import { Replication } from "../../cluster/sync/replication.ts";
import { RECORD_FORMATS, type RecordFormat } from "../../cluster/sync/wire-format.ts";
import { LettingGo } from "../../cluster/takeover/letting-go.ts";
import type { Transport, TransportHandlers } from "../../cluster/transport/transport.ts";
import { interfaceLabel, type MemberConfig, type NodeConfig } from "../../config/node-config.ts";
import { VERSION } from "../../config/version.ts";
import type { Env } from "../base/env.ts";
import { SynwallError } from "../base/errors.ts";
import { RecordRing } from "../base/ring.ts";
import { counterIndex } from "../dataplane/counters.ts";
import { policyFingerprint } from "../policy/fingerprint.ts";
import { Controller } from "./controller.ts";
import { FailoverTimes } from "./failover-times.ts";
import type { Journal } from "./journal.ts";
import { LagRecorder } from "./lag-recorder.ts";
import { LinkWatch } from "./link-watch.ts";
import type { LoadedPolicy } from "./loaded-policy.ts";
import type { Log } from "./log.ts";
import { type ControlStorage, logIdOf } from "./open-driver.ts";
import type { PeerListOptions } from "./peer-list.ts";
import { Policies } from "./policies.ts";
import { checkPolicyChange } from "./policy-change.ts";
import { Processes, type RestartWay } from "./processes.ts";
import type { SharedMemory } from "./shared-memory.ts";
import { StoreRelay } from "./store-relay.ts";
import { SyncDoorbells } from "./sync-doorbells.ts";
import { WorkerBoard } from "./worker-board.ts";
import { WorkerEvents } from "./worker-events.ts";
import { WorkerMirror } from "./worker-mirror.ts";
import { DOORBELL, type FromWorker, type ToWorker, type WorkerSetup } from "./worker-protocol.ts";
import { workerPeer, workerSetup } from "./worker-setup.ts";

/** Packets that wait in the worker, for an acknowledgement or otherwise. */
const HELD = counterIndex("heldNow");
/** A peer on the cluster link answers within milliseconds. */
const ASK_MS_MAX = 250;

/** Why slots travel whole again. */
const RESYNC_TEXT = {
  digest: "their digests differ",
  refused: "the backup has no room for some of their flows",
  operator: "an operator asked for it",
  overflow: "the backup was too far behind",
  restart: "the backup started anew",
  forgot: "the backup misses what it had",
} as const;

export interface NodeCoreOptions {
  /** Of a node: with a dataplane. */
  readonly config: NodeConfig;
  readonly memory: SharedMemory;
  readonly storage: ControlStorage;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly env: Env;
  readonly journal: Journal;
  readonly log: Pick<Log, "line">;
  /** The other members are others than before; see PeerListOptions. */
  readonly onPeers?: PeerListOptions["onChange"];
  /** Says something to the worker; what is said before it runs may get lost. */
  readonly post: (message: ToWorker) => void;
  readonly onFatal: (error: unknown) => void;
  /** Default: cluster/sync/limits.ts. */
  readonly syncLimits?: Partial<SyncLimits>;
  /** Versions of records that are spoken; default: all that this build knows. */
  readonly recordFormats?: readonly RecordFormat[];
  /** Absent where nobody can restart it (simulation). */
  readonly restart?: RestartWay;
}

export class NodeCore {
  readonly config: NodeConfig;
  readonly memory: SharedMemory;
  /** What the worker is to be given. */
  readonly setup: WorkerSetup;
  readonly journal: Journal;
  readonly failover: FailoverTimes;
  readonly policies: Policies;
  readonly lag = new LagRecorder();
  readonly mirror: WorkerMirror;
  readonly replication: Replication;
  readonly controller: Controller;
  readonly processes: Processes;
  readonly #options: NodeCoreOptions;
  readonly #events: WorkerEvents;
  readonly links: LinkWatch;
  readonly #storeRelay: StoreRelay;
  readonly #changes: RecordRing;
  readonly #replicas: RecordRing;
  readonly #bells: SyncDoorbells;
  readonly #lettingGo: LettingGo;
  /** What the worker knows. */
  #passed: ClusterState | undefined;
  /** Calls off looking again at a state that is kept from the worker. */
  #stopKeeping: (() => void) | undefined;
  #incarnation = 0;
  #isStopped = false;
  #isStateDue = false;
  #stopSampling: (() => void) | undefined;
  /** For how long its timer was set. */
  #sampleMs = Number.POSITIVE_INFINITY;
  /** When the worker last had changes to send, or had applied replicas. */
  #workedMs = Number.NEGATIVE_INFINITY;

  constructor(options: NodeCoreOptions) {
    const { config, memory, journal } = options;
    this.#options = options;
    this.config = config;
    this.memory = memory;
    this.journal = journal;
    this.policies = new Policies(config.dataplane!.policy, memory.ruleHits);
    this.failover = new FailoverTimes(config.cluster.self.id);
    this.#changes = new RecordRing(memory.changes);
    this.#replicas = new RecordRing(memory.replicas);
    this.#bells = this.#makeDoorbells();
    this.setup = workerSetup(config, memory, logIdOf(options.storage));
    this.#lettingGo = new LettingGo(config.cluster.self.id, this.setup.profile.leaseMs);
    this.mirror = new WorkerMirror(this.setup);
    this.replication = this.#makeReplication();
    this.controller = this.#makeController();
    this.processes = this.#makeProcesses();
    this.links = this.#makeLinkWatch();
    this.#storeRelay = new StoreRelay({
      vote: this.controller.driver.vote,
      answer: (answer) => options.post({ type: "store", answer }),
    });
    this.#events = new WorkerEvents({
      config,
      journal,
      failover: this.failover,
      nameOf: (id) => this.controller.name(id),
      peerDown: (node, incarnation, isGone, isDeaf) =>
        this.controller.peerDown(node, incarnation, isGone, isDeaf),
      digestResult: (slot, isEqual) => this.replication.digestResult(slot, isEqual),
      copyRefused: (slot) => this.replication.copyRefused(slot),
      propose: (command) => void this.#propose(command),
      votersKnown: (epoch) => this.controller.quorum.known(epoch),
      askStore: (question) => this.#storeRelay.ask(question),
    });
  }

  get isFenced(): boolean {
    return this.#events.isFenced;
  }

  nowMs(): number {
    return this.#options.env.nowMs();
  }

  /** What the transport must call. */
  handlers(): TransportHandlers {
    return this.controller.handlers({
      version: VERSION,
      processes: this.processes,
      onSyncLink: (from, link) => this.replication.attachReceiver(this.#bells.incoming(link), from),
      links: this.links,
    });
  }

  /** Once transport and worker run. */
  start(): void {
    this.#noteWork();
    this.controller.start();
  }

  /** Decides and says nothing any more. */
  stop(): void {
    this.#isStopped = true;
    this.#stopSampling?.();
    this.#stopKeeping?.();
    this.#bells.stop();
    this.controller.stop();
  }

  /** The worker said something. */
  receive(message: FromWorker): void {
    if (this.#isStopped) return;
    if (message === DOORBELL) {
      this.#bells.drain();
      this.#noteWork();
      return;
    }
    this.mirror.note(message);
    this.#events.receive(message);
    this.#passToPair(message);
    if (message.type === "shown") this.#onShown(message.node, message.epoch);
    if (message.type === "carrier") this.links.tick(this.nowMs(), true);
  }

  #passToPair(message: Exclude<FromWorker, typeof DOORBELL>): void {
    const { pair } = this.controller;
    if (message.type === "liveness") pair?.onLiveness(message.event);
    else if (message.type === "probed") pair?.probed(message);
    else if (message.type === "claim") pair?.claimed(message.node, message.claim);
  }

  lifelineOpened(node: number): void {
    this.#options.post({ type: "lifeline", node, isOpen: true });
  }

  lifelineClosed(node: number): void {
    this.#options.post({ type: "lifeline", node, isOpen: false });
    const name = this.controller.name(node);
    this.journal.add("lifeline-closed", `the process of ${name} closed its lifeline`, { node });
  }

  /** Sends all slots that this node owns to their backups again; only to one peer when named. Answers how many. */
  forceFullSync(peerName?: string): number {
    if (peerName === undefined) return this.replication.forceFullSync();
    const peers = this.#peerNodes();
    const peer = peers.find(({ name }) => name === peerName);
    if (peer !== undefined) return this.replication.forceFullSync(peer.id);
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      `"${peerName}" is no other node of this cluster: use one of ${peers.map(({ name }) => name).join(", ")}`,
    );
  }

  /**
   * Another policy holds from now on. Throws SW_ADMIN_BAD_REQUEST when more than the policy differs. `path` is for messages.
   */
  applyPolicy({ config, compiled, fingerprint }: LoadedPolicy, path: string): void {
    checkPolicyChange(this.config, config, path);
    const { policy } = config.dataplane!;
    const ruleHits = this.policies.add(policy);
    // The rules themselves would keep the worker busy with copying them.
    this.#options.post({ type: "policy", policy: { ...policy, rules: [] }, compiled, ruleHits });
    this.replication.setPolicy(fingerprint);
    this.journal.add("policy", `policy ${fingerprint.slice(0, 8)} of ${path} holds`);
  }

  // ---------------------------------------------------------------- parts

  #makeDoorbells(): SyncDoorbells {
    const { memory, timers, post } = this.#options;
    const counters = new Float64Array(memory.counters);
    return new SyncDoorbells({
      changes: this.#changes,
      replicas: this.#replicas,
      replication: () => this.replication,
      nowMs: () => this.nowMs(),
      afterInput: (work) => timers.afterInput(work),
      isAwaited: () => counters[HELD]! > 0,
      wake: () => post(DOORBELL),
    });
  }

  #makeReplication(): Replication {
    const { config, memory, env, transport, journal, log, post, syncLimits = {} } = this.#options;
    const { cluster } = config;
    const { recordFormats: formats = RECORD_FORMATS } = this.#options;
    const replication = new Replication({
      selfId: cluster.self.id,
      slots: cluster.slots,
      limits: syncLimits,
      formats,
      changes: this.#changes,
      replicas: this.#replicas,
      applied: new Float64Array(memory.applied),
      acked: new Float64Array(memory.acked),
      env,
      policy: policyFingerprint(config.dataplane!.policy, cluster.slots),
      openLink: (peer) => this.#bells.outgoing(transport.openSyncLink(peer)),
      requestExport: (slots) => post({ type: "export", slots }),
      requestDigest: (slots) => post({ type: "digest", slots }),
      onResync: (peer, slots, way, reason) => {
        const what = `${slots.length} slots`;
        const name = this.controller.name(peer);
        const text = way === "sent" ? `${what} go to ${name} whole` : `${name} is to send ${what} whole`;
        journal.add("resync", `${text}: ${RESYNC_TEXT[reason]}`, { node: peer, slots });
      },
      onRefused: (peer, why) => {
        const name = peer === 0 ? "a stranger" : this.controller.name(peer);
        log.line("warn", `sync with ${name}: ${why}`);
      },
      reportReady: (slots, backupEpochs) =>
        void this.#propose({ type: "ready", node: cluster.self.id, slots, backupEpochs }),
    });
    const others = cluster.members.filter(({ id, role }) => role === "node" && id !== cluster.self.id);
    replication.setPeers(others.map(({ id }) => id));
    return replication;
  }

  #makeController(): Controller {
    const { config, storage, transport, timers, env, journal, log, post, onFatal } = this.#options;
    const board = new WorkerBoard(this.memory.board);
    return new Controller({
      config,
      storage,
      transport,
      timers,
      random: (bound) => env.random(bound),
      journal,
      alive: () => this.mirror.alive(),
      beats: () => board.beats(),
      probe: (node, isOn) => post({ type: "probe", node, isOn }),
      onPeers: (peers, present) => this.#onPeers(peers, present),
      onState: () => this.#onState(),
      onAdmitted: () => this.#onAdmitted(),
      onFatal,
      log: (level, text) => log.line(level, text),
    });
  }

  #makeProcesses(): Processes {
    const { config, transport, timers, journal, restart, recordFormats = RECORD_FORMATS } = this.#options;
    const { controller } = this;
    return new Processes({
      self: config.cluster.self,
      transport,
      timers,
      journal,
      recordFormats,
      restart,
      state: () => controller.driver.state(),
      incarnation: () => controller.membership.incarnation,
      peers: () => controller.peers.all(),
    });
  }

  #makeLinkWatch(): LinkWatch {
    const { config, transport, journal, post } = this.#options;
    const { controller } = this;
    return new LinkWatch({
      self: config.cluster.self,
      zonePorts: config.dataplane!.interfaces.filter((port) => !port.cluster).map(interfaceLabel),
      mirror: this.mirror,
      listen: (links) => post({ type: "listen", links }),
      members: () => (controller.membership.isAdmitted ? controller.driver.state().members : []),
      ask: (peer) => transport.status(peer, ASK_MS_MAX),
      propose: (command) => controller.propose(command),
      journal,
    });
  }

  #peerNodes(): readonly { readonly id: number; readonly name: string }[] {
    return this.controller.peers.all().filter(({ role }) => role === "node");
  }

  /** Before the state that names them reaches anybody. */
  #onPeers(peers: readonly MemberConfig[], present: readonly MemberConfig[]): void {
    const { transport, post, onPeers } = this.#options;
    const known = peers.map((peer) => workerPeer(peer, this.config));
    this.mirror.setPeers(known);
    post({ type: "peers", peers: known });
    transport.setPeers(peers);
    this.replication.setPeers(this.#peerNodes().map(({ id }) => id));
    onPeers?.(peers, present);
  }

  #onSample(): void {
    const now = this.nowMs();
    for (const peer of this.#peerNodes()) {
      const { lagMs, lagRecords } = this.replication.status(peer.id, now);
      this.lag.add(now, peer.id, lagMs);
      if (lagRecords > 0) this.#workedMs = now;
    }
    this.replication.tick(now);
    this.links.tick(now);
    this.#bells.drain();
    this.#sampleIn(LagRecorder.intervalMs(this.#workedMs, now));
  }

  #sampleIn(ms: number): void {
    if (this.#isStopped) return;
    this.#stopSampling?.();
    this.#sampleMs = ms;
    this.#stopSampling = this.#options.timers.after(ms, () => this.#onSample());
  }

  #noteWork(): void {
    this.#workedMs = this.nowMs();
    const ms = LagRecorder.intervalMs(this.#workedMs, this.#workedMs);
    if (ms < this.#sampleMs) this.#sampleIn(ms);
  }

  // ---------------------------------------------------------------- state

  /** Entries that are applied in one go count as one: whoever catches up with a long log needs the last state only. */
  #onState(): void {
    if (this.#isStateDue) return;
    this.#isStateDue = true;
    queueMicrotask(() => this.#passState());
  }

  #onShown(node: number, epoch: number): void {
    this.#lettingGo.shown(node, epoch);
    if (this.#stopKeeping !== undefined) this.#passState();
  }

  /** `isSure`: not to be kept back. */
  #passState(isSure = false): void {
    this.#isStateDue = false;
    this.#stopKeeping?.();
    this.#stopKeeping = undefined;
    const state = this.controller.driver.state();
    const ownIncarnation = this.controller.membership.incarnation;
    const { table, members, quorum, forced, revision } = state;
    const before = this.#passed;
    const isSameLife = ownIncarnation === this.#incarnation;
    const isOld = revision === before?.revision && forced?.epoch === before.forced?.epoch;
    if (this.#isStopped || (isOld && isSameLife)) return;
    const restMs = isSameLife && !isSure ? this.#lettingGo.restMs(before, state, this.nowMs()) : 0;
    if (restMs > 0) {
      this.#stopKeeping = this.#options.timers.after(restMs, () => this.#passState(true));
      return;
    }
    this.#lettingGo.told();
    this.#passed = state;
    this.#incarnation = ownIncarnation;
    // The worker first: replication asks it at once for slots whole, and what is sent in an earlier epoch is stale. No record
    // of the new epoch is routed by the old table, since rings are drained in turns of their own.
    this.#options.post({
      type: "state",
      table,
      members,
      ownIncarnation,
      ...(quorum === undefined ? {} : { quorum }),
      ...(forced === undefined ? {} : { forced }),
    });
    this.#storeRelay.stateChanged();
    this.replication.setTable(table, this.controller.membership.isAdmitted);
    this.failover.applied(state, ownIncarnation !== 0, this.nowMs());
  }

  #onAdmitted(): void {
    // The state first: who is caught up has seen who is down.
    this.#passState(true);
    this.#options.post({ type: "caughtUp" });
    this.journal.add("ready", `${this.config.cluster.self.name} was let in`);
  }

  async #propose(command: Parameters<Controller["propose"]>[0]): Promise<void> {
    try {
      await this.controller.propose(command);
    } catch (error) {
      // The parts repeat what stays undone.
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.line("debug", `${command.type}: ${why}`);
    }
  }
}
