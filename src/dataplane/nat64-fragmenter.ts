/**
 * NAT64 fragmenter: cuts an IPv6 packet that was an IPv4 packet without DF, since no router behind us may (RFC 7915 section 4). Owns
 * the form of the fragments; a packet that is a fragment itself is cut further in the same way.
 *
 *   frame       | link header | IPv6          | 0 ................ n |
 *   pieces[0]   | link header | IPv6 | fragment header | 0 .. a |        the same frame: headers moved forward, the rest cut off
 *   pieces[i]   | link header | IPv6 | fragment header | a .. b |        new ones
 */
import { setI32, setU16, u16 } from "../packet/bytes.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import { FRAGMENT_BYTES, IPV6_BYTES, nextHeader, PROTOCOL_FRAGMENT, payloadBytes } from "../packet/ipv6.ts";
import { COUNT, count, type EngineContext } from "./context.ts";

/** A frame of 2048 bytes makes two at the least MTU of IPv6. */
const PIECES_MAX = 8;
const HEADERS_BYTES = IPV6_BYTES + FRAGMENT_BYTES;
const MORE = 1;

export class Nat64Fragmenter {
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
   * Cuts the packet at `ipAt`, which has at most a fragment header between header and payload, into pieces of at most `mtuBytes`.
   * False: there are not frames enough, or it would be too many pieces; nothing has happened.
   */
  cut(ipAt: number, mtuBytes: number, identification: number): boolean {
    const { frames, counters } = this.#context;
    const bytes = frames.bytes;
    const isPart = nextHeader(bytes, ipAt) === PROTOCOL_FRAGMENT;
    const from = ipAt + (isPart ? HEADERS_BYTES : IPV6_BYTES);
    const payload = ipAt + IPV6_BYTES + payloadBytes(bytes, ipAt) - from;
    const room = (mtuBytes - HEADERS_BYTES) & ~7;
    const pieces = Math.ceil(payload / room);
    if (pieces < 2 || pieces > PIECES_MAX) return false;
    if (frames.available() < pieces - 1 + this.#freeFramesMin) return false;
    const next = isPart ? bytes[ipAt + IPV6_BYTES]! : nextHeader(bytes, ipAt);
    const field = isPart ? u16(bytes, ipAt + IPV6_BYTES + 2) : 0;
    const id = isPart ? u16(bytes, ipAt + IPV6_BYTES + 6) : identification;
    for (let piece = 1; piece < pieces; piece++) {
      const made = frames.alloc();
      if (made < 0) return this.#giveBack(piece);
      const ip = made + ETHERNET_BYTES;
      const offset = piece * room;
      const length = Math.min(room, payload - offset);
      bytes.copyWithin(ip, ipAt, ipAt + IPV6_BYTES);
      bytes.copyWithin(ip + HEADERS_BYTES, from + offset, from + offset + length);
      // The last piece of a fragment is followed by what followed the fragment.
      const isMore = piece < pieces - 1 || (field & MORE) !== 0;
      finish(bytes, ip, next, length, (field & ~7) + offset, isMore, id);
      this.at[piece] = made;
      this.lengthBytes[piece] = ETHERNET_BYTES + HEADERS_BYTES + length;
    }
    // The frame itself comes last, since the others were copied from it.
    const ip = from - HEADERS_BYTES;
    bytes.copyWithin(ip, ipAt, ipAt + IPV6_BYTES);
    finish(bytes, ip, next, room, field & ~7, true, id);
    this.at[0] = ip - ETHERNET_BYTES;
    this.lengthBytes[0] = ETHERNET_BYTES + HEADERS_BYTES + room;
    this.pieces = pieces;
    count(counters, COUNT.fragmentedPackets);
    return true;
  }

  #giveBack(made: number): false {
    for (let piece = 1; piece < made; piece++) this.#context.frames.free(this.at[piece]!);
    this.pieces = 0;
    return false;
  }
}

/** Length and fragment header of a piece; `offset` is in bytes, a multiple of 8. */
function finish(
  bytes: Uint8Array,
  ip: number,
  next: number,
  payload: number,
  offset: number,
  isMore: boolean,
  identification: number,
): void {
  const fragment = ip + IPV6_BYTES;
  setU16(bytes, ip + 4, FRAGMENT_BYTES + payload);
  bytes[ip + 6] = PROTOCOL_FRAGMENT;
  bytes[fragment] = next;
  bytes[fragment + 1] = 0;
  setU16(bytes, fragment + 2, offset | (isMore ? MORE : 0));
  setI32(bytes, fragment + 4, identification);
}
