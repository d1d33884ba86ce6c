/** NAT64: RFC 6146 (stateful), RFC 7915 (headers), RFC 6052 (addresses). */
import { describe, expect, test } from "vitest";
import { Nat64Prefixes } from "../../../src/dataplane/nat64-prefix.ts";
import { PRIVATE_IPV4_PREFIXES } from "../../../src/policy/address.ts";
import {
  echo,
  icmp,
  icmpError,
  internetChecksum,
  ip,
  ip6,
  ipv4,
  ipv6,
  see,
  seeIp,
  tcp,
  udp,
  words,
} from "./frames.ts";
import {
  CLIENT6,
  embedded,
  nat64Policy,
  natWorld,
  OTHER_SERVER,
  POOL,
  packetOf,
  pass,
  SERVER,
} from "./nat-worlds.ts";
import {
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  rule,
  verdictName,
  type World,
} from "./world.ts";

const SERVER64 = embedded(SERVER);
const ROUTER = "203.0.113.9";
/** The first packet to a neighbour waits for its MAC. */
const PASSES = /^(forwarded|held)$/;

const world64 = (): World => natWorld(nat64Policy());
const toServer = { from: CLIENT6, to: SERVER64 };

/** Opens a UDP flow; what left for the server. */
function openUdp(world: World, part: { sport?: number; payload?: Uint8Array } = {}) {
  return pass(world, PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, ...part }));
}

