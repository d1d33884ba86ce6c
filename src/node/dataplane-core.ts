/**
 * Dataplane core: what one dataplane worker is made of, without the thread. Wires the engine (what to do with packets) to the
 * authority (who may decide) and both to the ports. The worker thread drives it in real time, the simulator in virtual time.
 *
 *        frames                                 messages of the control thread
 *          v                                       v
 *   ports -> PacketLoop -> Engine <- view <- Authority -> post() events, effects
 *              |  heartbeats ------------------>  |
 *              +--- ports <---- heartbeats -------+
 */

import { FLAG_PROBING, FLAGS_AT, type Mac } from "../../cluster/liveness/envelope.ts";
import { type LivenessEvent, restMsOf } from "../../cluster/liveness/model.ts";
import { Authority, type AuthorityEffect } from "../../cluster/takeover/authority.ts";
import type { Env } from "../base/env.ts";
import { hashKeyFrom } from "../base/hash.ts";
import { RECORD_EPOCH_AT, RECORD_OPAQUE_AT, RECORD_SLOT_AT } from "../base/record.ts";
import { RecordRing } from "../base/ring.ts";
import { clusterMtuNeeded } from "../dataplane/cluster-mtu.ts";
import { type ClusterView, MAX_SLOTS, type PeerAddress } from "../dataplane/cluster-view.ts";
import { COUNT, count } from "../dataplane/context.ts";
import { Engine } from "../dataplane/engine.ts";
import { FlowTable } from "../dataplane/flow-table.ts";
import {
  REPLICA_BARRIER,
  REPLICA_DIGEST_BAD,
  REPLICA_DIGEST_OK,
  REPLICA_NO_ROOM,
} from "../dataplane/replica.ts";
import type { FramePool, Port } from "../io/port.ts";
import { parseIpv4 } from "../policy/address.ts";
import { HeartbeatWire } from "./heartbeat-wire.ts";
import { LinkSeals } from "./link-seals.ts";
import { PacketLoop } from "./packet-loop.ts";
import { PathWatch, PROBE_MS } from "./path-watch.ts";
import { addressOf, makeView } from "./peer-addresses.ts";
import { peerFlagsOf } from "./peer-flags.ts";
import { nextHopsOf, PeerProbe } from "./peer-probe.ts";
import { PortWatch } from "./port-watch.ts";
import { WorkerBoard } from "./worker-board.ts";
import {
  DOORBELL,
  type FromWorker,
  nodesOf,
  type ToWorker,
  type WorkerPeer,
  type WorkerSetup,
} from "./worker-protocol.ts";
import { ZoneEars } from "./zone-ears.ts";

/** Between two ticks while packets come or something waits for its moment. */
const TICK_MS = 1;
/** How often the board is written. */
const BOARD_MS = 1000;
/** How often the engine is told the time of day. */
const WALL_MS = 1000;
/** Records that a snapshot may add to the ring in one turn: live changes keep most of it. */
const EXPORT_RECORDS_PER_TURN = 256;
/** How often it is told of a slot that copies find no room. */
const NO_ROOM_MS = 1000;
/** By PATH_*. */
const PATH_NAMES = ["unknown", "whole", "narrow"] as const;

export class DataplaneCore {
  readonly engine: Engine;
  /** What the engine obeys, and who tells it. For reading. */
  readonly view: ClusterView;
  readonly authority: Authority;
  readonly #pool: FramePool;
  readonly #ports: readonly Port[];
  readonly #env: Env;
  readonly #post: (message: FromWorker) => void;
  /** Of the view, which others only read. */
  readonly #peers: (PeerAddress | undefined)[] = [];
  readonly #loop: PacketLoop;
  readonly #counters: Float64Array;
  readonly #board: WorkerBoard;
  readonly #seals: LinkSeals;
  readonly #probe: PeerProbe;
  readonly #wire: HeartbeatWire;
  #isExporting = false;
  #viewAtMs = 0;
  readonly #portWatch: PortWatch;
  readonly #ears: ZoneEars;
  #nextPathMs = 0;
  readonly #paths = new PathWatch();
  /** Peers that forward packets: frames are redirected between them. */
  #nodes: ReadonlySet<number>;
  readonly #mtuNeeded: number;
  readonly #enginePorts: { mac: Uint8Array; mtuBytes: number; zone: number }[];
  #tickedMs: number;
  readonly #restMs: number;
  /** When other voters made the lease end earlier: until then it held. */
  #shrunkMs = Number.NEGATIVE_INFINITY;
  #boardDueMs = 0;
  #wallDueMs = 0;
  readonly #wallMs: () => number;
  readonly #wall = new Float64Array(1);
  /** By slot: when it is told again that copies find no room. */
  readonly #noRoomAgainMs = new Float64Array(MAX_SLOTS);
  /** Barriers whose slots' changes, or themselves, had no room in the ring yet. */
  #barriers: { readonly slot: number; readonly epoch: number }[] = [];

