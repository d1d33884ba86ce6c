/** NAT64 with the well-known prefix, which must not stand for private addresses (RFC 6052 section 3.1). */
import { expect, test } from "vitest";
import {
  PRIVATE_IPV4_PREFIXES,
  parseInterfaceAddress,
  parseInterfaceAddress6,
  parseIpv4,
  parsePrefix,
} from "../../../src/policy/address.ts";
import { checkPolicy, notesOf } from "../../../src/policy/check.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import type { PolicySource } from "../../../src/policy/source.ts";

/** NAT64 from inside to outside, whose gateway is this. */
function policy(prefix: string, gateway: string, fields: Partial<PolicySource> = {}): PolicySource {
  const pool = [parseIpv4(gateway.replace(/\.\d+\/\d+$/, ".12"))!];
  return {
    affinity: "source",
    zones: {
      inside: { trust: 100, gateway6: parseInterfaceAddress6("2001:db8:10::1/64")! },
      outside: { trust: 0, gateway: parseInterfaceAddress(gateway)! },
    },
    routes: [],
    nat: {
      snat: [],
      dnat: [],
      nat64: [{ from: "inside", to: "outside", prefix: parsePrefix(prefix)!, pool }],
    },
    rules: [],
    timeouts: {},
    syncDeadlineMs: 5,
    ...fields,
  };
}

const messages = (source: PolicySource): string[] => notesOf(source).map(({ message }) => message);

test("private addresses are excluded from the well-known prefix, and from no other", () => {
  const excludedOf = (prefix: string) =>
    compilePolicy(policy(prefix, "198.51.100.1/24"), () => []).nat64?.[0]?.excluded;
  expect(excludedOf("64:ff9b::/96")).toEqual(PRIVATE_IPV4_PREFIXES);
  expect(excludedOf("2001:db8:64::/96")).toBeUndefined();
  expect(excludedOf("64:ff9b:1::/48")).toBeUndefined();
});

test("networks that are not reached so are noted, in the zone and behind its routes", () => {
  const source = policy("64:ff9b::/96", "192.168.7.1/24", {
    routes: [
      { to: parsePrefix("0.0.0.0/0")!, zone: "outside", via: [parseIpv4("192.168.7.254")!] },
      { to: parsePrefix("10.20.0.0/16")!, zone: "outside", via: [parseIpv4("192.168.7.254")!] },
    ],
  });
  expect(checkPolicy(source)).toEqual([]);
  expect(notesOf(source)[0]!.path).toEqual(["nat", "nat64", 0, "prefix"]);
  expect(messages(source)).toEqual([
    "64:ff9b::/96 must not stand for private addresses (RFC 6052, 3.1), so hosts of 192.168.7.0/24 in zone outside are not reached by it: use a prefix of your own to reach them",
    expect.stringContaining("hosts of 10.20.0.0/16 in zone outside"),
  ]);
});

test("nothing is noted for public networks, or with a prefix of one's own", () => {
  expect(messages(policy("64:ff9b::/96", "198.51.100.1/24"))).toEqual([]);
  expect(messages(policy("2001:db8:64::/96", "192.168.7.1/24"))).toEqual([]);
});
