/**
 * SDP (RFC 8866): the media that a session description announces. Owns the rewriting of a description's addresses and ports,
 * and which expectations its streams are worth; what a call is, is sip.ts.
 *
 *   c=IN IP4 10.0.0.2          connection of the session, or of the stream below which it stands
 *   m=audio 6000 RTP/AVP 0     a stream: RTP comes to this port, RTCP to the next one
 *   a=rtcp:6005                unless this says otherwise (RFC 3605)
 *
 * A sender may announce its own address, whichever side it is on, and, from the less trusted side, another one there: that opens
 * the way out, to one port. From the other side no address but the sender's own can be opened.
 *
 * The two ports of a stream behind NAT must lead to one slot each, so they are no neighbours: a=rtcp is written where it was not.
 * Who may send to a stream: the peer's media address once it is known (its own stream of this number), until then the peer.
 */
import { copyAddress, isIpv4, isSameAddress, isUnspecified } from "../../base/address.ts";
import { PROTOCOL_UDP } from "../../packet/ipv4.ts";
import { NONE } from "../flow-layout.ts";
import { IS_FOREIGN, IS_LASTING, IS_SIGNALLING, TOWARD_SERVER } from "./expectation.ts";
import { announcePort, type HelperParts } from "./helper.ts";
import { DESTINATION_OUT, type HelperContext, SOURCE_IN, SOURCE_OUT } from "./helper-context.ts";
import { type RowTable, readTuple, TUPLE_WORDS } from "./satellite.ts";
import { COLON, DOT, EQUALS, indexOf, keyword, LF, Scanner, SPACE, startsWith, Writer } from "./text.ts";

/** How long media may be waited for while a call is set up: as long as it may ring (RFC 3261, timer C). */
export const MEDIA_LIFE_MS = 180_000;
/** Streams of one description that are helped. */
const STREAMS_MAX = 4;
const PORT_MIN = 1024;
const DESCRIPTION_BYTES_MAX = 2048;

/** What a stream's address is. */
const NOBODY = 0;
const OWN = 1;
const FOREIGN = 2;

const IN_IP4 = keyword("IN IP4 ");
const IN_IP6 = keyword("IN IP6 ");
const RTCP = keyword("a=rtcp:");
const RTP_PROFILE = keyword("RTP/");
const UDP_PROFILE = keyword("UDP");
const LETTER_C = 0x63;
const LETTER_M = 0x6d;
const LETTER_O = 0x6f;
const CRLF = keyword("\r\n");
/** RTCP as it is written: attribute names know case. */
const A_RTCP = Uint8Array.of(0x61, EQUALS, 0x72, 0x74, 0x63, 0x70, COLON);

export class SessionDescription {
  /** The description as it leaves. */
  readonly out = new Writer(DESCRIPTION_BYTES_MAX);
  readonly #parts: HelperParts;
  readonly #table: RowTable;
  readonly #scanner = new Scanner();
  readonly #address = new Int32Array(4);
  /** Address of the session's connection, and of the stream in hand: NOBODY when there is none. */
  readonly #session = new Int32Array(4);
  readonly #media = new Int32Array(4);
  readonly #tuple = new Int32Array(TUPLE_WORDS);
  #hasSession = false;
  /** Streams of the sender's own address in the description in hand that were announced, and that could not be. */
  #openedStreams = 0;
  #refusedStreams = 0;
  /** The stream in hand is one of the latter. */
  #isRefused = false;
  #call = 0;
  #stream = 0;
  #cursor = 0;
  /** Of the stream in hand: ports as announced (0: none) and as they leave. */
  #rtcp = 0;
  #rtcpOut = 0;
  #hasRtcpLine = false;
  /** Where the address stands that was read last. */
  #addressAt = 0;
  #addressEnd = 0;

  constructor(parts: HelperParts, table: RowTable) {
    this.#parts = parts;
    this.#table = table;
  }

