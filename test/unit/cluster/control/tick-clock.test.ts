import { expect, test } from "vitest";
import { TickClock } from "../../../../cluster/control/tick-clock.ts";

const TICK_MS = 10;

/** A clock over an event loop that a test moves; what is on its way in is let in by afterInput(). */
class World {
  nowMs = 0;
  readonly counted: { atMs: number; ticks: number }[] = [];
  wakeUps = 0;
  #timer: { atMs: number; callback: () => void } | undefined;
  #afterInput: (() => void) | undefined;
  readonly clock = new TickClock({
    tickMs: TICK_MS,
    onTicks: (ticks) => this.counted.push({ atMs: this.nowMs, ticks }),
    timers: {
      nowMs: () => this.nowMs,
      every: () => () => {},
      after: (ms, callback) => {
        const timer = { atMs: this.nowMs + ms, callback };
        this.#timer = timer;
        return () => {
          if (this.#timer === timer) this.#timer = undefined;
        };
      },
      afterInput: (callback) => {
        this.#afterInput = callback;
      },
    },
  });

  constructor() {
    this.clock.start();
  }

  /** Timers that are due in between fire in time. */
  runTo(nowMs: number): void {
    while (this.#timer !== undefined && this.#timer.atMs <= nowMs) this.stallTo(this.#timer.atMs);
    this.nowMs = nowMs;
  }

  /** Nothing runs before `nowMs`; then the timer does. */
  stallTo(nowMs: number): void {
    this.nowMs = nowMs;
    const timer = this.#timer;
    if (timer === undefined || timer.atMs > nowMs) return;
    this.#timer = undefined;
    this.wakeUps++;
    timer.callback();
  }

  letIn(): void {
    this.#afterInput?.();
    this.#afterInput = undefined;
  }
}

test("a clock at pace 1 wakes up for each tick, at pace 3 for three of them", () => {
  const world = new World();
  world.runTo(30);
  expect(world.counted.map(({ ticks }) => ticks)).toEqual([1, 1, 1]);
  world.clock.pace(3);
  world.runTo(90);
  expect(world.counted.slice(3)).toEqual([
    { atMs: 60, ticks: 3 },
    { atMs: 90, ticks: 3 },
  ]);
  expect(world.wakeUps).toBe(5);
});

test("no tick is lost and none counts twice when the pace changes in between", () => {
  const world = new World();
  world.clock.pace(3);
  world.runTo(25);
  world.clock.pace(1);
  world.runTo(40);
  const ticks = world.counted.map((each) => each.ticks).reduce((a, b) => a + b);
  expect(ticks).toBe(4);
  expect(world.counted.at(-1)).toEqual({ atMs: 40, ticks: 1 });
});

test("catchUp() counts what has passed before something happens that is counted in ticks", () => {
  const world = new World();
  world.clock.pace(3);
  world.runTo(25);
  world.clock.catchUp();
  expect(world.counted).toEqual([{ atMs: 25, ticks: 2 }]);
  world.clock.pace(1);
  world.runTo(30);
  expect(world.counted.at(-1)).toEqual({ atMs: 30, ticks: 1 });
});

test("after a stall what lies in the sockets comes first, whoever asks", () => {
  const world = new World();
  world.stallTo(95);
  world.clock.catchUp();
  expect(world.counted).toEqual([]);
  world.letIn();
  expect(world.counted).toEqual([{ atMs: 95, ticks: 9 }]);
});

test("a clock that was stopped counts nothing, not even what was on its way", () => {
  const world = new World();
  world.stallTo(95);
  world.clock.stop();
  world.letIn();
  world.clock.catchUp();
  world.runTo(200);
  expect(world.counted).toEqual([]);
});