describe("flows (RFC 6146 section 3.5)", () => {
  test("TCP leaves in IPv4 from the pool, and the answer comes back in IPv6 from the prefix", () => {
    const world = world64();
    const syn = tcp({ ...toServer, sport: 40_000, dport: 443, flags: "S", seq: 7 });
    world.packet(PORT_INSIDE, syn);
    const frame = see(world.takeOne().frame);
    expect(frame.type).toBe(0x0800);
    const out = frame.ip!;
    expect(out).toMatchObject({ from: POOL, to: SERVER, dport: 443, flags: "S", ttl: 63, total: 40 });
    expect([out.headerOk, out.bodyOk]).toEqual([true, true]);
    const back = tcp({ from: SERVER, to: POOL, sport: 443, dport: out.sport, flags: "SA", seq: 1, ack: 8 });
    world.packet(PORT_OUTSIDE, back);
    const answer = see(world.takeOne().frame);
    expect(answer.type).toBe(0x86dd);
    expect(answer.ip).toMatchObject({ from: SERVER64, to: CLIENT6, sport: 443, dport: 40_000, ttl: 63 });
    expect(answer.ip!.bodyOk).toBe(true);
    expect(world.lost()).toBe(0);
  });

  test("echo is translated with type, id and pseudo header, both ways (RFC 7915 sections 4.2 and 5.2)", () => {
    const world = world64();
    const out = pass(world, PORT_INSIDE, echo({ ...toServer, id: 77, seq: 3 }));
    expect(out).toMatchObject({ from: POOL, to: SERVER, protocol: 1, icmpType: 8, bodyOk: true });
    const back = pass(world, PORT_OUTSIDE, echo({ from: SERVER, to: POOL, id: out.sport, isReply: true }));
    expect(back).toMatchObject({ from: SERVER64, to: CLIENT6, icmpType: 129, sport: 77, bodyOk: true });
  });

  test("one inside port keeps one outside port towards everybody (RFC 6146 section 3.1)", () => {
    const world = world64();
    const first = openUdp(world);
    const second = pass(
      world,
      PORT_INSIDE,
      udp({ from: CLIENT6, to: embedded(OTHER_SERVER), sport: 5000, dport: 99 }),
    );
    expect([second.from, second.sport]).toEqual([first.from, first.sport]);
    expect(second.to).toBe(OTHER_SERVER);
  });

  test("with independent filtering anybody may send to a mapped port, and has an address of the prefix", () => {
    const policy = nat64Policy();
    const world = natWorld({ ...policy, nat64: [{ ...policy.nat64![0]!, isFilteringIndependent: true }] });
    const { sport } = openUdp(world);
    const call = udp({ from: OTHER_SERVER, to: POOL, sport: 9, dport: sport });
    expect(pass(world, PORT_OUTSIDE, call)).toMatchObject({
      from: embedded(OTHER_SERVER),
      to: CLIENT6,
      sport: 9,
      dport: 5000,
      bodyOk: true,
    });
    const answer = udp({ from: CLIENT6, to: embedded(OTHER_SERVER), sport: 5000, dport: 9 });
    expect(pass(world, PORT_INSIDE, answer)).toMatchObject({ from: POOL, to: OTHER_SERVER, sport, dport: 9 });
    expect(world.table.used).toBe(3);
  });

  test("without it, only who was sent to may answer (address and port dependent filtering)", () => {
    const world = world64();
    const { sport } = openUdp(world);
    const call = udp({ from: OTHER_SERVER, to: POOL, sport: 53, dport: sport });
    expect(verdictName(world.packet(PORT_OUTSIDE, call))).toBe("bad_destination");
  });

  test("rules see the IPv4 destination", () => {
    const rules = [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, destinations: [prefix(`${SERVER}/32`)] })];
    const world = natWorld(nat64Policy({ rules }));
    openUdp(world);
    const other = udp({ from: CLIENT6, to: embedded(OTHER_SERVER), sport: 1, dport: 2 });
    expect(verdictName(world.packet(PORT_INSIDE, other))).toBe("denied");
  });

  test("other protocols, and addresses that no packet may have, are refused", () => {
    const send = (protocol: number, to: string): string =>
      verdictName(world64().packet(PORT_INSIDE, ipv6(protocol, { from: CLIENT6, to }, new Uint8Array(20))));
    expect(send(47, SERVER64)).toBe("untranslatable");
    expect(send(132, SERVER64)).toBe("untranslatable");
    for (const inner of [
      "127.0.0.1",
      "0.0.0.1",
      "224.0.0.5",
      "255.255.255.255",
      "198.51.100.255",
      "10.10.0.1",
    ]) {
      const packet = udp({ from: CLIENT6, to: embedded(inner), sport: 1, dport: 2 });
      expect([inner, verdictName(world64().packet(PORT_INSIDE, packet))]).toEqual([inner, "bad_destination"]);
    }
  });

  test("the well-known prefix leads to no private address (RFC 6052 section 3.1)", () => {
    const [entry] = nat64Policy().nat64!;
    const world = natWorld(nat64Policy({ nat64: [{ ...entry!, excluded: PRIVATE_IPV4_PREFIXES }] }));
    const ask = (to: string): string =>
      verdictName(
        world.packet(PORT_INSIDE, udp({ from: CLIENT6, to: embedded(to), sport: 5000, dport: 53 })),
      );
    for (const to of ["10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "192.0.0.8", "198.19.0.1"]) {
      expect([to, ask(to)]).toEqual([to, "bad_destination"]);
    }
    for (const to of [
      "9.255.255.255",
      "11.0.0.1",
      "172.32.0.1",
      "192.169.0.1",
      "100.128.0.1",
      "198.20.0.1",
      SERVER,
    ]) {
      expect([to, ask(to)]).toEqual([to, expect.stringMatching(PASSES)]);
    }
    expect(world.lost()).toBe(0);
  });

  test("nobody with a private address calls an IPv6 host by its binding through the well-known prefix", () => {
    const [entry] = nat64Policy().nat64!;
    const open = { ...entry!, isFilteringIndependent: true };
    const call = (world: World, from: string): string => {
      const { sport } = openUdp(world);
      return verdictName(world.packet(PORT_OUTSIDE, udp({ from, to: POOL, sport: 9, dport: sport })));
    };
    const excluded = [...PRIVATE_IPV4_PREFIXES, prefix(`${OTHER_SERVER}/32`)];
    expect(call(natWorld(nat64Policy({ nat64: [{ ...open, excluded }] })), OTHER_SERVER)).toBe("bad_source");
    expect(call(natWorld(nat64Policy({ nat64: [open] })), OTHER_SERVER)).toMatch(PASSES);
  });

  test("a source of a prefix is nobody's (RFC 6146 section 3.5)", () => {
    const policy = nat64Policy();
    // The prefix is routed to the inside by mistake: else the reverse path refuses it already.
    const routes = [
      ...policy.routes,
      { to: prefix("64:ff9b::/96"), zone: INSIDE, via: ip6("2001:db8:10::9") },
    ];
    const world = natWorld({ ...policy, routes });
    const packet = udp({ from: embedded("192.0.2.7"), to: SERVER64, sport: 1, dport: 2 });
    expect(verdictName(world.packet(PORT_INSIDE, packet))).toBe("bad_source");
  });

  test("a new policy rechecks its flows by the rules that they had (isTranslated means forwarded ports)", () => {
    const forwarded = rule(0, { fromZone: INSIDE, toZone: OUTSIDE, isTranslated: true, action: 0 });
    const rules = [forwarded, ...nat64Policy().rules];
    const world = natWorld(nat64Policy({ rules }));
    openUdp(world);
    world.engine.usePolicy(nat64Policy({ rules }), new Float64Array(3));
    expect(openUdp(world).to).toBe(SERVER);
    expect(world.count("policyEnded")).toBe(0);
  });

  test("entries with the same prefix serve a zone each", () => {
    const one = nat64Policy().nat64![0]!;
    const prefixes = new Nat64Prefixes([one, { ...one, fromZone: 7 }]);
    expect([0, 7, 3].map((zone) => prefixes.of(zone, words(SERVER64), 0))).toEqual([0, 1, -1]);
  });
});

