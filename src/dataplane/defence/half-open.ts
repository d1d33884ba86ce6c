/**
 * Half-open: how many TCP connections have not finished their handshake, by source, by destination and in all (PP-Module
 * FFW_RUL_EXT.1.10). Owns these counts and the limits on them; who is exempt is the caller's.
 *
 *   source        the whole IPv4 address, the /64 of an IPv6 address: what one host can choose from
 *   destination   address and port of the server, after translation: half-open connections fill the backlog of one listening
 *                 socket, and a flood of one service must not shut the others of its host
 *
 * A row is counted by settle() and stops being counted by settle() or forget(); a bit per row says which, so calls may be
 * repeated or left out without harm. Only rows that this node tracks itself are counted: after a takeover a connection is
 * counted when its next segment passes, so gaining slots costs nothing, and a replica never counts.
 */
import { isIpv4 } from "../../base/address.ts";
import { type HashKey, indexHash } from "../../base/hash.ts";
import {
  F_ADDRESSES,
  F_META,
  F_PORTS,
  F_SOURCE,
  FLAG_REPLICA,
  REPLY_TUPLE,
  ROW_WORDS,
} from "../flow-layout.ts";
import type { FlowTable } from "../flow-table.ts";
import { isHalfOpen } from "./assurance.ts";
import { CountSketch, sketchCells, sketchError } from "./count-sketch.ts";

/** What judge() answers. */
export const HALF_OPEN_ALLOWED = 0;
export const HALF_OPEN_OF_SOURCE = 1;
export const HALF_OPEN_OF_DESTINATION = 2;
export const HALF_OPEN_IN_ALL = 3;

/** Half-open connections; 0: no limit. */
export interface HalfOpenLimits {
  readonly perSource: number;
  readonly perDestination: number;
  readonly total: number;
  /** To one destination or in all: beyond it isFlooded() is true. */
  readonly proxyAbove: number;
}

/** Domain separators of the hashes. */
const SOURCE_IPV6 = 0x10;
const DESTINATION = 0x20;
const FIRST = 1;
const SECOND = 2;
/** Words of the reply tuple's source within F_ADDRESSES: behind original source and destination. */
const SERVER_AT = 6;
const NO_LIMIT = 0x7fffffff;

export class HalfOpen {
  /** Probability that a source without half-open connections is refused for others' sake, at worst; see count-sketch.ts. */
  readonly falseRefusal: number;
  readonly #table: FlowTable;
  readonly #key: HashKey;
  readonly #perSource: number;
  readonly #perDestination: number;
  readonly #total: number;
  readonly #proxyAbove: number;
  readonly #sources: CountSketch;
  readonly #destinations: CountSketch;
  /** By row: 1 while it is counted. */
  readonly #isCounted: Uint8Array;
  readonly #address = new Int32Array(4);
  #now = 0;
  /** Hashes of the key in hand. */
  #first = 0;
  #second = 0;

  constructor(table: FlowTable, key: HashKey, limits: HalfOpenLimits) {
    this.#table = table;
    this.#key = key;
    this.#perSource = limits.perSource || NO_LIMIT;
    this.#perDestination = limits.perDestination || NO_LIMIT;
    this.#total = limits.total || NO_LIMIT;
    this.#proxyAbove = limits.proxyAbove || NO_LIMIT;
    this.#isCounted = new Uint8Array(table.capacity);
    const most = Math.min(table.capacity, this.#total);
    const leastOfDestination = Math.min(this.#perDestination, this.#proxyAbove);
    this.#sources = new CountSketch(sketchCells(most, this.#perSource));
    this.#destinations = new CountSketch(sketchCells(most, leastOfDestination));
    this.falseRefusal = sketchError(this.#sources.cells, most, this.#perSource);
  }

  /** Half-open connections that this node tracks. */
  get now(): number {
    return this.#now;
  }

  /** Whether one more may begin, from a source to a server's address and port after translation: HALF_OPEN_*. */
  judge(
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    port: number,
  ): number {
    if (this.#now >= this.#total) return HALF_OPEN_IN_ALL;
    if (this.#perSource !== NO_LIMIT) {
      this.#hashSource(source, sourceAt);
      if (this.#sources.least(this.#first, this.#second) >= this.#perSource) return HALF_OPEN_OF_SOURCE;
    }
    if (this.#perDestination !== NO_LIMIT) {
      this.#hashDestination(destination, destinationAt, port);
      if (this.#destinations.least(this.#first, this.#second) >= this.#perDestination) {
        return HALF_OPEN_OF_DESTINATION;
      }
    }
    return HALF_OPEN_ALLOWED;
  }

  /** Whether so many are half-open, to this destination or in all, that new ones have to prove their source first. */
  isFlooded(destination: Int32Array, destinationAt: number, port: number): boolean {
    if (this.#proxyAbove === NO_LIMIT) return false;
    if (this.#now > this.#proxyAbove) return true;
    this.#hashDestination(destination, destinationAt, port);
    return this.#destinations.least(this.#first, this.#second) > this.#proxyAbove;
  }

  /** Counts a row, or stops counting it, by what it is now. After each change of a TCP row's state and of FLAG_REPLICA. */
  settle(row: number): void {
    const words = this.#table.words;
    const isReplica = (words[row * ROW_WORDS + F_META]! & FLAG_REPLICA) !== 0;
    const isNow = !isReplica && isHalfOpen(words, row) ? 1 : 0;
    if (isNow === this.#isCounted[row]) return;
    this.#isCounted[row] = isNow;
    this.#count(row, isNow === 1 ? 1 : -1);
  }

  /** Stops counting a row that is about to leave the table, whatever it is. */
  forget(row: number): void {
    if (this.#isCounted[row] === 0) return;
    this.#isCounted[row] = 0;
    this.#count(row, -1);
  }

  #count(row: number, by: number): void {
    const words = this.#table.words;
    const address = this.#address;
    const base = row * ROW_WORDS;
    this.#now += by;
    this.#load(base + F_ADDRESSES, base + F_SOURCE);
    this.#hashSource(address, 0);
    this.#sources.add(this.#first, this.#second, by);
    this.#load(base + F_ADDRESSES + SERVER_AT, base + REPLY_TUPLE + F_SOURCE);
    this.#hashDestination(address, 0, words[base + REPLY_TUPLE + F_PORTS]! >>> 16);
    this.#destinations.add(this.#first, this.#second, by);
  }

  /** Puts an address of a row together: three upper words, and the last one. */
  #load(upperAt: number, lastAt: number): void {
    const words = this.#table.words;
    const address = this.#address;
    address[0] = words[upperAt]!;
    address[1] = words[upperAt + 1]!;
    address[2] = words[upperAt + 2]!;
    address[3] = words[lastAt]!;
  }

  #hashSource(words: Int32Array, at: number): void {
    const isV4 = isIpv4(words, at);
    const a = isV4 ? words[at + 3]! : words[at]!;
    const b = isV4 ? 0 : words[at + 1]!;
    const kind = isV4 ? 0 : SOURCE_IPV6;
    this.#first = indexHash(this.#key, a, b, kind, FIRST);
    this.#second = indexHash(this.#key, a, b, kind, SECOND);
  }

  #hashDestination(words: Int32Array, at: number, port: number): void {
    const address = indexHash(this.#key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    this.#first = indexHash(this.#key, address, port, DESTINATION, FIRST);
    this.#second = indexHash(this.#key, address, port, DESTINATION, SECOND);
  }
}
