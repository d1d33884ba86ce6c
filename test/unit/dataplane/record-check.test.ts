import { describe, expect, test } from "vitest";
import { RECORD_BYTES } from "../../../src/base/record.ts";
import { D_DEADLINE, FLAG_SNAT } from "../../../src/dataplane/flow-layout.ts";
import { REPLICA_APPLIED, REPLICA_REFUSED } from "../../../src/dataplane/replica.ts";
import { ADJUSTMENT_TCP, POINTER_UDP } from "../../../src/dataplane/satellites.ts";
import { udp } from "./frames.ts";
import { entry, natPolicy } from "./nat-worlds.ts";
import { Pair, SLOTS } from "./pair.ts";
import { DUAL_POLICY, PORT_INSIDE, TIMEOUTS } from "./world.ts";

const FAMILY = 16;
const PROTOCOL = 17;
const FLAGS = 18;
const ORIGINAL = 24;
const REPLY = 56;
const PORTS = 88;
const STATE = 96;

/** A pair whose first node has a flow, and the flow's record on its way to the other. */
function flow(from: string, to: string): { pair: Pair; record: Uint8Array } {
  const pair = new Pair(DUAL_POLICY);
  pair.assign(2, () => 1);
  pair.one.packet(PORT_INSIDE, udp({ from, to, sport: 4000, dport: 53 }));
  const ring = pair.one.ring!;
  const at = ring.at(ring.length() - 1);
  return { pair, record: ring.bytes.slice(at, at + RECORD_BYTES) };
}

const ENDS: readonly [string, string, string][] = [
  ["IPv4", "10.10.0.2", "198.51.100.100"],
  ["IPv6", "2001:db8:10::2", "2001:db8:77::1"],
];

describe.each(ENDS)("a record of an %s flow", (name, from, to) => {
  const isIpv6 = name === "IPv6";
  const apply = (change: (record: Uint8Array) => void): number => {
    const { pair, record } = flow(from, to);
    change(record);
    const status = pair.two.engine.applyReplica(record, 0, pair.two.nowMs);
    expect(pair.two.table.used).toBe(status === REPLICA_APPLIED ? 1 : 0);
    return status;
  };

  test("is applied as it was sent", () => {
    expect(apply(() => undefined)).toBe(REPLICA_APPLIED);
  });

  test("is refused when its family is none", () => {
    for (const family of [0, 1, 3, 8, 12, 0xff]) {
      expect(apply((record) => (record[FAMILY] = family))).toBe(REPLICA_REFUSED);
    }
  });

  test("is refused when both directions are one: only one of them would be found", () => {
    const status = apply((record) => {
      record.copyWithin(REPLY, ORIGINAL, ORIGINAL + 32);
      record.copyWithin(PORTS + 4, PORTS, PORTS + 4);
    });
    expect(status).toBe(REPLICA_REFUSED);
  });

  test("is refused when an IPv6 direction holds an IPv4 address (RFC 4291 section 2.5.5.2)", () => {
    for (const end of [ORIGINAL, ORIGINAL + 16, REPLY, REPLY + 16]) {
      const status = apply((record) => {
        record[FAMILY] = 7;
        if (!isIpv6) for (let at = ORIGINAL; at < PORTS; at += 16) record.fill(0x20, at + 4, at + 16);
        record.fill(0, end + 4, end + 16);
        record.set([0xff, 0xff], end + 12);
      });
      expect(status).toBe(REPLICA_REFUSED);
    }
  });

  test("is refused when it is of no TCP and says that numbers are adjusted", () => {
    for (const protocol of [17, ADJUSTMENT_TCP]) {
      const status = apply((record) => {
        record[PROTOCOL] = protocol;
        record[FLAGS]! |= 0x80;
      });
      expect(status).toBe(REPLICA_REFUSED);
    }
  });

  test("is refused when it is a pointer to a slot that is none", () => {
    for (const slot of [0, SLOTS - 1, SLOTS, 0xffff_ffff]) {
      const status = apply((record) => {
        record[PROTOCOL] = POINTER_UDP;
        new DataView(record.buffer).setUint32(STATE, slot, true);
      });
      expect(status).toBe(slot < SLOTS ? REPLICA_APPLIED : REPLICA_REFUSED);
    }
  });
});

test("a flow without packets does not live longer for going from node to node", () => {
  const { pair } = flow("10.10.0.2", "198.51.100.100");
  pair.settle();
  for (let epoch = 3; epoch < 9; epoch++) {
    const [owner, backup] = epoch % 2 === 1 ? [pair.two, pair.one] : [pair.one, pair.two];
    pair.assign(epoch, () => owner.view.selfId);
    for (let slot = 0; slot < SLOTS; slot++) owner.engine.exportSlot(slot);
    for (let i = 0; i < 8; i++) {
      owner.engine.exportStep(64, owner.nowMs);
      pair.replicate(owner);
    }
    expect(backup.table.used).toBe(1);
    const left = backup.table.doubles[D_DEADLINE]! - backup.nowMs;
    expect(left).toBeGreaterThanOrEqual(TIMEOUTS.udpUnreplied - 1);
    expect(left).toBeLessThanOrEqual(TIMEOUTS.udpUnreplied * 1.25);
  }
});

test("a record with other NAT flags speaks of another flow: the binding is let go with the one that it replaces", () => {
  const pair = new Pair(natPolicy({ snat: [entry({ isEndpointIndependent: true })] }));
  pair.assign(2, () => 1);
  pair.one.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 4000, dport: 53 }));
  const ring = pair.one.ring!;
  const at = ring.at(ring.length() - 1);
  const record = ring.bytes.slice(at, at + RECORD_BYTES);
  pair.settle();
  expect(pair.two.table.used).toBe(2);
  record[FLAGS]! &= ~(FLAG_SNAT >> 16);
  expect(pair.two.engine.applyReplica(record, 0, pair.two.nowMs)).toBe(REPLICA_APPLIED);
  pair.assign(3, () => 2);
  for (let i = 0; i < 80; i++) pair.two.tick(8000);
  expect(pair.two.table.used).toBe(0);
});
