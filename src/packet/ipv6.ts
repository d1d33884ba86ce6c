/**
 * IPv6 headers (RFC 8200). `at` is the header's first byte.
 *
 *   0                        4                6             7           8        24            40
 *   | v6 | class | flow      | payload length | next header | hop limit | source | destination | extension headers
 */
import { ADDRESS_WORDS, MAPPED } from "../base/address.ts";
import { i32, setI32, setU16, u16 } from "./bytes.ts";

export const IPV6_BYTES = 40;
export const IPV6_SOURCE = 8;
export const IPV6_DESTINATION = 24;

export const PROTOCOL_HOP_BY_HOP = 0;
export const PROTOCOL_ROUTING = 43;
export const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_DESTINATION_OPTIONS = 60;

export const FRAGMENT_BYTES = 8;
/** Links carry packets of this size at least (RFC 8200 section 5). */
export const IPV6_MTU_MIN = 1280;

export function payloadBytes(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 4);
}

export function nextHeader(bytes: Uint8Array, at: number): number {
  return bytes[at + 6]!;
}

export function hopLimit(bytes: Uint8Array, at: number): number {
  return bytes[at + 7]!;
}

/** Reads an address of the wire as four words. */
export function readIpv6(bytes: Uint8Array, at: number, words: Int32Array, to: number): void {
  words[to] = i32(bytes, at);
  words[to + 1] = i32(bytes, at + 4);
  words[to + 2] = i32(bytes, at + 8);
  words[to + 3] = i32(bytes, at + 12);
}

/** Writes four words as an address of the wire. */
export function writeIpv6(bytes: Uint8Array, at: number, words: Int32Array, from: number): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) setI32(bytes, at + i * 4, words[from + i]!);
}

/** Whether an extension header of this number may stand between the IPv6 header and the payload. */
export function isExtension(header: number): boolean {
  return (
    header === PROTOCOL_HOP_BY_HOP ||
    header === PROTOCOL_ROUTING ||
    header === PROTOCOL_FRAGMENT ||
    header === PROTOCOL_DESTINATION_OPTIONS
  );
}

/** Length of the extension header at `at`, in bytes; it must have 8 at least. */
export function extensionBytes(header: number, bytes: Uint8Array, at: number): number {
  return header === PROTOCOL_FRAGMENT ? FRAGMENT_BYTES : (bytes[at + 1]! + 1) << 3;
}

/** A routing header that still routes: segments are left (RFC 5095 forbids type 0, RFC 8200 section 4.4). */
export function isSourceRouted(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 3] !== 0;
}

/** A fragment header that says "whole": offset 0, nothing follows (RFC 6946). */
export function isAtomic(bytes: Uint8Array, at: number): boolean {
  return (u16(bytes, at + 2) & 0xfff9) === 0;
}

/** A fragment header at whose datagram's begin the fragment stands: offset 0. */
export function isFirstFragment(bytes: Uint8Array, at: number): boolean {
  return (u16(bytes, at + 2) & 0xfff8) === 0;
}

/** ff00::/8. */
export function isMulticast(words: Int32Array, at: number): boolean {
  return words[at]! >>> 24 === 0xff;
}

/** fe80::/10. */
export function isLinkLocal(words: Int32Array, at: number): boolean {
  return words[at]! >>> 22 === 0x3fa;
}

/** fc00::/7 (RFC 4193). */
export function isUniqueLocal(words: Int32Array, at: number): boolean {
  return words[at]! >>> 25 === 0x7e;
}

/** ::ffff:0:0/96, which stands for IPv4 and may not be seen on a wire (RFC 4291 section 2.5.5.2). */
export function isMapped(words: Int32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED;
}

/** Writes a header with traffic class and flow label 0. */
export function writeIpv6Header(
  bytes: Uint8Array,
  at: number,
  payload: number,
  next: number,
  hops: number,
  source: Int32Array,
  sourceAt: number,
  destination: Int32Array,
  destinationAt: number,
): void {
  setI32(bytes, at, 0x60000000);
  setU16(bytes, at + 4, payload);
  bytes[at + 6] = next;
  bytes[at + 7] = hops;
  writeIpv6(bytes, at + IPV6_SOURCE, source, sourceAt);
  writeIpv6(bytes, at + IPV6_DESTINATION, destination, destinationAt);
}