test.each([
  [32, "2001:db8:c000:221::"],
  [40, "2001:db8:1c0:2:21::"],
  [48, "2001:db8:122:c000:2:2100::"],
  [56, "2001:db8:122:3c0:0:221::"],
  [64, "2001:db8:122:344:c0:2:2100::"],
  [96, "2001:db8:122:344::c000:221"],
])("the table of RFC 6052 section 2.4: a prefix of %i bits", (bits, text) => {
  const network = { 32: "2001:db8::", 40: "2001:db8:100::", 48: "2001:db8:122::", 56: "2001:db8:122:300::" }[
    bits
  ];
  const prefixes = new Nat64Prefixes([
    {
      fromZone: 0,
      toZone: 1,
      pool: [],
      prefix: { address: ip6(network ?? "2001:db8:122:344::"), bits },
    },
  ]);
  const to = new Int32Array(4);
  prefixes.embed(0, ip("192.0.2.33") | 0, to, 0);
  expect(to).toEqual(words(text));
  prefixes.extract(0, words(text), 0, to, 0);
  expect(to).toEqual(words("192.0.2.33"));
});

describe("headers", () => {
  const raw = (world: World): Uint8Array => packetOf(world.takeOne().frame);
  const withClass = (packet: Uint8Array, service: number): Uint8Array => {
    packet[0] = 0x60 | (service >> 4);
    packet[1] = (service << 4) & 0xff;
    return packet;
  };

  test("the traffic class becomes the type of service and back; the hop is counted once (section 5.1)", () => {
    const world = world64();
    world.packet(PORT_INSIDE, withClass(udp({ ...toServer, sport: 5000, dport: 53, ttl: 9 }), 0xb8));
    const out = raw(world);
    expect([out[0], out[1], out[8]]).toEqual([0x45, 0xb8, 8]);
    const reply = udp({ from: SERVER, to: POOL, sport: 53, dport: seeIp(out).sport, ttl: 9 });
    reply[1] = 0x2e;
    reply.set([0, 0], 10);
    const sum = internetChecksum(reply.subarray(0, 20));
    reply.set([sum >> 8, sum & 255], 10);
    world.packet(PORT_OUTSIDE, reply);
    const back = raw(world);
    expect([back[0], back[1], back[7]]).toEqual([0x62, 0xe0, 8]);
    expect((back[1]! & 15) | back[2]! | back[3]!).toBe(0);
  });

  test("DF is set on what is larger than 1260 bytes, and smaller packets have an id (section 5.1)", () => {
    const world = world64();
    world.packet(PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1233) }));
    const large = raw(world);
    expect([large.length, large[6]]).toEqual([1261, 0x40]);
    const ids = [1, 2].map(() => {
      world.packet(PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1232) }));
      const small = raw(world);
      expect([small.length, small[6], small[7]]).toEqual([1260, 0, 0]);
      return (small[4]! << 8) | small[5]!;
    });
    expect(ids[1]).toBe((ids[0]! + 1) & 0xffff);
  });

  test("extension headers are left behind; the id of an atomic fragment stays (section 5.1.1)", () => {
    const segment = udp({ ...toServer, sport: 5000, dport: 53 }).slice(40);
    const options = Uint8Array.from([44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0xab, 0xcd, 0x12, 0x34]);
    const world = world64();
    world.packet(PORT_INSIDE, ipv6(17, toServer, segment, options, 60));
    const out = raw(world).subarray(0, 20 + segment.length);
    expect(seeIp(out)).toMatchObject({ from: POOL, to: SERVER, dport: 53, headerOk: true, bodyOk: true });
    expect([out[4], out[5], out[6]]).toEqual([0x12, 0x34, 0]);
  });

  test("UDP without a checksum gets one (section 4.5), options are left behind (4.1)", () => {
    const world = world64();
    const { sport } = openUdp(world);
    const options = Uint8Array.from([1, 1, 1, 0]);
    const bare = udp({ from: SERVER, to: POOL, sport: 53, dport: sport, noChecksum: true, options });
    const back = pass(world, PORT_OUTSIDE, bare);
    expect(back).toMatchObject({ from: SERVER64, to: CLIENT6, dport: 5000, bodyOk: true, total: 53 });
    expect((back.body[6]! << 8) | back.body[7]!).not.toBe(0);
  });

  test("a damaged segment stays damaged: checksums are adjusted, never made right", () => {
    const world = world64();
    const damaged = udp({ ...toServer, sport: 5000, dport: 53 });
    damaged[50] = damaged[50]! ^ 0xff;
    expect(pass(world, PORT_INSIDE, damaged).bodyOk).toBe(false);
  });

  test("padding behind the packet does not come along", () => {
    const world = world64();
    const { sport } = openUdp(world, { payload: new Uint8Array(0) });
    const frame = new Uint8Array(60).fill(0xee);
    const reply = udp({ from: SERVER, to: POOL, sport: 53, dport: sport, payload: Uint8Array.of(5) });
    world.packet(PORT_OUTSIDE, Uint8Array.from([...reply, ...frame.subarray(0, 17)]), SERVER);
    const sent = world.takeOne().frame;
    expect(sent.length).toBe(14 + 40 + 9);
  });
});

