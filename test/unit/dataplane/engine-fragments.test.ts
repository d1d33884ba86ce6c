import { describe, expect, test } from "vitest";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { icmp, internetChecksum, ip6, ipv6, see, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import {
  DUAL_POLICY,
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  TEST_KEY,
  verdictName,
  World,
} from "./world.ts";

const SERVER = "198.51.100.100";

/** Cuts an IPv4 packet into pieces of `size` bytes of payload. */
function cut4(packet: Uint8Array, size: number): Uint8Array[] {
  const payload = packet.subarray(20);
  return Array.from({ length: Math.ceil(payload.length / size) }, (_, i) => {
    const part = payload.subarray(i * size, (i + 1) * size);
    const isLast = (i + 1) * size >= payload.length;
    const header = packet.slice(0, 20);
    const total = 20 + part.length;
    const field = (isLast ? 0 : 0x2000) | ((i * size) >> 3);
    header.set([total >> 8, total & 255], 2);
    header.set([field >> 8, field & 255], 6);
    header.set([0, 0], 10);
    const sum = internetChecksum(header);
    header.set([sum >> 8, sum & 255], 10);
    return Uint8Array.from([...header, ...part]);
  });
}

/** The same for IPv6. */
function cut6(packet: Uint8Array, size: number, id = 77): Uint8Array[] {
  const payload = packet.subarray(40);
  return Array.from({ length: Math.ceil(payload.length / size) }, (_, i) => {
    const part = payload.subarray(i * size, (i + 1) * size);
    const field = (i * size) | ((i + 1) * size >= payload.length ? 0 : 1);
    const header = packet.slice(0, 40);
    const length = 8 + part.length;
    header.set([length >> 8, length & 255], 4);
    header[6] = 44;
    return Uint8Array.from([...header, packet[6]!, 0, field >> 8, field & 255, 0, 0, 0, id, ...part]);
  });
}

/** An IPv4 packet with another TTL, and its checksum right again. */
function withTtl(packet: Uint8Array, ttl: number): Uint8Array {
  const copy = packet.slice();
  copy[8] = ttl;
  copy.set([0, 0], 10);
  const sum = internetChecksum(copy.subarray(0, 20));
  copy.set([sum >> 8, sum & 255], 10);
  return copy;
}

/** Puts the payloads of IPv4 fragments together again, as the receiver does. */
function joined(frames: readonly Uint8Array[]): Uint8Array {
  const parts = frames
    .map((frame) => {
      const packet = frame.subarray(14);
      const total = (packet[2]! << 8) | packet[3]!;
      return {
        offset: (((packet[6]! << 8) | packet[7]!) & 0x1fff) << 3,
        part: packet.subarray(20, total),
        packet,
      };
    })
    .sort((a, b) => a.offset - b.offset);
  const body = Uint8Array.from(parts.flatMap(({ part }) => [...part]));
  const header = parts[0]!.packet.slice(0, 20);
  const total = 20 + body.length;
  header.set([total >> 8, total & 255], 2);
  header.set([0, 0], 6);
  header.set([0, 0], 10);
  const sum = internetChecksum(header);
  header.set([sum >> 8, sum & 255], 10);
  return Uint8Array.from([...new Uint8Array(12), 8, 0, ...header, ...body]);
}

const large = { from: "10.10.0.2", to: SERVER, sport: 4000, dport: 53, df: false };

describe("fragments", () => {
  test("wait for each other in any order, pass SNAT, and the far end sees one right datagram", () => {
    const world = new World();
    const pieces = cut4(udp({ ...large, payload: new Uint8Array(3000).fill(7) }), 1400);
    for (const piece of [pieces[2]!, pieces[0]!]) {
      expect(verdictName(world.packet(PORT_INSIDE, piece))).toBe("held");
      expect(world.take()).toEqual([]);
    }
    world.packet(PORT_INSIDE, pieces[1]!);
    const sent = world.take().map(({ frame }) => frame);
    expect(sent.length).toBe(3);
    const whole = see(joined(sent)).ip!;
    expect(whole).toMatchObject({
      from: expect.stringMatching(/^198.51.100.1[01]$/),
      dport: 53,
      bodyOk: true,
    });
    expect(world.lost()).toBe(0);
    expect(world.table.used).toBe(1);
    // The answer comes in fragments too.
    const back = { from: SERVER, to: whole.from, sport: 53, dport: whole.sport, df: false };
    for (const piece of cut4(udp({ ...back, payload: new Uint8Array(2000) }), 1400))
      world.packet(PORT_OUTSIDE, piece);
    const answer = see(joined(world.take().map(({ frame }) => frame))).ip!;
    expect(answer).toMatchObject({ to: "10.10.0.2", dport: 4000, bodyOk: true });
    expect(world.lost()).toBe(0);
  });

  test("of IPv6 pass as they are, a denied first one denies the others", () => {
    const world = new World({ policy: DUAL_POLICY });
    const packet = udp({
      from: "2001:db8:10::2",
      to: "2001:db8:f::64",
      sport: 1,
      dport: 2,
      payload: new Uint8Array(2500),
    });
    for (const piece of cut6(packet, 1200)) world.packet(PORT_INSIDE, piece);
    expect(world.take().length).toBe(3);
    const inward = udp({
      from: "2001:db8:f::64",
      to: "2001:db8:10::9",
      sport: 1,
      dport: 2,
      payload: new Uint8Array(2500),
    });
    const verdicts = cut6(inward, 1200).map((piece) => verdictName(world.packet(PORT_OUTSIDE, piece)));
    expect(verdicts).toEqual(["held", "held", "denied"]);
    expect(world.take()).toEqual([]);
    expect(world.lost()).toBe(0);
  });

  test("meet on one node of a cluster, whichever of them each arrives at, and the flow's owner translates them", () => {
    const pair = new Pair();
    for (let host = 2; host < 12; host++) {
      const from = `10.10.0.${host}`;
      const slot = slotOfAddress(TEST_KEY, SLOTS, words(from), 0);
      const owner = pair.worlds[slot % 2]!;
      const pieces = cut4(udp({ ...large, from, payload: new Uint8Array(3000) }), 1400);
      pieces.forEach((piece, i) => {
        pair.worlds[i % 2]!.packet(PORT_INSIDE, piece);
        pair.settle();
      });
      const sent = pair.worlds.map((world) => world.take().map(({ frame }) => frame));
      expect(sent[1 - (slot % 2)]).toEqual([]);
      const whole = see(joined(sent[slot % 2]!)).ip!;
      expect(whole).toMatchObject({ bodyOk: true, dport: 53 });
      expect(owner.lost()).toBe(0);
      // The answer goes to a pool address: its first fragment alone tells the slot.
      const back = { from: SERVER, to: whole.from, sport: 53, dport: whole.sport, df: false };
      cut4(udp({ ...back, payload: new Uint8Array(2900) }), 1400).forEach((piece, i) => {
        pair.worlds[(i + 1) % 2]!.packet(PORT_OUTSIDE, piece);
        pair.settle();
      });
      const frames = pair.worlds.flatMap((world) => world.take().map(({ frame }) => frame));
      expect(see(joined(frames)).ip).toMatchObject({ to: from, bodyOk: true });
    }
    for (const world of pair.worlds) expect(world.lost()).toBe(0);
  });

  test("of IPv6 meet on one node whatever their next headers say, also through SNAT (RFC 8200 section 4.5)", () => {
    const pool = ip6("2001:db8:f::a");
    const pair = new Pair({
      ...DUAL_POLICY,
      snat: [{ fromZone: INSIDE, toZone: OUTSIDE, sources: [], pool: [pool] }],
      answered: [{ zone: OUTSIDE, address: pool }],
    });
    const options = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
    for (let host = 2; host < 18; host++) {
      const ends = { from: `2001:db8:10::${host}`, to: "2001:db8:f::64" };
      const segment = udp({ ...ends, sport: 1, dport: 2, payload: new Uint8Array(2500) }).subarray(40);
      const pieces = cut6(ipv6(17, ends, segment, options, 60), 1200, host);
      // The first one's is what counts: the last one's is nonsense, now and then.
      if (host % 4 === 0) pieces[2]![40] = 59;
      pieces.forEach((piece, i) => {
        pair.worlds[i % 2]!.packet(PORT_INSIDE, piece);
        pair.settle();
      });
      const sent = pair.worlds.map((world) => world.take().map(({ frame }) => see(frame).ip!));
      expect(sent.flat().map(({ from }) => from)).toEqual(new Array(3).fill("2001:db8:f::a"));
      expect(sent.map(({ length }) => length)).toContain(3);
    }
    for (const world of pair.worlds) expect([world.lost(), world.count("fragmentFramesNow")]).toEqual([0, 0]);
  });

  test("that never become whole are given up, and the sender of a known flow is told (RFC 792)", () => {
    const world = new World();
    const pieces = cut4(udp({ ...large, payload: new Uint8Array(3000) }), 1400);
    for (const piece of pieces) world.packet(PORT_INSIDE, piece);
    world.take();
    world.packet(PORT_INSIDE, pieces[0]!);
    world.packet(PORT_INSIDE, cut4(udp({ ...large, sport: 4001, payload: new Uint8Array(3000) }), 1400)[2]!);
    world.tick(61_000);
    const told = world.take().map(({ frame }) => see(frame).ip);
    expect(told.filter((seen) => seen?.icmpType === 11)).toMatchObject([]);
    expect(world.lost()).toBe(0);
  });

  test("of which a later one cannot go on are dropped quietly, but the sender of a first one is told (RFC 1122 section 3.2.2)", () => {
    const world = new World();
    const pieces = cut4(udp({ ...large, payload: new Uint8Array(3000) }), 1400);
    const sent = (ttls: readonly number[]): (number | undefined)[] => {
      pieces.forEach((piece, i) => void world.packet(PORT_INSIDE, withTtl(piece, ttls[i]!)));
      return world.take().map(({ frame }) => see(frame).ip?.icmpType);
    };
    expect(sent([64, 1, 1])).toEqual([-1]);
    expect(sent([1, 1, 1])).toEqual([11]);
    expect(world.count("icmpErrorsSent")).toBe(1);
    expect(world.lost()).toBe(0);
  });

  test("of IPv6 are told of, also later ones: path MTU discovery needs it (RFC 4443 section 2.4 e)", () => {
    const world = new World({ policy: DUAL_POLICY });
    const ends = { from: "2001:db8:10::2", to: "2001:db8:f::64", sport: 1, dport: 2 };
    const pieces = cut6(udp({ ...ends, payload: new Uint8Array(2500) }), 1200);
    pieces[1]![7] = 1;
    for (const piece of pieces) world.packet(PORT_INSIDE, piece);
    const told = world.take().map(({ frame }) => see(frame).ip!);
    expect(told.filter(({ icmpType }) => icmpType === 3)).toMatchObject([{ to: ends.from, bodyOk: true }]);
    expect(told.length).toBe(3);
    expect(world.lost()).toBe(0);
  });

  test("a packet without DF that is too large for the way out is cut (RFC 791 section 3.2)", () => {
    const world = new World({
      ports: [
        { mac: Uint8Array.of(2, 0, 0, 0, 1, 0), mtuBytes: 1500, zone: 0 },
        { mac: Uint8Array.of(2, 0, 0, 0, 1, 1), mtuBytes: 900, zone: 1 },
      ],
    });
    world.packet(PORT_INSIDE, udp({ ...large, payload: new Uint8Array(1400) }));
    const sent = world.take().map(({ frame }) => frame);
    expect(sent.map((frame) => frame.length <= 914)).toEqual([true, true]);
    expect(see(joined(sent)).ip).toMatchObject({ bodyOk: true, dport: 53 });
    expect(world.lost()).toBe(0);
  });

  test("a large echo passes in fragments", () => {
    const world = new World();
    const message = Uint8Array.from([8, 0, 0, 0, 0, 9, 0, 1, ...new Uint8Array(3000)]);
    for (const piece of cut4(icmp({ from: "10.10.0.2", to: SERVER, df: false }, message), 1480)) {
      world.packet(PORT_INSIDE, piece);
    }
    expect(see(joined(world.take().map(({ frame }) => frame))).ip).toMatchObject({
      icmpType: 8,
      bodyOk: true,
    });
  });
});
