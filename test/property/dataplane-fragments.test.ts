import fc from "fast-check";
import { expect, test } from "vitest";
import type { FragmentLimits } from "../../src/dataplane/fragment-limits.ts";
import {
  FRAGMENT_ATOMIC,
  FRAGMENT_PART,
  FRAGMENT_TINY,
  FragmentInfo,
  readFragment,
} from "../../src/packet/fragment.ts";
import {
  cutPayload,
  type FragmentSpec,
  FragmentWorld,
  fragmentPacket,
  ipv6,
  joined,
  pattern,
} from "../unit/dataplane/fragment-frames.ts";

const TIMEOUT_MS = 100;
/** Two IPv4 hosts, two of one IPv6 /64, and one of another. */
const SOURCES = ["10.0.0.1", "10.0.0.2", ipv6(1, 1, 1), ipv6(1, 1, 2), ipv6(1, 2, 1)];

/** A fragment of a small world, by numbers from small domains, so that fragments meet. */
interface Step {
  readonly source: number;
  readonly id: number;
  readonly zone: number;
  /** In units of 8 bytes. */
  readonly offset: number;
  readonly units: number;
  readonly more: boolean;
  /** What is in it besides its place: another variant is no duplicate. */
  readonly variant: number;
  readonly waitMs: number;
}

const step = (sources: number, ids: number): fc.Arbitrary<Step> =>
  fc
    .record({
      source: fc.nat(sources - 1),
      id: fc.nat(ids - 1),
      zone: fc.constantFrom(1, 1, 1, 2),
      offset: fc.nat(5),
      units: fc.constantFrom(1, 1, 1, 2, 3),
      more: fc.constantFrom(true, true, true, false),
      variant: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1),
      waitMs: fc.constantFrom(0, 0, 0, 0, 1, TIMEOUT_MS / 2),
    })
    // What begins at 0 and has nothing behind it is no fragment.
    .map((each) => ({ ...each, more: each.more || each.offset === 0 }));

function specOf({ source, id, offset, units, more, variant }: Step): FragmentSpec {
  const payload = pattern(units * 8, variant * 100 + offset);
  return { from: SOURCES[source]!, id, offset: offset * 8, more, payload };
}

interface Known {
  readonly steps: Step[];
  deadlineMs: number;
  isRefused: boolean;
}

/** Reassembly, the obvious way: everybody is compared with everybody, and RFC 815 says when all is there. */
class Reference {
  /** What the datagram consists of that add() called complete. */
  whole: Step[] = [];
  readonly known = new Map<string, Known>();

  add(one: Step, nowMs: number): string {
    const key = `${one.source} ${one.id} ${one.zone}`;
    let datagram = this.known.get(key);
    if (datagram === undefined || datagram.deadlineMs <= nowMs) {
      datagram = { steps: [], deadlineMs: nowMs + TIMEOUT_MS, isRefused: false };
      this.known.set(key, datagram);
    }
    if (datagram.isRefused) return "fragment_overlap";
    const isCopy = (other: Step): boolean =>
      other.offset === one.offset &&
      other.units === one.units &&
      other.more === one.more &&
      other.variant === one.variant;
    if (datagram.steps.some(isCopy)) return "fragment_duplicate";
    const end = one.offset + one.units;
    const overlaps = datagram.steps.some(
      (other) => other.offset < end && one.offset < other.offset + other.units,
    );
    const contradicts = datagram.steps.some(
      (other) =>
        (!other.more && end > other.offset + other.units) || (!one.more && other.offset + other.units > end),
    );
    if (overlaps || contradicts) {
      datagram.isRefused = true;
      datagram.deadlineMs = nowMs + TIMEOUT_MS;
      return "fragment_overlap";
    }
    datagram.steps.push(one);
    if (holesOf(datagram.steps).length > 0) return "held";
    this.whole = datagram.steps;
    this.known.delete(key);
    return "complete";
  }
}

/** RFC 815 section 3: begins with one hole without end; each fragment cuts the hole that it falls into. */
function holesOf(steps: readonly Step[]): [number, number][] {
  let holes: [number, number][] = [[0, Number.POSITIVE_INFINITY]];
  for (const { offset, units, more } of steps) {
    const end = offset + units;
    holes = holes.flatMap(([first, last]): [number, number][] => {
      if (offset >= last || end <= first) return [[first, last]];
      const left: [number, number][] = offset > first ? [[first, offset]] : [];
      return end < last && more ? [...left, [end, last]] : left;
    });
  }
  return holes;
}

