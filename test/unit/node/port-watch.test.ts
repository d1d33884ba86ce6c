import { expect, test } from "vitest";
import type { Port } from "../../../src/io/port.ts";
import { PortWatch } from "../../../src/node/port-watch.ts";
import type { FromWorker } from "../../../src/node/worker-protocol.ts";

/** Two ports whose carriers and MTUs a test sets. */
class World {
  readonly up = [true, true];
  readonly mtus = [1500, 9000];
  readonly said: FromWorker[] = [];
  readonly used: [number, number][] = [];
  looks = 0;
  readonly watch = new PortWatch({
    ports: [0, 1].map((index) => this.#port(index)),
    mtuIntervalMs: 1000,
    post: (message) => this.said.push(message),
    onMtu: (port, mtuBytes) => this.used.push([port, mtuBytes]),
  });

  #port(index: number): Port {
    const port: Partial<Port> = {
      mtuBytes: this.mtus[index]!,
      carrier: () => {
        this.looks++;
        return this.up[index]!;
      },
      mtuNow: () => this.mtus[index]!,
    };
    return port as Port;
  }
}

test("a lost carrier is told of once, and when it is back", () => {
  const world = new World();
  world.watch.tick(0);
  world.up[1] = false;
  for (let ms = 1; ms <= 30; ms++) world.watch.tick(ms);
  world.up[1] = true;
  for (let ms = 31; ms <= 60; ms++) world.watch.tick(ms);
  expect(world.said).toEqual([
    { type: "carrier", port: 1, isUp: false, atMs: 10 },
    { type: "carrier", port: 1, isUp: true, atMs: 40 },
  ]);
});

test("carriers are looked at once in ten milliseconds, however often a loop ticks", () => {
  const world = new World();
  for (let ms = 0; ms < 100; ms++) world.watch.tick(ms);
  expect(world.looks).toBe(2 * 10);
});

test("another MTU is used before it is told of", () => {
  const world = new World();
  world.watch.tick(0);
  world.mtus[0] = 1400;
  world.watch.tick(999);
  expect(world.used).toEqual([]);
  world.watch.tick(1000);
  expect(world.used).toEqual([[0, 1400]]);
  expect(world.said).toEqual([{ type: "mtu", port: 0, mtuBytes: 1400, atMs: 1000 }]);
});
