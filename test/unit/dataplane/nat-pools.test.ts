/** SNAT: pools, masquerade, ranges, parity, use and exhaustion by address, protocols without ports. */
import { describe, expect, test } from "vitest";
import { mix16 } from "../../../src/base/hash.ts";
import { SLOT_OWNED, standaloneView } from "../../../src/dataplane/cluster-view.ts";
import { NAT_USAGE_BYTES, readNatUsage } from "../../../src/dataplane/nat-usage.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import {
  arp,
  echo,
  ethernet,
  icmpError,
  ip,
  ip6,
  ipPacket,
  ipv4,
  mac,
  see,
  seeIp,
  tcp,
  udp,
  words,
} from "./frames.ts";
import {
  CLIENT,
  CLIENT6,
  embedded,
  entry,
  nat64Policy,
  natPolicy,
  natWorld,
  OTHER_SERVER,
  POOL,
  pass,
  SERVER,
  SERVER6,
} from "./nat-worlds.ts";
import { Pair, SLOTS } from "./pair.ts";
import { hostMac, PORT_INSIDE, PORT_OUTSIDE, prefix, TEST_KEY, verdictName, type World } from "./world.ts";

const GATEWAY = "198.51.100.1";
const SECOND = "198.51.100.11";

function udpOut(world: World, sport: number, from = CLIENT, to = SERVER) {
  return pass(world, PORT_INSIDE, udp({ from, to, sport, dport: 53 }));
}

/** A world that owns one slot of many, so that ports of an address run out after 60 or so. */
function small(pool: string[], usage?: SharedArrayBuffer): World {
  const view = standaloneView(1024);
  view.state.fill(0);
  view.state[slotOfAddress(TEST_KEY, 1024, words(CLIENT), 0)] = SLOT_OWNED;
  const policy = natPolicy({ snat: [entry({ pool: pool.map(ip) })] });
  return natWorld(policy, { view, ...(usage === undefined ? {} : { natUsage: usage }) });
}

describe("masquerade: the pool is the zone's own gateway", () => {
  const masquerade = () => natPolicy({ snat: [entry({ pool: [ip(GATEWAY)] })], answered: [] });

  test("replies to its ports reach the flow, echo to it is still answered, the rest is closed", () => {
    const world = natWorld(masquerade());
    const out = udpOut(world, 5000);
    expect(out.from).toBe(GATEWAY);
    const reply = udp({ from: SERVER, to: GATEWAY, sport: 53, dport: out.sport });
    expect(pass(world, PORT_OUTSIDE, reply)).toMatchObject({ to: CLIENT, dport: 5000, bodyOk: true });
    const ping = echo({ from: SERVER, to: GATEWAY, id: 3 });
    expect(pass(world, PORT_OUTSIDE, ping)).toMatchObject({
      from: GATEWAY,
      to: SERVER,
      icmpType: 0,
      sport: 3,
    });
    const asked = pass(world, PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 3 }));
    const answer = echo({ from: SERVER, to: GATEWAY, id: asked.sport, isReply: true });
    expect(pass(world, PORT_OUTSIDE, answer)).toMatchObject({ to: CLIENT, sport: 3, icmpType: 0 });
    const stray = tcp({ from: SERVER, to: GATEWAY, sport: 9, dport: 22, flags: "S" });
    expect(verdictName(world.packet(PORT_OUTSIDE, stray))).toBe("bad_destination");
  });

  test("ARP for it is answered with the virtual MAC of the asker's slot", () => {
    const world = natWorld(masquerade());
    const request = arp({ op: 1, senderMac: hostMac(SERVER), sender: SERVER, target: GATEWAY });
    world.receive(PORT_OUTSIDE, ethernet(mac("ff:ff:ff:ff:ff:ff"), hostMac(SERVER), 0x0806, request));
    expect(see(world.takeOne().frame).arp).toMatchObject({ op: 2, sender: GATEWAY, target: SERVER });
  });

  test("the same in IPv6", () => {
    const gateway = "2001:db8:f::1";
    const world = natWorld(natPolicy({ snat: [entry({ pool: [ip6(gateway)] })], answered: [] }));
    const out = pass(world, PORT_INSIDE, udp({ from: CLIENT6, to: SERVER6, sport: 5000, dport: 53 }));
    expect(out).toMatchObject({ from: gateway, bodyOk: true });
    const reply = udp({ from: SERVER6, to: gateway, sport: 53, dport: out.sport });
    expect(pass(world, PORT_OUTSIDE, reply)).toMatchObject({ to: CLIENT6, dport: 5000, bodyOk: true });
    expect(pass(world, PORT_OUTSIDE, echo({ from: SERVER6, to: gateway, id: 3 })).icmpType).toBe(129);
  });

  test("either node brings a reply to the flow, by its port alone", () => {
    const pair = new Pair(masquerade());
    pair.one.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
    pair.settle();
    const owner = pair.worlds.find((world) => world.sent.length > 0)!;
    const { sport } = see(owner.takeOne().frame).ip!;
    for (const world of pair.worlds) {
      world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: GATEWAY, sport: 53, dport: sport }));
      pair.carry(world);
    }
    expect(pair.worlds.flatMap((world) => world.take()).map(({ frame }) => see(frame).ip!.to)).toEqual([
      CLIENT,
      CLIENT,
    ]);
  });
});

