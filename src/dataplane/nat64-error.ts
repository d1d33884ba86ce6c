/**
 * NAT64, ICMP errors: turns an error and the datagram in it into those of the other family, in place (RFC 7915 sections 4.2, 4.3,
 * 5.2, 5.3). Owns their bytes; the tables are nat64-icmp.ts. The embedded datagram may be cut off anywhere behind its first 8
 * bytes; extensions of the error (RFC 4884) are left out.
 *
 *   | Ethernet | IP | ICMP 8 | IP of the embedded datagram | its payload: stays where it is |
 *               <----------- all of this is written anew   ^ innerL4At                      ^ end
 */
import { i32, setI32, setU16, u16 } from "../packet/bytes.ts";
import { adjusted16, checksum } from "../packet/checksum.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import { TCP_CHECKSUM } from "../packet/tcp.ts";
import { UDP_CHECKSUM } from "../packet/udp.ts";
import {
  AFTER_DESTINATION,
  AFTER_SENDER,
  AFTER_SOURCE,
  acrossAddresses,
  acrossPseudo,
  DONT_FRAGMENT,
  echoHead,
  fragmentHeaderAt,
  isPart,
  MORE_FRAGMENTS,
  NOWHERE,
  settle,
  trafficClass,
  writeFragmentHeader,
  writeIpv4,
  writeIpv6,
} from "./nat64-header.ts";
import {
  errorToV4,
  errorToV6,
  FRAGMENTABLE_BYTES_MAX,
  GROWTH_BYTES,
  mtuToV4,
  mtuToV6,
  pointerToV4,
  pointerToV6,
  UNTRANSLATABLE,
} from "./nat64-icmp.ts";
import type { Packet } from "./packet.ts";

/** RFC 4884 section 4: where an error tells the length of the embedded datagram, in words of 4 or 8 bytes. */
const LENGTH_V4 = 5;
const LENGTH_V6 = 4;
/** Bytes of the embedded payload that parse() found to be there. */
const QUOTED_MIN = 8;
/** The byte of the IPv6 header that names the protocol. */
const POINTER_NEXT_HEADER = 6;

/**
 * An ICMPv6 error becomes an ICMP error. `ports`: the other tuple's; `identification`: of its own header. False: IPv4 has no such
 * error, and nothing is changed.
 */
export function errorIntoV4(
  packet: Packet,
  bytes: Uint8Array,
  after: Int32Array,
  ports: number,
  identification: number,
  mtu6: number,
  mtu4: number,
): boolean {
  const { ipAt, innerAt, innerL4At } = packet;
  const fragment = fragmentHeaderAt(bytes, innerAt, innerL4At);
  const head = errorToV4(packet.icmpType, packet.icmpCode);
  const word = head === UNTRANSLATABLE ? UNTRANSLATABLE : wordV4(packet, bytes, fragment, mtu6, mtu4);
  if (head === UNTRANSLATABLE || word === UNTRANSLATABLE) return false;
  const quoted = ipv6.payloadBytes(bytes, innerAt) - (innerL4At - innerAt - ipv6.IPV6_BYTES);
  const end = quotedEnd(packet, bytes, quoted);
  // All that is read is read before the new headers are written over it.
  const service = trafficClass(bytes, ipAt);
  const hops = bytes[ipAt + 7]!;
  embedded(packet, bytes, after, ports, end, quoted);
  const total = ipv4.IPV4_BYTES + quoted;
  const inner = innerL4At - ipv4.IPV4_BYTES;
  const innerService = trafficClass(bytes, innerAt);
  const innerHops = bytes[innerAt + 7]!;
  const innerId = fragment === NOWHERE ? 0 : u16(bytes, fragment + 6);
  const flags =
    fragment === NOWHERE ? flagsOfWhole(total) : ipv6.isAtomic(bytes, fragment) ? 0 : MORE_FRAGMENTS;
  const from = AFTER_DESTINATION;
  writeIpv4(bytes, inner, innerService, total, innerId, flags, innerHops, packet.protocol, after, from, 0);
  const at = inner - icmp.ICMP_BYTES;
  const length = end - at;
  setU16(bytes, at, head);
  setU16(bytes, at + icmp.ICMP_CHECKSUM, 0);
  // A pointer is the first byte of the word, an MTU its second half.
  if (head >>> 8 === icmp.ICMP_PARAMETER_PROBLEM) setI32(bytes, at + 4, word << 24);
  else setI32(bytes, at + 4, word);
  setU16(bytes, at + icmp.ICMP_CHECKSUM, checksum(bytes, at, length));
  const ip = at - ipv4.IPV4_BYTES;
  const all = ipv4.IPV4_BYTES + length;
  const to = AFTER_DESTINATION;
  writeIpv4(bytes, ip, service, all, identification, 0, hops, ipv4.PROTOCOL_ICMP, after, AFTER_SENDER, to);
  settle(packet, false, ip, ipv4.IPV4_BYTES, all);
  settleError(packet, at, length, inner, head);
  return true;
}

