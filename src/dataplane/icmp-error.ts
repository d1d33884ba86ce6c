/**
 * ICMP errors that the firewall itself sends (RFC 792, RFC 1812 section 4.3.2; RFC 4443): built in place around the packet that
 * caused them, which is dropped anyway. Owns their form; routing and limiting them (RFC 1812 section 4.3.2.8, RFC 4443
 * section 2.4 f) is forwarder.ts.
 *
 *   | Ethernet 14 | IPv4 20 or IPv6 40 | ICMP 8 | the packet, as much as fits
 *                                                ^ packet.ipAt
 */
import { setI32, setU16 } from "../packet/bytes.ts";
import { checksum } from "../packet/checksum.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import { ICMP_BYTES, ICMP_CHECKSUM } from "../packet/icmp.ts";
import { icmpChecksumV6 } from "../packet/icmpv6.ts";
import { IPV4_BYTES, PROTOCOL_ICMP, writeHeader } from "../packet/ipv4.ts";
import { IPV6_BYTES, IPV6_MTU_MIN, PROTOCOL_ICMPV6, writeIpv6Header } from "../packet/ipv6.ts";
import { P_OUTER_SOURCE, type Packet } from "./packet.ts";

/** RFC 1812 section 4.3.2.3: as much of the packet as fits 576 bytes. RFC 4443 section 2.4 c: the least MTU. */
const ERROR_BYTES_MAX = 576;
const TTL = 64;

/** Bytes before the packet that caused the error, without the Ethernet header. */
function headersBytes(packet: Packet): number {
  return (packet.isIpv6 ? IPV6_BYTES : IPV4_BYTES) + ICMP_BYTES;
}

/** Where the new frame begins. */
export function icmpErrorAt(packet: Packet): number {
  return packet.ipAt - headersBytes(packet) - ETHERNET_BYTES;
}

/**
 * Builds the error behind room for an Ethernet header; returns the frame's length. `from` is the firewall's address in the
 * packet's zone. `word` is the MTU where the error tells one, or 0.
 */
export function buildIcmpError(
  packet: Packet,
  bytes: Uint8Array,
  from: Int32Array,
  fromAt: number,
  type: number,
  code: number,
  word: number,
): number {
  const headers = headersBytes(packet);
  const room = (packet.isIpv6 ? IPV6_MTU_MIN : ERROR_BYTES_MAX) - headers;
  const quoted = Math.min(packet.totalBytes, room);
  const ip = packet.ipAt - headers;
  const at = packet.ipAt - ICMP_BYTES;
  const { words } = packet;
  if (packet.isIpv6) {
    const length = ICMP_BYTES + quoted;
    writeIpv6Header(bytes, ip, length, PROTOCOL_ICMPV6, TTL, from, fromAt, words, P_OUTER_SOURCE);
  } else {
    const to = words[P_OUTER_SOURCE + 3]!;
    writeHeader(bytes, ip, headers + quoted, TTL, PROTOCOL_ICMP, from[fromAt + 3]!, to);
  }
  bytes[at] = type;
  bytes[at + 1] = code;
  setU16(bytes, at + ICMP_CHECKSUM, 0);
  setI32(bytes, at + 4, word);
  const check = packet.isIpv6
    ? icmpChecksumV6(bytes, ip, at, ICMP_BYTES + quoted)
    : checksum(bytes, at, ICMP_BYTES + quoted);
  setU16(bytes, at + ICMP_CHECKSUM, check);
  return ETHERNET_BYTES + headers + quoted;
}
