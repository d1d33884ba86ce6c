/** Nodes whose zones have their interfaces in different orders: what a redirected packet's interface means. */
import { describe, expect, test } from "vitest";
import { PEER_ALIVE } from "../../../src/dataplane/cluster-view.ts";
import type { PolicyModel, RuleModel } from "../../../src/dataplane/policy-model.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import * as geneve from "../../../src/packet/geneve.ts";
import { mac, see, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import {
  INSIDE,
  LAB_POLICY,
  LAN_B,
  OUTSIDE,
  PORT_CLUSTER,
  PORT_INSIDE,
  PORT_OUTSIDE,
  rule,
  TEST_KEY,
  twoLans,
  verdictName,
  type World,
} from "./world.ts";

const SERVER = "198.51.100.100";
/** GENEVE behind Ethernet, IPv4 and UDP. */
const GENEVE_AT = 14 + 20 + 8;
const SLOT_HIGH_AT = GENEVE_AT + 14;

/** A client of node 2's. */
const CLIENT = Array.from({ length: 200 }, (_, i) => `10.10.0.${i + 2}`).find(
  (host) => slotOfAddress(TEST_KEY, SLOTS, words(host), 0) % 2 === 1,
)!;
const asked = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 });

function policy(part: Partial<RuleModel>): PolicyModel {
  return twoLans({
    ...LAB_POLICY,
    snat: [],
    dnat: [],
    rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, ...part })],
  });
}

/** Node 2's second port of the inside; its index 3, node 1's LAN_B, is one of the outside. */
const OTHER_LAN_B = 4;

function pairOf(one: Partial<RuleModel>, two: Partial<RuleModel>): Pair {
  const ports = [INSIDE, OUTSIDE, -1, OUTSIDE, INSIDE].map((zone, i) => ({
    mac: mac(`02:00:00:00:02:0${i}`),
    mtuBytes: zone < 0 ? 1600 : 1500,
    zone,
  }));
  return new Pair(policy(one), {}, 4096, {}, { policy: policy(two), ports });
}

/** The client's packet, as node 1 hands it to node 2 from its second LAN. */
function redirected(pair: Pair): Uint8Array {
  expect(verdictName(pair.one.packet(LAN_B, asked))).toBe("redirected");
  const { port, frame } = pair.one.takeOne();
  expect(port).toBe(PORT_CLUSTER);
  expect(geneve.port(frame, GENEVE_AT)).toBe(LAN_B);
  return frame;
}

function use(world: World, next: PolicyModel): void {
  world.engine.usePolicy(next, new Float64Array(next.rules.length + 1));
}

describe("a redirected packet whose interface is none of its zone here", () => {
  test("matches no rule that asks for interfaces, whichever they are", () => {
    const pair = pairOf({ interfaces: [LAN_B] }, { interfaces: [PORT_INSIDE] });
    expect(verdictName(pair.two.receive(PORT_CLUSTER, redirected(pair)))).toBe("denied");
    use(pair.two, policy({ interfaces: [LAN_B] }));
    expect(verdictName(pair.two.receive(PORT_CLUSTER, redirected(pair)))).toBe("denied");
    expect(pair.two.table.used).toBe(0);
  });

  test("matches every other one, and answers find it by the zone", () => {
    const pair = pairOf({}, {});
    pair.two.receive(PORT_CLUSTER, redirected(pair));
    const isFor = (to: string) => pair.two.take().filter(({ frame }) => see(frame).ip?.to === to);
    expect(isFor(SERVER).map(({ port }) => port)).toEqual([expect.toBeOneOf([PORT_OUTSIDE, LAN_B])]);
    pair.two.packet(PORT_OUTSIDE, udp({ from: SERVER, to: CLIENT, sport: 53, dport: 4000 }));
    expect(isFor(CLIENT).map(({ port }) => port)).toEqual([expect.toBeOneOf([PORT_INSIDE, OTHER_LAN_B])]);
  });

  test("ends no flow, unless no interface of the zone would be accepted here", () => {
    const pair = pairOf({}, { interfaces: [OTHER_LAN_B] });
    pair.two.packet(OTHER_LAN_B, asked);
    use(pair.two, policy({ interfaces: [OTHER_LAN_B] }));
    pair.two.receive(PORT_CLUSTER, redirected(pair));
    expect([pair.two.count("policyEnded"), pair.two.table.used]).toEqual([0, 1]);
    use(pair.two, policy({ interfaces: [LAN_B] }));
    expect(verdictName(pair.two.receive(PORT_CLUSTER, redirected(pair)))).toBe("denied");
  });

  test("goes on over the zone's first wire when it has to", () => {
    const pair = pairOf({}, {});
    const frame = redirected(pair);
    // As a fragment that was to meet others here, which may be redirected once more.
    frame[SLOT_HIGH_AT] = frame[SLOT_HIGH_AT]! | 0x80;
    pair.assign(2, () => 1);
    pair.two.view.peerFlags[1] = PEER_ALIVE;
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("redirected");
    expect(pair.two.takeOne().port).toBe(PORT_INSIDE);
    expect(pair.two.count("redirectsZoneOut")).toBe(1);
  });
});
