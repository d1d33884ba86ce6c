/**
 * Checks of zones and routes: gateways, networks that must not overlap, and next hops that must be in them.
 */
import type { Address } from "../base/address.ts";
import {
  contains,
  covers,
  familyOf,
  formatAddress,
  formatPrefix,
  isLinkLocal,
  isReservedIn,
  isSamePrefix,
  overlap,
} from "./address.ts";
import { checkAdvertise } from "./advertise.ts";
import {
  checkFamily,
  gatewayKey,
  gatewayOf,
  gatewaysOf,
  networksOf,
  notAHost,
  repeated,
  unknownZone,
} from "./check-help.ts";
import { checkAddressNames, expandAddresses } from "./sets.ts";
import type { Path, PolicyMistake, PolicySource, RouteSource, ZoneSource } from "./source.ts";

/** The cluster's link-local address in a zone that names none. */
export const DEFAULT_LINK_LOCAL = (0xfe80n << 112n) | 1n;

export function linkLocalOf(zone: ZoneSource): bigint {
  return zone.linkLocal ?? DEFAULT_LINK_LOCAL;
}

export function checkZones(policy: PolicySource): PolicyMistake[] {
  return Object.entries(policy.zones).flatMap(([name, zone], i) => {
    const path = ["zones", name];
    if (zone.gateway === undefined && zone.gateway6 === undefined) {
      return [
        {
          path,
          message: `zone ${name} has no address: add gateway, like 10.10.0.1/24, or gateway6, like 2001:db8::1/64`,
        },
      ];
    }
    return [
      ...checkGateways(policy, zone, i, path),
      ...checkLinkLocal(zone, path),
      ...checkAdvertise(zone, [...path, "advertise"]),
      ...checkBogons(policy, name, zone, path),
    ];
  });
}

function checkGateways(policy: PolicySource, zone: ZoneSource, index: number, path: Path): PolicyMistake[] {
  return gatewaysOf(zone).flatMap(({ address, prefix }) => {
    const at = [...path, gatewayKey(familyOf(address))];
    const mistakes = notAHost(at, address);
    if (mistakes.length === 0 && isReservedIn(prefix, address)) {
      mistakes.push({
        path: at,
        message: `${formatAddress(address)} is the ${reservedName(address)} of ${formatPrefix(prefix)}: use a host address in it`,
      });
    }
    for (const [otherName, other] of Object.entries(policy.zones).slice(0, index)) {
      for (const network of networksOf(other).filter((candidate) => overlap(candidate, prefix))) {
        mistakes.push({
          path: at,
          message: `${formatPrefix(prefix)} overlaps zone ${otherName} (${formatPrefix(network)}): give each zone its own network`,
        });
      }
    }
    return mistakes;
  });
}

/** What isReservedIn() is about. */
export function reservedName(address: Address): string {
  return familyOf(address) === 4 ? "network or broadcast address" : "anycast address of all routers";
}

function checkLinkLocal(zone: ZoneSource, path: Path): PolicyMistake[] {
  if (zone.linkLocal === undefined) return [];
  const at = [...path, "linkLocal"];
  const text = formatAddress(zone.linkLocal);
  if (zone.gateway6 === undefined) {
    return [
      { path: at, message: "only IPv6 has link-local addresses: add gateway6 to the zone, or remove it" },
    ];
  }
  const host = zone.linkLocal & ((1n << 118n) - 1n);
  if (isLinkLocal(zone.linkLocal) && host !== 0n) return [];
  return [{ path: at, message: `${text} is no link-local address of a host: use one like fe80::1` }];
}

/** Bogons must not hold the addresses that belong in the zone. */
function checkBogons(policy: PolicySource, name: string, zone: ZoneSource, path: Path): PolicyMistake[] {
  const entries = zone.bogons ?? [];
  const at = [...path, "bogons"];
  const mistakes = checkAddressNames(policy, entries, at);
  entries.forEach((entry, i) => {
    for (const bogon of expandAddresses(policy, [entry])) {
      const network = networksOf(zone).find((candidate) => covers(bogon, candidate));
      const route = policy.routes.find((candidate) => candidate.zone === name && covers(bogon, candidate.to));
      if (network !== undefined) {
        mistakes.push({
          path: [...at, i],
          message: `${formatPrefix(bogon)} holds the zone's own network ${formatPrefix(network)}: take it out`,
        });
      } else if (route !== undefined) {
        mistakes.push({
          path: [...at, i],
          message: `${formatPrefix(bogon)} holds ${formatPrefix(route.to)}, which a route says is behind this zone: take it out, or remove the route`,
        });
      }
    }
  });
  return mistakes;
}

export function checkRoutes(policy: PolicySource): PolicyMistake[] {
  return policy.routes.flatMap((route, i) => {
    const path = ["routes", i];
    const zone = policy.zones[route.zone];
    if (zone === undefined) return [unknownZone(policy, [...path, "zone"], route.zone)];
    return [
      ...checkTarget(policy, route, i, path),
      ...checkFamily(policy, [...path, "to"], route.to, route.zone),
      ...checkVia(route, zone, path),
    ];
  });
}

function checkTarget(policy: PolicySource, route: RouteSource, index: number, path: Path): PolicyMistake[] {
  const at = [...path, "to"];
  const mistakes: PolicyMistake[] = [];
  if (policy.routes.slice(0, index).some((other) => isSamePrefix(other.to, route.to))) {
    mistakes.push({
      path: at,
      message: `${formatPrefix(route.to)} has a route already: keep one of them; several next hops are a list in via`,
    });
  }
  for (const [name, zone] of Object.entries(policy.zones)) {
    if (networksOf(zone).some((network) => isSamePrefix(network, route.to))) {
      mistakes.push({
        path: at,
        message: `${formatPrefix(route.to)} is the network of zone ${name} itself: remove the route`,
      });
    }
  }
  return mistakes;
}

function checkVia(route: RouteSource, zone: ZoneSource, path: Path): PolicyMistake[] {
  const via = route.via ?? [];
  const family = familyOf(route.to.address);
  const gateway = gatewayOf(zone, family);
  const twice = repeated(via);
  return via.flatMap((address, i) => {
    const at = via.length === 1 ? [...path, "via"] : [...path, "via", i];
    const text = formatAddress(address);
    const mistake = (message: string): PolicyMistake[] => [{ path: at, message: `${text} ${message}` }];
    if (twice.includes(i)) return mistake("is in the list twice: remove one");
    if (familyOf(address) !== family) {
      return mistake(
        `is IPv${familyOf(address)}, but the route is IPv${family}: name a router of the same family`,
      );
    }
    if (gateway === undefined) return [];
    if (isLinkLocal(address)) {
      if (address !== linkLocalOf(zone)) return [];
      return mistake(
        `is the cluster's own link-local address: name the next router, or set linkLocal of zone ${route.zone} to another address`,
      );
    }
    if (address === gateway.address)
      return mistake("is the cluster's own gateway address: name the next router");
    if (isReservedIn(gateway.prefix, address)) {
      return mistake(`is the ${reservedName(address)} of zone ${route.zone}: name the next router`);
    }
    if (contains(gateway.prefix, address)) return [];
    return mistake(
      `is not in the network of zone ${route.zone} (${formatPrefix(gateway.prefix)}): name a router in it`,
    );
  });
}
