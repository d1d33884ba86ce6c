import { describe, expect, test } from "vitest";
import {
  parseInterfaceAddress,
  parseInterfaceAddress6,
  parseIpv4,
  parsePrefix,
} from "../../../src/policy/address.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import { policyFingerprint } from "../../../src/policy/fingerprint.ts";
import {
  MASQUERADE,
  type PolicySource,
  type RuleSource,
  type SnatSource,
  type ZoneSource,
} from "../../../src/policy/source.ts";

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

const SNAT = POLICY.nat.snat[0]!;
const OUTSIDE6 = { ...OUTSIDE, gateway6: parseInterfaceAddress6("2001:db8::1/64")! };

function withSnat(fields: Partial<SnatSource>): Partial<PolicySource> {
  return { nat: { ...POLICY.nat, snat: [{ ...SNAT, ...fields }] } };
}

function withRule(fields: Partial<RuleSource>): Partial<PolicySource> {
  return { rules: [rule({ name: "web", protocol: 6, ...fields }), POLICY.rules[1]!] };
}

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
  expect(of(withRule({ comment: "why", owner: "us" }))).toBe(of());
  expect(of({ flowsMax: 1024, fragments: {} })).toBe(of());
  expect(of({ zones: { inside: { ...INSIDE, mssMax: 1400 }, outside: OUTSIDE } })).toBe(of());
  const by = (label: string) =>
    of({ ...withRule({ interfaces: [label] }), interfaces: new Map([[label, "inside"]]) });
  expect(by("eth0")).toBe(by("ens3"));
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
        dnat: [{ zone: "outside", address: 1, protocol: 6, ports: { from: 1, to: 1 }, to: [2] }],
      },
    },
  ],
  ["the order of rules", { rules: [...POLICY.rules].reverse() }],
  [
    "a rule's sources",
    { rules: [rule({ name: "web", protocol: 6, sources: [parsePrefix("10.0.0.0/8")!] })] },
  ],
  ["IPv6 in a zone", { zones: { inside: INSIDE, outside: OUTSIDE6 } }],
  ["bogons", { zones: { inside: { ...INSIDE, bogons: [parsePrefix("192.0.2.0/24")!] }, outside: OUTSIDE } }],
  ["ports of a pool", withSnat({ ports: { from: 2000, to: 9000 } })],
  ["the mapping", withSnat({ mapping: "endpoint-independent" })],
  ["masquerading", withSnat({ pool: MASQUERADE })],
  [
    "a static address",
    {
      nat: {
        ...POLICY.nat,
        static: [
          {
            innerZone: "inside",
            outerZone: "outside",
            inner: parsePrefix("10.10.0.9")!,
            outer: parsePrefix("192.0.2.9")!,
          },
        ],
      },
    },
  ],
  [
    "NAT64",
    {
      nat: {
        ...POLICY.nat,
        nat64: [{ from: "inside", to: "outside", prefix: parsePrefix("64:ff9b::/96")!, pool: [7] }],
      },
    },
  ],
  ["a rule's IPv6 source", withRule({ sources: [parsePrefix("::a00:0/104")!] })],
  ["services", withRule({ services: [{ protocol: 6, ports: [], sourcePorts: [] }] })],
  ["TCP flags", withRule({ tcpFlags: { set: ["syn"], clear: [] } })],
  ["a schedule", withRule({ schedule: { days: [1] } })],
  ["a rate", withRule({ rate: { perSecond: 5 } })],
  ["a helper", withRule({ helpers: ["ftp"] })],
  ["interfaces at all", { ...withRule({ interfaces: ["eth0"] }), interfaces: new Map([["eth0", "inside"]]) }],
  ["reject for accept", withRule({ action: "reject" })],
])("a difference is seen: %s", (_what, fields) => {
  expect(of(fields)).not.toBe(of());
});

describe("interfaces", () => {
  const ZONES = { inside: INSIDE, outside: OUTSIDE };

  /** Of a node with these interfaces, zone by zone, and a rule for some of them. */
  function on(
    ports: Readonly<Record<keyof typeof ZONES, readonly string[]>>,
    wanted: readonly string[],
  ): string {
    const labels = [...ports.inside, ...ports.outside];
    const interfaces = new Map(
      labels.map((label) => [label, ports.inside.includes(label) ? "inside" : "outside"]),
    );
    const source = { ...POLICY, ...withRule({ interfaces: wanted }), zones: ZONES, interfaces };
    const portsOf = (zone: string) => ports[zone as keyof typeof ZONES].map((label) => labels.indexOf(label));
    return policyFingerprint(
      compilePolicy(source, portsOf, (label) => labels.indexOf(label)),
      64,
    );
  }

  const ONE = { inside: ["eth1", "eth2"], outside: ["eth3"] };

  test("are compared by their order where a rule asks for some", () => {
    const swapped = { ...ONE, inside: ["eth2", "eth1"] };
    expect(on(swapped, ["eth2"])).not.toBe(on(ONE, ["eth2"]));
    expect(on(ONE, ["eth1"])).not.toBe(on(ONE, ["eth2"]));
    const moved = { inside: ["eth1"], outside: ["eth2", "eth3"] };
    expect(on(moved, ["eth1"])).not.toBe(on(ONE, ["eth1"]));
  });

  test("may have other names, and any order while no rule asks for them", () => {
    const renamed = { inside: ["ens1", "ens2"], outside: ["ens3"] };
    expect(on(renamed, ["ens2"])).toBe(on(ONE, ["eth2"]));
    expect(on({ inside: ["eth1"], outside: ["eth2", "eth3"] }, [])).toBe(on(ONE, []));
  });

  test("leave the fingerprint of a policy that does not ask for them what it was in earlier builds", () => {
    expect(of()).toBe("3625c5ba72ca557ba19a825a0039a55b");
  });
});

test("what advertisements and link-local addresses say is shared", () => {
  const zones = (fields: Partial<ZoneSource>) =>
    of({ zones: { inside: INSIDE, outside: { ...OUTSIDE6, ...fields } } });
  const all = [
    zones({}),
    zones({ advertise: {} }),
    zones({ advertise: { managed: true } }),
    zones({ linkLocal: 5n }),
  ];
  expect(new Set(all).size).toBe(all.length);
});

test("an IPv6 address is not the IPv4 address of the same number", () => {
  const to = (address: number | bigint) => withRule({ sources: [{ address, bits: 8 }] });
  expect(of(to(0))).not.toBe(of(to(0n)));
});

test("other slots are another fingerprint", () => {
  expect(of({}, 128)).not.toBe(of());
});
