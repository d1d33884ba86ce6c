/**
 * Text: numbers, addresses and words in ASCII as helpers read and write them, straight in bytes: no strings, no patterns,
 * nothing allocated. Owns no protocol.
 */
import { isIpv4, setIpv4 } from "../../base/address.ts";

export const CR = 0x0d;
export const LF = 0x0a;
export const SPACE = 0x20;
export const TAB = 0x09;
export const COMMA = 0x2c;
export const DOT = 0x2e;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const EQUALS = 0x3d;
export const GREATER = 0x3e;
export const AT = 0x40;
export const OPEN = 0x28;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;
const ZERO = 0x30;

/** A word to look for: upper case ASCII. For set-up only. */
export function keyword(text: string): Uint8Array {
  return Uint8Array.from(text.toUpperCase(), (letter) => letter.charCodeAt(0));
}

export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9;
}

export function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

/** 0..15, or -1. */
function hexValue(byte: number): number {
  if (isDigit(byte)) return byte - ZERO;
  const upper = byte & 0xdf;
  return upper >= 0x41 && upper <= 0x46 ? upper - 0x37 : -1;
}

/** Whether `word` stands at `at`, in any case of its letters. */
export function startsWith(bytes: Uint8Array, at: number, end: number, word: Uint8Array): boolean {
  if (at + word.length > end) return false;
  for (let i = 0; i < word.length; i++) {
    const wanted = word[i]!;
    const byte = bytes[at + i]!;
    if (byte === wanted) continue;
    if (wanted < 0x41 || wanted > 0x5a || byte !== (wanted | 0x20)) return false;
  }
  return true;
}

/** Where `byte` stands from `at` on; `end` when nowhere. */
export function indexOf(bytes: Uint8Array, at: number, end: number, byte: number): number {
  let cursor = at;
  while (cursor < end && bytes[cursor] !== byte) cursor++;
  return cursor;
}

/** The first byte from `at` on that is neither space nor tab. */
export function skipBlanks(bytes: Uint8Array, at: number, end: number): number {
  let cursor = at;
  while (cursor < end && isBlank(bytes[cursor]!)) cursor++;
  return cursor;
}

/** Reads along a span; whoever reads checks `isOk` at the end. */
export class Scanner {
  at = 0;
  /** False once something did not read as asked. */
  isOk = true;
  readonly #groups = new Int32Array(8);
  #bytes: Uint8Array = new Uint8Array(0);
  #end = 0;

  start(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
    this.isOk = true;
  }

  /** The byte under the cursor, or -1 at the end. */
  peek(): number {
    return this.at < this.#end ? this.#bytes[this.at]! : -1;
  }

  /** Takes exactly this byte. */
  take(byte: number): void {
    if (this.peek() === byte) this.at++;
    else this.isOk = false;
  }

  skipBlanks(): void {
    this.at = skipBlanks(this.#bytes, this.at, this.#end);
  }

  /** A decimal number of at most `digits` digits and at most `max`; 0 when there is none. */
  number(max: number, digits: number): number {
    const start = this.at;
    let value = 0;
    while (this.at < this.#end && this.at - start < digits && isDigit(this.#bytes[this.at]!)) {
      value = value * 10 + this.#bytes[this.at]! - ZERO;
      this.at++;
    }
    const isLonger = this.at < this.#end && isDigit(this.#bytes[this.at]!);
    if (this.at === start || isLonger || value > max) this.isOk = false;
    return this.isOk ? value : 0;
  }

  /** A dotted IPv4 address (with `separator` for the dots), as words. */
  ipv4(words: Int32Array, at: number, separator: number): void {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      if (i > 0) this.take(separator);
      value = (value << 8) | this.number(255, 3);
    }
    if (this.isOk) setIpv4(words, at, value);
  }

  /** An IPv6 address (RFC 4291 section 2.2), as words; IPv4-mapped ones are refused. */
  ipv6(words: Int32Array, at: number): void {
    const groups = this.#groups;
    groups.fill(0);
    let count = 0;
    let gap = -1;
    if (this.peek() === COLON) {
      this.take(COLON);
      this.take(COLON);
      gap = 0;
    }
    while (this.isOk && count < 8 && hexValue(this.peek()) >= 0) {
      if (this.#isDotted()) {
        if (count > 6) this.isOk = false;
        else count = this.#tail(count);
        break;
      }
      groups[count++] = this.#group();
      if (this.peek() !== COLON || count === 8) break;
      this.take(COLON);
      if (this.peek() === COLON) {
        if (gap >= 0) this.isOk = false;
        this.take(COLON);
        gap = count;
      } else if (hexValue(this.peek()) < 0) {
        this.isOk = false;
      }
    }
    if (gap < 0 ? count !== 8 : count > 7) this.isOk = false;
    if (!this.isOk) return;
    if (gap >= 0) {
      groups.copyWithin(8 - (count - gap), gap, count);
      groups.fill(0, gap, 8 - (count - gap));
    }
    for (let i = 0; i < 4; i++) words[at + i] = (groups[2 * i]! << 16) | groups[2 * i + 1]!;
    if (isIpv4(words, at)) this.isOk = false;
  }

