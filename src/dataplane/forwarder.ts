/**
 * Forwarder: where the packet in hand goes and what is done to it on the way out: route, TTL, size, translation, commit,
 * redirect to another node. Decides nothing about flows; the last step, neighbours and ports, is egress.ts.
 */
import { ADDRESS_WORDS, copyAddress, isIpv4 } from "../base/address.ts";
import * as ethernet from "../packet/ethernet.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_LATE,
  PEER_NARROW,
  PEER_ON_CLUSTER_LINK,
  type PeerAddress,
} from "./cluster-view.ts";
import { NO_ROUTE } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import type { EngineLimits } from "./engine-options.ts";
import { F_META, F_PLACE, FLAG_NAT, NONE, ROW_WORDS } from "./flow-layout.ts";
import { Fragmenter } from "./fragmenter.ts";
import { buildIcmpError, icmpErrorAt } from "./icmp-error.ts";
import { clampMss } from "./mss.ts";
import { isCrossing, leavingBytes, mayBeCut, Nat64 } from "./nat64.ts";
import { Nat64Fragmenter } from "./nat64-fragmenter.ts";
import { GROWTH_BYTES } from "./nat64-icmp.ts";
import {
  KIND_ICMP_ERROR,
  KIND_TCP,
  P_OUTER_DESTINATION,
  P_OUTER_SOURCE,
  PARSED,
  type Packet,
  UNKNOWN_PORT,
} from "./packet.ts";
import { NOT_WRAPPED, REDIRECTS_OUT, REDIRECTS_ZONE_OUT, type Redirect, readdress } from "./redirect.ts";
import { translate } from "./rewrite.ts";
import { addressHash } from "./slot.ts";
import { TokenBucket } from "./token-bucket.ts";
import { dropVerdict, VERDICT_REDIRECTED } from "./verdict.ts";
import type { Waiting } from "./waiting.ts";

/** Nobody else takes the packet: this node decides it. */
export const OURS = -1;
/** Answer of route() and routeFlow() when the packet may go on; anything else is a final verdict. */
export const NO_EGRESS = -1;
/** Answer of leave() when the packet, translated, goes to an address of ours: it is at `egressZone` now, as if it came from there. */
export const LOOP = -2;
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_TTL = dropVerdict("ttl");
const DROP_TOO_BIG = dropVerdict("too_big");
const DROP_NO_ROUTE = dropVerdict("no_route");
const DROP_FRAGMENT_FULL = dropVerdict("fragment_full");
const DROP_TX_FULL = dropVerdict("tx_full");
const DROP_FRAGMENT = dropVerdict("fragment");

/** What a frame's memory holds behind its headroom, at least (io/pool.ts). */
const FRAME_ROOM_BYTES = 1774;

export class Forwarder {
  /** Set by route(): where the packet leaves, and the next hop's address. */
  egressZone = 0;
  /** Set by route(): the packet will be back. */
  isLoop = false;
  readonly nextHop = new Int32Array(ADDRESS_WORDS);
  /** What the last packet did, for the other fragments of its datagram: the flow it left by, or the slot it was sent to. */
  leftRow = NONE;
  leftDirection = 0;
  redirectedSlot = 0;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #view: ClusterView;
  readonly #packet: Packet;
  readonly #waiting: Waiting;
  readonly #egress: Egress;
  readonly #wrapping: Redirect;
  readonly #errors: TokenBucket;
  readonly #nat64: Nat64;
  readonly #fragmenter6: Nat64Fragmenter;
  readonly #sequence: Float64Array;
  /** By zone: the smallest MTU of its ports. */
  readonly #zoneMtu = new Int32Array(256);
  readonly #clusterPort: number;
  readonly #fragmenter: Fragmenter;
  /** Where a packet of a flow goes. */
  readonly #target = new Int32Array(ADDRESS_WORDS);