describe("ports", () => {
  test("are of the entry's range", () => {
    const world = natWorld(natPolicy({ snat: [entry({ ports: { from: 20_000, to: 21_023 } })] }));
    for (let i = 0; i < 60; i++) {
      const { sport } = udpOut(world, 1024 + i);
      expect(sport >= 20_000 && sport <= 21_023).toBe(true);
    }
  });

  test("keep the source's where that leads to its slot (RFC 4787 section 4.2.1)", () => {
    const world = natWorld(natPolicy());
    const slot = slotOfAddress(TEST_KEY, 64, words(CLIENT), 0);
    const own = Array.from({ length: 64_000 }, (_, i) => 1024 + i).filter(
      (port) => (mix16(TEST_KEY, port) & 63) === slot,
    );
    for (const port of own.slice(0, 20)) expect(udpOut(world, port).sport).toBe(port);
  });

  test("of UDP keep their parity (RFC 4787 REQ-4)", () => {
    const world = natWorld(natPolicy());
    for (let sport = 2000; sport < 2100; sport++) expect((udpOut(world, sport).sport ^ sport) & 1).toBe(0);
  });

  test("are chosen anew at random: the next one tells nothing of the one before (RFC 7857 section 9)", () => {
    const world = natWorld(natPolicy());
    const ports = Array.from({ length: 50 }, (_, i) => udpOut(world, 2000 + 2 * i).sport);
    const steps = new Set(ports.map((port, i) => (i === 0 ? 0 : port - ports[i - 1]!)));
    expect(steps.size).toBeGreaterThan(45);
  });

  test("a source keeps one address until that has no port left (RFC 4787 REQ-2)", () => {
    const world = small([POOL, SECOND]);
    const addresses = Array.from({ length: 110 }, (_, i) => udpOut(world, 2000 + i).from);
    const change = addresses.findIndex((address) => address !== addresses[0]);
    expect(change).toBeGreaterThan(50);
    expect(new Set(addresses.slice(change)).size).toBe(1);
  });

  test("of one entry that are used up leave another entry with the same address its own", () => {
    const slotOf = (host: string): number => slotOfAddress(TEST_KEY, 64, words(host), 0);
    const view = standaloneView(64);
    view.state.fill(0);
    view.state[slotOf(CLIENT)] = SLOT_OWNED;
    const hosts = Array.from({ length: 250 }, (_, i) => `10.10.0.${i + 3}`);
    const other = hosts.find((host) => slotOf(host) === slotOf(CLIENT))!;
    const mine = entry({ sources: [prefix(`${CLIENT}/32`)], ports: { from: 1024, to: 2047 } });
    const snat = [mine, entry({ ports: { from: 2048, to: 65_535 } })];
    const world = natWorld(natPolicy({ snat }), { view });
    const open = (sport: number, from = CLIENT): string =>
      verdictName(world.packet(PORT_INSIDE, udp({ from, to: SERVER, sport, dport: 53 })));
    let sport = 3000;
    while (open(sport) !== "nat_port_exhausted") sport++;
    expect(sport).toBeGreaterThan(3005);
    const verdicts = Array.from({ length: 50 }, (_, i) => open(3000 + i, other));
    expect(new Set(verdicts)).toEqual(new Set(["forwarded"]));
    expect(open(sport)).toBe("nat_port_exhausted");
  });

  test("sources divide the addresses of a pool", () => {
    const pool = [10, 11, 12, 13].map((host) => `198.51.100.${host}`);
    const world = natWorld(natPolicy({ snat: [entry({ pool: pool.map(ip) })], answered: [] }));
    const used = new Map<string, number>();
    for (let i = 2; i < 202; i++) {
      const { from } = udpOut(world, 999, `10.10.0.${i}`);
      used.set(from, (used.get(from) ?? 0) + 1);
    }
    expect([...used.keys()].sort()).toEqual([...pool].sort());
    expect(Math.min(...used.values())).toBeGreaterThan(30);
  });
});

