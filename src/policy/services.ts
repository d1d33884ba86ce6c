/**
 * Services: protocol, ports, ICMP type and code. Owns what a rule's services are, how they compile, and what is wrong with one.
 */
import type { ServiceModel } from "../dataplane/policy-model.ts";
import { icmpTypeNames, icmpTypeNumber } from "./icmp-types.ts";
import { formatProtocol, hasPorts, PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from "./protocols.ts";
import { checkServiceNames, expandServices } from "./sets.ts";
import type { Path, PolicyMistake, PolicySource, RuleSource, ServiceEntry, ServiceSource } from "./source.ts";

const ANY = -1;

/** A service whose protocol may be any: what a rule says by itself. */
export type OwnService = Omit<ServiceSource, "protocol"> & { readonly protocol?: number | undefined };

export const ANY_SERVICE: ServiceModel = {
  protocol: ANY,
  sourcePorts: [],
  destinationPorts: [],
  icmpType: ANY,
  icmpCode: ANY,
};

/** What a rule says by its own fields. */
export function ownService(rule: RuleSource): OwnService {
  const { protocol, sourcePorts, destinationPorts, icmpType, icmpCode } = rule;
  return { protocol, sourcePorts, ports: destinationPorts, icmpType, icmpCode };
}

/** All that a rule lets a packet be: its services, or its own fields as one. */
export function servicesOf(policy: PolicySource, rule: RuleSource): OwnService[] {
  const entries = rule.services ?? [];
  return entries.length === 0 ? [ownService(rule)] : expandServices(policy, entries);
}

export function compileService(service: OwnService): ServiceModel {
  const { protocol, icmpType } = service;
  return {
    protocol: protocol ?? ANY,
    sourcePorts: service.sourcePorts,
    destinationPorts: service.ports,
    icmpType: icmpType === undefined ? ANY : (icmpTypeNumber(protocol, icmpType) ?? ANY),
    icmpCode: service.icmpCode ?? ANY,
  };
}

/** Services of a list, by themselves: names of sets, and each service's fields. */
export function checkServices(
  policy: PolicySource,
  entries: readonly ServiceEntry[],
  path: Path,
): PolicyMistake[] {
  return [
    ...checkServiceNames(policy, entries, path),
    ...entries.flatMap((entry, i) =>
      typeof entry === "string" ? [] : checkService(entry, [...path, i], "ports"),
    ),
  ];
}

/** Fields of one service. `portsKey` is what the file calls destination ports there. */
export function checkService(
  service: OwnService,
  path: Path,
  portsKey: "ports" | "destinationPorts",
): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  const { protocol, icmpType, icmpCode } = service;
  for (const [key, ports] of [
    ["sourcePorts", service.sourcePorts],
    [portsKey, service.ports],
  ] as const) {
    if (ports.length > 0 && !hasPorts(protocol)) {
      const what =
        protocol === undefined ? "ports need a protocol" : `${formatProtocol(protocol)} has no ports`;
      mistakes.push({ path: [...path, key], message: `${what}: add protocol: tcp, udp or sctp` });
    }
  }
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  for (const key of ["icmpType", "icmpCode"] as const) {
    if (service[key] !== undefined && !isIcmp) {
      mistakes.push({
        path: [...path, key],
        message: `${key} needs the protocol: add protocol: icmp or icmpv6`,
      });
    }
  }
  if (icmpCode !== undefined && icmpType === undefined) {
    mistakes.push({ path: [...path, "icmpCode"], message: "a code belongs to a type: add icmpType" });
  }
  if (isIcmp && icmpType !== undefined && icmpTypeNumber(protocol, icmpType) === undefined) {
    mistakes.push({
      path: [...path, "icmpType"],
      message: `${formatProtocol(protocol)} has no type "${icmpType}": use a number or one of ${icmpTypeNames(protocol).join(", ")}`,
    });
  }
  return mistakes;
}

/** Services of the named sets. */
export function checkServiceSets(policy: PolicySource): PolicyMistake[] {
  return Object.entries(policy.serviceSets ?? {}).flatMap(([name, entries]) =>
    entries.flatMap((entry, i) =>
      typeof entry === "string" ? [] : checkService(entry, ["serviceSets", name, i], "ports"),
    ),
  );
}
