/**
 * Checks of a configuration file's members, addresses and interfaces: what each field cannot know alone. Pure.
 * Policy (zones, NAT, rules) is checked in src/policy/check.ts; files on disk in files.ts.
 */

import type { z } from "zod";
import type { Prefix } from "../src/dataplane/policy-model.ts";
import { contains, formatPrefix, isUnicast, parseIpv4 } from "../src/policy/address.ts";
import type { PolicySource } from "../src/policy/source.ts";
import { ipv4Text, name as nameField } from "./fields.ts";
import type { Mistake } from "./mistakes.ts";
import { interfaceLabel } from "./node-config.ts";
import type { NodeFile, WitnessFile } from "./schema.ts";

const NODES_MAX = 8;
const INTERFACES_OF_CLUSTER = 1;

/** `isComplete`: the members are listed in the file, so nobody joins before this one starts. */
export function checkCluster(
  file: NodeFile | WitnessFile,
  role: "node" | "witness",
  isComplete = true,
): Mistake[] {
  const { cluster } = file;
  const mistakes: Mistake[] = [];
  cluster.members.forEach((member, i) => {
    const earlier = cluster.members.slice(0, i);
    for (const key of ["id", "name", "address"] as const) {
      const twin = earlier.find((other) => other[key] === member[key]);
      if (twin !== undefined) {
        mistakes.push({
          path: ["cluster", "members", i, key],
          message: `${member[key]} is taken by ${key === "name" ? "an earlier member" : `member ${twin.name}`}: give each member its own ${key}`,
        });
      }
    }
    const why = whyNoHost(member.address);
    if (why !== undefined) mistakes.push({ path: ["cluster", "members", i, "address"], message: why });
  });
  const nodes = cluster.members.filter((member) => member.role === "node").length;
  if (nodes < 1 || nodes > NODES_MAX) {
    mistakes.push({
      path: ["cluster", "members"],
      message: `${nodes} members have the role node: list 1 to ${NODES_MAX}`,
    });
  }
  if (cluster.quorum.mode === "pair" && (nodes > 2 || (isComplete && nodes < 2))) {
    mistakes.push({
      path: ["cluster", "quorum"],
      message: `pair is for clusters of exactly two nodes, this one has ${nodes}: use majority (the default), which needs no witness with three nodes or more`,
    });
  }
  if (cluster.members.length - nodes > 1) {
    mistakes.push({ path: ["cluster", "members"], message: "more than one witness: keep one" });
  }
  return [...mistakes, ...checkSelf(file, role), ...checkListeners(file)];
}

export interface ZoneNetwork {
  readonly name: string;
  /** Undefined: the zone has no IPv4. */
  readonly prefix: Prefix | undefined;
}

/**
 * Why nobody can join with this name or address, by the same rules as for members that a file lists; undefined: somebody can.
 * Otherwise all members would refuse their list of members at their next start.
 */
export function whyNoMember(
  { name, address }: { readonly name: string; readonly address: string },
  zones: readonly ZoneNetwork[],
): string | undefined {
  return (
    whyNoName(name) ?? whyNot("address", ipv4Text, address) ?? whyNoHost(address) ?? whyOfZone(address, zones)
  );
}

/** Why no member can have this name; undefined: one can. */
export function whyNoName(name: string): string | undefined {
  return whyNot("name", nameField, name);
}

function whyNot(what: string, field: z.ZodType, value: string): string | undefined {
  const need = field.safeParse(value).error?.issues[0]?.message;
  return need === undefined
    ? undefined
    : `${JSON.stringify(value)} cannot be a member's ${what}: use ${need}`;
}

function whyNoHost(address: string): string | undefined {
  if (isUnicast(parseIpv4(address)!)) return undefined;
  return `${address} cannot be a host's address: use its address on the cluster link`;
}

function whyOfZone(address: string, zones: readonly ZoneNetwork[]): string | undefined {
  const value = parseIpv4(address)!;
  for (const { name, prefix } of zones) {
    if (prefix === undefined || !contains(prefix, value)) continue;
    return `${address} is in the network of zone ${name} (${formatPrefix(prefix)}): the cluster link needs a network of its own`;
  }
  return undefined;
}

function checkSelf(file: NodeFile | WitnessFile, role: "node" | "witness"): Mistake[] {
  const { cluster } = file;
  const self = cluster.members.find((member) => member.name === cluster.node);
  const path = ["cluster", "node"];
  if (self === undefined) {
    const names = cluster.members.map((member) => member.name).join(", ");
    return [{ path, message: `"${cluster.node}" is not among cluster.members: use one of ${names}` }];
  }
  if (self.role !== role) {
    return [
      {
        path,
        message: `${self.name} has the role ${self.role}: start it with synwall ${self.role}, or name a ${role} here`,
      },
    ];
  }
  return [];
}