describe("use by address", () => {
  test("is counted up and down, for flows and for bindings, and refusals for every address of the pool", () => {
    const usage = new SharedArrayBuffer(NAT_USAGE_BYTES);
    const world = small([POOL, SECOND], usage);
    let refused = 0;
    for (let i = 0; i < 140; i++) {
      const packet = udp({ from: CLIENT, to: SERVER, sport: 2000 + i, dport: 53 });
      if (verdictName(world.packet(PORT_INSIDE, packet)) === "nat_port_exhausted") refused++;
    }
    const full = readNatUsage(usage);
    expect(full.map(({ address }) => address)).toEqual([ip(POOL), ip(SECOND)]);
    expect(full.map((each) => each.inUse).reduce((a, b) => a + b)).toBe(140 - refused);
    expect(world.count("natPortsNow")).toBe(140 - refused);
    expect(refused).toBeGreaterThan(5);
    expect(full.map((each) => each.refused)).toEqual([refused, refused]);
    world.tick(11_000);
    expect(readNatUsage(usage).map((each) => each.inUse)).toEqual([0, 0]);
    expect(world.count("natPortsNow")).toBe(0);
  });

  test("who finds no port is told that he may not go there (RFC 5508 REQ-8)", () => {
    const world = small([POOL]);
    const verdicts = Array.from({ length: 70 }, (_, i) => {
      world.take();
      const packet = udp({ from: CLIENT, to: SERVER, sport: 2000 + i, dport: 53 });
      return verdictName(world.packet(PORT_INSIDE, packet));
    });
    expect(verdicts.at(-1)).toBe("nat_port_exhausted");
    const told = see(world.takeOne().frame).ip!;
    expect(told).toMatchObject({ from: "10.10.0.1", to: CLIENT, icmpType: 3, icmpCode: 13, bodyOk: true });
  });

  test("a binding counts once, however many flows it has; NAT64 too", () => {
    const usage = new SharedArrayBuffer(NAT_USAGE_BYTES);
    const world = natWorld(nat64Policy(), { natUsage: usage });
    for (const server of [SERVER, OTHER_SERVER, "203.0.113.4"]) {
      pass(world, PORT_INSIDE, udp({ from: CLIENT6, to: embedded(server), sport: 5000, dport: 53 }));
    }
    expect(readNatUsage(usage)).toEqual([{ address: ip(POOL), inUse: 1, refused: 0 }]);
  });

  test("goes on through a new policy: an address that is no more is counted down", () => {
    const usage = new SharedArrayBuffer(NAT_USAGE_BYTES);
    const world = natWorld(natPolicy(), { natUsage: usage });
    udpOut(world, 5000);
    world.engine.usePolicy(natPolicy({ snat: [entry({ pool: [ip(SECOND)] })] }), new Float64Array(2));
    udpOut(world, 5001);
    const now = () => readNatUsage(usage).map(({ inUse }) => inUse);
    expect(now()).toEqual([1, 1]);
    world.tick(11_000);
    expect(now()).toEqual([0, 0]);
  });

  test("replicas are counted where they are held", () => {
    const pair = new Pair(natPolicy());
    pair.one.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
    pair.settle();
    expect(pair.worlds.map((world) => world.count("natPortsNow"))).toEqual([1, 1]);
  });
});

