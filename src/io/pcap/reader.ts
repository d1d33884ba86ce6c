/**
 * Capture reader: packets of a pcap or pcapng file, one after the other, in bounded memory. Owns both formats; what a link
 * type puts before the IP packet is link.ts. Every length is checked before it is used, and against a limit before memory is
 * taken for it. A file that ends within a record, or is damaged, ends the reading: `problem` tells where and why, and what
 * was read before stands.
 *
 *   pcap     | magic, version, ..., snap length, link type | time, captured, original | bytes | ...
 *   pcapng   | type, length | body ............ | length |    blocks: section (SHB), interface (IDB), packets (EPB, SPB, PB)
 *
 * Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 */
import { SynwallError } from "../../base/errors.ts";
import { CaptureSource } from "./source.ts";

/** Longest packet that is taken: libpcap's own limit. */
const PACKET_BYTES_MAX = 262_144;
/** Longest pcapng block that is kept in memory: a packet with its options. */
const BLOCK_BYTES_MAX = PACKET_BYTES_MAX + 65_536;
const INTERFACES_MAX = 4096;

const PCAP_HEADER_BYTES = 24;
const PCAP_RECORD_BYTES = 16;
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;

const BLOCK_SECTION = 0x0a0d0d0a;
const BLOCK_INTERFACE = 1;
const BLOCK_PACKET = 2;
const BLOCK_SIMPLE = 3;
const BLOCK_ENHANCED = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type, length and the length again. */
const BLOCK_OVERHEAD_BYTES = 12;
const OPTION_INTERFACE_NAME = 2;
const OPTION_RESOLUTION = 9;
const OPTION_OFFSET = 14;

/** One packet of a capture. `bytes` is valid until the next one is read. */
export interface CapturedPacket {
  /** Milliseconds since 1970, with what fraction the file has. */
  readonly timeMs: number;
  /** LINKTYPE_* number. */
  readonly linkType: number;
  /** Name of the interface that captured it, where the file says so; else "". */
  readonly interfaceName: string;
  readonly bytes: Uint8Array;
  /** Length on the wire; more than `bytes` has when the capture cut it short. */
  readonly originalBytes: number;
}

interface CaptureInterface {
  readonly linkType: number;
  readonly snapBytes: number;
  readonly name: string;
  /** Units of its time stamps in a millisecond, and what is added to them. */
  readonly unitsPerMs: number;
  readonly offsetMs: number;
}

export class CaptureReader {
  readonly format: "pcap" | "pcapng";
  /** Why reading ended before the end of the file: one line without the file's name. */
  problem: string | undefined;
  readonly #source: CaptureSource;
  #isLittleEndian = true;
  #interfaces: CaptureInterface[] = [];
  #lastMs = 0;

  /** Throws SW_CAPTURE_INVALID when the file cannot be read or is neither pcap nor pcapng. */
  constructor(path: string) {
    this.#source = new CaptureSource(path);
    try {
      this.format = this.#begin();
    } catch (error) {
      this.#source.close();
      throw error;
    }
  }

  /** The next packet; undefined at the end, or when `problem` is set. */
  next(): CapturedPacket | undefined {
    if (this.problem !== undefined) return undefined;
    return this.format === "pcap" ? this.#nextRecord() : this.#nextBlock();
  }

  close(): void {
    this.#source.close();
  }

