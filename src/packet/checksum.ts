/**
 * Internet checksums: computed (RFC 1071) and adjusted in place (RFC 1624). Owns no protocol's layout.
 * Sums are plain numbers of at most 32 bits; fold() ends a computation.
 */
import { setU16, u16 } from "./bytes.ts";

/** Adds `lengthBytes` bytes as 16-bit words to `sum`; an odd last byte is padded with zero (RFC 1071 section 4.1). */
export function addBytes(sum: number, bytes: Uint8Array, at: number, lengthBytes: number): number {
  const end = at + (lengthBytes & ~1);
  let total = sum;
  for (let i = at; i < end; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if ((lengthBytes & 1) !== 0) total += bytes[end]! << 8;
  // Frames have at most 2048 bytes: 1024 words of 16 bits stay far below 2^31; folded so that sums can be chained.
  return (total & 0xffff) + (total >>> 16);
}

/** Adds the two halves of a 32-bit value. */
export function addWord32(sum: number, value: number): number {
  return sum + ((value >>> 16) & 0xffff) + (value & 0xffff);
}

/** One's complement of the folded sum: what goes into the header field. */
export function fold(sum: number): number {
  let total = sum;
  total = (total & 0xffff) + (total >>> 16);
  total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/** Checksum over a span: 0 when the span holds a correct checksum, else what a zeroed field should hold. */
export function checksum(bytes: Uint8Array, at: number, lengthBytes: number): number {
  return fold(addBytes(0, bytes, at, lengthBytes));
}

/** Sum of the IPv4 pseudo header (RFC 9293 section 3.1, RFC 768). */
export function pseudoHeaderSum(
  source: number,
  destination: number,
  protocol: number,
  lengthBytes: number,
): number {
  return addWord32(addWord32(protocol + lengthBytes, source), destination);
}

/** The checksum after a 16-bit word changed: HC' = ~(~HC + ~m + m') (RFC 1624, eqn 3). */
export function adjusted16(check: number, before: number, after: number): number {
  const sum = (~check & 0xffff) + (~before & 0xffff) + (after & 0xffff);
  const folded = (sum & 0xffff) + (sum >>> 16);
  return ~((folded & 0xffff) + (folded >>> 16)) & 0xffff;
}

/** The checksum after a 32-bit value at an even offset changed (RFC 1624, eqn 3, twice). */
export function adjusted32(check: number, before: number, after: number): number {
  const sum =
    (~check & 0xffff) +
    (~(before >>> 16) & 0xffff) +
    (~before & 0xffff) +
    ((after >>> 16) & 0xffff) +
    (after & 0xffff);
  const folded = (sum & 0xffff) + (sum >>> 16);
  return ~((folded & 0xffff) + (folded >>> 16)) & 0xffff;
}

/** Rewrites the checksum field at `at` in place after a 16-bit word changed. */
export function adjust16(bytes: Uint8Array, at: number, before: number, after: number): void {
  setU16(bytes, at, adjusted16(u16(bytes, at), before, after));
}

/** Rewrites the checksum field at `at` in place after a 32-bit value changed. */
export function adjust32(bytes: Uint8Array, at: number, before: number, after: number): void {
  setU16(bytes, at, adjusted32(u16(bytes, at), before, after));
}