test("a table answers every fragment as the naive reassembly does, and hands out what was sent", () => {
  fc.assert(
    fc.property(fc.array(step(3, 2), { maxLength: 60, size: "max" }), (steps) => {
      const world = new FragmentWorld({ timeoutMs: TIMEOUT_MS });
      const reference = new Reference();
      for (const one of steps) {
        world.wait(one.waitMs);
        const answer = world.add(specOf(one), { zone: one.zone });
        expect(answer).toBe(reference.add(one, world.clock[0]!));
        if (answer !== "complete") continue;
        const wanted = reference.whole.sort((a, b) => a.offset - b.offset).map((each) => specOf(each));
        const pieces = world.take();
        expect(pieces.map(({ offset, payload }) => ({ offset, payload }))).toEqual(
          wanted.map(({ offset, payload }) => ({ offset, payload })),
        );
        expect(joined(pieces).length).toBe(world.table.datagramBytes);
      }
      const waiting = [...reference.known.values()].filter((each) => each.deadlineMs > world.clock[0]!);
      world.expire();
      expect(world.table.used).toBe(waiting.length);
      expect(world.lost()).toBe(0);
    }),
    { numRuns: 250 },
  );
});

/** A datagram as its sender cuts it. */
const datagram = fc.record({
  source: fc.nat(SOURCES.length - 1),
  bytes: fc.integer({ min: 17, max: 3000 }),
  room: fc.constantFrom(8, 16, 104, 552, 1232, 1480),
});

test("datagrams become whole in any order, interleaved, with duplicates, and each is what its sender sent", () => {
  fc.assert(
    fc.property(
      fc.array(datagram, { minLength: 1, maxLength: 6, size: "max" }),
      fc.infiniteStream(fc.nat(1_000_000)),
      (datagrams, random) => {
        const next = (bound: number): number => random.next().value % bound;
        const world = new FragmentWorld({ framesMax: 256 }, 1024);
        const sent = datagrams.map(({ source, bytes, room }, id) => {
          // Of at most 20 fragments.
          const size = Math.max(room, Math.ceil(bytes / 160) * 8);
          const payload = pattern(Math.max(bytes, size + 1), id);
          return {
            payload,
            specs: cutPayload(payload, size).map((piece) => ({ ...piece, from: SOURCES[source]!, id })),
          };
        });
        const queue = sent.flatMap(({ specs }, id) => specs.map((spec) => ({ spec, id })));
        for (let i = queue.length - 1; i > 0; i--) {
          const j = next(i + 1);
          [queue[i], queue[j]] = [queue[j]!, queue[i]!];
        }
        const done = new Set<number>();
        const seen: { spec: FragmentSpec; id: number }[] = [];
        for (const one of queue) {
          const copy = seen.filter(({ id }) => !done.has(id));
          if (copy.length > 0 && next(3) === 0) {
            expect(world.add(copy[next(copy.length)]!.spec)).toBe("fragment_duplicate");
          }
          seen.push(one);
          if (world.add(one.spec) !== "complete") continue;
          expect(joined(world.take())).toEqual(sent[one.id]!.payload);
          done.add(one.id);
        }
        expect(done.size).toBe(datagrams.length);
        expect([world.table.used, world.table.frames, world.lost()]).toEqual([0, 0, 0]);
      },
    ),
    { numRuns: 60 },
  );
});

const limits: fc.Arbitrary<Partial<FragmentLimits>> = fc.record({
  datagramsMax: fc.integer({ min: 1, max: 8 }),
  datagramsPerSource: fc.integer({ min: 1, max: 4 }),
  fragmentsPerDatagram: fc.integer({ min: 2, max: 6 }),
  framesMax: fc.integer({ min: 4, max: 12 }),
  framesPerSource: fc.integer({ min: 2, max: 8 }),
  freeFramesMin: fc.constantFrom(0, 60),
  timeoutMs: fc.constant(TIMEOUT_MS),
  graceMs: fc.constantFrom(0, 1, 20),
  reservePercent: fc.constantFrom(0, 25, 50),
});

