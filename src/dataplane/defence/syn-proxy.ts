/**
 * SYN proxy: during a flood clients have to prove their address before a connection costs anything (RFC 4987 section 3.7). Owns what is
 * answered, and the satellite of a connection that began so; rows, NAT and sending are the engine's.
 *
 *   client                    this node                         server
 *     | --- SYN s ------------->|  answerSyn()   no state          |
 *     |<-- SYN c, ACK s+1, W 0 -|  c: the cookie                   |
 *     | --- ACK c+1 ----------->|  recreateSyn() as if SYN s came  |
 *     |                         | --- SYN s ---------------------->|    row SYN_SENT, satellite PENDING
 *     |                         |<-- SYN t, ACK s+1 ---------------|  judge(), open()
 *     |<-- ACK, window opens ---| --- ACK t+1 -------------------->|    row ESTABLISHED, satellite OPEN
 *     |                 from here on t and c differ by a constant  |
 *
 * The window in the answer is 0 so that the client sends nothing before the server is there. What is lost heals by itself: a lost
 * SYN by the client's next probe of the closed window, each of which sends it again; a lost acknowledgement to the server by
 * the server's own repetition; a lost opening of the window by a probe, or by the server's data.
 *
 * The satellite is the connection's adjustment (protocol 205), of which this file owns one bit (PENDING, of word 6) for good, and
 * while that is set F_STATE and the window words; then they are the helpers' (adjust.ts), as they are in other connections:
 *
 *   F_STATE   what the cookie says of the client while PENDING, then 0
 *   3..5      what the server's numbers are shifted by: from where on, c - t, c - t; all 0 while PENDING
 *   7         c while PENDING, then 0
 */

import { assert } from "../../base/assert.ts";
import { ACK, FIN, NO_SCALE, RST, SYN } from "../../packet/tcp.ts";
import { COUNT, count } from "../context.ts";
import { F_STATE, F_WINDOW, NONE, ROW_WORDS, W_END, W_MAX } from "../flow-layout.ts";
import { dropVerdict } from "../verdict.ts";
import { copyTurned, Segment, turnAddresses } from "./segment.ts";
import { cookieIndex, cookieMss, cookieSack, cookieScale, type SynCookies } from "./syn-cookie.ts";

/** What judge() answers about a segment of a connection whose satellite is pending: it is for nobody. */
export const JUDGED_DROP = 0;
/** As of any connection: to the trackers, and on. A refusal by the server was put into the client's numbers. */
export const JUDGED_TRACK = 1;
/** It is a SYN to the server now: on, without the trackers. */
export const JUDGED_SYN = 2;
/** It was turned round into an answer to its sender: back by where it came from. */
export const JUDGED_ANSWER = 3;
/** The server is there: to the trackers, then open(). */
export const JUDGED_OPEN = 4;
/** The client began again: the connection ends, and the segment is treated as one of no flow. */
export const JUDGED_AGAIN = 5;

/** The segment of a flow that the proxy has no use for (JUDGED_DROP). */
export const DROP_SYN_PROXY = dropVerdict("syn_proxy");
/** An acknowledgement of no flow that answers no cookie, while cookies are given (recreateSyn() said NONE). */
export const DROP_SYN_COOKIE = dropVerdict("syn_cookie");

const W_POSITION = 3;
const W_BEFORE = 4;
const W_AFTER = 5;
const W_PACKED = 6;
const W_COOKIE = 7;
/** In W_PACKED: the server has not answered yet. No number that helpers keep may look like it: it has a bit of its own. */
const PENDING = 1 << 31;
const WINDOW_MAX = 65_535;
/** Flags that say what a segment is; PSH, URG and ECN do not matter here. */
const KIND = SYN | ACK | RST | FIN;

/** What servers behind the firewall may be relied on to offer, since they cannot be asked in time. */
export interface ServerPromise {
  readonly mssIpv4: number;
  readonly mssIpv6: number;
  /** NO_SCALE: windows of connections that begin in a flood are not scaled. */
  readonly scale: number;
  /** Without SACK windows are not scaled either: a cookie has no room for such clients. */
  readonly isSackPermitted: boolean;
}

