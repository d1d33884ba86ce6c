import { expect, test } from "vitest";
import {
  FIRST_GENERATION,
  FORCED_EPOCH_MAX,
  floorTerm,
  generationOf,
  givesWay,
  termInside,
} from "../../../../cluster/control/generation.ts";

const claim = (epoch: number, by: number, isServing = true) => ({ generation: { epoch, by }, isServing });

test("a term says which generation it belongs to, and stays a safe integer", () => {
  for (const generation of [
    { epoch: 1, by: 255 },
    { epoch: 45, by: 1 },
    { epoch: FORCED_EPOCH_MAX, by: 1 },
  ]) {
    const term = floorTerm(generation) + 2 ** 20 - 1;
    expect(Number.isSafeInteger(term)).toBe(true);
    expect(generationOf(term)).toEqual(generation);
    expect(termInside(floorTerm(generation) + 7)).toBe(7);
  }
});

test("plain terms are of the cluster's first log", () => {
  expect([0, 1, 999_999].map(generationOf)).toEqual([FIRST_GENERATION, FIRST_GENERATION, FIRST_GENERATION]);
  expect(floorTerm(FIRST_GENERATION)).toBe(0);
});

test("of two that serve the higher epoch wins, and of two alike the lower id", () => {
  expect(givesWay(claim(45, 1), claim(46, 2))).toBe(true);
  expect(givesWay(claim(46, 2), claim(45, 1))).toBe(false);
  expect(givesWay(claim(45, 2), claim(45, 1))).toBe(true);
  expect(givesWay(claim(45, 1), claim(45, 2))).toBe(false);
});

test("who has just started gives way to who serves, whatever their epochs", () => {
  expect(givesWay(claim(47, 1, false), claim(46, 2))).toBe(true);
  expect(givesWay(claim(46, 2), claim(47, 1, false))).toBe(false);
});

test("of one log nobody gives way", () => {
  expect(givesWay(claim(45, 1, false), claim(45, 1))).toBe(false);
});

test("of two members exactly one gives way, unless they have the same log", () => {
  const claims = [0, 45, 46].flatMap((epoch) =>
    (epoch === 0 ? [0] : [1, 2]).flatMap((by) => [true, false].map((serves) => claim(epoch, by, serves))),
  );
  for (const a of claims) {
    for (const b of claims) {
      const isSame = floorTerm(a.generation) === floorTerm(b.generation);
      expect(Number(givesWay(a, b)) + Number(givesWay(b, a))).toBe(isSame ? 0 : 1);
    }
  }
});