describe("packets too large for the way out (RFC 7915 sections 4, 5 and 6)", () => {
  test("an IPv6 sender is told the IPv4 link's MTU and 20 bytes more", () => {
    const world = natWorld(nat64Policy(), { ports: mtus(1500, 1400) });
    openUdp(world);
    const large = udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1400) });
    expect(verdictName(world.packet(PORT_INSIDE, large))).toBe("too_big");
    const told = see(world.takeOne().frame).ip!;
    expect(told).toMatchObject({ to: CLIENT6, icmpType: 2, icmpWord: 1420, bodyOk: true });
    const fitting = udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1420 - 48) });
    expect(pass(world, PORT_INSIDE, fitting).total).toBe(1400);
  });

  test("below 1280 bytes nobody is told less: the packet is cut on its way out", () => {
    const world = natWorld(nat64Policy(), { ports: mtus(1500, 1000) });
    const large = udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1300) });
    world.packet(PORT_INSIDE, large);
    expect(see(world.takeOne().frame).ip).toMatchObject({ icmpType: 2, icmpWord: 1280 });
    world.packet(
      PORT_INSIDE,
      udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1232).fill(7) }),
    );
    const pieces = world.take().map(({ frame }) => packetOf(frame));
    expect(pieces.map((piece) => seeIp(piece).total)).toEqual([996, 284]);
    expect(pieces.map((piece) => (piece[6]! << 8) | piece[7]!)).toEqual([0x2000, 122]);
    expect(world.lost()).toBe(0);
  });

  test("an IPv4 sender with DF is told the IPv6 link's MTU less 20 bytes", () => {
    const world = world64();
    const { sport } = openUdp(world);
    const large = udp({ from: SERVER, to: POOL, sport: 53, dport: sport, payload: new Uint8Array(1472) });
    expect(verdictName(world.packet(PORT_OUTSIDE, large))).toBe("too_big");
    const told = see(world.takeOne().frame).ip!;
    expect(told).toMatchObject({ to: SERVER, icmpType: 3, icmpCode: 4, icmpWord: 1480, bodyOk: true });
  });

  test("an IPv4 packet without DF that would be larger than 1280 bytes arrives in IPv6 fragments of that size", () => {
    const world = world64();
    const { sport } = openUdp(world);
    const payload = Uint8Array.from({ length: 1472 }, (_, i) => i & 255);
    const large = udp({
      from: SERVER,
      to: POOL,
      sport: 53,
      dport: sport,
      payload,
      df: false,
      noChecksum: true,
    });
    world.packet(PORT_OUTSIDE, large);
    const pieces = world.take().map(({ frame }) => packetOf(frame));
    expect(pieces.map((piece) => [piece.length, piece[6], piece[40]])).toEqual([
      [1280, 44, 17],
      [296, 44, 17],
    ]);
    expect(pieces.map((piece) => (piece[42]! << 8) | piece[43]!)).toEqual([1, 1232]);
    expect(pieces.map((piece) => [...piece.subarray(44, 48)])).toEqual([
      [0, 0, 0x12, 0x34],
      [0, 0, 0x12, 0x34],
    ]);
    const whole = Uint8Array.from(pieces.flatMap((piece) => [...piece.subarray(48)]));
    const seen = seeIp(ipv6(17, { from: SERVER64, to: CLIENT6 }, whole));
    expect(seen).toMatchObject({ dport: 5000, bodyOk: true });
    expect([...seen.body.subarray(8)]).toEqual([...payload]);
    // A router that lets the first one die is heard by the server (section 5.2).
    world.packet(PORT_INSIDE, icmpError({ from: "2001:db8:10::9", to: SERVER64 }, 3, 0, pieces[0]!));
    const told = see(world.takeOne().frame).ip!;
    expect(told).toMatchObject({ to: SERVER, icmpType: 11, bodyOk: true });
    expect(seeIp(told.body.subarray(8))).toMatchObject({ from: SERVER, to: POOL, sport: 53, dport: sport });
    expect([told.body[14], told.body[15]]).toEqual([0x20, 0]);
    expect(world.lost()).toBe(0);
  });
});

