import { expect, test } from "vitest";
import { Watchdog } from "../../../src/node/watchdog.ts";

const LIMITS = { checkMs: 250, limitMs: 5000 };

/** Looks every `stepMs` at a worker whose beats are `beats(look)`; answers after how many looks it was said to hang. */
function looksUntilHung(
  beats: (look: number) => number,
  stepMs: (look: number) => number,
): number | undefined {
  let nowMs = 1000;
  const dog = new Watchdog(LIMITS, 0, nowMs);
  for (let look = 1; look <= 200; look++) {
    nowMs += stepMs(look);
    if (dog.check(beats(look), nowMs)) return look;
  }
  return undefined;
}

test("a worker whose beats stand still hangs after the limit, and not before", () => {
  expect(
    looksUntilHung(
      () => 0,
      () => 250,
    ),
  ).toBe(20);
});

test("a worker that beats once in a while is slow, however slow", () => {
  expect(
    looksUntilHung(
      (look) => Math.floor(look / 19),
      () => 250,
    ),
  ).toBe(undefined);
});

test("a stall of the thread that looks accuses nobody", () => {
  // An hour passes between the first two looks: nobody ran, this thread neither.
  expect(
    looksUntilHung(
      (look) => (look <= 2 ? 0 : look),
      (look) => (look === 2 ? 3_600_000 : 250),
    ),
  ).toBe(undefined);
});

test("a thread that looks late, but looks, still tells a worker that hangs", () => {
  expect(
    looksUntilHung(
      () => 0,
      () => 1000,
    ),
  ).toBe(10);
});

test("a clock that goes back takes no time away", () => {
  const dog = new Watchdog(LIMITS, 0, 1000);
  dog.check(0, 1250);
  dog.check(0, 0);
  expect(dog.stillMs).toBe(250);
});

test("stillMs is for how long the beats stand still, and 0 when they go on", () => {
  const dog = new Watchdog(LIMITS, 7, 0);
  dog.check(7, 250);
  dog.check(7, 500);
  expect(dog.stillMs).toBe(500);
  dog.check(8, 750);
  expect(dog.stillMs).toBe(0);
});
