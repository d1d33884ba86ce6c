import { describe, expect, test } from "vitest";
import { addressWords } from "../../../../src/base/address.ts";
import { sketchCells, sketchError } from "../../../../src/dataplane/defence/count-sketch.ts";
import {
  HALF_OPEN_ALLOWED,
  HALF_OPEN_IN_ALL,
  HALF_OPEN_OF_DESTINATION,
  HALF_OPEN_OF_SOURCE,
  HalfOpen,
  type HalfOpenLimits,
} from "../../../../src/dataplane/defence/half-open.ts";
import { F_META, F_STATE, FLAG_REPLICA, ROW_WORDS } from "../../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../../src/dataplane/flow-table.ts";
import {
  TCP_CLOSED,
  TCP_ESTABLISHED,
  TCP_SYN_RECEIVED,
  TCP_SYN_SENT,
} from "../../../../src/dataplane/tcp-state.ts";
import { TEST_KEY } from "../world.ts";
import { putFlow, type TestFlow } from "./flows.ts";

const NO_LIMITS: HalfOpenLimits = { perSource: 0, perDestination: 0, total: 0, proxyAbove: 0 };
const A = 0x0a000001;
const B = 0x0a000002;
const SERVER = 0xc6336464;
const A6 = 0x20010db8_0000_0001_0000_0000_0000_0001n;
const A6_OTHER_HOST = 0x20010db8_0000_0001_ffff_0000_0000_0009n;
const B6 = 0x20010db8_0000_0002_0000_0000_0000_0001n;
const SERVER6 = 0x20010db8_0000_ffff_0000_0000_0000_0001n;

function rig(limits: Partial<HalfOpenLimits>, capacity = 64) {
  const table = new FlowTable(capacity, TEST_KEY);
  const halfOpen = new HalfOpen(table, TEST_KEY, { ...NO_LIMITS, ...limits });
  return {
    table,
    halfOpen,
    open(flow: TestFlow): number {
      const row = putFlow(table, { state: TCP_SYN_SENT, ...flow });
      halfOpen.settle(row);
      return row;
    },
    become(row: number, state: number): void {
      table.words[row * ROW_WORDS + F_STATE] = state;
      halfOpen.settle(row);
    },
    judge: (source: number | bigint, server: number | bigint, port = 80) =>
      halfOpen.judge(addressWords(source), 0, addressWords(server), 0, port),
  };
}

describe.each([
  ["IPv4", A, B, SERVER],
  ["IPv6", A6, B6, SERVER6],
])("FFW_RUL_EXT.1.10 half-open TCP connections, %s", (_, a, b, server) => {
  test("of one source are limited, and other sources do not pay for it", () => {
    const { open, judge } = rig({ perSource: 2 });
    open({ client: a, server });
    expect(judge(a, server)).toBe(HALF_OPEN_ALLOWED);
    open({ client: a, server, serverPort: 443 });
    expect(judge(a, server)).toBe(HALF_OPEN_OF_SOURCE);
    expect(judge(b, server)).toBe(HALF_OPEN_ALLOWED);
  });

  test("to one service are limited, and other services of the host do not pay for it", () => {
    const { open, judge } = rig({ perDestination: 2 });
    open({ client: a, server });
    open({ client: b, server });
    expect(judge(b, server)).toBe(HALF_OPEN_OF_DESTINATION);
    expect(judge(b, server, 443)).toBe(HALF_OPEN_ALLOWED);
    expect(judge(b, a)).toBe(HALF_OPEN_ALLOWED);
  });

  test("are limited in all", () => {
    const { open, judge, halfOpen } = rig({ total: 2 });
    open({ client: a, server });
    open({ client: b, server: a });
    expect(halfOpen.now).toBe(2);
    expect(judge(server, b)).toBe(HALF_OPEN_IN_ALL);
  });

  test("stop counting when they are established, end, or leave the table", () => {
    const { open, become, judge, halfOpen } = rig({ perSource: 1, perDestination: 1, total: 1 });
    for (const way of ["established", "closed", "left"]) {
      const row = open({ client: a, server });
      expect(judge(a, server)).toBe(HALF_OPEN_IN_ALL);
      if (way === "established") become(row, TCP_ESTABLISHED);
      else if (way === "closed") become(row, TCP_CLOSED);
      halfOpen.forget(row);
      expect(halfOpen.now).toBe(0);
      expect(judge(a, server)).toBe(HALF_OPEN_ALLOWED);
    }
  });
});

test("an IPv6 source is its /64", () => {
  const { open, judge } = rig({ perSource: 1 });
  open({ client: A6, server: SERVER6 });
  expect(judge(A6_OTHER_HOST, SERVER6)).toBe(HALF_OPEN_OF_SOURCE);
});

test("a connection counts until its handshake is over, once", () => {
  const { open, become, halfOpen } = rig({});
  const row = open({});
  halfOpen.settle(row);
  become(row, TCP_SYN_RECEIVED);
  expect(halfOpen.now).toBe(1);
  become(row, TCP_ESTABLISHED);
  become(row, TCP_ESTABLISHED);
  expect(halfOpen.now).toBe(0);
});

test("flows of other protocols never count", () => {
  const { open, halfOpen } = rig({});
  open({ protocol: 17 });
  open({ protocol: 205 });
  expect(halfOpen.now).toBe(0);
});

test("a replica does not count until this node decides it", () => {
  const { table, open, halfOpen } = rig({});
  const row = open({ flags: FLAG_REPLICA });
  expect(halfOpen.now).toBe(0);
  table.words[row * ROW_WORDS + F_META] = table.words[row * ROW_WORDS + F_META]! & ~FLAG_REPLICA;
  halfOpen.settle(row);
  expect(halfOpen.now).toBe(1);
  table.words[row * ROW_WORDS + F_META] = table.words[row * ROW_WORDS + F_META]! | FLAG_REPLICA;
  halfOpen.settle(row);
  expect(halfOpen.now).toBe(0);
});

test("beyond the mark, to one destination or in all, sources have to prove themselves", () => {
  const { open, halfOpen } = rig({ proxyAbove: 2 });
  const server = addressWords(SERVER);
  const other = addressWords(B);
  for (let i = 0; i < 2; i++) open({ client: A + i, server: SERVER });
  expect(halfOpen.isFlooded(server, 0, 80)).toBe(false);
  const { halfOpen: single, open: openHere, table } = rig({ proxyAbove: 2 });
  for (let i = 0; i < 3; i++) openHere({ client: A + i, server: SERVER });
  expect(single.isFlooded(server, 0, 80)).toBe(true);
  expect(single.isFlooded(other, 0, 80)).toBe(true);
  single.forget(0);
  expect(table.used).toBe(3);
  expect(single.isFlooded(server, 0, 80)).toBe(false);
});

test("the sketch is sized so that nobody is refused for others with a probability of 1e-6, or says what it is", () => {
  const table = new FlowTable(262_144, TEST_KEY);
  const usual = new HalfOpen(table, TEST_KEY, { ...NO_LIMITS, perSource: 64, total: 65_536 });
  expect(usual.falseRefusal).toBeLessThan(1e-6);
  const unbounded = new HalfOpen(table, TEST_KEY, { ...NO_LIMITS, perSource: 16 });
  expect(unbounded.falseRefusal).toBeCloseTo((262_144 / (65_536 * 16)) ** 4);
  expect(sketchError(sketchCells(1000, 10), 1000, 10)).toBeLessThan(1e-6);
});