describe("borrowed ports", () => {
  /** A pair in which all of a slot's own ports towards the server are used: the next flow's is another slot's. */
  function borrow(pair: Pair, owner: World): { port: number; sport: number; portSlot: number } {
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(CLIENT), 0);
    for (let sport = 1024; sport < 4096; sport++) {
      owner.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport, dport: 53 }));
      pair.settle();
      const port = see(owner.takeOne().frame).ip!.sport;
      const portSlot = mix16(TEST_KEY, port) & (SLOTS - 1);
      if (portSlot !== slot) return { port, sport, portSlot };
    }
    throw new Error("no port was borrowed");
  }

  function setUp() {
    const pair = new Pair(natPolicy({ snat: [entry({ ports: { from: 1024, to: 3071 } })] }));
    const slot = slotOfAddress(TEST_KEY, SLOTS, words(CLIENT), 0);
    const owner = pair.worlds.find((world) => world.view.owner[slot] === world.view.selfId)!;
    return { pair, slot, owner, other: pair.other(owner), ...borrow(pair, owner) };
  }

  const reply = (port: number) => udp({ from: SERVER, to: POOL, sport: 53, dport: port });

  test("lead replies home when the port's slot has moved to another node", () => {
    const { pair, owner, other, port, sport, portSlot } = setUp();
    pair.assign(2, (each) => (each === portSlot ? other.view.selfId : owner.view.selfId));
    for (const world of pair.worlds) {
      world.packet(PORT_OUTSIDE, reply(port));
      pair.carry(world);
      const sent = pair.worlds.flatMap((each) => each.take());
      expect(sent.map(({ frame }) => see(frame).ip)).toMatchObject([{ to: CLIENT, dport: sport }]);
    }
  });

  test("are found by the port slot's owner although the flow is not in its table", () => {
    const { pair, owner, other, port, sport, portSlot, slot } = setUp();
    pair.assign(2, (each) => (each === portSlot ? other.view.selfId : owner.view.selfId));
    // Only the pointer is left there, as on a third node that is no backup of the flow's slot.
    for (const row of rowsOf(other, slot)) other.engine.book.leave(row);
    other.packet(PORT_OUTSIDE, reply(port));
    expect(pair.carry(other)).toBe(1);
    expect(see(owner.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: sport });
    const error = icmpError(
      { from: SERVER, to: POOL },
      3,
      3,
      udp({ from: POOL, to: SERVER, sport: port, dport: 53 }),
    );
    other.packet(PORT_OUTSIDE, error);
    expect(pair.carry(other)).toBe(1);
    expect(see(owner.takeOne().frame).ip).toMatchObject({ to: CLIENT, icmpType: 3 });
  });

  test("are not given out a second time by the port slot's owner", () => {
    const { pair, owner, other, port, portSlot, slot } = setUp();
    pair.assign(2, (each) => (each === portSlot ? other.view.selfId : owner.view.selfId));
    for (const row of rowsOf(other, slot)) other.engine.book.leave(row);
    const twin = Array.from({ length: 250 }, (_, i) => `10.10.0.${i + 3}`).find(
      (host) => slotOfAddress(TEST_KEY, SLOTS, words(host), 0) === portSlot,
    )!;
    const given = new Set<number>();
    for (let sport = 5000; sport < 5060; sport++) {
      other.packet(PORT_INSIDE, udp({ from: twin, to: SERVER, sport, dport: 53 }));
      pair.settle();
      for (const { frame } of other.take()) given.add(see(frame).ip!.sport);
    }
    expect(given.size).toBeGreaterThan(10);
    expect(given.has(port)).toBe(false);
  });

  test("and their pointers end with their flows", () => {
    const { pair, owner } = setUp();
    expect(owner.count("satellitesNow")).toBe(1);
    owner.tick(11_000);
    pair.settle();
    expect(pair.worlds.map((world) => world.table.used)).toEqual([0, 0]);
  });

  function rowsOf(world: World, slot: number): number[] {
    const rows: number[] = [];
    world.table.startWalk(slot);
    for (let row = world.table.walkAt(); row !== -1; row = world.table.walkAt()) {
      rows.push(row);
      world.table.walkOn();
    }
    return rows;
  }
});

