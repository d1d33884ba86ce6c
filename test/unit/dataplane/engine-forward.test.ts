import { describe, expect, test } from "vitest";
import { mix16 } from "../../../src/base/hash.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { echo, icmpError, macText, see, seeIp, tcp, udp, words } from "./frames.ts";
import { hostMac, PORT_INSIDE, PORT_OUTSIDE, TEST_KEY, verdictName, World } from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";

function out(world: World) {
  const { port, frame } = world.takeOne();
  const seen = see(frame);
  expect(seen.ip!.headerOk).toBe(true);
  expect(seen.ip!.bodyOk).toBe(true);
  return { port, seen, ip: seen.ip! };
}

describe("UDP through SNAT", () => {
  test("leaves from a pool address with a port of the client's slot, and the answer comes back", () => {
    const world = new World();
    const first = world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
    // The server's MAC had to be asked for first.
    expect(verdictName(first)).toBe("held");
    const sent = out(world);
    expect(sent.port).toBe(PORT_OUTSIDE);
    expect(sent.seen.destinationMac).toBe(macText(hostMac(SERVER)));
    expect(sent.seen.sourceMac).toBe(macText(world.ports[PORT_OUTSIDE]!.mac));
    expect(["198.51.100.10", "198.51.100.11"]).toContain(sent.ip.from);
    expect(sent.ip.ttl).toBe(63);
    expect(sent.ip.sport).toBeGreaterThanOrEqual(1024);
    expect(mix16(TEST_KEY, sent.ip.sport) & 63).toBe(slotOfAddress(TEST_KEY, 64, words(CLIENT), 0));

    const back = world.packet(
      PORT_OUTSIDE,
      udp({ from: SERVER, to: sent.ip.from, sport: 53, dport: sent.ip.sport }),
    );
    expect(verdictName(back)).toBe("held");
    const answer = out(world);
    expect(answer.port).toBe(PORT_INSIDE);
    expect([answer.ip.from, answer.ip.sport, answer.ip.to, answer.ip.dport]).toEqual([
      SERVER,
      53,
      CLIENT,
      4000,
    ]);

    const again = world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
    expect(verdictName(again)).toBe("forwarded");
    expect(out(world).ip.sport).toBe(sent.ip.sport);
    expect(world.lost()).toBe(0);
  });

  test("a UDP checksum of 0 stays 0 (RFC 768)", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1, dport: 53, noChecksum: true }));
    const body = out(world).ip.body;
    expect([body[6], body[7]]).toEqual([0, 0]);
  });

  test("an answer from another host than was asked is not let in (endpoint-dependent filtering)", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
    const { ip: sent } = out(world);
    const verdict = world.packet(
      PORT_OUTSIDE,
      udp({ from: "198.51.100.101", to: sent.from, sport: 53, dport: sent.sport }),
    );
    expect(verdictName(verdict)).toBe("bad_destination");
    expect(world.lost()).toBe(0);
  });
});

describe("TCP through SNAT", () => {
  test("a whole connection passes: handshake, data, close", () => {
    const world = new World();
    const client = { from: CLIENT, to: SERVER, sport: 5000, dport: 80 };
    world.packet(PORT_INSIDE, tcp({ ...client, flags: "S", seq: 100, scale: 7 }));
    const { ip: syn } = out(world);
    const server = { from: SERVER, to: syn.from, sport: 80, dport: syn.sport };
    const steps: [number, Uint8Array][] = [
      [PORT_OUTSIDE, tcp({ ...server, flags: "SA", seq: 900, ack: 101, scale: 7 })],
      [PORT_INSIDE, tcp({ ...client, flags: "A", seq: 101, ack: 901 })],
      [PORT_INSIDE, tcp({ ...client, flags: "PA", seq: 101, ack: 901, payload: new Uint8Array(500) })],
      [PORT_OUTSIDE, tcp({ ...server, flags: "A", seq: 901, ack: 601 })],
      [PORT_OUTSIDE, tcp({ ...server, flags: "PA", seq: 901, ack: 601, payload: new Uint8Array(1200) })],
      [PORT_INSIDE, tcp({ ...client, flags: "A", seq: 601, ack: 2101 })],
      [PORT_INSIDE, tcp({ ...client, flags: "FA", seq: 601, ack: 2101 })],
      [PORT_OUTSIDE, tcp({ ...server, flags: "A", seq: 2101, ack: 602 })],
      [PORT_OUTSIDE, tcp({ ...server, flags: "FA", seq: 2101, ack: 602 })],
      [PORT_INSIDE, tcp({ ...client, flags: "A", seq: 602, ack: 2102 })],
    ];
    for (const [port, frame] of steps) {
      expect(["forwarded", "held"]).toContain(verdictName(world.packet(port, frame)));
      out(world);
    }
    world.tick(29_000);
    expect(world.count("flowsNow")).toBe(1);
    world.tick(1_100);
    expect(world.count("flowsNow")).toBe(0);
    expect(world.count("flowsExpired")).toBe(1);
  });

  test("a segment that no connection accounts for is dropped", () => {
    const world = new World();
    const verdict = world.packet(
      PORT_INSIDE,
      tcp({ from: CLIENT, to: SERVER, sport: 1, dport: 2, flags: "A", seq: 1, ack: 1 }),
    );
    expect(verdictName(verdict)).toBe("invalid_state");
  });
});

