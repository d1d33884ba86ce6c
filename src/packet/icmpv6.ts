/**
 * ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861). `at` is the ICMPv6 header's first byte. The head is like ICMP's
 * (icmp.ts); the checksum covers a pseudo header too.
 *
 *   0      1      2          4                          8
 *   | type | code | checksum | id, seq / mtu / flags    | data, or target address, then options
 */

import { addBytes, fold } from "./checksum.ts";
import { IPV6_SOURCE, PROTOCOL_ICMPV6 } from "./ipv6.ts";

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ICMPV6_ROUTER_SOLICITATION = 133;
export const ICMPV6_ROUTER_ADVERTISEMENT = 134;
export const ICMPV6_NEIGHBOUR_SOLICITATION = 135;
export const ICMPV6_NEIGHBOUR_ADVERTISEMENT = 136;
export const ICMPV6_REDIRECT = 137;

/** Codes of "unreachable" (RFC 4443 section 3.1). */
export const CODE_V6_NO_ROUTE = 0;
export const CODE_V6_PROHIBITED = 1;
export const CODE_V6_ADDRESS = 3;
export const CODE_V6_PORT = 4;

export const ND_TARGET = 8;
export const ND_OPTIONS = 24;
export const OPTION_SOURCE_LINK = 1;
export const OPTION_TARGET_LINK = 2;
export const OPTION_PREFIX = 3;
export const OPTION_MTU = 5;
export const OPTION_RDNSS = 25;
/** Flags of a neighbour advertisement, in the word behind the checksum (section 4.4). */
export const NA_ROUTER = 0x80000000 | 0;
export const NA_SOLICITED = 0x40000000;
export const NA_OVERRIDE = 0x20000000;

/** Errors that concern a packet of a flow. */
export function isErrorV6(type: number): boolean {
  return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

/** Neighbour discovery: never forwarded. */
export function isNeighbourDiscovery(type: number): boolean {
  return type >= ICMPV6_ROUTER_SOLICITATION && type <= ICMPV6_REDIRECT;
}

/**
 * Checksum over the addresses of the IPv6 header at `ipAt`, protocol, length and payload (RFC 8200 section 8.1): 0 when the
 * payload holds a right one, else what a zeroed field should hold.
 */
export function checksumV6(
  bytes: Uint8Array,
  ipAt: number,
  protocol: number,
  at: number,
  lengthBytes: number,
): number {
  const pseudo = addBytes(
    protocol + (lengthBytes >>> 16) + (lengthBytes & 0xffff),
    bytes,
    ipAt + IPV6_SOURCE,
    32,
  );
  return fold(addBytes(pseudo, bytes, at, lengthBytes));
}

export function icmpChecksumV6(bytes: Uint8Array, ipAt: number, at: number, lengthBytes: number): number {
  return checksumV6(bytes, ipAt, PROTOCOL_ICMPV6, at, lengthBytes);
}

/** The link-layer address in a neighbour discovery option of this type, as an offset; -1 when absent or malformed. */
export function linkOption(bytes: Uint8Array, at: number, end: number, type: number): number {
  let option = at;
  while (option + 8 <= end) {
    const length = bytes[option + 1]! << 3;
    // RFC 4861 section 4.6: an option of length 0 makes the packet invalid.
    if (length === 0 || option + length > end) return -1;
    if (bytes[option] === type && length === 8) return option + 2;
    option += length;
  }
  return -1;
}

/** Whether all options are well formed (RFC 4861 section 7.1). */
export function hasGoodOptions(bytes: Uint8Array, at: number, end: number): boolean {
  let option = at;
  while (option < end) {
    if (option + 2 > end) return false;
    const length = bytes[option + 1]! << 3;
    if (length === 0 || option + length > end) return false;
    option += length;
  }
  return true;
}
