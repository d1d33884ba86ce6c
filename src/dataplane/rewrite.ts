/**
 * Rewrite: translates a packet in place to what the other side of its flow shall see, with all checksums (RFC 1624).
 * Owns the translation of headers and of the datagrams inside ICMP errors (RFC 5508 section 4); decides nothing.
 *
 * A packet of direction d leaves with the other direction's tuple turned round:
 *   source := other.destination, destination := other.source, and the ports likewise.
 */
import { isSameAddress } from "../base/address.ts";
import { setI32, setU16, u16 } from "../packet/bytes.ts";
import { adjust16, adjusted16, adjusted32, checksum } from "../packet/checksum.ts";
import { ICMP_CHECKSUM, ICMP_ECHO, ICMP_ID, ICMP_TIMESTAMP, setAdjusted } from "../packet/icmp.ts";
import { ICMPV6_ECHO, ICMPV6_ECHO_REPLY, icmpChecksumV6 } from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { IPV6_DESTINATION, IPV6_SOURCE, readIpv6, writeIpv6 } from "../packet/ipv6.ts";
import { TCP_CHECKSUM } from "../packet/tcp.ts";
import { UDP_CHECKSUM } from "../packet/udp.ts";
import { F_DESTINATION, F_PORTS, F_SOURCE, REPLY_TUPLE, ROW_WORDS } from "./flow-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import {
  KIND_ECHO,
  KIND_ECHO_REPLY,
  KIND_ICMP_ERROR,
  KIND_TCP,
  KIND_UDP,
  P_DESTINATION,
  P_SOURCE,
  type Packet,
} from "./packet.ts";

/** What the packet in hand leaves with: addresses (source, destination) and ports. One packet at a time. */
const after = new Int32Array(8);
const AFTER_SOURCE = 0;
const AFTER_DESTINATION = 4;
const spare = new Int32Array(4);

/** Translates the packet, which is of `direction` of the flow in `row`. False: an ICMP error with a bad checksum. */
export function translate(
  packet: Packet,
  bytes: Uint8Array,
  table: FlowTable,
  row: number,
  direction: number,
): boolean {
  const other = 1 - direction;
  if (!packet.isIpv6 && (packet.kind === KIND_TCP || packet.kind === KIND_UDP)) {
    translate4(packet, bytes, table.words, row * ROW_WORDS + other * REPLY_TUPLE);
    return true;
  }
  table.address(row, other, 1, after, AFTER_SOURCE);
  table.address(row, other, 0, after, AFTER_DESTINATION);
  const ports = table.words[row * ROW_WORDS + other * REPLY_TUPLE + F_PORTS]!;
  return rewrite(packet, bytes, ports & 0xffff, ports >>> 16);
}

