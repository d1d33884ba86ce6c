/**
 * ICMP for IPv4 (RFC 792). `at` is the ICMP header's first byte. Errors carry the start of the datagram that caused them.
 *
 *   0      1      2          4                    8
 *   | type | code | checksum | id | seq / mtu ... | data, or the inner IPv4 header and at least 8 bytes
 */
import { setU16, u16 } from "./bytes.ts";
import { addBytes } from "./checksum.ts";

export const ICMP_BYTES = 8;
export const ICMP_CHECKSUM = 2;
export const ICMP_ID = 4;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;
export const ICMP_TIMESTAMP = 13;
export const ICMP_TIMESTAMP_REPLY = 14;

export const CODE_FRAGMENTATION_NEEDED = 4;
/** Communication administratively prohibited by filtering (RFC 1812 section 5.2.7.1). */
export const CODE_PROHIBITED = 13;
export const CODE_NETWORK_UNREACHABLE = 0;
export const CODE_HOST_UNREACHABLE = 1;

export function type(bytes: Uint8Array, at: number): number {
  return bytes[at]!;
}

export function code(bytes: Uint8Array, at: number): number {
  return bytes[at + 1]!;
}

export function id(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + ICMP_ID);
}

/**
 * Writes a checksum that was adjusted (RFC 1624, eqn 3) into the message of `lengthBytes` at `at`, which holds all else already. A
 * message of nothing but zeros, as an echo reply can be, sums up to 0: only 0xffff is its complement, and adjusting gives 0.
 */
export function setAdjusted(bytes: Uint8Array, at: number, lengthBytes: number, check: number): void {
  setU16(bytes, at + ICMP_CHECKSUM, check);
  if (check === 0 && addBytes(0, bytes, at, lengthBytes) === 0) setU16(bytes, at + ICMP_CHECKSUM, 0xffff);
}

/** Errors that concern a datagram of a flow. Source quench is dead (RFC 6633), redirects are not for routers to carry. */
export function isError(icmpType: number): boolean {
  return (
    icmpType === ICMP_UNREACHABLE || icmpType === ICMP_TIME_EXCEEDED || icmpType === ICMP_PARAMETER_PROBLEM
  );
}
