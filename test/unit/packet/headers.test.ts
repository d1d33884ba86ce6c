import { describe, expect, test } from "vitest";
import * as arp from "../../../src/packet/arp.ts";
import * as ethernet from "../../../src/packet/ethernet.ts";
import * as geneve from "../../../src/packet/geneve.ts";
import * as icmp from "../../../src/packet/icmp.ts";
import * as ipv4 from "../../../src/packet/ipv4.ts";
import * as tcp from "../../../src/packet/tcp.ts";
import * as frames from "../dataplane/frames.ts";

const ends = { from: "10.1.2.3", to: "192.0.2.255" };

describe("ethernet", () => {
  test("short frames are padded with zeros, so that no older frame leaks", () => {
    const bytes = new Uint8Array(100).fill(0xee);
    expect(ethernet.padFrame(bytes, 10, 42)).toBe(60);
    expect([...bytes.subarray(52, 70)]).toEqual(new Array(18).fill(0));
    expect(bytes[70]).toBe(0xee);
    expect(ethernet.padFrame(bytes, 10, 61)).toBe(61);
  });

  test("group and broadcast addresses", () => {
    const broadcast = frames.mac("ff:ff:ff:ff:ff:ff");
    const multicast = frames.mac("01:00:5e:00:00:01");
    expect([ethernet.isGroup(broadcast, 0), ethernet.isBroadcast(broadcast, 0)]).toEqual([true, true]);
    expect([ethernet.isGroup(multicast, 0), ethernet.isBroadcast(multicast, 0)]).toEqual([true, false]);
    expect(ethernet.isGroup(frames.mac("02:00:00:00:00:01"), 0)).toBe(false);
  });
});

describe("arp", () => {
  test("reads what a request says (RFC 826)", () => {
    const senderMac = frames.mac("02:01:02:03:04:05");
    const bytes = frames.arp({ op: 1, senderMac, sender: "10.0.0.9", target: "200.0.0.1" });
    expect(arp.isEthernetIpv4(bytes, 0)).toBe(true);
    expect(arp.operation(bytes, 0)).toBe(arp.ARP_REQUEST);
    expect(arp.senderIp(bytes, 0) >>> 0).toBe(frames.ip("10.0.0.9"));
    expect(arp.targetIp(bytes, 0) >>> 0).toBe(frames.ip("200.0.0.1"));
    const own = new Uint8Array(28);
    arp.writeArp(own, 0, 1, frames.ip("10.0.0.9") | 0, frames.ip("200.0.0.1") | 0);
    own.set(senderMac, arp.ARP_SENDER_MAC);
    expect(own).toEqual(bytes);
  });
});

describe("ipv4", () => {
  test("reads a header; addresses are signed", () => {
    const bytes = frames.udp({ ...ends, sport: 1, dport: 2, ttl: 9 });
    expect([ipv4.version(bytes, 0), ipv4.headerBytes(bytes, 0), ipv4.totalBytes(bytes, 0)]).toEqual([
      4, 20, 33,
    ]);
    expect([ipv4.ttl(bytes, 0), ipv4.protocol(bytes, 0)]).toEqual([9, 17]);
    expect(ipv4.destination(bytes, 0)).toBe(frames.ip(ends.to) | 0);
    expect(ipv4.destination(bytes, 0)).toBeLessThan(0);
  });

  test("fragments are the first, the middle and the last one", () => {
    for (const [fragment, is] of [
      [0, false],
      [0x2000, true],
      [0x2010, true],
      [0x0010, true],
    ] as const) {
      expect(ipv4.isFragment(frames.udp({ ...ends, sport: 1, dport: 2, df: false, fragment }), 0)).toBe(is);
    }
  });

  test("TTL and address changes keep the header checksum right", () => {
    const bytes = frames.udp({ ...ends, sport: 1, dport: 2, ttl: 2 });
    ipv4.decrementTtl(bytes, 0);
    ipv4.rewriteSource(bytes, 0, frames.ip("203.0.113.200") | 0);
    ipv4.rewriteDestination(bytes, 0, frames.ip("1.2.3.4"));
    expect(frames.seeIp(bytes)).toMatchObject({
      ttl: 1,
      from: "203.0.113.200",
      to: "1.2.3.4",
      headerOk: true,
    });
  });

  test("source route, record route and broken options are bad, others not (RFC 7126)", () => {
    const check = (...options: number[]): boolean => {
      const padded = Uint8Array.from(
        { length: Math.ceil(options.length / 4) * 4 },
        (_, i) => options[i] ?? 0,
      );
      const bytes = frames.udp({ ...ends, sport: 1, dport: 2, options: padded });
      return ipv4.hasBadOption(bytes, 0, ipv4.headerBytes(bytes, 0));
    };
    expect(check(131, 7, 4, 1, 2, 3, 4)).toBe(true);
    expect(check(1, 137, 7, 4, 1, 2, 3, 4)).toBe(true);
    expect(check(7, 7, 4, 0, 0, 0, 0)).toBe(true);
    expect(check(148, 4, 0, 0)).toBe(false);
    expect(check(1, 1, 1, 1)).toBe(false);
    expect(check(0, 131, 7, 4)).toBe(false);
    expect(check(148, 0, 0, 0)).toBe(true);
    expect(check(148, 40, 0, 0)).toBe(true);
    expect(check(1, 1, 1, 148)).toBe(true);
  });

  test("writes a header that others read", () => {
    const bytes = new Uint8Array(60);
    ipv4.writeHeader(bytes, 20, 40, 64, 17, frames.ip(ends.from), frames.ip(ends.to) | 0);
    expect(frames.seeIp(bytes.subarray(20))).toMatchObject({
      ...ends,
      ttl: 64,
      protocol: 17,
      headerOk: true,
    });
  });
});

