/**
 * Neighbours: a bounded cache of who has which address in which zone (ARP, RFC 826; RFC 4861 section 5.1). Owns states, retries and ageing of
 * entries; sending requests and the frames that wait are the engine's (it is told through the lists below).
 *
 *   INCOMPLETE --answer--> RESOLVED --old, in use--> (probed again, still used) --no answer--> FAILED --1 s--> gone
 *       '---- no answer --------------------------------------------------------------------->'
 *
 * Probes have the sender address 0.0.0.0 (RFC 5227 section 1.1): they ask, and teach the hosts nothing, since the
 * gateway's address must lead to a virtual MAC, never to a node's own.
 */
import { ADDRESS_WORDS, copyAddress, isSameAddress } from "../base/address.ts";
import { setMac } from "../packet/ethernet.ts";
import { NONE } from "./flow-layout.ts";

const STATE_FREE = 0;
const STATE_INCOMPLETE = 1;
const STATE_RESOLVED = 2;
const STATE_FAILED = 3;

/** Waits before the second, third, ... probe, then before giving up. */
const RETRY_MS = [50, 100, 200, 400, 800];
const REFRESH_AFTER_MS = 30_000;
const FAILED_FOR_MS = 1000;
/** Entries that are probed at the same time; more new ones are refused. */
const PENDING_MAX = 512;
/** Entries of a port that are asked again at a time. */
const ASKED_AGAIN_MAX = 8;
/** Cells looked at for one to evict. */
const EVICTION_STEPS = 64;

export class Neighbours {
  readonly capacity: number;
  used = 0;
  /** Entries that made room for others, and those that found none or that too many were being probed. */
  evicted = 0;
  refused = 0;
  /** Four words an entry. */
  readonly address: Int32Array;
  readonly zone: Uint8Array;
  readonly port: Uint8Array;
  /** Six bytes an entry. */
  readonly mac: Uint8Array;
  /** Entries that are being probed, and how many. */
  readonly pending = new Int32Array(PENDING_MAX);
  pendingCount = 0;
  readonly #state: Uint8Array;
  readonly #isPending: Uint8Array;
  readonly #tries: Uint8Array;
  readonly #next: Int32Array;
  readonly #buckets: Int32Array;
  /** RESOLVED: fresh until. INCOMPLETE or pending: next probe at. FAILED: gone at. */
  readonly #freshUntilMs: Float64Array;
  readonly #probeAtMs: Float64Array;
  readonly #retryMs = Float64Array.from(RETRY_MS);
  readonly #mask: number;
  readonly #clock: Float64Array;
  #hand = 0;

