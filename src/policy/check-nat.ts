/**
 * Checks of SNAT and DNAT entries: pools, forwarded addresses and ports, targets, hairpin.
 * Static translation and NAT64 are check-static-nat.ts; that an address lives in one zone is answered.ts.
 */
import type { Address } from "../base/address.ts";
import { contains, familyOf, formatAddress, formatPortRange, isReservedIn, isUnicast } from "./address.ts";
import {
  checkFamily,
  checkZoneNames,
  gatewayKey,
  gatewayOf,
  gatewaysOf,
  networksOf,
  notAHost,
  repeated,
  unknownZone,
} from "./check-help.ts";
import { reservedName } from "./check-zones.ts";
import { poolsOf } from "./pools.ts";
import { formatProtocol, PROTOCOL_TCP, PROTOCOL_UDP } from "./protocols.ts";
import { checkAddressNames, expandAddresses } from "./sets.ts";
import {
  type DnatSource,
  MASQUERADE,
  type Path,
  type PolicyMistake,
  type PolicySource,
  type PoolSource,
  type SnatSource,
} from "./source.ts";

/** Ports of a pool address that an entry may use: enough that each of 64 slots has some (docs/policy.md). */
export const SNAT_PORTS_MIN = 1024;
const FIRST_SNAT_PORT = 1024;

export function checkSnat(policy: PolicySource): PolicyMistake[] {
  return policy.nat.snat.flatMap((entry, i) => {
    const path = ["nat", "snat", i];
    return [
      ...checkZoneNames(policy, entry, ["from", "to"], path),
      ...checkAddressNames(policy, entry.sources, [...path, "sources"]),
      ...checkPool(policy, [...path, "pool"], entry.pool, entry.to, entry.from === entry.to),
      ...checkFamilies(policy, entry, path),
      ...checkPorts(entry, path),
    ];
  });
}

/** Addresses of a pool for traffic to a zone. A hairpin entry may use the addresses of another zone. */
export function checkPool(
  policy: PolicySource,
  path: Path,
  pool: PoolSource,
  zone: string,
  isHairpin = false,
): PolicyMistake[] {
  if (pool === MASQUERADE) return [];
  const twice = repeated(pool);
  return pool.flatMap((address, k) => [
    ...(twice.includes(k)
      ? [{ path: [...path, k], message: `${formatAddress(address)} is in the pool twice: remove one` }]
      : []),
    ...checkOwnAddress(policy, [...path, k], address, zone, isHairpin),
  ]);
}

/** An SNAT entry must translate something: sources and pool share a family, and both zones have it. */
function checkFamilies(policy: PolicySource, entry: SnatSource, path: Path): PolicyMistake[] {
  const from = policy.zones[entry.from];
  if (from === undefined || policy.zones[entry.to] === undefined) return [];
  const wrong = checkPoolFamilies(policy, entry, path);
  if (wrong.length > 0) return wrong;
  const sources = expandAddresses(policy, entry.sources);
  if (entry.sources.length > 0 && sources.length === 0) return [];
  const pools = poolsOf(policy, entry);
  if (pools.length === 0) {
    const family = familyOf(sources[0]!.address);
    const message =
      entry.pool === MASQUERADE
        ? `zone ${entry.to} has no IPv${family} address to masquerade the sources with: add ${gatewayKey(family)} to the zone, or name other sources`
        : `all sources are IPv${family}, but no address of the pool is: add one, or name other sources`;
    return [{ path: [...path, "pool"], message }];
  }
  return pools
    .filter(({ family }) => gatewayOf(from, family) === undefined)
    .map(({ family }) => ({
      path: [...path, "from"],
      message: `zone ${entry.from} has no IPv${family} to translate: add ${gatewayKey(family)} to the zone, or remove that family from the entry`,
    }));
}

function checkPoolFamilies(policy: PolicySource, entry: SnatSource, path: Path): PolicyMistake[] {
  if (entry.pool === MASQUERADE) return [];
  const sources = expandAddresses(policy, entry.sources);
  return entry.pool.flatMap((address, k) => {
    const at = [...path, "pool", k];
    const family = familyOf(address);
    const wrong = checkFamily(policy, at, address, entry.to);
    const isIdle =
      sources.length > 0 &&
      sources.every((source) => familyOf(source.address) !== family) &&
      entry.pool.length > 1 &&
      poolsOf(policy, entry).length > 0;
    if (wrong.length > 0 || !isIdle) return wrong;
    return [
      {
        path: at,
        message: `${formatAddress(address)} is never used, since no source is IPv${family}: remove it, or add such sources`,
      },
    ];
  });
}

