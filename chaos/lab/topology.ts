/**
 * Topology: what a lab consists of (hosts, nodes, bridges, wires, addresses), computed from its options. Pure.
 * Does not own how it is built (network.ts) or what runs in it (processes.ts).
 *
 *   client  10.10.0.2..201 --+                                  +-- server 198.51.100.100
 *   web     10.10.0.250 -----+ inside     fw1 .. fwN    outside +
 *                            +-- bridge --[        ]-- bridge --+-- hop 198.51.100.200, a router; the world
 *                                         [        ]                 |
 *                                         [        ]             bridge "far", MTU 1280 -- far 203.0.113.10
 *                                         [        ]
 *                                         [        ]-- bridge "cluster", 192.0.2.0/24 -- witness, or store (etcd) 192.0.2.200
 *
 * A routed witness is 203.0.113.20 on "far"; gate, 192.0.2.254, is the router between the two.
 *
 * With IPv6: 2001:db8:10::/64 inside, 2001:db8:51::/64 outside, 2001:db8:113::/64 far; the last part of a host's address is
 * that of its IPv4 address, as if it were hexadecimal.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { LAB_FEATURES, type LabFeatures } from "./features.ts";

/** What nodes are plugged into. */
export const LINKS = ["inside", "outside", "cluster"] as const;
export type Link = (typeof LINKS)[number];
/** All bridges: behind "hop" there is one more network. */
export const BRIDGES = [...LINKS, "far"] as const;
export type Bridge = (typeof BRIDGES)[number];

export const NODES_MAX = 8;
/** Last part of the addresses of nodes that join later: clear of those that a lab begins with, and the witness's. */
const ADDED_FROM = 100;
export const CLIENT_ADDRESSES = 200;
export const WEB_ADDRESS = "10.10.0.250";
export const SERVER_ADDRESS = "198.51.100.100";
export const INSIDE_GATEWAY = "10.10.0.1";
export const OUTSIDE_GATEWAY = "198.51.100.1";
export const NAT_POOL = ["198.51.100.10", "198.51.100.11"] as const;
/** Router between the outside and "far". */
export const HOP_ADDRESS = "198.51.100.200";
export const FAR_ADDRESS = "203.0.113.10";
/** The same host: what a system learns about the path to an address it keeps for that address. */
export const FAR_OTHER_ADDRESS = "203.0.113.11";
const FAR_NETWORK = "203.0.113.0/24";
const FAR_GATEWAY = "203.0.113.1";

/** The same places in IPv6. */
export const INSIDE6 = "2001:db8:10::";
export const OUTSIDE6 = "2001:db8:51::";
export const FAR6 = "2001:db8:113::";
export const LINK_LOCAL_GATEWAY = "fe80::1";
export const WEB_ADDRESS6 = `${INSIDE6}250`;
export const SERVER_ADDRESS6 = `${OUTSIDE6}100`;
export const HOP_ADDRESS6 = `${OUTSIDE6}200`;
export const FAR_ADDRESS6 = `${FAR6}10`;
export const FAR_OTHER_ADDRESS6 = `${FAR6}11`;
/** Redirected frames travel in GENEVE: 1500 and 62 bytes of headers must fit, 86 when sealed. */
export const CLUSTER_MTU = 1700;
const ETHERNET_MTU = 1500;
/** The least that IPv6 allows (RFC 8200 section 5). */
export const FAR_MTU = 1280;
/** What "far" announces although its wire carries less: so that path MTU discovery has something to discover. */
const FAR_MSS = 1460;
const FAR_MSS6 = 1440;
/** IPv6 addresses of the client: enough that every node owns some. */
const CLIENT_ADDRESSES6 = 16;

/** Bridges live in a namespace of their own, so the machine's own network sees nothing of a lab. */
export const BRIDGE_HOST = "net";

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  readonly hasWitness: boolean;
  readonly port: "auto" | "xdp" | "cap";
  readonly profile: "lan" | "vm";
  /** Entries of each node's flow table; absent: the default. */
  readonly flowsMax?: number;
  /** Who keeps the log; absent: the members. */
  readonly store?: "etcd";
  /** The witness is on another network, behind a router. */
  readonly isWitnessRouted?: boolean;
  /** What a node redirects to another one is encrypted, and nothing in clear is taken (`dataplane.sealRedirects: always`). */
  readonly isSealed?: boolean;
  /** `quorum: pair`; absent: for two nodes without a witness. */
  readonly isPair?: boolean;
  /** Absent: LAB_FEATURES. */
  readonly features?: LabFeatures;
}

/** One end of a wire in a namespace; the other end is a port of a bridge. */
export interface Wire {
  readonly host: string;
  /** Interface name in the host. */
  readonly name: string;
  readonly link: Bridge;
  /** Interface name in the bridges' namespace. */
  readonly port: string;
  /** With prefix length. Empty: the interface belongs to the dataplane and the kernel keeps off. */
  readonly addresses: readonly string[];
  readonly routes: readonly LabRoute[];
}

