import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Address } from "../../../src/base/address.ts";
import { widthOf } from "../../../src/base/address.ts";
import {
  compareAddresses,
  contains,
  covers,
  formatAddress,
  formatIpv4,
  formatIpv6,
  formatPrefix,
  isReservedIn,
  isUnicast,
  lastOf,
  maskOf,
  networkOf,
  overlap,
  parseAddress,
  parseInterfaceAddress,
  parseInterfaceAddress6,
  parseIpv4,
  parseIpv6,
  parsePortRange,
  parsePrefix,
} from "../../../src/policy/address.ts";
import { formatProtocol, parseProtocol } from "../../../src/policy/protocols.ts";

const address = fc.nat({ max: 0xffff_ffff });

describe("IPv4", () => {
  test("what is written is read back", () => {
    fc.assert(fc.property(address, (n) => parseIpv4(formatIpv4(n)) === n));
  });

  test.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-4",
    "01.2.3.4",
    "1.2.3.4 ",
    "1.2.3.a",
    "0x1.2.3.4",
  ])("%j is no address", (text) => expect(parseIpv4(text)).toBeUndefined());

  test("a prefix keeps its network and refuses host bits", () => {
    fc.assert(
      fc.property(address, fc.nat({ max: 32 }), (n, bits) => {
        const prefix = { address: networkOf(n, bits), bits };
        expect(parsePrefix(formatPrefix(prefix))).toEqual(prefix);
        expect(contains(prefix, n)).toBe(true);
        expect(parseInterfaceAddress(`${formatIpv4(n)}/${bits}`)).toEqual({ address: n, prefix });
      }),
    );
    expect(parsePrefix("10.0.0.1/8")).toBeUndefined();
    expect(parsePrefix("10.0.0.0/33")).toBeUndefined();
    expect(parsePrefix("10.0.0.0/")).toBeUndefined();
  });

  test("masks are unsigned", () => {
    expect([0, 1, 24, 32].map(maskOf)).toEqual([0, 0x8000_0000, 0xffff_ff00, 0xffff_ffff]);
  });

  test("prefixes overlap when one contains the other", () => {
    const net = (text: string) => parsePrefix(text)!;
    expect(overlap(net("10.0.0.0/8"), net("10.1.0.0/16"))).toBe(true);
    expect(overlap(net("10.1.0.0/16"), net("10.0.0.0/8"))).toBe(true);
    expect(overlap(net("10.0.0.0/16"), net("10.1.0.0/16"))).toBe(false);
    expect(overlap(net("0.0.0.0/0"), net("10.1.0.0/16"))).toBe(true);
  });

  test("network and broadcast addresses are reserved, except in /31 and /32 (RFC 3021)", () => {
    const net = parsePrefix("10.10.0.0/24")!;
    const hosts = ["10.10.0.0", "10.10.0.1", "10.10.0.255"].map((text) => parseIpv4(text)!);
    expect(hosts.map((host) => isReservedIn(net, host))).toEqual([true, false, true]);
    expect(isReservedIn(parsePrefix("10.10.0.0/31")!, net.address)).toBe(false);
  });
});

/** Groups of few values, so that runs of zeros of all lengths and places come up. */
const ipv6 = fc
  .array(fc.constantFrom(0, 0, 0, 1, 0xabc, 0xffff), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n));
const anyAddress: fc.Arbitrary<Address> = fc.oneof(address, ipv6);

