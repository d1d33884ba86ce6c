import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { counterIndex } from "../../../src/dataplane/counters.ts";
import { fragmentLimits } from "../../../src/dataplane/fragment-limits.ts";
import { meetingSlot } from "../../../src/dataplane/fragment-meeting.ts";
import { wrongFragment } from "../../../src/dataplane/fragments.ts";
import { DIRECT, REDIRECTED_CLUSTER, REDIRECTED_TO_MEET } from "../../../src/dataplane/packet.ts";
import { verdictName } from "../../../src/dataplane/verdict.ts";
import { FragmentInfo, readFragment } from "../../../src/packet/fragment.ts";
import {
  cutPayload,
  type FragmentSpec,
  FragmentWorld,
  fragmentPacket,
  ipv6,
  joined,
  KEY,
  pattern,
} from "./fragment-frames.ts";

const PAYLOAD = pattern(100);
const [FIRST, MIDDLE, LAST] = cutPayload(PAYLOAD, 40) as [FragmentSpec, FragmentSpec, FragmentSpec];
const SIX = { from: ipv6(0x20010db8, 1, 1) };

/** A first fragment from the n-th of many sources. */
function from(n: number, id = 1): FragmentSpec {
  return { ...FIRST, from: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, id };
}

describe("a datagram", () => {
  test.each([{}, SIX])("is held until it is whole and handed out in order of offset", (family) => {
    const world = new FragmentWorld();
    expect(world.add({ ...family, ...LAST }, { port: 2, zone: 3, way: 1, wayEpoch: 7 })).toBe("held");
    expect(world.add({ ...family, ...FIRST }, { port: 4, zone: 3, way: 0, wayEpoch: 0 })).toBe("held");
    expect([world.table.used, world.table.frames]).toEqual([1, 2]);
    expect(world.counters[counterIndex("fragmentFramesNow")]).toBe(2);
    expect(world.add({ ...family, ...MIDDLE }, { port: 5, zone: 3, way: 2, wayEpoch: 9 })).toBe("complete");
    expect(world.table.datagramBytes).toBe(100);
    const pieces = world.take();
    expect(joined(pieces)).toEqual(PAYLOAD);
    expect(pieces.map(({ port, zone, way, wayEpoch }) => [port, zone, way, wayEpoch])).toEqual([
      [4, 3, 0, 0],
      [5, 3, 2, 9],
      [2, 3, 1, 7],
    ]);
    expect([world.table.used, world.table.frames, world.lost(), world.allDrops()]).toEqual([0, 0, 0, 0]);
    expect(world.counters[counterIndex("fragmentDatagramsWhole")]).toBe(1);
    expect(world.counters[counterIndex("fragmentDatagramsNow")]).toBe(0);
  });

  test("is told apart by addresses, identification, IPv4 protocol and zone", () => {
    const world = new FragmentWorld();
    expect(world.add(FIRST)).toBe("held");
    for (const other of [{ from: "10.0.0.2" }, { to: "192.0.2.2" }, { id: 2 }, { protocol: 1 }]) {
      expect(world.add({ ...MIDDLE, ...other })).toBe("held");
    }
    expect(world.add(MIDDLE, { zone: 2 })).toBe("held");
    expect(world.table.used).toBe(6);
    // RFC 8200 section 4.5: the next header may differ, only the first fragment's counts.
    expect(world.add({ ...FIRST, ...SIX, protocol: 17 })).toBe("held");
    expect(world.add({ ...MIDDLE, ...SIX, protocol: 60 })).toBe("held");
    expect(world.add({ ...LAST, ...SIX, protocol: 6 })).toBe("complete");
    expect(joined(world.take())).toEqual(PAYLOAD);
  });

  test("must be taken before the next fragment comes", () => {
    const world = new FragmentWorld();
    for (const piece of [FIRST, MIDDLE, LAST]) world.add(piece);
    expect(() => world.add(FIRST)).toThrow("before the last datagram was taken");
    expect(() => world.expire()).toThrow("before the last datagram was taken");
  });

  test("may be followed by one with the same identification", () => {
    const world = new FragmentWorld();
    for (let i = 0; i < 3; i++) {
      for (const piece of [FIRST, MIDDLE]) expect(world.add(piece)).toBe("held");
      expect(world.add(LAST)).toBe("complete");
      expect(joined(world.take())).toEqual(PAYLOAD);
    }
  });
});