describe("protocols without ports", () => {
  const gre = (from: string, to: string): Uint8Array =>
    ipPacket(47, { from, to }, Uint8Array.of(0, 0, 8, 0, 1, 2));

  test("one inside host at a time has an address towards a far end, and the answers", () => {
    const world = natWorld(natPolicy({ snat: [entry({ pool: [ip(POOL), ip(SECOND)] })] }));
    const first = pass(world, PORT_INSIDE, gre(CLIENT, SERVER));
    const second = pass(world, PORT_INSIDE, gre("10.10.0.3", SERVER));
    expect(new Set([first.from, second.from])).toEqual(new Set([POOL, SECOND]));
    expect(verdictName(world.packet(PORT_INSIDE, gre("10.10.0.4", SERVER)))).toBe("nat_port_exhausted");
    expect(pass(world, PORT_OUTSIDE, gre(SERVER, second.from)).to).toBe("10.10.0.3");
    expect(pass(world, PORT_INSIDE, gre("10.10.0.4", OTHER_SERVER)).from).toMatch(/^198/);
  });

  test("both nodes find their slot from either side, errors included", () => {
    const pair = new Pair(natPolicy());
    for (const start of pair.worlds) {
      for (const protocol of [47, 50]) {
        const host = `10.10.0.${10 + start.view.selfId}`;
        const far = `203.0.113.${protocol + start.view.selfId}`;
        const packet = (from: string, to: string) => ipPacket(protocol, { from, to }, new Uint8Array(16));
        start.packet(PORT_INSIDE, packet(host, far));
        pair.settle();
        const out = pair.worlds.flatMap((world) => world.take());
        expect(out.map(({ frame }) => see(frame).ip!.from)).toEqual([POOL]);
        const error = icmpError({ from: far, to: POOL }, 3, 1, packet(POOL, far));
        for (const world of pair.worlds) {
          for (const back of [packet(far, POOL), error]) {
            // The replica is not needed: the owner's row is found by the packet and the policy alone.
            const verdict = verdictName(world.packet(PORT_OUTSIDE, back));
            expect(["forwarded", "redirected", "held"]).toContain(verdict);
            pair.carry(world);
            const sent = pair.worlds.flatMap((each) => each.take());
            expect(sent.map(({ frame }) => see(frame).ip!.to)).toEqual([host]);
          }
        }
      }
    }
  });

  test("SCTP keeps its ports, and is told apart by them", () => {
    const sctp = (from: string, to: string, sport: number, dport: number) =>
      ipPacket(
        132,
        { from, to },
        Uint8Array.of(sport >> 8, sport & 255, dport >> 8, dport & 255, ...new Uint8Array(12)),
      );
    const world = natWorld(natPolicy());
    const ports = ({ body }: { body: Uint8Array }) => [
      (body[0]! << 8) | body[1]!,
      (body[2]! << 8) | body[3]!,
    ];
    expect(ports(pass(world, PORT_INSIDE, sctp(CLIENT, SERVER, 1000, 36412)))).toEqual([1000, 36412]);
    expect(ports(pass(world, PORT_INSIDE, sctp("10.10.0.3", SERVER, 1001, 36412)))).toEqual([1001, 36412]);
    expect(verdictName(world.packet(PORT_INSIDE, sctp("10.10.0.4", SERVER, 1000, 36412)))).toBe(
      "nat_port_exhausted",
    );
    expect(pass(world, PORT_OUTSIDE, sctp(SERVER, POOL, 36412, 1001)).to).toBe("10.10.0.3");
  });
});

