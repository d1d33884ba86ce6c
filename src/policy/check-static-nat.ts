/**
 * Checks of translation by prefix: static entries, NPTv6 (RFC 6296) and NAT64 (RFC 6146 with the addresses of RFC 6052).
 */
import { widthOf } from "../base/address.ts";
import type { Prefix } from "../dataplane/policy-model.ts";
import {
  contains,
  covers,
  familyOf,
  formatAddress,
  formatPrefix,
  isReservedIn,
  isSamePrefix,
  isUnicast,
  overlap,
  PRIVATE_IPV4_PREFIXES,
  WELL_KNOWN_NAT64_PREFIX,
} from "./address.ts";
import { answeredCount, STATIC_ANSWERED_MAX } from "./answered.ts";
import { checkFamily, checkZoneNames, gatewayOf, gatewaysOf, networksOf } from "./check-help.ts";
import { checkPool } from "./check-nat.ts";
import { reservedName } from "./check-zones.ts";
import {
  MASQUERADE,
  type Nat64Source,
  type Path,
  type PolicyMistake,
  type PolicySource,
  type StaticSource,
} from "./source.ts";

/** Behind this length no word of the interface identifier is left that could keep the checksum (RFC 6296 section 3.5). */
const NPTV6_BITS_MAX = 64;
/** RFC 6052 section 2.2. */
const NAT64_BITS: readonly number[] = [32, 40, 48, 56, 64, 96];

export function checkStatics(policy: PolicySource): PolicyMistake[] {
  const entries = [...namedEntries(policy, "static"), ...namedEntries(policy, "nptv6")];
  return entries.flatMap(({ entry, path, key }, i) => {
    const wrong = [
      ...checkZoneNames(policy, entry, ["innerZone", "outerZone"], path),
      ...checkPair(entry, key, path),
    ];
    if (wrong.length > 0) return wrong;
    const twin = entries.slice(0, i).find(({ entry: other }) => overlap(other.inner, entry.inner));
    return [
      ...checkInner(policy, entry, path),
      ...checkOuter(policy, entry, path),
      ...(twin === undefined
        ? []
        : [
            {
              path: [...path, "inner"],
              message: `${formatPrefix(entry.inner)} overlaps ${formatPrefix(twin.entry.inner)}, which is translated already: translate each address once`,
            },
          ]),
    ];
  });
}

function namedEntries(
  policy: PolicySource,
  key: "static" | "nptv6",
): { readonly entry: StaticSource; readonly path: Path; readonly key: "static" | "nptv6" }[] {
  return (policy.nat[key] ?? []).map((entry, i) => ({ entry, key, path: ["nat", key, i] }));
}

/** What inner and outer prefix must be to each other. */
function checkPair(entry: StaticSource, key: "static" | "nptv6", path: Path): PolicyMistake[] {
  const { inner, outer } = entry;
  const family = familyOf(inner.address);
  if (entry.innerZone === entry.outerZone) {
    return [
      {
        path: [...path, "outerZone"],
        message: `zone ${entry.outerZone} is the inner zone too: name the other side`,
      },
    ];
  }
  if (family !== familyOf(outer.address)) {
    return [
      {
        path: [...path, "outer"],
        message: `${formatPrefix(outer)} is IPv${familyOf(outer.address)}, but inner is IPv${family}: use one family${family === 6 ? ", or nat.nat64" : ""}`,
      },
    ];
  }
  if (inner.bits !== outer.bits) {
    return [
      {
        path: [...path, "outer"],
        message: `${formatPrefix(outer)} has /${outer.bits}, but inner has /${inner.bits}: make them equally long, since each address has its own`,
      },
    ];
  }
  if (key === "nptv6" && (family === 4 || inner.bits > NPTV6_BITS_MAX)) {
    return [
      {
        path: [...path, "inner"],
        message: `${formatPrefix(inner)} does not fit: NPTv6 translates IPv6 prefixes of /${NPTV6_BITS_MAX} or shorter (RFC 6296): use one, or nat.static`,
      },
    ];
  }
  if (overlap(inner, outer)) {
    return [
      {
        path: [...path, "outer"],
        message: `${formatPrefix(outer)} overlaps inner: translate to other addresses`,
      },
    ];
  }
  return [];
}

