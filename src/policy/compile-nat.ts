/**
 * Compiler of NAT entries: SNAT, DNAT, static translation, NPTv6 and NAT64 in the model's form. Expects checked entries.
 */
import type { DnatModel, Nat64Model, SnatModel, StaticNatModel } from "../dataplane/policy-model.ts";
import { isSamePrefix, PRIVATE_IPV4_PREFIXES, WELL_KNOWN_NAT64_PREFIX } from "./address.ts";
import { poolAddresses, poolsOf } from "./pools.ts";
import type { DnatSource, PolicySource, SnatSource } from "./source.ts";

type ZoneId = (name: string) => number;

export function compileSnat(policy: PolicySource, zoneId: ZoneId): SnatModel[] {
  return policy.nat.snat.flatMap((entry) =>
    poolsOf(policy, entry).map(({ sources, pool }) => ({
      fromZone: zoneId(entry.from),
      toZone: zoneId(entry.to),
      sources,
      pool,
      ...snatOptions(entry),
    })),
  );
}

function snatOptions(entry: SnatSource): Partial<SnatModel> {
  return {
    ...(entry.ports === undefined ? {} : { ports: entry.ports }),
    ...(entry.mapping === "endpoint-independent" ? { isEndpointIndependent: true } : {}),
    ...(entry.filtering === "endpoint-independent" ? { isFilteringIndependent: true } : {}),
  };
}

/** An entry for the zone, and one for each zone whose hosts come back to it. */
export function compileDnat(policy: PolicySource, zoneId: ZoneId): DnatModel[] {
  return policy.nat.dnat.flatMap((entry) =>
    [entry.zone, ...(entry.hairpin ?? [])].map((zone) => compileForward(entry, zoneId(zone))),
  );
}

function compileForward(entry: DnatSource, zone: number): DnatModel {
  const [to, ...more] = entry.to;
  return {
    zone,
    address: entry.address,
    protocol: entry.protocol,
    ports: entry.ports,
    to: to!,
    ...(more.length === 0 ? {} : { more }),
    toPort: entry.toPort ?? entry.ports.from,
  };
}

export function compileStatics(policy: PolicySource, zoneId: ZoneId): StaticNatModel[] {
  return (["static", "nptv6"] as const).flatMap((key) =>
    (policy.nat[key] ?? []).map((entry) => ({
      innerZone: zoneId(entry.innerZone),
      outerZone: zoneId(entry.outerZone),
      inner: entry.inner,
      outer: entry.outer,
      isChecksumNeutral: key === "nptv6",
    })),
  );
}

export function compileNat64(policy: PolicySource, zoneId: ZoneId): Nat64Model[] {
  return (policy.nat.nat64 ?? []).map((entry) => ({
    fromZone: zoneId(entry.from),
    toZone: zoneId(entry.to),
    prefix: entry.prefix,
    pool: poolAddresses(policy, entry.pool, entry.to).filter((address) => typeof address === "number"),
    ...(isSamePrefix(entry.prefix, WELL_KNOWN_NAT64_PREFIX) ? { excluded: PRIVATE_IPV4_PREFIXES } : {}),
  }));
}
