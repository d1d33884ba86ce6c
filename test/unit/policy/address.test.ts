import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  contains,
  formatIpv4,
  formatPrefix,
  isReservedIn,
  maskOf,
  networkOf,
  overlap,
  parseInterfaceAddress,
  parseIpv4,
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
    expect([0, 1, 255].map((host) => isReservedIn(net, net.address + host))).toEqual([true, false, true]);
    expect(isReservedIn(parsePrefix("10.10.0.0/31")!, net.address)).toBe(false);
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