describe("port forwarding", () => {
  test("leads to the web server, whose answers come from the public address", () => {
    const world = new World();
    const there = { from: SERVER, to: "198.51.100.10", sport: 6000, dport: 8080 };
    world.packet(PORT_OUTSIDE, tcp({ ...there, flags: "S", seq: 1 }));
    const inside = out(world);
    expect(inside.port).toBe(PORT_INSIDE);
    expect([inside.ip.from, inside.ip.to, inside.ip.dport]).toEqual([SERVER, "10.10.0.250", 80]);
    world.packet(
      PORT_INSIDE,
      tcp({ from: "10.10.0.250", to: SERVER, sport: 80, dport: 6000, flags: "SA", seq: 7, ack: 2 }),
    );
    const outside = out(world);
    expect([outside.ip.from, outside.ip.sport]).toEqual(["198.51.100.10", 8080]);
  });

  test("what no rule allows is denied and counted", () => {
    const world = new World();
    const verdict = world.packet(
      PORT_OUTSIDE,
      tcp({ from: SERVER, to: "10.10.0.250", sport: 6000, dport: 22, flags: "S", seq: 1 }),
    );
    expect(verdictName(verdict)).toBe("denied");
    expect([...world.ruleHits]).toEqual([0, 0, 1]);
  });
});

