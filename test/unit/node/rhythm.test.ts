import { expect, test } from "vitest";
import { Rhythm } from "../../../src/node/rhythm.ts";

/** Something that is due at `dueMs`, with an event loop that a test moves. */
class World {
  nowMs = 0;
  dueMs = 10;
  isWorthwhile = false;
  readonly ticks: { atMs: number; askedMs: number }[] = [];
  /** Delays that timers were set for. */
  readonly set: number[] = [];
  timer: (() => void) | undefined;
  readonly rhythm = new Rhythm(
    {
      beating: {
        dueMs: () => this.dueMs,
        isTickWorthwhile: (nowMs) => this.isWorthwhile || nowMs >= this.dueMs,
        tick: (atMs, askedMs) => {
          this.ticks.push({ atMs, askedMs });
          this.dueMs = atMs + 10;
        },
      },
      after: (ms, callback) => {
        this.set.push(ms);
        this.timer = callback;
        return () => {
          this.timer = undefined;
        };
      },
      onTimer: () => this.rhythm.goOn(this.nowMs),
    },
    0,
  );

  at(nowMs: number): void {
    this.nowMs = nowMs;
    this.rhythm.goOn(nowMs);
  }

  fire(nowMs: number): void {
    this.nowMs = nowMs;
    this.timer?.();
  }
}

test("one timer is set for when something is due, and set again after it", () => {
  const world = new World();
  world.at(0);
  world.fire(10);
  world.fire(20);
  expect(world.ticks.map(({ atMs }) => atMs)).toEqual([10, 20]);
  expect(world.set).toEqual([10, 10, 10]);
});

test("a timer that is right stays as it is, and one that is too early or too late is replaced", () => {
  const world = new World();
  world.at(0);
  world.at(1);
  world.dueMs = 10.3;
  world.at(2);
  expect(world.set).toEqual([10]);
  world.dueMs = 5;
  world.at(3);
  world.dueMs = 18.2;
  world.at(4);
  expect(world.set).toEqual([10, 2, 15]);
});

test("a tick is told for when the timer was set, so that it knows how late it is", () => {
  const world = new World();
  world.at(0);
  world.fire(95);
  expect(world.ticks).toEqual([{ atMs: 95, askedMs: 10 }]);
});

test("a tick that an awake loop takes along is early, not late", () => {
  const world = new World();
  world.at(0);
  world.isWorthwhile = true;
  world.at(6);
  expect(world.ticks).toEqual([{ atMs: 6, askedMs: 10 }]);
});

test("a timer that fires before anything is due sets itself again, for a whole millisecond at least", () => {
  const world = new World();
  world.at(0);
  world.fire(9.6);
  expect(world.ticks).toEqual([]);
  expect(world.set).toEqual([10, 1]);
});

test("nothing happens after stop()", () => {
  const world = new World();
  world.at(0);
  world.rhythm.stop();
  expect(world.timer).toBeUndefined();
  world.at(50);
  expect(world.ticks).toEqual([]);
});
