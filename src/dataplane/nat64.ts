/**
 * NAT64: turns a packet of one family into one of the other, in place (RFC 7915; RFC 6146 section 3.7). Owns the order of it; headers
 * are nat64-header.ts, ICMP errors nat64-error.ts. Which addresses and ports the packet leaves with is in its flow's row. Counts
 * no hops: forwarder.ts does, once.
 *
 *   IPv6   | Ethernet 14 | IPv6 40 | extensions | payload     the payload stays where it is;
 *   IPv4                    | Ethernet 14 | IPv4 20 | payload     headers are written anew before it
 */
import { copyAddress, isIpv4, isSameAddress } from "../base/address.ts";
import { setU16, u16 } from "../packet/bytes.ts";
import { adjusted16 } from "../packet/checksum.ts";
import * as icmp from "../packet/icmp.ts";
import { checksumV6 } from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import { TCP_CHECKSUM } from "../packet/tcp.ts";
import { UDP_CHECKSUM } from "../packet/udp.ts";
import type { EngineContext } from "./context.ts";
import { F_META, F_PLACE, F_PORTS, FAMILY_AT, REPLY_TUPLE, ROW_WORDS } from "./flow-layout.ts";
import { errorIntoV4, errorIntoV6 } from "./nat64-error.ts";
import {
  AFTER_DESTINATION,
  AFTER_SENDER,
  AFTER_SOURCE,
  AFTER_WORDS,
  acrossAddresses,
  acrossPseudo,
  DONT_FRAGMENT,
  echoHead,
  FRAGMENT_MASK,
  fragmentHeaderAt,
  NOWHERE,
  settle,
  trafficClass,
  writeFragmentHeader,
  writeIpv4,
  writeIpv6,
} from "./nat64-header.ts";
import { FRAGMENTABLE_BYTES_MAX } from "./nat64-icmp.ts";
import { NO_NAT64 } from "./nat64-prefix.ts";
import {
  KIND_ECHO,
  KIND_ECHO_REPLY,
  KIND_ICMP_ERROR,
  KIND_TCP,
  KIND_UDP,
  P_OUTER_SOURCE,
  P_SOURCE,
  PARSED,
  type Packet,
} from "./packet.ts";
import { isGoodIcmp } from "./rewrite.ts";
import { dropVerdict } from "./verdict.ts";

const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_UNTRANSLATABLE = dropVerdict("untranslatable");

/** Whether a row's F_META says that its tuples are of different families. */
export function isCrossing(meta: number): boolean {
  const families = (meta >> FAMILY_AT) & 3;
  return families === 1 || families === 2;
}

/** Bytes of the packet when it leaves in a family: what the way out's MTU is compared with. */
export function leavingBytes(packet: Packet, isIpv6: boolean): number {
  if (packet.isIpv6 === isIpv6) return packet.totalBytes;
  // Errors are cut to what every link of the other family carries.
  if (packet.kind === KIND_ICMP_ERROR) return 0;
  if (!isIpv6) return carriedBytes(packet) + ipv4.IPV4_BYTES;
  return carriedBytes(packet) + ipv6.IPV6_BYTES + (packet.isFragment ? ipv6.FRAGMENT_BYTES : 0);
}

/**
 * Whether a packet that is too large for the way out may be cut: IPv4 without DF, and IPv6 that leaves as such (RFC 7915
 * section 5.1).
 */
export function mayBeCut(packet: Packet, bytes: Uint8Array, isIpv6: boolean): boolean {
  if (!packet.isIpv6) return !ipv4.isDontFragment(bytes, packet.ipAt);
  if (isIpv6) return false;
  if (leavingBytes(packet, false) <= FRAGMENTABLE_BYTES_MAX) return true;
  return fragmentHeaderAt(bytes, packet.ipAt, packet.l4At) !== NOWHERE;
}

/** Payload in the frame: of a fragment, less than the datagram's. */
function carriedBytes(packet: Packet): number {
  return packet.totalBytes - (packet.l4At - packet.ipAt);
}

export class Nat64 {
  /** Of the last packet that became IPv6: whether it came without DF, and its id, for its fragments. */
  mayBeCut = false;
  identification = 0;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  /** What the packet in hand leaves with: nat64-header.ts. */
  readonly #after = new Int32Array(AFTER_WORDS);
  /** Of the last IPv4 packet that routers may cut. */
  #lastIdentification: number;

