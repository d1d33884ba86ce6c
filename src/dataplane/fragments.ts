/**
 * Fragments: virtual reassembly. Owns the incomplete datagrams of both families, their frames and deadlines, and decides
 * who makes room for whom. Nothing is put together: once all of a datagram is there, its frames are handed out in order of
 * offset, and go on one by one. What the engine makes of them is not decided here.
 *
 *   add() -> VERDICT_HELD         the frame waits here for the others
 *         -> COMPLETE             take() hands the datagram's frames out, the first fragment first
 *         -> a drop's verdict     the frame is freed; if the datagram cannot be whole any more, the others too
 *
 *   datagram:  collecting --all there--> gone
 *                  '------ refused (overlap, too many, no room) --> remembered without frames --time--> gone
 */
import { ADDRESS_WORDS } from "../base/address.ts";
import { assert } from "../base/assert.ts";
import { indexHash } from "../base/hash.ts";
import type { FragmentInfo } from "../packet/fragment.ts";
import * as reading from "../packet/fragment.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { NONE } from "./flow-layout.ts";
import type { FragmentLimits } from "./fragment-limits.ts";
import { FragmentPieces, PLACE_CONFLICT, PLACE_DUPLICATE } from "./fragment-pieces.ts";
import { FragmentSources } from "./fragment-sources.ts";
import { freeLinks, LinkedLists } from "./linked-lists.ts";
import { DIRECT, REDIRECTED_TO_MEET } from "./packet.ts";
import { dropVerdict, VERDICT_HELD } from "./verdict.ts";

/** Answer of add(): all of the datagram is there, and take() hands it out. */
export const COMPLETE = -1;

const DROP_INVALID = dropVerdict("fragment_invalid");
const DROP_OVERLAP = dropVerdict("fragment_overlap");
const DROP_DUPLICATE = dropVerdict("fragment_duplicate");
const DROP_MANY = dropVerdict("fragment_many");
const DROP_TIMEOUT = dropVerdict("fragment_timeout");
const DROP_FULL = dropVerdict("fragment_full");
const DROP_SOURCE_LIMIT = dropVerdict("fragment_source_limit");

/** What readFragment() refuses, by its answer; 0: nothing is wrong. */
const WRONG = new Uint8Array(reading.FRAGMENT_SOURCE_ROUTED + 1);
WRONG[reading.FRAGMENT_TRUNCATED] = dropVerdict("truncated");
WRONG[reading.FRAGMENT_BAD_HEADER] = dropVerdict("bad_header");
WRONG[reading.FRAGMENT_INVALID] = DROP_INVALID;
WRONG[reading.FRAGMENT_TINY] = dropVerdict("fragment_tiny");
WRONG[reading.FRAGMENT_SOURCE_ROUTED] = dropVerdict("bad_option");

/** Verdict of an answer of readFragment() that refuses the fragment, else 0. */
export function wrongFragment(answer: number): number {
  return WRONG[answer]!;
}

/** Words of a datagram's key: both addresses, identification, and a tag of family, zone and protocol. */
const KEY_WORDS = 2 * ADDRESS_WORDS + 2;
const K_IDENTIFICATION = 2 * ADDRESS_WORDS;
const K_TAG = K_IDENTIFICATION + 1;
/** Lists by age: datagrams that are collected, and those that are remembered as refused. */
const COLLECTING = 0;
const REFUSED = 1;
/** Datagrams without a first fragment that one call of takeExpired() ends. */
const EXPIRIES_PER_CALL = 64;

export class Fragments {
  /** The frame that take() or takeExpired() handed out: the caller's from then on. */
  at = 0;
  lengthBytes = 0;
  port = 0;
  zone = 0;
  way = 0;
  wayEpoch = 0;
  offsetBytes = 0;
  /** Of the datagram that take() hands out: its payload, behind the IPv4 header or the IPv6 fragment header. */
  datagramBytes = 0;
  /** Datagrams in the table, collecting and refused. */
  used = 0;

  readonly #context: Pick<EngineContext, "frames" | "counters" | "clock" | "key">;
  readonly #limits: FragmentLimits;
  readonly #pieces: FragmentPieces;
  readonly #sources: FragmentSources;
  readonly #ages: LinkedLists;
  readonly #keys: Int32Array;
  readonly #source: Int32Array;
  readonly #deadlineMs: Float64Array;
  /** Verdict with which a datagram was refused; 0: it is collected. */
  readonly #refusal: Uint8Array;
  readonly #buckets: Int32Array;
  readonly #bucket: Int32Array;
  /** In a bucket's chain, or in the list of free datagrams. */
  readonly #next: Int32Array;
  readonly #datagramsReserved: number;
  readonly #framesReserved: number;
  #free = 0;
  /** The datagram that take() hands out. */
  #complete = NONE;

