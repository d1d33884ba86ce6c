/**
 * Frames for port tests: what a test sends, and how it tells that exactly this arrived.
 */
import type { FramePool } from "../../src/io/port.ts";

export const OUR_ADDRESS = [10, 9, 0, 1] as const;
export const PEER_ADDRESS = [10, 9, 0, 2] as const;
/** A destination port that `cluster` filters of the tests take, and one that they leave to the kernel. */
export const CLUSTER_UDP_PORT = 6081;
export const KERNEL_UDP_PORT = 9999;

export interface UdpShape {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  readonly udpPort: number;
  readonly lengthBytes?: number;
  readonly protocol?: number;
  /** 32-bit words; more than 5 adds no-operation options. */
  readonly headerWords?: number;
  /** Flags and offset, as on the wire. */
  readonly fragment?: number;
  readonly sequence?: number;
}

/** An Ethernet frame with an IPv4 datagram from the peer's address to ours, its header checksum right, UDP's absent. */
export function udpFrame(shape: UdpShape): Uint8Array {
  const headerBytes = (shape.headerWords ?? 5) * 4;
  const lengthBytes = shape.lengthBytes ?? 14 + headerBytes + 8 + 18;
  const frame = new Uint8Array(lengthBytes);
  const view = new DataView(frame.buffer);
  frame.set(shape.destination, 0);
  frame.set(shape.source, 6);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x40 | (shape.headerWords ?? 5));
  view.setUint16(16, lengthBytes - 14);
  view.setUint16(20, shape.fragment ?? 0);
  view.setUint8(22, 64);
  view.setUint8(23, shape.protocol ?? 17);
  frame.set(PEER_ADDRESS, 26);
  frame.set(OUR_ADDRESS, 30);
  frame.fill(1, 34, 14 + headerBytes);
  let sum = 0;
  for (let at = 14; at < 14 + headerBytes; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  const udp = 14 + headerBytes;
  view.setUint16(udp, 40_000);
  view.setUint16(udp + 2, shape.udpPort);
  view.setUint16(udp + 4, lengthBytes - udp);
  view.setUint32(udp + 8, shape.sequence ?? 0);
  return frame;
}

/** An ARP reply for PEER_ADDRESS, to `target`. */
export function arpReply(destination: Uint8Array, source: Uint8Array, target: readonly number[]): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set(destination, 0);
  frame.set(source, 6);
  frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
  frame.set(source, 22);
  frame.set(PEER_ADDRESS, 28);
  frame.set(destination, 32);
  frame.set(target, 38);
  return frame;
}

/** A frame of no known protocol, whose every byte follows from its number and length. */
export function patternFrame(
  destination: Uint8Array,
  source: Uint8Array,
  sequence: number,
  lengthBytes: number,
): Uint8Array {
  const frame = new Uint8Array(lengthBytes);
  for (let i = 18; i < lengthBytes; i++) frame[i] = (sequence * 31 + i * 7) & 0xff;
  frame.set(destination, 0);
  frame.set(source, 6);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x88b5); // Local experimental EtherType.
  view.setUint32(14, sequence);
  return frame;
}

/** Puts a frame into a pool; -1 when that is exhausted. */
export function putFrame(pool: FramePool, frame: Uint8Array): number {
  const at = pool.alloc();
  if (at >= 0) pool.bytes.set(frame, at);
  return at;
}

export function getFrame(pool: FramePool, at: number, lengthBytes: number): Uint8Array {
  return pool.bytes.slice(at, at + lengthBytes);
}
