/**
 * Packet: the parsed view of the one frame that the engine has in hand. Owns parsing and the checks that need the packet
 * alone. One instance per engine, filled anew for every frame; all fields are small integers, so nothing is allocated.
 *
 * The tuple is what the flow table is asked for, in the direction in which the packet travels. ICMP queries: the id is the
 * port of the asking end and the query's kind stands for the other one (0 for echo), so a query and its answer cannot be
 * confused. ICMP errors carry a datagram of the flow; their tuple is that datagram's, turned round.
 */
import { copyAddress, isSameAddress, setIpv4 } from "../base/address.ts";
import { i32, u16 } from "../packet/bytes.ts";
import { checksum } from "../packet/checksum.ts";
import { ETHER_IPV6, ETHERNET_BYTES, etherType } from "../packet/ethernet.ts";
import type { FragmentInfo } from "../packet/fragment.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import * as tcp from "../packet/tcp.ts";
import * as udp from "../packet/udp.ts";
import { PSEUDO_FIRST, PSEUDO_LAST } from "./satellites.ts";
import { dropVerdict } from "./verdict.ts";

export const KIND_TCP = 0;
export const KIND_UDP = 1;
/** An ICMP query that an id identifies (echo, timestamp), and its answer. */
export const KIND_ECHO = 2;
export const KIND_ECHO_REPLY = 3;
export const KIND_ICMP_ERROR = 4;
/** Another protocol: tracked by addresses alone, SCTP by its ports too; ports are never translated. */
export const KIND_OTHER = 5;
/** Neighbour discovery: for the node itself, never forwarded. */
export const KIND_NEIGHBOUR = 6;

/** Addresses in Packet.words: of the tuple, and of the IP header (they differ in ICMP errors). */
export const P_SOURCE = 0;
export const P_DESTINATION = 4;
export const P_OUTER_SOURCE = 8;
export const P_OUTER_DESTINATION = 12;
const P_WORDS = 16;

/** parse() when nothing is wrong. */
export const PARSED = 0;

/** RFC 9260 section 3.1: the common header. */
const SCTP_BYTES = 12;
/** Extension headers that a packet may have, and bytes of all of them (RFC 8504 section 5.3 lets nodes limit them). */
const EXTENSIONS_MAX = 8;
const EXTENSION_BYTES_MAX = 512;

const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_BAD_HEADER = dropVerdict("bad_header");
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_BAD_OPTION = dropVerdict("bad_option");
const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_FRAGMENT = dropVerdict("fragment");
const DROP_UNKNOWN_PROTOCOL = dropVerdict("unknown_protocol");
const DROP_ICMP_UNRELATED = dropVerdict("icmp_unrelated");

/** How a packet came here. */
export const DIRECT = 0;
export const REDIRECTED_CLUSTER = 1;
export const REDIRECTED_ZONE = 2;
/** A fragment that another node sent to where its others meet: it may be redirected once more, to its flow. */
export const REDIRECTED_TO_MEET = 3;
/** It left for an address of the cluster's own, translated, and came back at once (hairpin). */
export const LOOPED = 4;
/** Packet.port of what another node redirected from a port that is none of the zone's here: no rule's `interfaces` list has it. */
export const UNKNOWN_PORT = 255;

export class Packet {
  at = 0;
  lengthBytes = 0;
  /** Ingress port and zone; of a redirected packet: where it entered the cluster, or UNKNOWN_PORT. */
  port = 0;
  zone = 0;
  /** DIRECT, REDIRECTED_* or LOOPED. */
  way = DIRECT;
  /** Epoch of the redirecting node. */
  wayEpoch = 0;

  kind = 0;
  isIpv6 = false;
  /** Of the tuple; ICMPv6 counts as ICMP, since the addresses tell the families apart. */
  protocol = 0;
  /** Of the tuple as the header says it: rules ask for this one. */
  ipProtocol = 0;
  ipAt = 0;
  /** Bytes of the IP header with options or extension headers. */
  ipBytes = 0;
  /** The IP packet, without padding of the frame. */
  totalBytes = 0;
  /** First byte behind the IP header, and how many there are. */
  l4At = 0;
  l4Bytes = 0;

  /** Addresses, P_*, as base/address.ts writes them. */
  readonly words = new Int32Array(P_WORDS);
  sourcePort = 0;
  destinationPort = 0;

