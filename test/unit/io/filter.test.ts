import { expect, test } from "vitest";
import { isForUs } from "../../../src/io/filter.ts";
import { udpFrame } from "../../conformance/port-frames.ts";

const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const frame = udpFrame({ destination: mac, source: mac, udpPort: 6081 });

test("a port for all frames takes everything, even what is no frame", () => {
  expect(isForUs({ kind: "all" }, new Uint8Array(0), 0, 0)).toBe(true);
});

test("a cluster port takes UDP to its ports at any offset, and no other port's", () => {
  const memory = new Uint8Array(200);
  memory.set(frame, 77);
  expect(isForUs({ kind: "cluster", udpPorts: [1, 6081] }, memory, 77, frame.length)).toBe(true);
  expect(isForUs({ kind: "cluster", udpPorts: [1, 6080] }, memory, 77, frame.length)).toBe(false);
});
