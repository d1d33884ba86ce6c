/**
 * Fragment pieces: owns the frames of incomplete datagrams, a list per datagram in the order of their offsets, without
 * overlap; all from one pool of fixed size. Says where a new one belongs; what follows from that is fragments.ts.
 *
 *   datagram 7:  | 0..1479 | 1480..2959 |      hole      | 4440..4999, last |
 *                ^ head                                   ^ tail
 */
import type { FragmentInfo } from "../packet/fragment.ts";
import { NONE } from "./flow-layout.ts";
import { freeLinks } from "./linked-lists.ts";

/** place(): nothing in the way. */
export const PLACE_FREE = 0;
/** The same bytes at the same place are there already. */
export const PLACE_DUPLICATE = 1;
/** Overlaps another piece, or one of the two lies beyond the datagram's end. */
export const PLACE_CONFLICT = 2;

export class FragmentPieces {
  /** Pieces in all lists. */
  used = 0;
  readonly at: Uint32Array;
  readonly lengthBytes: Uint16Array;
  readonly offsetBytes: Uint16Array;
  readonly payloadAt: Uint32Array;
  readonly payloadBytes: Uint16Array;
  readonly headBytes: Uint16Array;
  readonly isLast: Uint8Array;
  readonly port: Uint8Array;
  readonly way: Uint8Array;
  readonly wayEpoch: Int32Array;
  readonly #next: Int32Array;
  /** By datagram. */
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;
  readonly #counts: Uint16Array;
  readonly #heldBytes: Int32Array;
  #free = 0;
  /** Set by place(): the piece behind which the new one belongs. */
  #before = NONE;

  constructor(capacity: number, datagrams: number) {
    this.at = new Uint32Array(capacity);
    this.lengthBytes = new Uint16Array(capacity);
    this.offsetBytes = new Uint16Array(capacity);
    this.payloadAt = new Uint32Array(capacity);
    this.payloadBytes = new Uint16Array(capacity);
    this.headBytes = new Uint16Array(capacity);
    this.isLast = new Uint8Array(capacity);
    this.port = new Uint8Array(capacity);
    this.way = new Uint8Array(capacity);
    this.wayEpoch = new Int32Array(capacity);
    this.#next = freeLinks(capacity);
    this.#heads = new Int32Array(datagrams).fill(NONE);
    this.#tails = new Int32Array(datagrams).fill(NONE);
    this.#counts = new Uint16Array(datagrams);
    this.#heldBytes = new Int32Array(datagrams);
  }

  count(datagram: number): number {
    return this.#counts[datagram]!;
  }

  /** The piece with the lowest offset, or NONE. */
  head(datagram: number): number {
    return this.#heads[datagram]!;
  }