  /** It is a fragment of a datagram of which all is here; only the first one has ports, and `l4Bytes` is the datagram's. */
  isFragment = false;

  /** ICMP errors: the embedded datagram, and the bytes of its IP header. */
  innerAt = 0;
  innerL4At = 0;
  icmpType = -1;
  icmpCode = -1;
  /** Set by #walk(): protocol number behind the extension headers, and where it begins. */
  #protocolFound = 0;
  #l4Found = 0;

  /** Both ports as the flow table keeps them. */
  get ports(): number {
    return (this.sourcePort << 16) | this.destinationPort;
  }

  /** Whether another node may still have to decide it. */
  get mayRedirect(): boolean {
    return this.way === DIRECT || this.way === REDIRECTED_TO_MEET || this.way === LOOPED;
  }

  /** Reads the IP packet behind the Ethernet header at `at`: PARSED, or the verdict of what is wrong with it. */
  parse(bytes: Uint8Array, at: number, lengthBytes: number): number {
    this.at = at;
    this.lengthBytes = lengthBytes;
    this.icmpType = -1;
    this.icmpCode = -1;
    this.isFragment = false;
    this.isIpv6 = etherType(bytes, at) === ETHER_IPV6;
    const wrong = this.isIpv6 ? this.#parseIpv6(bytes) : this.#parseIpv4(bytes);
    if (wrong !== PARSED) return wrong;
    return this.#parseTransport(bytes);
  }

  /** Takes over a fragment of which the addresses are enough: one without ports, or one that waits for the others. */
  takeFragment(info: FragmentInfo): void {
    this.isFragment = true;
    this.isIpv6 = info.isIpv6;
    this.icmpType = -1;
    this.icmpCode = -1;
    this.ipAt = this.at + ETHERNET_BYTES;
    this.ipBytes = info.payloadAt - this.ipAt;
    this.totalBytes = this.ipBytes + info.payloadBytes;
    this.l4At = info.payloadAt;
    this.l4Bytes = info.payloadBytes;
    this.ipProtocol = info.protocol;
    // Where IPv6 fragments meet must not depend on their next headers: these differ, and only the first one's counts (RFC 8200
    // section 4.5). So all are taken for what most of them are; takeFirstFragment() tells what it is.
    this.protocol = info.isIpv6 ? ipv4.PROTOCOL_UDP : info.protocol;
    for (let i = 0; i < P_OUTER_SOURCE; i++) this.words[i] = info.words[i]!;
    this.#keepOuter();
    this.kind = KIND_OTHER;
    this.sourcePort = 0;
    this.destinationPort = 0;
  }

  /** Reads the transport header of a first fragment that was taken over: PARSED, or the verdict of what is wrong. */
  takeFirstFragment(bytes: Uint8Array, info: FragmentInfo, datagramBytes: number): number {
    this.l4At = info.l4At;
    this.l4Bytes = datagramBytes - (info.l4At - info.payloadAt);
    this.protocol = info.protocol === ipv6.PROTOCOL_ICMPV6 ? ipv4.PROTOCOL_ICMP : info.protocol;
    const wrong = this.#parseTransport(bytes);
    // The datagram inside an error would have to be looked for in other frames; nobody sends errors that large.
    return this.kind === KIND_ICMP_ERROR || this.kind === KIND_NEIGHBOUR ? DROP_ICMP_UNRELATED : wrong;
  }

