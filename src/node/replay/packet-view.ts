/**
 * Packet view: an IP packet of either family as plain data, for people. Owns reading only; reads no byte that is not there,
 * and says less about a packet that is cut short. Not for the packet path.
 */
import type { Address } from "../../base/address.ts";
import { i32, u16 } from "../../packet/bytes.ts";

const PROTOCOL_ICMP = 1;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_SCTP = 132;
const PROTOCOL_ICMPV6 = 58;
const FRAGMENT_HEADER = 44;
const EXTENSION_HEADERS = [0, 43, 60, FRAGMENT_HEADER, 51, 135, 139, 140];
const EXTENSIONS_MAX = 8;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"] as const;

export interface PacketView {
  readonly family: 4 | 6;
  readonly source: Address;
  readonly destination: Address;
  /** What the last header says: 58 for ICMPv6. */
  readonly protocol: number;
  /** TTL or hop limit. */
  readonly hops: number;
  /** Length that the header tells. */
  readonly totalBytes: number;
  /** Offset of the transport header. */
  readonly transportAt: number;
  /** False of a fragment behind the first, which has no ports. */
  readonly hasTransport: boolean;
  readonly isFragment: boolean;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** "SYN ACK" */
  readonly tcpFlags?: string;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** Of an echo. */
  readonly icmpId?: number;
  /** What an ICMP error is about. */
  readonly inner?: PacketView;
}

/** Reads the packet at `at`; undefined when it is no IP packet or shorter than its header. */
export function viewPacket(bytes: Uint8Array, at = 0, isInner = false): PacketView | undefined {
  const version = at < bytes.length ? bytes[at]! >>> 4 : 0;
  if (version === 4) return viewIpv4(bytes, at, isInner);
  return version === 6 ? viewIpv6(bytes, at, isInner) : undefined;
}

function viewIpv4(bytes: Uint8Array, at: number, isInner: boolean): PacketView | undefined {
  const headerBytes = (bytes[at]! & 15) * 4;
  if (headerBytes < IPV4_BYTES || at + headerBytes > bytes.length) return undefined;
  const fragment = u16(bytes, at + 6) & 0x3fff;
  const base = {
    family: 4 as const,
    source: i32(bytes, at + 12) >>> 0,
    destination: i32(bytes, at + 16) >>> 0,
    protocol: bytes[at + 9]!,
    hops: bytes[at + 8]!,
    totalBytes: u16(bytes, at + 2),
    transportAt: at + headerBytes,
    hasTransport: (fragment & 0x1fff) === 0,
    isFragment: fragment !== 0,
  };
  return { ...base, ...viewTransport(bytes, base, isInner) };
}

function viewIpv6(bytes: Uint8Array, at: number, isInner: boolean): PacketView | undefined {
  if (at + IPV6_BYTES > bytes.length) return undefined;
  let protocol = bytes[at + 6]!;
  let transportAt = at + IPV6_BYTES;
  let hasTransport = true;
  let isFragment = false;
  for (let i = 0; i < EXTENSIONS_MAX && EXTENSION_HEADERS.includes(protocol); i++) {
    if (transportAt + 8 > bytes.length) break;
    const lengthBytes = extensionBytes(protocol, bytes[transportAt + 1]!);
    if (protocol === FRAGMENT_HEADER) {
      isFragment = true;
      hasTransport = (u16(bytes, transportAt + 2) & 0xfff8) === 0;
    }
    protocol = bytes[transportAt]!;
    transportAt += lengthBytes;
  }
  const base = {
    family: 6 as const,
    source: wide(bytes, at + 8),
    destination: wide(bytes, at + 24),
    protocol,
    hops: bytes[at + 7]!,
    totalBytes: IPV6_BYTES + u16(bytes, at + 4),
    transportAt,
    hasTransport,
    isFragment,
  };
  return { ...base, ...viewTransport(bytes, base, isInner) };
}

/** RFC 8200 section 4; the authentication header (RFC 4302) counts words of four bytes. */
function extensionBytes(header: number, length: number): number {
  if (header === FRAGMENT_HEADER) return 8;
  return header === 51 ? (length + 2) * 4 : (length + 1) * 8;
}

function wide(bytes: Uint8Array, at: number): bigint {
  let address = 0n;
  for (let i = 0; i < 16; i++) address = (address << 8n) | BigInt(bytes[at + i]!);
  return address;
}

type Transport = Pick<
  PacketView,
  "sourcePort" | "destinationPort" | "tcpFlags" | "icmpType" | "icmpCode" | "icmpId" | "inner"
>;

function viewTransport(
  bytes: Uint8Array,
  { protocol, transportAt: at, hasTransport }: Pick<PacketView, "protocol" | "transportAt" | "hasTransport">,
  isInner: boolean,
): Transport {
  if (!hasTransport || at + 4 > bytes.length) return {};
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6)
    return viewIcmp(bytes, at, protocol, isInner);
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_SCTP) return {};
  const ports = { sourcePort: u16(bytes, at), destinationPort: u16(bytes, at + 2) };
  if (protocol !== PROTOCOL_TCP || at + 14 > bytes.length) return ports;
  const flags = bytes[at + 13]!;
  return { ...ports, tcpFlags: TCP_FLAG_NAMES.filter((_, bit) => ((flags >> bit) & 1) !== 0).join(" ") };
}

function viewIcmp(bytes: Uint8Array, at: number, protocol: number, isInner: boolean): Transport {
  const icmpType = bytes[at]!;
  const base = { icmpType, icmpCode: bytes[at + 1]! };
  const isEcho =
    protocol === PROTOCOL_ICMP ? icmpType === 0 || icmpType === 8 : icmpType === 128 || icmpType === 129;
  if (isEcho) return at + 6 <= bytes.length ? { ...base, icmpId: u16(bytes, at + 4) } : base;
  const isError = protocol === PROTOCOL_ICMP ? [3, 11, 12].includes(icmpType) : icmpType < 128;
  const inner = isError && !isInner ? viewPacket(bytes, at + 8, true) : undefined;
  return inner === undefined ? base : { ...base, inner };
}
