/**
 * Sequence adjustment: keeps both ends of a TCP connection in step when a middlebox changes the length of what one of them
 * said, or spoke for the other one with another initial number (SYN proxy). Owns the words of the connection's satellite (205)
 * and the rewriting of numbers; not the text.
 *
 * All that this node keeps of a connection (windows, positions) is in the numbers of whoever sends; only what leaves carries
 * the numbers that its receiver knows:
 *
 *   arrives --> restoreAck() --> tracker, helper --> settle() --> shiftSequence() --> leaves
 *
 * Of a direction only the last change is known: the bytes [position, position + old) of the sender became others.
 *
 *   sender's numbers     ------------|--- old ---|-------------    offset `before` left of the change, `after` right of it
 *   receiver's numbers   ------------|----- new -----|---------    new - old = after - before
 *
 * As soon as the receiver acknowledged all of it, the change is settled: `before` becomes `after`. Whatever the sender repeats of
 * the time before is then wholly old to the receiver, with this offset as with any other that puts its end at or before what
 * was acknowledged. So a second change while one is not settled is refused: the sender repeats itself, and then it is.
 *
 *   words   0 position 0 | 1 before 0 | 2 after 0 | 3 position 1 | 4 before 1 | 5 after 1 | 6 old 0, old 1, flags | 7 free
 *   The last bit of word 6 is the SYN proxy's (defence/syn-proxy.ts); while it is set, so is everything else.
 */
