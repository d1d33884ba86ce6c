/**
 * Heartbeat frames: how one authenticated heartbeat datagram travels on a link. On a zone's wire it is the payload of an
 * Ethernet frame, on the cluster link of a UDP datagram that we build ourselves (the port is ours, not the kernel's).
 * Owns the two encapsulations; what is inside belongs to cluster/liveness.
 *
 *   zone:     | dst 6 | src 6 | 0x88B5 | length u16 | datagram | pad to 60 |
 *   cluster:  | dst 6 | src 6 | 0x0800 | IPv4 20, TTL 255 | UDP 8, port 3784 | datagram |
 *
 * TTL 255 is checked on receipt (RFC 5881 section 5): no packet from beyond the link can carry it.
 */

/** IEEE 802 local experimental EtherType 1. */
export const HEARTBEAT_ETHER_TYPE = 0x88b5;
/** BFD single hop (RFC 5881 section 4). */
export const HEARTBEAT_UDP_PORT = 3784;
/** Largest datagram that fits the smallest Ethernet frame's MTU. */
export const HEARTBEAT_BYTES_MAX = 1400;

const ETHERNET_BYTES = 14;
const ZONE_HEADER_BYTES = ETHERNET_BYTES + 2;
const CLUSTER_HEADER_BYTES = ETHERNET_BYTES + 20 + 8;
const FRAME_BYTES_MIN = 60;
const SOURCE_PORT = 49_152;

/** Where a heartbeat's datagram starts in a received frame, and how long it is. */
export interface DatagramSpan {
  at: number;
  lengthBytes: number;
}

/** Writes a zone frame at `at`; returns its length. */
export function writeZoneFrame(
  bytes: Uint8Array,
  at: number,
  destination: Uint8Array,
  source: Uint8Array,
  datagram: Uint8Array,
): number {
  bytes.set(destination, at);
  bytes.set(source, at + 6);
  writeU16(bytes, at + 12, HEARTBEAT_ETHER_TYPE);
  writeU16(bytes, at + 14, datagram.length);
  bytes.set(datagram, at + ZONE_HEADER_BYTES);
  const lengthBytes = ZONE_HEADER_BYTES + datagram.length;
  // The pool's chunk may hold an old frame: padding must not leak it.
  if (lengthBytes < FRAME_BYTES_MIN) bytes.fill(0, at + lengthBytes, at + FRAME_BYTES_MIN);
  return Math.max(lengthBytes, FRAME_BYTES_MIN);
}

/** Writes a cluster-link frame at `at`; addresses in host order; returns its length. UDP checksum 0: the HMAC covers it. */
export function writeClusterFrame(
  bytes: Uint8Array,
  at: number,
  destination: Uint8Array,
  source: Uint8Array,
  sourceIp: number,
  destinationIp: number,
  datagram: Uint8Array,
): number {
  bytes.set(destination, at);
  bytes.set(source, at + 6);
  writeU16(bytes, at + 12, 0x0800);
  const ip = at + ETHERNET_BYTES;
  writeU16(bytes, ip, 0x45c0); // version 4, 5 words; DSCP CS6: network control
  writeU16(bytes, ip + 2, 28 + datagram.length);
  writeU16(bytes, ip + 4, 0);
  writeU16(bytes, ip + 6, 0x4000); // do not fragment
  writeU16(bytes, ip + 8, 0xff11); // TTL 255, UDP
  writeU16(bytes, ip + 10, 0);
  writeU32(bytes, ip + 12, sourceIp);
  writeU32(bytes, ip + 16, destinationIp);
  writeU16(bytes, ip + 10, headerChecksum(bytes, ip));
  writeU16(bytes, ip + 20, SOURCE_PORT);
  writeU16(bytes, ip + 22, HEARTBEAT_UDP_PORT);
  writeU16(bytes, ip + 24, 8 + datagram.length);
  writeU16(bytes, ip + 26, 0);
  bytes.set(datagram, at + CLUSTER_HEADER_BYTES);
  const lengthBytes = CLUSTER_HEADER_BYTES + datagram.length;
  if (lengthBytes < FRAME_BYTES_MIN) bytes.fill(0, at + lengthBytes, at + FRAME_BYTES_MIN);
  return Math.max(lengthBytes, FRAME_BYTES_MIN);
}

/** Finds the datagram in a received frame; false when the frame is no well-formed heartbeat. */
export function findDatagram(
  bytes: Uint8Array,
  at: number,
  lengthBytes: number,
  isCluster: boolean,
  out: DatagramSpan,
): boolean {
  if (!isCluster) {
    if (lengthBytes < ZONE_HEADER_BYTES || readU16(bytes, at + 12) !== HEARTBEAT_ETHER_TYPE) return false;
    out.at = at + ZONE_HEADER_BYTES;
    out.lengthBytes = readU16(bytes, at + 14);
    return out.lengthBytes <= lengthBytes - ZONE_HEADER_BYTES;
  }
  if (lengthBytes < CLUSTER_HEADER_BYTES || readU16(bytes, at + 12) !== 0x0800) return false;
  const ip = at + ETHERNET_BYTES;
  if (bytes[ip] !== 0x45 || readU16(bytes, ip + 8) !== 0xff11) return false;
  if (readU16(bytes, ip + 22) !== HEARTBEAT_UDP_PORT) return false;
  out.at = at + CLUSTER_HEADER_BYTES;
  out.lengthBytes = readU16(bytes, ip + 24) - 8;
  return out.lengthBytes >= 0 && out.lengthBytes <= lengthBytes - CLUSTER_HEADER_BYTES;
}

/** RFC 1071 over the 20 bytes of an option-less header whose checksum field is zero. */
function headerChecksum(bytes: Uint8Array, ip: number): number {
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += readU16(bytes, ip + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  writeU16(bytes, at, value >>> 16);
  writeU16(bytes, at + 2, value & 0xffff);
}