test("every frame is handed out or freed exactly once, and no limit is passed, whatever the limits and the order", () => {
  const all = fc.array(
    fc.tuple(
      step(SOURCES.length, 4),
      fc.nat(3),
      fc.constantFrom("add", "add", "add", "add", "expire", "clear"),
    ),
    { maxLength: 150, size: "max" },
  );
  fc.assert(
    fc.property(limits, all, (wanted, steps) => {
      const world = new FragmentWorld(wanted, 64);
      for (const [one, way, what] of steps) {
        world.wait(one.waitMs);
        const dropsBefore = world.allDrops();
        if (what === "clear") world.table.clear();
        // The first fragments that come out are counted by whoever has them.
        else if (what === "expire") world.expire();
        else {
          const answer = world.add(specOf(one), { zone: one.zone, way });
          if (answer === "complete") joined(world.take());
          else if (answer !== "held" && world.allDrops() === dropsBefore)
            expect.fail(`${answer} is not counted`);
        }
        // The pool throws when a frame is freed twice.
        const { framesIn, framesOut, table } = world;
        const isWithin = table.used <= world.limits.datagramsMax && table.frames <= world.limits.framesMax;
        expect([world.lost(), framesIn, isWithin]).toEqual([
          0,
          framesOut + world.allDrops() + table.frames,
          true,
        ]);
      }
      world.wait(TIMEOUT_MS);
      world.expire();
      expect([world.table.used, world.table.frames, world.lost()]).toEqual([0, 0, 0]);
    }),
    { numRuns: 300 },
  );
});

/** Valid fragments of both families, for mutation. */
const valid = fc
  .record({
    family: fc.nat(1),
    protocol: fc.constantFrom(0, 6, 17, 43, 44, 47, 58, 60, 132),
    offset: fc.constantFrom(0, 0, 8, 24, 65_504),
    more: fc.boolean(),
    payload: fc.uint8Array({ maxLength: 64 }),
    extensions: fc.constantFrom(
      [],
      [44, 0, 0, 0, 0, 0, 0, 0],
      [60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0],
    ),
  })
  .map(({ family, extensions, ...spec }) =>
    fragmentPacket(
      family === 0
        ? { ...spec, from: "10.0.0.1", options: new Uint8Array(extensions.length) }
        : { ...spec, from: ipv6(1, 1, 1), extensions: Uint8Array.from(extensions), firstExtension: 60 },
    ),
  );
const mutated = fc
  .tuple(valid, fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 4 }), fc.nat(20))
  .map(([packet, changes, cutOff]) => {
    const copy = packet.slice(0, Math.max(0, packet.length - cutOff));
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return copy;
  });

/** All that readFragment() tells about a packet that lies between bytes of one value. */
function readBetween(packet: Uint8Array, around: number): unknown[] {
  const bytes = new Uint8Array(packet.length + 200).fill(around);
  bytes.set(packet, 100);
  const info = new FragmentInfo();
  const answer = readFragment(bytes, 100, packet.length, info);
  if (answer !== FRAGMENT_PART && answer !== FRAGMENT_ATOMIC) return [answer];
  const { words, ...rest } = info;
  expect(info.payloadAt + info.payloadBytes).toBeLessThanOrEqual(100 + packet.length);
  expect(info.l4At).toBeLessThanOrEqual(100 + packet.length);
  return [answer, [...words], rest];
}

test("reading random bytes never throws, and never depends on what is outside the packet", () => {
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 120 }), mutated, valid);
  fc.assert(
    fc.property(bytes, (packet) => {
      expect(readBetween(packet, 0)).toEqual(readBetween(packet, 0xff));
    }),
    { numRuns: 5000 },
  );
});

test("no first fragment of TCP gets by without its whole header, whatever else it holds (RFC 1858, RFC 7112)", () => {
  fc.assert(
    fc.property(mutated, (packet) => {
      const info = new FragmentInfo();
      const answer = readFragment(packet, 0, packet.length, info);
      if (answer !== FRAGMENT_PART || info.offsetBytes !== 0 || info.protocol !== 6) return;
      const header = packet.subarray(info.l4At, info.payloadAt + info.payloadBytes);
      expect(header.length).toBeGreaterThanOrEqual(Math.max(20, (header[12]! >> 4) * 4));
      expect(answer).not.toBe(FRAGMENT_TINY);
    }),
    { numRuns: 5000 },
  );
});
