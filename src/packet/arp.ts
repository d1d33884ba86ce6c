/**
 * ARP for IPv4 over Ethernet (RFC 826), with the probe of RFC 5227: a request whose sender address is 0.0.0.0.
 * `at` is the ARP packet's first byte, behind the Ethernet header.
 *
 *   0       2       4    5    6      8            14        18           24        28
 *   | htype | ptype | hl | pl | op   | sender MAC | sender  | target MAC | target  |
 */
import { i32, setI32, setU16, u16 } from "./bytes.ts";

export const ARP_BYTES = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;
/** Reverse ARP request (RFC 903): what announcements are dressed as. */
export const RARP_REQUEST = 3;

export const ARP_SENDER_MAC = 8;
export const ARP_TARGET_MAC = 18;

/** True for the one kind that we speak: Ethernet and IPv4. */
export function isEthernetIpv4(bytes: Uint8Array, at: number): boolean {
  return i32(bytes, at) === 0x00010800 && u16(bytes, at + 4) === 0x0604;
}

export function operation(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 6);
}

export function senderIp(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + 14);
}

export function targetIp(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + 24);
}

/** Writes types, lengths, operation and both protocol addresses; the caller writes the two MACs. */
export function writeArp(
  bytes: Uint8Array,
  at: number,
  op: number,
  senderAddress: number,
  targetAddress: number,
): void {
  setI32(bytes, at, 0x00010800);
  setU16(bytes, at + 4, 0x0604);
  setU16(bytes, at + 6, op);
  setI32(bytes, at + 14, senderAddress);
  setI32(bytes, at + 24, targetAddress);
}