function mtus(inside: number, outside: number) {
  return [
    { mac: Uint8Array.of(2, 0, 0, 0, 1, 0), mtuBytes: inside, zone: INSIDE },
    { mac: Uint8Array.of(2, 0, 0, 0, 1, 1), mtuBytes: outside, zone: OUTSIDE },
    { mac: Uint8Array.of(2, 0, 0, 0, 1, 2), mtuBytes: 1600, zone: -1 },
  ];
}

describe("fragments", () => {
  const u16 = (value: number): number[] => [value >> 8, value & 255];

  test("of IPv6 become fragments of IPv4 with the last 16 bits of their id, and the checksum is right (section 5.1.1)", () => {
    const world = world64();
    const datagram = udp({
      ...toServer,
      sport: 5000,
      dport: 53,
      payload: new Uint8Array(2000).fill(9),
    }).slice(40);
    const part = (from: number, to: number): Uint8Array => {
      const head = [17, 0, ...u16(from | (to < datagram.length ? 1 : 0)), 0xaa, 0xbb, 0x56, 0x78];
      return ipv6(17, toServer, datagram.slice(from, to), Uint8Array.from(head), 44);
    };
    expect(verdictName(world.packet(PORT_INSIDE, part(1000, 2008)))).toBe("held");
    world.packet(PORT_INSIDE, part(0, 1000));
    const pieces = world.take().map(({ frame }) => packetOf(frame).subarray(0, seeIp(packetOf(frame)).total));
    expect(pieces.map((piece) => [...piece.subarray(4, 8)])).toEqual([
      [0x56, 0x78, 0x20, 0],
      [0x56, 0x78, 0, 125],
    ]);
    const whole = Uint8Array.from(pieces.flatMap((piece) => [...piece.subarray(20)]));
    expect(seeIp(ipv4(17, { from: POOL, to: SERVER }, whole))).toMatchObject({ dport: 53, bodyOk: true });
    expect(pieces.map((piece) => seeIp(piece).headerOk)).toEqual([true, true]);
    expect(world.lost()).toBe(0);
  });

  test("of IPv4 become fragments of IPv6, also of a long echo reply (sections 4.1 and 4.2)", () => {
    const world = world64();
    const out = pass(world, PORT_INSIDE, echo({ ...toServer, id: 5 }));
    const message = Uint8Array.from([0, 0, 0, 0, ...u16(out.sport), 0, 1, ...new Uint8Array(1992).fill(3)]);
    const reply = icmp({ from: SERVER, to: POOL }, message).slice(20);
    const part = (from: number, to: number): Uint8Array =>
      ipv4(
        1,
        { from: SERVER, to: POOL, df: false, fragment: (from >> 3) | (to < reply.length ? 0x2000 : 0) },
        reply.slice(from, to),
      );
    world.packet(PORT_OUTSIDE, part(0, 1208));
    world.packet(PORT_OUTSIDE, part(1208, 2000));
    const pieces = world.take().map(({ frame }) => packetOf(frame));
    expect(pieces.map((piece) => [piece[6], (piece[42]! << 8) | piece[43]!])).toEqual([
      [44, 1],
      [44, 1208],
    ]);
    const whole = Uint8Array.from(pieces.flatMap((piece) => [...piece.subarray(48)]));
    const seen = seeIp(ipv6(58, { from: SERVER64, to: CLIENT6 }, whole));
    expect(seen).toMatchObject({ icmpType: 129, sport: 5, bodyOk: true });
    expect(world.lost()).toBe(0);
  });

  test("of IPv4 without a UDP checksum are dropped: nobody could compute it (section 4.5)", () => {
    const world = world64();
    const { sport } = openUdp(world);
    const whole = udp({
      ...{ from: SERVER, to: POOL, sport: 53, dport: sport, noChecksum: true },
      payload: new Uint8Array(1992),
    }).slice(20);
    const ends = { from: SERVER, to: POOL, df: false };
    world.packet(PORT_OUTSIDE, ipv4(17, { ...ends, fragment: 0x2000 }, whole.slice(0, 1000)));
    world.packet(PORT_OUTSIDE, ipv4(17, { ...ends, fragment: 125 }, whole.slice(1000)));
    expect(world.take()).toEqual([]);
    expect(world.lost()).toBe(0);
  });
});

