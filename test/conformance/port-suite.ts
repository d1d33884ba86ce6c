/**
 * Port conformance: what every driver must do, whatever the wire.
 * port-memory, port-cap and port-xdp run it; port-worlds.ts makes the wires.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { getHeapStatistics } from "node:v8";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FramePool, Port, PortFilter, RxBatch } from "../../src/io/port.ts";
import {
  arpReply,
  CLUSTER_UDP_PORT,
  getFrame,
  KERNEL_UDP_PORT,
  OUR_ADDRESS,
  patternFrame,
  putFrame,
  type UdpShape,
  udpFrame,
} from "./port-frames.ts";
import type { PortDriver, PortWorld } from "./port-worlds.ts";

const ALL: PortFilter = { kind: "all" };
const CLUSTER: PortFilter = { kind: "cluster", udpPorts: [3784, CLUSTER_UDP_PORT] };
/** Frames under way at once: fits every ring. */
const WINDOW = 256;

const batch: RxBatch = { at: new Uint32Array(64), lengthBytes: new Uint32Array(64) };

export function describePort(driver: PortDriver): void {
  describeZonePort(driver, `a ${driver.name} port for all frames`);
  describeClusterPort(driver);
}

/** What a port of a zone must do, also when it is one VLAN of its interface. */
export function describeZonePort(driver: PortDriver, title: string): void {
  describe(title, () => {
    let world: PortWorld;
    beforeEach(async () => {
      world = await driver.open(ALL);
    });
    afterEach(() => world.close());

    test("tells what it is", () => {
      expect(world.port.driver).toBe(driver.name);
      expect(world.port.mac).toHaveLength(6);
      expect(world.port.mac[0]! & 1).toBe(0);
      expect(world.port.mtuBytes).toBe(driver.mtuBytes);
      expect(world.port.carrier()).toBe(true);
    });

    test("receives frames whole and in order, with headroom before each", async () => {
      const lengths = (i: number): number => 60 + ((i * 37) % (driver.mtuBytes + 14 - 60 + 1));
      await carry(world.peer, world.peerPool, world.port, world.pool, 2000, lengths, (at, bytes, i) => {
        expect(at % world.pool.chunkBytes).toBeGreaterThanOrEqual(192);
        expectFrame(bytes, patternFrame(world.port.mac, world.peer.mac, i, lengths(i)));
      });
      expect(world.port.counters.rxFrames).toBe(2000);
    });

    test("sends frames whole and in order", async () => {
      const lengths = (i: number): number => 60 + ((i * 53) % (driver.mtuBytes + 14 - 60 + 1));
      await carry(world.port, world.pool, world.peer, world.peerPool, 2000, lengths, (_, bytes, i) => {
        expectFrame(bytes, patternFrame(world.peer.mac, world.port.mac, i, lengths(i)));
      });
      expect(world.port.counters.txFrames).toBe(2000);
      expect(world.port.counters.txDropped).toBe(0);
    });

    test("carries the largest frame of the MTU, and sends from anywhere in a chunk", async () => {
      const lengthBytes = driver.mtuBytes + 14;
      const frame = patternFrame(world.peer.mac, world.port.mac, 7, lengthBytes);
      const at = world.pool.alloc() - 64;
      world.pool.bytes.set(frame, at);
      world.port.send(at, lengthBytes);
      world.port.flush();
      const arrived = await next(world.peer, world.peerPool);
      expectFrame(arrived, frame);
    });

    test("hears frames for every address", async () => {
      const virtual = Uint8Array.of(0x02, 0x53, 0x57, 0, 0, 63);
      sendBytes(world.peer, world.peerPool, patternFrame(virtual, world.peer.mac, 1, 60));
      expect((await next(world.port, world.pool)).subarray(0, 6)).toEqual(virtual);
    });

    test("does not hear what it sent itself", async () => {
      sendBytes(world.port, world.pool, patternFrame(world.peer.mac, world.port.mac, 1, 60));
      await next(world.peer, world.peerPool);
      sendBytes(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, 2, 60));
      const heard = await next(world.port, world.pool);
      expect(heard.subarray(0, 6)).toEqual(world.port.mac);
    });

    test("gives at most `max` frames at a time", async () => {
      for (let i = 0; i < 5; i++)
        put(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, i, 60));
      world.peer.flush();
      let seen = 0;
      while (seen < 5) {
        const count = world.port.receive(batch, 2);
        expect(count).toBeLessThanOrEqual(2);
        freeAll(world.pool, count);
        seen += count;
        await nextTurn();
      }
      expect(world.port.receive(batch, 2)).toBe(0);
    });

    test("loses no chunk over 100,000 frames", async () => {
      await carry(world.peer, world.peerPool, world.port, world.pool, 50_000, () => 60);
      await carry(world.port, world.pool, world.peer, world.peerPool, 50_000, () => 60);
      world.port.close();
      world.peer.close();
      expect(world.pool.available()).toBe(world.pool.chunks);
      expect(world.peerPool.available()).toBe(world.peerPool.chunks);
    });

    test("forwards in place: a received frame is sent out of its chunk", async () => {
      sendBytes(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, 5, 200));
      await waiting(world.port, (at, lengthBytes) => {
        world.pool.bytes.copyWithin(at, at + 6, at + 12);
        world.pool.bytes.set(world.port.mac, at + 6);
        world.port.send(at, lengthBytes);
        world.port.flush();
      });
      const echoed = await next(world.peer, world.peerPool);
      expectFrame(echoed, patternFrame(world.peer.mac, world.port.mac, 5, 200));
    });

    test("counts and frees a frame that finds the ring for sending full", () => {
      let refused = 0;
      const frame = patternFrame(world.peer.mac, world.port.mac, 1, 60);
      for (let i = 0; i < 3000; i++) if (!put(world.port, world.pool, frame)) refused++;
      expect(refused).toBeGreaterThan(0);
      expect(world.port.counters.txDropped).toBe(refused);
    });

    test("counts frames that nobody received in time", async () => {
      const sent = 5000;
      const frame = patternFrame(world.port.mac, world.peer.mac, 1, 60);
      for (let i = 0; i < sent; ) {
        for (let burst = 0; burst < 64 && i < sent; burst++) if (put(world.peer, world.peerPool, frame)) i++;
        world.peer.flush();
        await nextTurn();
      }
      const isSettled = (): boolean => world.port.counters.rxDropped > 0;
      while (!isSettled()) await nextTurn();
      if (!driver.countsEveryLoss) return;
      let received = 0;
      for (let count = 1; count > 0; received += count)
        freeAll(world.pool, (count = world.port.receive(batch, 64)));
      expect(received + world.port.counters.rxDropped).toBe(sent);
    });

    test("wakes for waiting frames, and again until all are received", async () => {
      let received = 0;
      let wakes = 0;
      const done = new Promise<void>((resolve) => {
        world.port.onReadable(() => {
          wakes++;
          const count = world.port.receive(batch, 1);
          freeAll(world.pool, count);
          received += count;
          if (received === 5) resolve();
        });
      });
      for (let i = 0; i < 5; i++)
        put(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, i, 60));
      world.peer.flush();
      await done;
      expect(wakes).toBeGreaterThanOrEqual(5);
      const again = new Promise<void>((resolve) => world.port.onReadable(resolve));
      sendBytes(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, 9, 60));
      await again;
    });

    test("wakes for frames that came before anybody asked", async () => {
      sendBytes(world.peer, world.peerPool, patternFrame(world.port.mac, world.peer.mac, 9, 60));
      await nextTurn();
      await new Promise<void>((resolve) => world.port.onReadable(resolve));
    });

    test("sees the wire being cut and mended, and goes on", async () => {
      world.setFarCarrier(false);
      while (world.port.carrier()) await nextTurn();
      world.setFarCarrier(true);
      while (!world.port.carrier() || !world.peer.carrier()) await nextTurn();
      const frame = patternFrame(world.peer.mac, world.port.mac, 1, 60);
      // The far end may need a moment before it hears again.
      while (world.peer.receive(batch, 1) === 0) {
        sendBytes(world.port, world.pool, frame);
        await nextTurn();
      }
    });

    test("does nothing after close(), which may be called twice", () => {
      const at = world.pool.alloc();
      world.port.close();
      world.port.close();
      expect(world.port.receive(batch, 64)).toBe(0);
      expect(world.port.send(at, 60)).toBe(false);
      world.port.flush();
      world.port.onReadable(() => expect.unreachable());
      expect(world.port.carrier()).toBe(false);
      expect(world.pool.available()).toBe(world.pool.chunks);
      expect(world.port.counters.txDropped).toBe(1);
    });

    test("refuses a frame that is given away twice", () => {
      const at = world.pool.alloc();
      world.port.send(at, 60);
      expect(() => world.port.send(at, 60)).toThrow(/does not own/);
    });

    test("allocates nothing per frame", async () => {
      const frame = patternFrame(world.port.mac, world.peer.mac, 0, 60);
      // Both directions of the port under test, and nothing else, between two looks at the heap.
      const forward = (): number => {
        const count = world.port.receive(batch, 64);
        for (let i = 0; i < count; i++) {
          if (i % 2 === 0) world.port.send(batch.at[i]!, batch.lengthBytes[i]!);
          else world.pool.free(batch.at[i]!);
        }
        world.port.flush();
        return count;
      };
      const rest = (): number => 0;
      let frames = 0;
      let grownBytes = 0;
      // Compilers allocate too, now and then; what every frame costs shows in each part of the measurement.
      let leastBytesPerFrame = Number.POSITIVE_INFINITY;
      const look = (action: () => number): number => {
        const before = getHeapStatistics().used_heap_size;
        const count = action();
        const grown = getHeapStatistics().used_heap_size - before;
        // A collection in between would make it shrink; so few frames cause none.
        if (grown > 0) grownBytes += action === rest ? -grown : grown;
        return count;
      };
      for (let round = 0; round < 400; round++) {
        for (let i = 0; i < 64; i++) put(world.peer, world.peerPool, frame);
        world.peer.flush();
        let seen = 0;
        while (seen < 64) {
          const count = round < 200 ? forward() : look(forward);
          if (round >= 200) look(rest);
          seen += count;
          if (round >= 200) frames += count;
          if (count === 0) await nextTurn();
        }
        freeAll(world.peerPool, world.peer.receive(batch, 64));
        world.peer.flush();
        if (round >= 200 && round % 50 === 49) {
          leastBytesPerFrame = Math.min(leastBytesPerFrame, grownBytes / frames);
          frames = 0;
          grownBytes = 0;
        }
      }
      // The smallest thing on the heap has 16 bytes.
      expect(leastBytesPerFrame).toBeLessThan(8);
    });
  });
}

