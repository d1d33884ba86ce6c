import { describe, expect, test } from "vitest";
import { mix16 } from "../../../src/base/hash.ts";
import { SLOT_OWNED, standaloneView } from "../../../src/dataplane/cluster-view.ts";
import type { PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { ip, see, tcp, udp, words } from "./frames.ts";
import { LAB_POLICY, OUTSIDE, PORT_INSIDE, prefix, TEST_KEY, verdictName, World } from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
// 1024 slots: 64 ports a slot and address, so that they run out soon.
const SLOTS = 1024;

function oneAddress(dnatPorts?: { from: number; to: number }): PolicyModel {
  const dnat = { ...LAB_POLICY.dnat[0]!, protocol: 17, ports: dnatPorts ?? { from: 8080, to: 8080 } };
  return {
    ...LAB_POLICY,
    snat: [{ ...LAB_POLICY.snat[0]!, pool: [ip("198.51.100.10")] }],
    dnat: [dnat],
  };
}

/** Opens `count` UDP flows of one client to one destination; the ports they got, and the verdicts of the others. */
function openMany(world: World, count: number, dport = 53): { ports: number[]; refused: string[] } {
  const ports: number[] = [];
  const refused: string[] = [];
  for (let i = 0; i < count; i++) {
    const verdict = world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1024 + i, dport }));
    const sent = world.take().filter(({ frame }) => see(frame).ip?.protocol === 17);
    if (sent.length === 1) ports.push(see(sent[0]!.frame).ip!.sport);
    else refused.push(verdictName(verdict));
  }
  return { ports, refused };
}

/** Ports of a slot that may be given out. */
function portsOf(slot: number, slots: number): number[] {
  return Array.from({ length: 65536 }, (_, port) => port).filter(
    (port) => port >= 1024 && (mix16(TEST_KEY, port) & (slots - 1)) === slot,
  );
}

function ownOnly(slot: number): World {
  const view = standaloneView(SLOTS);
  view.state.fill(0);
  view.state[slot] = SLOT_OWNED;
  return new World({ policy: oneAddress(), view, capacity: 8192 });
}

const slot = slotOfAddress(TEST_KEY, SLOTS, words(CLIENT), 0);

describe("SNAT ports", () => {
  test("are all of the slot's and no others, each once, and then the pool is exhausted", () => {
    const world = ownOnly(slot);
    const wanted = portsOf(slot, SLOTS).filter((port) => port !== 8080);
    const { ports, refused } = openMany(world, wanted.length + 3);
    expect(new Set(ports)).toEqual(new Set(wanted));
    expect(ports.length).toBe(wanted.length);
    expect(refused).toEqual(["nat_port_exhausted", "nat_port_exhausted", "nat_port_exhausted"]);
    expect(world.lost()).toBe(0);
  });

  test("are used again towards another destination (endpoint-dependent mapping, RFC 4787 section 4.1)", () => {
    const world = ownOnly(slot);
    const first = openMany(world, 60).ports;
    const second = openMany(world, 60, 54).ports;
    expect(second.length).toBe(60);
    expect(second.some((port) => first.includes(port))).toBe(true);
  });

  test("of another slot that this node owns are borrowed when the slot's own are used up", () => {
    const world = new World({ policy: oneAddress(), view: standaloneView(SLOTS), capacity: 8192 });
    const own = portsOf(slot, SLOTS);
    const { ports, refused } = openMany(world, 200);
    expect(refused).toEqual([]);
    expect(new Set(ports).size).toBe(200);
    expect(ports.filter((port) => own.includes(port)).length).toBeGreaterThanOrEqual(own.length - 1);
  });

  test("are free again when their flows ended", () => {
    const world = ownOnly(slot);
    const before = openMany(world, 100).ports.length;
    world.tick(10_100);
    expect(world.count("natPortsNow")).toBe(0);
    expect(openMany(world, 100).ports.length).toBe(before);
  });

  test("are never below 1024 and never one that a port forward claims", () => {
    const claimed = { from: 2000, to: 60_000 };
    const world = new World({ policy: oneAddress(claimed), view: standaloneView(16), capacity: 8192 });
    const { ports } = openMany(world, 500);
    expect(ports.length).toBe(500);
    expect(ports.filter((port) => port < 1024 || (port >= claimed.from && port <= claimed.to))).toEqual([]);
  });

  test("come from one address for one source, which has the same home where possible (RFC 4787 REQ-2)", () => {
    const view = standaloneView(64);
    const world = new World({ view });
    const addresses = new Set<string>();
    for (let i = 0; i < 20; i++) {
      world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1 + i, dport: 53 }));
      addresses.add(see(world.takeOne().frame).ip!.from);
    }
    expect(addresses.size).toBe(1);
    // Answered index 0 is .10, index 1 is .11: .10 and every other source are at home elsewhere.
    for (let slot = 0; slot < 64; slot += 2) view.home[slot] = 2;
    const seen = new Set<string>();
    for (let i = 2; i < 80; i++) {
      const from = `10.10.0.${i}`;
      world.packet(PORT_INSIDE, udp({ from, to: SERVER, sport: 999, dport: 53 }));
      const isElsewhere = slotOfAddress(TEST_KEY, 64, words(from), 0) % 2 === 0;
      seen.add(`${isElsewhere}: ${see(world.takeOne().frame).ip!.from}`);
    }
    expect([...seen].sort()).toEqual(["false: 198.51.100.11", "true: 198.51.100.10"]);
  });

  test("stay with the source's address when its slot and those of the addresses move (RFC 4787 REQ-2)", () => {
    const view = standaloneView(64);
    for (let slot = 0; slot < 64; slot += 2) view.home[slot] = 2;
    const world = new World({ view });
    const addressOf = (host: number, sport: number) => {
      world.packet(PORT_INSIDE, udp({ from: `10.10.0.${host}`, to: SERVER, sport, dport: 53 }));
      return see(world.takeOne().frame).ip!.from;
    };
    const hosts = Array.from({ length: 20 }, (_, i) => i + 2);
    const before = hosts.map((host) => addressOf(host, 1));
    expect(new Set(before).size).toBe(2);
    for (const slot of [0, 1]) {
      view.owner.fill(1, 0, 64)[slot] = 2;
      expect(hosts.map((host) => addressOf(host, 2 + slot))).toEqual(before);
    }
  });
});

describe("which flows are translated", () => {
  test("only sources that the entry names", () => {
    const policy: PolicyModel = {
      ...LAB_POLICY,
      snat: [{ ...LAB_POLICY.snat[0]!, sources: [prefix("10.10.0.128/25")] }],
    };
    const world = new World({ policy });
    world.packet(PORT_INSIDE, tcp({ from: CLIENT, to: SERVER, sport: 1, dport: 2, flags: "S" }));
    expect(see(world.takeOne().frame).ip!.from).toBe(CLIENT);
    world.packet(PORT_INSIDE, tcp({ from: "10.10.0.200", to: SERVER, sport: 1, dport: 2, flags: "S" }));
    expect(see(world.takeOne().frame).ip!.from).toMatch(/^198/);
    expect(LAB_POLICY.snat[0]!.toZone).toBe(OUTSIDE);
  });
});
