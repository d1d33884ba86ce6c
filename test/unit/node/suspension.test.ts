import { describe, expect, test } from "vitest";
import { bootTimeMs } from "../../../src/io/boot-time.ts";
import { monotonicMs } from "../../../src/node/clock.ts";
import { Suspension } from "../../../src/node/suspension.ts";
import { SuspensionWatch } from "../../../src/node/suspension-watch.ts";

/** Both clocks of a machine that was up for a while and was suspended before. */
function machine(): { readonly rule: Suspension; readonly at: (boot: number, monotonic: number) => number } {
  const rule = new Suspension();
  rule.calibrate(10_000, 4000.02);
  rule.calibrate(10_000, 4000.001);
  return { rule, at: (boot, monotonic) => rule.read(10_000 + boot, 4000 + monotonic) };
}

describe("read()", () => {
  test("clocks that go on together say nothing, and what was before the start neither", () => {
    const { at } = machine();
    expect([at(0, 0), at(1, 1), at(3_600_000, 3_600_000.01)]).toEqual([0, 0, 0]);
  });

  test("time that only CLOCK_BOOTTIME saw is told once", () => {
    const { at } = machine();
    expect(at(60_010, 10)).toBeCloseTo(60_000, 1);
    expect(at(60_011, 11)).toBe(0);
    expect(at(90_012, 12)).toBeCloseTo(30_000, 1);
  });

  test("a stall between the two readings is no suspension, and what follows is none either", () => {
    const { at } = machine();
    expect(at(10, 5010)).toBe(0);
    expect(at(5020, 5020)).toBe(0);
  });

  test("a suspension between the two readings is told by the next ones", () => {
    const { at } = machine();
    // Suspended for a minute after CLOCK_BOOTTIME was read.
    expect(at(10, 10)).toBe(0);
    expect(at(60_011, 11)).toBeCloseTo(60_000, 1);
  });

  test("where CLOCK_BOOTTIME is not known, nothing is said", () => {
    const rule = new Suspension();
    rule.calibrate(Number.NaN, 1);
    expect(rule.read(Number.NaN, 2)).toBe(0);
    expect(rule.read(1e9, 2)).toBe(0);
  });
});

test("the real clocks go on together", () => {
  const rule = new Suspension();
  for (let i = 0; i < 16; i++) rule.calibrate(bootTimeMs(), monotonicMs());
  const before = bootTimeMs();
  let told = 0;
  for (let i = 0; i < 10_000; i++) told += rule.read(bootTimeMs(), monotonicMs());
  expect(bootTimeMs()).toBeGreaterThanOrEqual(before);
  expect(told).toBe(0);
});

describe("a thread's clock", () => {
  /** Clocks of a thread: time passes on both, a suspension on one. */
  function thread(): { readonly watch: SuspensionWatch; pass(ms: number): void; suspend(ms: number): void } {
    let [boot, monotonic, suspendedMs] = [50_000, 40_000, 0];
    const watch = new SuspensionWatch({
      bootTimeMs: () => boot,
      monotonicMs: () => monotonic,
      nowMs: () => monotonic + suspendedMs,
      addSuspendedMs: (ms) => {
        suspendedMs += ms;
      },
    });
    return {
      watch,
      pass: (ms) => {
        boot += ms;
        monotonic += ms;
      },
      suspend: (ms) => {
        boot += ms;
      },
    };
  }

  test("is right the first time that it is asked after a suspension, so that nothing is promised on the old one", () => {
    const { watch, pass, suspend } = thread();
    const beforeMs = watch.nowMs();
    pass(10);
    suspend(3_600_000);
    pass(1);
    expect(watch.nowMs() - beforeMs).toBe(3_600_011);
    pass(250);
    expect(watch.nowMs() - beforeMs).toBe(3_600_261);
  });

  test("tells how long it was once, however often the clock was asked before", () => {
    const { watch, pass, suspend } = thread();
    for (const ms of [1000, 2000]) {
      suspend(ms);
      pass(1);
      watch.nowMs();
    }
    expect([watch.takeSuspendedMs(), watch.takeSuspendedMs()]).toEqual([3000, 0]);
  });
});