function checkPorts(entry: SnatSource, path: Path): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  if (entry.ports !== undefined) {
    const { from, to } = entry.ports;
    if (from < FIRST_SNAT_PORT || to - from + 1 < SNAT_PORTS_MIN) {
      mistakes.push({
        path: [...path, "ports"],
        message: `${formatPortRange(entry.ports)} does not fit: use at least ${SNAT_PORTS_MIN} ports from ${FIRST_SNAT_PORT} on, since the slots share them`,
      });
    }
  }
  if (entry.filtering === "endpoint-independent" && entry.mapping !== "endpoint-independent") {
    mistakes.push({
      path: [...path, "filtering"],
      message:
        "endpoint-independent filtering needs a mapping to filter by: add mapping: endpoint-independent",
    });
  }
  return mistakes;
}

export function checkDnat(policy: PolicySource): PolicyMistake[] {
  return policy.nat.dnat.flatMap((entry, i) => {
    const path = ["nat", "dnat", i];
    return [
      ...checkForwarded(policy, entry, path),
      ...checkForwardedPorts(policy, entry, i, path),
      ...checkTargets(policy, entry, path),
      ...checkHairpin(policy, entry, path),
    ];
  });
}

/** The address that is forwarded: the zone's own gateway may be it, so that one address is enough for a site. */
function checkForwarded(policy: PolicySource, entry: DnatSource, path: Path): PolicyMistake[] {
  const zone = policy.zones[entry.zone];
  if (zone === undefined) return [unknownZone(policy, [...path, "zone"], entry.zone)];
  if (gatewaysOf(zone).some((gateway) => gateway.address === entry.address)) return [];
  const wrong = checkFamily(policy, [...path, "address"], entry.address, entry.zone);
  return wrong.length > 0 ? wrong : checkOwnAddress(policy, [...path, "address"], entry.address, entry.zone);
}

function checkForwardedPorts(
  policy: PolicySource,
  entry: DnatSource,
  index: number,
  path: Path,
): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  if (entry.protocol !== PROTOCOL_TCP && entry.protocol !== PROTOCOL_UDP) {
    mistakes.push({
      path: [...path, "protocol"],
      message: `only tcp and udp have ports to forward, not ${formatProtocol(entry.protocol)}: use one of them, or nat.static for a whole address`,
    });
  }
  const toPort = entry.toPort ?? entry.ports.from;
  if (toPort + entry.ports.to - entry.ports.from > 65_535) {
    mistakes.push({
      path: [...path, "toPort"],
      message: `${formatPortRange(entry.ports)} moved to ${toPort} runs past 65535: lower toPort`,
    });
  }
  const twin = policy.nat.dnat.slice(0, index).find((other) => dnatClash(entry, other));
  if (twin !== undefined) {
    mistakes.push({
      path: [...path, "ports"],
      message: `${formatPortRange(entry.ports)} of ${formatAddress(entry.address)} is forwarded already to ${twin.to.map(formatAddress).join(", ")}: use other ports`,
    });
  }
  return mistakes;
}

function dnatClash(a: DnatSource, b: DnatSource): boolean {
  const zones = [b.zone, ...(b.hairpin ?? [])];
  return (
    [a.zone, ...(a.hairpin ?? [])].some((zone) => zones.includes(zone)) &&
    a.address === b.address &&
    a.protocol === b.protocol &&
    a.ports.from <= b.ports.to &&
    b.ports.from <= a.ports.to
  );
}

function checkTargets(policy: PolicySource, entry: DnatSource, path: Path): PolicyMistake[] {
  const twice = repeated(entry.to);
  return entry.to.flatMap((to, k) => {
    const at = entry.to.length === 1 ? [...path, "to"] : [...path, "to", k];
    const text = formatAddress(to);
    if (twice.includes(k)) return [{ path: at, message: `${text} is in the list twice: remove one` }];
    if (familyOf(to) !== familyOf(entry.address)) {
      return [
        {
          path: at,
          message: `${text} is IPv${familyOf(to)}, but ${formatAddress(entry.address)} is IPv${familyOf(entry.address)}: forward to a server of the same family`,
        },
      ];
    }
    return checkTarget(policy, at, to);
  });
}

