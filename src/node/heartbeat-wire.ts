/**
 * Heartbeat wire: how a node's heartbeats leave by its ports and which of those that arrive reach the authority. Owns where peers are:
 * their MAC addresses are learned from heartbeats, as far as these are believed.
 *
 *   proven in this life     its MAC on that link is the one that it came from
 *   from behind a router    authentic is enough until then: the router is to be answered, since it passes no broadcast on, and by
 *                           answers the life is proven
 */
import { CLUSTER_LINK } from "../../cluster/liveness/model.ts";
import type { Authority } from "../../cluster/takeover/authority.ts";
import type { ClusterView } from "../dataplane/cluster-view.ts";
import type { FramePool, Port } from "../io/port.ts";
import { isZero, MAC_BYTES, setMac } from "../packet/ethernet.ts";
import { HeartbeatBudget } from "./heartbeat-budget.ts";
import { findDatagram, HEARTBEAT_TTL, writeClusterFrame, writeZoneFrame } from "./heartbeat-frames.ts";
import { senderOf } from "./heartbeat-sender.ts";
import { HopLimit } from "./hop-limit.ts";
import type { WorkerPeer } from "./worker-protocol.ts";

const BROADCAST = new Uint8Array(MAC_BYTES).fill(0xff);
const NOTHING = new Uint8Array();

export interface HeartbeatWireOptions {
  readonly pool: FramePool;
  /** Zone ports first, the cluster port last. */
  readonly ports: readonly Port[];
  /** Its peers' MAC addresses are written. */
  readonly view: ClusterView;
  readonly peers: readonly WorkerPeer[];
  readonly witnessHops: number;
  readonly authority: () => Pick<Authority, "receive" | "heartbeats">;
  /** How long the packet to a peer on the cluster link is to be at least. */
  readonly bytesMin: (node: number, port: Port) => number;
}

export class HeartbeatWire {
  readonly #options: HeartbeatWireOptions;
  readonly #hopLimit: HopLimit;
  /** By port. */
  readonly #budgets: readonly HeartbeatBudget[];
  readonly #span = { at: 0, lengthBytes: 0, ttl: 0 };
  #datagram: Uint8Array = NOTHING;

  constructor(options: HeartbeatWireOptions) {
    this.#options = options;
    this.#hopLimit = new HopLimit(options.witnessHops, options.peers);
    this.#budgets = options.ports.map(() => new HeartbeatBudget());
    this.#findMacs(options.peers);
  }

  /** What receive() found, valid until the frame is given back. */
  get datagram(): Uint8Array {
    return this.#datagram;
  }

  usePeers(peers: readonly WorkerPeer[]): void {
    this.#hopLimit.usePeers(peers);
    this.#findMacs(peers);
  }

  /** Where the engine's view keeps them: what is learned later is there as well. */
  #findMacs(peers: readonly WorkerPeer[]): void {
    const { view, ports } = this.#options;
    const known = peers.flatMap(({ nodeId }) => view.peers[nodeId] ?? []);
    ports.forEach((_, port) => {
      const isCluster = port === ports.length - 1;
      this.#budgets[port]!.useMacs(known.map((peer) => (isCluster ? peer.clusterMac : peer.zoneMac[port]!)));
    });
  }

  /** A frame that the engine left to the node. Answers who provably sent a heartbeat with it; 0: nobody. */
  receive(portIndex: number, at: number, lengthBytes: number, nowMs: number): number {
    const { pool, ports, view } = this.#options;
    const authority = this.#options.authority();
    const { heartbeats } = authority;
    const isCluster = portIndex === ports.length - 1;
    if (!findDatagram(pool.bytes, at, lengthBytes, isCluster, this.#span)) return 0;
    const { ttl } = this.#span;
    const sender = senderOf(pool.bytes, at, isCluster);
    if (!this.#hopLimit.allows(sender, ttl)) {
      heartbeats.refuse("distant", sender);
      return 0;
    }
    const budget = this.#budgets[portIndex]!;
    if (!budget.take(pool.bytes, at + MAC_BYTES, nowMs)) {
      heartbeats.refuse("crowded", sender);
      return 0;
    }
    this.#datagram = pool.bytes.subarray(this.#span.at, this.#span.at + this.#span.lengthBytes);
    const from = authority.receive(isCluster ? CLUSTER_LINK : portIndex + 1, this.#datagram, nowMs, sender);
    const peer = view.peers[from !== 0 || ttl === HEARTBEAT_TTL ? from : claimantOf(heartbeats)];
    if (peer === undefined) return 0;
    const mac = isCluster ? peer.clusterMac : peer.zoneMac[portIndex]!;
    setMac(mac, 0, pool.bytes, at + MAC_BYTES);
    return from;
  }

  send(link: number, node: number, datagram: Uint8Array): void {
    const { pool, ports, view, bytesMin } = this.#options;
    const portIndex = link === CLUSTER_LINK ? ports.length - 1 : link - 1;
    const port = ports[portIndex];
    const peer = view.peers[node];
    if (port === undefined || peer === undefined) return;
    const at = pool.alloc();
    if (at < 0) return;
    const { bytes } = pool;
    const zoneMac = peer.zoneMac[portIndex];
    const lengthBytes =
      link === CLUSTER_LINK
        ? writeClusterFrame(
            bytes,
            at,
            peer.clusterMac,
            port.mac,
            view.clusterIp,
            peer.clusterIp,
            datagram,
            bytesMin(node, port),
          )
        : writeZoneFrame(bytes, at, isZero(zoneMac!, 0) ? BROADCAST : zoneMac!, port.mac, datagram);
    port.send(at, lengthBytes);
  }
}

/** Whoever claims to be a member in a life that is not proven. Of one whose life is, a heartbeat of an earlier one was recorded. */
function claimantOf(heartbeats: Authority["heartbeats"]): number {
  const { claimant } = heartbeats;
  return heartbeats.isAlive(claimant) ? 0 : claimant;
}