  /** Rewrites the description in [at, end) into `out`, and expects its media as a part of `call`. */
  rewrite(context: HelperContext, at: number, end: number, call: number): void {
    const bytes = context.bytes;
    this.out.reset();
    this.#call = call;
    this.#stream = 0;
    this.#hasSession = false;
    this.#openedStreams = 0;
    this.#refusedStreams = 0;
    this.#cursor = at;
    let line = at;
    while (line < end && !isLine(bytes, line, end, LETTER_M)) {
      const next = nextLine(bytes, line, end);
      if (isLine(bytes, line, end, LETTER_C)) {
        this.#hasSession = this.#readConnection(bytes, line + 2, next);
        copyAddress(this.#session, 0, this.#address, 0);
        if (this.#hasSession) this.#replaceAddress(context);
      } else if (isLine(bytes, line, end, LETTER_O)) {
        this.#mapOrigin(context, line, next);
      }
      line = next;
    }
    while (line < end) {
      let next = nextLine(bytes, line, end);
      while (next < end && !isLine(bytes, next, end, LETTER_M)) next = nextLine(bytes, next, end);
      this.#section(context, line, next);
      line = next;
    }
    if (this.#refusedStreams > 0 && this.#openedStreams === 0) {
      // The outside address with an inside port would lead to somebody else.
      this.out.reset();
      this.#cursor = at;
    }
    this.#copyTo(bytes, end);
  }

  /** A stream: its m= line at `at`, and all lines up to the next one. */
  #section(context: HelperContext, at: number, end: number): void {
    const bytes = context.bytes;
    const scanner = this.#scanner;
    const space = indexOf(bytes, at, end, SPACE);
    scanner.start(bytes, space + 1, end);
    const portAt = scanner.at;
    const port = scanner.number(65_535, 5);
    const portEnd = scanner.at;
    scanner.take(SPACE);
    const isRtp = startsWith(bytes, scanner.at, end, RTP_PROFILE);
    const isUdp = isRtp || startsWith(bytes, scanner.at, end, UDP_PROFILE);
    const isPlain = scanner.isOk && isUdp && port !== 0;
    const whose = isPlain ? this.#whose(context, at, end) : NOBODY;
    let portOut = NONE;
    if (whose !== NOBODY) {
      if (this.#stream >= STREAMS_MAX || port < PORT_MIN) this.#parts.counters.refused();
      else portOut = this.#open(context, whose, port, false);
    }
    const isOpen = portOut !== NONE;
    this.#isRefused = whose === OWN && !isOpen;
    if (this.#isRefused) this.#refusedStreams++;
    else if (whose === OWN) this.#openedStreams++;
    if (isOpen && portOut !== port) {
      this.#copyTo(bytes, portAt);
      this.out.decimal(portOut);
      this.#cursor = portEnd;
    }
    this.#rtcpOut = 0;
    if (isOpen && isRtp && this.#rtcp >= PORT_MIN) {
      const out = this.#open(context, whose, this.#rtcp, true);
      if (out !== NONE) this.#rtcpOut = out;
    }
    this.#lines(context, nextLine(bytes, at, end), end);
    const isNeighbour = this.#rtcpOut === portOut + 1;
    if (this.#rtcpOut !== 0 && !this.#hasRtcpLine && !isNeighbour && bytes[end - 1] === LF) {
      this.#copyTo(bytes, end);
      this.out.word(A_RTCP);
      this.out.decimal(this.#rtcpOut);
      this.out.word(CRLF);
    }
    this.#stream++;
  }

  /** The other lines of a stream, once it is known what they become. */
  #lines(context: HelperContext, at: number, end: number): void {
    const bytes = context.bytes;
    for (let line = at; line < end; line = nextLine(bytes, line, end)) {
      const next = nextLine(bytes, line, end);
      if (isLine(bytes, line, end, LETTER_C)) {
        if (!this.#isRefused && this.#readConnection(bytes, line + 2, next)) this.#replaceAddress(context);
      } else if (this.#rtcpOut !== 0 && startsWith(bytes, line, next, RTCP)) {
        const scanner = this.#scanner;
        scanner.start(bytes, line + RTCP.length, next);
        scanner.number(65_535, 5);
        const portEnd = scanner.at;
        this.#copyTo(bytes, line + RTCP.length);
        this.out.decimal(this.#rtcpOut);
        this.#cursor = portEnd;
        if (scanner.peek() === SPACE && this.#readConnection(bytes, portEnd + 1, next)) {
          this.#replaceAddress(context);
        }
      }
    }
  }

  /** Sets the stream's media address and RTCP port, and says whose the address is. */
  #whose(context: HelperContext, at: number, end: number): number {
    const bytes = context.bytes;
    const { words } = context;
    let hasMedia = this.#hasSession;
    copyAddress(this.#media, 0, this.#session, 0);
    this.#hasRtcpLine = false;
    this.#scanner.start(bytes, indexOf(bytes, at, end, SPACE) + 1, end);
    this.#rtcp = this.#scanner.number(65_535, 5) + 1;
    for (let line = nextLine(bytes, at, end); line < end; line = nextLine(bytes, line, end)) {
      const next = nextLine(bytes, line, end);
      if (isLine(bytes, line, end, LETTER_C)) {
        hasMedia = this.#readConnection(bytes, line + 2, next);
        copyAddress(this.#media, 0, this.#address, 0);
      } else if (startsWith(bytes, line, next, RTCP)) {
        this.#readRtcp(context, line + RTCP.length, next);
      }
    }
    // 0.0.0.0 puts a stream on hold (RFC 3264 section 8.4).
    if (!hasMedia || isUnspecified(this.#media, 0) || this.#media[3] === 0) return NOBODY;
    if (isSameAddress(this.#media, 0, words, SOURCE_IN)) return OWN;
    if (context.isSenderOuter && isIpv4(this.#media, 0) === isIpv4(words, SOURCE_IN)) return FOREIGN;
    this.#parts.counters.refused();
    return NOBODY;
  }

  /** a=rtcp with an address of its own is left alone unless it is the sender's. */
  #readRtcp(context: HelperContext, at: number, end: number): void {
    const scanner = this.#scanner;
    scanner.start(context.bytes, at, end);
    const port = scanner.number(65_535, 5);
    this.#hasRtcpLine = true;
    this.#rtcp = scanner.isOk ? port : 0;
    if (!scanner.isOk || scanner.peek() !== SPACE) return;
    const isKnown = this.#readConnection(context.bytes, scanner.at + 1, end);
    if (!isKnown || !isSameAddress(this.#address, 0, context.words, SOURCE_IN)) this.#rtcp = 0;
  }

  /** Expects media at a port of the stream's address: the port to announce, or NONE. */
  #open(context: HelperContext, whose: number, realPort: number, isControl: boolean): number {
    const { request, expectations, limits } = this.#parts;
    const { words, master, direction } = context;
    request.master = master;
    request.protocol = PROTOCOL_UDP;
    request.kind = IS_LASTING | (direction === 1 ? TOWARD_SERVER : 0) | (whose === FOREIGN ? IS_FOREIGN : 0);
    this.#peerAddress(context, isControl);
    copyAddress(request.words, 4, whose === OWN ? words : this.#media, whose === OWN ? SOURCE_OUT : 0);
    request.realPort = realPort;
    request.lifeMs = MEDIA_LIFE_MS;
    request.call = this.#call;
    request.stream = this.#stream;
    request.isControl = isControl;
    request.perMasterMax = limits.sipPerMaster;
    request.isReplacing = false;
    const known = whose === OWN ? this.#rowOf(master, direction, realPort, isControl) : NONE;
    if (known !== NONE) request.port = expectations.portOf(known);
    else if (whose === FOREIGN) request.port = realPort;
    else if (!announcePort(this.#parts, context)) return NONE;
    const { port } = request;
    if (known !== NONE && !this.#isFor(known)) expectations.forget(known);
    const row = expectations.expect(request);
    if (row === NONE) return NONE;
    this.#narrow(context, isControl);
    return port;
  }

  /** The expectation of the sender's own media at this port, of whichever call: one port has one translation. */
  #rowOf(master: number, toward: number, realPort: number, isControl: boolean): number {
    const { expectations } = this.#parts;
    for (let row = expectations.first(master); row !== NONE; row = expectations.next(row, master)) {
      if (expectations.towardOf(row) !== toward) continue;
      const isMedia = (expectations.kindOf(row) & (IS_SIGNALLING | IS_FOREIGN)) === 0;
      const isSame = expectations.realPortOf(row) === realPort && expectations.isControl(row) === isControl;
      if (isMedia && isSame) return row;
    }
    return NONE;
  }

  /** Whether a known expectation has the request's addresses. */
  #isFor(row: number): boolean {
    const { request } = this.#parts;
    readTuple(this.#table.words, row, 0, this.#tuple, 0);
    return isSameAddress(this.#tuple, 0, request.words, 0) && isSameAddress(this.#tuple, 4, request.words, 4);
  }

  /** Sets the request's source: where the peer's media of this stream comes from, as far as it is known. */
  #peerAddress(context: HelperContext, isControl: boolean): void {
    const { request, expectations } = this.#parts;
    const row = this.#streamOf(context, isControl);
    if (row !== NONE && (expectations.kindOf(row) & IS_FOREIGN) !== 0) {
      readTuple(this.#table.words, row, 0, this.#tuple, 0);
      copyAddress(request.words, 0, this.#tuple, 4);
    } else {
      copyAddress(request.words, 0, context.words, DESTINATION_OUT);
    }
  }

  /** The peer's expectation for the stream in hand, or NONE. */
  #streamOf(context: HelperContext, isControl: boolean): number {
    const { expectations } = this.#parts;
    const { master } = context;
    for (let row = expectations.first(master); row !== NONE; row = expectations.next(row, master)) {
      if (expectations.towardOf(row) === context.direction) continue;
      if (expectations.callOf(row) !== this.#call || expectations.streamOf(row) !== this.#stream) continue;
      if (expectations.isControl(row) === isControl) return row;
    }
    return NONE;
  }

  /** The peer's media of this stream may come from this stream's address alone. */
  #narrow(context: HelperContext, isControl: boolean): void {
    const { request, expectations } = this.#parts;
    const row = this.#streamOf(context, isControl);
    if (row === NONE) return;
    readTuple(this.#table.words, row, 0, this.#tuple, 0);
    if (isSameAddress(this.#tuple, 0, this.#media, 0)) return;
    copyAddress(request.words, 0, this.#media, 0);
    copyAddress(request.words, 4, this.#tuple, 4);
    request.kind = expectations.kindOf(row) & (IS_LASTING | IS_FOREIGN | TOWARD_SERVER);
    request.port = expectations.portOf(row);
    request.realPort = expectations.realPortOf(row);
    expectations.forget(row);
    expectations.expect(request);
  }

  /** "IN IP4 address" or "IN IP6 address" at `at`: sets the address. Multicast has more behind it, and is nobody's. */
  #readConnection(bytes: Uint8Array, at: number, end: number): boolean {
    const scanner = this.#scanner;
    const isIp4 = startsWith(bytes, at, end, IN_IP4);
    if (!isIp4 && !startsWith(bytes, at, end, IN_IP6)) return false;
    scanner.start(bytes, at + IN_IP4.length, end);
    this.#addressAt = scanner.at;
    if (isIp4) scanner.ipv4(this.#address, 0, DOT);
    else scanner.ipv6(this.#address, 0);
    this.#addressEnd = scanner.at;
    return scanner.isOk && scanner.peek() <= SPACE;
  }

  /** Replaces the address that was read last, if it is the sender's own. */
  #replaceAddress(context: HelperContext): void {
    const { words } = context;
    if (!context.isSourceTranslated || !isSameAddress(this.#address, 0, words, SOURCE_IN)) return;
    this.#copyTo(context.bytes, this.#addressAt);
    this.out.address(words, SOURCE_OUT);
    this.#cursor = this.#addressEnd;
  }

  /** o=user 1 1 IN IP4 address: who made the description. */
  #mapOrigin(context: HelperContext, at: number, end: number): void {
    const bytes = context.bytes;
    let field = at + 2;
    for (let i = 0; i < 3; i++) field = indexOf(bytes, field, end, SPACE) + 1;
    if (field < end && this.#readConnection(bytes, field, end)) this.#replaceAddress(context);
  }

  #copyTo(bytes: Uint8Array, at: number): void {
    this.out.copy(bytes, this.#cursor, at);
    this.#cursor = Math.max(this.#cursor, at);
  }
}

function isLine(bytes: Uint8Array, at: number, end: number, letter: number): boolean {
  return at + 2 < end && bytes[at] === letter && bytes[at + 1] === EQUALS;
}

/** First byte behind the line's feed, or `end`. */
function nextLine(bytes: Uint8Array, at: number, end: number): number {
  return Math.min(end, indexOf(bytes, at, end, LF) + 1);
}
