import { expect, test } from "vitest";
import { seededRandom } from "../../../src/base/env.ts";
import { LatencyHistogram } from "../../../src/base/histogram.ts";

test("an empty histogram answers zero", () => {
  const histogram = new LatencyHistogram();
  expect(histogram.quantileMs(0.5)).toBe(0);
  expect(histogram.count).toBe(0);
  expect(histogram.maxMs).toBe(0);
});

test("quantiles are right to 4 % over seven orders of magnitude", () => {
  const random = seededRandom(7);
  const histogram = new LatencyHistogram();
  const values: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const ms = 10 ** (random(7000) / 1000 - 3);
    values.push(ms);
    histogram.record(ms);
  }
  values.sort((a, b) => a - b);
  for (const q of [0.01, 0.25, 0.5, 0.9, 0.99, 0.999]) {
    const exact = values[Math.ceil(q * values.length) - 1]!;
    expect(Math.abs(histogram.quantileMs(q) - exact)).toBeLessThanOrEqual(exact * 0.04 + 0.001);
  }
  expect(histogram.maxMs).toBe(values.at(-1));
});

test("a quantile never exceeds the longest duration", () => {
  const histogram = new LatencyHistogram();
  histogram.record(100.1);
  expect(histogram.quantileMs(1)).toBe(100.1);
});

test("cumulative() counts what is at most as long as each bound", () => {
  const histogram = new LatencyHistogram();
  for (const ms of [0.05, 0.5, 0.5, 5, 50]) histogram.record(ms);
  expect(histogram.cumulative([0.1, 1, 10, 100])).toEqual([1, 3, 4, 5]);
  expect(histogram.sumMs).toBeCloseTo(56.05);
});

test("durations below zero count as zero, and endless ones as the longest", () => {
  const histogram = new LatencyHistogram();
  histogram.record(-3);
  histogram.record(1e12);
  expect(histogram.count).toBe(2);
  expect(histogram.quantileMs(0.5)).toBe(0);
  expect(histogram.quantileMs(1)).toBeCloseTo(4_294_967.295, 3);
});

test("reset() forgets everything", () => {
  const histogram = new LatencyHistogram();
  histogram.record(3);
  histogram.reset();
  expect([histogram.count, histogram.sumMs, histogram.maxMs, histogram.quantileMs(1)]).toEqual([0, 0, 0, 0]);
});