describe("ICMP errors from IPv4 (RFC 7915 sections 4.2 and 4.3)", () => {
  /** An error about the UDP packet that left, from `by`; what reached the client, or the verdict. */
  function told(
    type: number,
    code: number,
    word = 0,
    by = SERVER,
    cut = 1500,
  ): { text: string; world: World } {
    const world = world64();
    world.packet(PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(600) }));
    const left = packetOf(world.takeOne().frame);
    const error = icmpError({ from: by, to: POOL }, type, code, left.subarray(0, cut), word);
    const verdict = verdictName(world.packet(PORT_OUTSIDE, error));
    const sent = world.take();
    if (sent.length === 0) return { text: verdict, world };
    const seen = see(sent[0]!.frame).ip!;
    expect(seen.bodyOk).toBe(true);
    const inner = seeIp(seen.body.subarray(8));
    expect([inner.from, inner.to, inner.sport, inner.dport]).toEqual([CLIENT6, SERVER64, 5000, 53]);
    expect(inner.ttl).toBe(63);
    return { text: `${seen.icmpType}/${seen.icmpCode}/${seen.icmpWord} ${seen.from} ${seen.to}`, world };
  }

  test.each([
    [3, 0, 0, "1/0/0"],
    [3, 1, 0, "1/0/0"],
    [3, 2, 0, "4/1/6"],
    [3, 3, 0, "1/4/0"],
    [3, 5, 0, "1/0/0"],
    [3, 6, 0, "1/0/0"],
    [3, 7, 0, "1/0/0"],
    [3, 8, 0, "1/0/0"],
    [3, 9, 0, "1/1/0"],
    [3, 10, 0, "1/1/0"],
    [3, 11, 0, "1/0/0"],
    [3, 12, 0, "1/0/0"],
    [3, 13, 0, "1/1/0"],
    [3, 15, 0, "1/1/0"],
    [11, 0, 0, "3/0/0"],
    [11, 1, 0, "3/1/0"],
    [12, 0, 0, "4/0/0"],
    [12, 0, 2 << 24, "4/0/4"],
    [12, 2, 8 << 24, "4/0/7"],
    [12, 0, 9 << 24, "4/0/6"],
    [12, 0, 13 << 24, "4/0/8"],
    [12, 0, 16 << 24, "4/0/24"],
  ])("type %i code %i word %i becomes %s", (type, code, word, expected) => {
    expect(told(type, code, word).text).toBe(`${expected} ${SERVER64} ${CLIENT6}`);
  });

  test.each([
    [3, 14, 0],
    [3, 16, 0],
    [12, 1, 0],
    [12, 0, 5 << 24],
    [12, 0, 10 << 24],
    [12, 0, 99 << 24],
  ])("type %i code %i word %i has no counterpart and is dropped", (type, code, word) => {
    expect(told(type, code, word).text).toBe("untranslatable");
  });

  test.each([
    [1400, 1420],
    [1499, 1500],
    [9000, 1500],
    [1000, 1280],
    [0, 1280],
  ])(
    "fragmentation needed with MTU %i is packet too big with %i: both links count, and 1280 is the least",
    (mtu, expected) => {
      expect(told(3, 4, mtu).text).toBe(`2/0/${expected} ${SERVER64} ${CLIENT6}`);
    },
  );

  test("a router that tells no MTU is believed to have the next plateau below the packet (RFC 1191 section 7.1)", () => {
    const world = natWorld(nat64Policy());
    world.packet(PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1452) }));
    const left = packetOf(world.takeOne().frame);
    world.packet(PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 4, left, 0));
    // 1480 bytes were too many; the plateau is 1006, and 1280 the least that is told.
    expect(see(world.takeOne().frame).ip!.icmpWord).toBe(1280);
  });

  test("a router on the way is seen by its address in the prefix, so traceroute works", () => {
    expect(told(11, 0, 0, ROUTER).text).toBe(`3/0/0 ${embedded(ROUTER)} ${CLIENT6}`);
  });

  test("the datagram may be cut off behind its first 8 bytes", () => {
    const { text, world } = told(3, 3, 0, SERVER, 28);
    expect(text).toBe(`1/4/0 ${SERVER64} ${CLIENT6}`);
    expect(world.lost()).toBe(0);
  });

  test("extensions of the error are left out (RFC 4884)", () => {
    const world = world64();
    const left = pass(world, PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53 }));
    const about = ipv4(17, { from: POOL, to: SERVER }, left.body);
    const padded = new Uint8Array(128 + 8).fill(0xee);
    padded.fill(0, 0, 128);
    padded.set(about);
    const error = icmpError({ from: SERVER, to: POOL }, 11, 0, padded, 32 << 16);
    const seen = pass(world, PORT_OUTSIDE, error);
    expect(seen.total).toBe(40 + 8 + 40 + left.body.length);
    expect(seen.bodyOk).toBe(true);
  });

  test("an error about the first fragment of a datagram has a fragment header in it (section 4.1)", () => {
    const world = world64();
    const out = openUdp(world);
    const about = ipv4(17, { from: POOL, to: SERVER, df: false, fragment: 0x2000 }, out.body);
    const seen = pass(world, PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 11, 1, about));
    const inner = seen.body.subarray(8);
    expect([inner[6], inner[40], inner[43]]).toEqual([44, 17, 1]);
    expect([...inner.subarray(44, 48)]).toEqual([0, 0, 0x12, 0x34]);
    expect((inner[48]! << 8) | inner[49]!).toBe(5000);
    expect(seen.bodyOk).toBe(true);
  });

  test("an error larger than 1280 bytes is cut to that (RFC 4443 section 2.4 c)", () => {
    const world = world64();
    world.packet(PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53, payload: new Uint8Array(1400) }));
    const left = packetOf(world.takeOne().frame);
    const message = Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0, ...left]);
    const seen = pass(world, PORT_OUTSIDE, icmp({ from: SERVER, to: POOL }, message));
    expect(seen).toMatchObject({ total: 1280, icmpType: 1, bodyOk: true });
  });

  test("an error about an echo request is told to who asked, with his id", () => {
    const world = world64();
    world.packet(PORT_INSIDE, echo({ ...toServer, id: 77 }));
    const left = packetOf(world.takeOne().frame);
    const about = left.subarray(0, seeIp(left).total);
    const seen = pass(world, PORT_OUTSIDE, icmpError({ from: ROUTER, to: POOL }, 3, 1, about));
    const inner = seeIp(seen.body.subarray(8));
    expect(inner).toMatchObject({ from: CLIENT6, to: SERVER64, icmpType: 128, sport: 77, bodyOk: true });
  });

  test("with a bad checksum, or about nothing that we sent, it is dropped (RFC 5508 REQ-3, REQ-4)", () => {
    const world = world64();
    openUdp(world);
    const unknown = udp({ from: POOL, to: SERVER, sport: 1, dport: 2 });
    expect(
      verdictName(world.packet(PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 3, unknown))),
    ).toBe("icmp_unrelated");
    const known = pass(world, PORT_INSIDE, udp({ ...toServer, sport: 5000, dport: 53 }));
    const error = icmpError(
      { from: SERVER, to: POOL },
      3,
      3,
      ipv4(17, { from: POOL, to: SERVER }, known.body),
    );
    error[30] = error[30]! ^ 1;
    expect(verdictName(world.packet(PORT_OUTSIDE, error))).toBe("bad_checksum");
  });
});

