import { describe, expect, test } from "vitest";
import {
  D_DEADLINE,
  F_META,
  F_PLACE,
  FLAG_ADJUSTED,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../../src/dataplane/flow-layout.ts";
import {
  pendingBytes,
  restoreEmbedded,
  toReceiver,
  toSender,
} from "../../../../src/dataplane/helpers/adjust.ts";
import { ADJUSTMENT_TCP } from "../../../../src/dataplane/satellites.ts";
import { FakeTable } from "./fake-table.ts";
import { FLAG_SYN, type Spec, type TestPacket } from "./packets.ts";
import { Rig } from "./rig.ts";

const ENDS4 = { from: "10.0.0.2", to: "198.51.100.7", sport: 4000, dport: 21 };
const BACK4 = { from: "198.51.100.7", to: "10.0.0.2", sport: 21, dport: 4000 };
const ENDS6 = { from: "2001:db8:1::2", to: "2001:db8:2::7", sport: 4000, dport: 21 };
const BACK6 = { from: "2001:db8:2::7", to: "2001:db8:1::2", sport: 21, dport: 4000 };

/** A connection without helpers whose numbers are adjusted. */
function world(isIpv6 = false): {
  rig: Rig;
  row: number;
  satellite: number;
  send: (direction: number, spec: Partial<Spec>) => TestPacket;
} {
  const rig = new Rig(0);
  const row = isIpv6
    ? rig.table.flow(
        6,
        "[2001:db8:1::2]:4000 > [2001:db8:2::7]:21",
        "[2001:db8:2::7]:21 > [2001:db8:1::2]:4000",
      )
    : rig.table.flow(6, "10.0.0.2:4000 > 198.51.100.7:21", "198.51.100.7:21 > 203.0.113.1:61000");
  const satellite = rig.helpers.adjuster.ensure(row);
  const ends = isIpv6 ? [ENDS6, BACK6] : [ENDS4, BACK4];
  return {
    rig,
    row,
    satellite,
    send: (direction, spec) => rig.send(row, direction, 6, { ...ends[direction]!, ...spec }),
  };
}

describe.each([false, true])("numbers of a connection, IPv6 %s", (isIpv6) => {
  test("left of a change keep their offset, right of it have the new one, both ways", () => {
    const { rig, satellite, send } = world(isIpv6);
    rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
    expect(send(0, { seq: 990, payload: "0123456789" }).seq).toBe(990);
    expect(send(0, { seq: 1020, payload: "x" }).seq).toBe(1027);
    // What the other end acknowledges comes back in the sender's numbers.
    expect(send(1, { seq: 1, ack: 1000 }).ack).toBe(1000);
    expect(send(1, { seq: 1, ack: 1027 }).ack).toBe(1020);
    expect(send(1, { seq: 1, ack: 1030 }).ack).toBe(1023);
    const packets = [send(0, { seq: 1020, payload: "odd" }), send(1, { seq: 5, ack: 1030, payload: "y" })];
    for (const packet of packets) expect(packet.faults()).toEqual([]);
  });

  test("SACK blocks are adjusted at any alignment, with a right checksum (RFC 2018)", () => {
    for (const pad of [0, 1, 2, 3]) {
      const { rig, satellite, send } = world(isIpv6);
      rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
      const block = (from: number, to: number): number[] =>
        [from, to].flatMap((n) => [0, 0, n >> 8, n & 255]);
      const options = [...Array(pad).fill(1), 5, 18, ...block(1100, 1200), ...block(1027, 1050)];
      while (options.length % 4 !== 0) options.push(0);
      const packet = send(1, { seq: 1, ack: 1000, flags: 0x10, options });
      const at = packet.l4At + 20 + pad + 2;
      const view = new DataView(packet.bytes.buffer);
      expect([0, 4, 8, 12].map((i) => view.getUint32(at + i))).toEqual([1093, 1193, 1020, 1043]);
      expect(packet.faults()).toEqual([]);
    }
  });
});

test("a part of the new text acknowledges nothing of the old one, and covers nothing of it", () => {
  const { rig, satellite } = world();
  const { words } = rig.table;
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  expect([1001, 1013, 1026].map((n) => toSender(words, satellite, 0, n, false))).toEqual([1000, 1000, 1000]);
  expect([1001, 1013, 1026].map((n) => toSender(words, satellite, 0, n, true))).toEqual([1020, 1020, 1020]);
});

test("a shorter text works alike, also when numbers wrap", () => {
  const { rig, satellite } = world();
  const { words } = rig.table;
  const start = 0xfffffff8 | 0;
  rig.helpers.adjuster.change(satellite, 0, start, 20, 5, 0);
  expect(toReceiver(words, satellite, 0, start)).toBe(start);
  expect(toReceiver(words, satellite, 0, 12)).toBe(-3);
  expect(toSender(words, satellite, 0, -3, false)).toBe(12);
  expect(toSender(words, satellite, 0, -4, false)).toBe(start);
});

test("a change is refused while the one before is not settled, and taken once it is acknowledged", () => {
  const { rig, satellite, send } = world();
  const { adjuster } = rig.helpers;
  expect(adjuster.change(satellite, 0, 1000, 20, 27, 7)).toBe(true);
  expect(adjuster.change(satellite, 0, 1020, 20, 27, 8)).toBe(false);
  send(1, { seq: 1, ack: 1026 });
  expect(adjuster.change(satellite, 0, 1020, 20, 27, 8)).toBe(false);
  expect(adjuster.markOf(satellite, 0)).toBe(7);
  send(1, { seq: 1, ack: 1027 });
  expect(pendingBytes(rig.table.words, satellite, 0)).toBe(0);
  expect(adjuster.change(satellite, 0, 1020, 20, 27, 8)).toBe(true);
  expect(send(0, { seq: 1040, payload: "x" }).seq).toBe(1054);
});

test("after a change is settled every number of its direction has the one offset, however far away", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  send(1, { seq: 1, ack: 1027 });
  for (const seq of [900, 1000, 1020, 0x7fffffff, 0x80000500, 0xfffffff0]) {
    expect(send(0, { seq, payload: "x" }).seq).toBe((seq + 7) % 2 ** 32);
  }
});

