/**
 * Captures for tests: pcap and pcapng files written byte by byte, independently of src/io/pcap.
 */

export interface Captured {
  /** Microseconds since 1970; a whole number. */
  readonly us: number;
  readonly bytes: Uint8Array;
  /** Default: the length of `bytes`. */
  readonly original?: number;
}

export interface PcapOptions {
  readonly isLittle?: boolean;
  readonly isNano?: boolean;
  readonly link?: number;
}

class Bytes {
  readonly #parts: number[] = [];
  readonly #isLittle: boolean;

  constructor(isLittle: boolean) {
    this.#isLittle = isLittle;
  }

  u16(value: number): this {
    const parts = [(value >>> 8) & 255, value & 255];
    this.#parts.push(...(this.#isLittle ? parts.reverse() : parts));
    return this;
  }

  u32(value: number): this {
    const parts = [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
    this.#parts.push(...(this.#isLittle ? parts.reverse() : parts));
    return this;
  }

  raw(bytes: Iterable<number>): this {
    this.#parts.push(...bytes);
    return this;
  }

  pad(): this {
    while (this.#parts.length % 4 !== 0) this.#parts.push(0);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#parts);
  }
}

export function pcap(packets: readonly Captured[], options: PcapOptions = {}): Uint8Array {
  const { isLittle = true, isNano = false, link = 1 } = options;
  const out = new Bytes(isLittle).u32(isNano ? 0xa1b23c4d : 0xa1b2c3d4);
  out.u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link);
  for (const { us, bytes, original } of packets) {
    out.u32(Math.floor(us / 1e6)).u32((us % 1e6) * (isNano ? 1000 : 1));
    out
      .u32(bytes.length)
      .u32(original ?? bytes.length)
      .raw(bytes);
  }
  return out.done();
}

export interface PcapngOptions {
  readonly isLittle?: boolean;
  readonly link?: number;
  readonly snap?: number;
  readonly name?: string;
  /** Value of if_tsresol. */
  readonly resolution?: number;
  /** Seconds that are added to all times. */
  readonly offset?: number;
  readonly kind?: "enhanced" | "simple" | "old";
  /** A block of a kind that nobody knows, between interface and packets. */
  readonly hasUnknown?: boolean;
}

export function pcapng(packets: readonly Captured[], options: PcapngOptions = {}): Uint8Array {
  const { isLittle = true } = options;
  const blocks = [
    section(isLittle),
    interfaceBlock(options),
    ...(options.hasUnknown ? [block(isLittle, 0x0bad, new Uint8Array(400))] : []),
    ...packets.map((packet) => packetBlock(packet, options)),
  ];
  return Uint8Array.from(blocks.flatMap((part) => [...part]));
}

export function section(isLittle: boolean): Uint8Array {
  const body = new Bytes(isLittle).u32(0x1a2b3c4d).u16(1).u16(0).u32(0xffffffff).u32(0xffffffff);
  return block(isLittle, 0x0a0d0d0a, body.done());
}

export function block(isLittle: boolean, type: number, body: Uint8Array): Uint8Array {
  const length = 12 + body.length + ((4 - (body.length % 4)) % 4);
  return new Bytes(isLittle).u32(type).u32(length).raw(body).pad().u32(length).done();
}

function interfaceBlock({
  isLittle = true,
  link = 1,
  snap = 0,
  name,
  resolution,
  offset,
}: PcapngOptions): Uint8Array {
  const body = new Bytes(isLittle).u16(link).u16(0).u32(snap);
  if (name !== undefined) body.u16(2).u16(name.length).raw(new TextEncoder().encode(name)).pad();
  if (resolution !== undefined) body.u16(9).u16(1).raw([resolution]).pad();
  if (offset !== undefined) {
    const words = [0, offset];
    body.u16(14).u16(8);
    for (const word of isLittle ? words.reverse() : words) body.u32(word);
  }
  return block(isLittle, 1, body.u16(0).u16(0).done());
}

function packetBlock({ us, bytes, original }: Captured, options: PcapngOptions): Uint8Array {
  const { isLittle = true, kind = "enhanced", resolution = 6, snap = 0 } = options;
  const length = original ?? bytes.length;
  if (kind === "simple") {
    const kept = snap === 0 ? bytes : bytes.subarray(0, snap);
    return block(isLittle, 3, new Bytes(isLittle).u32(length).raw(kept).pad().done());
  }
  const units = (resolution & 0x80) === 0 ? 10 ** resolution : 2 ** (resolution & 0x7f);
  const time = Math.floor((us * units) / 1e6);
  const body = new Bytes(isLittle);
  if (kind === "old") body.u16(0).u16(0);
  else body.u32(0);
  body.u32(Math.floor(time / 2 ** 32)).u32(time % 2 ** 32);
  return block(isLittle, kind === "old" ? 2 : 6, body.u32(bytes.length).u32(length).raw(bytes).pad().done());
}

/** An Ethernet frame around an IP packet. */
export function framed(packet: Uint8Array, type = 0x0800, tags: readonly number[] = []): Uint8Array {
  const macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
  const vlans = tags.flatMap((tag) => [0x81, 0x00, tag >> 8, tag & 255]);
  return Uint8Array.from([...macs, ...vlans, type >> 8, type & 255, ...packet]);
}

/** Linux cooked header (113). */
export function cooked(packet: Uint8Array): Uint8Array {
  return Uint8Array.from([0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 2, 0, 0, 8, 0, ...packet]);
}

/** Linux cooked header, version 2 (276). */
export function cooked2(packet: Uint8Array): Uint8Array {
  return Uint8Array.from([8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 2, 0, 0, ...packet]);
}
