/**
 * ICMP errors that the firewall itself sends (RFC 792, RFC 1812 section 4.3.2): built in place around the packet that
 * caused them, which is dropped anyway. Owns their form; routing and limiting them (RFC 1812 section 4.3.2.8) is forwarder.ts.
 *
 *   | Ethernet 14 | IPv4 20 | ICMP 8 | the packet's IPv4 header and data, at most 548 bytes
 *                                    ^ packet.ipAt
 */
import { setI32, setU16 } from "../packet/bytes.ts";
import { checksum } from "../packet/checksum.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import { ICMP_BYTES, ICMP_CHECKSUM } from "../packet/icmp.ts";
import { IPV4_BYTES, PROTOCOL_ICMP, writeHeader } from "../packet/ipv4.ts";
import type { Packet } from "./packet.ts";

/** RFC 1812 section 4.3.2.3: as much of the packet as fits 576 bytes. */
const ERROR_BYTES_MAX = 576;
const HEADERS_BYTES = IPV4_BYTES + ICMP_BYTES;
const TTL = 64;

/** Where buildIcmpError() puts the new frame, relative to the packet's IPv4 header. */
export const ICMP_ERROR_OFFSET = -(ETHERNET_BYTES + HEADERS_BYTES);

/** Builds the error behind room for an Ethernet header; returns the frame's length. `word` is the MTU for code 4, or 0. */
export function buildIcmpError(
  packet: Packet,
  bytes: Uint8Array,
  from: number,
  type: number,
  code: number,
  word: number,
): number {
  const room = ERROR_BYTES_MAX - HEADERS_BYTES;
  const quoted = Math.min(packet.totalBytes, room);
  const ip = packet.ipAt - HEADERS_BYTES;
  const at = packet.ipAt - ICMP_BYTES;
  writeHeader(bytes, ip, HEADERS_BYTES + quoted, TTL, PROTOCOL_ICMP, from, packet.outerSource);
  bytes[at] = type;
  bytes[at + 1] = code;
  setU16(bytes, at + ICMP_CHECKSUM, 0);
  setI32(bytes, at + 4, word);
  setU16(bytes, at + ICMP_CHECKSUM, checksum(bytes, at, ICMP_BYTES + quoted));
  return ETHERNET_BYTES + HEADERS_BYTES + quoted;
}