/** The inner addresses must be where the inner zone leads. */
function checkInner(policy: PolicySource, entry: StaticSource, path: Path): PolicyMistake[] {
  const { inner, innerZone } = entry;
  const at = [...path, "inner"];
  const wrong = checkFamily(policy, at, inner, innerZone);
  if (wrong.length > 0) return wrong;
  const zone = policy.zones[innerZone]!;
  const places = [
    ...networksOf(zone),
    ...policy.routes.filter((route) => route.zone === innerZone).map((route) => route.to),
  ];
  if (!places.some((place) => overlap(place, inner))) {
    return [
      {
        path: at,
        message: `${formatPrefix(inner)} is not in zone ${innerZone} or behind a route to it: correct it, or add a route`,
      },
    ];
  }
  return isSingle(inner) ? checkSingle(policy, at, inner) : [];
}

/** The outer addresses must be free, and hosts of the outer zone must find them. */
function checkOuter(policy: PolicySource, entry: StaticSource, path: Path): PolicyMistake[] {
  const { outer, outerZone } = entry;
  const at = [...path, "outer"];
  const text = formatPrefix(outer);
  const wrong = checkFamily(policy, at, outer, outerZone);
  if (wrong.length > 0) return wrong;
  if (!isUnicast(outer.address)) {
    return [{ path: at, message: `${text} holds no addresses of hosts: use unicast addresses` }];
  }
  for (const [name, zone] of Object.entries(policy.zones)) {
    for (const { address, prefix: network } of gatewaysOf(zone)) {
      if (contains(outer, address)) {
        return [
          {
            path: at,
            message: `${text} holds ${formatAddress(address)}, the gateway of zone ${name}: use addresses without it`,
          },
        ];
      }
      if (overlap(outer, network) && (name !== outerZone || !covers(network, outer))) {
        return [
          {
            path: at,
            message: `${text} overlaps the network of zone ${name} (${formatPrefix(network)}): use addresses of zone ${outerZone}, or some that are routed to the cluster`,
          },
        ];
      }
    }
  }
  if (isSingle(outer)) {
    const reserved = checkSingle(policy, at, outer);
    if (reserved.length > 0) return reserved;
  }
  const count = answeredCount(policy, outer, outerZone);
  if (count <= BigInt(STATIC_ANSWERED_MAX)) return [];
  return [
    {
      path: at,
      message: `${text} is a part of the network of zone ${outerZone}, and the cluster answers there for at most ${STATIC_ANSWERED_MAX} addresses of an entry: use a longer prefix, or one that is routed to the cluster`,
    },
  ];
}

function isSingle(prefix: Prefix): boolean {
  return prefix.bits === widthOf(prefix.address);
}

/** One address that must be a host's. */
function checkSingle(policy: PolicySource, path: Path, prefix: Prefix): PolicyMistake[] {
  const text = formatPrefix(prefix);
  if (!isUnicast(prefix.address)) {
    return [{ path, message: `${text} cannot be a host's address: use a unicast address` }];
  }
  for (const [name, zone] of Object.entries(policy.zones)) {
    if (gatewaysOf(zone).some((gateway) => gateway.address === prefix.address)) {
      return [{ path, message: `${text} is the gateway of zone ${name}: use a host's address` }];
    }
    if (networksOf(zone).some((network) => isReservedIn(network, prefix.address))) {
      return [
        {
          path,
          message: `${text} is the ${reservedName(prefix.address)} of zone ${name}: use a host address`,
        },
      ];
    }
  }
  return [];
}

export function checkNat64(policy: PolicySource): PolicyMistake[] {
  const entries = policy.nat.nat64 ?? [];
  return entries.flatMap((entry, i) => {
    const path = ["nat", "nat64", i];
    const twin = entries
      .slice(0, i)
      .find((other) => other.from === entry.from && overlap(other.prefix, entry.prefix));
    return [
      ...checkZoneNames(policy, entry, ["from", "to"], path),
      ...checkNat64Zones(policy, entry, path),
      ...checkNat64Prefix(policy, entry.prefix, [...path, "prefix"]),
      ...(twin === undefined
        ? []
        : [
            {
              path: [...path, "prefix"],
              message: `${formatPrefix(entry.prefix)} overlaps ${formatPrefix(twin.prefix)}, which zone ${entry.from} has already: use another prefix`,
            },
          ]),
      ...checkNat64Pool(policy, entry, [...path, "pool"]),
    ];
  });
}

