import fc from "fast-check";
import { expect, test } from "vitest";
import { isForUs } from "../../../../src/io/filter.ts";
import type { PortFilter } from "../../../../src/io/port.ts";
import { programOf } from "../../../../src/io/xdp/programs.ts";
import { run } from "./interpreter.ts";

const MAP_FD = 77;
const XDP_DROP = 1;
const XDP_PASS = 2;
const ports = [3784, 6081, 0x1234] as const;
const cluster: PortFilter = { kind: "cluster", udpPorts: ports };

/** Right four times out of five. */
const mostly = <Value>(right: fc.Arbitrary<Value>, ...wrong: Value[]): fc.Arbitrary<Value> =>
  fc.oneof({ weight: 4, arbitrary: right }, { weight: 1, arbitrary: fc.constantFrom(...wrong) });

/** Frames near the border: each field wrong now and then. */
const frames = fc
  .record({
    etherType: mostly(fc.constant(0x0800), 0x0806, 0x86dd, 0x8100, 0x0008),
    version: mostly(fc.constant(0x45), 0x46, 0x55, 0x54),
    fragment: mostly(fc.constantFrom(0, 0x4000, 0x8000), 0x2000, 1, 0x1fff, 0x0100, 0x4001),
    protocol: mostly(fc.constant(17), 6, 1),
    port: mostly<number>(fc.constantFrom(...ports), 6082, 0xc817, 0xc10e, 0),
    lengthBytes: mostly(fc.constantFrom(60, 42), 41, 38, 34, 14, 13, 0),
    arp: fc.record({
      operation: mostly(fc.constant(2), 1, 3, 0x0200),
      target: mostly(fc.constant(0), 1, 0x0a000001, 0x10000),
    }),
    noise: fc.uint8Array({ minLength: 60, maxLength: 60 }),
  })
  .map(({ etherType, version, fragment, protocol, port, lengthBytes, arp, noise }) => {
    const view = new DataView(noise.buffer, noise.byteOffset);
    view.setUint16(12, etherType);
    view.setUint8(14, version);
    view.setUint16(20, fragment);
    view.setUint8(23, protocol);
    view.setUint16(36, port);
    if (etherType === 0x0806) {
      view.setUint16(20, arp.operation);
      view.setUint32(38, arp.target);
    }
    return noise.slice(0, lengthBytes);
  });

test("the cluster program takes exactly what isForUs() takes, and reads only what is there", () => {
  const program = programOf(cluster, MAP_FD);
  let taken = 0;
  let answers = 0;
  fc.assert(
    fc.property(frames, fc.integer({ min: 0, max: 7 }), (frame, queue) => {
      const outcome = run(program, frame, queue);
      if (isForUs(cluster, frame, 0, frame.length)) {
        taken++;
        if (frame[13] === 6) answers++;
        expect(outcome).toEqual({ redirect: { mapFd: MAP_FD, queue, fallback: XDP_PASS } });
      } else {
        expect(outcome).toEqual({ action: XDP_PASS });
      }
    }),
    { numRuns: 5000 },
  );
  expect(taken).toBeGreaterThan(100);
  expect(answers).toBeGreaterThan(20);
});

test("the program for all frames is six instructions, and drops where no socket listens", () => {
  const program = programOf({ kind: "all" }, MAP_FD);
  expect(program).toHaveLength(6 * 8);
  expect(run(program, new Uint8Array(0), 3)).toEqual({
    redirect: { mapFd: MAP_FD, queue: 3, fallback: XDP_DROP },
  });
});

test("a cluster program without ports takes nothing", () => {
  const frame = new Uint8Array(60);
  frame.set([8, 0, 0x45], 12);
  frame[23] = 17;
  expect(run(programOf({ kind: "cluster", udpPorts: [] }, MAP_FD), frame, 0)).toEqual({ action: XDP_PASS });
});

test("the program for all frames is encoded as the kernel's documents say", () => {
  expect(
    Buffer.from(programOf({ kind: "all" }, MAP_FD))
      .toString("hex")
      .match(/.{16}/g),
  ).toEqual([
    "6112100000000000", // r2 = *(u32 *)(r1 + 16)
    "181100004d000000", // r1 = map 77
    "0000000000000000",
    "b703000001000000", // r3 = 1
    "8500000033000000", // call 51
    "9500000000000000", // exit
  ]);
});
