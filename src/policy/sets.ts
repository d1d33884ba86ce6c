/**
 * Named sets: address sets and service sets, which may hold one another. Owns their expansion and what is wrong with them:
 * unknown names, circles, and (as notes) sets that nothing uses.
 */
import type { Prefix } from "../dataplane/policy-model.ts";
import type {
  AddressEntry,
  Path,
  PolicyMistake,
  PolicySource,
  ServiceEntry,
  ServiceSource,
} from "./source.ts";

type Sets<Entry> = Readonly<Record<string, readonly Entry[]>>;

/** Entries with sets replaced by what is in them, each network once. Unknown sets and circles count as empty. */
export function expandAddresses(policy: PolicySource, entries: readonly AddressEntry[]): Prefix[] {
  const seen = new Set<string>();
  return expand<Prefix>(policy.addressSets ?? {}, entries).filter((prefix) => {
    const key = `${typeof prefix.address} ${prefix.address}/${prefix.bits}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

export function expandServices(policy: PolicySource, entries: readonly ServiceEntry[]): ServiceSource[] {
  return expand<ServiceSource>(policy.serviceSets ?? {}, entries);
}

/** Each set is taken once, however often it is named, so that circles end and sets of sets stay small. */
function expand<Leaf extends object>(
  sets: Sets<Leaf | string>,
  entries: readonly (Leaf | string)[],
  taken: Set<string> = new Set(),
): Leaf[] {
  return entries.flatMap((entry) => {
    if (typeof entry !== "string") return [entry];
    if (taken.has(entry) || !Object.hasOwn(sets, entry)) return [];
    taken.add(entry);
    return expand(sets, sets[entry]!, taken);
  });
}

/** Unknown names and circles inside the sets themselves. */
export function checkSets(policy: PolicySource): PolicyMistake[] {
  return [
    ...checkNesting("addressSets", policy.addressSets ?? {}),
    ...checkNesting("serviceSets", policy.serviceSets ?? {}),
  ];
}

function checkNesting(key: "addressSets" | "serviceSets", sets: Sets<object | string>): PolicyMistake[] {
  return Object.entries(sets).flatMap(([name, entries]) => {
    const circle = circleFrom(sets, name);
    // A circle is told once, at its first set by name.
    const isFirst = circle !== undefined && [...circle].sort()[0] === name;
    return [
      ...checkNames(key, sets, entries, [key, name]),
      ...(isFirst
        ? [
            {
              path: [key, name],
              message: `holds itself: ${[...circle, name].join(" > ")}: take one of them out of another`,
            },
          ]
        : []),
    ];
  });
}

/** The names on the way from a set back to it, or undefined. */
function circleFrom(sets: Sets<object | string>, start: string): readonly string[] | undefined {
  const seen = new Set<string>();
  const follow = (name: string): readonly string[] | undefined => {
    for (const entry of sets[name] ?? []) {
      if (typeof entry !== "string" || !Object.hasOwn(sets, entry)) continue;
      if (entry === start) return [name];
      if (seen.has(entry)) continue;
      seen.add(entry);
      const rest = follow(entry);
      if (rest !== undefined) return [name, ...rest];
    }
    return undefined;
  };
  return follow(start);
}

/** Names in a list that are no set. */
export function checkAddressNames(
  policy: PolicySource,
  entries: readonly AddressEntry[],
  path: Path,
): PolicyMistake[] {
  return checkNames("addressSets", policy.addressSets ?? {}, entries, path);
}

export function checkServiceNames(
  policy: PolicySource,
  entries: readonly ServiceEntry[],
  path: Path,
): PolicyMistake[] {
  return checkNames("serviceSets", policy.serviceSets ?? {}, entries, path);
}

function checkNames(
  key: "addressSets" | "serviceSets",
  sets: Sets<object | string>,
  entries: readonly (object | string)[],
  path: Path,
): PolicyMistake[] {
  const known = Object.keys(sets);
  return entries.flatMap((entry, i) => {
    if (typeof entry !== "string" || Object.hasOwn(sets, entry)) return [];
    const fix =
      known.length === 0 ? `define it under ${key}` : `use one of ${known.join(", ")}, or define it`;
    return [{ path: [...path, i], message: `no set "${entry}" in ${key}: ${fix}` }];
  });
}

/** Sets that no rule, zone, NAT entry or used set names: harmless, and most likely forgotten. */
export function unusedSets(policy: PolicySource): PolicyMistake[] {
  const addresses = [
    ...policy.rules.flatMap((rule) => [...rule.sources, ...rule.destinations]),
    ...policy.nat.snat.flatMap((entry) => entry.sources),
    ...Object.values(policy.zones).flatMap((zone) => zone.bogons ?? []),
    ...(policy.protection?.allow ?? []),
  ];
  const services = policy.rules.flatMap((rule) => rule.services ?? []);
  return [
    ...unused("addressSets", policy.addressSets ?? {}, addresses),
    ...unused("serviceSets", policy.serviceSets ?? {}, services),
  ];
}

function unused(
  key: string,
  sets: Sets<object | string>,
  entries: readonly (object | string)[],
): PolicyMistake[] {
  const used = new Set<string>();
  expand(sets, entries, used);
  return Object.keys(sets)
    .filter((name) => !used.has(name))
    .map((name) => ({ path: [key, name], message: "nothing uses it: name it in a rule, or remove it" }));
}