  /** `sequence` is the flow book's: what a held packet waits for. */
  constructor(
    context: EngineContext,
    packet: Packet,
    waiting: Waiting,
    egress: Egress,
    wrapping: Redirect,
    sequence: Float64Array,
    limits: EngineLimits,
  ) {
    this.#context = context;
    this.#bytes = context.frames.bytes;
    this.#view = context.view;
    this.#packet = packet;
    this.#waiting = waiting;
    this.#egress = egress;
    this.#wrapping = wrapping;
    this.#sequence = sequence;
    this.#errors = new TokenBucket(limits.icmpErrorsPerSecond);
    this.#nat64 = new Nat64(context);
    this.#fragmenter = new Fragmenter(context, limits.freeFramesMin);
    this.#fragmenter6 = new Nat64Fragmenter(context, limits.freeFramesMin);
    this.#clusterPort = context.ports.findIndex((port) => port.zone < 0);
    for (const port of context.ports) {
      if (port.zone < 0) continue;
      const before = this.#zoneMtu[port.zone]!;
      this.#zoneMtu[port.zone] = before === 0 ? port.mtuBytes : Math.min(before, port.mtuBytes);
    }
  }

  /** Rewrites a packet of a flow and lets it go; routeFlow() has set where to. */
  leave(row: number, direction: number): number {
    const packet = this.#packet;
    const { policy } = this.#context;
    this.leftRow = row;
    this.leftDirection = direction;
    const wrong = this.#translate(row, direction);
    if (wrong !== PARSED) {
      this.leftRow = NONE;
      return this.drop(packet.at, wrong);
    }
    if (packet.kind === KIND_TCP) clampMss(packet, this.#bytes, policy, this.egressZone);
    this.#hop();
    const { at, ipAt, totalBytes } = packet;
    if (this.isLoop) {
      // Fragments would have to meet a second time.
      if (packet.isFragment) {
        this.leftRow = NONE;
        return this.drop(at, DROP_FRAGMENT);
      }
      const type = packet.isIpv6 ? ethernet.ETHER_IPV6 : ethernet.ETHER_IPV4;
      ethernet.setEtherType(this.#bytes, at, type);
      return LOOP;
    }
    if (totalBytes <= this.#uncutMax(row)) return this.#send(row, at, ethernet.ETHERNET_BYTES + totalBytes);
    return packet.isIpv6 ? this.#sendInPieces6(row, at, ipAt) : this.#sendInPieces(row, at, ipAt);
  }

  /** A later fragment of the datagram that just left by this flow: addresses only. */
  leaveRest(row: number, direction: number): number {
    const verdict = this.routeFlow(row, direction);
    return verdict === NO_EGRESS ? this.leave(row, direction) : verdict;
  }

  /** What a finished packet may have at most to leave in one piece. */
  #uncutMax(row: number): number {
    const meta = this.#context.table.words[row * ROW_WORDS + F_META]!;
    // RFC 7915 section 4: who lets routers cut does not discover what an IPv6 path bears, so it gets what every one bears.
    if (this.#packet.isIpv6 && isCrossing(meta) && this.#nat64.mayBeCut) return ipv6.IPV6_MTU_MIN;
    return this.#zoneMtu[this.egressZone]!;
  }

  /** Cuts a finished IPv4 packet without DF to what fits the way out. */
  #sendInPieces(row: number, at: number, ipAt: number): number {
    const { counters } = this.#context;
    const fragmenter = this.#fragmenter;
    if (!fragmenter.cut(at, ipAt, this.#zoneMtu[this.egressZone]!)) return this.drop(at, DROP_FRAGMENT_FULL);
    let verdict = 0;
    for (let piece = 0; piece < fragmenter.pieces; piece++) {
      if (piece > 0) count(counters, verdict);
      verdict = this.#send(row, fragmenter.at[piece]!, fragmenter.lengthBytes[piece]!);
    }
    return verdict;
  }

  /** Cuts a finished IPv6 packet that was an IPv4 packet without DF. */
  #sendInPieces6(row: number, at: number, ipAt: number): number {
    const { counters } = this.#context;
    const fragmenter = this.#fragmenter6;
    if (!fragmenter.cut(ipAt, ipv6.IPV6_MTU_MIN, this.#nat64.identification)) {
      return this.drop(at, DROP_FRAGMENT_FULL);
    }
    let verdict = 0;
    for (let piece = 0; piece < fragmenter.pieces; piece++) {
      if (piece > 0) count(counters, verdict);
      verdict = this.#send(row, fragmenter.at[piece]!, fragmenter.lengthBytes[piece]!);
    }
    return verdict;
  }

  /** A finished frame of a flow leaves, or waits for the backup of the flow. */
  #send(row: number, at: number, lengthBytes: number): number {
    const backup = this.#waiting.committingFor(row);
    if (backup === 0) return this.#egress.transmit(at, lengthBytes, this.egressZone, this.nextHop, 0);
    return this.#waiting.forCommit(
      backup,
      row,
      this.#sequence,
      at,
      lengthBytes,
      this.egressZone,
      this.nextHop,
      0,
    );
  }

  /** PARSED, or the verdict of what is wrong with the packet. */
  #translate(row: number, direction: number): number {
    const packet = this.#packet;
    const { table } = this.#context;
    const meta = table.words[row * ROW_WORDS + F_META]!;
    if ((meta & FLAG_NAT) === 0) return PARSED;
    if (isCrossing(meta)) {
      const mtuIn = this.#zoneMtu[packet.zone]!;
      return this.#nat64.translate(packet, row, direction, mtuIn, this.#zoneMtu[this.egressZone]!);
    }
    return translate(packet, this.#bytes, table, row, direction) ? PARSED : DROP_BAD_CHECKSUM;
  }

  /** Counts the hop down. */
  #hop(): void {
    const { ipAt, isIpv6 } = this.#packet;
    if (isIpv6) this.#bytes[ipAt + 7] = this.#bytes[ipAt + 7]! - 1;
    else ipv4.decrementTtl(this.#bytes, ipAt);
  }

  /** Where a packet of a flow goes, before anything of it is changed. NO_EGRESS: all is well, else a final verdict. */
  routeFlow(row: number, direction: number): number {
    const { table } = this.#context;
    table.address(row, 1 - direction, 0, this.#target, 0);
    const verdict = this.route(this.#target, 0);
    if (verdict !== NO_EGRESS) return verdict;
    // A route that moved to another zone: the rules never let this flow go there.
    const zone = (table.words[row * ROW_WORDS + F_PLACE]! >> (24 - direction * 8)) & 0xff;
    return zone === this.egressZone ? NO_EGRESS : this.drop(this.#packet.at, DROP_NO_ROUTE);
  }

  /** Route, TTL and size: sets the egress and answers NO_EGRESS, or drops, with an ICMP error where one is due. */
  route(destination: Int32Array, at: number): number {
    const packet = this.#packet;
    const { policy } = this.#context;
    const way = policy.wayTo(destination, at);
    if (way < 0) return this.unreachable(DROP_NO_ROUTE);
    const route = way >> 1;
    const zone = policy.routeZone[route]!;
    const left = packet.isIpv6 ? ipv6.hopLimit(this.#bytes, packet.ipAt) : ipv4.ttl(this.#bytes, packet.ipAt);
    if (left < 2) {
      const type = packet.isIpv6 ? icmpv6.ICMPV6_TIME_EXCEEDED : icmp.ICMP_TIME_EXCEEDED;
      return this.answerError(DROP_TTL, type, 0, 0);
    }
    const mtu = this.#zoneMtu[zone]!;
    const isIpv6 = !isIpv4(destination, at);
    if (leavingBytes(packet, isIpv6) > mtu && !mayBeCut(packet, this.#bytes, isIpv6)) {
      return this.#tooBig(mtu, isIpv6);
    }
    this.egressZone = zone;
    this.isLoop = (way & 1) !== 0;
    this.#setNextHop(route, zone, destination, at);
    return NO_EGRESS;
  }

  /**
   * Tells the sender what the way out bears, in bytes of the sender's family (RFC 1191 section 4, RFC 8201 section 4; RFC 7915
   * section 6 for a packet that leaves in the other).
   */
  #tooBig(mtu: number, isIpv6: boolean): number {
    if (this.#packet.isIpv6) {
      const told = isIpv6 ? mtu : Math.max(ipv6.IPV6_MTU_MIN, mtu + GROWTH_BYTES);
      return this.answerError(DROP_TOO_BIG, icmpv6.ICMPV6_TOO_BIG, 0, told);
    }
    const told = isIpv6 ? mtu - GROWTH_BYTES : mtu;
    return this.answerError(DROP_TOO_BIG, icmp.ICMP_UNREACHABLE, icmp.CODE_FRAGMENTATION_NEEDED, told);
  }

  #setNextHop(route: number, zone: number, destination: Int32Array, at: number): void {
    const { policy, key } = this.#context;
    const hops = policy.hopCount[route]!;
    if (hops === 0) {
      copyAddress(this.nextHop, 0, destination, at);
      return;
    }
    const from = policy.hopFrom[route]!;
    let hop = from;
    if (hops > 1) {
      const { words } = this.#packet;
      const hash = addressHash(key, words, P_OUTER_SOURCE) ^ addressHash(key, words, P_OUTER_DESTINATION);
      hop = this.#egress.chooseHop(zone, policy.hops, from, hops, Math.imul(hash, 0x45d9f3b));
    }
    copyAddress(this.nextHop, 0, policy.hops, hop * ADDRESS_WORDS);
  }

  /** Drops the packet, and tells its sender that nothing leads there (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). */
  unreachable(verdict: number): number {
    return this.#packet.isIpv6
      ? this.answerError(verdict, icmpv6.ICMPV6_UNREACHABLE, icmpv6.CODE_V6_NO_ROUTE, 0)
      : this.answerError(verdict, icmp.ICMP_UNREACHABLE, icmp.CODE_NETWORK_UNREACHABLE, 0);
  }

  /** Drops the packet, and tells its sender that it may not go there (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). */
  prohibited(verdict: number): number {
    return this.#packet.isIpv6
      ? this.answerError(verdict, icmpv6.ICMPV6_UNREACHABLE, icmpv6.CODE_V6_PROHIBITED, 0)
      : this.answerError(verdict, icmp.ICMP_UNREACHABLE, icmp.CODE_PROHIBITED, 0);
  }

  /** Turns the packet into an ICMP error to its sender, from the gateway of its zone; limited. The verdict is a drop. */
  answerError(verdict: number, type: number, code: number, word: number): number {
    const { counters, policy } = this.#context;
    const packet = this.#packet;
    // Never about an ICMP error (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
    if (packet.kind === KIND_ICMP_ERROR) return this.drop(packet.at, verdict);
    // Nor about a piece without ports (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7). RFC 4443 section 2.4 e excepts no fragments.
    const isPiece = !packet.isIpv6 && ipv4.isLaterFragment(this.#bytes, packet.ipAt);
    if (isPiece) return this.drop(packet.at, verdict);
    if (!this.mayAnswer()) return this.drop(packet.at, verdict);
    const route = policy.routeTo(packet.words, P_OUTER_SOURCE);
    if (route === NO_ROUTE || policy.routeZone[route] !== packet.zone) return this.drop(packet.at, verdict);
    const gateways = packet.isIpv6 ? policy.gateway6 : policy.gateway4;
    const at = icmpErrorAt(packet);
    const from = packet.zone * ADDRESS_WORDS;
    const lengthBytes = buildIcmpError(packet, this.#bytes, gateways, from, type, code, word);
    count(counters, COUNT.icmpErrorsSent);
    this.reply(at, lengthBytes, route);
    return verdict;
  }

  /** Whether one more answer to the sender of a refused packet may leave now. */
  mayAnswer(): boolean {
    const { policy } = this.#context;
    // A packet that NAT turned back (hairpin) came from nobody whom an answer would reach from here.
    return !policy.nat.isTakenIn(this.#packet.words, P_OUTER_SOURCE) && this.takeError();
  }

  /** Whether one more error may be sent now, which it then is. */
  takeError(): boolean {
    const { counters, clock } = this.#context;
    if (this.#errors.take(clock)) return true;
    count(counters, COUNT.icmpErrorsLimited);
    return false;
  }

  /** The largest IP packet that the packet in hand may become on its way to the egress zone, within its frame's memory. */
  roomBytes(packet: Packet): number {
    return Math.min(this.#zoneMtu[this.egressZone]!, FRAME_ROOM_BYTES - (packet.ipAt - packet.at));
  }

  /** reply(), but not before the backup has what was just published of the flow in `row`. */
  replyCommitted(row: number, at: number, lengthBytes: number, route: number): number {
    const { words, zone } = this.#packet;
    const { egressZone } = this;
    this.#setNextHop(route, zone, words, P_OUTER_SOURCE);
    this.egressZone = zone;
    const verdict = this.#send(row, at, lengthBytes);
    this.egressZone = egressZone;
    return verdict;
  }

  /** Sends a frame made for the sender of the packet in hand, to whom `route` leads. */
  reply(at: number, lengthBytes: number, route: number): number {
    const { words, zone } = this.#packet;
    this.#setNextHop(route, zone, words, P_OUTER_SOURCE);
    return this.#egress.transmit(at, lengthBytes, zone, this.nextHop, 0);
  }

  /**
   * Sends the packet in hand to its slot's owner, or to the backup of an owner that is dead, which alone has its flows: a
   * verdict, or OURS when no link leads there.
   */
  redirect(slot: number): number {
    return this.#redirect(slot, false);
  }

  /** Sends a fragment to where its datagram is put together: at the owner of `slot`, over the cluster link only. */
  redirectToMeet(slot: number): number {
    return this.#redirect(slot, true);
  }

  #redirect(slot: number, isToMeet: boolean): number {
    const view = this.#view;
    const owner = view.owner[slot]!;
    if (owner === view.selfId) return OURS;
    const target = (view.peerFlags[owner]! & PEER_ALIVE) === 0 ? view.backup[slot]! : owner;
    const peer = view.peers[target];
    if (peer === undefined || target === view.selfId) return OURS;
    const flags = view.peerFlags[target]!;
    const isNear = (flags & PEER_ON_CLUSTER_LINK) !== 0 && this.#clusterPort >= 0;
    const mayTurnBack = !isToMeet && (flags & PEER_ALIVE) !== 0;
    const isGood = (flags & (PEER_LATE | PEER_NARROW)) === 0 && this.#fitsClusterLink();
    if (isNear && (!mayTurnBack || isGood)) {
      const verdict = this.#overClusterLink(peer, slot, isToMeet);
      if (verdict !== OURS) return verdict;
    }
    const verdict = mayTurnBack ? this.#overZone(peer, slot) : OURS;
    // A late way, or one that may be too narrow, is better than none.
    return verdict === OURS && isNear && mayTurnBack ? this.#overClusterLink(peer, slot, isToMeet) : verdict;
  }

  #fitsClusterLink(): boolean {
    const port = this.#context.ports[this.#clusterPort];
    return port !== undefined && this.#packet.totalBytes + this.#wrapping.overheadBytes <= port.mtuBytes;
  }

  /** OURS: there is no key for the peer yet. */
  #overClusterLink(peer: PeerAddress, slot: number, isToMeet: boolean): number {
    const { counters } = this.#context;
    const packet = this.#packet;
    if (!this.#fitsClusterLink()) return this.drop(packet.at, DROP_TOO_BIG);
    // Trailing padding stays behind; the inner packet is what counts.
    packet.lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
    const lengthBytes = this.#wrapping.wrap(packet, peer, this.#clusterPort, slot, isToMeet);
    if (lengthBytes === NOT_WRAPPED) return OURS;
    if (!this.#egress.emit(this.#clusterPort, this.#wrapping.at, lengthBytes)) return DROP_TX_FULL;
    count(counters, COUNT.redirectsOut);
    this.#wrapping.count(peer.nodeId, REDIRECTS_OUT);
    this.redirectedSlot = slot;
    return VERDICT_REDIRECTED;
  }

  /** OURS: the peer's address on the packet's wire is not known. */
  #overZone(peer: PeerAddress, slot: number): number {
    const packet = this.#packet;
    const port = packet.port === UNKNOWN_PORT ? this.#egress.portOf(packet.zone) : packet.port;
    if (!readdress(this.#context, packet, port, peer)) return OURS;
    if (!this.#egress.emit(port, packet.at, packet.lengthBytes)) return DROP_TX_FULL;
    count(this.#context.counters, COUNT.redirectsZoneOut);
    this.#wrapping.count(peer.nodeId, REDIRECTS_ZONE_OUT);
    this.redirectedSlot = slot;
    return VERDICT_REDIRECTED;
  }

  drop(at: number, verdict: number): number {
    this.#context.frames.free(at);
    return verdict;
  }
}
