import { expect, test } from "vitest";
import { WallJumps } from "../../../src/node/wall-jumps.ts";

const HOUR_MS = 3_600_000;
const WALL_MS = 1_700_000_000_000;

test("a time of day that goes on with the clock that nobody sets does not jump", () => {
  const walls = new WallJumps();
  for (let ms = 0; ms < 10_000; ms += 250) expect(walls.read(ms, WALL_MS + ms, ms)).toBe(0);
  expect(walls.count).toBe(0);
});

test.each([HOUR_MS * 5, -HOUR_MS * 5, 1000, -1000])("a jump by %d ms is told once", (jumpMs) => {
  const walls = new WallJumps();
  walls.read(0, WALL_MS, 0);
  expect(walls.read(250, WALL_MS + 250 + jumpMs, 250)).toBe(jumpMs);
  expect(walls.read(500, WALL_MS + 500 + jumpMs, 500)).toBe(0);
  expect(walls.count).toBe(1);
});

test("a clock that is slewed is followed in silence, however far", () => {
  const walls = new WallJumps();
  for (let ms = 0; ms < 100 * HOUR_MS; ms += 60_000)
    expect(walls.read(ms, WALL_MS + ms * 1.0005, ms)).toBe(0);
});

test("a thread that was put aside between the readings sees no jump", () => {
  const walls = new WallJumps();
  walls.read(0, WALL_MS, 0);
  expect(walls.read(250, WALL_MS + 5250, 5250)).toBe(0);
  expect(walls.read(5500, WALL_MS + 5500, 5500)).toBe(0);
});
