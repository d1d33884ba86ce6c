/**
 * FTP helper (RFC 959, RFC 2428): lets the data connections come that a control connection announces, and rewrites what it
 * announces to what the other side can reach. Owns how far each direction's lines are read; the syntax is ftp-lines.ts.
 *
 * Only whole lines in one segment count, and only where the stream has a line's beginning: text that a command or a reply
 * merely quotes is never taken for one. So lines are read in order: a segment that comes too early is dropped, and repeated,
 * and no text is ahead of a change that moves it. Announced are own addresses and ports from 1024 on, nothing else: no other host can be opened, and no service.
 * After AUTH and its reply 234 (RFC 4217) the stream is encrypted: the helper stands down, offsets stay.
 */
import { copyAddress, isIpv4, isSameAddress } from "../../base/address.ts";
import { PROTOCOL_TCP } from "../../packet/ipv4.ts";
import { F_META, F_STATE, F_TRACKED, FLAG_REPLICA, NONE, ROW_WORDS } from "../flow-layout.ts";
import { HELPER_FTP } from "../policy-model.ts";
import {
  changePosition,
  flagsOf,
  OLD_BYTES_MAX,
  pendingBytes,
  replacementBytes,
  setFlags,
} from "./adjust.ts";
import { TOWARD_SERVER } from "./expectation.ts";
import { FtpLine, LINE_OTHER } from "./ftp-lines.ts";
import {
  announcePort,
  type Helper,
  type HelperParts,
  INSPECT_DROP,
  INSPECT_EDITED,
  INSPECT_PASS,
} from "./helper.ts";
import { DESTINATION_OUT, type HelperContext, SOURCE_IN, SOURCE_OUT } from "./helper-context.ts";
import { own, type RowBook, type RowTable, setOwn } from "./satellite.ts";
import { indexOf, isDigit, keyword, LF, SPACE, startsWith, Writer } from "./text.ts";

/** How long an announced connection may be waited for. */
const LIFE_MS = 30_000;
/** Below are services, which no transfer uses. */
const PORT_MIN = 1024;

/** Flags of the satellite. By direction: the position is known; it stands within a line. */
const KNOWN = 1;
const MIDDLE = 4;
const AUTH_ASKED = 16;
const ENCRYPTED = 32;
/** By direction: the position is as old as a record, text behind it may have passed elsewhere. */
const BEHIND = 64;
/** Where direction 1 keeps its position; direction 0: the row's state. */
const A_POSITION_1 = 7;

const AUTH = keyword("AUTH ");
const AUTH_TAKEN = keyword("234 ");
const HYPHEN = 0x2d;
const ZERO = 0x30;

export class FtpHelper implements Helper {
  readonly bit = HELPER_FTP;
  readonly protocol = PROTOCOL_TCP;
  readonly #parts: HelperParts;
  readonly #table: RowTable;
  /** Positions are published without holding packets for it. */
  readonly #book: RowBook;
  readonly #line = new FtpLine();
  readonly #writer = new Writer(128);
  /** What the lines of the segment in hand come to: kept only when the segment passes. */
  #flags = 0;
  #reply = 0;
  /** The announcement in it; offsets into the payload. */
  #found = NONE;
  #foundEnd = 0;
  /** Length of the pending change, before it was made again. */
  #oldBytes = 0;

  constructor(parts: HelperParts, table: RowTable, book: RowBook) {
    this.#parts = parts;
    this.#table = table;
    this.#book = book;
  }

