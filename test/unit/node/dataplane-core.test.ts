import { expect, test } from "vitest";
import { counterIndex, type ExtraCounter } from "../../../src/dataplane/counters.ts";
import { WorkerWorld } from "./worker-world.ts";

function counterOf(world: WorkerWorld, name: ExtraCounter): number {
  return new Float64Array(world.memory.counters)[counterIndex(name)]!;
}

test("a tick that comes late shows how late it came, and the worst one stays", () => {
  const world = new WorkerWorld();
  world.run(10);
  expect(counterOf(world, "loopLateMsMax")).toBe(0);
  world.run(6, 6);
  world.run(3, 3);
  expect(counterOf(world, "loopLateMsMax")).toBe(5);
});

test("a tick later than a heartbeat interval counts as a stall, once", () => {
  const world = new WorkerWorld();
  world.run(10);
  world.run(9, 9);
  expect(counterOf(world, "loopStalls")).toBe(0);
  world.run(30, 30);
  world.run(10);
  expect(counterOf(world, "loopStalls")).toBe(1);
  const events = world.said.filter((said) => typeof said === "object" && said.type === "liveness");
  expect(events).toHaveLength(1);
});

test("a pool without a free frame is counted", () => {
  const world = new WorkerWorld();
  while (world.pool.available() > 0) world.pool.alloc();
  world.run(1);
  const before = counterOf(world, "poolExhausted");
  world.pool.alloc();
  world.run(1);
  expect(counterOf(world, "poolExhausted")).toBeGreaterThan(before);
});
