/**
 * Topology: what a lab consists of (hosts, nodes, bridges, wires, addresses), computed from its options. Pure.
 * Does not own how it is built (network.ts) or what runs in it (processes.ts).
 *
 *   client  10.10.0.2..201 --+                                  +-- server 198.51.100.100
 *   web     10.10.0.250 -----+ inside     fw1 .. fwN    outside +
 *                            +-- bridge --[        ]-- bridge --+
 *                                         [        ]
 *                                         [        ]-- bridge "cluster", 192.0.2.0/24 -- witness
 */
import { SynwallError } from "../../src/base/errors.ts";

export const LINKS = ["inside", "outside", "cluster"] as const;
export type Link = (typeof LINKS)[number];

export const NODES_MAX = 8;
export const CLIENT_ADDRESSES = 200;
export const WEB_ADDRESS = "10.10.0.250";
export const SERVER_ADDRESS = "198.51.100.100";
export const INSIDE_GATEWAY = "10.10.0.1";
export const OUTSIDE_GATEWAY = "198.51.100.1";
export const NAT_POOL = ["198.51.100.10", "198.51.100.11"] as const;
/** Redirected frames travel in GENEVE: 1500 and 62 bytes of headers must fit. */
export const CLUSTER_MTU = 1700;

/** Bridges live in a namespace of their own, so the machine's own network sees nothing of a lab. */
export const BRIDGE_HOST = "net";

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  readonly hasWitness: boolean;
  readonly port: "auto" | "xdp" | "cap";
  readonly profile: "lan" | "vm";
}

/** One end of a wire in a namespace; the other end is a port of a bridge. */
export interface Wire {
  readonly host: string;
  /** Interface name in the host. */
  readonly name: string;
  readonly link: Link;
  /** Interface name in the bridges' namespace. */
  readonly port: string;
  /** With prefix length. Empty: the interface belongs to the dataplane and the kernel keeps off. */
  readonly addresses: readonly string[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
}

export interface LabMember {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  readonly address: string;
}

export interface Topology {
  readonly hosts: readonly string[];
  readonly wires: readonly Wire[];
  readonly members: readonly LabMember[];
}

/** The whole lab. Throws SW_LAB_FAILED when an option is out of range. */
export function planTopology(options: LabOptions): Topology {
  checkLabName(options.name);
  if (!Number.isInteger(options.nodes) || options.nodes < 1 || options.nodes > NODES_MAX) {
    throw new SynwallError(
      "SW_LAB_FAILED",
      `--nodes ${options.nodes}: use a whole number, 1 to ${NODES_MAX}`,
    );
  }
  const members = planMembers(options);
  const wires = [...hostWires(), ...members.flatMap(memberWires)];
  return {
    hosts: [BRIDGE_HOST, "client", "web", "server", ...members.map(({ name }) => name)],
    wires,
    members,
  };
}

/** Name of a host's network namespace. */
export function namespaceOf(lab: string, host: string): string {
  return `${lab}-${host}`;
}

/** Every host that a lab of any size may have: `lab down` needs no more than the lab's name. */
export function allHosts(): string[] {
  const nodes = Array.from({ length: NODES_MAX }, (_, i) => `fw${i + 1}`);
  return [BRIDGE_HOST, "client", "web", "server", ...nodes, "witness"];
}

/** The client's addresses, 10.10.0.2 to .201. */
export function clientAddresses(): string[] {
  return Array.from({ length: CLIENT_ADDRESSES }, (_, i) => `10.10.0.${i + 2}`);
}

/** Throws SW_LAB_FAILED unless `name` can be part of a namespace's and a directory's name. */
export function checkLabName(name: string): void {
  if (!/^[a-z][a-z0-9-]{0,15}$/.test(name)) {
    throw new SynwallError(
      "SW_LAB_FAILED",
      `--name ${JSON.stringify(name)}: use 1 to 16 small letters, digits and dashes, a letter first`,
    );
  }
}

function planMembers(options: LabOptions): LabMember[] {
  const members: LabMember[] = Array.from({ length: options.nodes }, (_, i) => ({
    id: i + 1,
    name: `fw${i + 1}`,
    role: "node",
    address: `192.0.2.${i + 1}`,
  }));
  if (!options.hasWitness) return members;
  const id = options.nodes + 1;
  return [...members, { id, name: "witness", role: "witness", address: `192.0.2.${id}` }];
}

function hostWires(): Wire[] {
  const inside = { name: "eth0", link: "inside" as const, routes: [{ to: "default", via: INSIDE_GATEWAY }] };
  return [
    {
      ...inside,
      host: "client",
      port: "client-inside",
      addresses: clientAddresses().map((address) => `${address}/24`),
    },
    { ...inside, host: "web", port: "web-inside", addresses: [`${WEB_ADDRESS}/24`] },
    {
      host: "server",
      name: "eth0",
      link: "outside",
      port: "server-outside",
      addresses: [`${SERVER_ADDRESS}/24`],
      // Only so that an attempt to reach the inside directly arrives at the firewall, which must deny it.
      routes: [{ to: "10.10.0.0/24", via: OUTSIDE_GATEWAY }],
    },
  ];
}

function memberWires(member: LabMember): Wire[] {
  const links: readonly Link[] = member.role === "node" ? LINKS : ["cluster"];
  return links.map((link) => ({
    host: member.name,
    name: link,
    link,
    port: `${member.name}-${link}`,
    addresses: link === "cluster" ? [`${member.address}/24`] : [],
    routes: [],
  }));
}