function checkListeners(file: NodeFile | WitnessFile): Mistake[] {
  const { cluster, control } = file;
  const mistakes: Mistake[] = [];
  const ports = Object.entries(cluster.ports);
  for (const [i, [key, value]] of ports.entries()) {
    const twin = ports.slice(0, i).find(([, other]) => other === value);
    if (twin === undefined) continue;
    mistakes.push({
      path: ["cluster", "ports", key],
      message: `${value} is the ${twin[0]} port already: use another port`,
    });
  }
  const self = cluster.members.find((member) => member.name === cluster.node);
  const { address, port } = control.http;
  if ((address === "0.0.0.0" || address === self?.address) && ports.some(([, other]) => other === port)) {
    mistakes.push({
      path: ["control", "http", "port"],
      message: `${port} is a port of the cluster already: use another port`,
    });
  }
  return mistakes;
}

/** Interfaces against zones, and the cluster link against the zones' networks. */
export function checkInterfaces(file: NodeFile, policy: PolicySource): Mistake[] {
  const mistakes: Mistake[] = [];
  const { interfaces } = file.dataplane;
  const zoneNames = Object.keys(policy.zones);
  interfaces.forEach((entry, i) => {
    const label = interfaceLabel(entry);
    if (interfaces.slice(0, i).some((other) => interfaceLabel(other) === label)) {
      mistakes.push({
        path: ["dataplane", "interfaces", i, "name"],
        message: `${label} is listed twice: keep one of them`,
      });
    }
    mistakes.push(...checkInterface(file, policy, i));
  });
  const clusterLinks = interfaces.filter((entry) => entry.cluster).length;
  if (clusterLinks !== INTERFACES_OF_CLUSTER) {
    mistakes.push({
      path: ["dataplane", "interfaces"],
      message: `${clusterLinks} interfaces have cluster: true: mark exactly one`,
    });
  }
  if (zoneNames.length === 0) {
    mistakes.push({ path: ["zones"], message: "no zone: add at least one" });
  }
  for (const zone of zoneNames) {
    if (!interfaces.some((entry) => entry.zone === zone)) {
      mistakes.push({
        path: ["zones", zone],
        message: `no interface belongs to zone ${zone}: add one under dataplane.interfaces, or remove the zone`,
      });
    }
  }
  return [...mistakes, ...checkClusterLink(file, policy)];
}

function checkInterface(file: NodeFile, policy: PolicySource, index: number): Mistake[] {
  const { interfaces } = file.dataplane;
  const entry = interfaces[index]!;
  const path = ["dataplane", "interfaces", index];
  if (entry.cluster && entry.zone !== undefined) {
    return [
      {
        path: [...path, "zone"],
        message: `${entry.name} is the cluster link, which belongs to no zone: remove zone or cluster`,
      },
    ];
  }
  if (entry.cluster) return checkClusterInterface(file, index);
  if (entry.zone === undefined) {
    return [{ path, message: `${entry.name} has neither a zone nor cluster: true: add one of them` }];
  }
  if (policy.zones[entry.zone] !== undefined) return [];
  return [
    {
      path: [...path, "zone"],
      message: `no zone "${entry.zone}": use one of ${Object.keys(policy.zones).join(", ")}`,
    },
  ];
}

/** The cluster link is shared with nobody: its frames have no tag, and what floods a zone must not fill it. */
function checkClusterInterface(file: NodeFile, index: number): Mistake[] {
  const { interfaces } = file.dataplane;
  const { name, vlan } = interfaces[index]!;
  if (vlan !== undefined) {
    return [
      {
        path: ["dataplane", "interfaces", index, "vlan"],
        message: `${name} is the cluster link, whose frames have no VLAN tag: remove vlan, and make it an access port of the switch`,
      },
    ];
  }
  const shared = interfaces.find((other) => other.name === name && other.vlan !== undefined);
  if (shared === undefined) return [];
  return [
    {
      path: ["dataplane", "interfaces", index, "name"],
      message: `${name} carries ${interfaceLabel(shared)} of zone ${shared.zone} as well: give the cluster link an interface of its own`,
    },
  ];
}

export function zoneNetworks(
  zones: Readonly<Record<string, { readonly gateway?: { readonly prefix: Prefix } | undefined }>>,
): ZoneNetwork[] {
  return Object.entries(zones).map(([name, { gateway }]) => ({ name, prefix: gateway?.prefix }));
}

function checkClusterLink(file: NodeFile, policy: PolicySource): Mistake[] {
  const zones = zoneNetworks(policy.zones);
  return file.cluster.members.flatMap((member, i) => {
    const why = whyOfZone(member.address, zones);
    return why === undefined ? [] : [{ path: ["cluster", "members", i, "address"], message: why }];
  });
}
