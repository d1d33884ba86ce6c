/**
 * Fragments of both families (RFC 791 section 3.2, RFC 8200 section 4.5): reads what reassembly needs to know of one, and
 * refuses what cannot be a fragment whatever the others are like. Owns no state: collecting is dataplane/fragments.ts.
 *
 *   IPv4   | header, options          |                 | payload of the fragment |
 *   IPv6   | header, extension headers| fragment header | payload of the fragment |
 *                                     0      1   2             4                8
 *                                     | next | - | offset, M   | identification |
 */
import { ADDRESS_WORDS, setIpv4 } from "../base/address.ts";
import { i32, u16 } from "./bytes.ts";
import * as ipv4 from "./ipv4.ts";
import * as ipv6 from "./ipv6.ts";
import { TCP_BYTES } from "./tcp.ts";

/** Answers of readFragment(). Not a fragment: an ordinary packet, and `info` means nothing. */
export const FRAGMENT_NONE = 0;
/** A fragment that has to meet its others. */
export const FRAGMENT_PART = 1;
/** IPv6: a whole packet with a fragment header, to be processed by itself (RFC 6946). */
export const FRAGMENT_ATOMIC = 2;
/** Shorter than its headers say. */
export const FRAGMENT_TRUNCATED = 3;
/** Headers that cannot be, too many of them, or another fragment header inside. */
export const FRAGMENT_BAD_HEADER = 4;
/** Empty, not a multiple of 8 bytes though more follow, or beyond 65,535 bytes (RFC 8200 section 4.5). */
export const FRAGMENT_INVALID = 5;
/** Upper-layer header or chain of headers not whole in the first fragment (RFC 1858, RFC 3128, RFC 7112). */
export const FRAGMENT_TINY = 6;
/** IPv6: a routing header in the first fragment that still routes (RFC 5095, RFC 8200 section 4.4). */
export const FRAGMENT_SOURCE_ROUTED = 7;

/** The longest datagram: IPv4 with its header, IPv6 without its fixed header. */
export const DATAGRAM_BYTES_MAX = 65_535;

/** Extension headers of a packet, and their bytes: what is beyond is refused. */
const EXTENSIONS_MAX = 8;
const EXTENSION_BYTES_MAX = 512;

const PROTOCOL_GRE = 47;
const PROTOCOL_ESP = 50;
const PROTOCOL_AUTHENTICATION = 51;
const PROTOCOL_SCTP = 132;
const PROTOCOL_UDP_LITE = 136;

/** What readFragment() found; one instance is filled again and again. */
export class FragmentInfo {
  isIpv6 = false;
  /** Source and destination, ADDRESS_WORDS each. */
  readonly words = new Int32Array(2 * ADDRESS_WORDS);
  /** 16 bits of IPv4; 32 bits of IPv6, signed. */
  identification = 0;
  /** IPv4: the datagram's. IPv6: the upper layer's in a first fragment, else what the fragment header says. */
  protocol = 0;
  /** Where the payload belongs in the datagram's. */
  offsetBytes = 0;
  payloadAt = 0;
  payloadBytes = 0;
  isMore = false;
  /** What counts as the datagram's besides its payload: IPv4 header, IPv6 extension headers before the fragment header. */
  headBytes = 0;
  /** First fragments: the upper-layer header; else 0. */
  l4At = 0;
}

/** Reads the packet at `at`, of which `availableBytes` are there: FRAGMENT_*. `info` is whole for PART and ATOMIC. */
export function readFragment(
  bytes: Uint8Array,
  at: number,
  availableBytes: number,
  info: FragmentInfo,
): number {
  if (availableBytes < ipv4.IPV4_BYTES) return FRAGMENT_TRUNCATED;
  const version = bytes[at]! >>> 4;
  if (version === 4) return readIpv4(bytes, at, availableBytes, info);
  return version === 6 ? readIpv6(bytes, at, availableBytes, info) : FRAGMENT_BAD_HEADER;
}

