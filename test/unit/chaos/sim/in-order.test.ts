import { expect, test } from "vitest";
import { SimClock } from "../../../../chaos/sim/cluster/clock.ts";
import { inOrder } from "../../../../chaos/sim/cluster/in-order.ts";
import { Life } from "../../../../chaos/sim/cluster/life.ts";
import { MachineClocks } from "../../../../chaos/sim/cluster/machine-clocks.ts";

test("what is said later takes less time, and is heard later all the same: on both threads, by a clock that runs fast", async () => {
  const clock = new SimClock();
  const life = new Life(clock, { clocks: new MachineClocks(1.005, 77) });
  for (const schedule of [
    (ms: number, work: () => void): void => void life.after(ms, work),
    (ms: number, work: () => void): void => life.wire(ms, work),
  ]) {
    const heard: number[] = [];
    let delayMs = 1;
    const say = inOrder((work) => {
      delayMs /= 2;
      schedule(delayMs, work);
    });
    for (let i = 0; i < 8; i++) say(() => heard.push(i));
    await clock.drive(clock.pause(2));
    expect(heard).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  }
});

test("a thread that stands still hears all of it in order when it goes on", async () => {
  const clock = new SimClock();
  const life = new Life(clock);
  const heard: number[] = [];
  const say = inOrder((work) => life.wire(0.1, work));
  life.worker.pause();
  say(() => heard.push(0));
  await clock.drive(clock.pause(1));
  say(() => heard.push(1));
  life.worker.resume();
  say(() => heard.push(2));
  await clock.drive(clock.pause(1));
  expect(heard).toEqual([0, 1, 2]);
});
