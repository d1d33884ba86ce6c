/**
 * Compiled policy: zones, routes, own addresses and NAT of a PolicyModel as typed arrays that a packet can ask.
 * Does not own filter rules (rules.ts), port choice (nat.ts) or ownership (slot.ts). Never changed after construction.
 */
import { AddressMap } from "./address-map.ts";
import { firstOf, IntervalMap, lastOf, NO_INTERVAL } from "./interval-map.ts";
import type { PolicyModel, SnatModel } from "./policy-model.ts";

const ZONES_MAX = 256;
/** snatOf() when nothing translates. */
export const NO_SNAT = -1;
/** dnatOf() when nothing translates. */
export const NO_DNAT = -1;
export const NO_ROUTE = NO_INTERVAL;

export class CompiledPolicy {
  readonly model: PolicyModel;
  /** Affinity `source`; else `flow`. */
  readonly isBySource: boolean;
  /** By zone id. */
  readonly trust = new Int32Array(ZONES_MAX);
  readonly gateway = new Int32Array(ZONES_MAX);
  readonly isZone = new Uint8Array(ZONES_MAX);
  readonly prefixMask = new Int32Array(ZONES_MAX);
  /** By route: zone, and next hop or 0 for on-link. */
  readonly routeZone: Uint8Array;
  readonly routeVia: Int32Array;
  /** Gateway address -> zone. */
  readonly gateways: AddressMap;
  /** Answered address -> its index in the policy's list. */
  readonly answered: AddressMap;
  /** By answered index. */
  readonly answeredZone: Uint8Array;
  /** Pool address -> index into poolAddresses. */
  readonly pools: AddressMap;
  readonly poolAddresses: Int32Array;
  /** By snat rule: its span in snatPool (indexes into poolAddresses). */
  readonly snatFrom: Int32Array;
  readonly snatCount: Int32Array;
  readonly snatPool: Int32Array;
  readonly dnatTo: Int32Array;
  readonly dnatPortFrom: Int32Array;
  readonly dnatToPort: Int32Array;
  readonly #routes: IntervalMap;
  readonly #broadcasts: AddressMap;
  readonly #dnatAddresses: AddressMap;
  readonly #snatFromZone: Int32Array;
  readonly #snatToZone: Int32Array;
  readonly #snatSources: readonly (IntervalMap | undefined)[];
  readonly #dnatZone: Int32Array;
  readonly #dnatAddress: Int32Array;
  readonly #dnatProtocol: Int32Array;
  readonly #dnatPortTo: Int32Array;
  /** One bit per port and pool address: below 1024, or claimed by a DNAT entry. */
  readonly #reserved: Uint8Array;

