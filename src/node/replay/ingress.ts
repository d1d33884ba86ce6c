/**
 * Ingress: through which zone a captured packet enters the firewall, since a capture does not say. Owns the three ways to tell:
 * one zone for all; a zone by the frame's destination MAC or by the capturing interface; or, without anything given, the zone
 * that the route back to the packet's source leads to. The last way cannot find a spoofed source.
 */
import type { Address } from "../../base/address.ts";
import type { PolicyModel, Prefix } from "../../dataplane/policy-model.ts";
import { contains } from "../../policy/address.ts";

const CACHE_MAX = 65_536;

export type IngressRule =
  | { readonly kind: "zone"; readonly zone: number }
  /** Zones by MAC ("02:00:00:00:00:01") or by the name of the capturing interface. Others are left out. */
  | { readonly kind: "link"; readonly zones: ReadonlyMap<string, number> }
  | { readonly kind: "route" };

export interface CapturedLink {
  readonly destinationMac: string;
  readonly interfaceName: string;
}

export class Ingress {
  readonly #rule: IngressRule;
  readonly #routes: readonly Route[];
  readonly #leastTrusted: number;
  readonly #cache = new Map<Address, number>();

  constructor(policy: PolicyModel, rule: IngressRule) {
    this.#rule = rule;
    this.#routes = routesOf(policy);
    this.#leastTrusted = policy.zones.reduce((a, b) => (b.trust < a.trust ? b : a)).id;
  }

  /** Zone id, or undefined when the packet does not enter the firewall. */
  zoneOf(source: Address, link: CapturedLink): number | undefined {
    const rule = this.#rule;
    if (rule.kind === "zone") return rule.zone;
    if (rule.kind === "link")
      return rule.zones.get(link.destinationMac) ?? rule.zones.get(link.interfaceName);
    const known = this.#cache.get(source);
    if (known !== undefined) return known;
    // What no route leads to is judged as if it came from where anything may come from.
    const zone = routeTo(this.#routes, source)?.zone ?? this.#leastTrusted;
    if (this.#cache.size >= CACHE_MAX) this.#cache.clear();
    this.#cache.set(source, zone);
    return zone;
  }
}

export interface Route {
  readonly prefix: Prefix;
  readonly zone: number;
}

/** All routes, those of the zones' own networks too, the longest first; of equals the zone's own. */
export function routesOf(policy: PolicyModel): Route[] {
  const own = policy.zones.flatMap((zone) => [
    { prefix: zone.prefix, zone: zone.id },
    ...(zone.ipv6 === undefined ? [] : [{ prefix: zone.ipv6.prefix, zone: zone.id }]),
  ]);
  const routes = policy.routes.map((route) => ({ prefix: route.to, zone: route.zone }));
  return [...own, ...routes].sort((a, b) => b.prefix.bits - a.prefix.bits);
}

export function routeTo(routes: readonly Route[], address: Address): Route | undefined {
  return routes.find(({ prefix }) => contains(prefix, address));
}
