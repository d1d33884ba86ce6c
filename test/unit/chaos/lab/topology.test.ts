import { expect, test } from "vitest";
import { LAB_FEATURES } from "../../../../chaos/lab/features.ts";
import {
  allHosts,
  clientAddresses,
  freeNode,
  type LabOptions,
  namespaceOf,
  planTopology,
  STORE_ADDRESS,
  STORE_HOST,
  withMember,
  withMemberId,
  withoutMember,
} from "../../../../chaos/lab/topology.ts";

const pair: LabOptions = { name: "lab", nodes: 2, hasWitness: true, port: "auto", profile: "lan" };

test("planTopology() joins every host by one data interface and every node by three links", () => {
  const { hosts, wires } = planTopology(pair);
  expect(hosts).toEqual(["net", "client", "web", "server", "hop", "far", "fw1", "fw2", "witness"]);
  const linksOf = (host: string) => wires.filter((wire) => wire.host === host).map((wire) => wire.link);
  expect(linksOf("client")).toEqual(["inside"]);
  expect(linksOf("web")).toEqual(["inside"]);
  expect(linksOf("server")).toEqual(["outside"]);
  expect(linksOf("hop")).toEqual(["outside", "far"]);
  expect(linksOf("far")).toEqual(["far"]);
  expect(linksOf("fw2")).toEqual(["inside", "outside", "cluster"]);
  expect(linksOf("witness")).toEqual(["cluster"]);
});

test("planTopology() gives a node's zone interfaces no address, and its cluster link the member's", () => {
  const { wires } = planTopology(pair);
  const addresses = (name: string) =>
    wires.find((wire) => wire.host === "fw2" && wire.name === name)?.addresses;
  expect(addresses("inside")).toEqual([]);
  expect(addresses("outside")).toEqual([]);
  expect(addresses("cluster")).toEqual(["192.0.2.2/24"]);
});

test("the client has 200 addresses, 10.10.0.2 to 10.10.0.201", () => {
  const addresses = clientAddresses();
  expect(addresses).toHaveLength(200);
  expect(addresses[0]).toBe("10.10.0.2");
  expect(addresses.at(-1)).toBe("10.10.0.201");
});

test("with IPv6 every host has addresses of both families, and inside hosts use the cluster's link-local address", () => {
  const features = { ...LAB_FEATURES, ipv6: true };
  const { wires, members } = planTopology({ ...pair, features });
  const names = members.map(({ name }) => name);
  for (const { addresses, port } of wires.filter(({ host }) => !names.includes(host))) {
    expect(new Set(addresses.map((address) => address.includes(":"))), port).toEqual(new Set([false, true]));
  }
  const client = wires.find(({ port }) => port === "client-inside")!;
  expect(client.routes).toContainEqual({ to: "default", via: "fe80::1" });
  expect(client.addresses).toContain("2001:db8:10::2/64");
});

test("without IPv6 nothing in a lab has an IPv6 address or route", () => {
  const { wires } = planTopology({ ...pair, features: { ...LAB_FEATURES, ipv6: false } });
  expect(JSON.stringify(wires)).not.toMatch(/::/);
});

test("interface names fit the kernel's 15 characters in the largest lab", () => {
  const { wires } = planTopology({ ...pair, nodes: 8 });
  for (const { port, name } of wires) {
    expect(port.length).toBeLessThanOrEqual(15);
    expect(name.length).toBeLessThanOrEqual(15);
  }
  expect(new Set(wires.map(({ port }) => port)).size).toBe(wires.length);
});

test("the largest lab has no host that `lab down` does not know by name alone", () => {
  const { hosts } = planTopology({ ...pair, nodes: 8 });
  expect(allHosts()).toEqual(expect.arrayContaining([...hosts]));
});

test("namespaces of labs whose names are prefixes of each other never collide", () => {
  const short = allHosts().map((host) => namespaceOf("a", host));
  const long = ["a-net", "a-client", "a-fw1", "a-a"].flatMap((lab) =>
    allHosts().map((host) => namespaceOf(lab, host)),
  );
  expect(short.filter((name) => long.includes(name))).toEqual([]);
});

test.each([0, 9, 1.5])("planTopology() refuses %s nodes and says what is possible", (nodes) => {
  expect(() => planTopology({ ...pair, nodes })).toThrow(/--nodes .*1 to 8/);
});

test.each(["", "Lab", "-x", "a b", "../x", "a".repeat(17)])("planTopology() refuses the name %j", (name) => {
  expect(() => planTopology({ ...pair, name })).toThrow(/--name .*small letters/);
});

test("a node that joins later has a name and an address that no member has, and is unplugged without a trace", () => {
  const before = planTopology(pair);
  const first = { ...freeNode(before.members), id: 4 };
  const grown = withMember(before, first);
  const second = { ...freeNode(grown.members), id: 5 };
  expect([first.name, second.name]).toEqual(["fw3", "fw4"]);
  const all = withMember(grown, second);
  expect(new Set(all.members.map(({ address }) => address)).size).toBe(all.members.length);
  expect(all.wires.filter(({ host }) => host === "fw3").map(({ link }) => link)).toEqual([
    "inside",
    "outside",
    "cluster",
  ]);
  for (const { name } of all.members) expect(allHosts()).toContain(name);
  expect(withoutMember(withoutMember(all, second), first)).toEqual(before);
  // Whoever joins after fw3 left may have its name, since the cluster tells members apart by id.
  expect(freeNode(withoutMember(all, first).members).name).toBe("fw3");
});

test("a member that comes back under another id keeps its place, name, address and wires", () => {
  const before = planTopology(pair);
  const after = withMemberId(before, "fw1", 4);
  expect(after.members).toEqual([{ ...before.members[0]!, id: 4 }, ...before.members.slice(1)]);
  expect({ ...after, members: before.members }).toEqual(before);
});

test("etcd has a host of its own on the cluster link, in labs that have it, and lab down knows of it", () => {
  const topology = planTopology({ ...pair, hasWitness: false, store: "etcd" });
  expect(topology.wires.filter(({ host }) => host === STORE_HOST)).toMatchObject([
    { link: "cluster", addresses: [`${STORE_ADDRESS}/24`] },
  ]);
  expect(topology.members.map(({ name }) => name)).toEqual(["fw1", "fw2"]);
  expect(planTopology(pair).hosts).not.toContain(STORE_HOST);
  expect(allHosts()).toContain(STORE_HOST);
});

test("a routed witness is on another network, and both sides know the router between them", () => {
  const topology = planTopology({ ...pair, isWitnessRouted: true });
  const { hosts, members, wires } = topology;
  expect(hosts).toContain("gate");
  expect(allHosts()).toContain("gate");
  const witness = members.find(({ role }) => role === "witness")!;
  expect(witness.address).toBe("203.0.113.20");
  const wiresOf = (host: string) => wires.filter((wire) => wire.host === host);
  expect(wiresOf("witness")).toMatchObject([
    { link: "far", addresses: ["203.0.113.20/24"], routes: [{ to: "192.0.2.0/24", via: "203.0.113.2" }] },
  ]);
  expect(wiresOf("gate").map(({ link, addresses }) => [link, ...addresses])).toEqual([
    ["cluster", "192.0.2.254/24"],
    ["far", "203.0.113.2/24"],
  ]);
  const route = { to: "203.0.113.0/24", via: "192.0.2.254" };
  const added = withMember(topology, freeNode(members));
  for (const host of ["fw1", "fw2", "fw3"]) {
    const cluster = added.wires.find((wire) => wire.host === host && wire.link === "cluster");
    expect(cluster?.routes, host).toEqual([route]);
  }
});