  constructor(
    setup: WorkerSetup,
    pool: FramePool,
    ports: readonly Port[],
    mac: Mac,
    env: Env,
    post: (message: FromWorker) => void,
    wallMs: () => number,
  ) {
    this.#pool = pool;
    this.#ports = ports;
    this.#env = env;
    this.#post = post;
    this.#wallMs = wallMs;
    for (const peer of setup.peers) this.#peers[peer.nodeId] = addressOf(peer, ports.length);
    this.view = makeView(setup, this.#peers);
    const { memory, policy } = setup;
    this.#counters = new Float64Array(memory.counters);
    this.#board = new WorkerBoard(memory.board);
    this.#probe = new PeerProbe({
      ports,
      view: this.view,
      intervalMs: setup.profile.intervalMs / 2,
      post,
      nextHops: nextHopsOf(policy),
      heartbeats: () => this.authority.heartbeats,
    });
    this.#seals = new LinkSeals(setup.selfId, setup.redirectKey, setup.sealRedirects);
    this.#tickedMs = env.nowMs();
    this.#restMs = restMsOf(setup.profile);
    this.#nodes = nodesOf(setup.peers);
    const mtus = ports.map((port) => port.mtuBytes);
    this.#mtuNeeded = clusterMtuNeeded(Math.max(...mtus.slice(0, -1)), this.#seals.isSealing);
    this.#ears = new ZoneEars({ ports, post, ask: (port) => this.engine.egress.neighbours.askAgain(port) });
    this.#portWatch = new PortWatch({
      ports,
      mtuIntervalMs: PROBE_MS,
      post,
      // What is redirected obeys it at once. A zone's MTU is what the policy was made for: it counts from the next start.
      onMtu: (index, mtuBytes) => {
        if (index === ports.length - 1) this.#enginePorts[index]!.mtuBytes = mtuBytes;
      },
    });
    this.#enginePorts = ports.map((port, index) => ({
      mac: port.mac,
      mtuBytes: port.mtuBytes,
      zone: policy.zones.find((zone) => zone.ports.includes(index))?.id ?? -1,
    }));
    const changes = new RecordRing(memory.changes);
    this.engine = new Engine({
      policy,
      compiled: setup.compiled,
      view: this.view,
      frames: pool,
      output: { send: (port, at, lengthBytes) => ports[port]!.send(at, lengthBytes) },
      ports: this.#enginePorts,
      table: new FlowTable(setup.flowsMax, hashKeyFrom(setup.flowKey), memory.flows),
      changes,
      ruleLog: new RecordRing(memory.ruleLog),
      limits: { ...setup.engineLimits, ruleLogsPerSecond: setup.ruleLogsPerSecond },
      counters: this.#counters,
      ruleHits: new Float64Array(memory.ruleHits),
      natUsage: memory.natUsage,
      key: hashKeyFrom(setup.flowKey),
      cookieKey: hashKeyFrom(setup.cookieKey),
      seal: this.#seals,
      redirectCounts: new Float64Array(memory.redirects),
      nowMs: () => env.nowMs(),
      random: (bound) => env.random(bound),
    });
    this.#wire = new HeartbeatWire({
      pool,
      ports,
      view: this.view,
      peers: setup.peers,
      witnessHops: setup.witnessHops,
      authority: () => this.authority,
      bytesMin: (node, port) => this.#probeBytes(node, port),
    });
    this.#loop = new PacketLoop({
      ...{ engine: this.engine, pool, ports, changes },
      replicas: new RecordRing(memory.replicas),
      applied: new Float64Array(memory.applied),
      onLocal: (port, at, lengthBytes) => this.#onHeartbeat(port, at, lengthBytes),
      onReplica: (at, status) => this.#onReplica(at, status),
      wakeMain: () => post(DOORBELL),
    });
    this.authority = new Authority(
      {
        selfId: setup.selfId,
        role: "node",
        cluster: setup.clusterName,
        profile: setup.profile,
        peers: setup.peers,
        voters: setup.voters,
        slots: setup.slots,
        mac,
        flags: FLAG_PROBING,
        lifelineReleases: true,
        isPair: setup.isPair,
      },
      env,
      {
        send: (link, node, bytes) => this.#wire.send(link, node, bytes),
        event: (event) => this.#onLiveness(event),
        effect: (effect) => this.#onEffect(effect),
      },
    );
  }

  /** One turn over ports and replicas. True: more is waiting, call again soon. */
  turn(nowMs: number): boolean {
    const isMore = this.#loop.turn(nowMs);
    this.#copyLease();
    return isMore;
  }

  /**
   * When tick() is needed next, unless frames or messages come before: at most a rest after the last one, in which what has no moment of
   * its own is looked at.
   */
  dueMs(nowMs: number): number {
    const soonMs = this.#tickedMs + TICK_MS;
    const isBusy = this.#loop.hasWorked || this.#loop.isRingDue || this.engine.isBusy;
    if (isBusy || this.#isExporting || this.#barriers.length > 0) {
      return soonMs;
    }
    const dueMs = Math.min(this.authority.dueMs(nowMs), this.engine.dueMs(), this.#probe.dueMs);
    return Math.min(Math.max(dueMs, soonMs), this.#tickedMs + this.#restMs);
  }

  /** For a loop that is awake anyway: tick() is needed, or was not called for so long that it saves a wake-up. */
  isTickWorthwhile(nowMs: number): boolean {
    return nowMs >= this.#tickedMs + this.#restMs / 2 || nowMs >= this.dueMs(nowMs);
  }

  /** Timers, heartbeats, snapshots; call it after turn(). `askedMs`: for when the loop had itself woken up. */
  tick(nowMs: number, askedMs = this.#tickedMs + TICK_MS): void {
    this.#board.beat();
    this.#watchTick(nowMs, askedMs);
    this.#tellWallTime(nowMs);
    this.#portWatch.tick(nowMs);
    this.#judgePaths(nowMs);
    this.#ears.tick(nowMs);
    this.authority.tick(nowMs, askedMs);
    this.#copyLease();
    this.#probe.tick(nowMs);
    this.#loop.hasWorked = false;
    if (this.#isExporting) this.#isExporting = this.engine.exportStep(EXPORT_RECORDS_PER_TURN, nowMs);
    this.#publishBarriers();
    this.#loop.tick(nowMs);
  }

  receive(message: ToWorker, nowMs: number): void {
    if (message === DOORBELL) {
      this.engine.acknowledged(nowMs);
      this.turn(nowMs);
      return;
    }
    this.#loop.hasWorked = true;
    switch (message.type) {
      case "listen":
        this.#ears.listen(message.links, nowMs);
        break;
      case "state":
        this.authority.applyState(message, message.ownIncarnation, nowMs);
        break;
      case "peers":
        this.#usePeers(message.peers, nowMs);
        break;
      case "caughtUp":
        this.authority.setCaughtUp();
        break;
      case "store":
        this.authority.storeAnswered(message.answer, nowMs);
        break;
      case "lifeline":
        if (message.isOpen) this.authority.lifelineOpened(message.node);
        else this.authority.lifelineClosed(message.node, nowMs);
        break;
      case "probe":
        if (message.isOn) this.#probe.begin(message.node, nowMs);
        else this.#probe.end(message.node);
        break;
      case "export":
        for (const slot of message.slots) this.engine.exportSlot(slot);
        this.#isExporting = this.engine.exportStep(EXPORT_RECORDS_PER_TURN, nowMs);
        break;
      case "digest":
        for (const slot of message.slots) this.engine.publishDigest(slot);
        break;
      case "policy":
        this.engine.usePolicy(message.policy, new Float64Array(message.ruleHits), message.compiled);
        break;
      case "stop":
        this.authority.shutdown(nowMs);
        break;
      default:
        message satisfies never;
    }
    this.#copyLease();
    this.#loop.finish(nowMs);
  }

  #usePeers(peers: readonly WorkerPeer[], nowMs: number): void {
    this.#nodes = nodesOf(peers);
    const { peerFlags } = this.view;
    for (let id = 1; id < this.#peers.length; id++) {
      if (peers.some(({ nodeId }) => nodeId === id)) continue;
      this.#peers[id] = undefined;
      peerFlags[id] = 0;
    }
    for (const peer of peers) {
      if (this.#peers[peer.nodeId]?.clusterIp === parseIpv4(peer.address)) continue;
      this.#peers[peer.nodeId] = addressOf(peer, this.#ports.length);
    }
    this.#wire.usePeers(peers);
    this.authority.setPeers(peers, nowMs);
  }

  #copyLease(): void {
    const { leaseUntilMs } = this.view;
    const untilMs = this.authority.leaseUntilMs;
    if (untilMs < leaseUntilMs[0]!) this.#shrunkMs = Math.min(leaseUntilMs[0]!, this.#env.nowMs());
    leaseUntilMs[0] = untilMs;
  }

  #onReplica(at: number, status: number): void {
    // Nearly all are, and cost no more than this.
    if (status < REPLICA_DIGEST_OK) return;
    const nowMs = this.#env.nowMs();
    const { view } = this.#replicas();
    const slot = view.getUint16(at + RECORD_SLOT_AT, true);
    switch (status) {
      case REPLICA_BARRIER: {
        const from = view.getUint32(at + RECORD_OPAQUE_AT, true);
        this.authority.barrierApplied(from, slot, view.getUint32(at + RECORD_EPOCH_AT, true), nowMs);
        return;
      }
      case REPLICA_DIGEST_OK:
      case REPLICA_DIGEST_BAD:
        this.#post({ type: "digest", slot, isEqual: status === REPLICA_DIGEST_OK });
        return;
      case REPLICA_NO_ROOM:
        if (nowMs < this.#noRoomAgainMs[slot]!) return;
        this.#noRoomAgainMs[slot] = nowMs + NO_ROOM_MS;
        this.#post({ type: "noRoom", slot });
    }
  }

  #replicas(): RecordRing {
    return this.#loop.replicas;
  }

  /**
   * The clock is read when the datagram is in hand: a turn may have stood still between its begin and now, and what is promised here
   * counts from its receipt, which must not be earlier than the sending (lease.ts).
   */
  #onHeartbeat(portIndex: number, at: number, lengthBytes: number): void {
    const nowMs = this.#env.nowMs();
    if (this.#probe.take(portIndex, this.#pool.bytes, at, lengthBytes)) return;
    const from = this.#wire.receive(portIndex, at, lengthBytes, nowMs);
    this.#ears.heartbeat(portIndex, from, nowMs);
    if (from === 0) return;
    const { heartbeats } = this.authority;
    this.#seals.meet(from, heartbeats.nonce, heartbeats.lifeOf(from));
    if (portIndex !== this.#ports.length - 1) return;
    const { datagram } = this.#wire;
    const isProbing = (datagram[FLAGS_AT]! & FLAG_PROBING) !== 0;
    this.#paths.heard(from, isProbing, datagram.length, nowMs);
  }

  #onLiveness(event: LivenessEvent): void {
    if (event.type === "stalled") {
      count(this.#counters, COUNT.loopStalls);
    } else {
      this.#tellPeer(event.node);
    }
    this.#post({ type: "liveness", event });
  }

  #tellPeer(node: number): void {
    this.view.peerFlags[node] = peerFlagsOf(this.authority.heartbeats, this.#paths, node);
  }

  #onEffect(effect: AuthorityEffect): void {
    const nowMs = this.#env.nowMs();
    const epoch = this.authority.ownership.epoch;
    switch (effect.type) {
      case "view":
        this.#copyView();
        // From here on the engine obeys the new view; what follows (held packets, barriers) takes time of its own.
        this.#viewAtMs = nowMs;
        this.engine.slotsChanged(nowMs);
        return;
      case "barrier":
        this.#barriers.push(effect);
        this.#publishBarriers();
        return;
      case "unseen":
        this.engine.slotsUnseen(effect.slots);
        return;
      case "announce":
        this.engine.announceSlots(effect.slots);
        return;
      case "settle":
      case "voters":
      case "storeLease":
      case "storeFence":
      case "claim":
      case "shown":
        this.#post(effect);
        return;
      case "gained":
      case "steered":
        this.#post({ type: "slots", change: effect.type, slots: effect.slots, epoch, atMs: this.#viewAtMs });
        return;
      case "lost": {
        const atMs = this.#decidedUntil(this.#viewAtMs);
        this.#post({ type: "slots", change: "lost", slots: effect.slots, epoch, atMs });
        return;
      }
      case "fenced":
        this.#post({ type: "fenced", isFenced: true, atMs: this.#decidedUntil(effect.atMs) });
        this.#copyLease();
        return;
      case "unfenced":
        this.#copyLease();
        this.engine.slotsChanged(nowMs);
        this.#post({ type: "fenced", isFenced: false, atMs: effect.atMs });
        return;
      default:
        effect satisfies never;
    }
  }

  /** A loop that stood still hears of it late, but it decided nothing since its lease ran out. */
  #decidedUntil(atMs: number): number {
    const untilMs = Math.max(this.view.leaseUntilMs[0]!, this.#shrunkMs);
    // A node that never had a lease never decided anything: there is no earlier moment to name.
    return Number.isFinite(untilMs) ? Math.min(atMs, untilMs) : atMs;
  }

  #copyView(): void {
    const { ownership } = this.authority;
    const view = this.view;
    view.epoch = ownership.epoch;
    view.owner.set(ownership.owner);
    view.backup.set(ownership.backup);
    view.coBackup.set(ownership.coBackup);
    view.home.set(ownership.home);
    view.state.set(ownership.state);
    view.gainedEpoch.set(ownership.gainedEpoch);
  }

  /** A barrier must follow everything before it: when the ring is or was full it waits, and so does the new owner. */
  #publishBarriers(): void {
    if (this.#barriers.length === 0) return;
    this.#barriers = this.#barriers.filter(({ slot, epoch }) => !this.engine.publishBarrier(slot, epoch));
  }

  #watchTick(nowMs: number, askedMs: number): void {
    const lateMs = nowMs - askedMs;
    this.#tickedMs = nowMs;
    if (lateMs > this.#counters[COUNT.loopLateMsMax]!) this.#counters[COUNT.loopLateMsMax] = lateMs;
    this.#counters[COUNT.poolExhausted] = this.#pool.exhausted();
    if (nowMs < this.#boardDueMs) return;
    this.#boardDueMs = nowMs + BOARD_MS;
    this.#board.write(this.#ports, this.authority.heartbeats);
  }

  /** Schedules of rules and SYN cookies go by the time of day. */
  #tellWallTime(nowMs: number): void {
    if (nowMs < this.#wallDueMs) return;
    this.#wallDueMs = nowMs + WALL_MS;
    this.#wall[0] = this.#wallMs();
    this.engine.setWallTime(this.#wall);
  }

  /** How long the IP packet of a heartbeat to a node is to be: the full MTU when a probe is due, else 0. */
  #probeBytes(node: number, port: Port): number {
    const isDue = this.#nodes.has(node) && this.#paths.takeDue(node, this.#env.nowMs());
    return isDue ? Math.min(this.#mtuNeeded, port.mtuBytes, this.#enginePorts.at(-1)!.mtuBytes) : 0;
  }

  /** Paths of the cluster link: they may shrink while everything else works. */
  #judgePaths(nowMs: number): void {
    if (nowMs < this.#nextPathMs) return;
    this.#nextPathMs = nowMs + PROBE_MS;
    for (const node of this.#nodes) {
      const path = this.#paths.judge(node, nowMs);
      if (path < 0) continue;
      this.#tellPeer(node);
      this.#post({ type: "path", node, path: PATH_NAMES[path]!, atMs: nowMs });
    }
  }
}