describe("overlap (RFC 5722, RFC 8200 section 4.5; the same for IPv4)", () => {
  test.each([{}, SIX])("ends the datagram with all of its fragments, also later ones", (family) => {
    const world = new FragmentWorld({ timeoutMs: 1000 });
    expect(world.add({ ...family, ...FIRST })).toBe("held");
    expect(world.add({ ...family, ...LAST })).toBe("held");
    expect(world.add({ ...family, offset: 32, more: true, payload: pattern(48) })).toBe("fragment_overlap");
    expect([world.table.frames, world.lost(), world.drops("fragment_overlap")]).toEqual([0, 0, 3]);
    world.wait(999);
    for (const piece of [FIRST, MIDDLE, LAST])
      expect(world.add({ ...family, ...piece })).toBe("fragment_overlap");
    world.wait(1);
    // No ICMP error about it, so no first fragment is handed out either.
    expect(world.expire()).toEqual([]);
    for (const piece of [FIRST, MIDDLE]) expect(world.add({ ...family, ...piece })).toBe("held");
    expect(world.add({ ...family, ...LAST })).toBe("complete");
  });

  test.each([
    ["in front", { offset: 24, more: true, payload: pattern(24) }],
    ["behind", { offset: 64, more: true, payload: pattern(24) }],
    ["around it", { offset: 32, more: true, payload: pattern(56) }],
    ["inside", { offset: 48, more: true, payload: pattern(8) }],
    ["with its start", { offset: 40, more: true, payload: pattern(16) }],
    ["with its start, longer", { offset: 40, more: true, payload: pattern(48) }],
  ])("is found %s", (_, piece) => {
    const world = new FragmentWorld();
    expect(world.add(MIDDLE)).toBe("held");
    expect(world.add(piece)).toBe("fragment_overlap");
  });

  test("is no exact duplicate, which is ignored (RFC 8200 section 4.5)", () => {
    const world = new FragmentWorld();
    world.add(FIRST);
    world.add(MIDDLE);
    expect(world.add(FIRST)).toBe("fragment_duplicate");
    expect(world.add(MIDDLE)).toBe("fragment_duplicate");
    expect(world.add(LAST)).toBe("complete");
    expect(joined(world.take())).toEqual(PAYLOAD);
    // Exact are the bytes, too: what replaces a fragment by another one is an overlap.
    world.add(FIRST);
    expect(world.add({ ...FIRST, payload: pattern(40, 1) })).toBe("fragment_overlap");
  });

  test("is also what lies beyond the end, and a second end", () => {
    for (const piece of [
      { offset: 104, more: true, payload: pattern(8) },
      { offset: 104, more: false, payload: pattern(8) },
      { offset: 64, more: false, payload: pattern(8) },
      { ...LAST, more: true, payload: pattern(24) },
    ]) {
      const world = new FragmentWorld();
      world.add(LAST);
      expect(world.add(piece)).toBe("fragment_overlap");
    }
    const world = new FragmentWorld();
    world.add({ offset: 48, more: true, payload: pattern(8) });
    expect(world.add({ offset: 40, more: false, payload: pattern(8) })).toBe("fragment_overlap");
  });
});

test("a datagram that would be longer than 65,535 bytes with its first fragment's header is refused", () => {
  const options = new Uint8Array(40);
  const end = { offset: 65_504, more: false, payload: pattern(11) };
  for (const order of [
    [{ ...FIRST, options }, end],
    [end, { ...FIRST, options }],
  ]) {
    const world = new FragmentWorld();
    expect(world.add(order[0]!)).toBe("held");
    expect(world.add(order[1]!)).toBe("fragment_invalid");
    expect([world.drops("fragment_invalid"), world.lost(), world.table.frames]).toEqual([2, 0, 0]);
  }
});

