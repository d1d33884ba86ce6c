/**
 * Packets for tests of helpers, of both families: built and checked independently of src, byte by byte, inside a larger memory
 * whose other bytes must never change.
 */
import type { HelperPacket } from "../../../../src/dataplane/helpers/helper-context.ts";
import { internetChecksum, ip } from "../frames.ts";

/** "10.0.0.1" to a number, "2001:db8::1" to a bigint. */
export function parseIp(text: string): number | bigint {
  if (!text.includes(":")) return ip(text);
  const [head, tail] = text.split("::") as [string, string | undefined];
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function addressBytes(text: string): number[] {
  const address = parseIp(text);
  const bytes = typeof address === "number" ? 4 : 16;
  const value = BigInt(address);
  return Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * (bytes - 1 - i))) & 255n));
}

const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

export interface Spec {
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
  readonly payload?: string | Uint8Array;
  /** TCP only. */
  readonly seq?: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly options?: readonly number[];
  readonly noChecksum?: boolean;
}

export const FLAG_SYN = 2;
export const FLAG_RST = 4;
export const FLAG_PSH_ACK = 0x18;
export const FLAG_URG = 0x20;
const GUARD = 0xa5;
const FRAME_AT = 64;
export const MEMORY_BYTES = 4096;

/** A packet in the middle of a memory that is watched. */
export class TestPacket implements HelperPacket {
  readonly bytes = new Uint8Array(MEMORY_BYTES).fill(GUARD);
  readonly ipAt = FRAME_AT;
  readonly l4At: number;
  l4Bytes: number;
  totalBytes: number;
  readonly isIpv6: boolean;

  readonly protocol: number;
  isFragment = false;

  constructor(protocol: number, spec: Spec) {
    this.protocol = protocol;
    const payload =
      typeof spec.payload === "string" ? Buffer.from(spec.payload, "latin1") : (spec.payload ?? []);
    const from = addressBytes(spec.from);
    const to = addressBytes(spec.to);
    this.isIpv6 = from.length === 16;
    const segment = protocol === 6 ? tcpSegment(spec, payload) : udpDatagram(spec, payload);
    const sumAt = protocol === 6 ? 16 : 6;
    if (spec.noChecksum !== true) {
      const sum = internetChecksum(this.#pseudo(from, to, segment.length), segment);
      segment.set(u16(protocol === 17 ? sum || 0xffff : sum), sumAt);
    }
    const header = this.isIpv6
      ? [0x60, 0, 0, 0, ...u16(segment.length), protocol, 64, ...from, ...to]
      : [0x45, 0, ...u16(20 + segment.length), 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, ...from, ...to];
    if (!this.isIpv6) header.splice(10, 2, ...u16(internetChecksum(Uint8Array.from(header))));
    this.l4At = this.ipAt + header.length;
    this.l4Bytes = segment.length;
    this.totalBytes = header.length + segment.length;
    this.bytes.set([...header, ...segment], this.ipAt);
  }

  #pseudo(from: number[], to: number[], length: number): Uint8Array {
    return Uint8Array.from([...from, ...to, 0, this.protocol, ...u16(length)]);
  }

  get headerBytes(): number {
    return this.protocol === 6 ? (this.bytes[this.l4At + 12]! >> 4) * 4 : 8;
  }

  get payload(): Uint8Array {
    return this.bytes.subarray(this.l4At + this.headerBytes, this.l4At + this.l4Bytes);
  }

  get text(): string {
    return Buffer.from(this.payload).toString("latin1");
  }

  get seq(): number {
    return new DataView(this.bytes.buffer).getUint32(this.l4At + 4);
  }

  get ack(): number {
    return new DataView(this.bytes.buffer).getUint32(this.l4At + 8);
  }

  /** What is wrong with lengths and checksums, and with the memory around the packet; empty when nothing is. */
  faults(limitBytes = 1500): string[] {
    const view = new DataView(this.bytes.buffer);
    const faults: string[] = [];
    const header = this.l4At - this.ipAt;
    const segment = this.bytes.subarray(this.l4At, this.ipAt + this.totalBytes);
    const total = this.isIpv6 ? view.getUint16(this.ipAt + 4) + 40 : view.getUint16(this.ipAt + 2);
    if (total !== this.totalBytes || segment.length !== this.l4Bytes) faults.push("total length");
    if (!this.isIpv6 && internetChecksum(this.bytes.subarray(this.ipAt, this.l4At)) !== 0) {
      faults.push("header checksum");
    }
    if (this.protocol === 17 && view.getUint16(this.l4At + 4) !== segment.length) faults.push("udp length");
    const from = this.isIpv6 ? 8 : 12;
    const addresses = [...this.bytes.subarray(this.ipAt + from, this.ipAt + header)];
    const half = addresses.length / 2;
    const pseudo = this.#pseudo(addresses.slice(0, half), addresses.slice(half), segment.length);
    const isUnsummed = this.protocol === 17 && view.getUint16(this.l4At + 6) === 0;
    if (!isUnsummed && internetChecksum(pseudo, segment) !== 0) faults.push("checksum");
    if (this.totalBytes > limitBytes) faults.push("too long");
    const end = this.ipAt + Math.max(this.totalBytes, limitBytes);
    if (this.bytes.subarray(0, this.ipAt).some((byte) => byte !== GUARD))
      faults.push("wrote before the packet");
    if (this.bytes.subarray(end).some((byte) => byte !== GUARD)) faults.push("wrote behind the packet");
    return faults;
  }
}

function tcpSegment(spec: Spec, payload: ArrayLike<number>): Uint8Array {
  const options = spec.options ?? [];
  return Uint8Array.from([
    ...u16(spec.sport),
    ...u16(spec.dport),
    ...u32((spec.seq ?? 0) >>> 0),
    ...u32((spec.ack ?? 0) >>> 0),
    (5 + options.length / 4) << 4,
    spec.flags ?? FLAG_PSH_ACK,
    ...u16(65_535),
    0,
    0,
    0,
    0,
    ...options,
    ...Array.from(payload),
  ]);
}

function udpDatagram(spec: Spec, payload: ArrayLike<number>): Uint8Array {
  return Uint8Array.from([
    ...u16(spec.sport),
    ...u16(spec.dport),
    ...u16(8 + payload.length),
    0,
    0,
    ...Array.from(payload),
  ]);
}
