/**
 * NAT pools: which addresses an entry translates to, by family, and which sources go with them. An entry whose pool holds
 * both families is one entry for each in the model. Owns what "masquerade" means.
 */
import type { Address } from "../base/address.ts";
import type { Prefix } from "../dataplane/policy-model.ts";
import { type Family, familyOf } from "./address.ts";
import { gatewayOf } from "./check-help.ts";
import { expandAddresses } from "./sets.ts";
import { MASQUERADE, type PolicySource, type PoolSource, type SnatSource } from "./source.ts";

export interface FamilyPool {
  readonly family: Family;
  /** Empty: any. */
  readonly sources: readonly Prefix[];
  readonly pool: readonly Address[];
}

const FAMILIES: readonly Family[] = [4, 6];

/** The entries of the model that an SNAT entry becomes. */
export function poolsOf(policy: PolicySource, entry: SnatSource): FamilyPool[] {
  const sources = expandAddresses(policy, entry.sources);
  const isAny = entry.sources.length === 0;
  return familiesOf(policy, entry, sources).flatMap((family) => {
    const own = sources.filter((prefix) => familyOf(prefix.address) === family);
    const pool = poolAddresses(policy, entry.pool, entry.to).filter(
      (address) => familyOf(address) === family,
    );
    return pool.length > 0 && (isAny || own.length > 0) ? [{ family, sources: own, pool }] : [];
  });
}

/**
 * Masquerading goes by the sources. Without them it is for IPv4, if the zone has it: nobody who turns it on for his private
 * IPv4 network means to lose the addresses of his IPv6 network.
 */
function familiesOf(policy: PolicySource, entry: SnatSource, sources: readonly Prefix[]): Family[] {
  if (entry.pool !== MASQUERADE || sources.length > 0) return [...FAMILIES];
  return [gatewayOf(policy.zones[entry.to], 4) === undefined ? 6 : 4];
}

/** The addresses of a pool for traffic to a zone. */
export function poolAddresses(policy: PolicySource, pool: PoolSource, zone: string): Address[] {
  if (pool !== MASQUERADE) return [...pool];
  return FAMILIES.flatMap((family) => gatewayOf(policy.zones[zone], family)?.address ?? []);
}
