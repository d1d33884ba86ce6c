/**
 * Network of a lab: namespaces, bridges and wires made with iproute2, and their removal. The commands are computed (pure)
 * and run in few batches. Owns no process inside.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { run } from "./run.ts";
import {
  allHosts,
  BRIDGE_HOST,
  BRIDGES,
  hasGate,
  type LabMember,
  type LabRoute,
  memberWires,
  mtuOf,
  namespaceOf,
  ROUTERS,
  type Topology,
  type Wire,
} from "./topology.ts";

/** XDP programs and the cap driver see frames before a NIC would finish checksums or put VLAN tags in: so veths must do it. */
const OFFLOADS = "tx off rx off sg off tso off gso off gro off rxvlan off txvlan off";

/** Makes all namespaces and wires. A failure leaves parts: the caller takes the lab down by name. */
export async function buildNetwork(lab: string, topology: Topology): Promise<void> {
  for (const host of topology.hosts) await run("ip", ["netns", "add", namespaceOf(lab, host)]);
  // Before any interface exists: none that is not to speak IPv6 ever does.
  await Promise.all(topology.hosts.map((host) => inHost(lab, host, kernelSettings(host, topology))));
  await run("ip", ["-n", namespaceOf(lab, BRIDGE_HOST), "-batch", "-"], {
    input: bridgeBatch(lab, topology),
  });
  for (const host of topology.hosts) {
    const wires = topology.wires.filter((wire) => wire.host === host);
    const ends =
      host === BRIDGE_HOST ? topology.wires.map((wire) => wire.port) : wires.map((wire) => wire.name);
    await inHost(lab, host, withoutOffloads(ends));
    await run("ip", ["-n", namespaceOf(lab, host), "-batch", "-"], { input: hostBatch(wires) });
  }
}

/** Makes the namespace and the wires of one member more. On failure nothing of it is left. */
export async function plugIn(lab: string, topology: Topology, member: LabMember): Promise<void> {
  const wires = memberWires(member, hasGate(topology));
  const grown = { ...topology, members: [...topology.members, member] };
  await run("ip", ["netns", "add", namespaceOf(lab, member.name)]);
  try {
    await inHost(lab, member.name, kernelSettings(member.name, grown));
    await run("ip", ["-n", namespaceOf(lab, BRIDGE_HOST), "-batch", "-"], {
      input: `${wires.flatMap((wire) => wireLines(lab, wire)).join("\n")}\n`,
    });
    const ports = wires.map(({ port }) => port);
    await inHost(lab, BRIDGE_HOST, withoutOffloads(ports));
    await inHost(lab, member.name, withoutOffloads(wires.map(({ name }) => name)));
    await run("ip", ["-n", namespaceOf(lab, member.name), "-batch", "-"], { input: hostBatch(wires) });
  } catch (error) {
    await deleteHost(lab, member.name);
    throw error;
  }
}

/** Takes a host's wires away, at once: the namespace that they lead to may be held by a process that ends. */
export async function unplug(lab: string, wires: readonly Wire[]): Promise<void> {
  const lines = wires.map(({ port }) => `link delete dev ${port}`);
  await run("ip", ["-n", namespaceOf(lab, BRIDGE_HOST), "-force", "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
    mayFail: true,
  });
}

/** Namespaces of `lab` that exist now, by host. */
export async function standingHosts(lab: string): Promise<string[]> {
  const listed = new Set((await run("ip", ["netns", "list"])).split("\n").map((line) => line.split(" ")[0]));
  return allHosts().filter((host) => listed.has(namespaceOf(lab, host)));
}

/** Process ids inside a host's namespace, whoever started them. */
export async function pidsIn(lab: string, host: string): Promise<number[]> {
  const text = await run("ip", ["netns", "pids", namespaceOf(lab, host)], { mayFail: true });
  return text
    .split("\n")
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
}

export async function deleteHost(lab: string, host: string): Promise<void> {
  await run("ip", ["netns", "delete", namespaceOf(lab, host)]);
}

/** Runs a shell script inside a host's namespace. */
export async function inHost(lab: string, host: string, script: string): Promise<string> {
  try {
    return await run("ip", ["netns", "exec", namespaceOf(lab, host), "sh", "-c", script]);
  } catch (cause) {
    if (!(cause instanceof SynwallError)) throw cause;
    throw new SynwallError("SW_LAB_FAILED", `${host}: ${cause.message}`, {}, cause);
  }
}

