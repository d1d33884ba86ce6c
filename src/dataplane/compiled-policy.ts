/**
 * Compiled policy: zones, routes and own addresses of a PolicyModel as typed arrays that a packet can ask, with NAT beside
 * them (nat-policy.ts). Does not own filter rules (rules.ts), port choice (nat.ts) or ownership (slot.ts). Never changed after
 * construction. Addresses are words (base/address.ts).
 */
import { ADDRESS_WORDS, type Address, listWords, writeAddress } from "../base/address.ts";
import { AddressMap } from "./address-map.ts";
import { NatPolicy } from "./nat-policy.ts";
import type { PolicyModel, RouteModel } from "./policy-model.ts";
import { firstOf, isIpv4Prefix, lastOf, NO_INTERVAL, PrefixMap, PrefixSet } from "./prefix-map.ts";

const ZONES_MAX = 256;
export const NO_ROUTE = NO_INTERVAL;

export class CompiledPolicy {
  readonly model: PolicyModel;
  readonly nat: NatPolicy;
  /** Affinity `source`; else `flow`. */
  readonly isBySource: boolean;
  /** By zone id. */
  readonly trust = new Int32Array(ZONES_MAX);
  /** By zone id, four words each, all zero without that family: IPv4 gateway, IPv6 gateway, link-local gateway. */
  readonly gateway4 = new Int32Array(ZONES_MAX * ADDRESS_WORDS);
  readonly gateway6 = new Int32Array(ZONES_MAX * ADDRESS_WORDS);
  readonly linkLocal = new Int32Array(ZONES_MAX * ADDRESS_WORDS);
  readonly mssMax = new Int32Array(ZONES_MAX);
  /** By route: zone, and where its next hops are in `hops`; no hops: on-link. */
  readonly routeZone: Uint8Array;
  readonly hopFrom: Int32Array;
  readonly hopCount: Int32Array;
  /** Four words a hop. */
  readonly hops: Int32Array;
  /** Gateway address (not link-local) -> zone. */
  readonly gateways: AddressMap;
  /** Answered address -> its index in the policy's list. */
  readonly answered: AddressMap;
  /** By answered index. */
  readonly answeredZone: Uint8Array;
  readonly #routes: PrefixMap;
  readonly #onLink: PrefixMap;
  readonly #broadcasts: AddressMap;
  /** By zone. */
  readonly #bogons: readonly (PrefixSet | undefined)[];

  constructor(model: PolicyModel) {
    this.model = model;
    this.nat = new NatPolicy(model);
    this.isBySource = model.affinity === "source";
    const bogons: (PrefixSet | undefined)[] = new Array(ZONES_MAX).fill(undefined);
    for (const zone of model.zones) {
      this.trust[zone.id] = zone.trust;
      this.mssMax[zone.id] = zone.mssMax ?? 0;
      const at = zone.id * ADDRESS_WORDS;
      if (zone.gateway !== 0) writeAddress(this.gateway4, at, zone.gateway);
      if (zone.ipv6 !== undefined) {
        writeAddress(this.gateway6, at, zone.ipv6.gateway);
        writeAddress(this.linkLocal, at, zone.ipv6.linkLocal);
      }
      if ((zone.bogons ?? []).length > 0) {
        bogons[zone.id] = new PrefixSet(zone.bogons!);
      }
    }
    this.#bogons = bogons;
    // A zone's own network is a route of its own, and comes before a configured one of equal length.
    const onLink = onLinkRoutes(model);
    const routes = [...onLink, ...model.routes];
    this.routeZone = Uint8Array.from(routes, (route) => route.zone);
    const hops = routes.map(hopsOf);
    this.hopCount = Int32Array.from(hops, (list) => list.length);
    this.hopFrom = Int32Array.from(hops, (_, i) =>
      hops.slice(0, i).reduce((sum, list) => sum + list.length, 0),
    );
    this.hops = listWords(hops.flat());
    this.#routes = new PrefixMap(
      routes.map((route, value) => ({ prefix: route.to, value })),
      this.nat.takenIn,
    );
    this.#onLink = new PrefixMap(onLink.map(({ to, zone }) => ({ prefix: to, value: zone })));
    this.gateways = new AddressMap(
      model.zones.flatMap((zone) => [
        ...(zone.gateway === 0 ? [] : [[zone.gateway, zone.id] as const]),
        ...(zone.ipv6 === undefined ? [] : [[zone.ipv6.gateway, zone.id] as const]),
      ]),
    );
    this.answered = new AddressMap(model.answered.map(({ address }, i) => [address, i]));
    this.answeredZone = Uint8Array.from(model.answered, ({ zone }) => zone);
    this.#broadcasts = new AddressMap(
      onLink
        .filter(({ to }) => isIpv4Prefix(to) && to.bits < 31)
        .flatMap(({ to }) => [[Number(firstOf(to)), 0] as const, [Number(lastOf(to)), 0] as const]),
    );
  }

  /** Index of the route to an address (routeZone, hops), or NO_ROUTE. */
  routeTo(words: Int32Array, at: number): number {
    return this.#routes.find(words, at) >> 1;
  }

  /** routeTo() * 2, and one more for an address that NAT takes in (NatPolicy.isTakenIn). Negative: no route. */
  wayTo(words: Int32Array, at: number): number {
    return this.#routes.find(words, at);
  }

  /** Whether an address is a gateway, a pool or a DNAT address of the cluster. */
  isOwn(words: Int32Array, at: number): boolean {
    return (
      this.gateways.get(words, at) >= 0 ||
      this.answered.get(words, at) >= 0 ||
      this.nat.pools.get(words, at) >= 0
    );
  }

  /** Whether an address is the network or broadcast address of a zone. */
  isDirectedBroadcast(words: Int32Array, at: number): boolean {
    return this.#broadcasts.get(words, at) >= 0;
  }

  /** Whether the zone's policy calls the address a bogon. */
  isBogon(zone: number, words: Int32Array, at: number): boolean {
    return this.#bogons[zone]?.has(words, at) ?? false;
  }

  /** Whether a host with this address is on the zone's own wire: in the zone's network, or behind a route without next hop. */
  isOnLink(zone: number, words: Int32Array, at: number): boolean {
    // The zone's network first: a longer route may lead a part of it to a router that is in that part itself.
    if (this.#onLink.find(words, at) === zone) return true;
    const route = this.routeTo(words, at);
    return route !== NO_ROUTE && this.routeZone[route] === zone && this.hopCount[route] === 0;
  }
}

function onLinkRoutes(model: PolicyModel): RouteModel[] {
  return model.zones.flatMap((zone) => [
    ...(zone.gateway === 0 ? [] : [{ to: zone.prefix, zone: zone.id, via: 0 }]),
    ...(zone.ipv6 === undefined ? [] : [{ to: zone.ipv6.prefix, zone: zone.id, via: 0 }]),
  ]);
}

function hopsOf(route: RouteModel): Address[] {
  if (route.via === 0 || route.via === 0n) return [];
  return [route.via, ...(route.more ?? [])];
}
