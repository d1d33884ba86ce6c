/**
 * Addresses and frames of the forwarding bench: 64-byte UDP frames (60 without the checksum of the wire) of many flows.
 */
/** Flows differ in ten bits of the source port, which is 0x2700 in flow 0; as a little-endian machine stores them. */
export const FLOW_BITS = 0xff03;
export const UDP_SOURCE_AT = 34;
export const FRAME_BYTES = 60;
export const INSIDE_GATEWAY = "10.10.0.1";
export const OUTSIDE_GATEWAY = "198.51.100.1";
export const SNAT_ADDRESS = "198.51.100.10";
export const SERVER = "198.51.100.100";

/** The frame of flow 0: from 10.10.0.2 port 9984 to the server's port 9, no UDP checksum. */
export function firstFrame(destination: Uint8Array, source: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  const view = new DataView(frame.buffer);
  frame.set(destination, 0);
  frame.set(source, 6);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, FRAME_BYTES - 14);
  view.setUint8(22, 64);
  view.setUint8(23, 17);
  frame.set([10, 10, 0, 2], 26);
  frame.set(SERVER.split(".").map(Number), 30);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  view.setUint16(UDP_SOURCE_AT, 0x2700);
  view.setUint16(36, 9);
  view.setUint16(38, FRAME_BYTES - 34);
  return frame;
}
