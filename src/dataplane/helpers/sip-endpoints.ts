/**
 * SIP endpoints: host and port as they stand in URIs and Via values, and what they become on the other side of NAT. Owns the
 * reading of hosts, the translation and the copy that grows while a message is rewritten; which headers count is sip.ts.
 *
 *   sip:user@10.0.0.2:5060;transport=udp      SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1;received=10.0.0.2;rport=5060
 *            '----- host -----'                           '----- host -----'
 *
 * Host names stay: they are whoever's resolver says they are.
 */
import { copyAddress, isIpv4, isSameAddress } from "../../base/address.ts";
import {
  DESTINATION_IN,
  DESTINATION_OUT,
  type HelperContext,
  SOURCE_IN,
  SOURCE_OUT,
} from "./helper-context.ts";
import {
  AT,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  CR,
  GREATER,
  indexOf,
  isBlank,
  isDigit,
  keyword,
  LF,
  OPEN_BRACKET,
  Scanner,
  SEMICOLON,
  SPACE,
  skipBlanks,
  startsWith,
  Writer,
} from "./text.ts";

/** Port of a URI or Via value that names none (RFC 3261 section 18.2.2, 19.1.2). */
const DEFAULT_PORT = 5060;
const NO_PORT = -1;
/** The largest message: what one frame carries. */
const MESSAGE_BYTES_MAX = 2048;

/** What is translated: the sender's own endpoint, the receiver's as the sender sees it, or both. */
export const MAP_SOURCE = 1;
export const MAP_DESTINATION = 2;
export const MAP_BOTH = 3;

const SIP = keyword("sip:");
const SIPS = keyword("sips:");
const TRANSPORT = keyword("SIP/2.0/UDP");
const RECEIVED = keyword(";received=");
const RPORT = keyword(";rport=");

export class SipEndpoints {
  /** The message as it leaves, up to the part of the old one that was copied last. */
  readonly out = new Writer(MESSAGE_BYTES_MAX);
  /** Set by readHost(): address, port or -1, and where they end. */
  readonly address = new Int32Array(4);
  port = NO_PORT;
  hostEnd = 0;
  /** A registration's own contact port, and what stands for it outside; -1: none. */
  contactPort = NO_PORT;
  contactPortOut = NO_PORT;
  readonly #scanner = new Scanner();
  readonly #mapped = new Int32Array(4);
  #mappedPort = NO_PORT;
  #bytes: Uint8Array = new Uint8Array(0);
  #context: HelperContext | null = null;
  #cursor = 0;

  /** Begins a rewriting of the context's payload. */
  start(context: HelperContext): void {
    this.#context = context;
    this.#bytes = context.bytes;
    this.#cursor = context.payloadAt;
    this.out.reset();
    this.contactPort = NO_PORT;
    this.contactPortOut = NO_PORT;
  }

