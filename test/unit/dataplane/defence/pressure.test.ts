import { expect, test } from "vitest";
import { LIFE_LEAST, LIFE_WHOLE, Pressure } from "../../../../src/dataplane/defence/pressure.ts";

test("lives shrink in proportion between the two marks", () => {
  const pressure = new Pressure(1000, { shrinkFromPercent: 60, shrinkToPercent: 90, reservePercent: 0 });
  expect([0, 600, 750, 900, 1000].map((used) => pressure.life(used))).toEqual([
    LIFE_WHOLE,
    LIFE_WHOLE,
    LIFE_LEAST + (LIFE_WHOLE - LIFE_LEAST) / 2,
    LIFE_LEAST,
    LIFE_LEAST,
  ]);
});

test("without marks nothing shrinks, however full the table is", () => {
  const pressure = new Pressure(1000, { shrinkFromPercent: 0, shrinkToPercent: 0, reservePercent: 0 });
  expect(pressure.life(1000)).toBe(LIFE_WHOLE);
});

test("the reserve is for the privileged alone, and nobody gets more than there is", () => {
  const pressure = new Pressure(100, { shrinkFromPercent: 0, shrinkToPercent: 0, reservePercent: 10 });
  expect(pressure.mayTake(89, false)).toBe(true);
  expect(pressure.mayTake(90, false)).toBe(false);
  expect(pressure.mayTake(99, true)).toBe(true);
  expect(pressure.mayTake(100, true)).toBe(false);
});

test("marks in the wrong order are refused", () => {
  expect(() => new Pressure(100, { shrinkFromPercent: 90, shrinkToPercent: 60, reservePercent: 0 })).toThrow(
    /90 % to 60 %/,
  );
});
