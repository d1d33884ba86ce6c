import { describe, expect, test } from "vitest";
import { SynwallError } from "../../../src/base/errors.ts";
import { createMemoryPool, MemoryPort, openMemoryPorts } from "../../../src/io/memory.ts";
import { type FrameInFlight, MemorySegment } from "../../../src/io/memory-segment.ts";

const batch = { at: new Uint32Array(64), lengthBytes: new Uint32Array(64) };

function frameOf(destination: Uint8Array, source: Uint8Array, mark: number): Uint8Array {
  const frame = new Uint8Array(60).fill(mark);
  frame.set(destination, 0);
  frame.set(source, 6);
  return frame;
}

function send(port: MemoryPort, frame: Uint8Array): boolean {
  const at = port.pool.alloc();
  port.pool.bytes.set(frame, at);
  const isTaken = port.send(at, frame.length);
  port.flush();
  return isTaken;
}

/** Marks of all frames that wait at a port. */
function marks(port: MemoryPort): number[] {
  const count = port.receive(batch, 64);
  const seen: number[] = [];
  for (let i = 0; i < count; i++) {
    seen.push(port.pool.bytes[batch.at[i]! + 20]!);
    port.pool.free(batch.at[i]!);
  }
  return seen;
}

function three(segment: MemorySegment): [MemoryPort, MemoryPort, MemoryPort] {
  const { ports } = openMemoryPorts(["a", "b", "c"].map((name) => ({ name, segment })));
  return ports as unknown as [MemoryPort, MemoryPort, MemoryPort];
}

const BROADCAST = new Uint8Array(6).fill(255);

describe("a bridge segment", () => {
  test("repeats frames to unknown and to group addresses, but not to their sender", () => {
    const [a, b, c] = three(new MemorySegment({ kind: "bridge" }));
    send(a, frameOf(b.mac, a.mac, 1));
    send(a, frameOf(BROADCAST, a.mac, 2));
    expect([marks(a), marks(b), marks(c)]).toEqual([[], [1, 2], [1, 2]]);
  });

  test("learns where an address is, and that it moved", () => {
    const [a, b, c] = three(new MemorySegment({ kind: "bridge" }));
    const virtual = Uint8Array.of(2, 0, 0, 0, 0, 9);
    send(b, frameOf(BROADCAST, virtual, 1));
    for (const port of [a, c]) marks(port);
    send(a, frameOf(virtual, a.mac, 2));
    expect([marks(b), marks(c)]).toEqual([[2], []]);
    send(c, frameOf(BROADCAST, virtual, 3));
    for (const port of [a, b]) marks(port);
    send(a, frameOf(virtual, a.mac, 4));
    expect([marks(b), marks(c)]).toEqual([[], [4]]);
  });

  test("forgets the addresses of a cut cable", () => {
    const segment = new MemorySegment({ kind: "bridge" });
    const [a, b, c] = three(segment);
    send(b, frameOf(BROADCAST, b.mac, 1));
    for (const port of [a, c]) marks(port);
    segment.setCarrier(b, false);
    segment.setCarrier(b, true);
    send(a, frameOf(b.mac, a.mac, 2));
    expect([marks(b), marks(c)]).toEqual([[2], [2]]);
  });
});

describe("a blocked port of a bridge", () => {
  test("hears nothing and is learned from no more, while it keeps its carrier", () => {
    const segment = new MemorySegment({ kind: "bridge" });
    const [a, b, c] = three(segment);
    const virtual = Uint8Array.of(2, 0, 0, 0, 0, 9);
    send(c, frameOf(BROADCAST, virtual, 1));
    for (const port of [a, b]) marks(port);
    segment.setBlocked(b, { fromPort: true, toPort: true });
    expect(send(b, frameOf(BROADCAST, virtual, 2))).toBe(true);
    send(a, frameOf(virtual, a.mac, 3));
    send(a, frameOf(BROADCAST, a.mac, 4));
    expect([marks(a), marks(b), marks(c)]).toEqual([[], [], [3, 4]]);
    expect(b.carrier()).toBe(true);
  });

  test("may be blocked in one direction alone", () => {
    const segment = new MemorySegment({ kind: "bridge" });
    const [a, b] = three(segment);
    segment.setBlocked(b, { fromPort: false, toPort: true });
    send(a, frameOf(BROADCAST, a.mac, 1));
    send(b, frameOf(BROADCAST, b.mac, 2));
    expect([marks(a), marks(b)]).toEqual([[2], []]);
  });
});

test("a port that replaces another hears what the switch learned for that one", () => {
  const segment = new MemorySegment({ kind: "bridge" });
  const [a, b, c] = three(segment);
  send(b, frameOf(BROADCAST, b.mac, 1));
  for (const port of [a, c]) marks(port);
  const again = new MemoryPort(createMemoryPool(16), { name: "b" });
  segment.replug(b, again);
  send(a, frameOf(again.mac, a.mac, 2));
  expect([marks(b), marks(again), marks(c)]).toEqual([[], [2], []]);
});