describe("ICMP", () => {
  test("echo passes through SNAT by its id (RFC 5508 section 3)", () => {
    const world = new World();
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 77 }));
    const { ip: sent } = out(world);
    world.packet(PORT_OUTSIDE, echo({ from: SERVER, to: sent.from, id: sent.sport, isReply: true }));
    const back = out(world);
    expect([back.ip.to, back.ip.sport, back.ip.icmpType]).toEqual([CLIENT, 77, 0]);
  });

  test("an error about a translated packet reaches the client with the packet it sent inside (RFC 5508 section 4)", () => {
    const world = new World();
    const spec = { from: CLIENT, to: "203.0.113.9", sport: 4000, dport: 33434 };
    world.packet(PORT_INSIDE, udp(spec));
    const sent = world.takeOne().frame;
    const seen = see(sent).ip!;
    const packet = sent.subarray(14, 14 + seen.total);
    world.packet(
      PORT_OUTSIDE,
      icmpError({ from: "198.51.100.254", to: seen.from }, 11, 0, packet),
      "198.51.100.254",
    );
    const error = out(world);
    expect([error.ip.from, error.ip.to, error.ip.icmpType]).toEqual(["198.51.100.254", CLIENT, 11]);
    const inner = seeIp(error.ip.body.subarray(8));
    expect([inner.from, inner.sport, inner.to, inner.dport]).toEqual([CLIENT, 4000, "203.0.113.9", 33434]);
    expect(inner.headerOk).toBe(true);
    expect(inner.bodyOk).toBe(true);
  });

  test("time exceeded comes from the zone's gateway when the TTL runs out here (RFC 1812 section 5.3.1)", () => {
    const world = new World();
    const verdict = world.packet(
      PORT_INSIDE,
      udp({ from: CLIENT, to: SERVER, sport: 1, dport: 33434, ttl: 1 }),
    );
    expect(verdictName(verdict)).toBe("ttl");
    const error = out(world);
    expect([error.ip.from, error.ip.to, error.ip.icmpType, error.ip.icmpCode]).toEqual([
      "10.10.0.1",
      CLIENT,
      11,
      0,
    ]);
    expect(world.count("flowsNow")).toBe(0);
  });

  test("fragmentation needed tells the next MTU (RFC 1191 section 4)", () => {
    const world = new World();
    const big = udp({ from: CLIENT, to: SERVER, sport: 1, dport: 2, payload: new Uint8Array(1480) });
    expect(verdictName(world.packet(PORT_INSIDE, big))).toBe("too_big");
    const error = out(world);
    expect([error.ip.icmpType, error.ip.icmpCode, error.ip.icmpWord]).toEqual([3, 4, 1500]);
  });

  test("a denied packet is answered by nothing, though its TTL ran out or it is too big", () => {
    const world = new World();
    const hop = udp({ from: SERVER, to: CLIENT, sport: 1, dport: 33434, ttl: 1 });
    const big = udp({ from: SERVER, to: CLIENT, sport: 1, dport: 2, payload: new Uint8Array(1480) });
    expect([hop, big].map((packet) => verdictName(world.packet(PORT_OUTSIDE, packet)))).toEqual([
      "denied",
      "denied",
    ]);
    expect(world.take()).toEqual([]);
    expect([world.count("icmpErrorsSent"), world.count("icmpErrorsLimited")]).toEqual([0, 0]);
  });

  test("denied packets use up nothing of the budget of errors: a traceroute that is allowed still works", () => {
    const world = new World({ limits: { icmpErrorsPerSecond: 1 } });
    for (let i = 0; i < 100; i++) {
      world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: CLIENT, sport: 1, dport: 33434 + i, ttl: 1 }));
    }
    expect(world.take()).toEqual([]);
    const trace = { from: CLIENT, to: SERVER, sport: 4000, dport: 33434 };
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...trace, ttl: 1 })))).toBe("ttl");
    expect(out(world).ip.icmpType).toBe(11);
    // The next one gets through and makes the flow; what runs out after that belongs to it, and is told as well.
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...trace, ttl: 2 })))).toBe("held");
    expect(out(world).ip.ttl).toBe(1);
    world.nowMs += 1000;
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...trace, ttl: 1 })))).toBe("ttl");
    expect(out(world).ip.icmpType).toBe(11);
  });

  test("a forwarded port that is reached with its last hop tells so", () => {
    const world = new World();
    const syn = tcp({ from: SERVER, to: "198.51.100.10", sport: 4000, dport: 8080, flags: "S", ttl: 1 });
    expect(verdictName(world.packet(PORT_OUTSIDE, syn))).toBe("ttl");
    expect([out(world).ip.from, world.count("flowsNow")]).toEqual(["198.51.100.1", 0]);
  });

  test("the gateway answers echo", () => {
    const world = new World();
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: "10.10.0.1", id: 5 }));
    const back = out(world);
    expect([back.ip.from, back.ip.to, back.ip.icmpType, back.ip.sport]).toEqual(["10.10.0.1", CLIENT, 0, 5]);
  });

  test("the answer to an echo of nothing but zeros has a checksum: 0xffff (RFC 1624 section 3)", () => {
    const world = new World();
    const data = new Uint8Array(4);
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: "10.10.0.1", id: 0, seq: 0, data }));
    expect(out(world).ip).toMatchObject({ icmpType: 0, sport: 0, bodyOk: true });
  });

  test("an echo reply that is all zeros behind SNAT has a checksum: 0xffff (RFC 1624 section 3)", () => {
    const world = new World();
    const data = new Uint8Array(4);
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 0, seq: 0, data }));
    const { ip: sent } = out(world);
    world.packet(
      PORT_OUTSIDE,
      echo({ from: SERVER, to: sent.from, id: sent.sport, seq: 0, data, isReply: true }),
    );
    expect(out(world).ip).toMatchObject({ to: CLIENT, icmpType: 0, sport: 0, bodyOk: true });
  });
});
