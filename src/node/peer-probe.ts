/**
 * Peer probe: asks a silent node's machine, on every link, whether it is there: ARP probes (RFC 5227) for its address on the cluster
 * link, which is the one address that is its own. In zones its engine answers (dataplane/arp-answer.ts), on the cluster link its
 * kernel. Owns when to ask and what counts as an answer; what follows from it is cluster/takeover/pair.ts.
 *
 *   zone           an answer counts when it comes from the MAC from which the peer's heartbeats came: routers that answer for others
 *                  (proxy ARP) are no peer
 *   cluster link   any answer counts
 *
 * Only silence that one could hear means anything: a probe counts when frames of others arrived in a zone before the next one. A node
 * that was cut off hears hosts before it hears the peer, when its links are back; then it asks anew.
 *
 * Members have no IPv6 address of their own, so there is nothing to ask neighbour discovery for.
 */
import type { Heartbeats } from "../../cluster/liveness/heartbeats.ts";
import type { ClusterView } from "../dataplane/cluster-view.ts";
import { writeArpProbe } from "../dataplane/neighbour-probe.ts";
import type { PolicyModel } from "../dataplane/policy-model.ts";
import type { Port } from "../io/port.ts";
import {
  ARP_BYTES,
  ARP_REPLY,
  ARP_SENDER_MAC,
  isEthernetIpv4,
  operation,
  senderIp,
  targetIp,
} from "../packet/arp.ts";
import { ETHER_ARP, ETHERNET_BYTES, etherType, isMac } from "../packet/ethernet.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** Probes at the quick pace; later ones only show whether anything changes. */
const QUICK_PROBES = 20;
const SLOW_MS = 1000;
/** An answer is remembered for so many probes. */
const ANSWER_PROBES = 3;

export interface PeerProbeOptions {
  /** Zone ports first, the cluster port last. */
  readonly ports: readonly Port[];
  readonly view: Pick<ClusterView, "peers">;
  /** Asked as well, so that a node finds out quickly whether it hears anybody. */
  readonly nextHops: readonly NextHop[];
  /** Between two quick probes. */
  readonly intervalMs: number;
  /** What is heard of a node, on whichever link, whether it hears us or not. */
  readonly heartbeats: () => Pick<Heartbeats, "lastHeardMs" | "isSpeaking">;
  readonly post: (message: FromWorker) => void;
}

/** Routers that should answer wherever a zone is not cut off: hosts may send to the dead node's MACs for half a minute. */
export interface NextHop {
  readonly port: number;
  readonly address: number;
}

const NEXT_HOPS_MAX = 8;

/** IPv4 next hops of all zones, on each port of theirs. */
export function nextHopsOf({ routes, zones }: Pick<PolicyModel, "routes" | "zones">): readonly NextHop[] {
  const hops = routes.flatMap(({ zone, via }) => {
    const ports = zones.find(({ id }) => id === zone)?.ports ?? [];
    return typeof via === "number" && via !== 0 ? ports.map((port) => ({ port, address: via })) : [];
  });
  return hops.slice(0, NEXT_HOPS_MAX);
}

export class PeerProbe {
  readonly #options: PeerProbeOptions;
  #node = 0;
  #sent = 0;
  #nextMs = 0;
  #nextProbeMs = 0;
  /** The last probe before which an answer came; below any: none. */
  #answeredAt = Number.NEGATIVE_INFINITY;
  /** Probes after which frames of others arrived before the next one. */
  #probesHeard = 0;
  #framesBefore = 0;

  constructor(options: PeerProbeOptions) {
    this.#options = options;
  }

  begin(node: number, nowMs: number): void {
    this.#node = node;
    this.#sent = 0;
    this.#nextMs = nowMs;
    this.#nextProbeMs = nowMs;
    this.#answeredAt = Number.NEGATIVE_INFINITY;
    this.#probesHeard = 0;
    this.#framesBefore = this.#framesHeard();
  }

  end(node: number): void {
    if (node === this.#node) this.#node = 0;
  }

  /** When tick() has something to do; Infinity: nobody is probed. */
  get dueMs(): number {
    return this.#node === 0 ? Number.POSITIVE_INFINITY : this.#nextMs;
  }

  tick(nowMs: number): void {
    if (this.#node === 0 || nowMs < this.#nextMs) return;
    // What was heard is told all the time: who decides by it must know it as of now.
    this.#nextMs = nowMs + this.#options.intervalMs;
    if (nowMs < this.#nextProbeMs) {
      this.#tell();
      return;
    }
    const frames = this.#framesHeard();
    if (this.#sent > 0) {
      if (frames > this.#framesBefore) this.#probesHeard++;
      this.#tell();
    }
    this.#framesBefore = frames;
    this.#nextProbeMs = nowMs + (this.#sent < QUICK_PROBES ? this.#options.intervalMs : SLOW_MS);
    this.#sent++;
    const address = this.#options.view.peers[this.#node]?.clusterIp;
    if (address === undefined) return;
    const { ports, nextHops } = this.#options;
    for (const port of ports) ask(port, address);
    for (const hop of nextHops) ask(ports[hop.port]!, hop.address);
  }

  /** A frame that the engine left to the node. True when it was an answer to a probe, of whomever. */
  take(portIndex: number, bytes: Uint8Array, at: number, lengthBytes: number): boolean {
    const arp = at + ETHERNET_BYTES;
    if (lengthBytes < ETHERNET_BYTES + ARP_BYTES || etherType(bytes, at) !== ETHER_ARP) return false;
    if (!isEthernetIpv4(bytes, arp) || operation(bytes, arp) !== ARP_REPLY || targetIp(bytes, arp) !== 0) {
      return false;
    }
    const { view, ports } = this.#options;
    const peer = view.peers[this.#node];
    if (this.#node === 0 || peer === undefined || senderIp(bytes, arp) !== (peer.clusterIp | 0)) return true;
    const isCluster = portIndex === ports.length - 1;
    if (isCluster || isMac(bytes, arp + ARP_SENDER_MAC, peer.zoneMac[portIndex]!, 0))
      this.#answeredAt = this.#sent;
    return true;
  }

  #tell(): void {
    const heartbeats = this.#options.heartbeats();
    this.#options.post({
      type: "probed",
      node: this.#node,
      lastHeardMs: heartbeats.lastHeardMs(this.#node),
      isSpeaking: heartbeats.isSpeaking(this.#node),
      probes: this.#sent,
      isAnswering: this.#answeredAt > this.#sent - ANSWER_PROBES,
      probesHeard: this.#probesHeard,
    });
  }

  /** In zones: the cluster link's own traffic is the peer's, or the kernel's. */
  #framesHeard(): number {
    let frames = 0;
    const { ports } = this.#options;
    for (let index = 0; index < ports.length - 1; index++) frames += ports[index]!.counters.rxFrames;
    return frames;
  }
}

function ask(port: Port, address: number): void {
  const at = port.pool.alloc();
  if (at < 0) return;
  port.send(at, writeArpProbe(port.pool.bytes, at, port.mac, address | 0));
  port.flush();
}