describe("TCP from outside (RFC 5382)", () => {
  test("an unsolicited SYN is dropped in silence, and does not stand in the way of the inside host's own (REQ-4)", () => {
    const world = natWorld(natPolicy());
    const open = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    const { sport } = pass(world, PORT_INSIDE, tcp({ ...open, flags: "S", seq: 1 }));
    pass(world, PORT_OUTSIDE, tcp({ from: SERVER, to: POOL, sport: 80, dport: sport, flags: "RA", ack: 2 }));
    world.tick(20_000);
    world.take();
    const theirs = tcp({ from: SERVER, to: POOL, sport: 80, dport: sport, flags: "S", seq: 70 });
    expect(verdictName(world.packet(PORT_OUTSIDE, theirs))).toBe("bad_destination");
    expect(world.take()).toEqual([]);
    expect(pass(world, PORT_INSIDE, tcp({ ...open, flags: "S", seq: 100 }))).toMatchObject({
      to: SERVER,
      flags: "S",
    });
  });
});

describe("ICMP through SNAT (RFC 5508)", () => {
  test("queries of many hosts with one id have ids of their own outside (REQ-1)", () => {
    const world = natWorld(natPolicy());
    const ids = Array.from({ length: 20 }, (_, i) => {
      const from = `10.10.0.${10 + i}`;
      const out = pass(world, PORT_INSIDE, echo({ from, to: SERVER, id: 1 }));
      const back = pass(world, PORT_OUTSIDE, echo({ from: SERVER, to: POOL, id: out.sport, isReply: true }));
      expect(back).toMatchObject({ to: from, sport: 1, bodyOk: true });
      return out.sport;
    });
    expect(new Set(ids).size).toBe(20);
  });

  test("errors are shown from where they came, with the inside endpoint in them (REQ-4)", () => {
    const world = natWorld(natPolicy());
    const out = udpOut(world, 5000);
    const about = ipv4(17, { from: POOL, to: SERVER, ttl: 1 }, out.body);
    for (const by of [SERVER, "203.0.113.9"]) {
      const seen = pass(world, PORT_OUTSIDE, icmpError({ from: by, to: POOL }, 11, 0, about));
      expect(seen).toMatchObject({ from: by, to: CLIENT, icmpType: 11, headerOk: true, bodyOk: true });
      expect(seeIp(seen.body.subarray(8))).toMatchObject({
        from: CLIENT,
        to: SERVER,
        sport: 5000,
        bodyOk: true,
      });
    }
  });

  test("an error from inside is hidden behind the pool address (REQ-5)", () => {
    const world = natWorld(natPolicy());
    const out = udpOut(world, 5000);
    const reply = udp({ from: SERVER, to: POOL, sport: 53, dport: out.sport });
    const got = pass(world, PORT_OUTSIDE, reply);
    const about = ipv4(17, { from: SERVER, to: CLIENT }, got.body);
    for (const by of [CLIENT, "10.10.0.77"]) {
      const seen = pass(world, PORT_INSIDE, icmpError({ from: by, to: SERVER }, 3, 3, about));
      expect(seen).toMatchObject({ from: POOL, to: SERVER, icmpType: 3, bodyOk: true });
      expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: SERVER, to: POOL, dport: out.sport });
    }
  });

  test("options of the embedded header are stepped over, a damaged segment in it is let be (REQ-3 b, c)", () => {
    const world = natWorld(natPolicy());
    const out = udpOut(world, 5000);
    const body = Uint8Array.from(out.body);
    body[9] = body[9]! ^ 0xff;
    const options = Uint8Array.of(1, 1, 1, 0);
    const about = ipv4(17, { from: POOL, to: SERVER, options }, body);
    const seen = pass(world, PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 3, about));
    expect(seen).toMatchObject({ to: CLIENT, bodyOk: true });
    expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: CLIENT, sport: 5000, bodyOk: false });
  });

  test("errors end nothing and refresh nothing (RFC 4787 REQ-12, RFC 5382 REQ-10, RFC 5508 REQ-6)", () => {
    const world = natWorld(natPolicy());
    const open = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    const out = pass(world, PORT_INSIDE, tcp({ ...open, flags: "S", seq: 1 }));
    const about = ipv4(6, { from: POOL, to: SERVER }, out.body);
    pass(world, PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 1, about));
    expect(world.table.used).toBe(1);
    const back = tcp({ from: SERVER, to: POOL, sport: 80, dport: out.sport, flags: "SA", seq: 9, ack: 2 });
    expect(pass(world, PORT_OUTSIDE, back)).toMatchObject({ to: CLIENT, flags: "SA" });
  });
});
