/**
 * NAT64, headers: reads and writes what the headers of the two families have in common (RFC 7915 sections 4.1 and 5.1), and keeps
 * checksums right across the families (RFC 1624). Owns no decision.
 *
 * What a packet leaves with is `after`: source, destination, and an error's own source, four words each (base/address.ts).
 */
import { setI32, setU16, u16 } from "../packet/bytes.ts";
import { adjusted32, checksum } from "../packet/checksum.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";

export const AFTER_SOURCE = 0;
export const AFTER_DESTINATION = 4;
/** Who sends an ICMP error: a router on the way, or the flow's end. */
export const AFTER_SENDER = 8;
export const AFTER_WORDS = 12;

export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
/** More fragments, and the offset: neither is set in a whole datagram. */
export const FRAGMENT_MASK = 0x3fff;
export const NOWHERE = -1;

/** Traffic class of an IPv6 header: what IPv4 calls type of service. */
export function trafficClass(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! & 15) << 4) | (bytes[at + 1]! >>> 4);
}

/** The fragment header between the IPv6 header at `ipAt` and its payload, or NOWHERE; the headers were walked before. */
export function fragmentHeaderAt(bytes: Uint8Array, ipAt: number, l4At: number): number {
  let header = ipv6.nextHeader(bytes, ipAt);
  let at = ipAt + ipv6.IPV6_BYTES;
  while (at < l4At) {
    if (header === ipv6.PROTOCOL_FRAGMENT) return at;
    const next = bytes[at]!;
    at += ipv6.extensionBytes(header, bytes, at);
    header = next;
  }
  return NOWHERE;
}

/** Writes a fragment header that says what flags and offset of an IPv4 header said (RFC 7915 section 4.1). */
export function writeFragmentHeader(
  bytes: Uint8Array,
  at: number,
  next: number,
  field: number,
  identification: number,
): void {
  bytes[at] = next;
  bytes[at + 1] = 0;
  // IPv4: flags above the offset. IPv6: the offset above the flags.
  setU16(bytes, at + 2, ((field & 0x1fff) << 3) | ((field >>> 13) & 1));
  setI32(bytes, at + 4, identification);
}

/** Writes a header without options and its checksum; the addresses are IPv4 ones in `words`. */
export function writeIpv4(
  bytes: Uint8Array,
  at: number,
  service: number,
  total: number,
  identification: number,
  flags: number,
  timeToLive: number,
  protocol: number,
  words: Int32Array,
  from: number,
  to: number,
): void {
  bytes[at] = 0x45;
  bytes[at + 1] = service;
  setU16(bytes, at + 2, total);
  setU16(bytes, at + 4, identification);
  setU16(bytes, at + 6, flags);
  bytes[at + 8] = timeToLive;
  bytes[at + 9] = protocol;
  setU16(bytes, at + ipv4.IPV4_CHECKSUM, 0);
  setI32(bytes, at + ipv4.IPV4_SOURCE, words[from + 3]!);
  setI32(bytes, at + ipv4.IPV4_DESTINATION, words[to + 3]!);
  setU16(bytes, at + ipv4.IPV4_CHECKSUM, checksum(bytes, at, ipv4.IPV4_BYTES));
}

/** Writes a header with flow label 0. */
export function writeIpv6(
  bytes: Uint8Array,
  at: number,
  service: number,
  payload: number,
  next: number,
  hops: number,
  words: Int32Array,
  from: number,
  to: number,
): void {
  ipv6.writeIpv6Header(bytes, at, payload, next, hops, words, from, words, to);
  bytes[at] = 0x60 | (service >>> 4);
  bytes[at + 1] = (service << 4) & 0xff;
}

/** The packet is of the other family from now on; its header begins at `ipAt`, its payload stayed where it was. */
export function settle(
  packet: Packet,
  isIpv6: boolean,
  ipAt: number,
  ipBytes: number,
  totalBytes: number,
): void {
  packet.isIpv6 = isIpv6;
  packet.at = ipAt - ETHERNET_BYTES;
  packet.lengthBytes = ETHERNET_BYTES + totalBytes;
  packet.ipAt = ipAt;
  packet.ipBytes = ipBytes;
  packet.totalBytes = totalBytes;
}

/**
 * A checksum whose pseudo header has the addresses of `after` instead of the packet's. A mapped address adds up to what its
 * last word does: its others are 0 in one's complement.
 */
export function acrossAddresses(packet: Packet, after: Int32Array, before: number): number {
  const { words } = packet;
  let check = before;
  for (let i = 0; i < 4; i++) {
    check = adjusted32(check, words[P_SOURCE + i]!, after[AFTER_SOURCE + i]!);
    check = adjusted32(check, words[P_DESTINATION + i]!, after[AFTER_DESTINATION + i]!);
  }
  return check;
}

/** The same for ICMP, whose checksum covers a pseudo header in ICMPv6 alone: it comes or goes. `length`: of the message. */
export function acrossPseudo(packet: Packet, after: Int32Array, before: number, length: number): number {
  const { words, isIpv6 } = packet;
  let check = before;
  for (let i = 0; i < 4; i++) {
    const source = isIpv6 ? words[P_SOURCE + i]! : 0;
    const destination = isIpv6 ? words[P_DESTINATION + i]! : 0;
    check = adjusted32(check, source, isIpv6 ? 0 : after[AFTER_SOURCE + i]!);
    check = adjusted32(check, destination, isIpv6 ? 0 : after[AFTER_DESTINATION + i]!);
  }
  const rest = length + ipv6.PROTOCOL_ICMPV6;
  return isIpv6 ? adjusted32(check, rest, 0) : adjusted32(check, 0, rest);
}

/** Type and code of an echo message of a family. */
export function echoHead(isRequest: boolean, isIpv6: boolean): number {
  if (isIpv6) return (isRequest ? icmpv6.ICMPV6_ECHO : icmpv6.ICMPV6_ECHO_REPLY) << 8;
  return (isRequest ? icmp.ICMP_ECHO : icmp.ICMP_ECHO_REPLY) << 8;
}

/** Whether flags and offset of an IPv4 header say that it is a part of a datagram. */
export function isPart(bytes: Uint8Array, ipAt: number): boolean {
  return (u16(bytes, ipAt + 6) & FRAGMENT_MASK) !== 0;
}
