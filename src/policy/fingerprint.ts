/**
 * Fingerprint: a short name for the part of a policy that nodes must share to mean the same thing. Owns what is in it.
 *
 * A flow record names rule and zones by position, an address is answered by the owner of the slot of its position, and NAT and
 * affinity decide which slot a packet has. Left out is what each node may do as it likes: ports, routes, time-outs, logging.
 */
import { createHash } from "node:crypto";
import type { PolicyModel } from "../dataplane/policy-model.ts";

/** Changes with what is put in, so that builds that disagree about that do not compare. */
const VERSION = 1;
const HEX_DIGITS = 32;

export function policyFingerprint(policy: PolicyModel, slots: number): string {
  const { zones, snat, dnat, rules, affinity, answered } = policy;
  const shared = [
    VERSION,
    slots,
    affinity,
    zones.map(({ name, trust, gateway, prefix }) => [name, trust, gateway, prefix.address, prefix.bits]),
    answered.map(({ zone, address }) => [zone, address]),
    snat.map(({ fromZone, toZone, sources, pool }) => [fromZone, toZone, prefixes(sources), pool]),
    dnat.map(({ zone, address, protocol, ports, to, toPort }) => [
      ...[zone, address, protocol, ports.from, ports.to, to, toPort],
    ]),
    rules.map((rule) => [
      ...[rule.name, rule.fromZone, rule.toZone, prefixes(rule.sources), prefixes(rule.destinations)],
      ...[
        rule.protocol,
        ranges(rule.sourcePorts),
        ranges(rule.destinationPorts),
        rule.icmpType,
        rule.icmpCode,
      ],
      ...[rule.isTranslated === true, rule.action, rule.commit],
    ]),
  ];
  return createHash("sha256").update(JSON.stringify(shared)).digest("hex").slice(0, HEX_DIGITS);
}

function prefixes(all: PolicyModel["rules"][number]["sources"]): number[][] {
  return all.map(({ address, bits }) => [address, bits]);
}

function ranges(all: PolicyModel["rules"][number]["sourcePorts"]): number[][] {
  return all.map(({ from, to }) => [from, to]);
}
