import { expect, test } from "vitest";
import { monotonicMs, offsetBetween } from "../../../src/node/clock.ts";

/** A thread that stands still for 50 ms before some of its readings. */
function interrupted(isLong: (reading: number) => boolean) {
  let nowMs = 1000;
  let reading = 0;
  const read = (fromMs: number) => (): number => {
    nowMs += isLong(reading++) ? 50 : 0.001;
    return nowMs - fromMs;
  };
  return { clock: read(0), count: read(700) };
}

test("two clocks are compared right, although the thread stands still between most readings", () => {
  const { clock, count } = interrupted((reading) => reading % 7 !== 3 && reading % 11 !== 5 && reading < 80);
  expect(offsetBetween(clock, count)).toBeCloseTo(700, 2);
});

test("a thread that stands still once, at the first reading, is not wrong by that", () => {
  for (const at of [0, 1, 2]) {
    const { clock, count } = interrupted((reading) => reading === at);
    expect(offsetBetween(clock, count), `reading ${at}`).toBeCloseTo(700, 2);
  }
});

test("this thread's clock is CLOCK_MONOTONIC", () => {
  const [seconds, nanoseconds] = process.hrtime();
  const before = seconds * 1e3 + nanoseconds / 1e6;
  const at = monotonicMs();
  const [laterSeconds, laterNanoseconds] = process.hrtime();
  expect(at).toBeGreaterThanOrEqual(before - 1);
  expect(at).toBeLessThanOrEqual(laterSeconds * 1e3 + laterNanoseconds / 1e6 + 1);
});
