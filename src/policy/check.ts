/**
 * Policy checks: what is wrong with a policy whose syntax is right. Pure; answers all mistakes at once.
 * Each message says what is wrong and, after the last colon, what to do.
 */
import type { Prefix } from "../dataplane/policy-model.ts";
import {
  contains,
  formatIpv4,
  formatPortRange,
  formatPrefix,
  isReservedIn,
  isUnicast,
  overlap,
} from "./address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "./protocols.ts";
import type { DnatSource, PolicyMistake, PolicySource, RuleSource } from "./source.ts";

/** Hits that no rule took are counted under this name; no rule may have it. */
export const DEFAULT_RULE_NAME = "default";

export function checkPolicy(policy: PolicySource): PolicyMistake[] {
  return [
    ...checkZones(policy),
    ...checkRoutes(policy),
    ...checkSnat(policy),
    ...checkDnat(policy),
    ...checkAnswered(policy),
    ...checkRules(policy),
  ];
}

function checkZones(policy: PolicySource): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  const zones = Object.entries(policy.zones);
  zones.forEach(([name, zone], i) => {
    const path = ["zones", name, "gateway"];
    const { address, prefix } = zone.gateway;
    if (!isUnicast(address)) {
      mistakes.push({
        path,
        message: `${formatIpv4(address)} cannot be a host's address: use a unicast address`,
      });
    } else if (isReservedIn(prefix, address)) {
      mistakes.push({
        path,
        message: `${formatIpv4(address)} is the network or broadcast address of ${formatPrefix(prefix)}: use a host address in it`,
      });
    }
    for (const [otherName, other] of zones.slice(0, i)) {
      if (overlap(prefix, other.gateway.prefix)) {
        mistakes.push({
          path,
          message: `${formatPrefix(prefix)} overlaps zone ${otherName} (${formatPrefix(other.gateway.prefix)}): give each zone its own network`,
        });
      }
    }
  });
  return mistakes;
}

function checkRoutes(policy: PolicySource): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  policy.routes.forEach((route, i) => {
    const path = ["routes", i];
    const zone = policy.zones[route.zone];
    if (zone === undefined) {
      mistakes.push(unknownZone(policy, [...path, "zone"], route.zone));
      return;
    }
    if (policy.routes.slice(0, i).some((other) => samePrefix(other.to, route.to))) {
      mistakes.push({
        path: [...path, "to"],
        message: `${formatPrefix(route.to)} has a route already: keep one of them`,
      });
    }
    for (const [name, other] of Object.entries(policy.zones)) {
      if (samePrefix(other.gateway.prefix, route.to)) {
        mistakes.push({
          path: [...path, "to"],
          message: `${formatPrefix(route.to)} is the network of zone ${name} itself: remove the route`,
        });
      }
    }
    if (route.via === undefined) return;
    if (!contains(zone.gateway.prefix, route.via)) {
      mistakes.push({
        path: [...path, "via"],
        message: `${formatIpv4(route.via)} is not in the network of zone ${route.zone} (${formatPrefix(zone.gateway.prefix)}): name a router in it`,
      });
    } else if (route.via === zone.gateway.address) {
      mistakes.push({
        path: [...path, "via"],
        message: `${formatIpv4(route.via)} is the cluster's own gateway address: name the next router`,
      });
    }
  });
  return mistakes;
}

function checkSnat(policy: PolicySource): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  policy.nat.snat.forEach((entry, i) => {
    const path = ["nat", "snat", i];
    for (const key of ["from", "to"] as const) {
      if (policy.zones[entry[key]] === undefined)
        mistakes.push(unknownZone(policy, [...path, key], entry[key]));
    }
    entry.pool.forEach((address, k) => {
      const at = [...path, "pool", k];
      if (entry.pool.indexOf(address) < k) {
        mistakes.push({ path: at, message: `${formatIpv4(address)} is in the pool twice: remove one` });
      }
      mistakes.push(...checkOwnAddress(policy, at, address, entry.to));
    });
  });
  return mistakes;
}

function checkDnat(policy: PolicySource): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  policy.nat.dnat.forEach((entry, i) => {
    const path = ["nat", "dnat", i];
    if (policy.zones[entry.zone] === undefined) {
      mistakes.push(unknownZone(policy, [...path, "zone"], entry.zone));
    } else {
      mistakes.push(...checkOwnAddress(policy, [...path, "address"], entry.address, entry.zone));
    }
    if (entry.protocol !== PROTOCOL_TCP && entry.protocol !== PROTOCOL_UDP) {
      mistakes.push({ path: [...path, "protocol"], message: "only tcp and udp have ports: use one of them" });
    }
    const toPort = entry.toPort ?? entry.ports.from;
    if (toPort + entry.ports.to - entry.ports.from > 65_535) {
      mistakes.push({
        path: [...path, "toPort"],
        message: `${formatPortRange(entry.ports)} moved to ${toPort} runs past 65535: lower toPort`,
      });
    }
    const twin = policy.nat.dnat.slice(0, i).find((other) => dnatClash(entry, other));
    if (twin !== undefined) {
      mistakes.push({
        path: [...path, "ports"],
        message: `${formatPortRange(entry.ports)} of ${formatIpv4(entry.address)} is forwarded already to ${formatIpv4(twin.to)}: use other ports`,
      });
    }
    mistakes.push(...checkTarget(policy, [...path, "to"], entry.to));
  });
  return mistakes;
}