  /** Where a fragment belongs: PLACE_*. insert() uses the place, if nothing changes in between. */
  place(datagram: number, fragment: FragmentInfo, bytes: Uint8Array): number {
    const { offsetBytes, payloadBytes } = fragment;
    const before = this.#pieceUpTo(datagram, offsetBytes);
    const after = before === NONE ? this.#heads[datagram]! : this.#next[before]!;
    this.#before = before;
    if (before !== NONE) {
      if (this.#isCopy(before, fragment, bytes)) return PLACE_DUPLICATE;
      if (this.isLast[before] === 1) return PLACE_CONFLICT;
      if (this.offsetBytes[before]! + this.payloadBytes[before]! > offsetBytes) return PLACE_CONFLICT;
    }
    if (after === NONE) return PLACE_FREE;
    const isBeforeIt = fragment.isMore && this.offsetBytes[after]! >= offsetBytes + payloadBytes;
    return isBeforeIt ? PLACE_FREE : PLACE_CONFLICT;
  }

  /** Adds a fragment at the place that place() found; NONE when all pieces are taken. The caller fills in its origin. */
  insert(datagram: number, fragment: FragmentInfo, at: number, lengthBytes: number): number {
    const piece = this.#free;
    if (piece === NONE) return NONE;
    this.#free = this.#next[piece]!;
    this.used++;
    this.at[piece] = at;
    this.lengthBytes[piece] = lengthBytes;
    this.offsetBytes[piece] = fragment.offsetBytes;
    this.payloadAt[piece] = fragment.payloadAt;
    this.payloadBytes[piece] = fragment.payloadBytes;
    this.headBytes[piece] = fragment.headBytes;
    this.isLast[piece] = fragment.isMore ? 0 : 1;
    const before = this.#before;
    const after = before === NONE ? this.#heads[datagram]! : this.#next[before]!;
    this.#next[piece] = after;
    if (before === NONE) this.#heads[datagram] = piece;
    else this.#next[before] = piece;
    if (after === NONE) this.#tails[datagram] = piece;
    this.#counts[datagram] = this.#counts[datagram]! + 1;
    this.#heldBytes[datagram] = this.#heldBytes[datagram]! + fragment.payloadBytes;
    return piece;
  }

  /** Payload bytes of the whole datagram when all of it is there, else 0 (RFC 815: no hole is left). */
  wholeBytes(datagram: number): number {
    const tail = this.#tails[datagram]!;
    if (tail === NONE || this.isLast[tail] === 0) return 0;
    const end = this.offsetBytes[tail]! + this.payloadBytes[tail]!;
    // Pieces never overlap, so as many bytes as the datagram has are all of its bytes.
    return this.#heldBytes[datagram] === end ? end : 0;
  }

  /**
   * Bytes that the datagram would have once reassembled (RFC 8200 section 4.5: the first fragment's headers count), as far
   * as it and one more fragment tell: an end or a head that is not there yet counts as 0.
   */
  bytesWith(datagram: number, fragment: FragmentInfo): number {
    const tail = this.#tails[datagram]!;
    if (tail === NONE) return 0;
    const head = this.#heads[datagram]!;
    let end = 0;
    if (!fragment.isMore) end = fragment.offsetBytes + fragment.payloadBytes;
    else if (this.isLast[tail] === 1) end = this.offsetBytes[tail]! + this.payloadBytes[tail]!;
    if (fragment.offsetBytes === 0) return end + fragment.headBytes;
    return this.offsetBytes[head] === 0 ? end + this.headBytes[head]! : end;
  }

  /** Takes the piece with the lowest offset out of its list; its fields stay readable until insert(). NONE: no more. */
  shift(datagram: number): number {
    const piece = this.#heads[datagram]!;
    if (piece === NONE) return NONE;
    const next = this.#next[piece]!;
    this.#heads[datagram] = next;
    if (next === NONE) this.#tails[datagram] = NONE;
    this.#counts[datagram] = this.#counts[datagram]! - 1;
    this.#heldBytes[datagram] = this.#heldBytes[datagram]! - this.payloadBytes[piece]!;
    this.#next[piece] = this.#free;
    this.#free = piece;
    this.used--;
    return piece;
  }

  /** The last piece whose offset is not beyond `offsetBytes`, or NONE. Ordered arrival, either way round, takes one step. */
  #pieceUpTo(datagram: number, offsetBytes: number): number {
    const tail = this.#tails[datagram]!;
    if (tail === NONE || this.offsetBytes[tail]! <= offsetBytes) return tail;
    let found = NONE;
    let piece = this.#heads[datagram]!;
    while (this.offsetBytes[piece]! <= offsetBytes) {
      found = piece;
      piece = this.#next[piece]!;
    }
    return found;
  }

  /** RFC 8200 section 4.5: an exact duplicate is no overlap. Exact means the bytes, too. */
  #isCopy(piece: number, fragment: FragmentInfo, bytes: Uint8Array): boolean {
    if (this.offsetBytes[piece] !== fragment.offsetBytes) return false;
    if (this.payloadBytes[piece] !== fragment.payloadBytes) return false;
    if ((this.isLast[piece] === 0) !== fragment.isMore) return false;
    const one = this.payloadAt[piece]!;
    const other = fragment.payloadAt;
    for (let i = 0; i < fragment.payloadBytes; i++) {
      if (bytes[one + i] !== bytes[other + i]) return false;
    }
    return true;
  }
}