function checkNat64Zones(policy: PolicySource, entry: Nat64Source, path: Path): PolicyMistake[] {
  const from = policy.zones[entry.from];
  const to = policy.zones[entry.to];
  const mistakes: PolicyMistake[] = [];
  if (from !== undefined && gatewayOf(from, 6) === undefined) {
    mistakes.push({
      path: [...path, "from"],
      message: `zone ${entry.from} has no IPv6, where NAT64 begins: add gateway6 to the zone`,
    });
  }
  if (to !== undefined && gatewayOf(to, 4) === undefined) {
    mistakes.push({
      path: [...path, "to"],
      message: `zone ${entry.to} has no IPv4, where NAT64 ends: add gateway to the zone`,
    });
  }
  return mistakes;
}

/** As notes: networks where NAT64 ends and that the well-known prefix does not lead to. */
export function unreachableByNat64({ nat, zones, routes }: PolicySource): PolicyMistake[] {
  return (nat.nat64 ?? []).flatMap(({ to, prefix }, i) => {
    if (!isSamePrefix(prefix, WELL_KNOWN_NAT64_PREFIX)) return [];
    const zone = zones[to];
    const networks = [
      ...(zone === undefined ? [] : networksOf(zone)),
      ...routes.filter((route) => route.zone === to).map((route) => route.to),
    ];
    return networks
      .filter((network) => PRIVATE_IPV4_PREFIXES.some((each) => covers(each, network)))
      .map((network) => ({
        path: ["nat", "nat64", i, "prefix"],
        message: `${formatPrefix(prefix)} must not stand for private addresses (RFC 6052, 3.1), so hosts of ${formatPrefix(network)} in zone ${to} are not reached by it: use a prefix of your own to reach them`,
      }));
  });
}

function checkNat64Prefix(policy: PolicySource, prefix: Prefix, path: Path): PolicyMistake[] {
  const text = formatPrefix(prefix);
  if (typeof prefix.address === "number" || !NAT64_BITS.includes(prefix.bits)) {
    return [
      {
        path,
        message: `${text} does not fit: use an IPv6 prefix of /${NAT64_BITS.slice(0, -1).join(", /")} or /${NAT64_BITS.at(-1)} (RFC 6052)`,
      },
    ];
  }
  if (((prefix.address >> 56n) & 0xffn) !== 0n) {
    return [
      {
        path,
        message: `${text} has bits set between 64 and 71, which must be zero (RFC 6052): use another prefix`,
      },
    ];
  }
  for (const [name, zone] of Object.entries(policy.zones)) {
    const network = networksOf(zone).find((candidate) => overlap(candidate, prefix));
    if (network !== undefined) {
      return [
        {
          path,
          message: `${text} overlaps the network of zone ${name} (${formatPrefix(network)}): use a prefix that no host has, like 64:ff9b::/96`,
        },
      ];
    }
  }
  const route = policy.routes.find((candidate) => covers(prefix, candidate.to));
  if (route === undefined) return [];
  return [
    {
      path,
      message: `${text} holds ${formatPrefix(route.to)}, which has a route: use another prefix, or remove the route`,
    },
  ];
}

function checkNat64Pool(policy: PolicySource, entry: Nat64Source, path: Path): PolicyMistake[] {
  if (entry.pool === MASQUERADE) return [];
  const wrong = entry.pool.flatMap((address, k) =>
    familyOf(address) === 6
      ? [
          {
            path: [...path, k],
            message: `${formatAddress(address)} is IPv6, but NAT64 goes on in IPv4: use IPv4 addresses`,
          },
        ]
      : [],
  );
  return wrong.length > 0 ? wrong : checkPool(policy, path, entry.pool, entry.to);
}
