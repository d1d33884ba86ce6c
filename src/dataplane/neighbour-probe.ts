/**
 * Neighbour probes: the frames that ask for a neighbour's address, in ARP and in neighbour discovery. Owns their form; when to
 * ask is neighbours.ts, sending is egress.ts.
 *
 * Both ask without teaching: an ARP probe has the sender 0.0.0.0 (RFC 5227 section 1.1), a solicitation the link-local address
 * of the node's own port and no gateway address, since gateways must lead to a virtual MAC, never to a node's own.
 */
import { ARP_BYTES, ARP_REQUEST, ARP_SENDER_MAC, ARP_TARGET_MAC, writeArp } from "../packet/arp.ts";
import { setI32, setU16 } from "../packet/bytes.ts";
import {
  ETHER_ARP,
  ETHER_IPV6,
  ETHERNET_BYTES,
  fillMac,
  MAC_BYTES,
  padFrame,
  setEtherType,
  setMac,
} from "../packet/ethernet.ts";
import { ICMP_CHECKSUM } from "../packet/icmp.ts";
import {
  ICMPV6_NEIGHBOUR_SOLICITATION,
  icmpChecksumV6,
  ND_OPTIONS,
  ND_TARGET,
  OPTION_SOURCE_LINK,
} from "../packet/icmpv6.ts";
import { IPV6_BYTES, PROTOCOL_ICMPV6, writeIpv6, writeIpv6Header } from "../packet/ipv6.ts";

/** RFC 4861 section 11.2: what arrives with less has crossed a router. */
export const ND_HOP_LIMIT = 255;
const SOLICITATION_BYTES = ND_OPTIONS + 8;

const source = new Int32Array(4);
const group = new Int32Array(4);

/** Writes an ARP probe for an IPv4 address; returns the frame's length. */
export function writeArpProbe(bytes: Uint8Array, at: number, mac: Uint8Array, address: number): number {
  const arp = at + ETHERNET_BYTES;
  fillMac(bytes, at, 0xff);
  setMac(bytes, at + MAC_BYTES, mac, 0);
  setEtherType(bytes, at, ETHER_ARP);
  writeArp(bytes, arp, ARP_REQUEST, 0, address);
  setMac(bytes, arp + ARP_SENDER_MAC, mac, 0);
  fillMac(bytes, arp + ARP_TARGET_MAC, 0);
  return padFrame(bytes, at, ETHERNET_BYTES + ARP_BYTES);
}

/** Writes a neighbour solicitation (RFC 4861 section 4.3) for an address; returns the frame's length. */
export function writeSolicitation(
  bytes: Uint8Array,
  at: number,
  mac: Uint8Array,
  target: Int32Array,
  targetAt: number,
): number {
  const ip = at + ETHERNET_BYTES;
  const icmp = ip + IPV6_BYTES;
  solicitedNode(target, targetAt, group);
  linkLocalOf(mac, source);
  groupMac(group, 0, bytes, at);
  setMac(bytes, at + MAC_BYTES, mac, 0);
  setEtherType(bytes, at, ETHER_IPV6);
  writeIpv6Header(bytes, ip, SOLICITATION_BYTES, PROTOCOL_ICMPV6, ND_HOP_LIMIT, source, 0, group, 0);
  bytes[icmp] = ICMPV6_NEIGHBOUR_SOLICITATION;
  bytes[icmp + 1] = 0;
  setU16(bytes, icmp + ICMP_CHECKSUM, 0);
  setI32(bytes, icmp + 4, 0);
  writeIpv6(bytes, icmp + ND_TARGET, target, targetAt);
  bytes[icmp + ND_OPTIONS] = OPTION_SOURCE_LINK;
  bytes[icmp + ND_OPTIONS + 1] = 1;
  setMac(bytes, icmp + ND_OPTIONS + 2, mac, 0);
  setU16(bytes, icmp + ICMP_CHECKSUM, icmpChecksumV6(bytes, ip, icmp, SOLICITATION_BYTES));
  return ETHERNET_BYTES + IPV6_BYTES + SOLICITATION_BYTES;
}

/** The solicited-node multicast address of an address: ff02::1:ff00:0/104 and its last 24 bits (RFC 4291 section 2.7.1). */
export function solicitedNode(words: Int32Array, at: number, to: Int32Array): void {
  to[0] = 0xff020000 | 0;
  to[1] = 0;
  to[2] = 1;
  to[3] = 0xff000000 | (words[at + 3]! & 0xffffff);
}

/** The multicast MAC of a group: 33:33 and its last 32 bits (RFC 2464 section 7). */
export function groupMac(words: Int32Array, at: number, bytes: Uint8Array, to: number): void {
  setU16(bytes, to, 0x3333);
  setI32(bytes, to + 2, words[at + 3]!);
}

/** The link-local address of a MAC: fe80:: and a modified EUI-64 (RFC 4291 appendix A). */
export function linkLocalOf(mac: Uint8Array, to: Int32Array): void {
  to[0] = 0xfe800000 | 0;
  to[1] = 0;
  to[2] = ((mac[0]! ^ 2) << 24) | (mac[1]! << 16) | (mac[2]! << 8) | 0xff;
  to[3] = (0xfe << 24) | (mac[3]! << 16) | (mac[4]! << 8) | mac[5]!;
}