/** RFC 7915 section 5.1. */
function flagsOfWhole(totalBytes: number): number {
  return totalBytes > FRAGMENTABLE_BYTES_MAX ? DONT_FRAGMENT : 0;
}

/** An ICMP error becomes an ICMPv6 error. False: IPv6 has no such error, and nothing is changed. */
export function errorIntoV6(
  packet: Packet,
  bytes: Uint8Array,
  after: Int32Array,
  ports: number,
  mtu4: number,
  mtu6: number,
): boolean {
  const { ipAt, innerAt, innerL4At } = packet;
  const head = errorToV6(packet.icmpType, packet.icmpCode);
  const word = head === UNTRANSLATABLE ? UNTRANSLATABLE : wordV6(packet, bytes, head, mtu4, mtu6);
  if (head === UNTRANSLATABLE || word === UNTRANSLATABLE) return false;
  const quoted = ipv4.totalBytes(bytes, innerAt) - (innerL4At - innerAt);
  const fragmentBytes = isPart(bytes, innerAt) ? ipv6.FRAGMENT_BYTES : 0;
  const inner = innerL4At - ipv6.IPV6_BYTES - fragmentBytes;
  const at = inner - icmp.ICMP_BYTES;
  const ip = at - ipv6.IPV6_BYTES;
  // RFC 4443 section 2.4 c: an error fits the least MTU.
  const end = Math.min(ip + ipv6.IPV6_MTU_MIN, quotedEnd(packet, bytes, quoted));
  const service = bytes[ipAt + 1]!;
  const hops = bytes[ipAt + 8]!;
  const innerService = bytes[innerAt + 1]!;
  const innerHops = bytes[innerAt + 8]!;
  const innerId = u16(bytes, innerAt + 4);
  const field = u16(bytes, innerAt + 6);
  embedded(packet, bytes, after, ports, end, quoted);
  const protocol = packet.protocol === ipv4.PROTOCOL_ICMP ? ipv6.PROTOCOL_ICMPV6 : packet.protocol;
  if (fragmentBytes > 0) writeFragmentHeader(bytes, innerL4At - fragmentBytes, protocol, field, innerId);
  const next = fragmentBytes > 0 ? ipv6.PROTOCOL_FRAGMENT : protocol;
  const payload = quoted + fragmentBytes;
  writeIpv6(bytes, inner, innerService, payload, next, innerHops, after, AFTER_DESTINATION, AFTER_SOURCE);
  const length = end - at;
  setU16(bytes, at, head);
  setU16(bytes, at + icmp.ICMP_CHECKSUM, 0);
  setI32(bytes, at + 4, word);
  const icmp6 = ipv6.PROTOCOL_ICMPV6;
  writeIpv6(bytes, ip, service, length, icmp6, hops, after, AFTER_SENDER, AFTER_DESTINATION);
  setU16(bytes, at + icmp.ICMP_CHECKSUM, icmpv6.icmpChecksumV6(bytes, ip, at, length));
  settle(packet, true, ip, ipv6.IPV6_BYTES, ipv6.IPV6_BYTES + length);
  settleError(packet, at, length, inner, head);
  return true;
}