describe("tcp", () => {
  const segment = (spec: Partial<frames.TcpSpec>): Uint8Array =>
    frames.tcp({ ...ends, sport: 1, dport: 2, flags: "S", ...spec }).subarray(20);

  test("reads numbers, flags and window", () => {
    const bytes = segment({ flags: "PA", seq: 0xfffffffe, ack: 5, window: 1234 });
    expect([tcp.sequence(bytes, 0) >>> 0, tcp.acknowledgement(bytes, 0), tcp.window(bytes, 0)]).toEqual([
      0xfffffffe, 5, 1234,
    ]);
    expect(tcp.flags(bytes, 0)).toBe(tcp.PSH | tcp.ACK);
  });

  test("finds the window scale, at most 14 (RFC 7323 section 2.3), and survives broken options", () => {
    expect(tcp.windowScale(segment({ scale: 7 }), 0, 24)).toBe(7);
    expect(tcp.windowScale(segment({ scale: 200 }), 0, 24)).toBe(14);
    expect(tcp.windowScale(segment({}), 0, 20)).toBe(tcp.NO_SCALE);
    const broken = segment({ scale: 7 });
    broken[22] = 0;
    expect(tcp.windowScale(broken, 0, 24)).toBe(tcp.NO_SCALE);
    broken[22] = 9;
    expect(tcp.windowScale(broken, 0, 24)).toBe(tcp.NO_SCALE);
  });
});

describe("icmp", () => {
  test("errors that concern a flow are unreachable, time exceeded and parameter problem", () => {
    const errors = Array.from({ length: 20 }, (_, type) => type).filter((type) => icmp.isError(type));
    expect(errors).toEqual([3, 11, 12]);
  });
});

describe("geneve (RFC 8926)", () => {
  test("reads back what it writes, and takes nothing else", () => {
    const bytes = new Uint8Array(geneve.GENEVE_HEADER_BYTES);
    geneve.write(bytes, 0, 3, 1, 1023, 77);
    expect([...bytes.subarray(0, 8)]).toEqual([3, 0x40, 0x65, 0x58, 0, 0, 0, 0]);
    expect(geneve.isRedirect(bytes, 0)).toBe(true);
    expect([
      geneve.zone(bytes, 0),
      geneve.port(bytes, 0),
      geneve.slot(bytes, 0),
      geneve.epoch(bytes, 0),
    ]).toEqual([3, 1, 1023, 77]);
    for (const at of [0, 2, 3, 8, 9, 10, 11]) {
      const other = bytes.slice();
      other[at] = other[at]! ^ 1;
      expect(geneve.isRedirect(other, 0)).toBe(false);
    }
  });

  test("a fragment's redirect differs by one bit that nodes which do not know it never looked at", () => {
    const plain = new Uint8Array(geneve.GENEVE_HEADER_BYTES);
    const fragment = new Uint8Array(geneve.GENEVE_HEADER_BYTES);
    geneve.write(plain, 0, 3, 1, 1023, 77);
    geneve.write(fragment, 0, 3, 1, 1023, 77, true);
    expect([geneve.isToMeet(plain, 0), geneve.isToMeet(fragment, 0)]).toEqual([false, true]);
    expect([geneve.isRedirect(fragment, 0), geneve.slot(fragment, 0)]).toEqual([true, 1023]);
    // Zone, port and epoch, which are all that such a node reads, stand where they stood.
    expect([geneve.zone(fragment, 0), geneve.port(fragment, 0), geneve.epoch(fragment, 0)]).toEqual([
      3, 1, 77,
    ]);
    fragment[14] = fragment[14]! ^ 0x80;
    expect(fragment).toEqual(plain);
  });
});
