import { expect, test } from "vitest";
import { DelayLine } from "../../../../chaos/lab/delay-line.ts";

const frame = (n: number): Uint8Array => Uint8Array.of(n);

test("a frame leaves when its time is over, not before, and in the order of arrival", () => {
  const line = new DelayLine({ delayMs: 10, framesMax: 4 });
  line.enter(frame(1), 100);
  line.enter(frame(2), 103);
  expect(line.leave(109.9)).toBeUndefined();
  expect(line.leave(110)).toEqual(frame(1));
  expect(line.leave(110)).toBeUndefined();
  expect(line.leave(120)).toEqual(frame(2));
});

test("it tells how long until the next one, which may be late already", () => {
  const line = new DelayLine({ delayMs: 10, framesMax: 4 });
  expect(line.waitMs(0)).toBe(Number.POSITIVE_INFINITY);
  line.enter(frame(1), 100);
  expect([line.waitMs(104), line.waitMs(130)]).toEqual([6, 0]);
});

test("what there is no room for is dropped and counted", () => {
  const line = new DelayLine({ delayMs: 10, framesMax: 1 });
  line.enter(frame(1), 0);
  line.enter(frame(2), 1);
  expect([line.dropped, line.leave(50), line.leave(50)]).toEqual([1, frame(1), undefined]);
});