/** One batch for the bridges' namespace: bridges, wires, and the far ends moved into their hosts. */
export function bridgeBatch(lab: string, topology: Topology): string {
  const lines: string[] = ["link set lo up"];
  for (const link of BRIDGES) {
    // No spanning tree: a port forwards as soon as it is up. Multicast is flooded, nobody queries.
    lines.push(
      `link add name ${link} type bridge stp_state 0 mcast_snooping 0`,
      `link set ${link} mtu ${mtuOf(link)}`,
    );
  }
  for (const wire of topology.wires) lines.push(...wireLines(lab, wire));
  for (const link of BRIDGES) lines.push(`link set dev ${link} up`);
  return `${lines.join("\n")}\n`;
}

function wireLines(lab: string, { port, name, link, host }: Wire): string[] {
  const end = `mtu ${mtuOf(link)} numtxqueues 1 numrxqueues 1`;
  return [
    `link add name ${port} ${end} type veth peer name ${name} ${end} netns ${namespaceOf(lab, host)}`,
    `link set dev ${port} master ${link}`,
    `link set dev ${port} up`,
  ];
}

function withoutOffloads(ends: readonly string[]): string {
  return ends.map((end) => `ethtool -K ${end} ${OFFLOADS} >/dev/null 2>&1 || exit 3`).join("\n");
}

/** One batch for a host's namespace: addresses before the interface is up, routes after. */
export function hostBatch(wires: readonly Wire[]): string {
  const lines: string[] = ["link set lo up"];
  for (const wire of wires) {
    for (const address of wire.addresses) {
      // An IPv6 address would be on probation for a second (RFC 4862): nobody else has it here.
      lines.push(`address add ${address} dev ${wire.name}${address.includes(":") ? " nodad" : ""}`);
    }
    // Without addresses the interface is the dataplane's: the kernel must not answer ARP there.
    if (wire.addresses.length === 0) lines.push(`link set dev ${wire.name} arp off`);
    lines.push(`link set dev ${wire.name} up`);
    lines.push(...wire.routes.map((route) => routeLine(route, wire.name)));
  }
  return `${lines.join("\n")}\n`;
}

function routeLine({ to, via, advmss }: LabRoute, device: string): string {
  if (via === undefined) return `route add blackhole ${to}`;
  const mss = advmss === undefined ? "" : ` advmss ${advmss}`;
  return `route add ${to} via ${via} dev ${device}${mss}`;
}

function kernelSettings(host: string, topology: Topology): string {
  const set = (key: string, value: string): string =>
    `[ ! -w /proc/sys/${key} ] || echo '${value}' >/proc/sys/${key}`;
  const isMember = topology.members.some(({ name }) => name === host);
  const withoutIpv6 = isMember || host === BRIDGE_HOST || !topology.features.ipv6 ? "1" : "0";
  const lines = [
    set("net/ipv6/conf/default/disable_ipv6", withoutIpv6),
    set("net/ipv6/conf/all/disable_ipv6", withoutIpv6),
    set("net/ipv6/conf/default/accept_dad", "0"),
    // Routes are given: what the cluster advertises is for tests to ask for.
    set("net/ipv6/conf/default/accept_ra", "0"),
    // Traffic opens hundreds of connections a second: ports enough, and a listen queue that outlives a stall.
    set("net/ipv4/ip_local_port_range", "10240 65535"),
    set("net/core/somaxconn", "8192"),
    set("net/ipv4/tcp_max_syn_backlog", "8192"),
    set("net/ipv4/ping_group_range", "0 2147483647"),
    // Whatever is to be answered with an ICMP error is: what is missing is then the firewall's doing.
    set("net/ipv4/icmp_ratelimit", "0"),
    set("net/ipv6/icmp/ratelimit", "0"),
  ];
  if (ROUTERS.includes(host)) {
    lines.push(set("net/ipv4/ip_forward", "1"), set("net/ipv6/conf/all/forwarding", "1"));
  }
  if (host === BRIDGE_HOST) {
    lines.push(
      ...["iptables", "ip6tables", "arptables"].map((table) =>
        set(`net/bridge/bridge-nf-call-${table}`, "0"),
      ),
    );
  }
  return `{ ${lines.join("; ")}; } 2>/dev/null; true`;
}