test("a hub repeats everything to everyone else", () => {
  const [a, b, c] = three(new MemorySegment({ kind: "hub" }));
  send(b, frameOf(a.mac, b.mac, 1));
  send(a, frameOf(b.mac, a.mac, 2));
  expect([marks(a), marks(b), marks(c)]).toEqual([[1], [2], [1, 2]]);
});

describe("a carried frame", () => {
  const carried = (): { frames: FrameInFlight[]; segment: MemorySegment } => {
    const frames: FrameInFlight[] = [];
    return { frames, segment: new MemorySegment({ kind: "bridge", carry: (frame) => frames.push(frame) }) };
  };

  test("arrives when it is delivered: late, twice, in another order, changed, or never", () => {
    const { frames, segment } = carried();
    const [a, b] = three(segment);
    for (const mark of [1, 2, 3]) send(a, frameOf(b.mac, a.mac, mark));
    expect(marks(b)).toEqual([]);
    const toB = frames.filter((frame) => frame.to === b);
    expect(toB).toHaveLength(3);
    toB[2]!.bytes[20] = 9;
    toB[2]!.deliver();
    toB[0]!.deliver();
    toB[0]!.deliver();
    expect(marks(b)).toEqual([9, 1, 1]);
  });

  test("is lost when its receiver has no carrier by then", () => {
    const { frames, segment } = carried();
    const [a, b] = three(segment);
    send(a, frameOf(b.mac, a.mac, 1));
    segment.setCarrier(b, false);
    for (const frame of frames) frame.deliver();
    expect(marks(b)).toEqual([]);
  });

  test("is a copy: the sender's chunk is free at once", () => {
    const { segment } = carried();
    const [a, b] = three(segment);
    send(a, frameOf(b.mac, a.mac, 1));
    expect(a.pool.available()).toBe(a.pool.chunks);
  });
});

describe("a memory port", () => {
  test("drops and counts what it sends without carrier", () => {
    const segment = new MemorySegment({ kind: "hub" });
    const [a, b] = three(segment);
    segment.setCarrier(a, false);
    send(a, frameOf(b.mac, a.mac, 1));
    expect(a.carrier()).toBe(false);
    expect(a.counters.txDropped).toBe(1);
    expect(a.counters.txFrames).toBe(0);
    expect(a.pool.available()).toBe(a.pool.chunks);
  });

  test("drops and counts what arrives when its ring or its pool is full", () => {
    const segment = new MemorySegment({ kind: "hub" });
    const sender = new MemoryPort(createMemoryPool(8), { name: "sender" });
    const small = new MemoryPort(createMemoryPool(8), { name: "small", ringFrames: 4 });
    const poor = new MemoryPort(createMemoryPool(2), { name: "poor" });
    for (const port of [sender, small, poor]) segment.attach(port);
    for (let mark = 0; mark < 6; mark++) send(sender, frameOf(BROADCAST, sender.mac, mark));
    expect(marks(small)).toEqual([0, 1, 2, 3]);
    expect(small.counters.rxDropped).toBe(2);
    expect(marks(poor)).toEqual([0, 1]);
    expect(poor.counters.rxDropped).toBe(4);
  });

  test("wakes through `defer`, once for many frames, again while frames wait", () => {
    const due: (() => void)[] = [];
    const segment = new MemorySegment({ kind: "hub" });
    const { ports } = openMemoryPorts([
      { name: "a", segment },
      { name: "b", segment, defer: (task) => due.push(task) },
    ]);
    const [a, b] = ports as unknown as [MemoryPort, MemoryPort];
    const seen: number[] = [];
    b.onReadable(() => {
      b.receive(batch, 1);
      seen.push(b.pool.bytes[batch.at[0]! + 20]!);
      b.pool.free(batch.at[0]!);
    });
    for (const mark of [1, 2]) send(a, frameOf(b.mac, a.mac, mark));
    expect(due).toHaveLength(1);
    for (let task = due.shift(); task !== undefined; task = due.shift()) task();
    expect(seen).toEqual([1, 2]);
  });

  test("has an address that follows from its name", () => {
    const [first, again, other] = ["fw1", "fw1", "fw2"].map(
      (name) => new MemoryPort(createMemoryPool(1), { name }),
    );
    expect(first!.mac).toEqual(again!.mac);
    expect(first!.mac).not.toEqual(other!.mac);
    expect(first!.mac[0]! & 3).toBe(2);
  });

  test("refuses an MTU whose frames fit no chunk", () => {
    expect(() => new MemoryPort(createMemoryPool(1), { name: "a", mtuBytes: 9000 })).toThrow(SynwallError);
  });
});
