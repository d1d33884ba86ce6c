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

test("a cluster port takes ARP replies to 0.0.0.0, which answer probes of ours, and leaves all other ARP to the kernel", () => {
  const port = { kind: "cluster", udpPorts: [6081] } as const;
  const taken = (operation: number, target: readonly number[]): boolean => {
    const arp = new Uint8Array(60);
    arp.set([8, 6, 0, 1, 8, 0, 6, 4, 0, operation], 12);
    arp.set(target, 38);
    return isForUs(port, arp, 0, arp.length);
  };
  expect(taken(2, [0, 0, 0, 0])).toBe(true);
  expect(taken(2, [192, 0, 2, 1])).toBe(false);
  expect(taken(1, [0, 0, 0, 0])).toBe(false);
});
