/**
 * FTP lines: reads and writes the four lines that announce a data connection (RFC 959, RFC 2428), in the forms that servers
 * really send. Owns their syntax; what may be announced is ftp.ts.
 *
 *   client   PORT 192,0,2,1,4,1        EPRT |1|192.0.2.1|1025|       EPRT |2|2001:db8::1|1025|
 *   server   227 Entering Passive Mode (192,0,2,1,4,1).              229 Entering Extended Passive Mode (|||1025|)
 */
import { isIpv4, setIpv4 } from "../../base/address.ts";
import {
  COMMA,
  CR,
  DOT,
  indexOf,
  isDigit,
  keyword,
  LF,
  OPEN,
  Scanner,
  SPACE,
  skipBlanks,
  startsWith,
  type Writer,
} from "./text.ts";

export const LINE_OTHER = 0;
export const LINE_PORT = 1;
export const LINE_EPRT = 2;
export const LINE_PASV = 3;
export const LINE_EPSV = 4;

const PORT = keyword("PORT");
const EPRT = keyword("EPRT");
const PASV_REPLY = keyword("227 ");
const EPSV_REPLY = keyword("229 ");
const ONE = 0x31;
const TWO = 0x32;

export class FtpLine {
  /** Of the last announcement that was read. */
  readonly address = new Int32Array(4);
  hasAddress = false;
  port = 0;
  /** The part of the line that names address and port (or port alone). */
  from = 0;
  to = 0;
  #kind = LINE_OTHER;
  #delimiter = 0;
  readonly #scanner = new Scanner();

  /** Reads a whole line, [at, end) with its line feed, of the client or of the server: LINE_*. */
  read(bytes: Uint8Array, at: number, end: number, isServer: boolean): number {
    this.#kind = LINE_OTHER;
    let last = end - 1;
    if (last > at && bytes[last - 1] === CR) last--;
    if (isServer) {
      if (startsWith(bytes, at, last, PASV_REPLY)) this.#readPasv(bytes, at + 4, last);
      else if (startsWith(bytes, at, last, EPSV_REPLY)) this.#readEpsv(bytes, at + 4, last);
    } else if (at + 4 < last && bytes[at + 4] === SPACE) {
      const from = skipBlanks(bytes, at + 4, last);
      if (startsWith(bytes, at, last, PORT)) this.#readPort(bytes, from, last);
      else if (startsWith(bytes, at, last, EPRT)) this.#readEprt(bytes, from, last);
    }
    return this.#kind;
  }

  /** Writes what stands between `from` and `to` anew, with another address and port. */
  write(writer: Writer, words: Int32Array, at: number, port: number): void {
    if (this.#kind === LINE_PORT || this.#kind === LINE_PASV) {
      writer.ipv4(words, at, COMMA);
      writer.byte(COMMA);
      writer.decimal(port >>> 8);
      writer.byte(COMMA);
      writer.decimal(port & 0xff);
    } else if (this.#kind === LINE_EPRT) {
      writer.byte(this.#delimiter);
      writer.byte(isIpv4(words, at) ? ONE : TWO);
      writer.byte(this.#delimiter);
      writer.address(words, at);
      writer.byte(this.#delimiter);
      writer.decimal(port);
      writer.byte(this.#delimiter);
    } else {
      writer.decimal(port);
    }
  }

  #readPort(bytes: Uint8Array, at: number, end: number): void {
    const scanner = this.#scanner;
    scanner.start(bytes, at, end);
    this.#sixNumbers();
    const to = scanner.at;
    scanner.skipBlanks();
    if (scanner.isOk && scanner.peek() === -1) this.#found(LINE_PORT, at, to, true);
  }

  /** RFC 1123 section 4.1.2.6: the numbers may stand anywhere in the line, with or without parentheses. */
  #readPasv(bytes: Uint8Array, at: number, end: number): void {
    const scanner = this.#scanner;
    for (let from = at; from < end; from++) {
      const before = bytes[from - 1]!;
      if (!isDigit(bytes[from]!) || isDigit(before) || before === COMMA) continue;
      scanner.start(bytes, from, end);
      this.#sixNumbers();
      if (!scanner.isOk || scanner.peek() === COMMA) continue;
      this.#found(LINE_PASV, from, scanner.at, true);
      return;
    }
  }

  /** h1,h2,h3,h4,p1,p2; some servers put blanks behind the commas. */
  #sixNumbers(): void {
    const scanner = this.#scanner;
    let host = 0;
    for (let i = 0; i < 6; i++) {
      if (i > 0) {
        scanner.take(COMMA);
        scanner.skipBlanks();
      }
      const number = scanner.number(255, 3);
      if (i < 4) host = (host << 8) | number;
      else if (i === 4) this.port = number << 8;
      else this.port |= number;
    }
    setIpv4(this.address, 0, host);
  }

  #readEprt(bytes: Uint8Array, at: number, end: number): void {
    const scanner = this.#scanner;
    scanner.start(bytes, at, end);
    const delimiter = scanner.peek();
    if (!isDelimiter(delimiter)) return;
    scanner.take(delimiter);
    const family = scanner.number(2, 1);
    scanner.take(delimiter);
    // The address ends at the delimiter, which may look like a part of it.
    const text = scanner.at;
    const textEnd = indexOf(bytes, text, end, delimiter);
    if (!scanner.isOk || textEnd === end) return;
    scanner.start(bytes, text, textEnd);
    if (family === 1) scanner.ipv4(this.address, 0, DOT);
    else if (family === 2) scanner.ipv6(this.address, 0);
    if (family === 0 || !scanner.isOk || scanner.peek() !== -1) return;
    scanner.start(bytes, textEnd + 1, end);
    this.port = scanner.number(65_535, 5);
    scanner.take(delimiter);
    const to = scanner.at;
    scanner.skipBlanks();
    if (!scanner.isOk || scanner.peek() !== -1) return;
    this.#delimiter = delimiter;
    this.#found(LINE_EPRT, at, to, true);
  }

  #readEpsv(bytes: Uint8Array, at: number, end: number): void {
    const scanner = this.#scanner;
    const open = indexOf(bytes, at, end, OPEN);
    scanner.start(bytes, open + 1, end);
    scanner.skipBlanks();
    const delimiter = scanner.peek();
    if (open === end || !isDelimiter(delimiter)) return;
    for (let i = 0; i < 3; i++) scanner.take(delimiter);
    const from = scanner.at;
    this.port = scanner.number(65_535, 5);
    const to = scanner.at;
    scanner.take(delimiter);
    if (scanner.isOk) this.#found(LINE_EPSV, from, to, false);
  }

  #found(kind: number, from: number, to: number, hasAddress: boolean): void {
    this.#kind = kind;
    this.from = from;
    this.to = to;
    this.hasAddress = hasAddress;
  }
}

/** RFC 2428 section 2: 33..126; digits and what addresses are made of would be ambiguous. */
function isDelimiter(byte: number): boolean {
  return byte >= 33 && byte <= 126 && !isDigit(byte) && byte !== LF;
}
