import { expect, test } from "vitest";
import { Rivals } from "../../../../cluster/takeover/rivals.ts";

const PROFILE = { leaseMs: 60, intervalMs: 10, multiplier: 6 };
const FORCED = { epoch: 45, by: 1 };

test("who claims nothing is of the cluster's first log", () => {
  const rivals = new Rivals(PROFILE);
  expect(rivals.isForeign(2)).toBe(false);
  rivals.setMine(FORCED, true);
  expect(rivals.isForeign(2)).toBe(true);
});

test("a rival that wins outranks this member while it is heard", () => {
  const rivals = new Rivals(PROFILE);
  rivals.setMine(FORCED, true);
  expect(rivals.claimed(2, { generation: { epoch: 46, by: 2 }, isServing: true })).toBe(true);
  expect(rivals.isOutranked).toBe(true);
  rivals.gone(2);
  expect(rivals.isOutranked).toBe(false);
});

test("who comes into the rival's log is outranked no more", () => {
  const rivals = new Rivals(PROFILE);
  rivals.setMine(FORCED, true);
  rivals.claimed(2, { generation: { epoch: 46, by: 2 }, isServing: true });
  rivals.setMine({ epoch: 46, by: 2 }, false);
  expect([rivals.isOutranked, rivals.isForeign(2)]).toEqual([false, false]);
});

test("a member that stood still for a lease listens for a detection time", () => {
  const rivals = new Rivals(PROFILE);
  for (const nowMs of [0, 2, 4]) rivals.tick(nowMs);
  expect(rivals.isListening(70)).toBe(false);
  rivals.tick(70);
  expect([rivals.isListening(70), rivals.isListening(129), rivals.isListening(130)]).toEqual([
    true,
    true,
    false,
  ]);
});