  /** Copies what stands before `at` and was not copied yet. */
  copyTo(at: number): void {
    this.out.copy(this.#bytes, this.#cursor, at);
    this.#cursor = Math.max(this.#cursor, at);
  }

  /** Goes on behind what was written in place of the bytes up to `at`. */
  skipTo(at: number): void {
    this.#cursor = at;
  }

  /** Translates the hosts of all SIP URIs in a span. */
  mapUris(at: number, end: number): void {
    for (let host = this.findUri(at, end); host < end; host = this.findUri(this.hostEnd, end)) {
      if (this.readHost(host, end)) this.#replace(host, MAP_BOTH);
      else this.hostEnd = host + 1;
    }
  }

  /** Where the host of the next SIP URI of a span stands; `end` when there is none. */
  findUri(at: number, end: number): number {
    const bytes = this.#bytes;
    for (let cursor = at; cursor < end; cursor++) {
      const isSip = startsWith(bytes, cursor, end, SIP);
      if (!isSip && !startsWith(bytes, cursor, end, SIPS)) continue;
      const from = cursor + (isSip ? SIP.length : SIPS.length);
      let stop = from;
      while (stop < end && !isUriEnd(bytes[stop]!)) stop++;
      const user = indexOf(bytes, from, stop, AT);
      return user < stop ? user + 1 : from;
    }
    return end;
  }

  /** Reads an IPv4 address or a bracketed IPv6 address with a port or none at `at`. False: something else stands there. */
  readHost(at: number, end: number): boolean {
    const scanner = this.#scanner;
    scanner.start(this.#bytes, at, end);
    if (scanner.peek() === OPEN_BRACKET) {
      scanner.take(OPEN_BRACKET);
      scanner.ipv6(this.address, 0);
      scanner.take(CLOSE_BRACKET);
    } else {
      if (!isDigit(scanner.peek())) return false;
      scanner.address(this.address, 0);
    }
    this.port = NO_PORT;
    this.hostEnd = scanner.at;
    if (scanner.isOk && scanner.peek() === COLON) {
      scanner.take(COLON);
      this.port = scanner.number(65_535, 5);
      this.hostEnd = scanner.at;
    }
    return scanner.isOk && !isHostByte(scanner.peek());
  }

  /** Translates the topmost Via value in a span: of a request its sender's, of a response its receiver's. */
  mapVia(at: number, end: number, isRequest: boolean): void {
    const bytes = this.#bytes;
    if (!startsWith(bytes, at, end, TRANSPORT)) return;
    const host = skipBlanks(bytes, at + TRANSPORT.length, end);
    if (!this.readHost(host, end)) return;
    const stop = indexOf(bytes, this.hostEnd, end, COMMA);
    const parameters = this.hostEnd;
    this.#replace(host, isRequest ? MAP_SOURCE : MAP_DESTINATION);
    // What the other end noted of the packet's source (RFC 3261 section 18.2.1, RFC 3581 section 4).
    for (let cursor = parameters; cursor < stop; cursor++) {
      if (bytes[cursor] !== SEMICOLON) continue;
      if (startsWith(bytes, cursor, stop, RECEIVED))
        this.#mapReceived(cursor + RECEIVED.length, stop, isRequest);
      else if (startsWith(bytes, cursor, stop, RPORT)) this.#mapRport(cursor + RPORT.length, stop, isRequest);
    }
  }

  #mapReceived(at: number, end: number, isRequest: boolean): void {
    const scanner = this.#scanner;
    const isBracketed = this.#bytes[at] === OPEN_BRACKET;
    const from = isBracketed ? at + 1 : at;
    scanner.start(this.#bytes, from, end);
    scanner.address(this.address, 0);
    if (!scanner.isOk || isHostByte(scanner.peek())) return;
    this.port = NO_PORT;
    if (!this.#map(isRequest ? MAP_SOURCE : MAP_DESTINATION)) return;
    this.copyTo(from);
    this.out.address(this.#mapped, 0);
    this.skipTo(scanner.at);
  }

  #mapRport(at: number, end: number, isRequest: boolean): void {
    const context = this.#context!;
    const scanner = this.#scanner;
    scanner.start(this.#bytes, at, end);
    const port = scanner.number(65_535, 5);
    const before = isRequest ? context.sourcePortIn : context.destinationPortIn;
    const after = isRequest ? context.sourcePortOut : context.destinationPortOut;
    if (!scanner.isOk || port !== before || before === after) return;
    this.copyTo(at);
    this.out.decimal(after);
    this.skipTo(scanner.at);
  }

  /** Writes the translation of what readHost() read at `at`, if there is one. */
  #replace(at: number, mode: number): void {
    const end = this.hostEnd;
    const port = this.port;
    if (!this.#map(mode)) return;
    this.copyTo(at);
    if (isIpv4(this.#mapped, 0)) {
      this.out.address(this.#mapped, 0);
    } else {
      this.out.byte(OPEN_BRACKET);
      this.out.address(this.#mapped, 0);
      this.out.byte(CLOSE_BRACKET);
    }
    if (port !== NO_PORT || this.#mappedPort !== DEFAULT_PORT) {
      this.out.byte(COLON);
      this.out.decimal(this.#mappedPort);
    }
    this.skipTo(end);
  }

  /** Translates `address` and `port`: false when they stay as they are. */
  #map(mode: number): boolean {
    const context = this.#context!;
    const { words } = context;
    const port = this.port === NO_PORT ? DEFAULT_PORT : this.port;
    let to = -1;
    let portIn = 0;
    let portOut = 0;
    if ((mode & MAP_SOURCE) !== 0 && isSameAddress(this.address, 0, words, SOURCE_IN)) {
      to = SOURCE_OUT;
      portIn = context.sourcePortIn;
      portOut = context.sourcePortOut;
      if (port !== portIn && port === this.contactPort) {
        portIn = port;
        portOut = this.contactPortOut;
      }
    } else if ((mode & MAP_DESTINATION) !== 0 && isSameAddress(this.address, 0, words, DESTINATION_IN)) {
      to = DESTINATION_OUT;
      portIn = context.destinationPortIn;
      portOut = context.destinationPortOut;
    }
    if (to < 0) return false;
    copyAddress(this.#mapped, 0, words, to);
    this.#mappedPort = port === portIn ? portOut : port;
    return !isSameAddress(this.address, 0, this.#mapped, 0) || this.#mappedPort !== port;
  }
}

function isUriEnd(byte: number): boolean {
  return byte === GREATER || byte === SPACE || byte === COMMA || byte === CR || byte === LF || isBlank(byte);
}

/** What could go on a host name or a number: then it is another host. */
function isHostByte(byte: number): boolean {
  const upper = byte & 0xdf;
  return byte >= 0 && (isDigit(byte) || (upper >= 0x41 && upper <= 0x5a) || byte === 0x2e || byte === 0x2d);
}
