/**
 * UDP headers (RFC 768). `at` is the header's first byte. A checksum of 0 means "none" and stays 0.
 *
 *   0        2        4        6          8
 *   | source | dest   | length | checksum | payload
 */
import { setU16, u16 } from "./bytes.ts";

/** Heartbeats on the cluster link: the port of BFD, single hop (RFC 5881 section 4). */
export const HEARTBEAT_PORT = 3784;

export const UDP_BYTES = 8;
export const UDP_CHECKSUM = 6;

export function lengthBytes(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 4);
}

/** Writes a header; the caller sets the checksum, 0 for none. */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  sourcePort: number,
  destinationPort: number,
  length: number,
): void {
  setU16(bytes, at, sourcePort);
  setU16(bytes, at + 2, destinationPort);
  setU16(bytes, at + 4, length);
  setU16(bytes, at + UDP_CHECKSUM, 0);
}
