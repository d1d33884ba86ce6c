import { expect, test } from "vitest";
import { LagRecorder } from "../../../src/node/lag-recorder.ts";

test("samples are ten milliseconds apart while anything is replicated, and rarer a while after that", () => {
  expect(LagRecorder.intervalMs(1000, 1000)).toBe(10);
  expect(LagRecorder.intervalMs(1000, 1200)).toBe(10);
  expect(LagRecorder.intervalMs(1000, 1201)).toBe(25);
});

test("a node that never replicated anything begins with rare samples", () => {
  expect(LagRecorder.intervalMs(Number.NEGATIVE_INFINITY, 0)).toBe(25);
});

test("samples since a moment are told in order, and older ones are not", () => {
  const lag = new LagRecorder();
  for (let atMs = 10; atMs <= 50; atMs += 10) lag.add(atMs, 2, atMs / 10);
  expect(lag.since(30)).toEqual([
    { atMs: 30, peer: 2, lagMs: 3 },
    { atMs: 40, peer: 2, lagMs: 4 },
    { atMs: 50, peer: 2, lagMs: 5 },
  ]);
});
