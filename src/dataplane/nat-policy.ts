/**
 * NAT policy: which translation a packet meets, as typed arrays made once from the policy. Owns pools, port forwards, static
 * prefixes and NAT64 prefixes; a port of a pool is chosen by nat.ts. Addresses are words (base/address.ts).
 *
 *   towards the inside   DNAT, static outer -> inner, NAT64 prefix -> IPv4     before rules
 *   towards the outside  static inner -> outer, SNAT                           after rules
 */
import { ADDRESS_WORDS, type Address, copyAddress, listWords, widthOf } from "../base/address.ts";
import { type HashKey, indexHash } from "../base/hash.ts";
import { AddressMap } from "./address-map.ts";
import { Nat64Prefixes } from "./nat64-prefix.ts";
import type { Nat64Model, PolicyModel, PortRange, Prefix, SnatModel } from "./policy-model.ts";
import { PrefixSet } from "./prefix-map.ts";
import { addressHash } from "./slot.ts";
import { NO_STATIC, StaticNat } from "./static-nat.ts";

/** snatOf() when nothing translates. */
export const NO_SNAT = -1;
/** dnatOf() when nothing translates. */
export const NO_DNAT = -1;
const PORT_MIN = 1024;
const PORT_MAX = 65_535;

export class NatPolicy {
  /** Pool address -> index into poolWords. */
  readonly pools: AddressMap;
  /** Four words a pool address. */
  readonly poolWords: Int32Array;
  /** By snat entry: its span in snatPool (indexes of pool addresses), its ports, how it maps and filters. */
  readonly snatFrom: Int32Array;
  readonly snatCount: Int32Array;
  readonly snatPool: Int32Array;
  readonly snatPortFrom: Int32Array;
  readonly snatPortTo: Int32Array;
  readonly isMappingIndependent: Uint8Array;
  readonly isFilteringIndependent: Uint8Array;
  /** By dnat entry: ports, and its targets' span in targetWords. */
  readonly dnatPortFrom: Int32Array;
  readonly dnatToPort: Int32Array;
  readonly targetFrom: Int32Array;
  readonly targetCount: Int32Array;
  /** Four words a target. */
  readonly targetWords: Int32Array;
  /** Whether any SNAT entry maps endpoint-independently. */
  readonly hasBindings: boolean;
  readonly statics: StaticNat;
  readonly nat64: Nat64Prefixes;
  readonly #dnatAddresses: AddressMap;
  readonly #snatFromZone: Int32Array;
  readonly #snatToZone: Int32Array;
  readonly #snatIsIpv6: Uint8Array;
  readonly #snatSources: readonly (PrefixSet | undefined)[];
  readonly #dnatZone: Int32Array;
  /** Index of the first entry with the same address. */
  readonly #dnatFirst: Int32Array;
  readonly #dnatProtocol: Int32Array;
  readonly #dnatPortTo: Int32Array;
  /** What NAT takes in: addresses of pools and of DNAT entries, outer prefixes of static translation. */
  readonly takenIn: readonly Prefix[];
  /** Addresses of pools and of DNAT entries. */
  readonly #takenIn: AddressMap;
  /** By pool index and zone: replies to the address come from there. */
  readonly #replyZones: Uint8Array;
  /** One bit per port and pool address: claimed by a DNAT entry. */
  readonly #reserved: Uint8Array;

