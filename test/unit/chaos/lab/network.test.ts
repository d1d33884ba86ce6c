import { expect, test } from "vitest";
import { LAB_FEATURES } from "../../../../chaos/lab/features.ts";
import { bridgeBatch, hostBatch } from "../../../../chaos/lab/network.ts";
import { planTopology } from "../../../../chaos/lab/topology.ts";

const topology = planTopology({ name: "lab", nodes: 1, hasWitness: false, port: "auto", profile: "lan" });

test("bridgeBatch() makes the bridges without spanning tree, and puts every wire into its bridge", () => {
  const lines = bridgeBatch("lab", topology).split("\n");
  for (const link of ["inside", "outside", "cluster", "far"]) {
    expect(lines).toContain(`link add name ${link} type bridge stp_state 0 mcast_snooping 0`);
  }
  expect(lines).toContain("link set dev fw1-outside master outside");
  expect(lines).toContain("link set dev client-inside master inside");
});

test("bridgeBatch() gives cluster wires an MTU that holds redirected frames, on both ends", () => {
  const line = bridgeBatch("lab", topology)
    .split("\n")
    .find((each) => each.startsWith("link add name fw1-cluster"));
  expect(line?.match(/mtu 1700/g)).toHaveLength(2);
  expect(line).toContain("netns lab-fw1");
});

test("bridgeBatch() gives the wires behind the router the least MTU that IPv6 allows", () => {
  const lines = bridgeBatch("lab", topology).split("\n");
  for (const port of ["hop-far", "far-far"]) {
    const line = lines.find((each) => each.startsWith(`link add name ${port} `));
    expect(line?.match(/mtu 1280/g), port).toHaveLength(2);
  }
});

test("hostBatch() adds IPv6 addresses without probation, and IPv6 routes", () => {
  const features = { ...LAB_FEATURES, ipv6: true };
  const { wires } = planTopology({
    ...{ name: "lab", nodes: 1, hasWitness: false, port: "auto", profile: "lan", features },
  });
  const lines = hostBatch(wires.filter(({ host }) => host === "server")).split("\n");
  expect(lines).toContain("address add 2001:db8:51::100/64 dev eth0 nodad");
  expect(lines).toContain("route add 2001:db8:10::/64 via fe80::1 dev eth0");
});

test("hostBatch() keeps the kernel off interfaces without addresses", () => {
  const wires = topology.wires.filter(({ host }) => host === "fw1");
  const lines = hostBatch(wires).split("\n");
  expect(lines).toContain("link set dev inside arp off");
  expect(lines).not.toContain("link set dev cluster arp off");
  expect(lines).toContain("address add 192.0.2.1/24 dev cluster");
});

test("hostBatch() adds routes only after the interface is up", () => {
  const lines = hostBatch(topology.wires.filter(({ host }) => host === "server")).split("\n");
  expect(lines.indexOf("route add 10.10.0.0/24 via 198.51.100.1 dev eth0")).toBeGreaterThan(
    lines.indexOf("link set dev eth0 up"),
  );
});