  constructor(context: Pick<EngineContext, "frames" | "counters" | "clock" | "key">, limits: FragmentLimits) {
    const { datagramsMax, framesMax, reservePercent } = limits;
    this.#context = context;
    this.#limits = limits;
    this.#pieces = new FragmentPieces(framesMax, datagramsMax);
    this.#sources = new FragmentSources(context.key, datagramsMax);
    this.#ages = new LinkedLists(datagramsMax, 2);
    this.#keys = new Int32Array(datagramsMax * KEY_WORDS);
    this.#source = new Int32Array(datagramsMax);
    this.#deadlineMs = new Float64Array(datagramsMax);
    this.#refusal = new Uint8Array(datagramsMax);
    this.#bucket = new Int32Array(datagramsMax);
    this.#next = freeLinks(datagramsMax);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, datagramsMax)))).fill(NONE);
    this.#datagramsReserved = Math.floor((datagramsMax * reservePercent) / 100);
    this.#framesReserved = Math.floor((framesMax * reservePercent) / 100);
  }

  /** Frames that wait in the table. */
  get frames(): number {
    return this.#pieces.used;
  }

  /** Takes a fragment (FRAGMENT_PART) with its frame and origin: see the top. The frame is the table's in every case. */
  add(
    fragment: FragmentInfo,
    at: number,
    lengthBytes: number,
    port: number,
    zone: number,
    way: number,
    wayEpoch: number,
  ): number {
    assert(this.#complete === NONE, "a fragment came before the last datagram was taken");
    const pieces = this.#pieces;
    // A datagram that was whole on another node comes here in one go: it is no invention of a flood.
    const isProven = way !== DIRECT && way !== REDIRECTED_TO_MEET;
    const datagram = this.#findOrOpen(fragment, zone, isProven);
    if (datagram === NONE) return this.#drop(at, DROP_FULL);
    if (this.#refusal[datagram] !== 0) return this.#drop(at, this.#refusal[datagram]!);
    const place = pieces.place(datagram, fragment, this.#context.frames.bytes);
    if (place === PLACE_DUPLICATE) return this.#drop(at, DROP_DUPLICATE);
    if (place === PLACE_CONFLICT) return this.#refuse(datagram, at, DROP_OVERLAP);
    if (pieces.bytesWith(datagram, fragment) > reading.DATAGRAM_BYTES_MAX) {
      return this.#refuse(datagram, at, DROP_INVALID);
    }
    if (pieces.count(datagram) >= this.#limits.fragmentsPerDatagram) {
      return this.#refuse(datagram, at, DROP_MANY);
    }
    if (!this.#makeRoom(datagram, isProven)) return this.#refuse(datagram, at, DROP_FULL);
    const piece = pieces.insert(datagram, fragment, at, lengthBytes);
    pieces.port[piece] = port;
    pieces.way[piece] = way;
    pieces.wayEpoch[piece] = wayEpoch;
    const source = this.#source[datagram]!;
    this.#sources.frames[source] = this.#sources.frames[source]! + 1;
    const whole = pieces.wholeBytes(datagram);
    if (whole === 0) return this.#answer(VERDICT_HELD);
    this.#complete = datagram;
    this.datagramBytes = whole;
    this.zone = zone;
    count(this.#context.counters, COUNT.fragmentDatagramsWhole);
    return COMPLETE;
  }

  /** After COMPLETE: hands out the datagram's next frame; false when there is no more, and only then add() goes on. */
  take(): boolean {
    const datagram = this.#complete;
    if (datagram === NONE) return false;
    if (this.#handOut(datagram)) return true;
    this.#complete = NONE;
    this.#close(datagram, 0);
    this.#report();
    return false;
  }

  /**
   * Ends datagrams whose time is over. True: the first fragment of one is handed out, for an ICMP time exceeded (code 1) if
   * one is due; the caller counts it as fragment_timeout and frees it, and calls again. False: nothing more for now.
   */
  takeExpired(): boolean {
    assert(this.#complete === NONE, "time went on before the last datagram was taken");
    const now = this.#context.clock[0]!;
    let isFirst = false;
    for (let i = 0; i < EXPIRIES_PER_CALL && !isFirst; i++) {
      let datagram = this.#ages.head(REFUSED);
      if (datagram === NONE || this.#deadlineMs[datagram]! > now) datagram = this.#ages.head(COLLECTING);
      if (datagram === NONE || this.#deadlineMs[datagram]! > now) break;
      const head = this.#pieces.head(datagram);
      isFirst = head !== NONE && this.#pieces.offsetBytes[head] === 0;
      if (isFirst) this.#handOut(datagram);
      this.#close(datagram, DROP_TIMEOUT);
    }
    this.#report();
    return isFirst;
  }

  /** Frees all frames and forgets all datagrams. */
  clear(): void {
    this.#complete = NONE;
    for (let list = COLLECTING; list <= REFUSED; list++) {
      for (let d = this.#ages.head(list); d !== NONE; d = this.#ages.head(list)) this.#close(d, DROP_TIMEOUT);
    }
    this.#report();
  }

  #findOrOpen(fragment: FragmentInfo, zone: number, isProven: boolean): number {
    const tag = (zone << 9) | (fragment.isIpv6 ? 0x100 : fragment.protocol);
    const bucket = this.#hash(fragment, tag) & (this.#buckets.length - 1);
    let datagram = this.#buckets[bucket]!;
    while (datagram !== NONE && !this.#isOf(datagram, fragment, tag)) datagram = this.#next[datagram]!;
    if (datagram !== NONE) {
      if (this.#deadlineMs[datagram]! > this.#context.clock[0]!) return datagram;
      this.#close(datagram, DROP_TIMEOUT);
    }
    return this.#open(fragment, zone, tag, bucket, isProven);
  }

  #open(fragment: FragmentInfo, zone: number, tag: number, bucket: number, isProven: boolean): number {
    const { datagramsMax, datagramsPerSource, timeoutMs } = this.#limits;
    const known = this.#sources.find(fragment, zone);
    // A source that has its share makes room for itself: what is oldest is the least likely to become whole.
    if (known !== NONE && this.#sources.count(known) >= datagramsPerSource) {
      this.#close(this.#sources.datagrams.head(known), DROP_SOURCE_LIMIT);
    }
    const room = isProven ? datagramsMax : datagramsMax - this.#datagramsReserved;
    if (this.used >= room) {
      const refused = this.#ages.head(REFUSED);
      const victim = refused === NONE ? this.#oldestBut(NONE) : refused;
      if (victim === NONE) return NONE;
      this.#close(victim, DROP_FULL);
    }
    const datagram = this.#free;
    this.#free = this.#next[datagram]!;
    this.used++;
    const key = datagram * KEY_WORDS;
    for (let i = 0; i < 2 * ADDRESS_WORDS; i++) this.#keys[key + i] = fragment.words[i]!;
    this.#keys[key + K_IDENTIFICATION] = fragment.identification;
    this.#keys[key + K_TAG] = tag;
    this.#bucket[datagram] = bucket;
    this.#next[datagram] = this.#buckets[bucket]!;
    this.#buckets[bucket] = datagram;
    this.#refusal[datagram] = 0;
    // RFC 8200 section 4.5: the time runs from the first fragment to arrive, and no other one prolongs it.
    this.#deadlineMs[datagram] = this.#context.clock[0]! + timeoutMs;
    this.#ages.append(COLLECTING, datagram);
    this.#source[datagram] = this.#sources.enter(fragment, zone, datagram);
    return datagram;
  }

  /** Whether there is room for one more frame of a datagram; others make it if need be. */
  #makeRoom(datagram: number, isProven: boolean): boolean {
    const { framesMax, framesPerSource, freeFramesMin } = this.#limits;
    const source = this.#source[datagram]!;
    if (this.#sources.frames[source]! >= framesPerSource) {
      this.#close(this.#oldestOfSourceBut(source, datagram), DROP_SOURCE_LIMIT);
    }
    const room = isProven ? framesMax : framesMax - this.#framesReserved;
    if (this.#pieces.used < room && this.#context.frames.available() >= freeFramesMin) return true;
    const victim = this.#oldestBut(datagram);
    if (victim === NONE) return false;
    this.#close(victim, DROP_FULL);
    return true;
  }

  /** The oldest datagram but one that is collected and has had its time of grace, or NONE. */
  #oldestBut(datagram: number): number {
    const { graceMs, timeoutMs } = this.#limits;
    let oldest = this.#ages.head(COLLECTING);
    if (oldest !== NONE && oldest === datagram) oldest = this.#ages.next(oldest);
    if (oldest === NONE) return NONE;
    const ageMs = this.#context.clock[0]! - (this.#deadlineMs[oldest]! - timeoutMs);
    return ageMs >= graceMs ? oldest : NONE;
  }

  /** The oldest datagram of a source but one that holds frames; the source has more frames than one datagram may. */
  #oldestOfSourceBut(source: number, datagram: number): number {
    const { datagrams } = this.#sources;
    let oldest = datagrams.head(source);
    while (oldest === datagram || this.#refusal[oldest] !== 0) {
      oldest = datagrams.next(oldest);
      assert(oldest !== NONE, "a source has frames that none of its datagrams holds");
    }
    return oldest;
  }

  /** Drops a fragment with all others of its datagram, also those to come. */
  #refuse(datagram: number, at: number, verdict: number): number {
    this.#turnRefused(datagram, verdict);
    return this.#drop(at, verdict);
  }

  #turnRefused(datagram: number, verdict: number): void {
    this.#freePieces(datagram, verdict);
    this.#refusal[datagram] = verdict;
    // Counted anew from here, so that the list stays in the order of deadlines.
    this.#deadlineMs[datagram] = this.#context.clock[0]! + this.#limits.timeoutMs;
    this.#ages.remove(COLLECTING, datagram);
    this.#ages.append(REFUSED, datagram);
  }

  /** Ends a datagram; frames that it still holds are dropped with `verdict`. */
  #close(datagram: number, verdict: number): void {
    this.#freePieces(datagram, verdict);
    this.#ages.remove(this.#refusal[datagram] === 0 ? COLLECTING : REFUSED, datagram);
    this.#sources.leave(this.#source[datagram]!, datagram);
    const bucket = this.#bucket[datagram]!;
    let cursor = this.#buckets[bucket]!;
    if (cursor === datagram) this.#buckets[bucket] = this.#next[datagram]!;
    else {
      while (this.#next[cursor] !== datagram) cursor = this.#next[cursor]!;
      this.#next[cursor] = this.#next[datagram]!;
    }
    this.#next[datagram] = this.#free;
    this.#free = datagram;
    this.used--;
  }

  #freePieces(datagram: number, verdict: number): void {
    const { frames, counters } = this.#context;
    for (let piece = this.#shift(datagram); piece !== NONE; piece = this.#shift(datagram)) {
      frames.free(this.#pieces.at[piece]!);
      count(counters, verdict);
    }
  }

  /** The datagram's next frame goes to the caller; false when there is none. */
  #handOut(datagram: number): boolean {
    const piece = this.#shift(datagram);
    if (piece === NONE) return false;
    const pieces = this.#pieces;
    this.at = pieces.at[piece]!;
    this.lengthBytes = pieces.lengthBytes[piece]!;
    this.port = pieces.port[piece]!;
    this.zone = this.#keys[datagram * KEY_WORDS + K_TAG]! >>> 9;
    this.way = pieces.way[piece]!;
    this.wayEpoch = pieces.wayEpoch[piece]!;
    this.offsetBytes = pieces.offsetBytes[piece]!;
    return true;
  }

  #shift(datagram: number): number {
    const piece = this.#pieces.shift(datagram);
    if (piece === NONE) return NONE;
    const source = this.#source[datagram]!;
    this.#sources.frames[source] = this.#sources.frames[source]! - 1;
    return piece;
  }

  #drop(at: number, verdict: number): number {
    this.#context.frames.free(at);
    return this.#answer(verdict);
  }

  #answer(verdict: number): number {
    this.#report();
    return verdict;
  }

  #report(): void {
    const { counters } = this.#context;
    counters[COUNT.fragmentDatagramsNow] = this.used;
    counters[COUNT.fragmentFramesNow] = this.#pieces.used;
  }

  #isOf(datagram: number, fragment: FragmentInfo, tag: number): boolean {
    const keys = this.#keys;
    const key = datagram * KEY_WORDS;
    if (keys[key + K_IDENTIFICATION] !== fragment.identification || keys[key + K_TAG] !== tag) return false;
    for (let i = 0; i < 2 * ADDRESS_WORDS; i++) {
      if (keys[key + i] !== fragment.words[i]) return false;
    }
    return true;
  }

  #hash(fragment: FragmentInfo, tag: number): number {
    const { key } = this.#context;
    const { words, identification } = fragment;
    if (!fragment.isIpv6) return indexHash(key, words[3]!, words[7]!, identification, tag);
    const source = indexHash(key, words[0]!, words[1]!, words[2]!, words[3]!);
    const destination = indexHash(key, words[4]!, words[5]!, words[6]!, words[7]!);
    return indexHash(key, source, destination, identification, tag);
  }
}
