import { expect, test } from "vitest";
import { HELPER_TFTP } from "../../../../src/dataplane/policy-model.ts";
import { Rig } from "./rig.ts";

const RRQ = "\0\x01boot/pxelinux.0\0octet\0";

function ask(rig: Rig, row: number, payload: string, direction = 0): void {
  const ends = [
    { from: "10.0.0.2", to: "198.51.100.7", sport: 4000, dport: 69 },
    { from: "198.51.100.7", to: "203.0.113.1", sport: 69, dport: 61_000 },
  ];
  rig.send(row, direction, 17, { ...ends[direction]!, payload });
}

function snat(): { rig: Rig; row: number } {
  const rig = new Rig(HELPER_TFTP);
  const row = rig.table.flow(17, "10.0.0.2:4000 > 198.51.100.7:69", "198.51.100.7:69 > 203.0.113.1:61000");
  return { rig, row };
}

test.each([
  ["a read request", RRQ],
  ["a write request", "\0\x02file\0netascii\0"],
  ["a request with options (RFC 2347)", "\0\x01file\0OCTET\0blksize\x001428\0tsize\x000\0"],
])("%s lets the server answer from any port to the port that asked (RFC 1350 section 4)", (_, payload) => {
  const { rig, row } = snat();
  ask(rig, row, payload);
  expect(rig.expected()).toEqual(["udp 198.51.100.7:* > 203.0.113.1:61000"]);
  expect(rig.arrive(17, "198.51.100.8", 5555, "203.0.113.1", 61_000, 1)).toBe("nothing");
  expect(rig.arrive(17, "198.51.100.7", 5555, "203.0.113.1", 61_000, 1)).toBe(
    "10.0.0.2:4000 from 198.51.100.7",
  );
  expect(rig.arrive(17, "198.51.100.7", 5556, "203.0.113.1", 61_000, 1)).toBe("nothing");
});

test.each([
  ["data", "\0\x03\0\x01abc"],
  ["an acknowledgement", "\0\x04\0\x01"],
  ["a request without a name", "\0\x01\0octet\0"],
  ["a request without a mode", "\0\x01file\0"],
  ["a request that does not end", "\0\x01file\0octet"],
  ["a request of an unknown mode", "\0\x01file\0binary\0"],
  ["a lone byte", "\0"],
])("%s opens nothing", (_, payload) => {
  const { rig, row } = snat();
  ask(rig, row, payload);
  expect([rig.result, rig.expected()]).toEqual(["pass", []]);
});

test("a request in the server's mouth opens nothing", () => {
  const { rig, row } = snat();
  ask(rig, row, RRQ, 1);
  expect(rig.expected()).toEqual([]);
});

test("a repeated request is one expectation, and it ends with 30 s", () => {
  const { rig, row } = snat();
  ask(rig, row, RRQ);
  ask(rig, row, RRQ);
  expect([rig.expected().length, rig.counter("expectationsCreated")]).toEqual([1, 1]);
  rig.wait(31_000);
  expect(rig.table.allRows()).toEqual([]);
});

test("a server behind DNAT answers from the address that was asked, of both families", () => {
  const rig = new Rig(HELPER_TFTP);
  const row = rig.table.flow(17, "198.51.100.7:4000 > 203.0.113.1:69", "10.0.0.9:69 > 198.51.100.7:4000");
  rig.send(row, 0, 17, { from: "198.51.100.7", to: "203.0.113.1", sport: 4000, dport: 69, payload: RRQ });
  expect(rig.arrive(17, "10.0.0.9", 5555, "198.51.100.7", 4000, 1)).toBe(
    "198.51.100.7:4000 from 203.0.113.1 (shown)",
  );
  const row6 = rig.table.flow(
    17,
    "[2001:db8::2]:4000 > [2001:db8:9::1]:69",
    "[fd00::9]:69 > [2001:db8::2]:4000",
  );
  rig.send(row6, 0, 17, { from: "2001:db8::2", to: "2001:db8:9::1", sport: 4000, dport: 69, payload: RRQ });
  expect(rig.arrive(17, "fd00::9", 5555, "2001:db8::2", 4000, 1)).toBe(
    "2001:db8::2:4000 from 2001:db8:9::1 (shown)",
  );
});

test("on a node that does not decide the flow a request waits", () => {
  const { rig, row } = snat();
  rig.isOwner = false;
  ask(rig, row, RRQ);
  expect([rig.result, rig.expected()]).toEqual(["drop", []]);
});
