import { expect, test } from "vitest";
import { copyable } from "../../../src/io/copy.ts";
import { type MemoryPort, openMemoryPorts } from "../../../src/io/memory.ts";
import { MemorySegment } from "../../../src/io/memory-segment.ts";
import type { Port, RxBatch } from "../../../src/io/port.ts";
import { interfacesOf, logicalPorts } from "../../../src/io/vlan.ts";

const ADDRESSES = Uint8Array.from({ length: 12 }, (_, i) => i * 2);
const TYPE = Uint8Array.of(0x88, 0xb5);

/** A frame whose payload tells its number; `tag` as on the wire. */
function frame(number: number, tag?: number): Uint8Array {
  const payload = new Uint8Array(46).fill(number);
  const vlan = tag === undefined ? [] : [0x81, 0x00, tag >> 8, tag & 0xff];
  return Uint8Array.of(...ADDRESSES, ...vlan, ...TYPE, ...payload);
}

/** One interface with VLANs 100 and 200 and, where asked for, frames without a tag. */
class TrunkWorld {
  readonly segment = new MemorySegment({ kind: "hub" });
  readonly deferred: (() => void)[] = [];
  readonly wire: MemoryPort;
  readonly far: MemoryPort;
  readonly ports: readonly Port[];
  readonly batch: RxBatch = { at: new Uint32Array(64), lengthBytes: new Uint32Array(64) };

  constructor(vlans: readonly (number | undefined)[] = [undefined, 100, 200]) {
    const defer = (task: () => void): void => void this.deferred.push(task);
    const options = ["eth4", "far"].map((name) => ({ name, segment: this.segment, defer }));
    const opened = openMemoryPorts(options, 4096);
    [this.wire, this.far] = opened.ports as [MemoryPort, MemoryPort];
    const asked = vlans.map((vlan) => ({
      interfaceName: "eth4",
      label: vlan === undefined ? "eth4" : `eth4.${vlan}`,
      filter: { kind: "all" } as const,
      ...(vlan === undefined ? {} : { vlan }),
    }));
    const physical = { ...opened, ports: [this.wire] };
    this.ports = logicalPorts(physical, asked, defer).ports;
  }

  arrive(bytes: Uint8Array): void {
    this.wire.accept(copyable(bytes), 0, bytes.length);
  }

  /** What a port has, whole. */
  received(port: Port): Uint8Array[] {
    const count = port.receive(this.batch, 64);
    return this.taken(port, count);
  }

  taken(port: Port, count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, i) => {
      const at = this.batch.at[i]!;
      const bytes = port.pool.bytes.slice(at, at + this.batch.lengthBytes[i]!);
      port.pool.free(at);
      return bytes;
    });
  }

  /** Sends by a port, and answers what the wire carried. */
  sent(port: Port, bytes: Uint8Array): Uint8Array {
    const at = port.pool.alloc();
    port.pool.bytes.set(bytes, at);
    expect(port.send(at, bytes.length)).toBe(true);
    port.flush();
    return this.taken(this.far, this.far.receive(this.batch, 1))[0]!;
  }
}

test("a frame goes to the port of its tag, without the tag; one without a tag to the port that has none", () => {
  const world = new TrunkWorld();
  const [untagged, vlan100, vlan200] = world.ports as [Port, Port, Port];
  world.arrive(frame(1, 200));
  world.arrive(frame(2));
  world.arrive(frame(3, 100));
  world.arrive(frame(4, 200));
  expect(world.received(untagged)).toEqual([frame(2)]);
  expect(world.received(vlan100)).toEqual([frame(3)]);
  expect(world.received(vlan200)).toEqual([frame(1), frame(4)]);
  expect(world.ports.map((port) => port.name)).toEqual(["eth4", "eth4.100", "eth4.200"]);
  expect(vlan200.counters).toMatchObject({ rxFrames: 2, rxBytes: 120, rxUnknownVlan: 0 });
});

test("priority and drop eligibility of a tag do not matter, and VLAN 0 counts as no tag (802.1Q clause 9.6)", () => {
  const world = new TrunkWorld();
  world.arrive(frame(1, 0xf000 | 100));
  world.arrive(frame(2, 0x6000));
  expect(world.received(world.ports[1]!)).toEqual([frame(1)]);
  expect(world.received(world.ports[0]!)).toEqual([frame(2)]);
});