describe("ICMPv6 errors from inside (RFC 7915 sections 5.2 and 5.3)", () => {
  /** An error of the client about the answer that it got; what reached the server, or the verdict. */
  function told(type: number, code: number, word = 0, by = CLIENT6, cut = 1500): string {
    const world = world64();
    const { sport } = openUdp(world);
    const reply = udp({ from: SERVER, to: POOL, sport: 53, dport: sport, payload: new Uint8Array(300) });
    world.packet(PORT_OUTSIDE, reply);
    const got = packetOf(world.takeOne().frame).subarray(0, cut);
    const verdict = verdictName(
      world.packet(PORT_INSIDE, icmpError({ from: by, to: SERVER64 }, type, code, got, word)),
    );
    const sent = world.take();
    if (sent.length === 0) return verdict;
    const seen = see(sent[0]!.frame).ip!;
    expect([seen.headerOk, seen.bodyOk]).toEqual([true, true]);
    const inner = seeIp(seen.body.subarray(8));
    expect([inner.from, inner.to, inner.sport, inner.dport]).toEqual([SERVER, POOL, 53, sport]);
    expect([inner.total, inner.headerOk]).toEqual([328, true]);
    return `${seen.icmpType}/${seen.icmpCode}/${seen.icmpWord} ${seen.from} ${seen.to}`;
  }

  test.each([
    [1, 0, 0, "3/1/0"],
    [1, 1, 0, "3/10/0"],
    [1, 2, 0, "3/1/0"],
    [1, 3, 0, "3/1/0"],
    [1, 4, 0, "3/3/0"],
    [2, 0, 1400, "3/4/1380"],
    [2, 0, 1500, "3/4/1480"],
    [2, 0, 70_000, "3/4/1480"],
    [2, 0, 600, "3/4/1260"],
    [3, 0, 0, "11/0/0"],
    [3, 1, 0, "11/1/0"],
    [4, 0, 4, `12/0/${2 << 24}`],
    [4, 0, 6, `12/0/${9 << 24}`],
    [4, 0, 7, `12/0/${8 << 24}`],
    [4, 0, 12, `12/0/${12 << 24}`],
    [4, 0, 30, `12/0/${16 << 24}`],
    [4, 1, 6, "3/2/0"],
  ])("type %i code %i word %i becomes %s", (type, code, word, expected) => {
    expect(told(type, code, word)).toBe(`${expected} ${POOL} ${SERVER}`);
  });

  test.each([
    [1, 5, 0],
    [4, 0, 2],
    [4, 0, 40],
    [4, 2, 0],
  ])("type %i code %i word %i has no counterpart and is dropped", (type, code, word) => {
    expect(told(type, code, word)).toBe("untranslatable");
  });

  test("a router inside is hidden behind the pool address (RFC 6146 section 3.6.1)", () => {
    expect(told(3, 0, 0, "2001:db8:10::77")).toBe(`11/0/0 ${POOL} ${SERVER}`);
  });

  test("the datagram may be cut off behind its first 8 bytes", () => {
    expect(told(1, 4, 0, CLIENT6, 48)).toBe(`3/3/0 ${POOL} ${SERVER}`);
  });
});

test("the pool address answers pings itself, and time exceeded comes from the gateway in the sender's family", () => {
  const world = world64();
  const ping = echo({ from: SERVER, to: POOL, id: 4 });
  expect(pass(world, PORT_OUTSIDE, ping)).toMatchObject({
    from: POOL,
    to: SERVER,
    icmpType: 0,
    bodyOk: true,
  });
  const last = udp({ ...toServer, sport: 5, dport: 53, ttl: 1 });
  expect(verdictName(world.packet(PORT_INSIDE, last))).toBe("ttl");
  expect(see(world.takeOne().frame).ip).toMatchObject({ from: "2001:db8:10::1", to: CLIENT6, icmpType: 3 });
});