/** TCP and UDP over IPv4, where an address is one word. `tuple`: the other direction's, as an index of words. */
function translate4(packet: Packet, bytes: Uint8Array, words: Int32Array, tuple: number): void {
  const { ipAt, l4At, kind, sourcePort, destinationPort } = packet;
  const source = packet.words[P_SOURCE + 3]!;
  const destination = packet.words[P_DESTINATION + 3]!;
  const newSource = words[tuple + F_DESTINATION]!;
  const newDestination = words[tuple + F_SOURCE]!;
  const ports = words[tuple + F_PORTS]!;
  if (newSource !== source) ipv4.rewriteSource(bytes, ipAt, newSource);
  if (newDestination !== destination) ipv4.rewriteDestination(bytes, ipAt, newDestination);
  setU16(bytes, l4At, ports);
  setU16(bytes, l4At + 2, ports >>> 16);
  const checksumAt = l4At + (kind === KIND_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
  const before = u16(bytes, checksumAt);
  // A UDP sender that computes no checksum says so with 0 (RFC 768).
  if (kind === KIND_UDP && before === 0) return;
  let check = adjusted32(before, source, newSource);
  check = adjusted32(check, destination, newDestination);
  check = adjusted32(check, (sourcePort << 16) | destinationPort, (ports << 16) | (ports >>> 16));
  setU16(bytes, checksumAt, kind === KIND_UDP && check === 0 ? 0xffff : check);
}

function rewrite(packet: Packet, bytes: Uint8Array, sourcePort: number, destinationPort: number): boolean {
  switch (packet.kind) {
    case KIND_TCP:
    case KIND_UDP:
      rewriteTransport(packet, bytes, sourcePort, destinationPort);
      break;
    case KIND_ECHO:
    case KIND_ECHO_REPLY:
      rewriteQuery(packet, bytes, packet.kind === KIND_ECHO ? sourcePort : destinationPort);
      break;
    case KIND_ICMP_ERROR:
      return rewriteError(packet, bytes, sourcePort, destinationPort);
    default:
      break;
  }
  if (!isSameAddress(after, AFTER_SOURCE, packet.words, P_SOURCE)) {
    setAddress(packet, bytes, packet.ipAt, 0, after, AFTER_SOURCE);
  }
  if (!isSameAddress(after, AFTER_DESTINATION, packet.words, P_DESTINATION)) {
    setAddress(packet, bytes, packet.ipAt, 1, after, AFTER_DESTINATION);
  }
  return true;
}

function rewriteTransport(
  packet: Packet,
  bytes: Uint8Array,
  sourcePort: number,
  destinationPort: number,
): void {
  const at = packet.l4At;
  const checksumAt = at + (packet.kind === KIND_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
  const before = u16(bytes, checksumAt);
  setU16(bytes, at, sourcePort);
  setU16(bytes, at + 2, destinationPort);
  // A UDP sender that computes no checksum says so with 0 (RFC 768).
  if (packet.kind === KIND_UDP && before === 0) return;
  let check = adjustedAddresses(packet, before);
  check = adjusted16(check, packet.sourcePort, sourcePort);
  check = adjusted16(check, packet.destinationPort, destinationPort);
  setU16(bytes, checksumAt, packet.kind === KIND_UDP && check === 0 ? 0xffff : check);
}

/** A transport checksum after both addresses of its pseudo header changed. */
function adjustedAddresses(packet: Packet, before: number): number {
  const words = packet.words;
  let check = before;
  for (let i = packet.isIpv6 ? 0 : 3; i < 4; i++) {
    check = adjusted32(check, words[P_SOURCE + i]!, after[AFTER_SOURCE + i]!);
    check = adjusted32(check, words[P_DESTINATION + i]!, after[AFTER_DESTINATION + i]!);
  }
  return check;
}

function rewriteQuery(packet: Packet, bytes: Uint8Array, id: number): void {
  const idAt = packet.l4At + ICMP_ID;
  let check = u16(bytes, packet.l4At + ICMP_CHECKSUM);
  // ICMPv6 covers the addresses (RFC 4443 section 2.3), ICMP does not.
  if (packet.isIpv6) check = adjustedAddresses(packet, check);
  check = adjusted16(check, u16(bytes, idAt), id);
  setU16(bytes, idAt, id);
  setAdjusted(bytes, packet.l4At, packet.l4Bytes, check);
}

/**
 * The embedded datagram becomes what its sender sent: source := destination, and so on. The outer destination follows; the
 * outer source only where this direction's source is translated, so that routers on the way stay visible to traceroute.
 */
function rewriteError(
  packet: Packet,
  bytes: Uint8Array,
  sourcePort: number,
  destinationPort: number,
): boolean {
  if (!isGoodIcmp(packet, bytes)) return false;
  const { innerAt } = packet;
  rewriteInnerTransport(packet, bytes, sourcePort, destinationPort);
  setAddress(packet, bytes, innerAt, 0, after, AFTER_DESTINATION);
  setAddress(packet, bytes, innerAt, 1, after, AFTER_SOURCE);
  if (!isSameAddress(after, AFTER_SOURCE, packet.words, P_SOURCE)) {
    // Who sent the error is the host that the flow hides, or a router before it.
    setAddress(packet, bytes, packet.ipAt, 0, after, AFTER_SOURCE);
  }
  setAddress(packet, bytes, packet.ipAt, 1, after, AFTER_DESTINATION);
  setIcmpChecksum(packet, bytes);
  return true;
}

/** Ports or id of the embedded datagram, and its checksum: that may be damaged; it is adjusted, never made right. */
function rewriteInnerTransport(
  packet: Packet,
  bytes: Uint8Array,
  sourcePort: number,
  destinationPort: number,
): void {
  const at = packet.innerL4At;
  const end = packet.l4At + packet.l4Bytes;
  if (packet.protocol === ipv4.PROTOCOL_ICMP) {
    const type = bytes[at]!;
    const isQuery =
      type === (packet.isIpv6 ? ICMPV6_ECHO : ICMP_ECHO) || (!packet.isIpv6 && type === ICMP_TIMESTAMP);
    const id = isQuery ? destinationPort : sourcePort;
    let check = adjusted16(u16(bytes, at + ICMP_CHECKSUM), u16(bytes, at + ICMP_ID), id);
    if (packet.isIpv6) check = adjustedAddresses(packet, check);
    setU16(bytes, at + ICMP_ID, id);
    setAdjusted(bytes, at, end - at, check);
    return;
  }
  const isUdp = packet.protocol === ipv4.PROTOCOL_UDP;
  if (!isUdp && packet.protocol !== ipv4.PROTOCOL_TCP) return;
  const checksumAt = at + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
  setU16(bytes, at, destinationPort);
  setU16(bytes, at + 2, sourcePort);
  if (checksumAt + 2 > end || (isUdp && u16(bytes, checksumAt) === 0)) return;
  let check = adjustedAddresses(packet, u16(bytes, checksumAt));
  check = adjusted16(check, packet.destinationPort, destinationPort);
  check = adjusted16(check, packet.sourcePort, sourcePort);
  setU16(bytes, checksumAt, isUdp && check === 0 ? 0xffff : check);
}

/** Whether an ICMP message of the packet's family has the checksum that it should have. */
export function isGoodIcmp(packet: Packet, bytes: Uint8Array): boolean {
  return packet.isIpv6
    ? icmpChecksumV6(bytes, packet.ipAt, packet.l4At, packet.l4Bytes) === 0
    : checksum(bytes, packet.l4At, packet.l4Bytes) === 0;
}

function setIcmpChecksum(packet: Packet, bytes: Uint8Array): void {
  const { l4At, l4Bytes, ipAt } = packet;
  setU16(bytes, l4At + ICMP_CHECKSUM, 0);
  const check = packet.isIpv6 ? icmpChecksumV6(bytes, ipAt, l4At, l4Bytes) : checksum(bytes, l4At, l4Bytes);
  setU16(bytes, l4At + ICMP_CHECKSUM, check);
}

/** Sets source (end 0) or destination (end 1) of the IP header at `ipAt`, of the packet's family. */
function setAddress(
  packet: Packet,
  bytes: Uint8Array,
  ipAt: number,
  end: number,
  words: Int32Array,
  at: number,
): void {
  if (packet.isIpv6) writeIpv6(bytes, ipAt + (end === 0 ? IPV6_SOURCE : IPV6_DESTINATION), words, at);
  else if (end === 0) ipv4.rewriteSource(bytes, ipAt, words[at + 3]!);
  else ipv4.rewriteDestination(bytes, ipAt, words[at + 3]!);
}

/** Turns an echo request into its reply in place; the addresses swap, so checksums change by TTL and type alone. */
export function turnEchoRound(packet: Packet, bytes: Uint8Array, timeToLive: number): void {
  const { ipAt, l4At, l4Bytes } = packet;
  if (packet.isIpv6) {
    bytes[ipAt + 7] = timeToLive;
    readIpv6(bytes, ipAt + IPV6_SOURCE, spare, 0);
    bytes.copyWithin(ipAt + IPV6_SOURCE, ipAt + IPV6_DESTINATION, ipAt + IPV6_DESTINATION + 16);
    writeIpv6(bytes, ipAt + IPV6_DESTINATION, spare, 0);
    bytes[l4At] = ICMPV6_ECHO_REPLY;
    adjust16(bytes, l4At + ICMP_CHECKSUM, ICMPV6_ECHO << 8, ICMPV6_ECHO_REPLY << 8);
    return;
  }
  const before = u16(bytes, ipAt + 8);
  const next = (timeToLive << 8) | (before & 0xff);
  setU16(bytes, ipAt + 8, next);
  adjust16(bytes, ipAt + ipv4.IPV4_CHECKSUM, before, next);
  setI32(bytes, ipAt + ipv4.IPV4_SOURCE, packet.words[P_DESTINATION + 3]!);
  setI32(bytes, ipAt + ipv4.IPV4_DESTINATION, packet.words[P_SOURCE + 3]!);
  bytes[l4At] = 0;
  setAdjusted(bytes, l4At, l4Bytes, adjusted16(u16(bytes, l4At + ICMP_CHECKSUM), ICMP_ECHO << 8, 0));
}