function describeClusterPort(driver: PortDriver): void {
  describe(`a ${driver.name} port for cluster traffic`, () => {
    let world: PortWorld;
    beforeEach(async () => {
      world = await driver.open(CLUSTER);
    });
    afterEach(() => world.close());

    const toUs = (shape: Partial<UdpShape>): Uint8Array =>
      udpFrame({
        destination: world.port.mac,
        source: world.peer.mac,
        udpPort: CLUSTER_UDP_PORT,
        ...shape,
      });

    test("takes UDP to its ports", async () => {
      for (const udpPort of [CLUSTER_UDP_PORT, 3784]) {
        const frame = toUs({ udpPort, sequence: udpPort });
        sendBytes(world.peer, world.peerPool, frame);
        expect(await next(world.port, world.pool)).toEqual(frame);
      }
    });

    test("takes answers to its own ARP probes, and no other ARP", async () => {
      const { mac } = world.port;
      sendBytes(world.peer, world.peerPool, arpReply(mac, world.peer.mac, OUR_ADDRESS));
      const answer = arpReply(mac, world.peer.mac, [0, 0, 0, 0]);
      sendBytes(world.peer, world.peerPool, answer);
      expect(await next(world.port, world.pool)).toEqual(answer);
    });

    test("leaves all else to the kernel", async () => {
      const others = [
        toUs({ protocol: 6 }),
        toUs({ protocol: 1 }),
        toUs({ udpPort: CLUSTER_UDP_PORT + 1 }),
        toUs({ headerWords: 6 }),
        toUs({ fragment: 0x2000 }),
        toUs({ fragment: 0x0001 }),
        toUs({}).subarray(0, 41),
        patternFrame(world.port.mac, world.peer.mac, 1, 60),
        patternFrame(Uint8Array.of(255, 255, 255, 255, 255, 255), world.peer.mac, 2, 42),
        toUs({ udpPort: KERNEL_UDP_PORT }),
      ];
      for (const frame of others) sendBytes(world.peer, world.peerPool, frame);
      const ours = toUs({ sequence: 77 });
      sendBytes(world.peer, world.peerPool, ours);
      expect(await next(world.port, world.pool)).toEqual(ours);
      expect(world.port.receive(batch, 64)).toBe(0);
      while (world.kernelHeard() === 0) await nextTurn();
      expect(world.kernelHeard()).toBe(1);
    });

    test("keeps the kernel from answering what we took", async () => {
      for (let i = 0; i < 20; i++) put(world.peer, world.peerPool, toUs({ sequence: i }));
      world.peer.flush();
      for (let i = 0; i < 20; i++) await next(world.port, world.pool);
      sendBytes(world.port, world.pool, patternFrame(world.peer.mac, world.port.mac, 3, 60));
      const frames: number[] = [];
      while (!frames.includes(0x88b5)) {
        const frame = await next(world.peer, world.peerPool);
        frames.push((frame[12]! << 8) | frame[13]!);
        // Only the kernel's question for the peer's address may come first, never an ICMP error.
        expect(frames.at(-1)).not.toBe(0x0800);
      }
    });
  });
}

