/**
 * Source rate: how many flows one source may begin a second, with a burst, in fixed memory. Owns a bucket for each source
 * that began flows lately; an IPv6 source is its /64.
 *
 * A bucket is one number: the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371 annex A).
 *
 *              now           full again
 *   -------------|---- taken ----|------->      a flow may begin while  full again - now  <=  (burst - 1) / rate
 *
 * A full bucket says nothing and its place is free. Sources hash into sets of four places; when all are taken, the one that
 * is nearest to full makes way: it loses what it took, so memory that is too small lets more through and never refuses anybody
 * who is below his rate. Keys are compared whole, so no source pays for another.
 */

import { isIpv4, MAPPED } from "../../base/address.ts";
import { assert } from "../../base/assert.ts";
import { type HashKey, indexHash } from "../../base/hash.ts";

const WAYS = 4;
const DOMAIN = 0x30;
/** 16 bytes each: 1 MiB. */
const PLACES = 65_536;

export class SourceRate {
  /** Sources that were forgotten before their bucket was full: more of them than there is room for. */
  evicted = 0;
  readonly #key: HashKey;
  readonly #intervalMs: number;
  readonly #toleranceMs: number;
  readonly #mask: number;
  /** Keys by place: words 2 and 3 of an IPv4 source, words 0 and 1 of an IPv6 source (no such prefix is ever routed). */
  readonly #keys: Int32Array;
  readonly #fullAtMs: Float64Array;

  constructor(key: HashKey, perSecond: number, burst: number, places = PLACES) {
    assert(
      perSecond > 0 && burst >= 1,
      `a source cannot begin ${perSecond} flows a second, ${burst} at once`,
    );
    assert(places >= WAYS && (places & (places - 1)) === 0, `${places} places are no power of two`);
    this.#key = key;
    this.#intervalMs = 1000 / perSecond;
    this.#toleranceMs = (burst - 1) * this.#intervalMs;
    this.#mask = places / WAYS - 1;
    this.#keys = new Int32Array(places * 2);
    this.#fullAtMs = new Float64Array(places);
  }

  /** Whether the source at `at` may begin a flow at `clock[0]`; takes from its bucket if so. */
  take(words: Int32Array, at: number, clock: Float64Array): boolean {
    const isV4 = isIpv4(words, at);
    const high = isV4 ? MAPPED : words[at]!;
    const low = isV4 ? words[at + 3]! : words[at + 1]!;
    const place = this.#placeOf(high, low, clock);
    const fullAt = this.#fullAtMs;
    const now = clock[0]!;
    if (fullAt[place]! - now > this.#toleranceMs) return false;
    fullAt[place] = Math.max(fullAt[place]!, now) + this.#intervalMs;
    return true;
  }

  /** The place of a source, made if it has none. */
  #placeOf(high: number, low: number, clock: Float64Array): number {
    const keys = this.#keys;
    const fullAt = this.#fullAtMs;
    const from = (indexHash(this.#key, high, low, DOMAIN, 0) & this.#mask) * WAYS;
    let fullest = from;
    for (let place = from; place < from + WAYS; place++) {
      if (keys[place * 2 + 1] === low && keys[place * 2] === high) return place;
      if (fullAt[place]! < fullAt[fullest]!) fullest = place;
    }
    if (fullAt[fullest]! > clock[0]!) this.evicted++;
    keys[fullest * 2] = high;
    keys[fullest * 2 + 1] = low;
    fullAt[fullest] = clock[0]!;
    return fullest;
  }
}
