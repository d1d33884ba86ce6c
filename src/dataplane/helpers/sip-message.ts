/**
 * SIP message: where the parts of a message stand that the helper reads or changes (RFC 3261 section 7, compact forms of section
 * 7.3.3, folded lines of section 7.3.1). Owns the reading; keeps offsets, copies nothing.
 *
 * Whatever does not read as a whole message in one datagram is none: parse() says false.
 */
import {
  COLON,
  CR,
  indexOf,
  isBlank,
  keyword,
  LF,
  Scanner,
  SEMICOLON,
  SPACE,
  skipBlanks,
  startsWith,
} from "./text.ts";

export const METHOD_OTHER = 0;
export const METHOD_INVITE = 1;
export const METHOD_BYE = 3;
export const METHOD_CANCEL = 4;
export const METHOD_REGISTER = 5;
/** By METHOD_*; those without a constant are told apart from "other" only. */
const METHODS = ["", "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "UPDATE", "PRACK"].map(keyword);

export const HEADER_VIA = 1;
export const HEADER_CONTACT = 4;
export const HEADER_RECORD_ROUTE = 6;
export const HEADER_CONTENT_LENGTH = 7;
const HEADER_CONTENT_TYPE = 8;
const HEADER_CALL_ID = 9;
const HEADER_CSEQ = 10;
const HEADER_EXPIRES = 11;
const HEADER_OTHER = 0;
/** By HEADER_*, where there is a constant: long name, and the letter that stands for it. */
const NAMES = [
  "",
  "Via",
  "From",
  "To",
  "Contact",
  "Route",
  "Record-Route",
  "Content-Length",
  "Content-Type",
  "Call-ID",
  "CSeq",
  "Expires",
].map(keyword);
const LETTERS = keyword("\0VFTM\0\0LCI\0\0");

const VERSION = keyword("SIP/2.0");
const SDP = keyword("application/sdp");
const EXPIRES_PARAMETER = keyword(";expires=");
/** Headers of the kinds above that a message may have; what has more is left alone. */
const HEADERS_MAX = 64;
const CONTENT_BYTES_MAX = 65_535;
const SECONDS_MAX = 0x7fffffff;
const ABSENT = -1;

export class SipMessage {
  isRequest = false;
  /** METHOD_* of a request, or of the request that a response answers. */
  method = METHOD_OTHER;
  /** Of a response; 0 in requests. */
  status = 0;
  /** A request's URI. */
  uriAt = 0;
  uriEnd = 0;
  bodyAt = 0;
  bodyEnd = 0;
  hasSdp = false;
  /** Hash of Call-ID, never 0. */
  call = 0;
  /** Seconds of the Expires header, or -1. */
  expires = ABSENT;
  headers = 0;
  readonly kind = new Uint8Array(HEADERS_MAX);
  readonly valueAt = new Int32Array(HEADERS_MAX);
  readonly valueEnd = new Int32Array(HEADERS_MAX);
  readonly #scanner = new Scanner();
  #contentLength = ABSENT;
  #seen = 0;

  /** Reads the message in [at, end). */
  parse(bytes: Uint8Array, at: number, end: number): boolean {
    this.headers = 0;
    this.status = 0;
    this.method = METHOD_OTHER;
    this.hasSdp = false;
    this.expires = ABSENT;
    this.#contentLength = ABSENT;
    this.#seen = 0;
    let line = lineEnd(bytes, at, end);
    if (line === end || !this.#startLine(bytes, at, trimmed(bytes, at, line))) return false;
    let cursor = line + 1;
    for (;;) {
      line = lineEnd(bytes, cursor, end);
      if (line >= end) return false;
      const textEnd = trimmed(bytes, cursor, line);
      if (textEnd === cursor) break;
      // A line that begins with a blank goes on with the header before it.
      while (line + 1 < end && isBlank(bytes[line + 1]!)) {
        line = lineEnd(bytes, line + 1, end);
        if (line >= end) return false;
      }
      if (!this.#header(bytes, cursor, trimmed(bytes, cursor, line))) return false;
      cursor = line + 1;
    }
    return this.#finish(line + 1, end);
  }

  /** The expires parameter of a Contact value, the Expires header, or an hour (RFC 3261 section 10.3): seconds. */
  expiresOf(bytes: Uint8Array, at: number, end: number): number {
    for (let cursor = at; cursor < end; cursor++) {
      if (bytes[cursor] !== SEMICOLON || !startsWith(bytes, cursor, end, EXPIRES_PARAMETER)) continue;
      this.#scanner.start(bytes, cursor + EXPIRES_PARAMETER.length, end);
      const seconds = this.#scanner.number(SECONDS_MAX, 10);
      if (this.#scanner.isOk) return seconds;
    }
    return this.expires === ABSENT ? 3600 : this.expires;
  }

  #startLine(bytes: Uint8Array, at: number, end: number): boolean {
    if (startsWith(bytes, at, end, VERSION)) {
      this.isRequest = false;
      this.#scanner.start(bytes, at + VERSION.length, end);
      this.#scanner.take(SPACE);
      this.status = this.#scanner.number(699, 3);
      return this.#scanner.isOk && this.status >= 100;
    }
    this.isRequest = true;
    const methodEnd = indexOf(bytes, at, end, SPACE);
    this.uriAt = methodEnd + 1;
    this.uriEnd = indexOf(bytes, this.uriAt, end, SPACE);
    this.method = methodOf(bytes, at, methodEnd);
    const rest = this.uriEnd + 1;
    return (
      methodEnd > at &&
      this.uriEnd > this.uriAt &&
      end - rest === VERSION.length &&
      startsWith(bytes, rest, end, VERSION)
    );
  }

  #header(bytes: Uint8Array, at: number, end: number): boolean {
    const colon = indexOf(bytes, at, end, COLON);
    if (colon === end) return false;
    let nameEnd = colon;
    while (nameEnd > at && isBlank(bytes[nameEnd - 1]!)) nameEnd--;
    const kind = headerOf(bytes, at, nameEnd);
    if (kind === HEADER_OTHER) return true;
    if (this.headers === HEADERS_MAX) return false;
    const value = skipBlanks(bytes, colon + 1, end);
    this.kind[this.headers] = kind;
    this.valueAt[this.headers] = value;
    this.valueEnd[this.headers] = end;
    this.headers++;
    // What may stand once only, stands once: else two ends could read two messages.
    const isSingle = kind >= HEADER_CONTENT_LENGTH;
    if (isSingle && (this.#seen & (1 << kind)) !== 0) return false;
    this.#seen |= 1 << kind;
    return this.#value(bytes, kind, value, end);
  }

  #value(bytes: Uint8Array, kind: number, at: number, end: number): boolean {
    const scanner = this.#scanner;
    scanner.start(bytes, at, end);
    switch (kind) {
      case HEADER_CONTENT_LENGTH:
        this.#contentLength = scanner.number(CONTENT_BYTES_MAX, 5);
        return scanner.isOk && scanner.peek() === ABSENT;
      case HEADER_CONTENT_TYPE: {
        const after = at + SDP.length;
        this.hasSdp =
          startsWith(bytes, at, end, SDP) &&
          (after === end || isBlank(bytes[after]!) || bytes[after] === SEMICOLON);
        return true;
      }
      case HEADER_CALL_ID:
        this.call = hashOf(bytes, at, end);
        return end > at;
      case HEADER_CSEQ: {
        scanner.number(SECONDS_MAX, 10);
        const from = skipBlanks(bytes, scanner.at, end);
        const method = methodOf(bytes, from, end);
        if (this.isRequest && method !== this.method) return false;
        this.method = method;
        return scanner.isOk && from > scanner.at && from < end;
      }
      case HEADER_EXPIRES: {
        const seconds = scanner.number(SECONDS_MAX, 10);
        if (scanner.isOk) this.expires = seconds;
        return true;
      }
      default:
        return true;
    }
  }

  /** RFC 3261 section 18.3: over UDP the body goes to the end of the datagram unless Content-Length says less. */
  #finish(bodyAt: number, end: number): boolean {
    const needed = (1 << HEADER_VIA) | (1 << HEADER_CALL_ID) | (1 << HEADER_CSEQ);
    this.bodyAt = bodyAt;
    this.bodyEnd = this.#contentLength === ABSENT ? end : bodyAt + this.#contentLength;
    if (this.bodyEnd === this.bodyAt) this.hasSdp = false;
    return this.bodyEnd <= end && (this.#seen & needed) === needed;
  }
}

/** Where the line's feed stands; `end` when it has none. */
function lineEnd(bytes: Uint8Array, at: number, end: number): number {
  return indexOf(bytes, at, end, LF);
}

/** The end of the line's text: before its carriage return. */
function trimmed(bytes: Uint8Array, at: number, feed: number): number {
  return feed > at && bytes[feed - 1] === CR ? feed - 1 : feed;
}

function methodOf(bytes: Uint8Array, at: number, end: number): number {
  for (let method = 1; method < METHODS.length; method++) {
    const name = METHODS[method]!;
    if (end - at === name.length && startsWith(bytes, at, end, name)) return method;
  }
  return METHOD_OTHER;
}

function headerOf(bytes: Uint8Array, at: number, end: number): number {
  const length = end - at;
  if (length === 1) {
    const letter = bytes[at]! & 0xdf;
    for (let kind = 1; kind < LETTERS.length; kind++)
      if (LETTERS[kind] === letter && letter !== 0) return kind;
    return HEADER_OTHER;
  }
  for (let kind = 1; kind < NAMES.length; kind++) {
    if (NAMES[kind]!.length === length && startsWith(bytes, at, end, NAMES[kind]!)) return kind;
  }
  return HEADER_OTHER;
}

/** FNV-1a; who chooses colliding names closes his own calls. */
function hashOf(bytes: Uint8Array, at: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = at; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash === 0 ? 1 : hash;
}
