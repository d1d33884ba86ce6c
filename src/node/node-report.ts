/**
 * Node report: what a node says about itself, to operators (status, flows), to Prometheus (metrics) and to load balancers
 * (health). Reads the parts when asked; keeps nothing.
 */
import { termInside } from "../../cluster/control/generation.ts";
import { addRefusals, type RefusalCounts, zeroRefusals } from "../../cluster/transport/refusals.ts";
import type { Transport } from "../../cluster/transport/transport.ts";
import { interfaceLabel } from "../../config/node-config.ts";
import { VERSION } from "../../config/version.ts";
import { type HashKey, hashKeyFrom } from "../base/hash.ts";
import type { LatencyHistogram } from "../base/histogram.ts";
import { RecordRing } from "../base/ring.ts";
import { clusterMtuNeeded } from "../dataplane/cluster-mtu.ts";
import { COUNT_VERDICTS, COUNTER_CELLS, counterIndex, EXTRA_COUNTERS } from "../dataplane/counters.ts";
import { FlowReader } from "../dataplane/flow-reader.ts";
import { DROP_REASONS, VERDICT_DROP_BASE, VERDICT_NAMES } from "../dataplane/verdict.ts";
import type { DataplaneSnapshot, MetricsSnapshot, PeerSnapshot } from "../metrics/snapshot.ts";
import type { FlowFilter, LatencySummary, PeerStatus, StatusReport } from "./admin-model.ts";
import type { Started } from "./dataplane-host.ts";
import { countFlows, type FlowContext, listFlows } from "./flows-view.ts";
import { deriveKeys } from "./keys.ts";
import type { MachineWatch } from "./machine-watch.ts";
import { NatView } from "./nat-view.ts";
import type { NodeCore } from "./node-core.ts";
import type { OpenedStore } from "./open-store.ts";
import { RedirectView } from "./redirect-view.ts";
import { buildStatus, slotsUnsynced, storeSnapshot } from "./status.ts";
import { WorkerBoard } from "./worker-board.ts";

/** Usable ports of one address towards one destination: 1024..65535. */
const PORTS_PER_ADDRESS = 64_512;

export interface NodeReportOptions {
  readonly core: NodeCore;
  /** What the worker said when its ports were open. */
  readonly started: Started;
  readonly store: Pick<OpenedStore, "syncLatency" | "counters">;
  readonly transport: Pick<Transport, "counters">;
  /** Absent where nobody can be refused (simulation). */
  readonly lifelines?: { readonly refused: Readonly<RefusalCounts> };
  /** Absent where there is no machine (simulation). */
  readonly machine?: Pick<MachineWatch, "snapshot" | "alerts">;
}

export class NodeReport {
  readonly core: NodeCore;
  readonly flowKey: HashKey;
  readonly #counters: Float64Array;
  readonly #lease: Float64Array;
  readonly #board: WorkerBoard;
  readonly #nat: NatView;
  readonly #redirects: RedirectView;
  /** Looked at only: others read and write them. */
  readonly #rings: readonly (readonly [name: string, ring: RecordRing])[];
  readonly #reader: FlowReader;
  readonly #options: NodeReportOptions;
  readonly #startedMs: number;

