import fc from "fast-check";
import { expect, test } from "vitest";
import { arp, echo, ethernet, icmpError, mac, see, tcp, udp } from "../unit/dataplane/frames.ts";
import { Pair } from "../unit/dataplane/pair.ts";
import { hostMac, World } from "../unit/dataplane/world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
const virtual = mac("02:53:57:00:00:00");

const spec = { from: CLIENT, to: SERVER, sport: 4000, dport: 53 };
const SEEDS: Uint8Array[] = [
  ethernet(virtual, hostMac(CLIENT), 0x0800, udp(spec)),
  ethernet(virtual, hostMac(CLIENT), 0x0800, tcp({ ...spec, flags: "S", seq: 1, scale: 7 })),
  ethernet(virtual, hostMac(CLIENT), 0x0800, tcp({ ...spec, flags: "PA", seq: 2, ack: 9 })),
  ethernet(virtual, hostMac(CLIENT), 0x0800, echo({ from: CLIENT, to: SERVER, id: 7 })),
  ethernet(virtual, hostMac(CLIENT), 0x0800, echo({ from: CLIENT, to: "10.10.0.1", id: 7 })),
  ethernet(
    virtual,
    hostMac(CLIENT),
    0x0800,
    icmpError({ from: CLIENT, to: SERVER }, 3, 3, udp({ from: SERVER, to: CLIENT, sport: 53, dport: 4000 })),
  ),
  ethernet(
    new Uint8Array(6).fill(255),
    hostMac(CLIENT),
    0x0806,
    arp({ op: 1, senderMac: hostMac(CLIENT), sender: CLIENT, target: "10.10.0.1" }),
  ),
];

const mutation = fc.record({
  seed: fc.nat(SEEDS.length - 1),
  edits: fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 6 }),
  length: fc.option(fc.integer({ min: 0, max: 200 })),
  port: fc.constantFrom(0, 1, 2),
});

function mutate({
  seed,
  edits,
  length,
}: {
  seed: number;
  edits: [number, number][];
  length: number | null;
}): Uint8Array {
  const base = SEEDS[seed]!;
  const frame = new Uint8Array(length ?? base.length);
  frame.set(base.subarray(0, frame.length));
  for (const [at, value] of edits) if (at < frame.length) frame[at] = value;
  // Half of the edits would end at the header checksum: mend it, so that what is behind is reached.
  if (frame.length >= 34 && edits.length % 2 === 0) {
    frame[24] = frame[25] = 0;
    let sum = 0;
    const header = Math.min((frame[14]! & 15) * 4, frame.length - 14) & ~1;
    for (let i = 0; i < header; i += 2) sum += (frame[14 + i]! << 8) | frame[15 + i]!;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    frame[24] = (~sum >> 8) & 255;
    frame[25] = ~sum & 255;
  }
  return frame;
}

test("no frame, however broken, throws, leaks a buffer or leaves with a wrong header checksum", () => {
  const world = new World();
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 20, size: "max" }), (list) => {
      for (const item of list) {
        world.receive(item.port, mutate(item as never));
        for (const { frame } of world.take()) {
          const seen = see(frame);
          if (seen.ip !== undefined) expect(seen.ip.headerOk).toBe(true);
        }
        expect(world.lost()).toBe(0);
      }
      world.tick(50);
    }),
    { numRuns: 300 },
  );
});

test("no redirected frame, however broken, throws or leaks", () => {
  const pair = new Pair();
  pair.assign(2, () => 2);
  pair.one.packet(0, udp(spec));
  const redirected = pair.one.takeOne().frame;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(redirected.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.integer({ min: 0, max: redirected.length }),
      fc.boolean(),
      (edits, length, isWhole) => {
        const frame = redirected.slice(0, isWhole ? redirected.length : length);
        for (const [at, value] of edits) if (at < frame.length) frame[at] = value;
        pair.two.receive(2, frame);
        pair.two.take();
        pair.two.tick(7);
        pair.two.take();
        expect(pair.two.lost()).toBe(0);
      },
    ),
    { numRuns: 400 },
  );
});

test("no record, however broken, throws; what it does to replicas leaves the table whole", () => {
  const pair = new Pair();
  for (let i = 0; i < 20; i++) pair.one.packet(0, udp({ ...spec, sport: 100 + i, from: `10.10.0.${2 + i}` }));
  const ring = pair.one.ring!;
  const records = Array.from({ length: ring.length() }, (_, i) =>
    ring.bytes.slice(ring.at(i), ring.at(i) + 160),
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.nat(records.length - 1), fc.array(fc.tuple(fc.nat(159), fc.nat(255)), { maxLength: 5 })),
        { maxLength: 20, size: "max" },
      ),
      (list) => {
        for (const [index, edits] of list) {
          const record = records[index]!.slice();
          for (const [at, value] of edits) record[at] = value;
          pair.two.engine.applyReplica(record, 0, pair.two.nowMs);
        }
        let flows = 0;
        for (let slot = 0; slot < 64; slot++) flows += pair.two.table.slotCount(slot);
        expect(flows).toBe(pair.two.table.used);
        pair.two.tick(1000);
      },
    ),
    { numRuns: 200 },
  );
});