/** Pointer or MTU of the ICMP error that an ICMPv6 error becomes, 0 where it has none, or UNTRANSLATABLE. */
function wordV4(packet: Packet, bytes: Uint8Array, fragment: number, mtu6: number, mtu4: number): number {
  const word = i32(bytes, packet.l4At + 4);
  // What is above 65535 is more than any link of ours carries; a word with the highest bit reads as negative.
  const bounded = word < 0 || word > 0xffff ? 0xffff : word;
  if (packet.icmpType === icmpv6.ICMPV6_TOO_BIG) {
    const shrink = GROWTH_BYTES + (fragment === NOWHERE ? 0 : ipv6.FRAGMENT_BYTES);
    return mtuToV4(bounded, shrink, mtu6, mtu4);
  }
  const hasPointer = packet.icmpType === icmpv6.ICMPV6_PARAMETER_PROBLEM && packet.icmpCode === 0;
  return hasPointer ? pointerToV4(bounded) : 0;
}

/** The same for the ICMPv6 error that an ICMP error becomes. */
function wordV6(packet: Packet, bytes: Uint8Array, head: number, mtu4: number, mtu6: number): number {
  const { l4At, innerAt, icmpType } = packet;
  if (head >>> 8 === icmpv6.ICMPV6_TOO_BIG) {
    return mtuToV6(u16(bytes, l4At + 6), ipv4.totalBytes(bytes, innerAt), mtu6, mtu4);
  }
  if (head >>> 8 !== icmpv6.ICMPV6_PARAMETER_PROBLEM) return 0;
  return icmpType === icmp.ICMP_UNREACHABLE ? POINTER_NEXT_HEADER : pointerToV6(bytes[l4At + 4]!);
}

/** Where the embedded datagram ends in the error: as it was cut off, without padding and extensions (RFC 4884 section 3). */
function quotedEnd(packet: Packet, bytes: Uint8Array, quoted: number): number {
  const { l4At, innerAt, innerL4At, isIpv6, icmpType } = packet;
  let end = Math.min(l4At + packet.l4Bytes, innerL4At + Math.max(QUOTED_MIN, quoted));
  const hasLength = isIpv6
    ? icmpType === icmpv6.ICMPV6_UNREACHABLE || icmpType === icmpv6.ICMPV6_TIME_EXCEEDED
    : true;
  const length = bytes[l4At + (isIpv6 ? LENGTH_V6 : LENGTH_V4)]! * (isIpv6 ? 8 : 4);
  if (hasLength && length > 0) end = Math.min(end, innerAt + length);
  return Math.max(end, innerL4At + QUOTED_MIN);
}

/** Ports or id of the embedded datagram, and its checksum: that may be damaged; it is adjusted, never made right. */
function embedded(
  packet: Packet,
  bytes: Uint8Array,
  after: Int32Array,
  ports: number,
  end: number,
  quoted: number,
): void {
  const at = packet.innerL4At;
  if (packet.protocol === ipv4.PROTOCOL_ICMP) {
    const type = bytes[at]!;
    const isRequest = type === icmp.ICMP_ECHO || type === icmpv6.ICMPV6_ECHO;
    const head = echoHead(isRequest, !packet.isIpv6);
    // The datagram travelled against the error: a request's id is the port of the error's destination.
    const id = isRequest ? ports >>> 16 : ports & 0xffff;
    let check = acrossPseudo(packet, after, u16(bytes, at + icmp.ICMP_CHECKSUM), quoted);
    check = adjusted16(check, u16(bytes, at), head);
    check = adjusted16(check, u16(bytes, at + icmp.ICMP_ID), id);
    setU16(bytes, at, head);
    setU16(bytes, at + icmp.ICMP_ID, id);
    icmp.setAdjusted(bytes, at, end - at, check);
    return;
  }
  const isUdp = packet.protocol === ipv4.PROTOCOL_UDP;
  const checksumAt = at + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
  setU16(bytes, at, ports >>> 16);
  setU16(bytes, at + 2, ports);
  if (checksumAt + 2 > end || (isUdp && u16(bytes, checksumAt) === 0)) return;
  let check = acrossAddresses(packet, after, u16(bytes, checksumAt));
  check = adjusted16(check, packet.destinationPort, ports >>> 16);
  check = adjusted16(check, packet.sourcePort, ports);
  setU16(bytes, checksumAt, isUdp && check === 0 ? 0xffff : check);
}

/** The packet's fields, of the error that it has become. */
function settleError(packet: Packet, at: number, length: number, innerAt: number, head: number): void {
  packet.l4At = at;
  packet.l4Bytes = length;
  packet.innerAt = innerAt;
  packet.icmpType = head >>> 8;
  packet.icmpCode = head & 0xff;
}