  constructor(options: NodeReportOptions) {
    const { core } = options;
    const { memory, config } = core;
    this.#options = options;
    this.core = core;
    this.#startedMs = core.nowMs();
    this.flowKey = hashKeyFrom(deriveKeys(config.cluster.secret, config.cluster.name).flowKey);
    this.#counters = new Float64Array(memory.counters);
    this.#lease = new Float64Array(memory.lease);
    this.#rings = [
      ["changes", new RecordRing(memory.changes)],
      ["replicas", new RecordRing(memory.replicas)],
      ["rule_log", new RecordRing(memory.ruleLog)],
    ];
    this.#board = new WorkerBoard(memory.board);
    this.#nat = new NatView(memory.natUsage);
    this.#redirects = new RedirectView(memory.redirects);
    this.#reader = new FlowReader(memory.flows);
  }

  status(): StatusReport {
    const { config, controller, isFenced } = this.core;
    const { started } = this.#options;
    const { driver } = controller;
    const { self } = config.cluster;
    const raft = driver.status();
    const state = driver.state();
    return buildStatus({
      cluster: config.cluster.name,
      self,
      version: VERSION,
      uptimeMs: this.core.nowMs() - this.#startedMs,
      state,
      raft,
      voters: raft.voters,
      ...(this.core.controller.pair === undefined ? {} : { pair: this.core.controller.pair.view }),
      peers: this.#peers(),
      unsettledOwn: state.table.owner.filter(
        (owner, slot) => owner === self.id && state.table.awaiting[slot]!.length > 0,
      ).length,
      lease: { validForMs: Math.max(0, this.#lease[0]! - this.core.nowMs()), isFenced },
      dataplane: {
        driver: started.driver,
        realtime: started.isRealtime,
        flows: this.#extra("flowsNow"),
        flowsMax: config.dataplane!.flowsMax,
        ports: this.#ports().map((port, index) => ({
          ...port,
          driver: started.ports[index]?.driver ?? "",
        })),
        clusterMtuNeeded: clusterMtuNeeded(
          Math.max(...started.ports.slice(0, -1).map((port) => port.mtuBytes)),
          config.dataplane!.sealRedirects !== "never",
        ),
        drops: Object.fromEntries(
          DROP_REASONS.map(
            (reason, index) => [reason, this.#counters[VERDICT_DROP_BASE + index]!] as const,
          ).filter(([, count]) => count > 0),
        ),
        unprotected: {
          noPeer: this.#extra("unprotectedNoPeer"),
          deadline: this.#extra("unprotectedDeadline"),
          holdFull: this.#extra("unprotectedHoldFull"),
        },
        nat: this.#nat.list(this.core.policies.current),
      },
      machineAlerts: this.#options.machine?.alerts() ?? [],
    });
  }

  health(): { readonly isHealthy: boolean; readonly body: object } {
    const { isReady, isSettled, alerts, epoch, leader } = this.status();
    const isHealthy = isReady && !this.core.isFenced;
    return {
      isHealthy,
      body: { isHealthy, isReady, isSettled, isFenced: this.core.isFenced, epoch, leader, alerts },
    };
  }

  flows(filter: FlowFilter): ReturnType<typeof listFlows> {
    return listFlows(this.#reader, filter, this.#flowContext());
  }

  countFlows(filter: FlowFilter): ReturnType<typeof countFlows> {
    return countFlows(this.#reader, filter, this.#flowContext());
  }

  ackSummary(): LatencySummary {
    const senders = this.core.replication.router.peers;
    const all = senders.map((sender) => summary(sender.ackLatency)).sort((a, b) => b.count - a.count);
    return all[0] ?? { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
  }

  resetAck(): void {
    for (const sender of this.core.replication.router.peers) sender.ackLatency.reset();
  }

  counters(): Record<string, number> {
    const named: Record<string, number> = {};
    for (const [index, name] of VERDICT_NAMES.entries()) named[name] = this.#counters[index]!;
    for (const [index, reason] of DROP_REASONS.entries())
      named[`drop_${reason}`] = this.#counters[VERDICT_DROP_BASE + index]!;
    for (const [index, name] of EXTRA_COUNTERS.entries())
      named[name] = this.#counters[COUNT_VERDICTS + index]!;
    return named;
  }

  metrics(): MetricsSnapshot {
    const { config, controller, failover } = this.core;
    const { store, transport, lifelines, started, machine } = this.#options;
    const { router, receiver } = this.core.replication;
    const { driver, proposals, proposalsRefused } = controller;
    const { self, name, profile } = config.cluster;
    const status = this.status();
    const raft = driver.status();
    const state = driver.state();
    return {
      info: {
        cluster: name,
        node: self.name,
        role: "node",
        version: VERSION,
        profile,
        driver: started.driver,
      },
      cluster: {
        epoch: state.table.epoch,
        hasLeader: raft.lead !== 0,
        isSettled: status.isSettled,
        isReady: status.isReady,
        isUnwitnessed: status.isUnwitnessed,
        ...(controller.pair === undefined ? {} : { pair: controller.pair.view }),
        memberStates: state.members.map((member) => member.state),
        slotsUnsynced: slotsUnsynced(state),
      },
      raft: {
        term: termInside(raft.term),
        commitIndex: raft.commit,
        isLeader: raft.lead === self.id,
        proposals,
        proposalsRefused,
        proposalsWaiting: raft.proposalsWaiting,
        messagesRefused: raft.messagesRefused,
        fsync: store.syncLatency,
      },
      ...storeSnapshot(raft.store, store.counters),
      peers: status.peers.map((peer) => this.#peerMetrics(peer)),
      failover: {
        takeovers: failover.takeovers,
        detect: failover.detect,
        decide: failover.decide,
        activate: failover.activate,
      },
      transport: {
        ...transport.counters,
        refusals: addRefusals(transport.counters.refused, lifelines?.refused ?? zeroRefusals()),
      },
      heartbeats: { refused: this.#board.heartbeatsRefused() },
      replication: {
        hellosRefused: receiver.refusedHellos,
        router: router.counts,
        readiness: receiver.readiness.counts,
      },
      dataplane: this.#dataplaneMetrics(status),
      ...(machine === undefined ? {} : { machine: machine.snapshot() }),
    };
  }

  #peerMetrics(peer: PeerStatus): PeerSnapshot {
    const { id, name, alive, links, sync, redirects, isPathNarrow = false, isLate = false } = peer;
    const base = {
      name,
      isAlive: alive,
      links,
      ...(redirects === undefined ? {} : { redirects, isPathNarrow, isLate }),
    };
    if (sync === undefined) return base;
    const { router, receiver } = this.core.replication;
    const { ackLatency, counts } = router.sender(id);
    const inbound = receiver.peer(id);
    return {
      ...base,
      sync: {
        isConnected: sync.connected,
        lagMs: sync.lagMs,
        lagRecords: sync.lagRecords,
        lagBytes: sync.lagBytes,
        resyncs: sync.resyncs,
        isPolicyDifferent: alive && sync.policy === "different",
        ack: ackLatency,
        sender: counts,
        ...(inbound === undefined ? {} : { inbound: inbound.counts }),
        staged: inbound?.stagedRecords ?? 0,
      },
    };
  }

  #dataplaneMetrics(status: StatusReport): DataplaneSnapshot {
    const { config } = this.core;
    const { flowsMax } = config.dataplane!;
    const policy = this.core.policies.current;
    const self = status.members.find((member) => member.id === config.cluster.self.id);
    return {
      counters: this.#counters.slice(0, COUNTER_CELLS),
      flowsMax,
      natPortsMax: this.#nat.poolCount(policy) * PORTS_PER_ADDRESS,
      natAddresses: status.dataplane?.nat ?? [],
      isRealtime: this.#options.started.isRealtime,
      rings: this.#rings.map(([name, ring]) => ({ name, waiting: ring.length(), capacity: ring.capacity })),
      ports: this.#ports().map((port, index) => ({ ...port, ...this.#board.lostBy(index) })),
      slotsOwned: self?.slotsOwned ?? 0,
      slotsBackedUp: self?.slotsBackedUp ?? 0,
      lease: { validForMs: Math.max(0, this.#lease[0]! - this.core.nowMs()), isFenced: this.core.isFenced },
      ruleHits: this.core.policies.ruleHits(),
    };
  }

  #ports(): {
    readonly name: string;
    readonly zone: string;
    readonly carrier: boolean;
    readonly silent: boolean;
    readonly mtuBytes: number;
  }[] {
    const { config, mirror, links } = this.core;
    return config.dataplane!.interfaces.map((port, index) => ({
      name: interfaceLabel(port),
      zone: port.zone ?? "cluster",
      carrier: mirror.carrier(index),
      silent: links.isSilent(index),
      mtuBytes: mirror.mtuBytes(index) ?? this.#options.started.ports[index]?.mtuBytes ?? 0,
    }));
  }

  #peers(): PeerStatus[] {
    const { controller, mirror, replication } = this.core;
    const { driver } = controller;
    const alive = mirror.alive();
    return controller.peers.all().map((member) => {
      const known = driver.state().members.find((candidate) => candidate.id === member.id);
      const base = {
        id: member.id,
        name: member.name,
        role: member.role,
        state: known?.state ?? "unknown",
        alive: alive.has(member.id),
        links: mirror.links(member.id),
      };
      if (member.role === "witness") return base;
      const { isConnected, refusal, ...rest } = replication.status(member.id, this.core.nowMs());
      const { lagMs, lagRecords, lagBytes, resyncs, policy, recordVersion } = rest;
      const ack = summary(replication.router.sender(member.id).ackLatency);
      const counts = { lagMs, lagRecords, lagBytes, ack, resyncs };
      const sync = { connected: isConnected, ...counts, policy, recordVersion };
      return {
        ...base,
        redirects: this.#redirects.of(member.id),
        isPathNarrow: mirror.isNarrow(member.id),
        isLate: mirror.isLate(member.id),
        sync: refusal === undefined ? sync : { ...sync, refusal },
      };
    });
  }

  #flowContext(): FlowContext {
    const { config, controller } = this.core;
    return {
      selfId: config.cluster.self.id,
      owners: controller.driver.state().table.owner,
      memberName: (id) => controller.name(id),
      ruleName: (index, policy) => this.core.policies.ruleName(index, policy),
      nowMs: this.core.nowMs(),
    };
  }

  #extra(name: (typeof EXTRA_COUNTERS)[number]): number {
    return this.#counters[counterIndex(name)]!;
  }
}

function summary(latency: LatencyHistogram): LatencySummary {
  return {
    count: latency.count,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    maxMs: latency.maxMs,
  };
}
