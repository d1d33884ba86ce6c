/**
 * Answered addresses: the addresses besides gateways that the cluster answers for, and in which zone. Owns where they come
 * from (pools, forwarded and static addresses), and that each lives in one zone: a packet to it must not depend on where it
 * came in.
 */
import { type Address, widthOf } from "../base/address.ts";
import type { PolicyModel, Prefix } from "../dataplane/policy-model.ts";
import {
  compareAddresses,
  contains,
  covers,
  formatAddress,
  formatPrefix,
  hostPrefix,
  isReservedIn,
  lastOf,
  overlap,
} from "./address.ts";
import { gatewaysOf, networksOf } from "./check-help.ts";
import { MASQUERADE, type Path, type PolicyMistake, type PolicySource } from "./source.ts";

/** Addresses of a static entry that the cluster answers for one by one, at most: a /24. */
export const STATIC_ANSWERED_MAX = 256;

interface Use {
  readonly address: Address;
  readonly zone: string;
  readonly path: Path;
}

interface StaticUse {
  readonly outer: Prefix;
  readonly zone: string;
  readonly path: Path;
}

/** The model's list: sorted by address, each once. Position i lives in slot i modulo slots. */
export function answeredAddresses(
  policy: PolicySource,
  zoneId: (name: string) => number,
): PolicyModel["answered"] {
  const zoneOf = new Map<Address, string>();
  const answer = (address: Address, zone: string): void => {
    if (!zoneOf.has(address) && !isGateway(policy, address)) zoneOf.set(address, zone);
  };
  for (const { address, zone } of uses(policy)) answer(address, zone);
  for (const use of staticUses(policy)) {
    for (const address of answeredOf(policy, use)) answer(address, use.zone);
  }
  for (const { address, zone } of hairpinUses(policy)) answer(address, homeOf(policy, address) ?? zone);
  return [...zoneOf]
    .map(([address, zone]) => ({ zone: zoneId(zone), address }))
    .sort((a, b) => compareAddresses(a.address, b.address));
}

/** Addresses that are used in one zone, which is where they must be answered. */
function uses(policy: PolicySource): Use[] {
  const { snat, dnat, nat64 = [] } = policy.nat;
  return [
    ...snat.flatMap((entry, i) => (entry.from === entry.to ? [] : poolUses(entry, ["nat", "snat", i]))),
    ...dnat.map((entry, i) => ({
      address: entry.address,
      zone: entry.zone,
      path: ["nat", "dnat", i, "address"],
    })),
    ...nat64.flatMap((entry, i) => poolUses(entry, ["nat", "nat64", i])),
  ];
}

/** Pools of hairpin entries: their addresses belong to another zone as a rule, and are answered there. */
function hairpinUses(policy: PolicySource): Use[] {
  return policy.nat.snat.flatMap((entry, i) =>
    entry.from === entry.to ? poolUses(entry, ["nat", "snat", i]) : [],
  );
}

function poolUses(
  entry: { readonly to: string; readonly pool: readonly Address[] | typeof MASQUERADE },
  path: Path,
): Use[] {
  if (entry.pool === MASQUERADE) return [];
  return entry.pool.map((address, k) => ({ address, zone: entry.to, path: [...path, "pool", k] }));
}

function staticUses(policy: PolicySource): StaticUse[] {
  return (["static", "nptv6"] as const).flatMap((key) =>
    (policy.nat[key] ?? []).map((entry, i) => ({
      outer: entry.outer,
      zone: entry.outerZone,
      path: ["nat", key, i, "outer"],
    })),
  );
}

/** How many addresses of a static entry hosts on the outer zone's wire would ask for. */
export function answeredCount(policy: PolicySource, outer: Prefix, zoneName: string): bigint {
  const zone = policy.zones[zoneName];
  if (zone === undefined || !networksOf(zone).some((network) => covers(network, outer))) return 0n;
  return 1n << BigInt(widthOf(outer.address) - outer.bits);
}

function answeredOf(policy: PolicySource, { outer, zone }: StaticUse): Address[] {
  const count = answeredCount(policy, outer, zone);
  if (count === 0n || count > BigInt(STATIC_ANSWERED_MAX)) return [];
  const networks = networksOf(policy.zones[zone]!);
  return addressesOf(outer).filter((address) => !networks.some((network) => isReservedIn(network, address)));
}

function addressesOf({ address, bits }: Prefix): Address[] {
  const last = lastOf({ address, bits });
  const all: Address[] = [];
  if (typeof address === "number") {
    for (let each = address; each <= last; each++) all.push(each);
  } else {
    for (let each = address; each <= last; each++) all.push(each);
  }
  return all;
}

function isGateway(policy: PolicySource, address: Address): boolean {
  return Object.values(policy.zones).some((zone) =>
    gatewaysOf(zone).some((gateway) => gateway.address === address),
  );
}

/** The zone in whose network an address is. */
function homeOf(policy: PolicySource, address: Address): string | undefined {
  return Object.entries(policy.zones).find(([, zone]) =>
    networksOf(zone).some((network) => contains(network, address)),
  )?.[0];
}

/** `found`: mistakes so far; a static entry that has one is not held against others. */
export function checkAnswered(policy: PolicySource, found: readonly PolicyMistake[] = []): PolicyMistake[] {
  const zoneOf = new Map<Address, string>();
  const statics = staticUses(policy).filter(
    ({ path }) => !found.some((mistake) => path.slice(0, 3).every((key, i) => mistake.path[i] === key)),
  );
  const mistakes: PolicyMistake[] = [];
  for (const { address, zone, path } of uses(policy)) {
    const other = zoneOf.get(address) ?? zone;
    zoneOf.set(address, other);
    if (other !== zone) {
      mistakes.push({
        path,
        message: `${formatAddress(address)} is used for zone ${other} already: use another address for zone ${zone}`,
      });
    }
  }
  for (const { address, path } of [...uses(policy), ...hairpinUses(policy)]) {
    const owner = statics.find(({ outer }) => contains(outer, address));
    if (owner === undefined) continue;
    mistakes.push({
      path,
      message: `${formatAddress(address)} belongs to the static translation of ${formatPrefix(owner.outer)}, with all its ports: use another address`,
    });
  }
  const taken = [...uses(policy), ...hairpinUses(policy)].map(({ address, path }) => ({
    outer: hostPrefix(address),
    path,
  }));
  mistakes.push(...checkRouters(policy, [...taken, ...statics]));
  statics.forEach(({ outer, path }, i) => {
    const other = statics.slice(0, i).find((candidate) => overlap(candidate.outer, outer));
    if (other === undefined) return;
    mistakes.push({
      path,
      message: `${formatPrefix(outer)} overlaps ${formatPrefix(other.outer)}, which is translated already: use other addresses`,
    });
  });
  return mistakes;
}

/** Whoever answers for a router's address cuts the cluster off from that router. */
function checkRouters(
  policy: PolicySource,
  taken: readonly { readonly outer: Prefix; readonly path: Path }[],
): PolicyMistake[] {
  const routers = policy.routes
    .flatMap((route) => route.via ?? [])
    .filter((address) => !isGateway(policy, address));
  return taken.flatMap(({ outer, path }) => {
    const router = routers.find((address) => contains(outer, address));
    if (router === undefined) return [];
    return [
      {
        path,
        message: `${formatPrefix(outer)} ${outer.address === router ? "is" : `holds ${formatAddress(router)},`} the next router of a route: use other addresses`,
      },
    ];
  });
}
