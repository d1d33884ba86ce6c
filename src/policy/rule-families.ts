/**
 * Families of a rule: whether a packet can have all that the rule asks for. A packet is IPv4 or IPv6; only NAT64 has a rule
 * see both, an IPv6 source and the IPv4 destination behind it.
 */
import type { Prefix } from "../dataplane/policy-model.ts";
import { covers, type Family, familyOf, formatPrefix } from "./address.ts";
import { gatewayOf } from "./check-help.ts";
import { familyOfProtocol, formatProtocol } from "./protocols.ts";
import { servicesOf } from "./services.ts";
import { expandAddresses } from "./sets.ts";
import type { AddressEntry, Path, PolicyMistake, PolicySource, RuleSource } from "./source.ts";

/** What one field leaves open. */
interface Demand {
  readonly key: string;
  /** "all sources are IPv4". */
  readonly text: string;
  readonly families: readonly Family[];
  /** Which end of the packet it is about; both when absent. */
  readonly end?: "source" | "destination";
}

const FAMILIES: readonly Family[] = [4, 6];

export function checkRuleFamilies(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const hidden = checkBehindNat64(policy, rule, path);
  if (hidden.length > 0) return hidden;
  const demands = demandsOf(policy, rule).filter((demand) => demand.families.length === 1);
  const clash = firstClash(demands);
  if (clash === undefined || isNat64(policy, rule, demands)) return [];
  const [one, other] = clash;
  return [
    {
      path: [...path, other.key],
      message: `${one.text} and ${other.text}, so no packet matches the rule: use one family, or make a rule for each`,
    },
  ];
}

function firstClash(demands: readonly Demand[]): [Demand, Demand] | undefined {
  for (const [i, other] of demands.entries()) {
    const one = demands.slice(0, i).find((demand) => demand.families[0] !== other.families[0]);
    if (one !== undefined) return [one, other];
  }
  return undefined;
}

function demandsOf(policy: PolicySource, rule: RuleSource): Demand[] {
  const demands: Demand[] = [];
  for (const [key, end] of [
    ["from", "source"],
    ["to", "destination"],
  ] as const) {
    const zone = rule[key];
    if (zone === undefined || policy.zones[zone] === undefined) continue;
    const families = FAMILIES.filter((family) => gatewayOf(policy.zones[zone], family) !== undefined);
    demands.push({ key, end, families, text: `zone ${zone} has only IPv${families[0]}` });
  }
  for (const [key, end] of [
    ["sources", "source"],
    ["destinations", "destination"],
  ] as const) {
    const families = familiesOf(expandAddresses(policy, rule[key]).map((prefix) => familyOf(prefix.address)));
    demands.push({ key, end, families, text: `all ${key} are IPv${families[0]}` });
  }
  const services = servicesOf(policy, rule);
  const families = services.map((service) => familyOfProtocol(service.protocol));
  if (families.length > 0 && families.every((family) => family !== undefined)) {
    const key = rule.services === undefined || rule.services.length === 0 ? "protocol" : "services";
    const names = [...new Set(services.map((service) => formatProtocol(service.protocol!)))].join(" and ");
    demands.push({
      key,
      end: "source",
      families: familiesOf(families),
      text: `${names} is only in IPv${families[0]}`,
    });
  }
  return demands;
}

function familiesOf(all: readonly (Family | undefined)[]): Family[] {
  return FAMILIES.filter((family) => all.includes(family));
}

/** Whether NAT64 explains it: what is about the source allows IPv6, what is about the destination allows IPv4. */
function isNat64(policy: PolicySource, rule: RuleSource, demands: readonly Demand[]): boolean {
  const isPossible = demands.every(({ end, families }) => families[0] === (end === "destination" ? 4 : 6));
  return isPossible && nat64Of(policy, rule).length > 0;
}

function nat64Of(policy: PolicySource, rule: RuleSource) {
  return (policy.nat.nat64 ?? []).filter(
    ({ from, to }) => (rule.from ?? from) === from && (rule.to ?? to) === to,
  );
}

/** Destinations in a NAT64 prefix: the rule never sees them. */
function checkBehindNat64(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const prefixes = nat64Of(policy, rule).map((entry) => entry.prefix);
  return rule.destinations.flatMap((entry: AddressEntry, i) =>
    expandAddresses(policy, [entry])
      .filter((destination: Prefix) => prefixes.some((prefix) => covers(prefix, destination)))
      .map((destination) => ({
        path: [...path, "destinations", i],
        message: `${formatPrefix(destination)} is translated by NAT64 before rules are met: write the IPv4 addresses behind it`,
      })),
  );
}