  constructor(context: EngineContext) {
    this.#context = context;
    this.#bytes = context.frames.bytes;
    this.#lastIdentification = context.random(0x10000);
  }

  /**
   * Translates the packet, which is of `direction` of the flow in `row`, whose tuples are of different families. `mtuIn` and
   * `mtuOut` are the links' that it came by and leaves by. PARSED, or the verdict of what is wrong with it.
   */
  translate(packet: Packet, row: number, direction: number, mtuIn: number, mtuOut: number): number {
    const { table } = this.#context;
    const other = 1 - direction;
    table.address(row, other, 1, this.#after, AFTER_SOURCE);
    table.address(row, other, 0, this.#after, AFTER_DESTINATION);
    const ports = table.words[row * ROW_WORDS + other * REPLY_TUPLE + F_PORTS]!;
    if (packet.kind === KIND_ICMP_ERROR) return this.#error(packet, row, ports, mtuIn, mtuOut);
    if (packet.kind === KIND_TCP || packet.kind === KIND_UDP) this.#transport(packet, ports);
    else if (packet.kind === KIND_ECHO || packet.kind === KIND_ECHO_REPLY) this.#query(packet, ports);
    // A later fragment has a header alone.
    else if (!packet.isFragment) return DROP_UNTRANSLATABLE;
    return packet.isIpv6 ? this.#intoV4(packet) : this.#intoV6(packet);
  }

  #error(packet: Packet, row: number, ports: number, mtuIn: number, mtuOut: number): number {
    const bytes = this.#bytes;
    const after = this.#after;
    this.mayBeCut = false;
    if (!isGoodIcmp(packet, bytes)) return DROP_BAD_CHECKSUM;
    this.#chooseSender(packet, row);
    const isDone = packet.isIpv6
      ? errorIntoV4(packet, bytes, after, ports, this.#nextIdentification(), mtuIn, mtuOut)
      : errorIntoV6(packet, bytes, after, ports, mtuIn, mtuOut);
    return isDone ? PARSED : DROP_UNTRANSLATABLE;
  }

  /**
   * Whose error it is on the other side: an IPv4 router's address is in the prefix as a server's is, so that traceroute shows it; an
   * IPv6 router has no IPv4 address, and is hidden behind the flow's (RFC 6146 section 3.6.1).
   */
  #chooseSender(packet: Packet, row: number): void {
    const { policy, table } = this.#context;
    const after = this.#after;
    const { words } = packet;
    copyAddress(after, AFTER_SENDER, after, AFTER_SOURCE);
    if (packet.isIpv6 || isSameAddress(words, P_OUTER_SOURCE, words, P_SOURCE)) return;
    const meta = table.words[row * ROW_WORDS + F_META]!;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    // The zone of the IPv6 end: of the original's source, or of the reply's.
    const zone = ((meta >> FAMILY_AT) & 1) !== 0 ? (place >>> 16) & 0xff : place >>> 24;
    const entry = policy.nat.nat64.of(zone, after, AFTER_SOURCE);
    if (entry === NO_NAT64 || !isIpv4(words, P_OUTER_SOURCE)) return;
    policy.nat.nat64.embed(entry, words[P_OUTER_SOURCE + 3]!, after, AFTER_SENDER);
  }

  /** Ports and checksum of TCP and UDP: the pseudo headers of the families differ by the addresses alone. */
  #transport(packet: Packet, ports: number): void {
    const bytes = this.#bytes;
    const { l4At } = packet;
    const isUdp = packet.kind === KIND_UDP;
    const at = l4At + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    const before = u16(bytes, at);
    // What leaves is the other tuple turned round.
    setU16(bytes, l4At, ports);
    setU16(bytes, l4At + 2, ports >>> 16);
    // Only IPv4 may leave the checksum out: #intoV6() computes it.
    if (isUdp && before === 0) return;
    let check = acrossAddresses(packet, this.#after, before);
    check = adjusted16(check, packet.sourcePort, ports);
    check = adjusted16(check, packet.destinationPort, ports >>> 16);
    setU16(bytes, at, isUdp && check === 0 ? 0xffff : check);
  }

  /** Echo requests and replies: type, id, and a pseudo header that only ICMPv6 has. */
  #query(packet: Packet, ports: number): void {
    const bytes = this.#bytes;
    const { l4At, l4Bytes } = packet;
    const isRequest = packet.kind === KIND_ECHO;
    const id = isRequest ? ports & 0xffff : ports >>> 16;
    const head = echoHead(isRequest, !packet.isIpv6);
    let check = acrossPseudo(packet, this.#after, u16(bytes, l4At + icmp.ICMP_CHECKSUM), l4Bytes);
    check = adjusted16(check, u16(bytes, l4At), head);
    check = adjusted16(check, u16(bytes, l4At + icmp.ICMP_ID), id);
    setU16(bytes, l4At, head);
    setU16(bytes, l4At + icmp.ICMP_ID, id);
    icmp.setAdjusted(bytes, l4At, l4Bytes, check);
  }

  /** The IPv4 header of an IPv6 packet (RFC 7915 section 5.1): extension headers are left behind. */
  #intoV4(packet: Packet): number {
    const bytes = this.#bytes;
    const { ipAt, l4At, ipProtocol } = packet;
    const total = ipv4.IPV4_BYTES + carriedBytes(packet);
    const fragment = packet.ipBytes > ipv6.IPV6_BYTES ? fragmentHeaderAt(bytes, ipAt, l4At) : NOWHERE;
    let identification = 0;
    let flags = 0;
    if (fragment !== NOWHERE) {
      // Section 5.1.1: the id stays, and routers may cut what has a fragment header.
      identification = u16(bytes, fragment + 6);
      const field = u16(bytes, fragment + 2);
      flags = (field >>> 3) | ((field & 1) << 13);
      // A header that is left behind in the middle of a datagram would move all that follows.
      if (flags !== 0 && l4At !== fragment + ipv6.FRAGMENT_BYTES) return DROP_UNTRANSLATABLE;
    } else if (total > FRAGMENTABLE_BYTES_MAX) {
      flags = DONT_FRAGMENT;
    } else {
      identification = this.#nextIdentification();
    }
    const protocol = ipProtocol === ipv6.PROTOCOL_ICMPV6 ? ipv4.PROTOCOL_ICMP : ipProtocol;
    const at = l4At - ipv4.IPV4_BYTES;
    const service = trafficClass(bytes, ipAt);
    const hops = bytes[ipAt + 7]!;
    const from = AFTER_SOURCE;
    const to = AFTER_DESTINATION;
    writeIpv4(bytes, at, service, total, identification, flags, hops, protocol, this.#after, from, to);
    settle(packet, false, at, ipv4.IPV4_BYTES, total);
    return PARSED;
  }

  /** The IPv6 header of an IPv4 packet (section 4.1): options are left behind. */
  #intoV6(packet: Packet): number {
    const bytes = this.#bytes;
    const { ipAt, l4At, ipProtocol } = packet;
    const isBare = packet.kind === KIND_UDP && u16(bytes, l4At + UDP_CHECKSUM) === 0;
    // Section 4.5: of a datagram in pieces no checksum can be computed.
    if (isBare && packet.isFragment) return DROP_UNTRANSLATABLE;
    const carried = carriedBytes(packet);
    const field = u16(bytes, ipAt + 6);
    this.mayBeCut = (field & DONT_FRAGMENT) === 0;
    this.identification = u16(bytes, ipAt + 4);
    const extra = (field & FRAGMENT_MASK) === 0 ? 0 : ipv6.FRAGMENT_BYTES;
    const protocol = ipProtocol === ipv4.PROTOCOL_ICMP ? ipv6.PROTOCOL_ICMPV6 : ipProtocol;
    const next = extra === 0 ? protocol : ipv6.PROTOCOL_FRAGMENT;
    const at = l4At - ipv6.IPV6_BYTES - extra;
    const service = bytes[ipAt + 1]!;
    const hops = bytes[ipAt + 8]!;
    const payload = carried + extra;
    if (extra > 0) writeFragmentHeader(bytes, l4At - extra, protocol, field, this.identification);
    writeIpv6(bytes, at, service, payload, next, hops, this.#after, AFTER_SOURCE, AFTER_DESTINATION);
    settle(packet, true, at, ipv6.IPV6_BYTES + extra, ipv6.IPV6_BYTES + payload);
    if (!isBare) return PARSED;
    // Section 4.5: over IPv6 a checksum must be there.
    const check = checksumV6(bytes, at, ipv4.PROTOCOL_UDP, l4At, u16(bytes, l4At + 4));
    setU16(bytes, l4At + UDP_CHECKSUM, check === 0 ? 0xffff : check);
    return PARSED;
  }

  #nextIdentification(): number {
    this.#lastIdentification = (this.#lastIdentification + 1) & 0xffff;
    return this.#lastIdentification;
  }
}
