import { describe, expect, test } from "vitest";
import { findDatagram, writeClusterFrame } from "../../../src/node/heartbeat-frames.ts";
import { HopLimit } from "../../../src/node/hop-limit.ts";
import type { WorkerPeer } from "../../../src/node/worker-protocol.ts";
import { ETHERNET_BYTES } from "../../../src/packet/ethernet.ts";
import { decrementTtl } from "../../../src/packet/ipv4.ts";
import { parseIpv4 } from "../../../src/policy/address.ts";

const PEERS: readonly WorkerPeer[] = [
  { nodeId: 2, name: "fw2", role: "node", address: "192.0.2.2", links: [0, 1, 2] },
  { nodeId: 3, name: "witness", role: "witness", address: "203.0.113.3", links: [0] },
];
const NODE = parseIpv4("192.0.2.2")!;
const WITNESS = parseIpv4("203.0.113.3")!;

test("a heartbeat that no router touched is let in, whoever seems to have sent it", () => {
  expect(new HopLimit(0, PEERS).allows(NODE, 255)).toBe(true);
  expect(new HopLimit(0, []).allows(WITNESS, 255)).toBe(true);
});

describe("with a witness two routers away at most", () => {
  const limit = new HopLimit(2, PEERS);

  test.each([
    [254, true],
    [253, true],
    [252, false],
    [0, false],
  ])("its heartbeat with TTL %i: %s", (ttl, isAllowed) => {
    expect(limit.allows(WITNESS, ttl)).toBe(isAllowed);
  });

  test("a node's heartbeat must come from its own wire", () => {
    expect(limit.allows(NODE, 254)).toBe(false);
  });

  test("nobody else may be as far away", () => {
    expect(limit.allows(parseIpv4("203.0.113.4")!, 254)).toBe(false);
  });

  test("a witness that is no member any more may not either", () => {
    const later = new HopLimit(2, PEERS);
    later.usePeers(PEERS.slice(0, 1));
    expect(later.allows(WITNESS, 254)).toBe(false);
  });
});

test("by default a witness must come from its own wire too", () => {
  expect(new HopLimit(0, PEERS).allows(WITNESS, 254)).toBe(false);
});

test("a frame tells the TTL with which it arrived", () => {
  const bytes = new Uint8Array(200);
  const mac = new Uint8Array(6);
  const lengthBytes = writeClusterFrame(bytes, 0, mac, mac, WITNESS, NODE, new Uint8Array(100));
  const found = { at: 0, lengthBytes: 0, ttl: 0 };
  expect(findDatagram(bytes, 0, lengthBytes, true, found)).toBe(true);
  expect(found.ttl).toBe(255);
  decrementTtl(bytes, ETHERNET_BYTES);
  expect(findDatagram(bytes, 0, lengthBytes, true, found)).toBe(true);
  expect(found).toMatchObject({ ttl: 254, lengthBytes: 100 });
});
