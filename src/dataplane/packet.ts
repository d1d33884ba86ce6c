/**
 * Packet: the parsed view of the one frame that the engine has in hand. Owns parsing and the checks that need the packet
 * alone. One instance per engine, filled anew for every frame; all fields are small integers, so nothing is allocated.
 *
 * The tuple is what the flow table is asked for, in the direction in which the packet travels. ICMP echo: the id is the
 * port of the asking end and 0 stands for the other one, so a request and a reply cannot be confused. ICMP errors carry a
 * datagram of the flow; their tuple is that datagram's, turned round.
 */

import { u16 } from "../packet/bytes.ts";
import { checksum } from "../packet/checksum.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import * as icmp from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as tcp from "../packet/tcp.ts";
import * as udp from "../packet/udp.ts";
import { dropVerdict } from "./verdict.ts";

export const KIND_TCP = 0;
export const KIND_UDP = 1;
export const KIND_ECHO = 2;
export const KIND_ECHO_REPLY = 3;
export const KIND_ICMP_ERROR = 4;
/** Another protocol: tracked by addresses alone. */
export const KIND_OTHER = 5;

/** parse() when nothing is wrong. */
export const PARSED = 0;

const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_BAD_HEADER = dropVerdict("bad_header");
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_BAD_OPTION = dropVerdict("bad_option");
const DROP_FRAGMENT = dropVerdict("fragment");
const DROP_UNKNOWN_PROTOCOL = dropVerdict("unknown_protocol");
const DROP_ICMP_UNRELATED = dropVerdict("icmp_unrelated");

/** How a packet came here. */
export const DIRECT = 0;
export const REDIRECTED_CLUSTER = 1;
export const REDIRECTED_ZONE = 2;

export class Packet {
  at = 0;
  lengthBytes = 0;
  /** Ingress port and zone; of a redirected packet: where it entered the cluster. */
  port = 0;
  zone = 0;
  /** DIRECT or REDIRECTED_*. */
  way = DIRECT;
  /** Epoch of the redirecting node. */
  wayEpoch = 0;

  kind = 0;
  protocol = 0;
  ipAt = 0;
  ipBytes = 0;
  totalBytes = 0;
  /** First byte behind the IPv4 header, and how many there are. */
  l4At = 0;
  l4Bytes = 0;

  source = 0;
  destination = 0;
  sourcePort = 0;
  destinationPort = 0;

  /** Of the IPv4 header; differ from the tuple's in ICMP errors. */
  outerSource = 0;
  outerDestination = 0;
  /** ICMP errors: the embedded datagram. */
  innerAt = 0;
  innerL4At = 0;
  icmpType = -1;
  icmpCode = -1;

  /** Both ports as the flow table keeps them. */
  get ports(): number {
    return (this.sourcePort << 16) | this.destinationPort;
  }

  /** Reads the IPv4 packet behind the Ethernet header at `at`: PARSED, or the verdict of what is wrong with it. */
  parse(bytes: Uint8Array, at: number, lengthBytes: number): number {
    const ipAt = at + ETHERNET_BYTES;
    const available = lengthBytes - ETHERNET_BYTES;
    this.at = at;
    this.lengthBytes = lengthBytes;
    if (available < ipv4.IPV4_BYTES) return DROP_TRUNCATED;
    const header = ipv4.headerBytes(bytes, ipAt);
    const total = ipv4.totalBytes(bytes, ipAt);
    if (ipv4.version(bytes, ipAt) !== 4 || header < ipv4.IPV4_BYTES || total < header) return DROP_BAD_HEADER;
    if (total > available) return DROP_TRUNCATED;
    if (checksum(bytes, ipAt, header) !== 0) return DROP_BAD_CHECKSUM;
    if (header > ipv4.IPV4_BYTES && ipv4.hasBadOption(bytes, ipAt, header)) return DROP_BAD_OPTION;
    if (ipv4.isFragment(bytes, ipAt)) return DROP_FRAGMENT;
    this.ipAt = ipAt;
    this.ipBytes = header;
    this.totalBytes = total;
    this.l4At = ipAt + header;
    this.l4Bytes = total - header;
    this.protocol = ipv4.protocol(bytes, ipAt);
    this.source = this.outerSource = ipv4.source(bytes, ipAt);
    this.destination = this.outerDestination = ipv4.destination(bytes, ipAt);
    this.icmpType = -1;
    this.icmpCode = -1;
    if (this.protocol === ipv4.PROTOCOL_TCP) return this.#parseTcp(bytes);
    if (this.protocol === ipv4.PROTOCOL_UDP) return this.#parseUdp(bytes);
    if (this.protocol === ipv4.PROTOCOL_ICMP) return this.#parseIcmp(bytes);
    this.kind = KIND_OTHER;
    this.sourcePort = 0;
    this.destinationPort = 0;
    return PARSED;
  }

