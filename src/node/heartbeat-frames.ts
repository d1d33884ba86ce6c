/**
 * Heartbeat frames: how one authenticated heartbeat datagram travels on a link. On a zone's wire it is the payload of an
 * Ethernet frame, on the cluster link of a UDP datagram that we build ourselves (the port is ours, not the kernel's).
 * Owns the two encapsulations; what is inside belongs to cluster/liveness.
 *
 *   zone:     | dst 6 | src 6 | 0x88B5 | length u16 | datagram | pad to 60 |
 *   cluster:  | dst 6 | src 6 | 0x0800 | IPv4 20, TTL 255 | UDP 8, port 3784 | datagram |
 *
 * The TTL is checked on receipt (RFC 5881 section 5): no packet from beyond the link can carry 255; see hop-limit.ts.
 */

import { setU16, u16 } from "../packet/bytes.ts";
import { adjust16 } from "../packet/checksum.ts";
import {
  ETHER_HEARTBEAT,
  ETHER_IPV4,
  ETHERNET_BYTES,
  etherType,
  MAC_BYTES,
  padFrame,
  setEtherType,
} from "../packet/ethernet.ts";
import {
  IPV4_BYTES,
  IPV4_CHECKSUM,
  PROTOCOL_UDP,
  protocol,
  ttl,
  writeHeader as writeIpv4,
} from "../packet/ipv4.ts";
import {
  HEARTBEAT_PORT,
  UDP_BYTES,
  lengthBytes as udpBytes,
  writeHeader as writeUdp,
} from "../packet/udp.ts";

/** Largest datagram that fits the smallest Ethernet frame's MTU. */
export const HEARTBEAT_BYTES_MAX = 1400;

const LENGTH_BYTES = 2;
const ZONE_HEADER_BYTES = ETHERNET_BYTES + LENGTH_BYTES;
const CLUSTER_HEADER_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;
const SOURCE_PORT = 49_152;
/** RFC 5881 section 5. */
export const HEARTBEAT_TTL = 255;
/** First words of the header: version 4 of 5 words, and the same with DSCP CS6, network control. */
const PLAIN = 0x4500;
const NETWORK_CONTROL = 0x45c0;

/** Where a heartbeat's datagram starts in a received frame, and how long it is. */
export interface DatagramSpan {
  at: number;
  lengthBytes: number;
  /** As it arrived; 255 on a zone's wire, which no router touches. */
  ttl: number;
}

/** Writes a zone frame at `at`; returns its length. */
export function writeZoneFrame(
  bytes: Uint8Array,
  at: number,
  destination: Uint8Array,
  source: Uint8Array,
  datagram: Uint8Array,
): number {
  writeEthernet(bytes, at, destination, source, ETHER_HEARTBEAT);
  setU16(bytes, at + ETHERNET_BYTES, datagram.length);
  bytes.set(datagram, at + ZONE_HEADER_BYTES);
  return padFrame(bytes, at, ZONE_HEADER_BYTES + datagram.length);
}

/**
 * Writes a cluster-link frame at `at`; addresses in host order; returns its length. UDP checksum 0: the HMAC covers it. `packetBytes`: as
 * long as the IP packet is to be at least; what follows the datagram then is zeros.
 */
export function writeClusterFrame(
  bytes: Uint8Array,
  at: number,
  destination: Uint8Array,
  source: Uint8Array,
  sourceIp: number,
  destinationIp: number,
  datagram: Uint8Array,
  packetBytes = 0,
): number {
  writeEthernet(bytes, at, destination, source, ETHER_IPV4);
  const ip = at + ETHERNET_BYTES;
  const udp = ip + IPV4_BYTES;
  const whole = IPV4_BYTES + UDP_BYTES + datagram.length;
  const total = Math.max(whole, packetBytes);
  writeIpv4(bytes, ip, total, HEARTBEAT_TTL, PROTOCOL_UDP, sourceIp, destinationIp);
  setU16(bytes, ip, NETWORK_CONTROL);
  adjust16(bytes, ip + IPV4_CHECKSUM, PLAIN, NETWORK_CONTROL);
  writeUdp(bytes, udp, SOURCE_PORT, HEARTBEAT_PORT, total - IPV4_BYTES);
  bytes.set(datagram, at + CLUSTER_HEADER_BYTES);
  bytes.fill(0, at + ETHERNET_BYTES + whole, at + ETHERNET_BYTES + total);
  return padFrame(bytes, at, ETHERNET_BYTES + total);
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
    if (lengthBytes < ZONE_HEADER_BYTES || etherType(bytes, at) !== ETHER_HEARTBEAT) return false;
    out.at = at + ZONE_HEADER_BYTES;
    out.lengthBytes = u16(bytes, at + ETHERNET_BYTES);
    out.ttl = HEARTBEAT_TTL;
    return out.lengthBytes <= lengthBytes - ZONE_HEADER_BYTES;
  }
  if (lengthBytes < CLUSTER_HEADER_BYTES || etherType(bytes, at) !== ETHER_IPV4) return false;
  const ip = at + ETHERNET_BYTES;
  const udp = ip + IPV4_BYTES;
  if (bytes[ip] !== PLAIN >> 8 || protocol(bytes, ip) !== PROTOCOL_UDP) return false;
  if (u16(bytes, udp + 2) !== HEARTBEAT_PORT) return false;
  out.ttl = ttl(bytes, ip);
  out.at = at + CLUSTER_HEADER_BYTES;
  out.lengthBytes = udpBytes(bytes, udp) - UDP_BYTES;
  return out.lengthBytes >= 0 && out.lengthBytes <= lengthBytes - CLUSTER_HEADER_BYTES;
}

function writeEthernet(
  bytes: Uint8Array,
  at: number,
  destination: Uint8Array,
  source: Uint8Array,
  type: number,
): void {
  bytes.set(destination, at);
  bytes.set(source, at + MAC_BYTES);
  setEtherType(bytes, at, type);
}