test("a datagram in more fragments than are kept is refused with all of them", () => {
  const world = new FragmentWorld({ fragmentsPerDatagram: 4 });
  const pieces = cutPayload(pattern(80), 16);
  for (const piece of pieces.slice(0, 4)) expect(world.add(piece)).toBe("held");
  expect(world.add(pieces[0]!)).toBe("fragment_duplicate");
  expect(world.add(pieces[4]!)).toBe("fragment_many");
  expect([world.drops("fragment_many"), world.table.frames]).toEqual([5, 0]);
});

describe("time (RFC 8200 section 4.5)", () => {
  test("runs from the first fragment to arrive; the first fragment is handed out for an ICMP error", () => {
    const world = new FragmentWorld({ timeoutMs: 1000 });
    world.add(MIDDLE, { port: 3 });
    world.wait(600);
    world.add(FIRST, { port: 4 });
    world.wait(399);
    expect(world.expire()).toEqual([]);
    world.wait(1);
    const handed = world.expire();
    expect(handed.map(({ offset, port }) => [offset, port])).toEqual([[0, 4]]);
    // The one that was handed out is counted by whoever has it.
    expect([world.drops("fragment_timeout"), world.table.used, world.lost()]).toEqual([1, 0, 0]);
  });

  test("gives no ICMP error without the first fragment", () => {
    const world = new FragmentWorld({ timeoutMs: 1000 });
    for (let id = 0; id < 10; id++) world.add({ ...MIDDLE, id });
    world.wait(1000);
    expect(world.expire()).toEqual([]);
    expect([world.drops("fragment_timeout"), world.table.used]).toEqual([10, 0]);
  });

  test("is over when it is over, even if nobody looked yet", () => {
    const world = new FragmentWorld({ timeoutMs: 1000 });
    world.add(FIRST);
    world.add(MIDDLE);
    world.wait(1000);
    expect(world.add(LAST)).toBe("held");
    expect([world.table.used, world.table.frames, world.drops("fragment_timeout")]).toEqual([1, 1, 2]);
  });
});

describe("one source", () => {
  test("that has its share of datagrams makes room for itself, oldest first, and for nobody else", () => {
    const world = new FragmentWorld({ datagramsPerSource: 3, timeoutMs: 1000 });
    world.add({ ...from(9), id: 1 });
    for (let id = 1; id <= 4; id++) expect(world.add({ ...FIRST, id })).toBe("held");
    expect([world.drops("fragment_source_limit"), world.table.used]).toEqual([1, 4]);
    for (let id = 2; id <= 4; id++) {
      world.add({ ...MIDDLE, id });
      expect(world.add({ ...LAST, id })).toBe("complete");
      world.take();
    }
    world.wait(1000);
    expect(world.expire().length).toBe(1);
  });

  test("of IPv6 is a /64, and of IPv4 an address; each zone has its own", () => {
    const world = new FragmentWorld({ datagramsPerSource: 2 });
    for (let last = 1; last <= 5; last++) world.add({ ...FIRST, from: ipv6(0x20010db8, 1, last) });
    expect([world.table.used, world.drops("fragment_source_limit")]).toEqual([2, 3]);
    world.add({ ...FIRST, from: ipv6(0x20010db8, 2, 1) });
    for (let last = 1; last <= 5; last++) world.add(from(last));
    world.add({ ...FIRST, from: ipv6(0x20010db8, 1, 9) }, { zone: 2 });
    expect([world.table.used, world.drops("fragment_source_limit")]).toEqual([9, 3]);
  });

  test("has its share of frames, too", () => {
    const world = new FragmentWorld({ framesMax: 16, framesPerSource: 4, fragmentsPerDatagram: 4 });
    const pieces = cutPayload(pattern(200), 40);
    for (const piece of pieces.slice(0, 3)) world.add({ ...piece, id: 1 });
    for (const piece of pieces.slice(0, 4)) expect(world.add({ ...piece, id: 2 })).toBe("held");
    expect([world.drops("fragment_source_limit"), world.table.frames]).toEqual([3, 4]);
    // The datagram that is refused with its fifth fragment gives all its frames back; the other one gave room before.
    expect(world.add({ ...pieces[4]!, id: 2 })).toBe("fragment_many");
    expect(world.table.frames).toBe(0);
  });
});

