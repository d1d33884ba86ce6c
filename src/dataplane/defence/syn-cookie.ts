/**
 * SYN cookies (RFC 4987 section 3.6): the answer to a SYN without keeping anything, because the sequence number of the answer says
 * all that has to be known when its acknowledgement comes. Owns the format and the keys; frames are syn-proxy.ts.
 *
 *   31                    8 7        5 4       2 1      0
 *   | keyed hash, 24 bits  | options  | MSS     | period |     the low byte is xored with the highest one, so that it
 *                          |<------ index ----->|              tells an outsider nothing
 *
 * The hash covers addresses, ports, the client's sequence number and the low byte. Its key belongs to a period of 64 s and is
 * derived from a secret of the cluster, so each node can check what another one made. Clocks need to agree to within a period
 * only: two bits say in which period the cookie was made, and the one before and the one after the checker's own count as well. A cookie
 * can be used for 128 s, 192 s where the maker's clock was ahead.
 *
 * A forged acknowledgement is right with a probability of 2 ** -24 for each client sequence number that is tried.
 */
import { isIpv4 } from "../../base/address.ts";
import type { HashKey } from "../../base/hash.ts";
import { NO_SCALE } from "../../packet/tcp.ts";
import { NONE } from "../flow-layout.ts";
import { cookieHash } from "./cookie-hash.ts";

/** Length of a period of the wall clock. */
export const COOKIE_PERIOD_MS = 64_000;

/** Largest segments that a cookie can tell; a client's is rounded down. */
const MSS = [216, 536, 1220, 1300, 1360, 1400, 1440, 1460] as const;
/** Window scales, by options: the client's is rounded down. Whoever scales windows and knows no SACK gets neither. */
const SCALE = [NO_SCALE, NO_SCALE, 2, 4, 6, 7, 8, 10] as const;
/** From these options on the client knows SACK. */
const OPTIONS_SACK = 1;
const OPTIONS_SCALE = 2;

const PERIODS = 4;
const KEY_WORDS = 2;
/** Words of a message: two IPv6 addresses, ports, the client's number, the low byte. */
const MESSAGE_WORDS = 11;
const DERIVE_LABEL = 0x73796e63;

/** The largest segment that an index (what check() answers) stands for. */
export function cookieMss(index: number): number {
  return MSS[index & 7]!;
}

/** The client's window scale, or NO_SCALE. */
export function cookieScale(index: number): number {
  return SCALE[(index >>> 3) & 7]!;
}

/** Whether the client knows SACK. */
export function cookieSack(index: number): boolean {
  return ((index >>> 3) & 7) >= OPTIONS_SACK;
}

/** The index that says most of what a client offered and nothing that it did not. */
export function cookieIndex(mss: number, scale: number, isSackPermitted: boolean): number {
  let size = MSS.length - 1;
  while (size > 0 && MSS[size]! > mss) size--;
  if (!isSackPermitted) return size;
  let options = SCALE.length - 1;
  while (options >= OPTIONS_SCALE && SCALE[options]! > scale) options--;
  return size | (options << 3);
}

export class SynCookies {
  readonly #secret: HashKey;
  /** By period modulo PERIODS. */
  readonly #keys = new Int32Array(PERIODS * KEY_WORDS);
  readonly #keyPeriod = new Float64Array(PERIODS).fill(Number.NaN);
  readonly #message = new Int32Array(MESSAGE_WORDS);
  #period = 0;

  /** `secret`: the same on all nodes, and used for nothing else. */
  constructor(secret: HashKey) {
    this.#secret = secret;
    this.#setPeriod(0);
  }

  /** Tells the time: `wallMs[0]` milliseconds of a clock on which the nodes agree (since 1970). Cheap; about every second. */
  advance(wallMs: Float64Array): void {
    const period = Math.floor(wallMs[0]! / COOKIE_PERIOD_MS);
    if (period !== this.#period) this.#setPeriod(period);
  }

  /** The sequence number that answers a SYN. `ports`: source << 16 | destination, as the SYN has them. */
  make(
    words: Int32Array,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    clientSequence: number,
    index: number,
  ): number {
    const period = this.#period & (PERIODS - 1);
    return this.#seal(words, sourceAt, destinationAt, ports, clientSequence, (index << 2) | period);
  }

  /** The index that a cookie was made with, or NONE when it was not made for this client in the last periods. */
  check(
    words: Int32Array,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    clientSequence: number,
    cookie: number,
  ): number {
    const low = (cookie ^ (cookie >>> 24)) & 0xff;
    const age = (this.#period - low) & (PERIODS - 1);
    // Two periods apart, it is as old as it would be early: no key of ours fits.
    if (age === PERIODS / 2) return NONE;
    const made = this.#seal(words, sourceAt, destinationAt, ports, clientSequence, low);
    return made === cookie ? low >>> 2 : NONE;
  }

  #seal(
    words: Int32Array,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    clientSequence: number,
    low: number,
  ): number {
    const message = this.#message;
    let count = 0;
    // Both families have lengths of their own, and the length is hashed too.
    for (let i = isIpv4(words, sourceAt) ? 3 : 0; i < 4; i++) {
      message[count++] = words[sourceAt + i]!;
      message[count++] = words[destinationAt + i]!;
    }
    message[count++] = ports;
    message[count++] = clientSequence;
    message[count++] = low;
    const key = (low & (PERIODS - 1)) * KEY_WORDS;
    const hash = cookieHash(this.#keys[key]!, this.#keys[key + 1]!, message, count);
    return (hash & ~0xff) | ((low ^ (hash >>> 24)) & 0xff);
  }

  /** Holds the keys of this period and of those beside it. */
  #setPeriod(period: number): void {
    this.#period = period;
    for (let each = period - 1; each <= period + 1; each++) {
      const place = each & (PERIODS - 1);
      if (this.#keyPeriod[place] === each) continue;
      this.#keyPeriod[place] = each;
      for (let word = 0; word < KEY_WORDS; word++) {
        this.#keys[place * KEY_WORDS + word] = this.#derive(each, word);
      }
    }
  }

  /** A word of a period's key: all four parts of the secret have a say, one behind the other. */
  #derive(period: number, word: number): number {
    const secret = this.#secret;
    const message = this.#message;
    let last = 0;
    for (let part = 0; part < secret.length; part += 2) {
      message[0] = DERIVE_LABEL;
      message[1] = period;
      message[2] = word;
      message[3] = last;
      last = cookieHash(secret[part]!, secret[part + 1]!, message, 4);
    }
    return last;
  }
}