import { i32, setI32, setU16, u16 } from "../../packet/bytes.ts";
import { adjusted32 } from "../../packet/checksum.ts";
import { ICMP_CHECKSUM } from "../../packet/icmp.ts";
import * as tcp from "../../packet/tcp.ts";
import {
  D_DEADLINE,
  D_PACKETS,
  F_META,
  F_PLACE,
  F_RULE,
  FLAG_ADJUSTED,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../flow-layout.ts";
import { ADJUSTMENT_TCP } from "../satellites.ts";
import { own, portsOf, type RowBook, type RowTable, readTuple, setOwn, TUPLE_WORDS } from "./satellite.ts";

const A_POSITION = 0;
const A_BEFORE = 1;
const A_AFTER = 2;
/** Words of a direction. */
const A_DIRECTION = 3;
const A_PACKED = 6;
/** A change replaces at most this many bytes. */
export const OLD_BYTES_MAX = 255;
const FLAGS_AT = 16;

/** shiftSequence(): the segment may leave. */
export const SHIFTED = 0;
/** It holds a part of a changed span that the receiver may lack: no numbers suit it. Drop it, the sender repeats itself. */
export const SPLITS_CHANGE = 1;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_SACK = 5;

/** Bytes of the sender that the last change of a direction replaced; 0 when there is none, or it is settled. */
export function pendingBytes(words: Int32Array, row: number, direction: number): number {
  return (own(words, row, A_PACKED) >>> (8 * direction)) & 0xff;
}

/** Where the last change of a direction begins, in its sender's numbers. */
export function changePosition(words: Int32Array, row: number, direction: number): number {
  return own(words, row, direction * A_DIRECTION + A_POSITION);
}

/** Bytes that stand for the pending change's old ones. */
export function replacementBytes(words: Int32Array, row: number, direction: number): number {
  const at = direction * A_DIRECTION;
  return (
    pendingBytes(words, row, direction) +
    ((own(words, row, at + A_AFTER) - own(words, row, at + A_BEFORE)) | 0)
  );
}

/** Sixteen bits beside the numbers, for the helper of the connection; the last one is not its own. */
export function flagsOf(words: Int32Array, row: number): number {
  return own(words, row, A_PACKED) >>> FLAGS_AT;
}

export function setFlags(words: Int32Array, row: number, flags: number): void {
  setOwn(words, row, A_PACKED, (own(words, row, A_PACKED) & 0xffff) | (flags << FLAGS_AT));
}

/** A number of the sender of `direction` as the receiver knows it. */
export function toReceiver(words: Int32Array, row: number, direction: number, sequence: number): number {
  const at = direction * A_DIRECTION;
  const into = (sequence - own(words, row, at + A_POSITION)) | 0;
  const before = own(words, row, at + A_BEFORE);
  const after = own(words, row, at + A_AFTER);
  // A probe stands one byte before what was sent: inside the change, but right of all that the receiver may lack.
  return (sequence + (before === after || into > 0 ? after : before)) | 0;
}

/**
 * A number of the sender of `direction` as the receiver gave it back. Inside the replaced bytes, an end of what was received
 * (`isStart` false) goes down to their beginning and a start up to their end: a part of the new text is nothing of the old one.
 */
export function toSender(
  words: Int32Array,
  row: number,
  direction: number,
  number: number,
  isStart: boolean,
): number {
  const at = direction * A_DIRECTION;
  const before = own(words, row, at + A_BEFORE);
  const after = own(words, row, at + A_AFTER);
  if (before === after && pendingBytes(words, row, direction) === 0) return (number - after) | 0;
  const start = own(words, row, at + A_POSITION);
  const end = (start + pendingBytes(words, row, direction)) | 0;
  if (((number - ((end + after) | 0)) | 0) >= 0) return (number - after) | 0;
  if (((number - ((start + before) | 0)) | 0) <= 0) return (number - before) | 0;
  return isStart ? end : start;
}

/** A segment of `direction` as it arrived: its acknowledgement and SACK blocks (RFC 2018) in the other end's numbers. */
export function restoreAck(
  words: Int32Array,
  row: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  header: number,
): void {
  if ((tcp.flags(bytes, at) & tcp.ACK) === 0) return;
  const other = 1 - direction;
  replaceNumber(bytes, at, at + 8, toSender(words, row, other, tcp.acknowledgement(bytes, at), false));
  if (header > tcp.TCP_BYTES) restoreSack(words, row, other, bytes, at, at + header);
}

/** A segment of `direction` as it leaves: its sequence number as the receiver knows it. SHIFTED or SPLITS_CHANGE. */
export function shiftSequence(
  words: Int32Array,
  row: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  dataBytes: number,
  isRewritten: boolean,
): number {
  const sequence = tcp.sequence(bytes, at);
  const old = pendingBytes(words, row, direction);
  if (old > 0 && dataBytes > 0 && !isRewritten) {
    const start = changePosition(words, row, direction);
    const left = (sequence - start) | 0;
    const right = (left + dataBytes) | 0;
    // A keep-alive may repeat the last byte (RFC 9293 section 3.8.4): a line's end, the same in both texts.
    const isProbe = dataBytes === 1 && left === old - 1;
    if (left < old && right > 0 && !isProbe) return SPLITS_CHANGE;
  }
  replaceNumber(bytes, at, at + 4, toReceiver(words, row, direction, sequence));
  return SHIFTED;
}

/**
 * The header of a segment of `direction` inside an ICMP error, as its sender sent it. The error begins at `icmpAt` and ends at
 * `end`; its checksum stays as right as it was. Eight bytes of the segment are enough (RFC 792).
 */
export function restoreEmbedded(
  words: Int32Array,
  row: number,
  direction: number,
  bytes: Uint8Array,
  icmpAt: number,
  at: number,
  end: number,
): void {
  const sequence = toSender(words, row, direction, tcp.sequence(bytes, at), false);
  if (at + tcp.TCP_CHECKSUM + 2 <= end) {
    replaceNumber(bytes, at, at + 4, sequence);
    if ((tcp.flags(bytes, at) & tcp.ACK) === 0) return;
    replaceNumber(bytes, at, at + 8, toReceiver(words, row, 1 - direction, tcp.acknowledgement(bytes, at)));
    return;
  }
  // Without a checksum of its own in between, the error's sees the change.
  const check = icmpAt + ICMP_CHECKSUM;
  setU16(bytes, check, adjusted32(u16(bytes, check), tcp.sequence(bytes, at), sequence));
  setI32(bytes, at + 4, sequence);
}

/** Makes, finds and changes the satellites. */
export class Adjuster {
  readonly #table: RowTable;
  readonly #book: RowBook;
  readonly #tuple = new Int32Array(2 * TUPLE_WORDS);

  constructor(table: RowTable, book: RowBook) {
    this.#table = table;
    this.#book = book;
  }

  /** The satellite of the connection in `master`, or NONE. */
  find(master: number): number {
    const words = this.#table.words;
    if ((words[master * ROW_WORDS + F_META]! & FLAG_ADJUSTED) === 0) return NONE;
    const entry = this.#at(master, 0);
    return entry === NONE || (entry & 1) !== 0 ? NONE : entry >> 1;
  }

  /** The entry of satellites that holds a tuple of `master`, or NONE. */
  #at(master: number, tuple: number): number {
    const words = this.#table.words;
    readTuple(words, master, tuple, this.#tuple, 0);
    return this.#table.find(ADJUSTMENT_TCP, this.#tuple, 0, portsOf(words, master, tuple));
  }

  /**
   * Ends what other connections left behind under the tuples of `master`: their owner died before it could tell of all. False: it is
   * in a slot that is not this connection's.
   */
  #clear(master: number): boolean {
    const words = this.#table.words;
    for (let tuple = 0; tuple < 2; tuple++) {
      const entry = this.#at(master, tuple);
      if (entry === NONE) continue;
      const place = (entry >> 1) * ROW_WORDS + F_PLACE;
      if (((words[place]! ^ words[master * ROW_WORDS + F_PLACE]!) & 0xffff) !== 0) return false;
      this.#book.end(entry >> 1);
    }
    return true;
  }

  /** The satellite of `master`, made if there is none; NONE when there is no room for it. */
  ensure(master: number): number {
    const found = this.find(master);
    if (found !== NONE) return found;
    if (!this.#clear(master)) return NONE;
    const table = this.#table;
    const { words, doubles } = table;
    const row = this.#book.allocateFor(master);
    if (row === NONE) return NONE;
    const base = row * ROW_WORDS;
    const from = master * ROW_WORDS;
    readTuple(words, master, 0, this.#tuple, 0);
    readTuple(words, master, 1, this.#tuple, TUPLE_WORDS);
    words[base + F_META] = ADJUSTMENT_TCP;
    table.setTuple(row, 0, this.#tuple, 0, this.#tuple, 4, portsOf(words, master, 0));
    table.setTuple(row, 1, this.#tuple, TUPLE_WORDS, this.#tuple, TUPLE_WORDS + 4, portsOf(words, master, 1));
    words[base + F_PLACE] = words[from + F_PLACE]!;
    words[base + F_RULE] = words[from + F_RULE]!;
    doubles[row * ROW_DOUBLES + D_DEADLINE] = doubles[master * ROW_DOUBLES + D_DEADLINE]!;
    this.#book.enter(row);
    this.#book.change(row);
    words[from + F_META] = words[from + F_META]! | FLAG_ADJUSTED;
    this.#book.change(master);
    return row;
  }

  /** Shifts a whole direction by a constant (SYN proxy): receiver's number = sender's number + offset. */
  setConstant(row: number, direction: number, offset: number): void {
    const words = this.#table.words;
    setOwn(words, row, direction * A_DIRECTION + A_BEFORE, offset);
    setOwn(words, row, direction * A_DIRECTION + A_AFTER, offset);
    this.#book.change(row);
  }

  /**
   * Notes and publishes that `oldBytes` (1..OLD_BYTES_MAX) bytes from `sequence` on became `newBytes` others, before the segment
   * leaves. No text behind it may have left yet. `mark` is kept with it: what the helper needs to make the same text again. False: a change is not settled yet.
   */
  change(
    row: number,
    direction: number,
    sequence: number,
    oldBytes: number,
    newBytes: number,
    mark: number,
  ): boolean {
    const { words, doubles } = this.#table;
    if (pendingBytes(words, row, direction) !== 0 || oldBytes > OLD_BYTES_MAX) return false;
    const at = direction * A_DIRECTION;
    const before = own(words, row, at + A_AFTER);
    setOwn(words, row, at + A_POSITION, sequence);
    setOwn(words, row, at + A_BEFORE, before);
    setOwn(words, row, at + A_AFTER, (before + newBytes - oldBytes) | 0);
    setOwn(words, row, A_PACKED, own(words, row, A_PACKED) | (oldBytes << (8 * direction)));
    doubles[row * ROW_DOUBLES + D_PACKETS + direction] = mark;
    this.#book.change(row);
    return true;
  }

  /** What change() was given last. */
  markOf(row: number, direction: number): number {
    return this.#table.doubles[row * ROW_DOUBLES + D_PACKETS + direction]! | 0;
  }

  /** The receiver of `direction` acknowledged up to `ack` (sender's numbers), and the tracker believes it. */
  settle(row: number, direction: number, ack: number): void {
    const words = this.#table.words;
    const old = pendingBytes(words, row, direction);
    if (old === 0) return;
    const at = direction * A_DIRECTION;
    if (((ack - own(words, row, at + A_POSITION)) | 0) < old) return;
    setOwn(words, row, at + A_BEFORE, own(words, row, at + A_AFTER));
    setOwn(words, row, A_PACKED, own(words, row, A_PACKED) & ~(0xff << (8 * direction)));
    this.#book.change(row);
  }
}

/** Replaces a 32-bit number of a TCP header, at any alignment, and mends the checksum (RFC 1624). */
function replaceNumber(bytes: Uint8Array, header: number, at: number, after: number): void {
  const before = i32(bytes, at);
  if (before === after) return;
  setI32(bytes, at, after);
  const check = header + tcp.TCP_CHECKSUM;
  // At an odd place its bytes lie in three words of the sum: the same sum as of the number turned by eight bits.
  const isOdd = ((at - header) & 1) !== 0;
  const from = isOdd ? (before << 8) | (before >>> 24) : before;
  const to = isOdd ? (after << 8) | (after >>> 24) : after;
  setU16(bytes, check, adjusted32(u16(bytes, check), from, to));
}

function restoreSack(
  words: Int32Array,
  row: number,
  direction: number,
  bytes: Uint8Array,
  header: number,
  end: number,
): void {
  let option = header + tcp.TCP_BYTES;
  while (option < end) {
    const kind = bytes[option]!;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    if (option + 1 >= end) return;
    const length = bytes[option + 1]!;
    if (length < 2 || option + length > end) return;
    if (kind === OPTION_SACK) {
      for (let block = option + 2; block + 8 <= option + length; block += 8) {
        replaceNumber(bytes, header, block, toSender(words, row, direction, i32(bytes, block), true));
        replaceNumber(
          bytes,
          header,
          block + 4,
          toSender(words, row, direction, i32(bytes, block + 4), false),
        );
      }
    }
    option += length;
  }
}