  inspect(context: HelperContext): number {
    if (context.isSpecial) return INSPECT_PASS;
    const { adjuster } = this.#parts;
    const row = context.isOwner ? adjuster.ensure(context.master) : adjuster.find(context.master);
    // Another's flow of which no line is known here: nothing of it may leave ahead of a change.
    if (row === NONE) return context.isOwner ? this.#refuse() : INSPECT_DROP;
    const words = this.#table.words;
    this.#flags = flagsOf(words, row);
    if ((this.#flags & ENCRYPTED) !== 0) return INSPECT_PASS;
    const position = this.#begin(context, row);
    const skip = (position - context.sequence) | 0;
    if (skip < 0) return INSPECT_DROP;
    const again = this.#again(context, row);
    if (again === INSPECT_DROP) return INSPECT_DROP;
    // What comes behind a repeated line was counted in the line's old length.
    const grown =
      again === INSPECT_EDITED ? replacementBytes(words, row, context.direction) - this.#oldBytes : 0;
    const payloadBytes = context.payloadBytes;
    if (skip >= payloadBytes - grown) return again;
    const next = (context.sequence + payloadBytes - grown) | 0;
    this.#scan(context, skip + grown);
    let result = again;
    if (this.#found !== NONE) {
      if (again === INSPECT_EDITED) this.#parts.counters.refused();
      else result = this.#announced(context, row);
      if (result === INSPECT_DROP) return INSPECT_DROP;
    }
    // A part of a line could be the beginning of what its owner must change.
    if (!context.isOwner && (this.#flags & (MIDDLE << context.direction)) !== 0) return INSPECT_DROP;
    this.#keep(context, row, next);
    return result;
  }

  /** Whether nothing of a connection may pass unread. `row`: its satellite. */
  mustRead(row: number): boolean {
    return (flagsOf(this.#table.words, row) & ENCRYPTED) === 0;
  }

  /**
   * The receiver of `direction` acknowledged up to `ack` (sender's numbers): what was not read here went another way. Where a line
   * begins is unknown until one ends.
   */
  acknowledged(row: number, direction: number, ack: number): void {
    const flags = flagsOf(this.#table.words, row);
    if ((flags & (KNOWN << direction)) === 0 || ((ack - this.#positionOf(row, direction)) | 0) <= 0) return;
    // After a takeover that is the same as the first that is seen: it begins a line.
    const isBehind = (flags & (BEHIND << direction)) !== 0;
    const middle = MIDDLE << direction;
    setFlags(this.#table.words, row, isBehind ? flags & ~middle : flags | middle);
    this.#setPosition(row, direction, ack);
  }

  /** Where the direction's unread text begins, in its sender's numbers. */
  #begin(context: HelperContext, row: number): number {
    const { direction, sequence } = context;
    const words = this.#table.words;
    const base = row * ROW_WORDS;
    if ((words[base + F_META]! & FLAG_REPLICA) !== 0) {
      // Another node read until now, maybe further than its last record says.
      words[base + F_META] = words[base + F_META]! & ~FLAG_REPLICA;
      words[base + F_TRACKED] = 0;
      this.#flags |= BEHIND | (BEHIND << 1);
      setFlags(words, row, this.#flags);
    }
    this.#reply = words[base + F_TRACKED]!;
    const isKnown = (this.#flags & (KNOWN << direction)) !== 0;
    let position = this.#positionOf(row, direction);
    if (!isKnown) {
      position = sequence;
    } else if ((this.#flags & (BEHIND << direction)) === 0) {
      return position;
    } else if (((sequence - position) | 0) > 0) {
      position = sequence;
      this.#flags &= ~(MIDDLE << direction);
    }
    // The first that the owner sees begins a line, and from there on all is in order. Others wait for the owner.
    if (!context.isOwner) return isKnown ? this.#positionOf(row, direction) : (sequence - 1) | 0;
    this.#setPosition(row, direction, position);
    this.#flags = (this.#flags | (KNOWN << direction)) & ~(BEHIND << direction);
    setFlags(words, row, this.#flags);
    return position;
  }

  #keep(context: HelperContext, row: number, position: number): void {
    const words = this.#table.words;
    this.#setPosition(row, context.direction, position);
    words[row * ROW_WORDS + F_TRACKED] = this.#reply;
    this.#flags = (this.#flags | (KNOWN << context.direction)) & ~(BEHIND << context.direction);
    setFlags(words, row, this.#flags);
    if (context.isOwner) this.#book.change(row);
  }

  #positionOf(row: number, direction: number): number {
    const words = this.#table.words;
    return direction === 0 ? words[row * ROW_WORDS + F_STATE]! : own(words, row, A_POSITION_1);
  }

  #setPosition(row: number, direction: number, position: number): void {
    const words = this.#table.words;
    if (direction === 0) words[row * ROW_WORDS + F_STATE] = position;
    else setOwn(words, row, A_POSITION_1, position);
  }

  /** A repeated segment with the last change, which its receiver may lack: the same text again, no new offset. */
  #again(context: HelperContext, row: number): number {
    const { direction, payloadAt } = context;
    const words = this.#table.words;
    const old = pendingBytes(words, row, direction);
    this.#oldBytes = old;
    if (old === 0) return INSPECT_PASS;
    const from = (changePosition(words, row, direction) - context.sequence) | 0;
    const to = from + old;
    if (to <= 0 || from >= context.payloadBytes) return INSPECT_PASS;
    // A keep-alive: shiftSequence() knows it.
    if (context.payloadBytes === 1 && to === 1) return INSPECT_PASS;
    if (from < 0 || to > context.payloadBytes) return INSPECT_DROP;
    const line = this.#line;
    if (line.read(context.bytes, payloadAt + from, payloadAt + to, direction === 1) === LINE_OTHER) {
      return INSPECT_DROP;
    }
    const port = this.#parts.adjuster.markOf(row, direction);
    this.#writer.reset();
    line.write(this.#writer, context.words, SOURCE_OUT, port);
    const newBytes = old - (line.to - line.from) + this.#writer.length;
    if (newBytes !== replacementBytes(words, row, direction) || !context.isIntact()) return INSPECT_DROP;
    return this.#write(context) ? INSPECT_EDITED : INSPECT_DROP;
  }

  /** Reads the lines from an offset of the payload on. */
  #scan(context: HelperContext, offset: number): void {
    const { bytes, payloadAt, end, direction } = context;
    const middle = MIDDLE << direction;
    let at = payloadAt + offset;
    this.#found = NONE;
    if ((this.#flags & middle) !== 0) {
      at = indexOf(bytes, at, end, LF) + 1;
      if (at > end) return;
      this.#flags &= ~middle;
    }
    while (at < end) {
      const lineEnd = indexOf(bytes, at, end, LF) + 1;
      if (lineEnd > end) {
        this.#flags |= middle;
        return;
      }
      const isCandidate =
        direction === 0 ? this.#readCommand(bytes, at, lineEnd) : this.#readReply(bytes, at, lineEnd);
      if (isCandidate && this.#line.read(bytes, at, lineEnd, direction === 1) !== LINE_OTHER) {
        if (this.#found !== NONE) this.#parts.counters.refused();
        else {
          this.#found = at - payloadAt;
          this.#foundEnd = lineEnd - payloadAt;
        }
      }
      at = lineEnd;
    }
  }

  #readCommand(bytes: Uint8Array, at: number, end: number): boolean {
    if (!startsWith(bytes, at, end, AUTH)) return true;
    this.#flags |= AUTH_ASKED;
    return false;
  }

  /** Lines inside a reply of several lines (RFC 959 section 4.2) are text. */
  #readReply(bytes: Uint8Array, at: number, end: number): boolean {
    const isReply =
      at + 4 <= end && isDigit(bytes[at]!) && isDigit(bytes[at + 1]!) && isDigit(bytes[at + 2]!);
    const code = isReply
      ? (bytes[at]! - ZERO) * 100 + (bytes[at + 1]! - ZERO) * 10 + bytes[at + 2]! - ZERO
      : NONE;
    const mark = isReply ? bytes[at + 3]! : 0;
    if (this.#reply !== 0) {
      if (code === this.#reply && mark === SPACE) this.#reply = 0;
      return false;
    }
    if (isReply && mark === HYPHEN) {
      this.#reply = code;
      return false;
    }
    if ((this.#flags & AUTH_ASKED) !== 0 && isReply) {
      if (startsWith(bytes, at, end, AUTH_TAKEN)) this.#flags |= ENCRYPTED;
      else if (code >= 400) this.#flags &= ~AUTH_ASKED;
    }
    return isReply;
  }

  /** The segment announces a connection: expects it, and rewrites the line where the other side sees other addresses. */
  #announced(context: HelperContext, row: number): number {
    const { adjuster } = this.#parts;
    const { direction, payloadAt, words } = context;
    const line = this.#line;
    const oldBytes = this.#foundEnd - this.#found;
    line.read(context.bytes, payloadAt + this.#found, payloadAt + this.#foundEnd, direction === 1);
    if (!this.#isAllowed(context) || oldBytes > OLD_BYTES_MAX || !context.isIntact()) return this.#refuse();
    // Not decided in another's stead; what follows waits too, so that no text leaves ahead of a change.
    if (!context.isOwner) return INSPECT_DROP;
    // A change that its receiver did not acknowledge yet: once more, later.
    const isTranslated = context.isSourceTranslated;
    if (isTranslated && pendingBytes(this.#table.words, row, direction) !== 0) return INSPECT_DROP;
    const port = this.#expect(context);
    if (port === NONE) return INSPECT_PASS;
    const isSame =
      port === line.port && (!line.hasAddress || isSameAddress(line.address, 0, words, SOURCE_OUT));
    if (isSame) return INSPECT_PASS;
    this.#writer.reset();
    line.write(this.#writer, words, SOURCE_OUT, port);
    const newBytes = oldBytes - (line.to - line.from) + this.#writer.length;
    if (context.isUrgent || !context.fits(context.payloadBytes + newBytes - oldBytes)) return this.#refuse();
    const sequence = (context.sequence + this.#found) | 0;
    // Published before the segment leaves: whoever takes over must know the offset.
    if (!adjuster.change(row, direction, sequence, oldBytes, newBytes, port)) return INSPECT_DROP;
    return this.#write(context) ? INSPECT_EDITED : INSPECT_DROP;
  }

  #isAllowed(context: HelperContext): boolean {
    const { address, hasAddress, port } = this.#line;
    const { words } = context;
    if (port < PORT_MIN) return false;
    // Both sides of a translated connection speak one family here; FTP across families is not helped (RFC 6384).
    if (isIpv4(words, SOURCE_IN) !== isIpv4(words, SOURCE_OUT)) return false;
    // An end that knows how it looks from outside may say so itself.
    return (
      !hasAddress ||
      isSameAddress(address, 0, words, SOURCE_IN) ||
      isSameAddress(address, 0, words, SOURCE_OUT)
    );
  }

  /** The port that the other side shall connect to, once it is expected; NONE when refused. */
  #expect(context: HelperContext): number {
    const { request, limits, expectations } = this.#parts;
    const { words, master, direction } = context;
    request.master = master;
    request.protocol = PROTOCOL_TCP;
    request.kind = direction === 1 ? TOWARD_SERVER : 0;
    copyAddress(request.words, 0, words, DESTINATION_OUT);
    copyAddress(request.words, 4, words, SOURCE_OUT);
    request.realPort = this.#line.port;
    // A server connects from the port next to its own (RFC 959 section 3.2); a client from any.
    request.likelySourcePort = direction === 0 ? (context.destinationPortOut - 1) & 0xffff : 0;
    request.lifeMs = LIFE_MS;
    request.call = 0;
    request.stream = 0;
    request.isControl = false;
    request.perMasterMax = limits.ftpPerMaster;
    request.isReplacing = true;
    if (!announcePort(this.#parts, context)) return NONE;
    return expectations.expect(request) === NONE ? NONE : request.port;
  }

  #write(context: HelperContext): boolean {
    const line = this.#line;
    const offset = line.from - context.payloadAt;
    if (!context.edit(offset, line.to - line.from, this.#writer.bytes, this.#writer.length)) return false;
    this.#parts.counters.edited();
    return true;
  }

  #refuse(): number {
    this.#parts.counters.refused();
    return INSPECT_PASS;
  }
}
