/**
 * TCP headers (RFC 9293). `at` is the header's first byte.
 *
 *   0        2        4     8     12         13      14       16         18       20
 *   | source | dest   | seq | ack | offset   | flags | window | checksum | urgent | options
 */
import { i32, u16 } from "./bytes.ts";

export const TCP_BYTES = 20;
export const TCP_CHECKSUM = 16;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;

/** Answer of windowScale() when the option is absent. */
export const NO_SCALE = -1;
/** RFC 7323 section 2.3: larger shifts count as 14. */
const SCALE_MAX = 14;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_WINDOW_SCALE = 3;

export function sequence(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + 4);
}

export function acknowledgement(bytes: Uint8Array, at: number): number {
  return i32(bytes, at + 8);
}

export function headerBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at + 12]! >>> 4) << 2;
}

export function flags(bytes: Uint8Array, at: number): number {
  return bytes[at + 13]! & 0x3f;
}

export function window(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 14);
}

/** The shift of a SYN's window scale option (RFC 7323), or NO_SCALE. `header` was checked against the segment. */
export function windowScale(bytes: Uint8Array, at: number, header: number): number {
  const end = at + header;
  let option = at + TCP_BYTES;
  while (option < end) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return NO_SCALE;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    if (option + 1 >= end) return NO_SCALE;
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > end) return NO_SCALE;
    if (kind === OPTION_WINDOW_SCALE && length === 3) {
      const shift = bytes[option + 2]!;
      return Math.min(shift, SCALE_MAX);
    }
    option += length;
  }
  return NO_SCALE;
}
