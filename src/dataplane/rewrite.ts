/**
 * Rewrite: translates a packet in place to what the other side of its flow shall see, with all checksums (RFC 1624).
 * Owns the translation of headers and of the datagrams inside ICMP errors (RFC 5508 section 4); decides nothing.
 *
 * A packet of direction d leaves with the other direction's tuple turned round:
 *   source := other.destination, destination := other.source, and the ports likewise.
 */
import { setI32, setU16, u16 } from "../packet/bytes.ts";
import { adjust16, adjust32, adjusted16, adjusted32, checksum } from "../packet/checksum.ts";
import { ICMP_CHECKSUM, ICMP_ECHO, ICMP_ID } from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { TCP_CHECKSUM } from "../packet/tcp.ts";
import { UDP_CHECKSUM } from "../packet/udp.ts";
import { F_DESTINATION, F_PORTS, F_SOURCE, REPLY_TUPLE, ROW_WORDS } from "./flow-layout.ts";
import { KIND_ECHO, KIND_ECHO_REPLY, KIND_ICMP_ERROR, KIND_TCP, KIND_UDP, type Packet } from "./packet.ts";

/** Translates the packet, which is of `direction` of the flow in `row`. False: an ICMP error with a bad checksum. */
export function translate(
  packet: Packet,
  bytes: Uint8Array,
  words: Int32Array,
  row: number,
  direction: number,
): boolean {
  const other = row * ROW_WORDS + (1 - direction) * REPLY_TUPLE;
  const source = words[other + F_DESTINATION]!;
  const destination = words[other + F_SOURCE]!;
  const ports = words[other + F_PORTS]!;
  const sourcePort = ports & 0xffff;
  const destinationPort = ports >>> 16;
  switch (packet.kind) {
    case KIND_TCP:
    case KIND_UDP:
      translateTransport(packet, bytes, source, destination, sourcePort, destinationPort);
      break;
    case KIND_ECHO:
      translateEcho(packet, bytes, sourcePort);
      break;
    case KIND_ECHO_REPLY:
      translateEcho(packet, bytes, destinationPort);
      break;
    case KIND_ICMP_ERROR:
      return translateError(packet, bytes, source, destination, sourcePort, destinationPort);
    default:
      break;
  }
  if (source !== packet.source) ipv4.rewriteSource(bytes, packet.ipAt, source);
  if (destination !== packet.destination) ipv4.rewriteDestination(bytes, packet.ipAt, destination);
  return true;
}

function translateTransport(
  packet: Packet,
  bytes: Uint8Array,
  source: number,
  destination: number,
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
  let check = adjusted32(before, packet.source, source);
  check = adjusted32(check, packet.destination, destination);
  check = adjusted16(check, packet.sourcePort, sourcePort);
  check = adjusted16(check, packet.destinationPort, destinationPort);
  setU16(bytes, checksumAt, packet.kind === KIND_UDP && check === 0 ? 0xffff : check);
}

function translateEcho(packet: Packet, bytes: Uint8Array, id: number): void {
  const at = packet.l4At;
  const before = u16(bytes, at + ICMP_ID);
  if (before === id) return;
  setU16(bytes, at + ICMP_ID, id);
  adjust16(bytes, at + ICMP_CHECKSUM, before, id);
}

/**
 * The embedded datagram becomes what its sender sent: source := destination, and so on. The outer destination follows; the
 * outer source only where this direction's source is translated, so that routers on the way stay visible to traceroute.
 */
function translateError(
  packet: Packet,
  bytes: Uint8Array,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
): boolean {
  if (checksum(bytes, packet.l4At, packet.l4Bytes) !== 0) return false;
  const { innerAt, innerL4At, ipAt } = packet;
  const end = packet.l4At + packet.l4Bytes;
  // The inner checksum may be the sender's or damaged on the way; it is adjusted, never made right.
  ipv4.rewriteSource(bytes, innerAt, destination);
  ipv4.rewriteDestination(bytes, innerAt, source);
  if (packet.protocol === ipv4.PROTOCOL_ICMP) {
    const id = bytes[innerL4At] === ICMP_ECHO ? destinationPort : sourcePort;
    adjust16(bytes, innerL4At + ICMP_CHECKSUM, u16(bytes, innerL4At + ICMP_ID), id);
    setU16(bytes, innerL4At + ICMP_ID, id);
  } else if (packet.protocol === ipv4.PROTOCOL_TCP || packet.protocol === ipv4.PROTOCOL_UDP) {
    const isUdp = packet.protocol === ipv4.PROTOCOL_UDP;
    const checksumAt = innerL4At + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    setU16(bytes, innerL4At, destinationPort);
    setU16(bytes, innerL4At + 2, sourcePort);
    if (checksumAt + 2 <= end && !(isUdp && u16(bytes, checksumAt) === 0)) {
      adjust32(bytes, checksumAt, packet.destination, destination);
      adjust32(bytes, checksumAt, packet.source, source);
      adjust16(bytes, checksumAt, packet.destinationPort, destinationPort);
      adjust16(bytes, checksumAt, packet.sourcePort, sourcePort);
    }
  }
  const outerSource = source === packet.source ? packet.outerSource : source;
  if (outerSource !== packet.outerSource) ipv4.rewriteSource(bytes, ipAt, outerSource);
  ipv4.rewriteDestination(bytes, ipAt, destination);
  setU16(bytes, packet.l4At + ICMP_CHECKSUM, 0);
  setU16(bytes, packet.l4At + ICMP_CHECKSUM, checksum(bytes, packet.l4At, packet.l4Bytes));
  return true;
}

/** Turns an echo request into its reply in place; the addresses swap, so the IPv4 checksum changes by the TTL alone. */
export function turnEchoRound(packet: Packet, bytes: Uint8Array, timeToLive: number): void {
  const { ipAt, l4At } = packet;
  const before = u16(bytes, ipAt + 8);
  const after = (timeToLive << 8) | (before & 0xff);
  setU16(bytes, ipAt + 8, after);
  adjust16(bytes, ipAt + ipv4.IPV4_CHECKSUM, before, after);
  setI32(bytes, ipAt + ipv4.IPV4_SOURCE, packet.destination);
  setI32(bytes, ipAt + ipv4.IPV4_DESTINATION, packet.source);
  bytes[l4At] = 0;
  adjust16(bytes, l4At + ICMP_CHECKSUM, ICMP_ECHO << 8, 0);
}