describe("a flood of invented sources", () => {
  test("does not take a datagram in its time of grace: newer ones are refused", () => {
    const world = new FragmentWorld({ datagramsMax: 32, datagramsPerSource: 8, graceMs: 20 });
    world.add(FIRST);
    for (let n = 100; n < 400; n++) world.add(from(n));
    world.wait(19);
    for (let n = 400; n < 700; n++) world.add(from(n));
    expect(world.drops("fragment_full")).toBeGreaterThan(500);
    expect(world.add(MIDDLE)).toBe("held");
    expect(world.add(LAST)).toBe("complete");
    expect(joined(world.take())).toEqual(PAYLOAD);
  });

  test("lets every new datagram in as long as each can have its time of grace", () => {
    const world = new FragmentWorld({
      datagramsMax: 32,
      datagramsPerSource: 8,
      graceMs: 20,
      reservePercent: 0,
    });
    // 32 datagrams in 20 ms are what fits; all are new sources, and none becomes whole.
    for (let n = 0; n < 600; n++) {
      world.wait(20 / 32);
      expect(world.add(from(n))).toBe("held");
      if (n % 10 !== 0) continue;
      const good = { from: "172.16.0.1", id: n };
      expect(world.add({ ...FIRST, ...good })).toBe("held");
      world.wait(1);
      world.add({ ...MIDDLE, ...good });
      expect(world.add({ ...LAST, ...good })).toBe("complete");
      world.take();
    }
    expect(world.table.used).toBe(32);
  });

  test("takes from the oldest, whose others are the least likely to come", () => {
    const world = new FragmentWorld({
      datagramsMax: 8,
      datagramsPerSource: 8,
      graceMs: 5,
      reservePercent: 0,
    });
    for (let n = 0; n < 8; n++) {
      world.add(from(n));
      world.wait(5);
    }
    expect(world.add(from(8))).toBe("held");
    expect(world.drops("fragment_full")).toBe(1);
    for (let n = 1; n < 9; n++) {
      world.add({ ...from(n), ...MIDDLE });
      expect(world.add({ ...from(n), ...LAST })).toBe("complete");
      world.take();
    }
  });

  test("takes from what is remembered as refused first", () => {
    const world = new FragmentWorld({ datagramsMax: 4, datagramsPerSource: 4, reservePercent: 0 });
    world.add(from(1));
    world.add({ ...from(1), offset: 8, more: true, payload: pattern(8) });
    for (let n = 2; n <= 4; n++) world.add(from(n));
    expect(world.table.used).toBe(4);
    expect(world.add(from(5))).toBe("held");
    expect(world.add(from(6))).toBe("fragment_full");
    expect(world.table.frames).toBe(4);
  });

  test("leaves the reserve to datagrams that were whole on another node", () => {
    const world = new FragmentWorld({ datagramsMax: 16, datagramsPerSource: 4, reservePercent: 25 });
    const answers = Array.from({ length: 20 }, (_, n) => world.add(from(n), { way: n % 2 ? DIRECT : 3 }));
    expect(REDIRECTED_TO_MEET).toBe(3);
    expect(answers.filter((answer) => answer === "held").length).toBe(12);
    const proven = Array.from({ length: 5 }, (_, n) => world.add(from(100 + n), { way: REDIRECTED_CLUSTER }));
    expect(proven).toEqual(["held", "held", "held", "held", "fragment_full"]);
  });

  test("of fragments leaves the pool what receiving needs", () => {
    const world = new FragmentWorld({ framesMax: 128, framesPerSource: 64, graceMs: 20 });
    for (let n = 0; n < 500; n++) world.add(from(n));
    expect(world.table.frames).toBe(112);
    expect(world.pool.available()).toBe(world.pool.chunks - 112);
    // Others took nearly all that is left: held fragments that had their time make room.
    world.wait(20);
    while (world.pool.available() > 60) world.pool.alloc();
    expect(world.add(from(1000))).toBe("held");
    expect(world.table.frames).toBe(112);
    expect(world.drops("fragment_full")).toBe(500 - 112 + 1);
  });
});