function readIpv4(bytes: Uint8Array, at: number, availableBytes: number, info: FragmentInfo): number {
  const header = (bytes[at]! & 15) << 2;
  const total = u16(bytes, at + 2);
  if (header < ipv4.IPV4_BYTES || total < header) return FRAGMENT_BAD_HEADER;
  if (total > availableBytes) return FRAGMENT_TRUNCATED;
  const field = u16(bytes, at + 6);
  if ((field & 0x3fff) === 0) return FRAGMENT_NONE;
  setIpv4(info.words, 0, i32(bytes, at + ipv4.IPV4_SOURCE));
  setIpv4(info.words, ADDRESS_WORDS, i32(bytes, at + ipv4.IPV4_DESTINATION));
  info.isIpv6 = false;
  info.identification = u16(bytes, at + 4);
  info.protocol = bytes[at + 9]!;
  info.offsetBytes = (field & 0x1fff) << 3;
  info.isMore = (field & 0x2000) !== 0;
  info.headBytes = header;
  info.payloadAt = at + header;
  info.payloadBytes = total - header;
  info.l4At = info.offsetBytes === 0 ? info.payloadAt : 0;
  return judge(bytes, info);
}

function readIpv6(bytes: Uint8Array, at: number, availableBytes: number, info: FragmentInfo): number {
  if (availableBytes < ipv6.IPV6_BYTES) return FRAGMENT_TRUNCATED;
  const end = at + ipv6.IPV6_BYTES + u16(bytes, at + 4);
  if (end > at + availableBytes) return FRAGMENT_TRUNCATED;
  const first = at + ipv6.IPV6_BYTES;
  let next = bytes[at + 6]!;
  let cursor = first;
  let left = EXTENSIONS_MAX;
  while (isWalked(next)) {
    if (next === ipv6.PROTOCOL_HOP_BY_HOP && cursor !== first) return FRAGMENT_BAD_HEADER;
    if (left-- === 0) return FRAGMENT_BAD_HEADER;
    if (cursor + 8 > end) return FRAGMENT_TRUNCATED;
    next = bytes[cursor]!;
    cursor += (bytes[cursor + 1]! + 1) << 3;
    if (cursor > end) return FRAGMENT_TRUNCATED;
    if (cursor - first > EXTENSION_BYTES_MAX) return FRAGMENT_BAD_HEADER;
  }
  if (next !== ipv6.PROTOCOL_FRAGMENT) return FRAGMENT_NONE;
  if (left === 0) return FRAGMENT_BAD_HEADER;
  if (cursor + ipv6.FRAGMENT_BYTES > end) return FRAGMENT_TRUNCATED;
  ipv6.readIpv6(bytes, at + ipv6.IPV6_SOURCE, info.words, 0);
  ipv6.readIpv6(bytes, at + ipv6.IPV6_DESTINATION, info.words, ADDRESS_WORDS);
  info.isIpv6 = true;
  info.identification = i32(bytes, cursor + 4);
  info.protocol = bytes[cursor]!;
  info.offsetBytes = u16(bytes, cursor + 2) & 0xfff8;
  info.isMore = (bytes[cursor + 3]! & 1) !== 0;
  info.headBytes = cursor - first;
  info.payloadAt = cursor + ipv6.FRAGMENT_BYTES;
  info.payloadBytes = end - info.payloadAt;
  info.l4At = 0;
  if (info.offsetBytes === 0) {
    const wrong = walkToUpperLayer(bytes, info, left - 1);
    if (wrong !== FRAGMENT_PART) return wrong;
  }
  return judge(bytes, info);
}