  /** The addresses on the wire stay when those of the tuple become the embedded datagram's. */
  #keepOuter(): void {
    copyAddress(this.words, P_OUTER_SOURCE, this.words, P_SOURCE);
    copyAddress(this.words, P_OUTER_DESTINATION, this.words, P_DESTINATION);
  }

  #parseTransport(bytes: Uint8Array): number {
    if (this.protocol === ipv4.PROTOCOL_TCP) return this.#parseTcp(bytes);
    if (this.protocol === ipv4.PROTOCOL_UDP) return this.#parseUdp(bytes);
    if (this.ipProtocol === ipv4.PROTOCOL_ICMP && !this.isIpv6) return this.#parseIcmp(bytes);
    if (this.ipProtocol === ipv6.PROTOCOL_ICMPV6 && this.isIpv6) return this.#parseIcmpv6(bytes);
    return this.#parseOther(bytes);
  }

  #parseIpv4(bytes: Uint8Array): number {
    const ipAt = this.at + ETHERNET_BYTES;
    const available = this.lengthBytes - ETHERNET_BYTES;
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
    this.protocol = this.ipProtocol = ipv4.protocol(bytes, ipAt);
    const { words } = this;
    const source = ipv4.source(bytes, ipAt);
    const destination = ipv4.destination(bytes, ipAt);
    setIpv4(words, P_SOURCE, source);
    setIpv4(words, P_DESTINATION, destination);
    setIpv4(words, P_OUTER_SOURCE, source);
    setIpv4(words, P_OUTER_DESTINATION, destination);
    return PARSED;
  }

  #parseIpv6(bytes: Uint8Array): number {
    const ipAt = this.at + ETHERNET_BYTES;
    const available = this.lengthBytes - ETHERNET_BYTES;
    if (available < ipv6.IPV6_BYTES) return DROP_TRUNCATED;
    if (ipv4.version(bytes, ipAt) !== 6) return DROP_BAD_HEADER;
    const total = ipv6.IPV6_BYTES + ipv6.payloadBytes(bytes, ipAt);
    if (total > available) return DROP_TRUNCATED;
    const wrong = this.#walk(bytes, ipAt, ipAt + total, false);
    if (wrong !== PARSED) return wrong;
    this.ipAt = ipAt;
    this.totalBytes = total;
    this.l4At = this.#l4Found;
    this.ipBytes = this.l4At - ipAt;
    this.l4Bytes = total - this.ipBytes;
    this.ipProtocol = this.#protocolFound;
    this.protocol = this.ipProtocol === ipv6.PROTOCOL_ICMPV6 ? ipv4.PROTOCOL_ICMP : this.ipProtocol;
    ipv6.readIpv6(bytes, ipAt + ipv6.IPV6_SOURCE, this.words, P_SOURCE);
    ipv6.readIpv6(bytes, ipAt + ipv6.IPV6_DESTINATION, this.words, P_DESTINATION);
    this.#keepOuter();
    // On a wire they would pass for IPv4 addresses here (RFC 4291 section 2.5.5.2).
    if (ipv6.isMapped(this.words, P_SOURCE)) return DROP_BAD_SOURCE;
    return ipv6.isMapped(this.words, P_DESTINATION) ? DROP_BAD_DESTINATION : PARSED;
  }

  /** Walks the extension headers of the IPv6 packet at `ipAt` that ends at `end` (RFC 8200 section 4); quoted, it may be a fragment. */
  #walk(bytes: Uint8Array, ipAt: number, end: number, isQuoted: boolean): number {
    let header = ipv6.nextHeader(bytes, ipAt);
    let at = ipAt + ipv6.IPV6_BYTES;
    for (let i = 0; ipv6.isExtension(header); i++) {
      if (at + 8 > end) return DROP_TRUNCATED;
      // Hop-by-hop options stand first or nowhere (section 4.1).
      if (i === EXTENSIONS_MAX || (header === ipv6.PROTOCOL_HOP_BY_HOP && i > 0)) return DROP_BAD_HEADER;
      if (header === ipv6.PROTOCOL_ROUTING && ipv6.isSourceRouted(bytes, at)) return DROP_BAD_OPTION;
      if (header === ipv6.PROTOCOL_FRAGMENT) {
        // Only the first fragment carries ports.
        const isWhole = isQuoted ? ipv6.isFirstFragment(bytes, at) : ipv6.isAtomic(bytes, at);
        if (!isWhole) return DROP_FRAGMENT;
      }
      const length = ipv6.extensionBytes(header, bytes, at);
      header = bytes[at]!;
      at += length;
      if (at - ipAt - ipv6.IPV6_BYTES > EXTENSION_BYTES_MAX) return DROP_BAD_HEADER;
      if (at > end) return DROP_TRUNCATED;
    }
    this.#protocolFound = header;
    this.#l4Found = at;
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
    // RFC 8200 section 8.1: over IPv6 the checksum is not optional.
    if (this.isIpv6 && u16(bytes, this.l4At + udp.UDP_CHECKSUM) === 0) return DROP_BAD_CHECKSUM;
    this.kind = KIND_UDP;
    this.#readPorts(bytes, this.l4At);
    return PARSED;
  }

  #parseOther(bytes: Uint8Array): number {
    // Each ICMP belongs to one family, and the pseudo protocols to the flow table.
    const number = this.ipProtocol;
    if (isPseudo(number)) return DROP_UNKNOWN_PROTOCOL;
    if (number === ipv4.PROTOCOL_ICMP || number === ipv6.PROTOCOL_ICMPV6) return DROP_UNKNOWN_PROTOCOL;
    this.kind = KIND_OTHER;
    this.sourcePort = 0;
    this.destinationPort = 0;
    if (number !== ipv4.PROTOCOL_SCTP) return PARSED;
    if (this.l4Bytes < SCTP_BYTES) return DROP_TRUNCATED;
    this.#readPorts(bytes, this.l4At);
    return PARSED;
  }

  #parseIcmp(bytes: Uint8Array): number {
    if (this.l4Bytes < icmp.ICMP_BYTES) return DROP_TRUNCATED;
    const type = icmp.type(bytes, this.l4At);
    this.icmpType = type;
    this.icmpCode = icmp.code(bytes, this.l4At);
    if (icmp.isError(type)) return this.#parseInner(bytes, ipv4.IPV4_BYTES);
    if (type === icmp.ICMP_SOURCE_QUENCH || type === icmp.ICMP_REDIRECT) return DROP_ICMP_UNRELATED;
    if (type === icmp.ICMP_ECHO || type === icmp.ICMP_TIMESTAMP) this.kind = KIND_ECHO;
    else if (type === icmp.ICMP_ECHO_REPLY || type === icmp.ICMP_TIMESTAMP_REPLY) this.kind = KIND_ECHO_REPLY;
    else return DROP_UNKNOWN_PROTOCOL;
    const kind = type === icmp.ICMP_TIMESTAMP || type === icmp.ICMP_TIMESTAMP_REPLY ? icmp.ICMP_TIMESTAMP : 0;
    this.#setQuery(icmp.id(bytes, this.l4At), kind);
    return PARSED;
  }

  #parseIcmpv6(bytes: Uint8Array): number {
    if (this.l4Bytes < icmp.ICMP_BYTES) return DROP_TRUNCATED;
    const type = icmp.type(bytes, this.l4At);
    this.icmpType = type;
    this.icmpCode = icmp.code(bytes, this.l4At);
    if (icmpv6.isNeighbourDiscovery(type)) {
      this.kind = KIND_NEIGHBOUR;
      return PARSED;
    }
    if (icmpv6.isErrorV6(type)) return this.#parseInner(bytes, ipv6.IPV6_BYTES);
    if (type === icmpv6.ICMPV6_ECHO) this.kind = KIND_ECHO;
    else if (type === icmpv6.ICMPV6_ECHO_REPLY) this.kind = KIND_ECHO_REPLY;
    else return DROP_UNKNOWN_PROTOCOL;
    this.#setQuery(icmp.id(bytes, this.l4At), 0);
    return PARSED;
  }

  #setQuery(id: number, kind: number): void {
    this.sourcePort = this.kind === KIND_ECHO ? id : kind;
    this.destinationPort = this.kind === KIND_ECHO ? kind : id;
  }

  /** An error's tuple is the embedded datagram's, turned round: it travels against that datagram (RFC 5508 section 4). */
  #parseInner(bytes: Uint8Array, headerMin: number): number {
    const inner = this.l4At + icmp.ICMP_BYTES;
    const end = this.l4At + this.l4Bytes;
    // RFC 792: the header and at least 64 bits of the datagram.
    if (inner + headerMin + 8 > end) return DROP_TRUNCATED;
    const wrong = this.isIpv6 ? this.#innerIpv6(bytes, inner, end) : this.#innerIpv4(bytes, inner, end);
    if (wrong !== PARSED) return wrong;
    const { protocol, words } = this;
    // RFC 792, RFC 4443 section 2.2: an error goes to who sent the datagram in it. To anybody else it is forged, and the flow that
    // it names would carry it past the rules.
    if (!isSameAddress(words, P_OUTER_DESTINATION, words, P_DESTINATION)) return DROP_ICMP_UNRELATED;
    if (isPseudo(protocol)) return DROP_ICMP_UNRELATED;
    this.kind = KIND_ICMP_ERROR;
    this.innerAt = inner;
    const at = this.innerL4At;
    if (protocol === ipv4.PROTOCOL_TCP || protocol === ipv4.PROTOCOL_UDP || protocol === ipv4.PROTOCOL_SCTP) {
      this.sourcePort = u16(bytes, at + 2);
      this.destinationPort = u16(bytes, at);
      return PARSED;
    }
    if (protocol === ipv4.PROTOCOL_ICMP) return this.#innerQuery(bytes, at);
    this.sourcePort = 0;
    this.destinationPort = 0;
    return PARSED;
  }

  #innerIpv4(bytes: Uint8Array, inner: number, end: number): number {
    const header = ipv4.headerBytes(bytes, inner);
    if (ipv4.version(bytes, inner) !== 4 || header < ipv4.IPV4_BYTES) return DROP_BAD_HEADER;
    if (inner + header + 8 > end) return DROP_TRUNCATED;
    // Only the first fragment carries ports.
    if ((u16(bytes, inner + 6) & 0x1fff) !== 0) return DROP_ICMP_UNRELATED;
    this.innerL4At = inner + header;
    this.protocol = this.ipProtocol = ipv4.protocol(bytes, inner);
    if (this.protocol === ipv6.PROTOCOL_ICMPV6) return DROP_ICMP_UNRELATED;
    setIpv4(this.words, P_SOURCE, i32(bytes, inner + ipv4.IPV4_DESTINATION));
    setIpv4(this.words, P_DESTINATION, i32(bytes, inner + ipv4.IPV4_SOURCE));
    return PARSED;
  }

  #innerIpv6(bytes: Uint8Array, inner: number, end: number): number {
    if (ipv4.version(bytes, inner) !== 6) return DROP_BAD_HEADER;
    if (this.#walk(bytes, inner, end, true) !== PARSED || this.#l4Found + 8 > end) return DROP_ICMP_UNRELATED;
    this.innerL4At = this.#l4Found;
    this.ipProtocol = this.#protocolFound;
    if (this.ipProtocol === ipv4.PROTOCOL_ICMP) return DROP_ICMP_UNRELATED;
    this.protocol = this.ipProtocol === ipv6.PROTOCOL_ICMPV6 ? ipv4.PROTOCOL_ICMP : this.ipProtocol;
    ipv6.readIpv6(bytes, inner + ipv6.IPV6_DESTINATION, this.words, P_SOURCE);
    ipv6.readIpv6(bytes, inner + ipv6.IPV6_SOURCE, this.words, P_DESTINATION);
    const isMapped = ipv6.isMapped(this.words, P_SOURCE) || ipv6.isMapped(this.words, P_DESTINATION);
    return isMapped ? DROP_ICMP_UNRELATED : PARSED;
  }

  /** Never an error about an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e). */
  #innerQuery(bytes: Uint8Array, at: number): number {
    const type = icmp.type(bytes, at);
    const isQuery = this.isIpv6
      ? type === icmpv6.ICMPV6_ECHO
      : type === icmp.ICMP_ECHO || type === icmp.ICMP_TIMESTAMP;
    const isAnswer = this.isIpv6
      ? type === icmpv6.ICMPV6_ECHO_REPLY
      : type === icmp.ICMP_ECHO_REPLY || type === icmp.ICMP_TIMESTAMP_REPLY;
    if (!isQuery && !isAnswer) return DROP_ICMP_UNRELATED;
    const kind = !this.isIpv6 && type >= icmp.ICMP_TIMESTAMP ? icmp.ICMP_TIMESTAMP : 0;
    const id = icmp.id(bytes, at);
    this.sourcePort = isQuery ? kind : id;
    this.destinationPort = isQuery ? id : kind;
    return PARSED;
  }

  #readPorts(bytes: Uint8Array, at: number): void {
    this.sourcePort = u16(bytes, at);
    this.destinationPort = u16(bytes, at + 2);
  }
}

/** Whether a protocol number is the flow table's own: from a wire it would find rows that are no connections. */
function isPseudo(protocol: number): boolean {
  return protocol >= PSEUDO_FIRST && protocol <= PSEUDO_LAST;
}
