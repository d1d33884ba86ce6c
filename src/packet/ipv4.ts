/**
 * IPv4 headers (RFC 791, RFC 1812). `at` is the header's first byte.
 *
 *   0          1     2              4     6                8     9       10         12       16
 *   | v4 | ihl | tos | total length | id  | flags | offset | ttl | proto | checksum | source | destination | options
 */
import { i32, setI32, setU16, u16 } from "./bytes.ts";
import { adjust16, adjust32, checksum } from "./checksum.ts";

export const IPV4_BYTES = 20;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_SCTP = 132;

export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;

export const OPTION_END = 0;
export const OPTION_NOP = 1;
const OPTION_RECORD_ROUTE = 7;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;

export function version(bytes: Uint8Array, at: number): number {
  return bytes[at]! >>> 4;
}

export function headerBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at]! & 15) << 2;
}

export function totalBytes(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 2);
}

/** True when the datagram is a fragment: more fragments follow, or an offset is set. */
export function isFragment(bytes: Uint8Array, at: number): boolean {
  return (u16(bytes, at + 6) & 0x3fff) !== 0;
}

/** True when the datagram begins in another fragment. */
export function isLaterFragment(bytes: Uint8Array, at: number): boolean {
  return (u16(bytes, at + 6) & 0x1fff) !== 0;
}

export function isDontFragment(bytes: Uint8Array, at: number): boolean {
  return (bytes[at + 6]! & 0x40) !== 0;
}

export function ttl(bytes: Uint8Array, at: number): number {
  return bytes[at + 8]!;
}

export function protocol(bytes: Uint8Array, at: number): number {
  return bytes[at + 9]!;
}

export function source(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + IPV4_SOURCE);
}

export function destination(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + IPV4_DESTINATION);
}

/** Decrements TTL and adjusts the checksum; the caller checked that it is at least 2. */
export function decrementTtl(bytes: Uint8Array, at: number): void {
  const before = u16(bytes, at + 8);
  setU16(bytes, at + 8, before - 0x100);
  adjust16(bytes, at + IPV4_CHECKSUM, before, before - 0x100);
}

export function rewriteSource(bytes: Uint8Array, at: number, address: number): void {
  adjust32(bytes, at + IPV4_CHECKSUM, i32(bytes, at + IPV4_SOURCE), address);
  setI32(bytes, at + IPV4_SOURCE, address);
}

export function rewriteDestination(bytes: Uint8Array, at: number, address: number): void {
  adjust32(bytes, at + IPV4_CHECKSUM, i32(bytes, at + IPV4_DESTINATION), address);
  setI32(bytes, at + IPV4_DESTINATION, address);
}

/** True when an option routes by source, records the route, or runs over its space (RFC 7126 says to drop these). */
export function hasBadOption(bytes: Uint8Array, at: number, header: number): boolean {
  const end = at + header;
  let option = at + IPV4_BYTES;
  while (option < end) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return false;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    if (
      kind === OPTION_RECORD_ROUTE ||
      kind === OPTION_LOOSE_SOURCE_ROUTE ||
      kind === OPTION_STRICT_SOURCE_ROUTE
    ) {
      return true;
    }
    if (option + 1 >= end) return true;
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > end) return true;
    option += length;
  }
  return false;
}

/** Writes a header without options, identification 0 and DF (an atomic datagram, RFC 6864), and its checksum. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  total: number,
  timeToLive: number,
  proto: number,
  from: number,
  to: number,
): void {
  bytes[at] = 0x45;
  bytes[at + 1] = 0;
  setU16(bytes, at + 2, total);
  setU16(bytes, at + 4, 0);
  setU16(bytes, at + 6, 0x4000);
  bytes[at + 8] = timeToLive;
  bytes[at + 9] = proto;
  setU16(bytes, at + IPV4_CHECKSUM, 0);
  setI32(bytes, at + IPV4_SOURCE, from);
  setI32(bytes, at + IPV4_DESTINATION, to);
  setU16(bytes, at + IPV4_CHECKSUM, checksum(bytes, at, IPV4_BYTES));
}