/** Promises nothing that a server might not keep. */
export const CAUTIOUS_PROMISE: ServerPromise = {
  mssIpv4: 1460,
  mssIpv6: 1440,
  scale: NO_SCALE,
  isSackPermitted: false,
};

/** A TCP segment in hand: a parsed packet. */
export interface ProxySegment {
  /** Source at 0, destination at 4, as they came. */
  readonly words: Int32Array;
  readonly isIpv6: boolean;
  readonly ipAt: number;
  readonly l4At: number;
}

const SOURCE = 0;
const DESTINATION = 4;

/** Whether the row is a satellite of a connection whose server has not answered yet. */
export function isProxyPending(words: Int32Array, satellite: number): boolean {
  return (words[satellite * ROW_WORDS + F_WINDOW + W_PACKED]! & PENDING) !== 0;
}

export class SynProxy {
  /** Set by recreateSyn(), for begin(). */
  cookie = 0;
  index = 0;
  /** Size of the packet that judge() or open() made of the one in hand; 0 while it is as it was. */
  bytesNow = 0;
  readonly #cookies: SynCookies;
  readonly #promise: ServerPromise;
  readonly #counters: Float64Array;
  readonly #segment = new Segment();

  constructor(cookies: SynCookies, promise: ServerPromise, counters: Float64Array) {
    assert(
      promise.scale === NO_SCALE || promise.isSackPermitted,
      "servers that scale windows cannot be promised without SACK",
    );
    this.#cookies = cookies;
    this.#promise = promise;
    this.#counters = counters;
  }