test("frames of VLANs that nobody has are dropped and counted once: unknown, untagged where none is wanted, cut off", () => {
  const world = new TrunkWorld([100, 200]);
  const free = world.wire.pool.available();
  world.arrive(frame(1, 300));
  world.arrive(frame(2));
  world.arrive(frame(3, 100).subarray(0, 16));
  for (const port of world.ports) expect(world.received(port)).toEqual([]);
  expect(world.ports.map((port) => port.counters.rxUnknownVlan)).toEqual([3, 0]);
  expect(world.wire.pool.available()).toBe(free);
});

test("what a port sends carries its tag with priority 0, and none from the port without one", () => {
  const world = new TrunkWorld();
  expect(world.sent(world.ports[0]!, frame(1))).toEqual(frame(1));
  expect(world.sent(world.ports[1]!, frame(2))).toEqual(frame(2, 100));
  expect(world.sent(world.ports[2]!, frame(3))).toEqual(frame(3, 200));
  expect(world.ports[1]!.counters).toMatchObject({ txFrames: 1, txBytes: 60, txDropped: 0 });
});

test("a frame that leaves no room for the tag in its chunk is refused, freed and counted", () => {
  const world = new TrunkWorld();
  const port = world.ports[1]!;
  const free = port.pool.available();
  const at = port.pool.alloc();
  expect(port.send(at - (at % port.pool.chunkBytes) + 3, 60)).toBe(false);
  expect(port.counters.txDropped).toBe(1);
  expect(port.pool.available()).toBe(free);
});

test("forwarding from one VLAN to another of the same interface changes the tag alone", () => {
  const world = new TrunkWorld();
  world.arrive(frame(7, 100));
  expect(world.ports[1]!.receive(world.batch, 1)).toBe(1);
  world.ports[2]!.send(world.batch.at[0]!, world.batch.lengthBytes[0]!);
  world.ports[2]!.flush();
  expect(world.received(world.far)).toEqual([frame(7, 200)]);
});

test("a port is woken for frames that another one fetched from the interface", () => {
  const world = new TrunkWorld([100, 200]);
  const [vlan100, vlan200] = world.ports as [Port, Port];
  let woken = 0;
  vlan100.onReadable(() => {});
  vlan200.onReadable(() => woken++);
  while (world.deferred.length > 0) world.deferred.shift()!();
  world.arrive(frame(1, 200));
  expect(world.received(vlan100)).toEqual([]);
  woken = 0;
  world.deferred.splice(0).forEach((task) => {
    task();
  });
  expect(woken).toBeGreaterThan(0);
  expect(world.received(vlan200)).toEqual([frame(1)]);
  // Nothing waits any more: nobody is woken without end.
  for (let turn = 0; turn < 10; turn++) {
    world.deferred.splice(0).forEach((task) => {
      task();
    });
  }
  expect(world.deferred).toEqual([]);
});

test("frames of a port that nobody asks are dropped at its bound, and its siblings go on", () => {
  const world = new TrunkWorld([100, 200]);
  const [vlan100, vlan200] = world.ports as [Port, Port];
  for (let i = 0; i < 1100; i++) {
    world.arrive(frame(i & 0xff, 200));
    expect(world.received(vlan100)).toEqual([]);
  }
  world.arrive(frame(9, 100));
  expect(world.received(vlan100)).toEqual([frame(9)]);
  expect(vlan200.counters.rxDropped).toBe(1100 - 1024);
});

test("the interface stays open until its last port is closed", () => {
  const world = new TrunkWorld([100, 200]);
  const [vlan100, vlan200] = world.ports as [Port, Port];
  const free = world.wire.pool.available();
  world.arrive(frame(1, 100));
  expect(world.received(vlan200)).toEqual([]);
  vlan100.close();
  expect(world.wire.pool.available()).toBe(free);
  expect([vlan100.carrier(), vlan200.carrier()]).toEqual([false, true]);
  world.arrive(frame(2, 100));
  world.arrive(frame(3, 200));
  expect(world.received(vlan200)).toEqual([frame(3)]);
  vlan200.close();
  expect(world.wire.send(world.wire.pool.alloc(), 60)).toBe(false);
});

test("an interface is opened once, whatever stands on it, and its tags are looked at only where one is wanted", () => {
  const all = { kind: "all" } as const;
  const cluster = { kind: "cluster", udpPorts: [6081] } as const;
  expect(
    interfacesOf([
      { interfaceName: "eth1", filter: all },
      { interfaceName: "eth4", vlan: 100, filter: all },
      { interfaceName: "eth4", filter: all },
      { interfaceName: "eth3", filter: cluster },
    ]),
  ).toEqual([
    { interfaceName: "eth1", filter: all },
    { interfaceName: "eth4", filter: all, hasTags: true },
    { interfaceName: "eth3", filter: cluster },
  ]);
});
