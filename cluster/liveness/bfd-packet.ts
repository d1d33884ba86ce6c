/**
 * BFD control packet (RFC 5880, section 4.1): reading and writing its 24 bytes. Owns the format; bfd.ts owns the states.
 *
 *   0          1                2           3        4        8          12             16              20
 *   | vers diag | sta P F C A D M | detect mult | length | my disc | your disc | desired min TX | required min RX | echo RX |
 *
 * Times on the wire are microseconds; in the struct milliseconds.
 */

export const BFD_BYTES = 24;

export const BFD_ADMIN_DOWN = 0;
export const BFD_DOWN = 1;
export const BFD_INIT = 2;
export const BFD_UP = 3;
export type BfdState = 0 | 1 | 2 | 3;

export const DIAG_NONE = 0;
export const DIAG_DETECTION_TIME_EXPIRED = 1;
export const DIAG_NEIGHBOR_SIGNALED_DOWN = 3;
export const DIAG_ADMIN_DOWN = 7;

const VERSION = 1;
const POLL = 0x20;
const FINAL = 0x10;
const AUTH = 0x04;
const MULTIPOINT = 0x01;
const US_PER_MS = 1000;

/** One control packet; mutable, so that one instance serves all packets received. */
export interface BfdPacket {
  diag: number;
  state: BfdState;
  isPoll: boolean;
  isFinal: boolean;
  multiplier: number;
  myDiscriminator: number;
  yourDiscriminator: number;
  desiredMinTxMs: number;
  requiredMinRxMs: number;
}

export function emptyBfdPacket(): BfdPacket {
  return {
    diag: DIAG_NONE,
    state: BFD_DOWN,
    isPoll: false,
    isFinal: false,
    multiplier: 0,
    myDiscriminator: 0,
    yourDiscriminator: 0,
    desiredMinTxMs: 0,
    requiredMinRxMs: 0,
  };
}

/**
 * Reads a packet into `out`; false when it must be discarded (RFC 5880, 6.8.6, the checks that need no session).
 * The authentication section is refused: our envelope authenticates the whole datagram.
 */
export function decodeBfd(view: DataView, at: number, length: number, out: BfdPacket): boolean {
  if (length < BFD_BYTES || at + length > view.byteLength) return false;
  const first = view.getUint8(at);
  const flags = view.getUint8(at + 1);
  if (first >> 5 !== VERSION || (flags & (AUTH | MULTIPOINT)) !== 0) return false;
  const declared = view.getUint8(at + 3);
  if (declared < BFD_BYTES || declared > length) return false;
  out.diag = first & 0x1f;
  out.state = (flags >> 6) as BfdState;
  out.isPoll = (flags & POLL) !== 0;
  out.isFinal = (flags & FINAL) !== 0;
  out.multiplier = view.getUint8(at + 2);
  out.myDiscriminator = view.getUint32(at + 4);
  out.yourDiscriminator = view.getUint32(at + 8);
  out.desiredMinTxMs = view.getUint32(at + 12) / US_PER_MS;
  out.requiredMinRxMs = view.getUint32(at + 16) / US_PER_MS;
  if (out.multiplier === 0 || out.myDiscriminator === 0) return false;
  return out.yourDiscriminator !== 0 || out.state === BFD_DOWN || out.state === BFD_ADMIN_DOWN;
}

/** Writes the packet's 24 bytes. */
export function encodeBfd(p: BfdPacket, view: DataView, at: number): void {
  view.setUint8(at, (VERSION << 5) | p.diag);
  view.setUint8(at + 1, (p.state << 6) | (p.isPoll ? POLL : 0) | (p.isFinal ? FINAL : 0));
  view.setUint8(at + 2, p.multiplier);
  view.setUint8(at + 3, BFD_BYTES);
  view.setUint32(at + 4, p.myDiscriminator);
  view.setUint32(at + 8, p.yourDiscriminator);
  view.setUint32(at + 12, Math.round(p.desiredMinTxMs * US_PER_MS));
  view.setUint32(at + 16, Math.round(p.requiredMinRxMs * US_PER_MS));
  view.setUint32(at + 20, 0);
}