/** An answered address lives in one zone: a packet to it must not depend on where it came in. */
function checkAnswered(policy: PolicySource): PolicyMistake[] {
  const zoneOf = new Map<number, string>();
  const uses = [
    ...policy.nat.snat.flatMap((entry, i) =>
      entry.pool.map((address, k) => ({ address, zone: entry.to, path: ["nat", "snat", i, "pool", k] })),
    ),
    ...policy.nat.dnat.map((entry, i) => ({
      address: entry.address,
      zone: entry.zone,
      path: ["nat", "dnat", i, "address"],
    })),
  ];
  return uses.flatMap(({ address, zone, path }) => {
    const other = zoneOf.get(address) ?? zone;
    zoneOf.set(address, other);
    if (other === zone) return [];
    return [
      {
        path,
        message: `${formatIpv4(address)} is used for zone ${other} already: use another address for zone ${zone}`,
      },
    ];
  });
}

function dnatClash(a: DnatSource, b: DnatSource): boolean {
  return (
    a.zone === b.zone &&
    a.address === b.address &&
    a.protocol === b.protocol &&
    a.ports.from <= b.ports.to &&
    b.ports.from <= a.ports.to
  );
}

/** A DNAT target must be a host that some zone or route leads to, and not the cluster itself. */
function checkTarget(policy: PolicySource, path: readonly (string | number)[], to: number): PolicyMistake[] {
  const zones = Object.values(policy.zones);
  if (zones.some((zone) => zone.gateway.address === to)) {
    return [
      { path, message: `${formatIpv4(to)} is the cluster's own gateway address: name the server's address` },
    ];
  }
  const isReachable =
    zones.some((zone) => contains(zone.gateway.prefix, to)) ||
    policy.routes.some((route) => contains(route.to, to));
  if (isReachable && isUnicast(to)) return [];
  return [
    {
      path,
      message: `${formatIpv4(to)} is in no zone's network and behind no route: correct it or add a route`,
    },
  ];
}

/** An address that the cluster answers for in `zoneName`: no gateway, and not inside another zone's network. */
function checkOwnAddress(
  policy: PolicySource,
  path: readonly (string | number)[],
  address: number,
  zoneName: string,
): PolicyMistake[] {
  if (!isUnicast(address)) {
    return [{ path, message: `${formatIpv4(address)} cannot be a host's address: use a unicast address` }];
  }
  for (const [name, zone] of Object.entries(policy.zones)) {
    if (zone.gateway.address === address) {
      return [
        {
          path,
          message: `${formatIpv4(address)} is the gateway of zone ${name}: use an address of its own for NAT`,
        },
      ];
    }
    if (isReservedIn(zone.gateway.prefix, address)) {
      return [
        {
          path,
          message: `${formatIpv4(address)} is the network or broadcast address of zone ${name}: use a host address`,
        },
      ];
    }
    if (name !== zoneName && contains(zone.gateway.prefix, address)) {
      return [
        {
          path,
          message: `${formatIpv4(address)} is in the network of zone ${name}, but replies come from zone ${zoneName}: use an address of zone ${zoneName}, or one that is routed to the cluster`,
        },
      ];
    }
  }
  return [];
}

function checkRules(policy: PolicySource): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  policy.rules.forEach((rule, i) => {
    const path = ["rules", i];
    if (rule.name === DEFAULT_RULE_NAME) {
      mistakes.push({
        path: [...path, "name"],
        message: `"${DEFAULT_RULE_NAME}" names the built-in last rule that drops the rest: choose another name`,
      });
    }
    if (policy.rules.slice(0, i).some((other) => other.name === rule.name)) {
      mistakes.push({
        path: [...path, "name"],
        message: `"${rule.name}" is taken by an earlier rule: give each rule its own name`,
      });
    }
    for (const key of ["from", "to"] as const) {
      const zone = rule[key];
      if (zone !== undefined && policy.zones[zone] === undefined) {
        mistakes.push(unknownZone(policy, [...path, key], zone));
      }
    }
    mistakes.push(...checkRuleFields(rule, path));
  });
  return mistakes;
}

function checkRuleFields(rule: RuleSource, path: readonly (string | number)[]): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  const hasPorts = rule.protocol === PROTOCOL_TCP || rule.protocol === PROTOCOL_UDP;
  for (const key of ["sourcePorts", "destinationPorts"] as const) {
    if (rule[key].length > 0 && !hasPorts) {
      mistakes.push({ path: [...path, key], message: "ports need a protocol: add protocol: tcp or udp" });
    }
  }
  for (const key of ["icmpType", "icmpCode"] as const) {
    if (rule[key] !== undefined && rule.protocol !== PROTOCOL_ICMP) {
      mistakes.push({ path: [...path, key], message: `${key} needs the protocol: add protocol: icmp` });
    }
  }
  if (rule.icmpCode !== undefined && rule.icmpType === undefined) {
    mistakes.push({ path: [...path, "icmpCode"], message: "a code belongs to a type: add icmpType" });
  }
  if (rule.commit !== undefined && rule.action === "drop") {
    mistakes.push({
      path: [...path, "commit"],
      message: "a dropped packet makes no flow to commit: remove commit",
    });
  }
  return mistakes;
}

function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.address === b.address && a.bits === b.bits;
}

function unknownZone(policy: PolicySource, path: readonly (string | number)[], name: string): PolicyMistake {
  return { path, message: `no zone "${name}": use one of ${Object.keys(policy.zones).join(", ")}` };
}