test("a segment with a part of a change is dropped until the change is settled; a keep-alive passes", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  for (const [seq, payload] of [
    [995, "0123456789"],
    [1010, "0123"],
    [1015, "0123456789"],
    [1000, "0".repeat(20)],
  ] as const) {
    send(0, { seq, payload });
    expect(rig.result).toBe("drop");
  }
  // RFC 9293 section 3.8.4: the last byte again, or none.
  expect(send(0, { seq: 1019, payload: "\n" }).seq).toBe(1026);
  expect(send(0, { seq: 1019, flags: 0x10 }).seq).toBe(1026);
  expect(rig.result).toBe("pass");
  send(1, { seq: 1, ack: 1027 });
  send(0, { seq: 1010, payload: "0123" });
  expect(rig.result).toBe("pass");
});

test("a constant offset holds for a whole direction from its SYN on (SYN proxy)", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.setConstant(satellite, 1, 5000);
  expect(send(1, { seq: 100, ack: 1, flags: FLAG_SYN | 0x10 }).seq).toBe(5100);
  expect(send(0, { seq: 1, ack: 5101, flags: 0x10 }).ack).toBe(101);
  expect(send(1, { seq: 0xfffffff0, ack: 1, payload: "x" }).seq).toBe((0xfffffff0 + 5000) % 2 ** 32);
});

test("a change under a constant offset adds to it", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.setConstant(satellite, 1, 5000);
  rig.helpers.adjuster.change(satellite, 1, 200, 10, 12, 0);
  expect(send(1, { seq: 200, flags: 0x10 }).seq).toBe(5200);
  expect(send(1, { seq: 210, payload: "x" }).seq).toBe(5212);
  expect(send(0, { seq: 1, ack: 5212, flags: 0x10 }).ack).toBe(210);
  expect(send(0, { seq: 1, ack: 5200, flags: 0x10 }).ack).toBe(198);
});

