/**
 * Ethernet II frames (IEEE 802.3): destination, source, type. VLAN tags are not carried: their type is not ours.
 *
 *   0             6             12      14
 *   | destination | source      | type  | payload
 */
import { setU16, u16 } from "./bytes.ts";

export const ETHERNET_BYTES = 14;
export const MAC_BYTES = 6;
/** The shortest frame without its check sequence; shorter ones are padded with zeros. */
export const FRAME_BYTES_MIN = 60;

export const ETHER_IPV4 = 0x0800;
export const ETHER_IPV6 = 0x86dd;
export const ETHER_ARP = 0x0806;
export const ETHER_RARP = 0x8035;
/** IEEE 802 local experimental EtherType 1: heartbeats on zone links. */
export const ETHER_HEARTBEAT = 0x88b5;

export function etherType(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 12);
}

export function setEtherType(bytes: Uint8Array, at: number, type: number): void {
  setU16(bytes, at + 12, type);
}

/** True for broadcast and multicast destinations (the group bit of the first byte). */
export function isGroup(bytes: Uint8Array, at: number): boolean {
  return (bytes[at]! & 1) !== 0;
}

/** No station has it: an address that is not known yet. */
export function isZero(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

export function isBroadcast(bytes: Uint8Array, at: number): boolean {
  return (
    (bytes[at]! & bytes[at + 1]! & bytes[at + 2]! & bytes[at + 3]! & bytes[at + 4]! & bytes[at + 5]!) === 0xff
  );
}

/** Whether six bytes at `at` are the address at `mac[macAt]`. The last byte differs first, so it is compared first. */
export function isMac(bytes: Uint8Array, at: number, mac: Uint8Array, macAt: number): boolean {
  return (
    bytes[at + 5] === mac[macAt + 5] &&
    bytes[at + 4] === mac[macAt + 4] &&
    bytes[at + 3] === mac[macAt + 3] &&
    bytes[at + 2] === mac[macAt + 2] &&
    bytes[at + 1] === mac[macAt + 1] &&
    bytes[at] === mac[macAt]
  );
}

/** Copies an address from another buffer. */
export function setMac(bytes: Uint8Array, at: number, mac: Uint8Array, macAt: number): void {
  bytes[at] = mac[macAt]!;
  bytes[at + 1] = mac[macAt + 1]!;
  bytes[at + 2] = mac[macAt + 2]!;
  bytes[at + 3] = mac[macAt + 3]!;
  bytes[at + 4] = mac[macAt + 4]!;
  bytes[at + 5] = mac[macAt + 5]!;
}

/** Fills six bytes with one value: 0xff for broadcast, 0 for "unknown". */
export function fillMac(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < MAC_BYTES; i++) bytes[at + i] = value;
}

/** Pads a short frame with zeros, so that nothing of an older frame leaks (RFC 1042); returns its length. */
export function padFrame(bytes: Uint8Array, at: number, lengthBytes: number): number {
  for (let i = lengthBytes; i < FRAME_BYTES_MIN; i++) bytes[at + i] = 0;
  return Math.max(lengthBytes, FRAME_BYTES_MIN);
}