describe("IPv6", () => {
  test("what is written is read back", () => {
    fc.assert(fc.property(ipv6, (value) => parseIpv6(formatIpv6(value)) === value));
  });

  test("all ways to write an address are read (RFC 4291 section 2.2)", () => {
    const value = 0x2001_0db8_0000_0000_0008_0800_200c_417an;
    for (const text of [
      "2001:DB8:0:0:8:800:200C:417A",
      "2001:db8::8:800:200c:417a",
      "2001:0db8:0000:0000:0008:0800:200c:417a",
      "2001:db8::8:800:32.12.65.122",
      "2001:db8:0:0:8:800:32.12.65.122",
    ]) {
      expect([text, parseIpv6(text)]).toEqual([text, value]);
    }
    expect(["::", "::1", "1::", "1:2:3:4:5:6:7::"].map(parseIpv6)).toEqual([
      0n,
      1n,
      1n << 112n,
      0x0001_0002_0003_0004_0005_0006_0007_0000n,
    ]);
  });

  test.each([
    "",
    ":",
    ":::",
    "1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1::",
    "1::2::3",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "::1.2.3",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "1:2:3:4:5:6:7:1.2.3.4",
    " ::1",
  ])("%j is no address", (text) => expect(parseIpv6(text)).toBeUndefined());

  test.each([
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // section 4.2.3: the first of equal runs
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"], // section 4.2.2: one group is no run
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"], // section 4.2.3: the longest run
    ["2001:DB8::ABCD", "2001:db8::abcd"], // section 4.3
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"], // section 5
    ["64:ff9b::c000:201", "64:ff9b::192.0.2.1"],
    ["64:ff9b::", "64:ff9b::"],
  ])("%s is written %s (RFC 5952)", (text, written) => expect(formatIpv6(parseIpv6(text)!)).toBe(written));

  test("a router's anycast address is no host's, except in /127 and /128 (RFC 4291 section 2.6.1, RFC 6164)", () => {
    const reserved = (text: string): boolean => {
      const { address: value, prefix } = parseInterfaceAddress6(text)!;
      return isReservedIn(prefix, value);
    };
    const texts = ["2001:db8::/64", "2001:db8::1/64", "2001:db8::ffff:ffff:ffff:ffff/64", "2001:db8::/127"];
    expect(texts.map(reserved)).toEqual([true, false, false, false]);
  });

  test("link-local, multicast, loopback, unspecified and mapped addresses are no hosts' (RFC 4291 section 2.4)", () => {
    const texts = ["::", "::1", "::ffff:10.0.0.1", "fe80::1", "ff02::1", "2001:db8::1", "fd00::1"];
    expect(texts.filter((text) => isUnicast(parseIpv6(text)!))).toEqual(["2001:db8::1", "fd00::1"]);
  });
});

describe("both families", () => {
  test("an address is read back with its family", () => {
    fc.assert(fc.property(anyAddress, (value) => parseAddress(formatAddress(value)) === value));
  });

  test("a prefix holds what lies between its ends, of its own family alone", () => {
    fc.assert(
      fc.property(anyAddress, anyAddress, fc.nat({ max: 128 }), (value, other, length) => {
        const bits = Math.min(length, widthOf(value));
        const prefix = { address: networkOf(value, bits), bits };
        expect(parsePrefix(formatPrefix(prefix))).toEqual(prefix);
        const isBetween = typeof other === typeof value && other >= prefix.address && other <= lastOf(prefix);
        expect(contains(prefix, other)).toBe(isBetween);
        expect(contains(prefix, value)).toBe(true);
        expect(covers({ address: networkOf(value, 0), bits: 0 }, prefix)).toBe(true);
      }),
    );
  });

  test("prefixes overlap when they share an address, and one covers the other when it has both its ends", () => {
    const prefix = fc
      .tuple(fc.constantFrom<Address>(0, 0x8000_0000, 0n, 1n << 127n), fc.nat({ max: 3 }))
      .map(([value, bits]) => ({ address: networkOf(value, bits), bits }));
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        const shares = contains(a, b.address) || contains(b, a.address);
        expect([overlap(a, b), overlap(b, a)]).toEqual([shares, shares]);
        expect(covers(a, b)).toBe(contains(a, b.address) && contains(a, lastOf(b)));
      }),
    );
  });

  test("addresses have one order", () => {
    fc.assert(
      fc.property(anyAddress, anyAddress, (a, b) => {
        expect(Math.sign(compareAddresses(a, b))).toBe(-Math.sign(compareAddresses(b, a)) + 0);
        expect(compareAddresses(a, b) === 0).toBe(a === b);
      }),
    );
  });
});

describe("ports and protocols", () => {
  test("a port or a range is read", () => {
    expect(parsePortRange(80)).toEqual({ from: 80, to: 80 });
    expect(parsePortRange("8000-8010")).toEqual({ from: 8000, to: 8010 });
  });

  test.each([0, 65_536, -1, 1.5, "", "80-", "-80", "90-80", "80-65536", "a"])(
    "%j is no port range",
    (value) => expect(parsePortRange(value)).toBeUndefined(),
  );

  test("protocols have names and numbers", () => {
    expect([parseProtocol("tcp"), parseProtocol(89), parseProtocol("toString"), parseProtocol(256)]).toEqual([
      6,
      89,
      undefined,
      undefined,
    ]);
    expect([formatProtocol(17), formatProtocol(200)]).toEqual(["udp", "200"]);
  });
});
