/**
 * Fragment sources: how many datagrams and frames each source has in virtual reassembly, and its datagrams by age. A source
 * is an IPv4 address or an IPv6 /64 (whoever has one address of it has all), in one zone. Owns no limit.
 */
import { type HashKey, indexHash } from "../base/hash.ts";
import type { FragmentInfo } from "../packet/fragment.ts";
import { NONE } from "./flow-layout.ts";
import { freeLinks, LinkedLists } from "./linked-lists.ts";

export class FragmentSources {
  /** Frames that a source has. */
  readonly frames: Int32Array;
  /** By source: its datagrams, oldest first. */
  readonly datagrams: LinkedLists;
  readonly #counts: Int32Array;
  readonly #key: HashKey;
  /** Two words of the address, and what tells families and zones apart. */
  readonly #high: Int32Array;
  readonly #low: Int32Array;
  readonly #tag: Int32Array;
  readonly #buckets: Int32Array;
  readonly #bucket: Int32Array;
  /** In a bucket's chain, or in the list of free rows. */
  readonly #next: Int32Array;
  #free = 0;

  /** Every datagram could have a source of its own, so there are as many rows. */
  constructor(key: HashKey, datagramsMax: number) {
    this.#key = key;
    this.frames = new Int32Array(datagramsMax);
    this.datagrams = new LinkedLists(datagramsMax, datagramsMax);
    this.#counts = new Int32Array(datagramsMax);
    this.#high = new Int32Array(datagramsMax);
    this.#low = new Int32Array(datagramsMax);
    this.#tag = new Int32Array(datagramsMax);
    this.#bucket = new Int32Array(datagramsMax);
    this.#next = freeLinks(datagramsMax);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, datagramsMax)))).fill(NONE);
  }

  /** The row of a fragment's source, or NONE when it has no datagram. */
  find(fragment: FragmentInfo, zone: number): number {
    const { words, isIpv6 } = fragment;
    const high = isIpv6 ? words[0]! : 0;
    const low = isIpv6 ? words[1]! : words[3]!;
    const tag = tagOf(isIpv6, zone);
    let row = this.#buckets[this.#bucketOf(high, low, tag)]!;
    while (row !== NONE && !(this.#low[row] === low && this.#high[row] === high && this.#tag[row] === tag)) {
      row = this.#next[row]!;
    }
    return row;
  }

  count(source: number): number {
    return this.#counts[source]!;
  }

  /** Enters a new datagram and answers its source's row. */
  enter(fragment: FragmentInfo, zone: number, datagram: number): number {
    let row = this.find(fragment, zone);
    if (row === NONE) row = this.#open(fragment, zone);
    this.#counts[row] = this.#counts[row]! + 1;
    this.datagrams.append(row, datagram);
    return row;
  }

  /** Takes a datagram out; its frames were taken off before. */
  leave(source: number, datagram: number): void {
    this.datagrams.remove(source, datagram);
    this.#counts[source] = this.#counts[source]! - 1;
    if (this.#counts[source] !== 0) return;
    const bucket = this.#bucket[source]!;
    let cursor = this.#buckets[bucket]!;
    if (cursor === source) this.#buckets[bucket] = this.#next[source]!;
    else {
      while (this.#next[cursor] !== source) cursor = this.#next[cursor]!;
      this.#next[cursor] = this.#next[source]!;
    }
    this.#next[source] = this.#free;
    this.#free = source;
  }

  #open(fragment: FragmentInfo, zone: number): number {
    const { words, isIpv6 } = fragment;
    const row = this.#free;
    this.#free = this.#next[row]!;
    this.#high[row] = isIpv6 ? words[0]! : 0;
    this.#low[row] = isIpv6 ? words[1]! : words[3]!;
    this.#tag[row] = tagOf(isIpv6, zone);
    const bucket = this.#bucketOf(this.#high[row]!, this.#low[row]!, this.#tag[row]!);
    this.#bucket[row] = bucket;
    this.#next[row] = this.#buckets[bucket]!;
    this.#buckets[bucket] = row;
    return row;
  }

  #bucketOf(high: number, low: number, tag: number): number {
    return indexHash(this.#key, high, low, tag, 0) & (this.#buckets.length - 1);
  }
}

function tagOf(isIpv6: boolean, zone: number): number {
  return (zone << 1) | (isIpv6 ? 1 : 0);
}
