/**
 * Wire: reads and mends checksums of whole frames for the fuzzer, written independently of src/packet. Owns the judgement whether
 * every checksum in a frame that can be checked is right, with the packets inside ICMP errors and GENEVE.
 */

export const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!;
export const put16 = (b: Uint8Array, at: number, value: number): void => {
  b[at] = (value >>> 8) & 255;
  b[at + 1] = value & 255;
};
export const u32 = (b: Uint8Array, at: number): number => u16(b, at) * 65536 + u16(b, at + 2);
export const put32 = (b: Uint8Array, at: number, value: number): void => {
  put16(b, at, (value / 65536) & 0xffff);
  put16(b, at + 2, value & 0xffff);
};

function sum(b: Uint8Array, from: number, length: number, start: number): number {
  let total = start;
  const even = from + (length & ~1);
  for (let i = from; i < even; i += 2) total += (b[i]! << 8) | b[i + 1]!;
  if ((length & 1) === 1) total += b[even]! << 8;
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 65536);
  return folded;
}

/** What a frame's IP packet is, as far as its lengths hold. */
export interface Place {
  isIpv6: boolean;
  ip: number;
  l4: number;
  /** End of the IP packet by its own length. */
  end: number;
  protocol: number;
  isFragment: boolean;
  /** A later fragment: there is no transport header. */
  isLater: boolean;
}

/** Finds the transport header of the packet at `ip`; undefined when it is none. `limit`: bytes that are there. */
export function locate(b: Uint8Array, ip: number, limit: number): Place | undefined {
  if (ip + 20 > limit) return undefined;
  const version = b[ip]! >> 4;
  if (version === 4) {
    const header = (b[ip]! & 15) * 4;
    const total = u16(b, ip + 2);
    if (header < 20 || total < header) return undefined;
    const field = u16(b, ip + 6) & 0x3fff;
    return {
      isIpv6: false,
      ip,
      l4: ip + header,
      end: ip + total,
      protocol: b[ip + 9]!,
      isFragment: field !== 0,
      isLater: (field & 0x1fff) !== 0,
    };
  }
  if (version !== 6 || ip + 40 > limit) return undefined;
  const end = ip + 40 + u16(b, ip + 4);
  let next = b[ip + 6]!;
  let at = ip + 40;
  let isFragment = false;
  let isLater = false;
  for (let i = 0; i < 12 && [0, 43, 44, 60].includes(next); i++) {
    if (at + 8 > Math.min(end, limit)) return undefined;
    if (next === 44) {
      isFragment ||= (u16(b, at + 2) & 0xfff9) !== 0;
      isLater ||= (u16(b, at + 2) & 0xfff8) !== 0;
    }
    const length = next === 44 ? 8 : (b[at + 1]! + 1) * 8;
    next = b[at]!;
    at += length;
    if (isLater) break;
  }
  return { isIpv6: true, ip, l4: at, end, protocol: next, isFragment, isLater };
}

const CHECKSUM_AT: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2 };

/** Sum over what the transport checksum covers, pseudo header included; -1: there is nothing that can be checked. */
function covered(b: Uint8Array, place: Place, limit: number): number {
  const { isIpv6, ip, l4, end, protocol } = place;
  const field = CHECKSUM_AT[protocol];
  if (field === undefined || place.isFragment || l4 + field + 2 > end || end > limit) return -1;
  if (protocol === (isIpv6 ? 1 : 58)) return -1;
  let length = end - l4;
  if (protocol === 17) {
    const told = u16(b, l4 + 4);
    if (told < 8 || told > length) return -1;
    length = told;
  }
  let start = 0;
  if (isIpv6) start = sum(b, ip + 8, 32, length + protocol);
  else if (protocol !== 1) start = sum(b, ip + 12, 8, length + protocol);
  return fold(sum(b, l4, length, start));
}

/** Why a frame of `length` bytes at `at` has a wrong checksum; "" when all that can be checked are right. */
export function wrongChecksum(b: Uint8Array, at: number, length: number): string {
  return wrongFrame(b, at, length, "");
}

/** `carried`: the word "carried" for each redirect that the frame is in. */
function wrongFrame(b: Uint8Array, at: number, length: number, carried: string): string {
  const limit = at + length;
  const type = length >= 14 ? u16(b, at + 12) : 0;
  if (type !== 0x0800 && type !== 0x86dd) return "";
  return wrongPacket(b, at + 14, limit, 0, carried);
}

function wrongPacket(b: Uint8Array, ip: number, limit: number, depth: number, carried: string): string {
  const place = locate(b, ip, limit);
  if (place === undefined) return "";
  const name = depth === 0 ? carried : `${carried}inner `;
  if (!place.isIpv6 && place.l4 <= limit && fold(sum(b, ip, place.l4 - ip, 0)) !== 0xffff) {
    return `${name}IPv4 header checksum`;
  }
  const { l4, protocol, end } = place;
  const total = covered(b, place, limit);
  const isBare = protocol === 17 && !place.isIpv6 && total >= 0 && u16(b, l4 + 6) === 0;
  if (total >= 0 && total !== 0xffff && !isBare) return `${name}checksum of protocol ${protocol}`;
  if (total < 0 || depth > 1) return "";
  if (protocol === 17 && u16(b, l4 + 2) === 6081 && end - l4 > 28 + 14) {
    return wrongFrame(b, l4 + 28, end - l4 - 28, `${carried}carried `);
  }
  const kind = b[l4]!;
  const isError =
    (protocol === 1 && (kind === 3 || kind === 11 || kind === 12)) || (protocol === 58 && kind < 128);
  return isError ? wrongPacket(b, l4 + 8, Math.min(limit, end), depth + 1, carried) : "";
}

/** Makes header and transport checksums of a frame right, where its lengths allow it; the innermost first. */
export function mend(b: Uint8Array, at: number, length: number): void {
  const type = length >= 34 ? u16(b, at + 12) : 0;
  if (type === 0x0800 || type === 0x86dd) mendPacket(b, at + 14, at + length, 0);
}

function mendPacket(b: Uint8Array, ip: number, limit: number, depth: number): void {
  const place = locate(b, ip, limit);
  if (place === undefined) return;
  const { l4, protocol } = place;
  if (!place.isIpv6 && l4 <= limit) {
    put16(b, ip + 10, 0);
    put16(b, ip + 10, ~fold(sum(b, ip, l4 - ip, 0)) & 0xffff);
  }
  const field = CHECKSUM_AT[protocol];
  if (field === undefined || covered(b, place, limit) < 0) return;
  const kind = b[l4]!;
  const isError =
    (protocol === 1 && (kind === 3 || kind === 11 || kind === 12)) || (protocol === 58 && kind < 128);
  if (isError && depth === 0 && place.end - l4 > 28) mendPacket(b, l4 + 8, place.end, 1);
  put16(b, l4 + field, 0);
  const check = ~covered(b, place, limit) & 0xffff;
  put16(b, l4 + field, protocol === 17 && check === 0 ? 0xffff : check);
}
