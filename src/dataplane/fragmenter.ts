/**
 * Fragmenter: cuts an IPv4 packet without DF that is larger than the way out (RFC 791 section 3.2), on egress, when all else
 * is done to it. Owns the form of the fragments; that IPv6 is never cut (RFC 8200 section 5), and DF not either, its
 * callers know. A packet that is a fragment itself is cut further in the same way.
 *
 *   frame       | link header | IPv4, options   | 0 ................ n |
 *   pieces[0]   | link header | IPv4, options   | 0 .. a |               the same frame, cut off
 *   pieces[i]   | link header | IPv4, copied options | a .. b |          new ones: the last one ends like the packet
 */
import { setU16, u16 } from "../packet/bytes.ts";
import { checksum } from "../packet/checksum.ts";
import { IPV4_BYTES, IPV4_CHECKSUM, OPTION_END, OPTION_NOP, totalBytes } from "../packet/ipv4.ts";
import { COUNT, count, type EngineContext } from "./context.ts";

/** RFC 791 section 3.2: what every link carries. */
const MTU_BYTES_MIN = 68;
/** Pieces of one packet; a frame of 1,774 bytes at an MTU of 68 without options makes 37. */
const PIECES_MAX = 64;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;
/** Bit of an option's type: it is in all fragments (RFC 791 section 3.1). */
const OPTION_COPIED = 0x80;

export class Fragmenter {
  /** After cut(): the pieces, in order. */
  pieces = 0;
  readonly at = new Uint32Array(PIECES_MAX);
  readonly lengthBytes = new Uint16Array(PIECES_MAX);
  readonly #context: Pick<EngineContext, "frames" | "counters">;
  readonly #freeFramesMin: number;

  constructor(context: Pick<EngineContext, "frames" | "counters">, freeFramesMin: number) {
    this.#context = context;
    this.#freeFramesMin = freeFramesMin;
  }

  /**
   * Cuts the packet at `ipAt`, in the frame that begins at `at`, into pieces of at most `mtuBytes`. The caller owns the frames
   * of all pieces. False: there are not frames enough, or it would be too many pieces; nothing has happened.
   */
  cut(at: number, ipAt: number, mtuBytes: number): boolean {
    const { frames, counters } = this.#context;
    const bytes = frames.bytes;
    const header = (bytes[ipAt]! & 15) << 2;
    const total = totalBytes(bytes, ipAt);
    const payload = total - header;
    const later = laterHeaderBytes(bytes, ipAt, header);
    const firstRoom = (mtuBytes - header) & ~7;
    const laterRoom = (mtuBytes - later) & ~7;
    const pieces = total <= mtuBytes ? 1 : 1 + Math.ceil((payload - firstRoom) / laterRoom);
    if (mtuBytes < MTU_BYTES_MIN || pieces > PIECES_MAX) return false;
    if (frames.available() < pieces - 1 + this.#freeFramesMin) return false;
    this.at[0] = at;
    this.lengthBytes[0] = ipAt - at + total;
    this.pieces = pieces;
    if (pieces === 1) return true;
    const field = u16(bytes, ipAt + 6);
    for (let piece = 1; piece < pieces; piece++) {
      const made = frames.alloc();
      if (made < 0) return this.#giveBack(piece);
      const from = firstRoom + (piece - 1) * laterRoom;
      const isLast = piece === pieces - 1;
      const length = isLast ? payload - from : laterRoom;
      const ip = made + ipAt - at;
      bytes.copyWithin(made, at, ipAt + IPV4_BYTES);
      copyOptions(bytes, ipAt, header, ip, later);
      bytes.copyWithin(ip + later, ipAt + header + from, ipAt + header + from + length);
      finish(bytes, ip, later, length, field + (from >>> 3), !isLast);
      this.at[piece] = made;
      this.lengthBytes[piece] = ipAt - at + later + length;
    }
    // The frame itself comes last, since the others were copied from it.
    finish(bytes, ipAt, header, firstRoom, field, true);
    this.lengthBytes[0] = ipAt - at + header + firstRoom;
    count(counters, COUNT.fragmentedPackets);
    return true;
  }

  #giveBack(made: number): false {
    for (let piece = 1; piece < made; piece++) this.#context.frames.free(this.at[piece]!);
    this.pieces = 0;
    return false;
  }
}

/** Length, offset, flags and checksum of a piece; `field` holds the packet's own flags and the piece's offset. */
function finish(
  bytes: Uint8Array,
  ip: number,
  header: number,
  payload: number,
  field: number,
  hasMore: boolean,
): void {
  // The last piece of a fragment is followed by what followed the fragment.
  const flags = (field & ~OFFSET_MASK) | (hasMore ? MORE_FRAGMENTS : 0);
  setU16(bytes, ip + 2, header + payload);
  setU16(bytes, ip + 6, flags | (field & OFFSET_MASK));
  setU16(bytes, ip + IPV4_CHECKSUM, 0);
  setU16(bytes, ip + IPV4_CHECKSUM, checksum(bytes, ip, header));
}

/** Bytes of the header of all pieces but the first. */
function laterHeaderBytes(bytes: Uint8Array, ipAt: number, header: number): number {
  let copied = 0;
  for (let at = ipAt + IPV4_BYTES; at < ipAt + header; ) {
    const length = optionBytes(bytes, at, ipAt + header);
    if (length === 0) break;
    if ((bytes[at]! & OPTION_COPIED) !== 0) copied += length;
    at += length;
  }
  return IPV4_BYTES + ((copied + 3) & ~3);
}

/** Writes the header length and the options with the copied bit, padded with ends of the list. */
function copyOptions(bytes: Uint8Array, ipAt: number, header: number, ip: number, later: number): void {
  let to = ip + IPV4_BYTES;
  for (let at = ipAt + IPV4_BYTES; at < ipAt + header; ) {
    const length = optionBytes(bytes, at, ipAt + header);
    if (length === 0) break;
    if ((bytes[at]! & OPTION_COPIED) !== 0) {
      bytes.copyWithin(to, at, at + length);
      to += length;
    }
    at += length;
  }
  bytes.fill(OPTION_END, to, ip + later);
  bytes[ip] = 0x40 | (later >>> 2);
}

/** Bytes of the option at `at`; 0 when the list ends there, or the option runs over its space. */
function optionBytes(bytes: Uint8Array, at: number, end: number): number {
  const kind = bytes[at]!;
  if (kind === OPTION_END) return 0;
  if (kind === OPTION_NOP) return 1;
  if (at + 1 >= end) return 0;
  const length = bytes[at + 1]!;
  return length < 2 || at + length > end ? 0 : length;
}