  /** Either family, by its looks. */
  address(words: Int32Array, at: number): void {
    if (this.#isDotted()) this.ipv4(words, at, DOT);
    else this.ipv6(words, at);
  }

  #isDotted(): boolean {
    let cursor = this.at;
    while (cursor < this.#end && cursor - this.at < 4 && isDigit(this.#bytes[cursor]!)) cursor++;
    return cursor > this.at && cursor < this.#end && this.#bytes[cursor] === DOT;
  }

  #group(): number {
    let value = 0;
    let digits = 0;
    for (let next = hexValue(this.peek()); next >= 0 && digits < 5; next = hexValue(this.peek())) {
      value = (value << 4) | next;
      digits++;
      this.at++;
    }
    if (digits > 4) this.isOk = false;
    return value & 0xffff;
  }

  /** An IPv4 address as the last two groups. */
  #tail(count: number): number {
    for (let i = 0; i < 4; i++) {
      if (i > 0) this.take(DOT);
      const group = count + (i >> 1);
      this.#groups[group] = (this.#groups[group]! << 8) | this.number(255, 3);
    }
    return count + 2;
  }
}

/** Writes into a fixed buffer; what does not fit is left out and `isFull` says so. */
export class Writer {
  readonly bytes: Uint8Array;
  length = 0;
  isFull = false;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  reset(): void {
    this.length = 0;
    this.isFull = false;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.isFull = true;
    else this.bytes[this.length++] = value;
  }

  copy(from: Uint8Array, at: number, end: number): void {
    if (end <= at) return;
    if (this.length + end - at > this.bytes.length) {
      this.isFull = true;
      return;
    }
    for (let i = at; i < end; i++) this.bytes[this.length++] = from[i]!;
  }

  word(word: Uint8Array): void {
    this.copy(word, 0, word.length);
  }

  decimal(value: number): void {
    let unit = 1;
    while (unit * 10 <= value) unit *= 10;
    for (let left = value; unit >= 1; unit = Math.floor(unit / 10)) {
      const digit = Math.floor(left / unit);
      this.byte(ZERO + digit);
      left -= digit * unit;
    }
  }

  /** An IPv4 address with `separator` for its dots. */
  ipv4(words: Int32Array, at: number, separator: number): void {
    const value = words[at + 3]!;
    for (let shift = 24; shift >= 0; shift -= 8) {
      this.decimal((value >>> shift) & 0xff);
      if (shift > 0) this.byte(separator);
    }
  }

  /** An address of either family, IPv6 as RFC 5952 has it. */
  address(words: Int32Array, at: number): void {
    if (isIpv4(words, at)) this.ipv4(words, at, DOT);
    else this.#ipv6(words, at);
  }

  #ipv6(words: Int32Array, at: number): void {
    let gap = -1;
    let gapEnd = -1;
    // The longest run of at least two zero groups, the first one of equals (RFC 5952 section 4.2).
    for (let from = 0; from < 8; from++) {
      let to = from;
      while (to < 8 && groupOf(words, at, to) === 0) to++;
      if (to - from > Math.max(1, gapEnd - gap)) {
        gap = from;
        gapEnd = to;
      }
      if (to > from) from = to;
    }
    for (let group = 0; group < 8; group++) {
      if (group === gap) {
        this.byte(COLON);
        this.byte(COLON);
        group = gapEnd - 1;
        continue;
      }
      if (group > 0 && group !== gapEnd) this.byte(COLON);
      this.#hex(groupOf(words, at, group));
    }
  }

  #hex(value: number): void {
    let isBegun = false;
    for (let shift = 12; shift >= 0; shift -= 4) {
      const digit = (value >>> shift) & 15;
      if (digit === 0 && !isBegun && shift > 0) continue;
      isBegun = true;
      this.byte(digit < 10 ? ZERO + digit : 0x57 + digit);
    }
  }
}

function groupOf(words: Int32Array, at: number, group: number): number {
  const word = words[at + (group >> 1)]!;
  return (group & 1) === 0 ? word >>> 16 : word & 0xffff;
}