  #parseTcp(bytes: Uint8Array): number {
    if (this.l4Bytes < tcp.TCP_BYTES) return DROP_TRUNCATED;
    const header = tcp.headerBytes(bytes, this.l4At);
    if (header < tcp.TCP_BYTES || header > this.l4Bytes) return DROP_BAD_HEADER;
    this.kind = KIND_TCP;
    this.#readPorts(bytes, this.l4At);
    return PARSED;
  }

  #parseUdp(bytes: Uint8Array): number {
    if (this.l4Bytes < udp.UDP_BYTES) return DROP_TRUNCATED;
    const length = udp.lengthBytes(bytes, this.l4At);
    if (length < udp.UDP_BYTES || length > this.l4Bytes) return DROP_BAD_HEADER;
    this.kind = KIND_UDP;
    this.#readPorts(bytes, this.l4At);
    return PARSED;
  }

  #parseIcmp(bytes: Uint8Array): number {
    if (this.l4Bytes < icmp.ICMP_BYTES) return DROP_TRUNCATED;
    this.icmpType = icmp.type(bytes, this.l4At);
    this.icmpCode = icmp.code(bytes, this.l4At);
    if (icmp.isError(this.icmpType)) return this.#parseInner(bytes);
    if (this.icmpType === icmp.ICMP_SOURCE_QUENCH || this.icmpType === icmp.ICMP_REDIRECT) {
      return DROP_ICMP_UNRELATED;
    }
    if (this.icmpType === icmp.ICMP_ECHO) this.kind = KIND_ECHO;
    else if (this.icmpType === icmp.ICMP_ECHO_REPLY) this.kind = KIND_ECHO_REPLY;
    else return DROP_UNKNOWN_PROTOCOL;
    const id = icmp.id(bytes, this.l4At);
    this.sourcePort = this.kind === KIND_ECHO ? id : 0;
    this.destinationPort = this.kind === KIND_ECHO ? 0 : id;
    return PARSED;
  }

  /** An error's tuple is the embedded datagram's, turned round: it travels against that datagram (RFC 5508 section 4). */
  #parseInner(bytes: Uint8Array): number {
    const inner = this.l4At + icmp.ICMP_BYTES;
    const available = this.l4Bytes - icmp.ICMP_BYTES;
    // RFC 792: the header and at least 64 bits of the datagram.
    if (available < ipv4.IPV4_BYTES + 8) return DROP_TRUNCATED;
    const header = ipv4.headerBytes(bytes, inner);
    if (ipv4.version(bytes, inner) !== 4 || header < ipv4.IPV4_BYTES) return DROP_BAD_HEADER;
    if (available < header + 8) return DROP_TRUNCATED;
    // Only the first fragment carries ports.
    if ((u16(bytes, inner + 6) & 0x1fff) !== 0) return DROP_ICMP_UNRELATED;
    this.kind = KIND_ICMP_ERROR;
    this.innerAt = inner;
    this.innerL4At = inner + header;
    this.protocol = ipv4.protocol(bytes, inner);
    this.source = ipv4.destination(bytes, inner);
    this.destination = ipv4.source(bytes, inner);
    if (this.protocol === ipv4.PROTOCOL_TCP || this.protocol === ipv4.PROTOCOL_UDP) {
      this.sourcePort = u16(bytes, this.innerL4At + 2);
      this.destinationPort = u16(bytes, this.innerL4At);
      return PARSED;
    }
    if (this.protocol === ipv4.PROTOCOL_ICMP) {
      const type = icmp.type(bytes, this.innerL4At);
      // Never an error about an error (RFC 1122 section 3.2.2).
      if (type !== icmp.ICMP_ECHO && type !== icmp.ICMP_ECHO_REPLY) return DROP_ICMP_UNRELATED;
      const id = icmp.id(bytes, this.innerL4At);
      this.sourcePort = type === icmp.ICMP_ECHO ? 0 : id;
      this.destinationPort = type === icmp.ICMP_ECHO ? id : 0;
      return PARSED;
    }
    this.sourcePort = 0;
    this.destinationPort = 0;
    return PARSED;
  }

  #readPorts(bytes: Uint8Array, at: number): void {
    this.sourcePort = u16(bytes, at);
    this.destinationPort = u16(bytes, at + 2);
  }
}
