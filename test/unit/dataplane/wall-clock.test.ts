/**
 * The time of day is set while the engine runs: schedules of rules follow it, flows do not care.
 */
import { expect, test } from "vitest";
import { tcp } from "./frames.ts";
import { LAB_POLICY, World } from "./world.ts";

/** A host begins a connection, or tries again to. */
function syn(world: World, sport: number): void {
  world.packet(0, tcp({ from: "10.10.0.2", to: "203.0.113.7", sport, dport: 443, flags: "S" }));
}

const HOUR_MS = 3_600_000;
/** Every day, 8 to 18 o'clock. */
const OFFICE_HOURS = { days: 0x7f, fromMinute: 8 * 60, toMinute: 18 * 60 };
const NOON_MS = Date.UTC(2026, 5, 3, 12);

test("a schedule holds by the new time of day at once, forward and back, and established flows go on", () => {
  const [out, ...rest] = LAB_POLICY.rules;
  const world = new World({
    policy: { ...LAB_POLICY, rules: [{ ...out!, schedule: OFFICE_HOURS }, ...rest] },
  });
  const tell = (wallMs: number): void => world.engine.setWallTime(Float64Array.of(wallMs));
  const isLetIn = (sport: number): boolean => {
    const before = world.count("flowsNow");
    syn(world, sport);
    return world.count("flowsNow") > before;
  };
  tell(NOON_MS);
  expect(isLetIn(1001)).toBe(true);
  world.take();
  tell(NOON_MS + 9 * HOUR_MS);
  expect(isLetIn(1002)).toBe(false);
  expect(world.take()).toEqual([]);
  syn(world, 1001);
  expect(world.take(), "the flow of before").toHaveLength(1);
  tell(NOON_MS - 9 * HOUR_MS);
  expect(isLetIn(1003)).toBe(false);
  tell(NOON_MS);
  expect(isLetIn(1004)).toBe(true);
});
