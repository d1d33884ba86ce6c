import { expect, test } from "vitest";
import { parseInterfaceAddress, parseIpv4, parsePrefix } from "../../../src/policy/address.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import { policyFingerprint } from "../../../src/policy/fingerprint.ts";
import type { PolicySource, RuleSource } from "../../../src/policy/source.ts";

const ip = (text: string): number => parseIpv4(text)!;
const INSIDE = { trust: 100, gateway: parseInterfaceAddress("10.10.0.1/24")! };
const OUTSIDE = { trust: 0, gateway: parseInterfaceAddress("198.51.100.1/24")! };

function rule(fields: Partial<RuleSource>): RuleSource {
  const any = { sources: [], destinations: [], sourcePorts: [], destinationPorts: [] };
  return { name: "r", ...any, action: "accept", log: false, ...fields };
}

const POLICY: PolicySource = {
  affinity: "source",
  zones: { inside: INSIDE, outside: OUTSIDE },
  routes: [],
  nat: {
    snat: [{ from: "inside", to: "outside", sources: [], pool: [ip("198.51.100.10")] }],
    dnat: [],
  },
  rules: [rule({ name: "web", protocol: 6 }), rule({ name: "dns", protocol: 17 })],
  timeouts: {},
  syncDeadlineMs: 5,
};

function of(fields: Partial<PolicySource> = {}, slots = 64, port = 0): string {
  return policyFingerprint(
    compilePolicy({ ...POLICY, ...fields }, () => [port]),
    slots,
  );
}

test("what each node may do as it likes makes no difference", () => {
  expect(of()).toMatch(/^[0-9a-f]{32}$/);
  expect(of({ zones: { outside: OUTSIDE, inside: INSIDE } })).toBe(of());
  expect(of({}, 64, 3)).toBe(of());
  expect(of({ timeouts: { icmp: 1 }, syncDeadlineMs: 9 })).toBe(of());
  expect(of({ rules: POLICY.rules.map((each) => ({ ...each, log: true })) })).toBe(of());
});

test.each<[string, Partial<PolicySource>]>([
  ["affinity", { affinity: "flow" }],
  ["a zone more", { zones: { ...POLICY.zones, dmz: { trust: 50, gateway: INSIDE.gateway } } }],
  ["trust", { zones: { inside: { ...INSIDE, trust: 1 }, outside: OUTSIDE } }],
  ["a pool address more", { nat: { ...POLICY.nat, snat: [{ ...POLICY.nat.snat[0]!, pool: [1, 2] }] } }],
  [
    "a forwarded port",
    {
      nat: {
        ...POLICY.nat,
        dnat: [{ zone: "outside", address: 1, protocol: 6, ports: { from: 1, to: 1 }, to: 2 }],
      },
    },
  ],
  ["the order of rules", { rules: [...POLICY.rules].reverse() }],
  [
    "a rule's sources",
    { rules: [rule({ name: "web", protocol: 6, sources: [parsePrefix("10.0.0.0/8")!] })] },
  ],
])("a difference is seen: %s", (_what, fields) => {
  expect(of(fields)).not.toBe(of());
});

test("other slots are another fingerprint", () => {
  expect(of({}, 128)).not.toBe(of());
});
