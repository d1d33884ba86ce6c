/**
 * Fragments for tests: whole Ethernet frames with IPv4 or IPv6 fragments, built independently of src/packet, and a small
 * world around a Fragments table that keeps account of every frame.
 */
import { hashKeyFrom } from "../../../src/base/hash.ts";
import { COUNTER_CELLS } from "../../../src/dataplane/counters.ts";
import { type FragmentLimits, fragmentLimits } from "../../../src/dataplane/fragment-limits.ts";
import { COMPLETE, Fragments } from "../../../src/dataplane/fragments.ts";
import { DIRECT } from "../../../src/dataplane/packet.ts";
import { DROP_REASONS, VERDICT_DROP_BASE, verdictName } from "../../../src/dataplane/verdict.ts";
import { createMemoryPool } from "../../../src/io/memory.ts";
import { FRAGMENT_PART, FragmentInfo, readFragment } from "../../../src/packet/fragment.ts";
import { internetChecksum, ip } from "./frames.ts";

export const KEY = hashKeyFrom(Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1));

export interface FragmentSpec {
  /** Dotted, or the 16 bytes of an IPv6 address. */
  readonly from?: string | Uint8Array;
  readonly to?: string | Uint8Array;
  readonly id?: number;
  readonly protocol?: number;
  readonly offset: number;
  readonly more: boolean;
  readonly payload: Uint8Array;
  readonly df?: boolean;
  /** IPv4 options; a multiple of 4 bytes. */
  readonly options?: Uint8Array;
  /** IPv6: extension headers before the fragment header, of which `firstExtension` is the first. */
  readonly extensions?: Uint8Array;
  readonly firstExtension?: number;
}

/** An IPv6 address from its first 64 bits and its last byte. */
export function ipv6(high: number, low: number, last: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, high);
  new DataView(bytes.buffer).setUint32(4, low);
  bytes[15] = last;
  return bytes;
}

/** An IP packet, without a link header, that is the fragment. */
export function fragmentPacket(spec: FragmentSpec): Uint8Array {
  return typeof (spec.from ?? "") === "string" ? ipv4Fragment(spec) : ipv6Fragment(spec);
}

function ipv4Fragment(spec: FragmentSpec): Uint8Array {
  const options = spec.options ?? new Uint8Array(0);
  const header = new Uint8Array(20 + options.length);
  const view = new DataView(header.buffer);
  header[0] = 0x40 | (header.length / 4);
  view.setUint16(2, header.length + spec.payload.length);
  view.setUint16(4, spec.id ?? 1);
  view.setUint16(6, (spec.df ? 0x4000 : 0) | (spec.more ? 0x2000 : 0) | (spec.offset / 8));
  header[8] = 64;
  header[9] = spec.protocol ?? 17;
  view.setUint32(12, ip((spec.from as string) ?? "10.0.0.1"));
  view.setUint32(16, ip((spec.to as string) ?? "192.0.2.1"));
  header.set(options, 20);
  view.setUint16(10, internetChecksum(header));
  return Uint8Array.from([...header, ...spec.payload]);
}

function ipv6Fragment(spec: FragmentSpec): Uint8Array {
  const extensions = spec.extensions ?? new Uint8Array(0);
  const header = new Uint8Array(40 + extensions.length + 8);
  const view = new DataView(header.buffer);
  header[0] = 0x60;
  view.setUint16(4, extensions.length + 8 + spec.payload.length);
  header[6] = extensions.length === 0 ? 44 : (spec.firstExtension ?? 0);
  header[7] = 64;
  header.set(spec.from as Uint8Array, 8);
  header.set((spec.to as Uint8Array) ?? ipv6(0x20010db8, 2, 2), 24);
  header.set(extensions, 40);
  const at = 40 + extensions.length;
  header[at] = spec.protocol ?? 17;
  view.setUint16(at + 2, spec.offset | (spec.more ? 1 : 0));
  view.setUint32(at + 4, spec.id ?? 1);
  return Uint8Array.from([...header, ...spec.payload]);
}

/** Bytes that tell where in which datagram they belong; a UDP header's worth of anything in front is fine. */
export function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 101 + (i >> 8)) & 255);
}

