import { expect, test } from "vitest";
import { Succession } from "../../../../cluster/control/succession.ts";

const CANDIDATES = [1, 2, 3, 4];
const DEAD = new Set([1]);

/** Ticks until it campaigns. `candidateTerm` as for Succession.tick(). */
function ticksUntilCampaign(succession: Succession, candidateTerm = 0): number {
  for (let ticks = 1; ticks <= 100; ticks++) if (succession.tick(candidateTerm)) return ticks;
  throw new Error("It never campaigns");
}

function begun(self: number): Succession {
  const succession = new Succession();
  succession.begin(self, DEAD, CANDIDATES);
  return succession;
}

test("the lowest living id campaigns at once, each other rank 3 ticks after the one before", () => {
  expect(new Succession().begin(2, DEAD, CANDIDATES)).toBe(true);
  expect(new Succession().begin(3, DEAD, CANDIDATES)).toBe(false);
  expect(ticksUntilCampaign(begun(3))).toBe(3);
  expect(ticksUntilCampaign(begun(4))).toBe(6);
});

test("higher ranks repeat less often than lower ones", () => {
  const repeats = (succession: Succession): number[] =>
    Array.from({ length: 4 }, () => ticksUntilCampaign(succession)).slice(1);
  expect(repeats(begun(2))).toEqual([4, 5, 6]);
  expect(repeats(begun(3))).toEqual([4, 6, 8]);
  expect(repeats(begun(4))).toEqual([5, 8, 11]);
});

test("votes have twice as long as the pre-vote took, and are not asked for anew before", () => {
  const succession = begun(2);
  expect(ticksUntilCampaign(succession)).toBe(2);
  for (let i = 0; i < 3; i++) expect(succession.tick(0)).toBe(false);
  // Five ticks after it began it asks for votes in term 7.
  expect(succession.tick(7)).toBe(false);
  expect(ticksUntilCampaign(succession, 7)).toBe(10);
});

test("who is asked by a lower rank yields, and waits anew; a higher rank changes nothing", () => {
  const succession = begun(3);
  succession.tick(0);
  succession.asked(4);
  expect(succession.isYielding).toBe(false);
  succession.tick(0);
  succession.asked(2);
  expect(succession.isYielding).toBe(true);
  expect(ticksUntilCampaign(succession)).toBe(9);
  expect(succession.isYielding).toBe(false);
  succession.asked(2);
  expect(succession.isYielding).toBe(true);
  expect(ticksUntilCampaign(succession)).toBe(12);
});

test("who is not to campaign yields to nobody", () => {
  const succession = new Succession();
  succession.asked(1);
  expect(succession.isYielding).toBe(false);
  succession.begin(1, DEAD, CANDIDATES);
  expect(succession.isActive).toBe(false);
});
