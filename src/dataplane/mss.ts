/**
 * MSS clamping: lowers the largest segment that a SYN announces to what the zones on its way allow (RFC 9293 section 3.7.1;
 * what iptables calls TCPMSS). Owns the option's rewriting; limits are the zones'.
 */
import { setU16, u16 } from "../packet/bytes.ts";
import { adjust16 } from "../packet/checksum.ts";
import { flags, headerBytes, SYN, TCP_BYTES, TCP_CHECKSUM } from "../packet/tcp.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import type { Packet } from "./packet.ts";

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

/** The largest segment that two zones allow between them; 0: any. */
export function mssLimit(policy: CompiledPolicy, zone: number, otherZone: number): number {
  const a = policy.mssMax[zone]!;
  const b = policy.mssMax[otherZone]!;
  return a === 0 ? b : b === 0 ? a : Math.min(a, b);
}

/** Clamps the packet's MSS option if it is a SYN and its zones have a limit. */
export function clampMss(
  packet: Packet,
  bytes: Uint8Array,
  policy: CompiledPolicy,
  egressZone: number,
): void {
  const limit = mssLimit(policy, packet.zone, egressZone);
  if (limit === 0 || (flags(bytes, packet.l4At) & SYN) === 0) return;
  const end = packet.l4At + headerBytes(bytes, packet.l4At);
  let option = packet.l4At + TCP_BYTES;
  while (option + 1 < end) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > end) return;
    if (kind === OPTION_MSS && length === 4) {
      lower(bytes, option + 2, packet.l4At, limit);
      return;
    }
    option += length;
  }
}

function lower(bytes: Uint8Array, at: number, tcpAt: number, limit: number): void {
  const before = u16(bytes, at);
  if (before <= limit) return;
  // An option may stand at an odd offset: then its bytes belong to two checksum words.
  const isOdd = ((at - tcpAt) & 1) !== 0;
  setU16(bytes, at, limit);
  if (isOdd) adjust16(bytes, tcpAt + TCP_CHECKSUM, swapped(before), swapped(limit));
  else adjust16(bytes, tcpAt + TCP_CHECKSUM, before, limit);
}

function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