test("a refused fragment dooms its datagram: the others are dropped at once", () => {
  const world = new FragmentWorld({ framesMax: 8, framesPerSource: 4, reservePercent: 0 });
  for (let n = 1; n <= 8; n++) world.add(from(n));
  expect(world.add({ ...from(3), ...MIDDLE })).toBe("fragment_full");
  expect([world.table.frames, world.drops("fragment_full")]).toEqual([7, 2]);
  expect(world.add({ ...from(3), ...LAST })).toBe("fragment_full");
});

test("clear() gives all frames back, those of a whole datagram among them", () => {
  const world = new FragmentWorld();
  for (let n = 0; n < 30; n++) world.add(from(n));
  for (const piece of [FIRST, MIDDLE, LAST]) world.add(piece);
  world.table.clear();
  expect([world.table.used, world.table.frames, world.lost()]).toEqual([0, 0, 0]);
  expect(world.add(FIRST)).toBe("held");
});

test("a million fragments of both families and a flood cause no garbage collection", () => {
  const child = fileURLToPath(new URL("./fragments-gc-child.ts", import.meta.url));
  const output = execFileSync(process.execPath, ["--import", "tsx", child, "250000"], { encoding: "utf8" });
  const { collections, grownBytes, whole } = JSON.parse(output) as Record<string, number>;
  expect(whole).toBeGreaterThan(250_000);
  expect(collections).toBe(0);
  expect(grownBytes).toBeLessThan(500_000);
}, 60_000);

test("what reading refuses has its own verdict, and nothing else has one", () => {
  const names = Array.from({ length: 8 }, (_, answer) => wrongFragment(answer)).map((verdict) =>
    verdict === 0 ? "" : verdictName(verdict),
  );
  const refusals = ["truncated", "bad_header", "fragment_invalid", "fragment_tiny", "bad_option"];
  expect(names).toEqual(["", "", "", ...refusals]);
});

describe("limits", () => {
  test("never hold more than a quarter of the pool, and a source never more than half of that", () => {
    const small = fragmentLimits(256);
    expect([small.framesMax, small.framesPerSource, small.fragmentsPerDatagram]).toEqual([64, 32, 32]);
    const large = fragmentLimits(65_536, { datagramsMax: 32, datagramsPerSource: 64, timeoutMs: 30 });
    expect([large.framesMax, large.datagramsPerSource, large.graceMs]).toEqual([1024, 32, 15]);
  });

  test("that contradict each other are refused", () => {
    expect(() => fragmentLimits(4)).toThrow("too small");
    expect(() => fragmentLimits(4096, undefined, { reservePercent: 60 })).toThrow("reserve");
    expect(() => fragmentLimits(4096, undefined, { datagramsPerSource: 0 })).toThrow("no datagram");
  });
});

describe("the meeting point", () => {
  const slotOf = (spec: FragmentSpec): number => {
    const info = new FragmentInfo();
    const packet = fragmentPacket(spec);
    readFragment(packet, 0, packet.length, info);
    return meetingSlot(KEY, 64, info);
  };

  test.each([{}, SIX])("is the same for all fragments of a datagram", (family) => {
    for (let id = 0; id < 50; id++) {
      const slots = [FIRST, MIDDLE, LAST].map((piece) => slotOf({ ...piece, ...family, id }));
      expect(new Set(slots).size).toBe(1);
    }
  });

  test("heeds the protocol of IPv4, and not the next header of IPv6, which may differ (RFC 8200 section 4.5)", () => {
    const slots = (family: object): number =>
      new Set(
        Array.from({ length: 40 }, (_, protocol) => slotOf({ ...LAST, ...family, protocol: protocol + 70 })),
      ).size;
    expect(slots({})).toBeGreaterThan(20);
    expect(slots(SIX)).toBe(1);
  });

  test.each([{}, SIX])("spreads over all slots", (family) => {
    const counts = new Array(64).fill(0);
    for (let id = 0; id < 1600; id++) counts[slotOf({ ...LAST, ...family, id })]++;
    expect(Math.min(...counts)).toBeGreaterThan(5);
    expect(Math.max(...counts)).toBeLessThan(60);
  });
});
