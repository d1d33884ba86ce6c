/**
 * Forwarder: where the packet in hand goes and what is done to it on the way out: route, TTL, size, translation, commit,
 * redirect to another node. Decides nothing about flows; the last step, neighbours and ports, is egress.ts.
 */
import * as ethernet from "../packet/ethernet.ts";
import * as icmp from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { type ClusterView, PEER_ALIVE, PEER_ON_CLUSTER_LINK } from "./cluster-view.ts";
import { type CompiledPolicy, NO_ROUTE } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { F_META, F_PLACE, F_SOURCE, FLAG_NAT, REPLY_TUPLE, ROW_WORDS } from "./flow-layout.ts";
import { buildIcmpError, ICMP_ERROR_OFFSET } from "./icmp-error.ts";
import { KIND_ICMP_ERROR, type Packet } from "./packet.ts";
import { encapsulate, REDIRECT_BYTES, readdress } from "./redirect.ts";
import { translate } from "./rewrite.ts";
import { TokenBucket } from "./token-bucket.ts";
import { dropVerdict, VERDICT_REDIRECTED } from "./verdict.ts";
import type { Waiting } from "./waiting.ts";

/** Nobody else takes the packet: this node decides it. */
export const OURS = -1;
/** Answer of route() and routeFlow() when the packet may go on; anything else is a final verdict. */
export const NO_EGRESS = -1;
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_TTL = dropVerdict("ttl");
const DROP_TOO_BIG = dropVerdict("too_big");
const DROP_NO_ROUTE = dropVerdict("no_route");
const DROP_TX_FULL = dropVerdict("tx_full");

export class Forwarder {
  /** Set by route(): where the packet leaves. */
  egressZone = 0;
  nextHop = 0;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #view: ClusterView;
  readonly #policy: CompiledPolicy;
  readonly #packet: Packet;
  readonly #waiting: Waiting;
  readonly #egress: Egress;
  readonly #errors: TokenBucket;
  readonly #sequence: Float64Array;
  /** By zone: the smallest MTU of its ports. */
  readonly #zoneMtu = new Int32Array(256);
  readonly #clusterPort: number;

  /** `sequence` is the flow book's: what a held packet waits for. */
  constructor(
    context: EngineContext,
    packet: Packet,
    waiting: Waiting,
    egress: Egress,
    sequence: Float64Array,
    icmpErrorsPerSecond: number,
  ) {
    this.#context = context;
    this.#bytes = context.frames.bytes;
    this.#view = context.view;
    this.#policy = context.policy;
    this.#packet = packet;
    this.#waiting = waiting;
    this.#egress = egress;
    this.#sequence = sequence;
    this.#errors = new TokenBucket(icmpErrorsPerSecond);
    this.#clusterPort = context.ports.findIndex((port) => port.zone < 0);
    for (const port of context.ports) {
      if (port.zone < 0) continue;
      const before = this.#zoneMtu[port.zone]!;
      this.#zoneMtu[port.zone] = before === 0 ? port.mtuBytes : Math.min(before, port.mtuBytes);
    }
  }

