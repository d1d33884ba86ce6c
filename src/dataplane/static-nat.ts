/**
 * Static NAT: one-to-one translation of whole prefixes, without state: IPv4 1:1, IPv6 prefix to prefix, and NPTv6, which keeps
 * transport checksums as they are (RFC 6296). Owns the arithmetic; both directions are pure functions of the address, so any
 * node finds the inside host of any packet.
 */
import { ADDRESS_WORDS, writeAddress } from "../base/address.ts";
import type { StaticNatModel } from "./policy-model.ts";
import { isIpv4Prefix, isSamePrefix, PrefixMap } from "./prefix-map.ts";

export const NO_STATIC = -1;

export class StaticNat {
  readonly count: number;
  readonly innerZone: Int32Array;
  readonly outerZone: Int32Array;
  /** Four words each: prefixes, and the mask of the network bits. */
  readonly #inner: Int32Array;
  readonly #outer: Int32Array;
  readonly #mask: Int32Array;
  /** NPTv6: what is added to the adjusted word on the way out; 0 and no word without. */
  readonly #adjustment: Int32Array;
  readonly #isNeutral: Uint8Array;
  readonly #bits: Uint8Array;
  /** By entry: the next one with the same inner prefix, towards another zone; NO_STATIC ends. */
  readonly #nextInner: Int32Array;
  readonly #byInner: PrefixMap;
  readonly #byOuter: PrefixMap;

  constructor(entries: readonly StaticNatModel[]) {
    this.count = entries.length;
    this.innerZone = Int32Array.from(entries, (entry) => entry.innerZone);
    this.outerZone = Int32Array.from(entries, (entry) => entry.outerZone);
    this.#inner = new Int32Array(entries.length * ADDRESS_WORDS);
    this.#outer = new Int32Array(entries.length * ADDRESS_WORDS);
    this.#mask = new Int32Array(entries.length * ADDRESS_WORDS);
    this.#isNeutral = Uint8Array.from(entries, (entry) => Number(entry.isChecksumNeutral));
    this.#bits = Uint8Array.from(entries, (entry) => entry.inner.bits);
    this.#adjustment = new Int32Array(entries.length);
    entries.forEach((entry, i) => {
      const at = i * ADDRESS_WORDS;
      writeAddress(this.#inner, at, entry.inner.address);
      writeAddress(this.#outer, at, entry.outer.address);
      const bits = entry.inner.bits + (isIpv4Prefix(entry.inner) ? 96 : 0);
      for (let word = 0; word < ADDRESS_WORDS; word++) {
        const left = Math.min(32, Math.max(0, bits - word * 32));
        this.#mask[at + word] = left === 0 ? 0 : (-1 << (32 - left)) | 0;
      }
      // RFC 6296 section 3.1: the difference of the two prefixes' sums, in one's complement.
      this.#adjustment[i] = difference(sumOf(this.#inner, at), sumOf(this.#outer, at));
    });
    this.#nextInner = Int32Array.from(entries, ({ inner }, i) =>
      entries.findIndex((other, k) => k > i && isSamePrefix(other.inner, inner)),
    );
    this.#byInner = new PrefixMap(entries.map((entry, value) => ({ prefix: entry.inner, value })));
    this.#byOuter = new PrefixMap(entries.map((entry, value) => ({ prefix: entry.outer, value })));
  }

  /** The entry whose inner prefix holds a source on its way between two zones, or NO_STATIC. */
  ofInner(fromZone: number, toZone: number, words: Int32Array, at: number): number {
    if (this.count === 0) return NO_STATIC;
    let entry = this.#byInner.find(words, at);
    while (entry !== NO_STATIC) {
      if (this.innerZone[entry] === fromZone && this.outerZone[entry] === toZone) return entry;
      entry = this.#nextInner[entry]!;
    }
    return NO_STATIC;
  }

  /** The entry whose outer prefix holds a destination, whatever zone it is asked from, or NO_STATIC. */
  ofOuter(words: Int32Array, at: number): number {
    return this.count === 0 ? NO_STATIC : this.#byOuter.find(words, at);
  }

  /** Writes the outer address of an inner one. False: NPTv6 has no image for it (section 3.5: a word of 0xffff). */
  outward(entry: number, words: Int32Array, at: number, to: Int32Array, toAt: number): boolean {
    this.#swap(entry, this.#outer, words, at, to, toAt);
    return this.#isNeutral[entry] === 0 || this.#adjust(entry, to, toAt, this.#adjustment[entry]!);
  }

  /** Writes the inner address of an outer one. False: there is none. */
  inward(entry: number, words: Int32Array, at: number, to: Int32Array, toAt: number): boolean {
    this.#swap(entry, this.#inner, words, at, to, toAt);
    return this.#isNeutral[entry] === 0 || this.#adjust(entry, to, toAt, ~this.#adjustment[entry]! & 0xffff);
  }

  #swap(
    entry: number,
    network: Int32Array,
    words: Int32Array,
    at: number,
    to: Int32Array,
    toAt: number,
  ): void {
    const base = entry * ADDRESS_WORDS;
    for (let i = 0; i < ADDRESS_WORDS; i++) {
      const mask = this.#mask[base + i]!;
      to[toAt + i] = (network[base + i]! & mask) | (words[at + i]! & ~mask);
    }
  }

  /**
   * Adds the difference to the word that section 3.4 (prefixes of at most 48 bits: bits 48 to 63) or 3.5 (longer ones: the first
   * word of the interface part that is not 0xffff) names.
   */
  #adjust(entry: number, to: Int32Array, toAt: number, by: number): boolean {
    let half = 3;
    if (this.#bits[entry]! > 48) {
      half = 4;
      while (half < 8 && halfOf(to, toAt, half) === 0xffff) half++;
      if (half === 8) return false;
    } else if (halfOf(to, toAt, half) === 0xffff) {
      return false;
    }
    let sum = halfOf(to, toAt, half) + by;
    sum = (sum & 0xffff) + (sum >>> 16);
    const value = sum === 0xffff ? 0 : sum;
    const word = toAt + (half >> 1);
    to[word] = (half & 1) === 0 ? (to[word]! & 0xffff) | (value << 16) : (to[word]! & ~0xffff) | value;
    return true;
  }
}

/** The i-th 16-bit word of an address. */
function halfOf(words: Int32Array, at: number, i: number): number {
  const word = words[at + (i >> 1)]!;
  return (i & 1) === 0 ? word >>> 16 : word & 0xffff;
}

function sumOf(words: Int32Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < 8; i++) sum += halfOf(words, at, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** a - b in one's complement of 16 bits. */
function difference(a: number, b: number): number {
  const sum = a + (~b & 0xffff);
  return (sum & 0xffff) + (sum >>> 16);
}
