import { expect, test } from "vitest";
import { type Address, addressWords } from "../../../../src/base/address.ts";
import { SourceRate } from "../../../../src/dataplane/defence/source-rate.ts";
import { TEST_KEY } from "../world.ts";

function rig(perSecond: number, burst: number, places?: number) {
  const rate = new SourceRate(TEST_KEY, perSecond, burst, places);
  const clock = new Float64Array(1);
  return {
    rate,
    clock,
    take: (source: Address) => rate.take(addressWords(source), 0, clock),
    taken: (source: Address, tries: number) =>
      Array.from({ length: tries }, () => rate.take(addressWords(source), 0, clock)).filter(Boolean).length,
  };
}

test("a source may begin its burst at once and then goes on at its rate", () => {
  const { clock, taken } = rig(10, 5);
  expect(taken(1, 20)).toBe(5);
  clock[0] = 99;
  expect(taken(1, 20)).toBe(0);
  clock[0] = 100;
  expect(taken(1, 20)).toBe(1);
  clock[0] = 10_000;
  expect(taken(1, 20)).toBe(5);
});

test("sources do not pay for each other, and an IPv6 source is its /64", () => {
  const { taken } = rig(1, 2);
  expect(taken(1, 9)).toBe(2);
  expect(taken(2, 9)).toBe(2);
  const net = 0x20010db8_0000_0001n << 64n;
  expect(taken(net + 1n, 1)).toBe(1);
  expect(taken(net + 2n, 9)).toBe(1);
  expect(taken(net + (1n << 64n), 9)).toBe(2);
});

test("when there is no room, the source that took least is forgotten and the greedy one is not", () => {
  const { rate, taken, take } = rig(1, 10, 4);
  expect(taken(1, 99)).toBe(10);
  for (let spoofed = 100; spoofed < 1100; spoofed++) expect(take(spoofed)).toBe(true);
  expect(taken(1, 99)).toBe(0);
  expect(rate.evicted).toBe(997);
});

test("a place whose bucket is full is free", () => {
  const { rate, clock, take } = rig(1000, 1, 4);
  for (let source = 1; source <= 100; source++) {
    clock[0] = source;
    expect(take(source)).toBe(true);
  }
  expect(rate.evicted).toBe(0);
});
