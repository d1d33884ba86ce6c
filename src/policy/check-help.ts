/**
 * What several checks of a policy share: words for common mistakes, and questions about zones.
 */
import type { Address } from "../base/address.ts";
import type { Prefix } from "../dataplane/policy-model.ts";
import {
  type Family,
  familyOf,
  formatAddress,
  formatPrefix,
  type InterfaceAddress,
  isLinkLocal,
  isUnicast,
} from "./address.ts";
import type { Path, PolicyMistake, PolicySource, ZoneSource } from "./source.ts";

export function unknownZone(policy: PolicySource, path: Path, name: string): PolicyMistake {
  return { path, message: `no zone "${name}": use one of ${Object.keys(policy.zones).join(", ")}` };
}

/** The zones among `keys` of an entry that do not exist. */
export function checkZoneNames<Key extends string>(
  policy: PolicySource,
  entry: Readonly<Record<Key, string>>,
  keys: readonly Key[],
  path: Path,
): PolicyMistake[] {
  return keys
    .filter((key) => policy.zones[entry[key]] === undefined)
    .map((key) => unknownZone(policy, [...path, key], entry[key]));
}

/** The gateways of a zone, at most one of each family. */
export function gatewaysOf(zone: ZoneSource): InterfaceAddress[] {
  return [zone.gateway, zone.gateway6].filter((gateway) => gateway !== undefined);
}

/** The gateway of a family, if the zone has that family. */
export function gatewayOf(zone: ZoneSource | undefined, family: Family): InterfaceAddress | undefined {
  return family === 4 ? zone?.gateway : zone?.gateway6;
}

/** The zone's networks, at most one of each family. */
export function networksOf(zone: ZoneSource): Prefix[] {
  return gatewaysOf(zone).map((gateway) => gateway.prefix);
}

/** "fd00::1/64 is IPv6, but zone dmz has no IPv6: ...", or nothing. An unknown zone is another check's. */
export function checkFamily(
  policy: PolicySource,
  path: Path,
  what: Prefix | Address,
  zoneName: string,
): PolicyMistake[] {
  const zone = policy.zones[zoneName];
  const address = typeof what === "object" ? what.address : what;
  const family = familyOf(address);
  if (zone === undefined || gatewayOf(zone, family) !== undefined) return [];
  const text = typeof what === "object" ? formatPrefix(what) : formatAddress(what);
  return [
    {
      path,
      message: `${text} is IPv${family}, but zone ${zoneName} has no IPv${family}: add ${gatewayKey(family)} to the zone, or use IPv${family === 4 ? 6 : 4}`,
    },
  ];
}

export function gatewayKey(family: Family): "gateway" | "gateway6" {
  return family === 4 ? "gateway" : "gateway6";
}

export function notAHost(path: Path, address: Address): PolicyMistake[] {
  if (isUnicast(address)) return [];
  if (isLinkLocal(address)) {
    const message = `${formatAddress(address)} is only known on its own link: use a global or unique local address`;
    return [{ path, message }];
  }
  return [{ path, message: `${formatAddress(address)} cannot be a host's address: use a unicast address` }];
}

/** The positions of entries that are in a list before them. */
export function repeated<Entry>(
  entries: readonly Entry[],
  isSame: (a: Entry, b: Entry) => boolean = (a, b) => a === b,
): number[] {
  return [...entries.keys()].filter((i) => entries.slice(0, i).some((other) => isSame(other, entries[i]!)));
}