/** Compares as one value; shows the bytes only when they differ. */
function expectFrame(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return;
  expect(Buffer.from(actual).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
}

/** Sends `count` frames through the wire, never more than WINDOW at a time, and looks at each that arrives. */
async function carry(
  from: Port,
  fromPool: FramePool,
  to: Port,
  toPool: FramePool,
  count: number,
  lengthOf: (i: number) => number,
  check?: (at: number, bytes: Uint8Array, i: number) => void,
): Promise<void> {
  let sent = 0;
  let seen = 0;
  while (seen < count) {
    while (sent < count && sent - seen < WINDOW) {
      const at = putFrame(fromPool, patternFrame(to.mac, from.mac, sent, lengthOf(sent)));
      if (at < 0 || !from.send(at, lengthOf(sent))) break;
      sent++;
    }
    from.flush();
    for (let received = 1; received > 0; ) {
      received = to.receive(batch, 64);
      for (let i = 0; i < received; i++, seen++) {
        const at = batch.at[i]!;
        check?.(at, getFrame(toPool, at, batch.lengthBytes[i]!), seen);
        toPool.free(at);
      }
    }
    to.flush();
    if (seen < sent) await nextTurn();
  }
}

function put(port: Port, pool: FramePool, frame: Uint8Array): boolean {
  const at = putFrame(pool, frame);
  return at >= 0 && port.send(at, frame.length);
}

function sendBytes(port: Port, pool: FramePool, frame: Uint8Array): void {
  put(port, pool, frame);
  port.flush();
}

/** The next frame that arrives, handed to `take`, which must give it away. */
async function waiting(port: Port, take: (at: number, lengthBytes: number) => void): Promise<void> {
  while (port.receive(batch, 1) === 0) await nextTurn();
  take(batch.at[0]!, batch.lengthBytes[0]!);
}

async function next(port: Port, pool: FramePool): Promise<Uint8Array> {
  let frame: Uint8Array = new Uint8Array(0);
  await waiting(port, (at, lengthBytes) => {
    frame = getFrame(pool, at, lengthBytes);
    pool.free(at);
  });
  return frame;
}

function freeAll(pool: FramePool, count: number): void {
  for (let i = 0; i < count; i++) pool.free(batch.at[i]!);
}
