import { describe, expect, test } from "vitest";
import { OP_UPSERT, RECORD_BYTES } from "../../../src/base/record.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  F_VERSION,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../src/dataplane/flow-layout.ts";
import { FlowReader } from "../../../src/dataplane/flow-reader.ts";
import { decodeKeys, decodeState, encodeFlow, findRecord } from "../../../src/dataplane/flow-record.ts";
import { FlowTable, flowTableBytes } from "../../../src/dataplane/flow-table.ts";
import { ip, tcp, udp } from "./frames.ts";
import { DUAL_POLICY, PORT_INSIDE, TEST_KEY, World } from "./world.ts";

const SERVER = "198.51.100.100";

function filled(): World {
  const world = new World();
  for (let i = 2; i < 7; i++) {
    world.packet(PORT_INSIDE, udp({ from: `10.10.0.${i}`, to: SERVER, sport: 4000, dport: 53 }));
  }
  world.packet(PORT_INSIDE, tcp({ from: "10.10.0.2", to: SERVER, sport: 5000, dport: 80, flags: "S" }));
  return world;
}

describe("FlowReader", () => {
  test("lists and counts what matches, from the shared memory alone", () => {
    const world = filled();
    const reader = new FlowReader(world.table.buffer);
    expect(reader.list({}, 100).total).toBe(6);
    expect(reader.list({}, 2)).toMatchObject({ total: 6, flows: [{}, {}] });
    expect(reader.list({ source: ip("10.10.0.2") }, 100).total).toBe(2);
    expect(reader.list({ destination: ip(SERVER), protocol: 6 }, 100).flows).toMatchObject([
      {
        state: "syn_sent",
        isSnat: true,
        isReplica: false,
        original: { source: { address: ip("10.10.0.2"), port: 5000 }, destination: { port: 80 } },
      },
    ]);
    expect(reader.list({ port: 53 }, 100).total).toBe(5);
    const counts = reader.count({});
    expect([counts.total, counts.byProtocol[17], counts.byProtocol[6]]).toEqual([6, 5, 1]);
    const slot = world.table.slotOf(0);
    expect(counts.bySlot[slot]).toBe(world.table.slotCount(slot));
    expect(reader.list({ slots: new Uint8Array(1024) }, 100).total).toBe(0);
  });

  test("sees ended flows no more", () => {
    const world = filled();
    world.tick(60_000);
    expect(new FlowReader(world.table.buffer).list({}, 100).total).toBe(0);
  });

  test("answers nothing before the writer made its table", () => {
    expect(new FlowReader(new SharedArrayBuffer(flowTableBytes(4))).list({}, 10)).toEqual({
      flows: [],
      total: 0,
    });
  });
});

describe("flow records", () => {
  test("carry everything that a backup needs, also counters beyond 32 bits and wide addresses", () => {
    const world = new World({ policy: DUAL_POLICY });
    const ends = { from: "2001:db8:10::2", to: "2001:db8:f::77", sport: 4000, dport: 53 };
    for (let i = 0; i < 3; i++) world.packet(PORT_INSIDE, udp({ ...ends, sport: 4000 + i }));
    const { table } = world;
    const row = 2;
    table.doubles[row * ROW_DOUBLES + D_BYTES] = 5_000_000_000_123;
    table.doubles[row * ROW_DOUBLES + D_PACKETS] = 4_000_000_000;
    table.words[row * ROW_WORDS + F_VERSION] = -5;
    const clock = Float64Array.of(1_000_500);
    const bytes = new Uint8Array(RECORD_BYTES).fill(0xee);
    encodeFlow(table, row, OP_UPSERT, 9, bytes, 0, clock, Float64Array.of(40_000), 0);
    expect(findRecord(table, bytes, 0)).toBe(row * 2);

    const copy = new FlowTable(4, TEST_KEY);
    copy.wheel.start(clock);
    const to = copy.alloc();
    decodeKeys(bytes, 0, copy.words, to);
    decodeState(bytes, 0, copy, to, clock);
    copy.insert(to);
    const again = new Uint8Array(RECORD_BYTES).fill(0xee);
    // A quarter of the timeout is added on the way: see flow-record.ts.
    encodeFlow(copy, to, OP_UPSERT, 9, again, 0, clock, Float64Array.of(0), 0);
    expect(again).toEqual(bytes);
    expect(copy.doubles[to * ROW_DOUBLES + D_DEADLINE]).toBe(1_000_000 + 10_000 + 10_000);
    expect(copy.doubles[to * ROW_DOUBLES + D_CREATED_AT]).toBe(1_000_000);
  });
});

describe("memory", () => {
  test("a flow takes at most 256 bytes, whatever the capacity", () => {
    for (const capacity of [65_537, 262_144, 1_000_000, 1_048_577]) {
      const fixed = flowTableBytes(16) - 16 * 4 * ROW_WORDS;
      expect((flowTableBytes(capacity) - fixed) / capacity).toBeLessThanOrEqual(256);
    }
    expect(flowTableBytes(1_000_000)).toBeLessThanOrEqual(300 * 1024 * 1024);
  });
});
