import { expect, test } from "vitest";
import { createMemoryPool, MemoryPort } from "../../../src/io/memory.ts";
import { nextHopsOf, PeerProbe } from "../../../src/node/peer-probe.ts";
import type { FromWorker } from "../../../src/node/worker-protocol.ts";
import { parseIpv4 } from "../../../src/policy/address.ts";
import { arpReply, PEER_ADDRESS } from "../../conformance/port-frames.ts";
import { LAB_POLICY } from "../dataplane/world.ts";

const PEER = 2;
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 2, 0);
const ROUTER_MAC = Uint8Array.of(2, 0, 0, 0, 9, 9);
const INSIDE = 0;
const CLUSTER = 1;

type Probed = Extract<FromWorker, { type: "probed" }>;

class Bench {
  readonly pool = createMemoryPool(64);
  readonly ports = ["inside", "cluster"].map((name) => new MemoryPort(this.pool, { name }));
  readonly told: Probed[] = [];
  readonly probe: PeerProbe;
  nowMs = 1000;
  isSpeaking = false;

  constructor() {
    const clusterIp = parseIpv4(PEER_ADDRESS.join("."))!;
    const peer = { nodeId: PEER, clusterIp, clusterMac: PEER_MAC, zoneMac: [PEER_MAC, new Uint8Array(6)] };
    this.probe = new PeerProbe({
      ports: this.ports,
      view: { peers: [undefined, undefined, peer] },
      nextHops: [],
      intervalMs: 5,
      heartbeats: () => ({ lastHeardMs: () => 900, isSpeaking: () => this.isSpeaking }),
      post: (message) => this.told.push(message as Probed),
    });
    this.probe.begin(PEER, this.nowMs);
  }

  pass(ms: number): Probed | undefined {
    for (let i = 0; i < ms; i++) this.probe.tick(this.nowMs++);
    return this.told.at(-1);
  }

  answer(port: number, mac: Uint8Array): boolean {
    const frame = arpReply(this.ports[port]!.mac, mac, [0, 0, 0, 0]);
    return this.probe.take(port, frame, 0, frame.length);
  }
}

test("a silent machine is asked on every link, and each probe is told of when an answer could have come", () => {
  const bench = new Bench();
  expect(bench.pass(5)).toBeUndefined();
  expect(bench.pass(1)).toMatchObject({ node: PEER, probes: 1, isAnswering: false, lastHeardMs: 900 });
  expect(bench.pass(10)).toMatchObject({ probes: 3 });
  expect(bench.ports.map((port) => port.counters.txFrames + port.counters.txDropped)).toEqual([4, 4]);
});

test("whether the peer is heard at its own pace is told with each probe", () => {
  const bench = new Bench();
  expect(bench.pass(6)?.isSpeaking).toBe(false);
  bench.isSpeaking = true;
  expect(bench.pass(5)?.isSpeaking).toBe(true);
});

test("an answer counts for three probes", () => {
  const bench = new Bench();
  bench.pass(1);
  expect(bench.answer(INSIDE, PEER_MAC)).toBe(true);
  expect(bench.pass(5)?.isAnswering).toBe(true);
  expect(bench.pass(15)?.isAnswering).toBe(false);
});

test("in a zone only the peer's own MAC answers for it, on the cluster link anybody", () => {
  const bench = new Bench();
  bench.pass(1);
  bench.answer(INSIDE, ROUTER_MAC);
  expect(bench.pass(5)?.isAnswering).toBe(false);
  bench.answer(CLUSTER, ROUTER_MAC);
  expect(bench.pass(5)?.isAnswering).toBe(true);
});

test("a probe counts as heard when frames of others arrived in a zone before the next one", () => {
  const bench = new Bench();
  expect(bench.pass(6)).toMatchObject({ probes: 1, probesHeard: 0 });
  bench.ports[CLUSTER]!.counters.rxFrames++;
  expect(bench.pass(5)).toMatchObject({ probes: 2, probesHeard: 0 });
  bench.ports[INSIDE]!.counters.rxFrames++;
  expect(bench.pass(5)).toMatchObject({ probes: 3, probesHeard: 1 });
  expect(bench.pass(5)).toMatchObject({ probes: 4, probesHeard: 1 });
});

test("what is no answer to a probe is left alone", () => {
  const bench = new Bench();
  const frame = arpReply(PEER_MAC, PEER_MAC, [10, 0, 0, 1]);
  expect(bench.probe.take(INSIDE, frame, 0, frame.length)).toBe(false);
  expect(bench.probe.take(INSIDE, frame, 0, 20)).toBe(false);
});

test("next hops are those of IPv4 routes, on every port of their zone", () => {
  const [inside] = LAB_POLICY.zones;
  const via = parseIpv4("10.10.0.9")!;
  const routes = [
    { to: LAB_POLICY.routes[0]?.to ?? inside!.prefix, zone: inside!.id, via },
    { to: inside!.prefix, zone: inside!.id, via: 0 },
  ];
  expect(nextHopsOf({ routes, zones: LAB_POLICY.zones })).toEqual(
    inside!.ports.map((port) => ({ port, address: via })),
  );
});