/** A DNAT target must be a host that some zone or route leads to, and not the cluster itself. */
function checkTarget(policy: PolicySource, path: Path, to: Address): PolicyMistake[] {
  const zones = Object.values(policy.zones);
  if (zones.some((zone) => gatewaysOf(zone).some((gateway) => gateway.address === to))) {
    return [
      {
        path,
        message: `${formatAddress(to)} is the cluster's own gateway address: name the server's address`,
      },
    ];
  }
  if (zoneOfHost(policy, to) !== undefined && isUnicast(to)) return [];
  return [
    {
      path,
      message: `${formatAddress(to)} is in no zone's network and behind no route: correct it or add a route`,
    },
  ];
}

/** Hosts that reach a forwarded port from other zones, or from the server's own, where replies need to come back as well. */
function checkHairpin(policy: PolicySource, entry: DnatSource, path: Path): PolicyMistake[] {
  const family = familyOf(entry.address);
  const targets = entry.to.map((to) => zoneOfHost(policy, to));
  const hairpin = entry.hairpin ?? [];
  const twice = repeated(hairpin);
  return hairpin.flatMap((zone, k) => {
    const at = [...path, "hairpin", k];
    if (policy.zones[zone] === undefined) return [unknownZone(policy, at, zone)];
    if (zone === entry.zone || twice.includes(k)) {
      return [{ path: at, message: `zone ${zone} reaches the forwarded ports already: remove it` }];
    }
    const wrong = checkFamily(policy, at, entry.address, zone);
    const isReturned = policy.nat.snat.some(
      (snat) =>
        snat.from === zone &&
        snat.to === zone &&
        poolsOf(policy, snat).some((pool) => pool.family === family),
    );
    if (wrong.length > 0 || !targets.includes(zone) || isReturned) return wrong;
    return [
      {
        path: at,
        message: `a server in zone ${zone} would answer hosts of its own zone directly, past the cluster: add nat.snat { from: ${zone}, to: ${zone}, pool: masquerade }`,
      },
    ];
  });
}

/** The zone that the longest prefix leads to. */
export function zoneOfHost(policy: PolicySource, address: Address): string | undefined {
  const ways = [
    ...Object.entries(policy.zones).flatMap(([zone, source]) =>
      networksOf(source).map((to) => ({ zone, to })),
    ),
    ...policy.routes,
  ].filter((way) => contains(way.to, address));
  return ways.reduce<(typeof ways)[number] | undefined>(
    (best, way) => (best === undefined || way.to.bits > best.to.bits ? way : best),
    undefined,
  )?.zone;
}

/** An address that the cluster answers for in `zoneName`: no gateway, and not inside another zone's network. */
function checkOwnAddress(
  policy: PolicySource,
  path: Path,
  address: Address,
  zoneName: string,
  mayBeElsewhere = false,
): PolicyMistake[] {
  const wrong = notAHost(path, address);
  if (wrong.length > 0) return wrong;
  const text = formatAddress(address);
  for (const [name, zone] of Object.entries(policy.zones)) {
    if (gatewaysOf(zone).some((gateway) => gateway.address === address)) {
      const fix =
        name === zoneName
          ? "write pool: masquerade, or use an address of its own for NAT"
          : "use an address of its own for NAT";
      return [{ path, message: `${text} is the gateway of zone ${name}: ${fix}` }];
    }
    for (const network of networksOf(zone)) {
      if (isReservedIn(network, address)) {
        return [
          { path, message: `${text} is the ${reservedName(address)} of zone ${name}: use a host address` },
        ];
      }
      if (name !== zoneName && !mayBeElsewhere && contains(network, address)) {
        return [
          {
            path,
            message: `${text} is in the network of zone ${name}, but replies come from zone ${zoneName}: use an address of zone ${zoneName}, or one that is routed to the cluster`,
          },
        ];
      }
    }
  }
  return [];
}