test("a segment without ACK keeps its acknowledgement field", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.setConstant(satellite, 1, 5000);
  expect(send(0, { seq: 1, ack: 0, flags: FLAG_SYN }).ack).toBe(0);
});

test("the segment inside an ICMP error gets the numbers of who sent it", () => {
  const { rig, satellite, send } = world();
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  rig.helpers.adjuster.setConstant(satellite, 1, 5000);
  const packet = send(0, { seq: 1100, ack: 5300, payload: "x" });
  expect([packet.seq, packet.ack]).toEqual([1107, 300]);
  restoreEmbedded(rig.table.words, satellite, 0, packet.bytes, 0, packet.l4At, packet.l4At + packet.l4Bytes);
  expect([packet.seq, packet.ack]).toEqual([1100, 5300]);
  expect(packet.faults()).toEqual([]);
  // RFC 792: eight bytes are enough.
  restoreEmbedded(rig.table.words, satellite, 0, packet.bytes, 0, packet.l4At, packet.l4At + 8);
  expect([packet.seq, packet.ack]).toEqual([1093, 5300]);
});

test("a change is published before the packet leaves, and its satellite ends with the connection", () => {
  const { rig, row, satellite } = world();
  expect(rig.table.published).toEqual([`change ${ADJUSTMENT_TCP}`, "change 6"]);
  expect(rig.table.words[row * ROW_WORDS + F_META]! & FLAG_ADJUSTED).not.toBe(0);
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  expect(rig.table.published.at(-1)).toBe(`change ${ADJUSTMENT_TCP}`);
  expect(rig.helpers.hasPublished).toBe(true);
  rig.end(row);
  expect(rig.table.rows(ADJUSTMENT_TCP)).toEqual([]);
});

test("a satellite outlives its own deadline as long as its connection is there", () => {
  const { rig, row, satellite } = world();
  rig.table.doubles[row * ROW_DOUBLES + D_DEADLINE] = rig.table.clock[0]! + 100_000;
  rig.wait(60_000);
  expect(rig.helpers.adjuster.find(row)).toBe(satellite);
  rig.wait(120_000);
  expect(rig.table.allRows()).toEqual([]);
});

test("a full table gives no satellite, and nothing is marked", () => {
  const rig = new Rig(0, {}, new FakeTable(1));
  const row = rig.table.flow(6, "10.0.0.2:4000 > 198.51.100.7:21", "198.51.100.7:21 > 203.0.113.1:61000");
  expect(rig.helpers.adjuster.ensure(row)).toBe(NONE);
  expect(rig.table.words[row * ROW_WORDS + F_META]! & FLAG_ADJUSTED).toBe(0);
});

test("what an earlier owner left behind under the same ends makes way for a new satellite", () => {
  const { rig, row, satellite } = world();
  rig.helpers.adjuster.change(satellite, 0, 1000, 20, 27, 0);
  // The owner died when the satellite was published and the connection's mark was not.
  rig.table.words[row * ROW_WORDS + F_META]! &= ~FLAG_ADJUSTED;
  const anew = rig.helpers.adjuster.ensure(row);
  expect(rig.table.rows(ADJUSTMENT_TCP)).toEqual([anew]);
  expect(pendingBytes(rig.table.words, anew, 0)).toBe(0);
  expect(toReceiver(rig.table.words, anew, 0, 2000)).toBe(2000);
});

test("a satellite of another slot is not ended: there is no room for a second one", () => {
  const { rig, row, satellite } = world();
  rig.table.words[row * ROW_WORDS + F_META]! &= ~FLAG_ADJUSTED;
  rig.table.words[satellite * ROW_WORDS + F_PLACE]! ^= 1;
  expect(rig.helpers.adjuster.ensure(row)).toBe(NONE);
  expect(rig.table.rows(ADJUSTMENT_TCP)).toEqual([satellite]);
});