export interface LabRoute {
  readonly to: string;
  /** Absent: nowhere, without a word. */
  readonly via?: string;
  /** TCP segment size to announce; absent: what fits the wire. */
  readonly advmss?: number;
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
  readonly features: LabFeatures;
}

/** Where etcd runs, in a lab that has it. */
export const STORE_HOST = "store";
export const STORE_ADDRESS = "192.0.2.200";

/** Hosts that are no members, in any lab. */
const PLAIN_HOSTS = [BRIDGE_HOST, "client", "web", "server", "hop", "far"] as const;

const STORE_WIRE: Wire = {
  host: STORE_HOST,
  name: "cluster",
  link: "cluster",
  port: "store-cluster",
  addresses: [`${STORE_ADDRESS}/24`],
  routes: [],
};

/** The router between the cluster link and a witness elsewhere, in a lab that has one. */
const GATE_HOST = "gate";
const GATE_ADDRESS = "192.0.2.254";
const GATE_FAR_ADDRESS = "203.0.113.2";
const ROUTED_WITNESS_ADDRESS = "203.0.113.20";
export const ROUTERS: readonly string[] = ["hop", GATE_HOST];

const GATE_WIRES: readonly Wire[] = [
  {
    host: GATE_HOST,
    name: "cluster",
    link: "cluster",
    port: "gate-cluster",
    addresses: [`${GATE_ADDRESS}/24`],
    routes: [],
  },
  {
    host: GATE_HOST,
    name: "far",
    link: "far",
    port: "gate-far",
    addresses: [`${GATE_FAR_ADDRESS}/24`],
    routes: [],
  },
];

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
  const features = options.features ?? LAB_FEATURES;
  const hostWires = hostWires4().map((wire) => (features.ipv6 ? withIpv6(wire) : wire));
  const store = options.store === undefined ? [] : [STORE_WIRE];
  const gate = options.isWitnessRouted === true ? GATE_WIRES : [];
  const helpers = new Set([...store, ...gate].map(({ host }) => host));
  return {
    hosts: [...PLAIN_HOSTS, ...helpers, ...members.map(({ name }) => name)],
    wires: [
      ...[...hostWires, ...store, ...gate],
      ...members.flatMap((member) => memberWires(member, gate.length > 0)),
    ],
    members,
    features,
  };
}

/** Two without a witness: else neither could go on without the other. With a store that votes they need no more. */
export function isPair({ isPair: isAsked, nodes, hasWitness, store }: LabOptions): boolean {
  return isAsked ?? (nodes === 2 && !hasWitness && store === undefined);
}

/** Name of a host's network namespace. */
export function namespaceOf(lab: string, host: string): string {
  return `${lab}-${host}`;
}

/** Every host that a lab of any size may have: `lab down` needs no more than the lab's name. */
export function allHosts(): string[] {
  const nodes = Array.from({ length: NODES_MAX }, (_, i) => `fw${i + 1}`);
  return [...PLAIN_HOSTS, STORE_HOST, GATE_HOST, ...nodes, "witness"];
}

/** The client's addresses, 10.10.0.2 to .201. */
export function clientAddresses(): string[] {
  return Array.from({ length: CLIENT_ADDRESSES }, (_, i) => `10.10.0.${i + 2}`);
}

/** The client's IPv6 addresses, 2001:db8:10::2 and on. */
export function clientAddresses6(): string[] {
  return Array.from({ length: CLIENT_ADDRESSES6 }, (_, i) => `${INSIDE6}${i + 2}`);
}

