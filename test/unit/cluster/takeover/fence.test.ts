import { expect, test } from "vitest";
import { FenceAsker } from "../../../../cluster/takeover/fence.ts";
import type { FenceReply } from "../../../../cluster/takeover/messages.ts";

const LEASE_MS = 100;
const asker = (voters = [1, 2, 3]): FenceAsker => new FenceAsker({ leaseMs: LEASE_MS, voters, repeatMs: 5 });

const reply = (ask: number, part: Partial<FenceReply> = {}): FenceReply => ({
  ask,
  node: 9,
  epoch: 4,
  remainingMs: 0,
  knownEpoch: 0,
  seenEpoch: 0,
  ...part,
});

/** Asks at `nowMs` and returns the number of the ask. */
function ask(f: FenceAsker, nowMs: number, epoch = 4): number {
  f.want(9, epoch, nowMs);
  return f.due(nowMs)[0]?.ask ?? -1;
}

test("asks are repeated every few milliseconds until they are dropped", () => {
  const f = asker();
  f.want(9, 4, 0);
  expect(f.due(0)).toEqual([{ ask: 1, node: 9, epoch: 4 }]);
  expect(f.due(4)).toEqual([]);
  expect(f.due(5)).toHaveLength(1);
  f.drop(9);
  expect(f.due(100)).toEqual([]);
});

test("a node is fenced when the promises of a majority have run out, with drift and margin", () => {
  const f = asker();
  const a = ask(f, 0);
  f.reply(1, reply(a, { remainingMs: 0 }), 1);
  expect(f.fencedAtMs(9, 4, 1)).toBe(Number.POSITIVE_INFINITY);
  f.reply(2, reply(a, { remainingMs: 50 }), 1);
  expect(f.fencedAtMs(9, 4, 1)).toBe(1 + 50.5 + 2);
  f.reply(3, reply(a, { remainingMs: 10 }), 1);
  expect(f.fencedAtMs(9, 4, 1)).toBeCloseTo(1 + 10.1 + 2);
  expect([f.isFenced(9, 4, 13), f.isFenced(9, 4, 14)]).toEqual([false, true]);
});

test("a fence under a lower epoch proves nothing about a higher one", () => {
  const f = asker([1]);
  f.reply(1, reply(ask(f, 0)), 0);
  expect(f.isFenced(9, 4, 10)).toBe(true);
  expect(f.isFenced(9, 5, 10)).toBe(false);
  f.reply(1, reply(ask(f, 10, 5), { epoch: 5, remainingMs: 30 }), 10);
  expect([f.isFenced(9, 5, 40), f.isFenced(9, 5, 43)]).toEqual([false, true]);
});

test("an answer is trusted for two leases from the sending of its ask", () => {
  const f = asker([1]);
  f.reply(1, reply(ask(f, 0)), 150);
  expect([f.isFenced(9, 4, 199), f.isFenced(9, 4, 200)]).toEqual([true, false]);
  f.reply(1, reply(ask(f, 200)), 201);
  expect(f.isFenced(9, 4, 300)).toBe(true);
});

test("a promise that looks longer in a later answer has run out all the same", () => {
  const f = asker([1]);
  f.reply(1, reply(ask(f, 0), { remainingMs: 10 }), 0);
  f.reply(1, reply(ask(f, 20), { remainingMs: 100 }), 20);
  expect(f.isFenced(9, 4, 20)).toBe(true);
});

test("a fence that may have lapsed meanwhile begins anew, with the end of the promise that the voter names then", () => {
  const f = asker([1]);
  f.reply(1, reply(ask(f, 0)), 0);
  expect(f.isFenced(9, 4, 2)).toBe(true);
  // The asker stood still for longer than a fence binds: the node was promised a lease again.
  f.reply(1, reply(ask(f, 1100), { remainingMs: 100 }), 1100);
  expect([f.isFenced(9, 4, 1101), f.isFenced(9, 4, 1202), f.isFenced(9, 4, 1204)]).toEqual([
    false,
    false,
    true,
  ]);
});

test("an answer that took longer than it can be trusted says nothing", () => {
  const f = asker([1]);
  const first = ask(f, 0);
  f.reply(1, reply(first), 200);
  const second = ask(f, 205);
  f.reply(1, reply(second, { remainingMs: 100 }), 206);
  expect([f.isFenced(9, 4, 207), f.isFenced(9, 4, 309)]).toEqual([false, true]);
});

test("a voter that once refused under another's higher epoch counts again when that is over", () => {
  const f = asker([1]);
  f.reply(1, reply(ask(f, 0, 5), { epoch: 8, seenEpoch: 3, knownEpoch: 4 }), 0);
  f.reply(1, reply(ask(f, 1100, 5), { epoch: 5 }), 1100);
  expect(f.isFenced(9, 5, 1103)).toBe(true);
  expect([f.seenEpoch(9), f.knownEpoch(9)]).toEqual([3, 4]);
});

test("answers to asks that were never made, or long ago, are ignored", () => {
  const f = asker([1]);
  const first = ask(f, 0);
  f.reply(1, reply(first + 1), 0);
  for (let t = 5; t < 5 * 300; t += 5) f.due(t);
  f.reply(1, reply(first), 1500);
  expect(f.isFenced(9, 4, 1500)).toBe(false);
});

test("what a majority knows counts, and what any voter has seen", () => {
  const f = asker();
  const a = ask(f, 0);
  f.reply(1, reply(a, { knownEpoch: 8 }), 0);
  expect(f.knownEpoch(9)).toBe(0);
  f.reply(2, reply(a, { knownEpoch: 6, seenEpoch: 3 }), 0);
  expect(f.knownEpoch(9)).toBe(6);
  expect(f.seenEpoch(9)).toBe(3);
});

test("without voters nobody is ever fenced", () => {
  const f = asker([]);
  ask(f, 0);
  expect(f.isFenced(9, 4, 1e9)).toBe(false);
});
