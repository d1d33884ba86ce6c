/**
 * Fingerprint: a short name for the part of a policy that nodes must share to mean the same thing. Owns what is in it.
 *
 * A flow record names rule and zones by position, an address is answered by the owner of the slot of its position, and NAT and
 * affinity decide which slot a packet has. A packet that is redirected tells its ingress interface by position too, so where a rule
 * asks for interfaces their order counts, by zone; their names do not. Left out is what each node may do as it likes: other ports
 * and interfaces, routes, time-outs, limits of its own memory, MSS, logging, comments.
 */
import { createHash } from "node:crypto";
import type {
  PolicyModel,
  PortRange,
  Prefix,
  RuleModel,
  ServiceModel,
  ZoneModel,
} from "../dataplane/policy-model.ts";

/** Changes with what is put in, so that builds that disagree about that do not compare. */
const VERSION = 2;
const HEX_DIGITS = 32;

export function policyFingerprint(policy: PolicyModel, slots: number): string {
  const { zones, snat, dnat, statics = [], nat64 = [], rules, affinity, answered } = policy;
  const shared = [
    VERSION,
    slots,
    affinity,
    zones.map(zoneParts),
    answered.map(({ zone, address }) => [zone, address]),
    snat.map((entry) => [
      ...[entry.fromZone, entry.toZone, prefixes(entry.sources), entry.pool],
      ...[ranges(entry.ports === undefined ? [] : [entry.ports]), entry.isEndpointIndependent === true],
      entry.isFilteringIndependent === true,
    ]),
    dnat.map(({ zone, address, protocol, ports, to, more = [], toPort }) => [
      ...[zone, address, protocol, ports.from, ports.to, [to, ...more], toPort],
    ]),
    statics.map(({ innerZone, outerZone, inner, outer, isChecksumNeutral }) => [
      ...[innerZone, outerZone, prefixes([inner, outer]), isChecksumNeutral],
    ]),
    nat64.map(({ fromZone, toZone, prefix, pool }) => [fromZone, toZone, prefixes([prefix]), pool]),
    rules.map(ruleParts),
    ...interfaceParts(policy),
  ];
  return createHash("sha256").update(JSON.stringify(shared, withBigints)).digest("hex").slice(0, HEX_DIGITS);
}

function zoneParts({ name, trust, gateway, prefix, ipv6, bogons = [] }: ZoneModel): unknown[] {
  return [
    ...[name, trust, gateway, prefixes([prefix]), prefixes(bogons)],
    ipv6 === undefined
      ? null
      : [ipv6.gateway, prefixes([ipv6.prefix]), ipv6.linkLocal, sortedFields(ipv6.advertise ?? {})],
  ];
}

function ruleParts(rule: RuleModel): unknown[] {
  const { tcpFlags, schedule, rate } = rule;
  return [
    ...[rule.name, rule.fromZone, rule.toZone, prefixes(rule.sources), prefixes(rule.destinations)],
    ...[serviceParts(rule), (rule.services ?? []).map(serviceParts), (rule.interfaces ?? []).length > 0],
    ...[
      sortedFields(tcpFlags ?? {}),
      sortedFields(schedule ?? {}),
      sortedFields(rate ?? {}),
      rule.helpers ?? 0,
    ],
    ...[rule.isTranslated === true, rule.action, rule.commit],
  ];
}

/** Nothing where no rule asks for interfaces: then each node may have as many as it likes, in any order. */
function interfaceParts({ zones, rules }: PolicyModel): unknown[] {
  const byRule = rules.map(({ interfaces = [] }) => interfaces);
  return byRule.some((list) => list.length > 0) ? [zones.map(({ ports }) => ports), byRule] : [];
}

function serviceParts(service: ServiceModel): unknown[] {
  const { protocol, sourcePorts, destinationPorts, icmpType, icmpCode } = service;
  return [protocol, ranges(sourcePorts), ranges(destinationPorts), icmpType, icmpCode];
}

function prefixes(all: readonly Prefix[]): unknown[] {
  return all.map(({ address, bits }) => [address, bits]);
}

function ranges(all: readonly PortRange[]): number[][] {
  return all.map(({ from, to }) => [from, to]);
}

/** Fields with their names, whatever their order is. */
function sortedFields(fields: object): unknown[] {
  return Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** JSON has no big integers; the letter keeps 1n apart from 1 and from "1". */
function withBigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value.toString(16)}n` : value;
}