  constructor(model: PolicyModel) {
    this.model = model;
    this.isBySource = model.affinity === "source";
    for (const zone of model.zones) {
      this.trust[zone.id] = zone.trust;
      this.gateway[zone.id] = zone.gateway | 0;
      this.isZone[zone.id] = 1;
      this.prefixMask[zone.id] = zone.prefix.bits === 0 ? 0 : -1 << (32 - zone.prefix.bits);
    }
    // A zone's own network is a route of its own, and comes before a configured one of equal length.
    const routes = [
      ...model.zones.map((zone) => ({ to: zone.prefix, zone: zone.id, via: 0 })),
      ...model.routes,
    ];
    this.routeZone = Uint8Array.from(routes, (route) => route.zone);
    this.routeVia = Int32Array.from(routes, (route) => route.via | 0);
    this.#routes = new IntervalMap(routes.map((route, value) => ({ prefix: route.to, value })));
    this.gateways = new AddressMap(model.zones.map((zone) => [zone.gateway, zone.id]));
    this.answered = new AddressMap(model.answered.map(({ address }, i) => [address, i]));
    this.answeredZone = Uint8Array.from(model.answered, ({ zone }) => zone);
    this.#broadcasts = new AddressMap(
      model.zones
        .filter((zone) => zone.prefix.bits < 31)
        .flatMap((zone) => [[firstOf(zone.prefix), 0] as const, [lastOf(zone.prefix), 0] as const]),
    );
    const pool = [...new Set(model.snat.flatMap((entry) => entry.pool.map((address) => address | 0)))];
    this.poolAddresses = Int32Array.from(pool);
    this.pools = new AddressMap(pool.map((address, i) => [address, i]));
    this.snatCount = Int32Array.from(model.snat, (entry) => entry.pool.length);
    this.snatFrom = Int32Array.from(startsOf(model.snat));
    this.snatPool = Int32Array.from(
      model.snat.flatMap((entry) => entry.pool.map((address) => pool.indexOf(address | 0))),
    );
    this.#snatFromZone = Int32Array.from(model.snat, (entry) => entry.fromZone);
    this.#snatToZone = Int32Array.from(model.snat, (entry) => entry.toZone);
    this.#snatSources = model.snat.map((entry) =>
      entry.sources.length === 0
        ? undefined
        : new IntervalMap(entry.sources.map((prefix) => ({ prefix, value: 1 }))),
    );
    this.dnatTo = Int32Array.from(model.dnat, (entry) => entry.to | 0);
    this.dnatPortFrom = Int32Array.from(model.dnat, (entry) => entry.ports.from);
    this.dnatToPort = Int32Array.from(model.dnat, (entry) => entry.toPort);
    this.#dnatZone = Int32Array.from(model.dnat, (entry) => entry.zone);
    this.#dnatAddress = Int32Array.from(model.dnat, (entry) => entry.address | 0);
    this.#dnatProtocol = Int32Array.from(model.dnat, (entry) => entry.protocol);
    this.#dnatPortTo = Int32Array.from(model.dnat, (entry) => entry.ports.to);
    this.#dnatAddresses = new AddressMap(model.dnat.map(({ address }, i) => [address, i]));
    this.#reserved = reservedPorts(model, pool);
  }

  /** Index of the route to an address (routeZone, routeVia), or NO_ROUTE. */
  routeTo(address: number): number {
    return this.#routes.find(address);
  }

  /** Index of the DNAT entry that a packet from `zone` meets, or NO_DNAT. */
  dnatOf(zone: number, address: number, protocol: number, port: number): number {
    const first = this.#dnatAddresses.get(address);
    if (first < 0) return NO_DNAT;
    for (let i = first; i < this.#dnatZone.length; i++) {
      if (
        this.#dnatAddress[i] === address &&
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

  /** Index of the first SNAT entry for a source on its way between two zones, or NO_SNAT. */
  snatOf(fromZone: number, toZone: number, source: number): number {
    for (let i = 0; i < this.#snatFromZone.length; i++) {
      if (this.#snatFromZone[i] !== fromZone || this.#snatToZone[i] !== toZone) continue;
      const sources = this.#snatSources[i];
      if (sources === undefined || sources.find(source) === 1) return i;
    }
    return NO_SNAT;
  }

  /** Whether SNAT must not give out this port of a pool address. */
  isReserved(poolIndex: number, port: number): boolean {
    return (this.#reserved[(poolIndex << 13) | (port >> 3)]! & (1 << (port & 7))) !== 0;
  }

  /** Whether an address is a gateway, a pool or a DNAT address of the cluster. */
  isOwn(address: number): boolean {
    return this.gateways.get(address) >= 0 || this.answered.get(address) >= 0 || this.pools.get(address) >= 0;
  }

  /** Whether an address is the network or broadcast address of a zone. */
  isDirectedBroadcast(address: number): boolean {
    return this.#broadcasts.get(address) >= 0;
  }

  /** Whether a host with this address is on the zone's own wire: in the zone's network, or behind a route without next hop. */
  isOnLink(zone: number, address: number): boolean {
    // The zone's network first: a longer route may lead a part of it to a router that is in that part itself.
    if (((address ^ this.gateway[zone]!) & this.prefixMask[zone]!) === 0) return true;
    const route = this.routeTo(address);
    return route !== NO_ROUTE && this.routeZone[route] === zone && this.routeVia[route] === 0;
  }
}

function startsOf(entries: readonly SnatModel[]): number[] {
  let at = 0;
  return entries.map((entry) => {
    const start = at;
    at += entry.pool.length;
    return start;
  });
}

function reservedPorts(model: PolicyModel, pool: readonly number[]): Uint8Array {
  const reserved = new Uint8Array(Math.max(1, pool.length) << 13);
  const reserve = (index: number, port: number): void => {
    const cell = (index << 13) | (port >> 3);
    reserved[cell] = reserved[cell]! | (1 << (port & 7));
  };
  pool.forEach((address, index) => {
    for (let port = 0; port < 1024; port++) reserve(index, port);
    for (const entry of model.dnat) {
      if ((entry.address | 0) !== address) continue;
      for (let port = entry.ports.from; port <= entry.ports.to; port++) reserve(index, port);
    }
  });
  return reserved;
}
