import { expect, test } from "vitest";
import { clusterMtuNeeded } from "../../../src/dataplane/cluster-mtu.ts";
import { redirectBytes } from "../../../src/dataplane/redirect.ts";

test("a redirect costs outer IPv4, UDP, GENEVE with its option, and the inner Ethernet header", () => {
  expect(redirectBytes(false)).toBe(20 + 8 + 8 + 12 + 14);
});

test("the cluster link must hold the largest frame of any zone inside GENEVE, and never less than ordinary Ethernet needs", () => {
  expect(clusterMtuNeeded(1500)).toBe(1562);
  expect(clusterMtuNeeded(9000)).toBe(9062);
  expect(clusterMtuNeeded(1280)).toBe(1562);
});

test("a sealed redirect costs what the option told, now encrypted, and the tag besides", () => {
  expect(redirectBytes(true)).toBe(redirectBytes(false) + 8 + 16);
  expect(clusterMtuNeeded(1500, true)).toBe(1586);
});
