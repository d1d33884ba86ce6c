import { expect, test } from "vitest";
import { FLAG_PROBING, FLAGS_AT } from "../../../cluster/liveness/envelope.ts";
import { PROFILES, restMsOf } from "../../../cluster/liveness/model.ts";
import { RecordRing } from "../../../src/base/ring.ts";
import { counterIndex, type ExtraCounter } from "../../../src/dataplane/counters.ts";
import { copyable } from "../../../src/io/copy.ts";
import { writeZoneFrame } from "../../../src/node/heartbeat-frames.ts";
import { WorkerBoard } from "../../../src/node/worker-board.ts";
import { DOORBELL } from "../../../src/node/worker-protocol.ts";
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

test("each tick is a beat that the watchdog of the other thread sees, a turn is none", () => {
  const world = new WorkerWorld();
  const board = new WorkerBoard(world.memory.board);
  world.run(10);
  expect(board.beats()).toBe(10);
  world.core.turn(world.nowMs);
  expect(board.beats()).toBe(10);
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

test("what ports lost and heartbeats that were refused reach the other thread within a second", () => {
  const world = new WorkerWorld();
  const board = new WorkerBoard(world.memory.board);
  const inside = world.ports[0]!;
  const frame = copyable(new Uint8Array(64));
  for (let i = 0; i < 20; i++) inside.accept(frame, 0, 64);
  world.run(1001);
  expect(board.lostBy(0)).toEqual({ rxDropped: 4, txDropped: 0, rxUnknownVlan: 0 });
  expect(board.lostBy(1).rxDropped).toBe(0);
  const strange = copyable(zoneFrame(new Uint8Array(56)));
  inside.accept(strange, 0, strange.bytes.length);
  world.run(1001);
  expect(board.heartbeatsRefused()).toMatchObject({ foreign: 1, forged: 0 });
});

/** A frame with the heartbeats' EtherType. */
function zoneFrame(datagram: Uint8Array): Uint8Array {
  const frame = new Uint8Array(128);
  const lengthBytes = writeZoneFrame(frame, 0, new Uint8Array(6).fill(0xff), new Uint8Array(6), datagram);
  return frame.subarray(0, lengthBytes);
}

test("each second a heartbeat on the cluster link is as long as its MTU, and says that such ones come", () => {
  const world = new WorkerWorld();
  const cluster = world.ports[2]!;
  const lengths: number[] = [];
  const flags = new Set<number>();
  const send = cluster.send.bind(cluster);
  cluster.send = (at, lengthBytes) => {
    lengths.push(lengthBytes);
    flags.add(world.pool.bytes[at + 42 + FLAGS_AT]!);
    return send(at, lengthBytes);
  };
  world.run(3000);
  expect(lengths.length).toBeGreaterThan(20);
  expect(lengths.filter((length) => length === 14 + cluster.mtuBytes)).toHaveLength(3);
  expect([...flags]).toEqual([FLAG_PROBING]);
});

test("an interface whose MTU changes is told of, and the cluster link's new one bounds probes at once", () => {
  const world = new WorkerWorld();
  const cluster = world.ports[2]!;
  world.run(10);
  cluster.mtuNow = () => 1400;
  let longest = 0;
  world.run(1000);
  const send = cluster.send.bind(cluster);
  cluster.send = (at, lengthBytes) => {
    longest = Math.max(longest, lengthBytes);
    return send(at, lengthBytes);
  };
  world.run(2000);
  expect(longest).toBe(14 + 1400);
  const told = world.said.filter((said) => typeof said === "object" && said.type === "mtu");
  expect(told).toEqual([{ type: "mtu", port: 2, mtuBytes: 1400, atMs: expect.any(Number) }]);
});

/** Until the next tick, as a loop that sleeps would ask. */
function restMs(world: WorkerWorld): number {
  return world.core.dueMs(world.nowMs) - world.nowMs;
}

test("a core that nobody needs rests for less than a heartbeat interval, and one that took a packet for a millisecond", () => {
  const world = new WorkerWorld();
  world.run(50);
  expect(restMs(world)).toBeGreaterThan(1);
  expect(restMs(world)).toBeLessThanOrEqual(restMsOf(PROFILES.lan));
  world.ports[0]!.accept(copyable(new Uint8Array(64)), 0, 64);
  world.core.turn(world.nowMs);
  expect(restMs(world)).toBe(1);
  world.run(1);
  expect(restMs(world)).toBeGreaterThan(1);
});

test("a heartbeat is no packet that the engine's timers have to do with", () => {
  const world = new WorkerWorld();
  world.run(50);
  const strange = copyable(zoneFrame(new Uint8Array(56)));
  world.ports[0]!.accept(strange, 0, strange.bytes.length);
  world.core.turn(world.nowMs);
  expect(restMs(world)).toBeGreaterThan(1);
});

test("two cores that tick only when they are due find each other, and one notices in time that the other is silent", () => {
  const one = new WorkerWorld();
  const two = new WorkerWorld(64, one);
  let ticks = 0;
  const run = (forMs: number, isTwoThere: boolean): void => {
    for (let i = 0; i < forMs * 4; i++) {
      one.nowMs += 0.25;
      two.nowMs = one.nowMs;
      for (const world of isTwoThere ? [one, two] : [one]) {
        world.core.turn(world.nowMs);
        const dueMs = world.core.dueMs(world.nowMs);
        if (world.nowMs < dueMs) continue;
        world.core.tick(world.nowMs, dueMs);
        if (world === one) ticks++;
      }
    }
  };
  const events = (type: string) =>
    one.said
      .flatMap((said) => (typeof said === "object" && said.type === "liveness" ? [said.event] : []))
      .filter((event) => event.type === type);
  run(500, true);
  expect(events("peerUp")).toHaveLength(1);
  ticks = 0;
  run(500, true);
  expect(events("peerDown")).toEqual([]);
  expect(ticks).toBeLessThan(300);
  run(100, false);
  const [death] = events("peerDown") as { atMs: number; lastHeardMs: number }[];
  expect(death!.atMs - death!.lastHeardMs).toBeLessThanOrEqual(61);
});

test("changes for which it is too early to ring are looked at again a millisecond later, although nothing else is due", () => {
  const world = new WorkerWorld();
  world.run(10);
  const { core, said } = world;
  expect(core.dueMs(world.nowMs)).toBeGreaterThan(world.nowMs + 1);
  const changes = new RecordRing(world.memory.changes);
  changes.armFrom(world.nowMs + 2, 64);
  changes.reserve();
  changes.publish();
  said.length = 0;
  world.run(1);
  expect(said).not.toContain(DOORBELL);
  expect(core.dueMs(world.nowMs)).toBe(world.nowMs + 1);
  world.run(1);
  expect(said).toContain(DOORBELL);
  expect(core.dueMs(world.nowMs)).toBeGreaterThan(world.nowMs + 1);
});