  #begin(): "pcap" | "pcapng" {
    const start = this.#source.peek(4);
    if (start === undefined) throw this.#refuse("it is empty or shorter than a header");
    const magic = viewOf(start).getUint32(0, true);
    if (magic === BLOCK_SECTION) return "pcapng";
    const header = this.#source.take(PCAP_HEADER_BYTES);
    if (header === undefined) throw this.#refuse("it is shorter than its header");
    const view = viewOf(header);
    for (const isLittle of [true, false]) {
      const found = view.getUint32(0, isLittle);
      if (found !== MAGIC_MICROSECONDS && found !== MAGIC_NANOSECONDS) continue;
      const [major, minor] = [view.getUint16(4, isLittle), view.getUint16(6, isLittle)];
      if (major !== 2) throw this.#refuse(`its version is ${major}.${minor}, and only 2.4 is known`);
      this.#isLittleEndian = isLittle;
      this.#interfaces = [
        {
          // The upper bits tell of a check sequence behind the frame; the IP packet's own length leaves it out.
          linkType: view.getUint32(20, isLittle) & 0xffff,
          snapBytes: PACKET_BYTES_MAX,
          name: "",
          unitsPerMs: found === MAGIC_NANOSECONDS ? 1e6 : 1e3,
          offsetMs: 0,
        },
      ];
      return "pcap";
    }
    throw this.#refuse("it does not begin like pcap or pcapng");
  }

  #nextRecord(): CapturedPacket | undefined {
    if (this.#source.isAtEnd()) return undefined;
    const at = this.#source.offset;
    const header = this.#source.take(PCAP_RECORD_BYTES);
    if (header === undefined) return this.#stop(at, "the file ends within a record's header");
    const view = viewOf(header);
    const from = this.#interfaces[0]!;
    const seconds = view.getUint32(0, this.#isLittleEndian);
    const fraction = view.getUint32(4, this.#isLittleEndian);
    const capturedBytes = view.getUint32(8, this.#isLittleEndian);
    const originalBytes = view.getUint32(12, this.#isLittleEndian);
    if (capturedBytes > PACKET_BYTES_MAX) {
      return this.#stop(at, `a packet of ${capturedBytes} bytes is longer than any capture has`);
    }
    const bytes = this.#source.take(capturedBytes);
    if (bytes === undefined) return this.#stop(at, "the file ends within a packet");
    return this.#packet(from, seconds * 1000 + fraction / from.unitsPerMs, bytes, originalBytes);
  }

  #nextBlock(): CapturedPacket | undefined {
    for (;;) {
      if (this.#source.isAtEnd()) return undefined;
      const at = this.#source.offset;
      if (this.#source.peek(8) === undefined) return this.#stop(at, "the file ends within a block's header");
      if (this.#word(0, true) === BLOCK_SECTION && !this.#beginSection(at)) return undefined;
      const type = this.#word(0, this.#isLittleEndian);
      const lengthBytes = this.#word(4, this.#isLittleEndian);
      if (lengthBytes < BLOCK_OVERHEAD_BYTES || lengthBytes % 4 !== 0) {
        return this.#stop(at, `a block cannot be ${lengthBytes} bytes long`);
      }
      if (
        type !== BLOCK_INTERFACE &&
        type !== BLOCK_PACKET &&
        type !== BLOCK_SIMPLE &&
        type !== BLOCK_ENHANCED
      ) {
        if (!this.#source.skip(lengthBytes)) return this.#stop(at, "the file ends within a block");
        continue;
      }
      if (lengthBytes > BLOCK_BYTES_MAX) {
        return this.#stop(at, `a packet's block of ${lengthBytes} bytes is longer than any capture has`);
      }
      const block = this.#source.take(lengthBytes);
      if (block === undefined) return this.#stop(at, "the file ends within a block");
      const body = block.subarray(8, lengthBytes - 4);
      if (type === BLOCK_INTERFACE) {
        if (!this.#addInterface(at, body)) return undefined;
        continue;
      }
      return this.#readPacketBlock(at, type, body);
    }
  }

  /** A word of the header that next() found to be there. */
  #word(at: number, isLittle: boolean): number {
    return viewOf(this.#source.peek(8)!).getUint32(at, isLittle);
  }

  /** Byte order of the section that begins here; its interfaces are numbered anew. */
  #beginSection(at: number): boolean {
    const head = this.#source.peek(12);
    if (head === undefined) {
      this.#stop(at, "the file ends within a section's header");
      return false;
    }
    const isLittle = viewOf(head).getUint32(8, true) === BYTE_ORDER_MAGIC;
    if (!isLittle && viewOf(head).getUint32(8, false) !== BYTE_ORDER_MAGIC) {
      this.#stop(at, "a section's byte order cannot be told");
      return false;
    }
    this.#isLittleEndian = isLittle;
    this.#interfaces = [];
    return true;
  }

  #addInterface(at: number, body: Uint8Array): boolean {
    if (body.length < 8 || this.#interfaces.length >= INTERFACES_MAX) {
      this.#stop(at, body.length < 8 ? "an interface's block is too short" : "there are too many interfaces");
      return false;
    }
    const view = viewOf(body);
    const isLittle = this.#isLittleEndian;
    const snapBytes = view.getUint32(4, isLittle);
    let name = "";
    let unitsPerMs = 1e3;
    let offsetMs = 0;
    for (const { code, value } of optionsOf(body, 8, isLittle)) {
      if (code === OPTION_INTERFACE_NAME) name = new TextDecoder().decode(value).replaceAll("\0", "");
      if (code === OPTION_RESOLUTION && value.length === 1) unitsPerMs = resolution(value[0]!);
      if (code === OPTION_OFFSET && value.length === 8) {
        offsetMs = Number(viewOf(value).getBigInt64(0, isLittle)) * 1000;
      }
    }
    this.#interfaces.push({
      linkType: view.getUint16(0, isLittle),
      snapBytes: snapBytes === 0 ? PACKET_BYTES_MAX : snapBytes,
      name,
      unitsPerMs,
      offsetMs,
    });
    return true;
  }

  #readPacketBlock(at: number, type: number, body: Uint8Array): CapturedPacket | undefined {
    const isLittle = this.#isLittleEndian;
    const headBytes = type === BLOCK_SIMPLE ? 4 : 20;
    if (body.length < headBytes) return this.#stop(at, "a packet's block is too short for its header");
    const view = viewOf(body);
    const index =
      type === BLOCK_SIMPLE
        ? 0
        : type === BLOCK_ENHANCED
          ? view.getUint32(0, isLittle)
          : view.getUint16(0, isLittle);
    const from = this.#interfaces[index];
    if (from === undefined)
      return this.#stop(at, `a packet is of interface ${index}, which no block describes`);
    const room = body.length - headBytes;
    if (type === BLOCK_SIMPLE) {
      const originalBytes = view.getUint32(0, isLittle);
      const capturedBytes = Math.min(originalBytes, from.snapBytes);
      if (capturedBytes > room) return this.#stop(at, "a packet is longer than its block");
      return this.#packet(from, this.#lastMs, body.subarray(4, 4 + capturedBytes), originalBytes);
    }
    const capturedBytes = view.getUint32(12, isLittle);
    if (capturedBytes > room) return this.#stop(at, "a packet is longer than its block");
    const high = view.getUint32(4, isLittle) * (2 ** 32 / from.unitsPerMs);
    const timeMs = high + view.getUint32(8, isLittle) / from.unitsPerMs + from.offsetMs;
    return this.#packet(from, timeMs, body.subarray(20, 20 + capturedBytes), view.getUint32(16, isLittle));
  }

  #packet(from: CaptureInterface, timeMs: number, bytes: Uint8Array, originalBytes: number): CapturedPacket {
    this.#lastMs = timeMs;
    return {
      timeMs,
      linkType: from.linkType,
      interfaceName: from.name,
      bytes,
      originalBytes: Math.max(originalBytes, bytes.length),
    };
  }

  #stop(at: number, why: string): undefined {
    this.problem = `damaged at byte ${at}: ${why}`;
    return undefined;
  }

  #refuse(why: string): SynwallError {
    const path = this.#source.path;
    return new SynwallError(
      "SW_CAPTURE_INVALID",
      `${path}: not a capture: ${why}; give a pcap or pcapng file`,
      {
        path,
      },
    );
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Units in a millisecond: a power of ten, or of two when the first bit is set. */
function resolution(value: number): number {
  const exponent = value & 0x7f;
  return ((value & 0x80) === 0 ? 10 ** exponent : 2 ** exponent) / 1000;
}

/** Options of a block up to their end, or to the first one that does not fit. */
function* optionsOf(
  body: Uint8Array,
  from: number,
  isLittle: boolean,
): Generator<{ readonly code: number; readonly value: Uint8Array }> {
  const view = viewOf(body);
  let at = from;
  while (at + 4 <= body.length) {
    const code = view.getUint16(at, isLittle);
    const lengthBytes = view.getUint16(at + 2, isLittle);
    if (code === 0 || at + 4 + lengthBytes > body.length) return;
    yield { code, value: body.subarray(at + 4, at + 4 + lengthBytes) };
    at += 4 + ((lengthBytes + 3) & ~3);
  }
}