/** MTU of a bridge and all that is plugged into it. */
export function mtuOf(bridge: Bridge): number {
  if (bridge === "cluster") return CLUSTER_MTU;
  return bridge === "far" ? FAR_MTU : ETHERNET_MTU;
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

/** A node that is none yet, in a lab with these members: name and address that nobody has; the cluster gives it its id. */
export function freeNode(members: readonly LabMember[]): LabMember {
  const isFree = (n: number): boolean =>
    !members.some(({ name, address }) => name === `fw${n}` || address === `192.0.2.${ADDED_FROM + n}`);
  const n = Array.from({ length: NODES_MAX }, (_, i) => i + 1).find(isFree)!;
  return { id: 0, name: `fw${n}`, role: "node", address: `192.0.2.${ADDED_FROM + n}` };
}

/** The lab with one member more, or with one fewer. */
export function withMember(topology: Topology, member: LabMember): Topology {
  return {
    ...topology,
    hosts: [...topology.hosts, member.name],
    wires: [...topology.wires, ...memberWires(member, hasGate(topology))],
    members: [...topology.members, member],
  };
}

/** The lab with another id of a member. */
export function withMemberId(topology: Topology, name: string, id: number): Topology {
  const members = topology.members.map((member) => (member.name === name ? { ...member, id } : member));
  return { ...topology, members };
}

export function withoutMember(topology: Topology, { name }: LabMember): Topology {
  return {
    ...topology,
    hosts: topology.hosts.filter((host) => host !== name),
    wires: topology.wires.filter(({ host }) => host !== name),
    members: topology.members.filter((member) => member.name !== name),
  };
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
  const address = options.isWitnessRouted === true ? ROUTED_WITNESS_ADDRESS : `192.0.2.${id}`;
  return [...members, { id, name: "witness", role: "witness", address }];
}

function hostWires4(): Wire[] {
  const inside = { name: "eth0", link: "inside" as const, routes: [{ to: "default", via: INSIDE_GATEWAY }] };
  const outside = { name: "eth0", link: "outside" as const };
  // Only so that an attempt to reach the inside directly arrives at the firewall, which must deny it.
  const toInside = { to: "10.10.0.0/24", via: OUTSIDE_GATEWAY };
  return [
    {
      ...inside,
      host: "client",
      port: "client-inside",
      addresses: clientAddresses().map((address) => `${address}/24`),
    },
    { ...inside, host: "web", port: "web-inside", addresses: [`${WEB_ADDRESS}/24`] },
    {
      ...outside,
      host: "server",
      port: "server-outside",
      addresses: [`${SERVER_ADDRESS}/24`],
      routes: [toInside, { to: FAR_NETWORK, via: HOP_ADDRESS }],
    },
    {
      ...outside,
      host: "hop",
      port: "hop-outside",
      addresses: [`${HOP_ADDRESS}/24`],
      // The rest of the world, which never answers.
      routes: [toInside, { to: "0.0.0.0/0" }],
    },
    {
      host: "hop",
      name: "eth1",
      link: "far",
      port: "hop-far",
      addresses: [`${FAR_GATEWAY}/24`],
      routes: [],
    },
    {
      host: "far",
      name: "eth0",
      link: "far",
      port: "far-far",
      addresses: [`${FAR_ADDRESS}/24`, `${FAR_OTHER_ADDRESS}/24`],
      routes: [{ to: "default", via: FAR_GATEWAY, advmss: FAR_MSS }],
    },
  ];
}

/** A host's wire with its IPv6 addresses and routes beside those of IPv4. */
function withIpv6(wire: Wire): Wire {
  const toInside = { to: `${INSIDE6}/64`, via: LINK_LOCAL_GATEWAY };
  const more: Readonly<Record<string, Pick<Wire, "addresses" | "routes">>> = {
    "client-inside": {
      addresses: clientAddresses6(),
      routes: [{ to: "default", via: LINK_LOCAL_GATEWAY }],
    },
    "web-inside": { addresses: [WEB_ADDRESS6], routes: [{ to: "default", via: LINK_LOCAL_GATEWAY }] },
    "server-outside": {
      addresses: [SERVER_ADDRESS6],
      routes: [toInside, { to: `${FAR6}/64`, via: HOP_ADDRESS6 }],
    },
    "hop-outside": { addresses: [HOP_ADDRESS6], routes: [toInside, { to: "::/0" }] },
    "hop-far": { addresses: [`${FAR6}1`], routes: [] },
    "far-far": {
      addresses: [FAR_ADDRESS6, FAR_OTHER_ADDRESS6],
      routes: [{ to: "default", via: `${FAR6}1`, advmss: FAR_MSS6 }],
    },
  };
  const { addresses, routes } = more[wire.port]!;
  return {
    ...wire,
    addresses: [...wire.addresses, ...addresses.map((address) => `${address}/64`)],
    routes: [...wire.routes, ...routes],
  };
}

export function hasGate({ hosts }: Pick<Topology, "hosts">): boolean {
  return hosts.includes(GATE_HOST);
}

/** `isGated`: the witness is behind the gate, the nodes before it. */
export function memberWires(member: LabMember, isGated: boolean): Wire[] {
  if (isGated && member.role === "witness") {
    const routes = [{ to: "192.0.2.0/24", via: GATE_FAR_ADDRESS }];
    const addresses = [`${member.address}/24`];
    return [{ host: member.name, name: "far", link: "far", port: `${member.name}-far`, addresses, routes }];
  }
  const links: readonly Link[] = member.role === "node" ? LINKS : ["cluster"];
  return links.map((link) => ({
    host: member.name,
    name: link,
    link,
    port: `${member.name}-${link}`,
    addresses: link === "cluster" ? [`${member.address}/24`] : [],
    routes: link === "cluster" && isGated ? [{ to: FAR_NETWORK, via: GATE_ADDRESS }] : [],
  }));
}
