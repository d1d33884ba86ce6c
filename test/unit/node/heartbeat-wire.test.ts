/** Where a node sends its heartbeats to a witness behind routers: to whoever claims to be it, until one has proven that it is. */
import { expect, test } from "vitest";
import type { Authority } from "../../../cluster/takeover/authority.ts";
import type { ClusterView } from "../../../src/dataplane/cluster-view.ts";
import type { FramePool, Port } from "../../../src/io/port.ts";
import { writeClusterFrame } from "../../../src/node/heartbeat-frames.ts";
import { HeartbeatWire } from "../../../src/node/heartbeat-wire.ts";
import { ETHERNET_BYTES } from "../../../src/packet/ethernet.ts";
import { decrementTtl } from "../../../src/packet/ipv4.ts";
import { parseIpv4 } from "../../../src/policy/address.ts";

const WITNESS = 3;
const ROUTER = Uint8Array.of(2, 0, 0, 0, 0, 1);
const RECORDER = Uint8Array.of(2, 0, 0, 0, 0, 66);

/** A node with a cluster port alone; `isProven`: a life of the witness is. */
function node(isProven: boolean) {
  const bytes = new Uint8Array(256);
  const clusterMac = ROUTER.slice();
  const peers: unknown[] = [];
  peers[WITNESS] = { clusterMac, zoneMac: [], clusterIp: parseIpv4("203.0.113.3") };
  const wire = new HeartbeatWire({
    pool: { bytes } as unknown as FramePool,
    ports: [{}] as unknown as readonly Port[],
    view: { peers } as unknown as ClusterView,
    peers: [{ nodeId: WITNESS, name: "witness", role: "witness", address: "203.0.113.3", links: [0] }],
    witnessHops: 1,
    // Authentic, and of a life that is not proven: the caller learns who claims to have sent it.
    authority: () =>
      ({
        receive: () => 0,
        heartbeats: { claimant: WITNESS, isAlive: () => isProven, refuse: () => 0 },
      }) as unknown as Authority,
    bytesMin: () => 0,
  });
  const own = new Uint8Array(6);
  const [from, to] = [parseIpv4("203.0.113.3")!, parseIpv4("192.0.2.1")!];
  const lengthBytes = writeClusterFrame(bytes, 0, own, RECORDER, from, to, new Uint8Array(100));
  decrementTtl(bytes, ETHERNET_BYTES);
  expect(wire.receive(0, 0, lengthBytes, 1000)).toBe(0);
  return clusterMac;
}

test("one that claims to be the witness is answered where it came from, while no life of the witness is proven", () => {
  expect(node(false)).toEqual(RECORDER);
});

test("a recorded heartbeat does not move a witness whose life is proven", () => {
  expect(node(true)).toEqual(ROUTER);
});