  constructor(capacity: number, clock: Float64Array) {
    this.capacity = capacity;
    this.#clock = clock;
    this.address = new Int32Array(capacity * ADDRESS_WORDS);
    this.zone = new Uint8Array(capacity);
    this.port = new Uint8Array(capacity);
    this.mac = new Uint8Array(capacity * 6);
    this.#state = new Uint8Array(capacity);
    this.#isPending = new Uint8Array(capacity);
    this.#tries = new Uint8Array(capacity);
    this.#next = new Int32Array(capacity).fill(NONE);
    this.#freshUntilMs = new Float64Array(capacity);
    this.#probeAtMs = new Float64Array(capacity);
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(16, capacity)));
    this.#buckets = new Int32Array(buckets).fill(NONE);
    this.#mask = buckets - 1;
  }

  /** The entry of the address at `words[at]`, or NONE. */
  find(zone: number, words: Int32Array, at: number): number {
    let entry = this.#buckets[this.#bucket(zone, words, at)]!;
    while (
      entry !== NONE &&
      !(this.zone[entry] === zone && isSameAddress(this.address, entry * ADDRESS_WORDS, words, at))
    ) {
      entry = this.#next[entry]!;
    }
    return entry;
  }

  /** Whether frames can be sent to the entry, without asking for anything. */
  isResolved(entry: number): boolean {
    return this.#state[entry] === STATE_RESOLVED;
  }

  /** Whether frames can be sent to the entry. An old entry that is used is asked to be probed again. */
  isUsable(entry: number): boolean {
    if (this.#state[entry] !== STATE_RESOLVED) return false;
    if (this.#freshUntilMs[entry]! <= this.#clock[0]!) this.#ask(entry);
    return true;
  }

  /** Whether an address was asked for in vain lately. */
  isFailed(entry: number): boolean {
    if (this.#state[entry] !== STATE_FAILED) return false;
    if (this.#probeAtMs[entry]! > this.#clock[0]! || this.pendingCount >= PENDING_MAX) return true;
    this.#state[entry] = STATE_INCOMPLETE;
    this.#ask(entry);
    return false;
  }

  /** A new entry that is probed from the next takeProbe() on; NONE when too many are. `isUsed` tells who frames wait for. */
  create(zone: number, words: Int32Array, at: number): number {
    const entry = this.pendingCount >= PENDING_MAX ? NONE : this.#place(zone, words, at);
    if (entry === NONE) {
      this.refused++;
      return NONE;
    }
    this.#state[entry] = STATE_INCOMPLETE;
    this.#ask(entry);
    return entry;
  }

  /**
   * Learns an address from ARP or neighbour discovery. Unknown ones only when `isWanted` (the packet was meant for us). Returns the entry when
   * frames that wait for it can leave now, else NONE.
   */
  learn(
    zone: number,
    words: Int32Array,
    at: number,
    port: number,
    bytes: Uint8Array,
    macAt: number,
    isWanted: boolean,
  ): number {
    let entry = this.find(zone, words, at);
    if (entry === NONE) {
      if (!isWanted) return NONE;
      entry = this.#place(zone, words, at);
      if (entry === NONE) return NONE;
    }
    const wasResolved = this.#state[entry] === STATE_RESOLVED;
    setMac(this.mac, entry * 6, bytes, macAt);
    this.port[entry] = port;
    this.#state[entry] = STATE_RESOLVED;
    this.#freshUntilMs[entry] = this.#clock[0]! + REFRESH_AFTER_MS;
    this.#tries[entry] = 0;
    return wasResolved ? NONE : entry;
  }

  /** Has some addresses that were found on a port probed again, however fresh they are. Answers how many. */
  askAgain(port: number): number {
    let asked = 0;
    for (let entry = 0; entry < this.used && asked < ASKED_AGAIN_MAX; entry++) {
      if (this.#state[entry] !== STATE_RESOLVED || this.port[entry] !== port) continue;
      this.#freshUntilMs[entry] = this.#clock[0]!;
      this.#ask(entry);
      asked++;
    }
    return asked;
  }

  /**
   * Walks the pending entries: answers an entry that must be probed now, or NONE when all were looked at. Entries that
   * were answered leave the list; those that gave no answer become FAILED and are reported by takeFailed().
   */
  takeProbe(): number {
    const now = this.#clock[0]!;
    while (this.#step < this.pendingCount) {
      const entry = this.pending[this.#step]!;
      if (this.#state[entry] === STATE_RESOLVED && this.#freshUntilMs[entry]! > now) {
        this.#settle(this.#step);
        continue;
      }
      this.#step++;
      if (this.#probeAtMs[entry]! > now) continue;
      const tries = this.#tries[entry]!;
      if (tries > RETRY_MS.length - 1) {
        this.#step--;
        this.#settle(this.#step);
        this.#state[entry] = STATE_FAILED;
        this.#probeAtMs[entry] = now + FAILED_FOR_MS;
        this.failed = entry;
        return NONE;
      }
      this.#probeAtMs[entry] = now + this.#retryMs[tries]!;
      this.#tries[entry] = tries + 1;
      return entry;
    }
    this.#step = 0;
    return NONE;
  }

  /** Set by takeProbe() when it gave up on an entry; the caller resets it to NONE and calls takeProbe() again. */
  failed = NONE;
  #step = 0;

  #ask(entry: number): void {
    if (this.#isPending[entry] === 1 || this.pendingCount >= PENDING_MAX) return;
    this.#isPending[entry] = 1;
    this.#tries[entry] = 0;
    this.#probeAtMs[entry] = 0;
    this.pending[this.pendingCount++] = entry;
  }

  #settle(position: number): void {
    this.#isPending[this.pending[position]!] = 0;
    this.pending[position] = this.pending[--this.pendingCount]!;
  }

  #place(zone: number, words: Int32Array, at: number): number {
    const entry = this.used < this.capacity ? this.used++ : this.#evict();
    if (entry === NONE) return NONE;
    const bucket = this.#bucket(zone, words, at);
    copyAddress(this.address, entry * ADDRESS_WORDS, words, at);
    this.zone[entry] = zone;
    this.#next[entry] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
    return entry;
  }

  /** Forgets an entry that nobody waits for, preferably an old one: a hand goes round (clock algorithm). */
  #evict(): number {
    const now = this.#clock[0]!;
    let chosen = NONE;
    for (let i = 0; i < EVICTION_STEPS; i++) {
      const entry = this.#hand;
      this.#hand = this.#hand + 1 === this.capacity ? 0 : this.#hand + 1;
      if (this.#isPending[entry] === 1) continue;
      chosen = entry;
      if (this.#freshUntilMs[entry]! <= now) break;
    }
    if (chosen === NONE) return NONE;
    const bucket = this.#bucket(this.zone[chosen]!, this.address, chosen * ADDRESS_WORDS);
    let cursor = this.#buckets[bucket]!;
    if (cursor === chosen) this.#buckets[bucket] = this.#next[chosen]!;
    else {
      while (this.#next[cursor] !== chosen) cursor = this.#next[cursor]!;
      this.#next[cursor] = this.#next[chosen]!;
    }
    this.#state[chosen] = STATE_FREE;
    this.evicted++;
    return chosen;
  }

  #bucket(zone: number, words: Int32Array, at: number): number {
    const folded =
      words[at]! ^
      Math.imul(words[at + 1]!, 0x9e3779b1) ^
      Math.imul(words[at + 2]!, 0x85ebca6b) ^
      words[at + 3]!;
    const x = Math.imul(folded ^ (zone << 24), 0x45d9f3b);
    return (x ^ (x >>> 15)) & this.#mask;
  }
}
