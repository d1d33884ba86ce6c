/**
 * NAT64 prefixes: IPv4 addresses inside IPv6 ones (RFC 6052 section 2.2). Owns the algorithm; translation of headers is
 * nat64.ts, the way of a packet translation.ts.
 *
 *   prefix /32   | prefix 32 | v4 32 | u 8 | suffix 56 |        prefix /96   | prefix 96 | v4 32 |
 *   prefix /40   | prefix 40 | v4 24 | u | v4 8 | suffix |      u: bits 64 to 71, always zero
 */
import { ADDRESS_WORDS, listWords, setIpv4 } from "../base/address.ts";
import type { Nat64Model } from "./policy-model.ts";
import { isSamePrefix, PrefixMap, PrefixSet } from "./prefix-map.ts";

export const NO_NAT64 = -1;
/** Byte positions of the four bytes of the IPv4 address, by prefix length: byte 8 is skipped. */
const POSITIONS: Readonly<Record<number, readonly number[]>> = {
  32: [4, 5, 6, 7],
  40: [5, 6, 7, 9],
  48: [6, 7, 9, 10],
  56: [7, 9, 10, 11],
  64: [9, 10, 11, 12],
  96: [12, 13, 14, 15],
};

export class Nat64Prefixes {
  readonly count: number;
  readonly fromZone: Int32Array;
  readonly toZone: Int32Array;
  readonly #prefixes: PrefixMap;
  readonly #words: Int32Array;
  readonly #positions: Int32Array;
  /** By entry: the next one with the same prefix, for another zone; NO_NAT64 ends. */
  readonly #next: Int32Array;
  /** By entry: IPv4 addresses that its prefix does not carry. */
  readonly #excluded: readonly (PrefixSet | undefined)[];

  constructor(entries: readonly Nat64Model[]) {
    this.count = entries.length;
    this.fromZone = Int32Array.from(entries, (entry) => entry.fromZone);
    this.toZone = Int32Array.from(entries, (entry) => entry.toZone);
    this.#prefixes = new PrefixMap(entries.map((entry, value) => ({ prefix: entry.prefix, value })));
    this.#words = listWords(entries.map((entry) => entry.prefix.address));
    this.#positions = Int32Array.from(
      entries.flatMap((entry) => POSITIONS[entry.prefix.bits] ?? POSITIONS[96]!),
    );
    this.#next = Int32Array.from(entries, ({ prefix }, i) =>
      entries.findIndex((other, k) => k > i && isSamePrefix(other.prefix, prefix)),
    );
    this.#excluded = entries.map(({ excluded = [] }) =>
      excluded.length === 0 ? undefined : new PrefixSet(excluded),
    );
  }

  /** The entry whose prefix holds a destination asked for from `zone`, or NO_NAT64. */
  of(zone: number, words: Int32Array, at: number): number {
    if (this.count === 0) return NO_NAT64;
    let entry = this.#prefixes.find(words, at);
    while (entry !== NO_NAT64 && this.fromZone[entry] !== zone) entry = this.#next[entry]!;
    return entry;
  }

  /** Whether an address is of a prefix, whatever zone that is for. */
  isOf(words: Int32Array, at: number): boolean {
    return this.count > 0 && this.#prefixes.find(words, at) !== NO_NAT64;
  }

  /** The first entry from a zone to another, or NO_NAT64. */
  between(fromZone: number, toZone: number): number {
    for (let i = 0; i < this.count; i++) {
      if (this.fromZone[i] === fromZone && this.toZone[i] === toZone) return i;
    }
    return NO_NAT64;
  }

  /** Whether an entry's prefix must not stand for an IPv4 address. */
  isExcluded(entry: number, words: Int32Array, at: number): boolean {
    return this.#excluded[entry]?.has(words, at) ?? false;
  }

  /** Writes the IPv4 address that an address of the prefix stands for. */
  extract(entry: number, words: Int32Array, at: number, to: Int32Array, toAt: number): void {
    let address = 0;
    for (let i = 0; i < 4; i++) {
      const position = this.#positions[entry * 4 + i]!;
      address = (address << 8) | ((words[at + (position >> 2)]! >>> (24 - (position & 3) * 8)) & 0xff);
    }
    setIpv4(to, toAt, address);
  }

  /** Writes the address of the prefix that stands for an IPv4 address. */
  embed(entry: number, address: number, to: Int32Array, toAt: number): void {
    for (let i = 0; i < ADDRESS_WORDS; i++) to[toAt + i] = this.#words[entry * ADDRESS_WORDS + i]!;
    for (let i = 0; i < 4; i++) {
      const position = this.#positions[entry * 4 + i]!;
      const word = toAt + (position >> 2);
      to[word] = to[word]! | (((address >>> (24 - i * 8)) & 0xff) << (24 - (position & 3) * 8));
    }
  }
}