  /** Rewrites a packet of a flow and lets it go; #routeFlow() has set where to. */
  leave(row: number, direction: number): number {
    const packet = this.#packet;
    const words = this.#context.table.words;
    if ((words[row * ROW_WORDS + F_META]! & FLAG_NAT) !== 0) {
      if (!translate(packet, this.#bytes, words, row, direction)) {
        return this.drop(packet.at, DROP_BAD_CHECKSUM);
      }
    }
    ipv4.decrementTtl(this.#bytes, packet.ipAt);
    const lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
    const backup = this.#waiting.committingFor(row);
    if (backup === 0) return this.#egress.transmit(packet.at, lengthBytes, this.egressZone, this.nextHop);
    return this.#waiting.forCommit(
      backup,
      row,
      this.#sequence,
      packet.at,
      lengthBytes,
      this.egressZone,
      this.nextHop,
    );
  }

  /** Where a packet of a flow goes, before anything of it is changed. NO_EGRESS: all is well, else a final verdict. */
  routeFlow(row: number, direction: number): number {
    const words = this.#context.table.words;
    const base = row * ROW_WORDS;
    const destination = words[base + (1 - direction) * REPLY_TUPLE + F_SOURCE]!;
    const verdict = this.route(destination);
    if (verdict !== NO_EGRESS) return verdict;
    // A route that moved to another zone: the rules never let this flow go there.
    const zone = (words[base + F_PLACE]! >> (24 - direction * 8)) & 0xff;
    return zone === this.egressZone ? NO_EGRESS : this.drop(this.#packet.at, DROP_NO_ROUTE);
  }

  /** Route, TTL and size: sets the egress and answers NO_EGRESS, or drops, with an ICMP error where one is due. */
  route(destination: number): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const route = policy.routeTo(destination);
    if (route === NO_ROUTE) return this.drop(packet.at, DROP_NO_ROUTE);
    const zone = policy.routeZone[route]!;
    const via = policy.routeVia[route]!;
    if (ipv4.ttl(this.#bytes, packet.ipAt) < 2) {
      return this.#answerError(DROP_TTL, icmp.ICMP_TIME_EXCEEDED, 0, 0);
    }
    const mtu = this.#zoneMtu[zone]!;
    if (packet.totalBytes > mtu) {
      // RFC 1191 section 4. Without DF the packet would have to be fragmented, which is not carried yet.
      if (!ipv4.isDontFragment(this.#bytes, packet.ipAt)) return this.drop(packet.at, DROP_TOO_BIG);
      return this.#answerError(DROP_TOO_BIG, icmp.ICMP_UNREACHABLE, icmp.CODE_FRAGMENTATION_NEEDED, mtu);
    }
    this.egressZone = zone;
    this.nextHop = via === 0 ? destination : via;
    return NO_EGRESS;
  }

  /** Turns the packet into an ICMP error to its sender, from the gateway of its zone; limited. The verdict is a drop. */
  #answerError(verdict: number, type: number, code: number, word: number): number {
    const { counters, clock } = this.#context;
    const packet = this.#packet;
    // Never about an ICMP error (RFC 1122 section 3.2.2).
    if (packet.kind === KIND_ICMP_ERROR) return this.drop(packet.at, verdict);
    if (!this.#errors.take(clock)) {
      count(counters, COUNT.icmpErrorsLimited);
      return this.drop(packet.at, verdict);
    }
    const route = this.#policy.routeTo(packet.outerSource);
    if (route === NO_ROUTE || this.#policy.routeZone[route] !== packet.zone) {
      return this.drop(packet.at, verdict);
    }
    const via = this.#policy.routeVia[route]!;
    const gateway = this.#policy.gateway[packet.zone]!;
    const lengthBytes = buildIcmpError(packet, this.#bytes, gateway, type, code, word);
    const at = packet.ipAt + ICMP_ERROR_OFFSET;
    ethernet.setEtherType(this.#bytes, at, ethernet.ETHER_IPV4);
    count(counters, COUNT.icmpErrorsSent);
    this.#egress.transmit(at, lengthBytes, packet.zone, via === 0 ? packet.outerSource : via);
    return verdict;
  }

  /**
   * Sends the packet in hand to its slot's owner, or to the backup of an owner that is dead, which alone has its flows: a
   * verdict, or OURS when no link leads there.
   */
  redirect(slot: number): number {
    const { counters, ports } = this.#context;
    const view = this.#view;
    const packet = this.#packet;
    const owner = view.owner[slot]!;
    if (owner === view.selfId) return OURS;
    const target = (view.peerFlags[owner]! & PEER_ALIVE) === 0 ? view.backup[slot]! : owner;
    const peer = view.peers[target];
    if (peer === undefined || target === view.selfId) return OURS;
    const flags = view.peerFlags[target]!;
    if ((flags & PEER_ON_CLUSTER_LINK) !== 0 && this.#clusterPort >= 0) {
      // Trailing padding stays behind; the inner packet is what counts.
      packet.lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
      const mtu = ports[this.#clusterPort]!.mtuBytes;
      if (packet.lengthBytes + REDIRECT_BYTES - ethernet.ETHERNET_BYTES > mtu) {
        return this.drop(packet.at, DROP_TOO_BIG);
      }
      const lengthBytes = encapsulate(this.#context, packet, peer, this.#clusterPort, slot);
      if (!this.#egress.emit(this.#clusterPort, packet.at - REDIRECT_BYTES, lengthBytes)) return DROP_TX_FULL;
      count(counters, COUNT.redirectsOut);
      return VERDICT_REDIRECTED;
    }
    if ((flags & PEER_ALIVE) !== 0 && readdress(this.#context, packet, peer)) {
      if (!this.#egress.emit(packet.port, packet.at, packet.lengthBytes)) return DROP_TX_FULL;
      count(counters, COUNT.redirectsZoneOut);
      return VERDICT_REDIRECTED;
    }
    return OURS;
  }

  drop(at: number, verdict: number): number {
    this.#context.frames.free(at);
    return verdict;
  }
}