/** The rest of a first fragment's chain, which has to end within it (RFC 7112): sets `protocol` and `l4At`. */
function walkToUpperLayer(bytes: Uint8Array, info: FragmentInfo, extensionsLeft: number): number {
  const end = info.payloadAt + info.payloadBytes;
  // In an atomic fragment nothing can be in another one: a chain that ends early is just cut off.
  const short = info.isMore ? FRAGMENT_TINY : FRAGMENT_TRUNCATED;
  let left = extensionsLeft;
  let cursor = info.payloadAt;
  while (isWalked(info.protocol)) {
    if (info.protocol === ipv6.PROTOCOL_HOP_BY_HOP || left-- === 0) return FRAGMENT_BAD_HEADER;
    if (cursor + 8 > end) return short;
    if (info.protocol === ipv6.PROTOCOL_ROUTING && ipv6.isSourceRouted(bytes, cursor)) {
      return FRAGMENT_SOURCE_ROUTED;
    }
    info.protocol = bytes[cursor]!;
    cursor += (bytes[cursor + 1]! + 1) << 3;
    if (cursor > end) return short;
    if (cursor - info.payloadAt + info.headBytes > EXTENSION_BYTES_MAX) return FRAGMENT_BAD_HEADER;
  }
  if (info.protocol === ipv6.PROTOCOL_FRAGMENT) return FRAGMENT_BAD_HEADER;
  info.l4At = cursor;
  return FRAGMENT_PART;
}

/** Whether reassembly looks behind a header; AH counts as an upper layer, since nothing behind it may be translated. */
function isWalked(header: number): boolean {
  return (
    header === ipv6.PROTOCOL_HOP_BY_HOP ||
    header === ipv6.PROTOCOL_ROUTING ||
    header === ipv6.PROTOCOL_DESTINATION_OPTIONS
  );
}

/** What a fragment's own numbers tell: PART, ATOMIC, INVALID or TINY. */
function judge(bytes: Uint8Array, info: FragmentInfo): number {
  const { offsetBytes, payloadBytes, isMore } = info;
  if (offsetBytes === 0 && !isMore) return FRAGMENT_ATOMIC;
  if (payloadBytes === 0) return offsetBytes === 0 ? FRAGMENT_TINY : FRAGMENT_INVALID;
  if (isMore && (payloadBytes & 7) !== 0) return FRAGMENT_INVALID;
  if (info.headBytes + offsetBytes + payloadBytes > DATAGRAM_BYTES_MAX) return FRAGMENT_INVALID;
  // RFC 1858 section 3.2.2, RFC 3128: it would reach into the header that the first fragment has to hold whole.
  if (offsetBytes !== 0) {
    return info.protocol === ipv4.PROTOCOL_TCP && offsetBytes < TCP_BYTES ? FRAGMENT_TINY : FRAGMENT_PART;
  }
  const available = info.payloadAt + payloadBytes - info.l4At;
  return available < upperLayerBytes(bytes, info.protocol, info.l4At, available)
    ? FRAGMENT_TINY
    : FRAGMENT_PART;
}

/** Bytes of an upper-layer header as far as a decision needs it, options of TCP and GRE included. */
function upperLayerBytes(bytes: Uint8Array, protocol: number, at: number, available: number): number {
  switch (protocol) {
    case ipv4.PROTOCOL_TCP:
      return available < TCP_BYTES ? TCP_BYTES : Math.max(TCP_BYTES, (bytes[at + 12]! >>> 4) << 2);
    case PROTOCOL_GRE:
      return available < 4 ? 4 : greBytes(bytes[at]!);
    case PROTOCOL_SCTP:
    case PROTOCOL_AUTHENTICATION:
      return 12;
    case ipv4.PROTOCOL_ICMP:
    case ipv4.PROTOCOL_UDP:
    case PROTOCOL_ESP:
    case ipv6.PROTOCOL_ICMPV6:
    case PROTOCOL_UDP_LITE:
      return 8;
    default:
      return 0;
  }
}

/** RFC 2784, RFC 2890: checksum, key and sequence number are there when their flags are. */
function greBytes(flags: number): number {
  return 4 + ((flags & 0x80) >>> 5) + ((flags & 0x20) >>> 3) + ((flags & 0x10) >>> 2);
}