  constructor(model: PolicyModel) {
    const snat = snatEntries(model);
    const isNat64 = snat.map((_, i) => i < (model.nat64 ?? []).length);
    const pool = poolAddresses(model);
    this.poolWords = listWords(pool);
    this.pools = new AddressMap(pool.map((address, i) => [address, i]));
    this.snatCount = Int32Array.from(snat, (entry) => entry.pool.length);
    this.snatFrom = Int32Array.from(startsOf(snat.map((entry) => entry.pool.length)));
    this.snatPool = Int32Array.from(
      snat.flatMap((entry) => entry.pool.map((address) => pool.indexOf(address))),
    );
    const ranges = snat.map((entry) => rangeOf(entry, snat));
    this.snatPortFrom = Int32Array.from(ranges, ({ from }) => from);
    this.snatPortTo = Int32Array.from(ranges, ({ to }) => to);
    this.isMappingIndependent = Uint8Array.from(snat, (entry) =>
      Number(entry.isEndpointIndependent === true),
    );
    this.isFilteringIndependent = Uint8Array.from(snat, (entry) =>
      Number(entry.isFilteringIndependent === true),
    );
    this.hasBindings = this.isMappingIndependent.includes(1);
    this.#replyZones = new Uint8Array(Math.max(1, pool.length) * ZONES_MAX);
    for (const entry of snat) {
      for (const address of entry.pool)
        this.#replyZones[pool.indexOf(address) * ZONES_MAX + entry.toZone] = 1;
    }
    this.#snatFromZone = Int32Array.from(snat, (entry) => entry.fromZone);
    this.#snatToZone = Int32Array.from(snat, (entry) => entry.toZone);
    this.#snatIsIpv6 = Uint8Array.from(snat, (entry, i) =>
      isNat64[i] ? FAMILY_NAT64 : typeof entry.pool[0] === "bigint" ? FAMILY_IPV6 : FAMILY_IPV4,
    );
    this.#snatSources = snat.map((entry) =>
      entry.sources.length === 0 ? undefined : new PrefixSet(entry.sources),
    );
    const { dnat } = model;
    this.dnatPortFrom = Int32Array.from(dnat, (entry) => entry.ports.from);
    this.dnatToPort = Int32Array.from(dnat, (entry) => entry.toPort);
    this.#dnatZone = Int32Array.from(dnat, (entry) => entry.zone);
    this.#dnatFirst = Int32Array.from(dnat, (entry) =>
      dnat.findIndex((other) => other.address === entry.address),
    );
    this.#dnatProtocol = Int32Array.from(dnat, (entry) => entry.protocol);
    this.#dnatPortTo = Int32Array.from(dnat, (entry) => entry.ports.to);
    this.#dnatAddresses = new AddressMap(dnat.map(({ address }, i) => [address, i]));
    const addresses = [...pool, ...dnat.map(({ address }) => address)];
    this.#takenIn = new AddressMap(addresses.map((address) => [address, 1]));
    const hosts = addresses.map((address) => ({ address, bits: widthOf(address) }));
    this.takenIn = [...hosts, ...(model.statics ?? []).map(({ outer }) => outer)];
    const targets = dnat.map((entry) => [entry.to, ...(entry.more ?? [])]);
    this.targetFrom = Int32Array.from(startsOf(targets.map((list) => list.length)));
    this.targetCount = Int32Array.from(targets, (list) => list.length);
    this.targetWords = listWords(targets.flat());
    this.statics = new StaticNat(model.statics ?? []);
    this.nat64 = new Nat64Prefixes(model.nat64 ?? []);
    this.#reserved = reservedPorts(model, pool);
  }

  /** Index of the DNAT entry that a packet from `zone` meets, or NO_DNAT. */
  dnatOf(zone: number, words: Int32Array, at: number, protocol: number, port: number): number {
    const first = this.#dnatAddresses.get(words, at);
    if (first < 0) return NO_DNAT;
    for (let i = first; i < this.#dnatZone.length; i++) {
      if (
        this.#dnatFirst[i] === first &&
        this.#dnatZone[i] === zone &&
        this.#dnatProtocol[i] === protocol &&
        port >= this.dnatPortFrom[i]! &&
        port <= this.#dnatPortTo[i]!
      ) {
        return i;
      }
    }
    return NO_DNAT;
  }

  /** Writes the target of a DNAT entry for a client: the highest of their hashes wins (rendezvous hashing). */
  targetOf(
    dnat: number,
    key: HashKey,
    client: Int32Array,
    clientAt: number,
    to: Int32Array,
    toAt: number,
  ): void {
    const from = this.targetFrom[dnat]!;
    const count = this.targetCount[dnat]!;
    let chosen = from;
    if (count > 1) {
      const who = addressHash(key, client, clientAt);
      let best = -0x80000000;
      for (let i = from; i < from + count; i++) {
        const weight = indexHash(
          key,
          who,
          addressHash(key, this.targetWords, i * ADDRESS_WORDS),
          TARGET_DOMAIN,
          0,
        );
        if (i === from || weight > best) {
          best = weight;
          chosen = i;
        }
      }
    }
    copyAddress(to, toAt, this.targetWords, chosen * ADDRESS_WORDS);
  }

  /** Index of the first SNAT entry for a source on its way between two zones, or NO_SNAT. `isIpv6`: the destination's family. */
  snatOf(
    fromZone: number,
    toZone: number,
    words: Int32Array,
    at: number,
    isIpv6: boolean,
    isFromIpv6: boolean,
  ): number {
    const family = isIpv6 ? FAMILY_IPV6 : isFromIpv6 ? FAMILY_NAT64 : FAMILY_IPV4;
    for (let i = 0; i < this.#snatFromZone.length; i++) {
      if (this.#snatFromZone[i] !== fromZone || this.#snatToZone[i] !== toZone) continue;
      if (this.#snatIsIpv6[i] !== family) continue;
      const sources = this.#snatSources[i];
      if (sources === undefined || sources.has(words, at)) return i;
    }
    return NO_SNAT;
  }

  /** Whether an address is in the pool of an SNAT entry. */
  isInPool(snat: number, words: Int32Array, at: number): boolean {
    const index = this.pools.get(words, at);
    const from = this.snatFrom[snat]!;
    for (let i = 0; i < this.snatCount[snat]!; i++) if (this.snatPool[from + i] === index) return true;
    return false;
  }

  /** Whether replies to a pool address, by its index, come from a zone. */
  isReplyZone(pool: number, zone: number): boolean {
    return this.#replyZones[pool * ZONES_MAX + zone] === 1;
  }

  /** Whether NAT takes an address in: a pool's, a forwarded or a static one. A packet that goes there comes back (hairpin). */
  isTakenIn(words: Int32Array, at: number): boolean {
    return this.#takenIn.get(words, at) >= 0 || this.statics.ofOuter(words, at) !== NO_STATIC;
  }

  /** Whether SNAT must not give out this port of a pool address, because a DNAT entry claims it. */
  isReserved(poolIndex: number, port: number): boolean {
    return (this.#reserved[(poolIndex << 13) | (port >> 3)]! & (1 << (port & 7))) !== 0;
  }
}

const FAMILY_IPV4 = 0;
const FAMILY_IPV6 = 1;
const FAMILY_NAT64 = 2;
const TARGET_DOMAIN = 0x7467;
const ZONES_MAX = 256;

/** Addresses of all pools of a policy, each once. */
export function poolAddresses(model: PolicyModel): Address[] {
  return [...new Set(snatEntries(model).flatMap((entry) => entry.pool))];
}

function snatEntries({ snat, nat64 = [] }: PolicyModel): SnatModel[] {
  return [...nat64.map(snatOfNat64), ...snat];
}

/**
 * A NAT64 entry is a SNAT entry besides: what it translated to IPv4 leaves from its pool, with mappings that are independent of
 * endpoints (RFC 6146 section 1.2.3).
 */
function snatOfNat64({ fromZone, toZone, pool, isFilteringIndependent = false }: Nat64Model): SnatModel {
  return { fromZone, toZone, pool, sources: [], isEndpointIndependent: true, isFilteringIndependent };
}

/**
 * Ports that an entry gives out. Entries that map independently of endpoints cannot share a port of an address with entries that
 * use it anew towards every destination: where both have it, the latter take the lower half and the former the upper one.
 */
function rangeOf(entry: SnatModel, all: readonly SnatModel[]): PortRange {
  let { from, to } = portsOf(entry);
  const isIndependent = entry.isEndpointIndependent === true;
  for (const other of all) {
    const isOther = (other.isEndpointIndependent === true) !== isIndependent;
    if (!isOther || !entry.pool.some((address) => other.pool.includes(address))) continue;
    const both = { from: Math.max(from, portsOf(other).from), to: Math.min(to, portsOf(other).to) };
    if (both.from > both.to) continue;
    const middle = (both.from + both.to) >> 1;
    if (isIndependent) from = middle + 1;
    else to = middle;
  }
  return { from, to };
}

function portsOf(entry: SnatModel): PortRange {
  return entry.ports ?? { from: PORT_MIN, to: PORT_MAX };
}

function startsOf(lengths: readonly number[]): number[] {
  let at = 0;
  return lengths.map((length) => {
    const start = at;
    at += length;
    return start;
  });
}

function reservedPorts(model: PolicyModel, pool: readonly Address[]): Uint8Array {
  const reserved = new Uint8Array(Math.max(1, pool.length) << 13);
  pool.forEach((address, index) => {
    for (const entry of model.dnat) {
      if (entry.address !== address) continue;
      for (let port = entry.ports.from; port <= entry.ports.to; port++) {
        const cell = (index << 13) | (port >> 3);
        reserved[cell] = reserved[cell]! | (1 << (port & 7));
      }
    }
  });
  return reserved;
}
