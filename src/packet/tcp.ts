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
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
const SACK_BLOCK_BYTES = 8;
/** NOP, NOP, time stamp (kind 8, 10 bytes): how RFC 7323, appendix A, advises to lay it out. */
const TIMESTAMP_ALONE = 0x0101080a;

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
  const option = optionAt(bytes, at, header, OPTION_WINDOW_SCALE);
  return option >= 0 && bytes[option + 1] === 3 ? Math.min(bytes[option + 2]!, SCALE_MAX) : NO_SCALE;
}

/** Whether a SYN offers selective acknowledgements (RFC 2018 section 2). */
export function isSackPermitted(bytes: Uint8Array, at: number, header: number): boolean {
  return optionAt(bytes, at, header, OPTION_SACK_PERMITTED) >= 0;
}

/** The highest number that a segment acknowledges, selectively (RFC 2018 section 3) or not. */
export function highestAcknowledged(bytes: Uint8Array, at: number, header: number): number {
  let highest = acknowledgement(bytes, at);
  // Most segments have no options, or a time stamp alone.
  if (header === TCP_BYTES || (header === 32 && i32(bytes, at + TCP_BYTES) === TIMESTAMP_ALONE))
    return highest;
  const option = optionAt(bytes, at, header, OPTION_SACK);
  if (option < 0) return highest;
  const end = option + bytes[option + 1]!;
  for (let block = option + 2; block + SACK_BLOCK_BYTES <= end; block += SACK_BLOCK_BYTES) {
    const right = i32(bytes, block + 4);
    if (((right - highest) | 0) > 0) highest = right;
  }
  return highest;
}

/** Where an option of a kind stands, whole, or -1. */
function optionAt(bytes: Uint8Array, at: number, header: number, wanted: number): number {
  const end = at + header;
  let option = at + TCP_BYTES;
  while (option < end) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return -1;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    if (option + 1 >= end) return -1;
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > end) return -1;
    if (kind === wanted) return option;
    option += length;
  }
  return -1;
}