/** A payload cut into fragments of at most `room` bytes (a multiple of 8). */
export function cutPayload(
  payload: Uint8Array,
  room: number,
): { offset: number; more: boolean; payload: Uint8Array }[] {
  const pieces = [];
  for (let offset = 0; offset < payload.length; offset += room) {
    const more = offset + room < payload.length;
    pieces.push({ offset, more, payload: payload.slice(offset, offset + room) });
  }
  return pieces;
}

export interface Origin {
  readonly port?: number;
  readonly zone?: number;
  readonly way?: number;
  readonly wayEpoch?: number;
}

export interface Taken {
  readonly offset: number;
  readonly payload: Uint8Array;
  readonly port: number;
  readonly zone: number;
  readonly way: number;
  readonly wayEpoch: number;
}

/** A table, its pool, and the clock; what add() drops is counted as the engine does. */
export class FragmentWorld {
  readonly pool;
  readonly clock = Float64Array.of(1_000_000.5);
  readonly counters = new Float64Array(COUNTER_CELLS);
  readonly limits: FragmentLimits;
  readonly table: Fragments;
  readonly info = new FragmentInfo();
  /** Frames handed in, and handed out again. */
  framesIn = 0;
  framesOut = 0;

  constructor(limits: Partial<FragmentLimits> = {}, chunks = 512) {
    this.pool = createMemoryPool(chunks);
    const context = { frames: this.pool, counters: this.counters, clock: this.clock, key: KEY };
    this.limits = fragmentLimits(this.pool.chunks, undefined, { framesMax: 128, ...limits });
    this.table = new Fragments(context, this.limits);
  }

  /** Adds a fragment; what it answered, by name. */
  add(spec: FragmentSpec, origin: Origin = {}): string {
    const packet = fragmentPacket(spec);
    const at = this.pool.alloc();
    this.pool.bytes.set(packet, at + 14);
    const read = readFragment(this.pool.bytes, at + 14, packet.length, this.info);
    if (read !== FRAGMENT_PART) throw new Error(`not a fragment: ${read}`);
    this.framesIn++;
    const { port = 0, zone = 1, way = DIRECT, wayEpoch = 0 } = origin;
    const answer = this.table.add(this.info, at, packet.length + 14, port, zone, way, wayEpoch);
    if (answer >= VERDICT_DROP_BASE) this.counters[answer] = this.counters[answer]! + 1;
    return answer === COMPLETE ? "complete" : verdictName(answer);
  }

  /** What the whole datagram consists of. */
  take(): Taken[] {
    const taken: Taken[] = [];
    while (this.table.take()) taken.push(this.#handed());
    return taken;
  }

  /** Expires until nothing is over time; the first fragments that were handed out. */
  expire(): Taken[] {
    const taken: Taken[] = [];
    while (this.table.takeExpired()) taken.push(this.#handed());
    return taken;
  }

  wait(ms: number): void {
    this.clock[0] = this.clock[0]! + ms;
  }

  drops(reason: (typeof DROP_REASONS)[number]): number {
    return this.counters[VERDICT_DROP_BASE + DROP_REASONS.indexOf(reason)]!;
  }

  /** Frames counted as dropped, for whatever reason. */
  allDrops(): number {
    return DROP_REASONS.reduce((sum, reason) => sum + this.drops(reason), 0);
  }

  /** Frames that are neither in the pool nor in the table. Every one handed in must be in one place. */
  lost(): number {
    return this.pool.chunks - this.pool.available() - this.table.frames;
  }

  #handed(): Taken {
    const { at, lengthBytes, port, zone, way, wayEpoch, offsetBytes } = this.table;
    this.framesOut++;
    const info = new FragmentInfo();
    readFragment(this.pool.bytes, at + 14, lengthBytes - 14, info);
    const payload = this.pool.bytes.slice(info.payloadAt, info.payloadAt + info.payloadBytes);
    if (info.offsetBytes !== offsetBytes) throw new Error("another frame than its fields say");
    this.pool.free(at);
    return { offset: offsetBytes, payload, port, zone, way, wayEpoch };
  }
}

/** The payload that the pieces make together; throws when they do not follow each other. */
export function joined(pieces: readonly Taken[]): Uint8Array {
  const bytes: number[] = [];
  for (const piece of pieces) {
    if (piece.offset !== bytes.length) throw new Error(`a piece at ${piece.offset} follows ${bytes.length}`);
    bytes.push(...piece.payload);
  }
  return Uint8Array.from(bytes);
}