  /** Turns a SYN into its answer in place: the new packet's bytes. `mssMax`: what the zones on its way allow, 0: any. */
  answerSyn(packet: ProxySegment, bytes: Uint8Array, mssMax: number): number {
    const segment = this.#segment;
    const promise = this.#promise;
    segment.read(bytes, packet.l4At);
    // RFC 9293 section 3.7.1: what holds when the option is missing.
    const mss = segment.mss === 0 ? (packet.isIpv6 ? 1220 : 536) : segment.mss;
    const scale = promise.scale === NO_SCALE ? NO_SCALE : segment.scale;
    const index = cookieIndex(mss, scale, segment.isSackPermitted && promise.isSackPermitted);
    const ports = (segment.sourcePort << 16) | segment.destinationPort;
    const cookie = this.#cookies.make(packet.words, SOURCE, DESTINATION, ports, segment.sequence, index);
    count(this.#counters, COUNT.synCookiesSent);
    return this.#writeAnswer(packet, bytes, cookie, index, mssMax);
  }

  /**
   * Whether a segment of no flow acknowledges a cookie: then it becomes, in place, the SYN that was not kept, and the new packet's
   * bytes are returned; else NONE, and nothing changed. Only for segments with ACK and without SYN, RST and FIN.
   */
  recreateSyn(packet: ProxySegment, bytes: Uint8Array): number {
    const segment = this.#segment;
    segment.read(bytes, packet.l4At);
    if ((segment.flags & KIND) !== ACK) return NONE;
    const cookie = (segment.acknowledgement - 1) | 0;
    const ports = (segment.sourcePort << 16) | segment.destinationPort;
    const next = segment.sequence;
    let initial = (next - 1) | 0;
    let index = this.#cookies.check(packet.words, SOURCE, DESTINATION, ports, initial, cookie);
    if (index === NONE) {
      // The acknowledgement was lost, and this is a probe of the closed window, one below what is expected.
      initial = next;
      index = this.#cookies.check(packet.words, SOURCE, DESTINATION, ports, initial, cookie);
    }
    if (index === NONE) {
      count(this.#counters, COUNT.synCookiesInvalid);
      return NONE;
    }
    count(this.#counters, COUNT.synCookiesValid);
    this.cookie = cookie;
    this.index = index;
    return this.#writeSyn(packet, bytes, initial, index);
  }

  /** Marks the adjustment, which is all zero, of the connection that the recreated SYN began; then it has to be published. */
  begin(words: Int32Array, satellite: number): void {
    const base = satellite * ROW_WORDS;
    words[base + F_STATE] = this.index;
    words[base + F_WINDOW + W_PACKED] = PENDING;
    words[base + F_WINDOW + W_COOKIE] = this.cookie;
  }

  /**
   * What a segment of a pending connection is for: JUDGED_*. It may have been rewritten; then `bytesNow` is its new size.
   * `mssMax` as of answerSyn().
   */
  judge(
    packet: ProxySegment,
    bytes: Uint8Array,
    direction: number,
    words: Int32Array,
    row: number,
    satellite: number,
    mssMax: number,
  ): number {
    this.#segment.read(bytes, packet.l4At);
    this.bytesNow = 0;
    // A SYN without data was all that the client sent: its end is its number and one.
    const expected = words[row * ROW_WORDS + F_WINDOW + W_END]!;
    const base = satellite * ROW_WORDS;
    const cookie = words[base + F_WINDOW + W_COOKIE]!;
    return direction === 0
      ? this.#judgeClient(packet, bytes, expected, cookie, words[base + F_STATE]!, mssMax)
      : this.#judgeServer(packet, bytes, expected, cookie);
  }

  /**
   * The server's SYN, ACK in hand opens the connection: the satellite gets its offset, an acknowledgement to the server is
   * written at `spareIpAt` (its bytes are returned), and the packet in hand becomes the one that opens the client's window, in
   * the server's numbers.
   */
  open(
    packet: ProxySegment,
    bytes: Uint8Array,
    words: Int32Array,
    row: number,
    satellite: number,
    spareIpAt: number,
    mssMax: number,
  ): number {
    const segment = this.#segment;
    const base = satellite * ROW_WORDS;
    const index = words[base + F_STATE]!;
    segment.read(bytes, packet.l4At);
    const { sequence, acknowledgement, window } = segment;
    const scale = cookieScale(index);
    this.#compare(segment, this.#promisedMss(packet.isIpv6, mssMax), scale);
    const isScaled = scale !== NO_SCALE && segment.scale !== NO_SCALE;
    const offset = (words[base + F_WINDOW + W_COOKIE]! - sequence) | 0;
    words[base + F_STATE] = 0;
    words[base + F_WINDOW + W_PACKED] = words[base + F_WINDOW + W_PACKED]! & ~PENDING;
    words[base + F_WINDOW + W_COOKIE] = 0;
    words[base + F_WINDOW + W_POSITION] = sequence;
    words[base + F_WINDOW + W_BEFORE] = offset;
    words[base + F_WINDOW + W_AFTER] = offset;
    count(this.#counters, COUNT.synProxyOpened);

    segment.clearOptions();
    segment.flags = ACK;
    segment.turn();
    segment.sequence = acknowledgement;
    segment.acknowledgement = (sequence + 1) | 0;
    const clientWindow = words[row * ROW_WORDS + F_WINDOW + W_MAX]!;
    segment.window = isScaled ? clientWindow >>> scale : clientWindow;
    copyTurned(bytes, packet.ipAt, spareIpAt, packet.isIpv6);
    const spareBytes = segment.write(bytes, spareIpAt, packet.isIpv6);

    segment.turn();
    segment.sequence = (sequence + 1) | 0;
    segment.acknowledgement = acknowledgement;
    // The client scales it by what it was promised; a window that rounds to nothing would stay closed.
    const shift = scale === NO_SCALE ? 0 : this.#promise.scale;
    segment.window = window === 0 ? 0 : Math.max(1, window >>> shift);
    this.bytesNow = segment.write(bytes, packet.ipAt, packet.isIpv6);
    return spareBytes;
  }

  #judgeClient(
    packet: ProxySegment,
    bytes: Uint8Array,
    expected: number,
    cookie: number,
    index: number,
    mssMax: number,
  ): number {
    const segment = this.#segment;
    const kind = segment.flags & KIND;
    const initial = (expected - 1) | 0;
    if ((kind & RST) !== 0) return JUDGED_TRACK;
    if (kind === SYN) {
      if (segment.sequence !== initial) return JUDGED_AGAIN;
      this.bytesNow = this.#writeAnswer(packet, bytes, cookie, index, mssMax);
      return JUDGED_ANSWER;
    }
    const isAcknowledged = kind === ACK && segment.acknowledgement === ((cookie + 1) | 0);
    const isNext = segment.sequence === expected || segment.sequence === initial;
    if (!isAcknowledged || !isNext) return JUDGED_DROP;
    // Data that came along is sent again by the client: it was told that there is no room.
    this.bytesNow = this.#writeSyn(packet, bytes, initial, index);
    return JUDGED_SYN;
  }

  #judgeServer(packet: ProxySegment, bytes: Uint8Array, expected: number, cookie: number): number {
    const segment = this.#segment;
    const kind = segment.flags & KIND;
    const isAcknowledged = segment.acknowledgement === expected;
    if (kind === (SYN | ACK) && isAcknowledged) return JUDGED_OPEN;
    if (kind === (RST | ACK) && isAcknowledged) {
      // RFC 9293 section 3.10.7.3, refused: told to the client in the numbers of the connection that it believes to have.
      segment.clearOptions();
      segment.sequence = (cookie + 1) | 0;
      segment.window = 0;
      this.bytesNow = segment.write(bytes, packet.ipAt, packet.isIpv6);
      count(this.#counters, COUNT.synProxyRefused);
      return JUDGED_TRACK;
    }
    if ((kind & RST) !== 0 || (kind & ACK) === 0 || isAcknowledged) return JUDGED_DROP;
    // The server has an old connection on these ports and challenges the SYN (RFC 5961 section 4, RFC 9293 section 3.5.3): the client
    // would reset it, and its next probe would open the new one.
    turnAddresses(bytes, packet.ipAt, packet.isIpv6);
    segment.clearOptions();
    segment.turn();
    segment.flags = RST;
    segment.sequence = segment.acknowledgement;
    segment.acknowledgement = 0;
    segment.window = 0;
    this.bytesNow = segment.write(bytes, packet.ipAt, packet.isIpv6);
    return JUDGED_ANSWER;
  }

  /** The answer to the SYN that `#segment` was read from. */
  #writeAnswer(
    packet: ProxySegment,
    bytes: Uint8Array,
    cookie: number,
    index: number,
    mssMax: number,
  ): number {
    const segment = this.#segment;
    turnAddresses(bytes, packet.ipAt, packet.isIpv6);
    segment.turn();
    segment.acknowledgement = (segment.sequence + 1) | 0;
    segment.sequence = cookie;
    segment.flags = SYN | ACK;
    segment.window = 0;
    segment.mss = this.#promisedMss(packet.isIpv6, mssMax);
    segment.scale = cookieScale(index) === NO_SCALE ? NO_SCALE : this.#promise.scale;
    segment.isSackPermitted = cookieSack(index);
    return segment.write(bytes, packet.ipAt, packet.isIpv6);
  }

  /** The SYN that the client of the segment that `#segment` was read from has sent, as far as the cookie knows it. */
  #writeSyn(packet: ProxySegment, bytes: Uint8Array, initial: number, index: number): number {
    const segment = this.#segment;
    segment.sequence = initial;
    segment.acknowledgement = 0;
    segment.flags = SYN;
    segment.mss = cookieMss(index);
    segment.scale = cookieScale(index);
    segment.isSackPermitted = cookieSack(index);
    // The window of a SYN is never scaled (RFC 7323 section 2.2); that of an acknowledgement is.
    if (segment.scale !== NO_SCALE) segment.window = Math.min(WINDOW_MAX, segment.window << segment.scale);
    return segment.write(bytes, packet.ipAt, packet.isIpv6);
  }

  /** The largest segment that clients are told of: what servers take, or less where zones allow less. */
  #promisedMss(isIpv6: boolean, mssMax: number): number {
    const mss = isIpv6 ? this.#promise.mssIpv6 : this.#promise.mssIpv4;
    return mssMax === 0 ? mss : Math.min(mss, mssMax);
  }

  /** Counts a server that offers less than was promised for it. The connection works, slower than it should. */
  #compare(answer: Segment, promisedMss: number, scale: number): void {
    const isLess = answer.mss < promisedMss || (scale !== NO_SCALE && answer.scale < this.#promise.scale);
    if (isLess) count(this.#counters, COUNT.synProxyMismatched);
  }
}
