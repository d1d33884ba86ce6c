import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ACTION_ACCEPT,
  ACTION_DROP,
  COMMIT_ASYNC,
  COMMIT_DEFAULT,
  COMMIT_SYNC,
} from "../../../src/dataplane/policy-model.ts";
import {
  formatAddress,
  formatPrefix,
  parseInterfaceAddress,
  parseInterfaceAddress6,
  parseIpv4,
  parseIpv6,
  parsePrefix,
} from "../../../src/policy/address.ts";
import { checkPolicy } from "../../../src/policy/check.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import {
  type DnatSource,
  MASQUERADE,
  type PolicySource,
  type RuleSource,
  type SnatSource,
} from "../../../src/policy/source.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../../src/policy/timeouts.ts";

const ip = (text: string): number => parseIpv4(text)!;
const net = (text: string) => parsePrefix(text)!;

function rule(fields: Partial<RuleSource>): RuleSource {
  return {
    name: "r",
    sources: [],
    destinations: [],
    sourcePorts: [],
    destinationPorts: [],
    action: "accept",
    log: false,
    ...fields,
  };
}

function dnat(fields: Partial<DnatSource>): DnatSource {
  return {
    zone: "outside",
    address: ip("198.51.100.10"),
    protocol: 6,
    ports: { from: 8080, to: 8080 },
    to: [ip("10.10.0.250")],
    ...fields,
  };
}

function policy(fields: Partial<PolicySource> = {}): PolicySource {
  return {
    affinity: "source",
    zones: {
      outside: { trust: 0, gateway: parseInterfaceAddress("198.51.100.1/24")! },
      inside: { trust: 100, gateway: parseInterfaceAddress("10.10.0.1/24")! },
    },
    routes: [],
    nat: { snat: [], dnat: [] },
    rules: [],
    timeouts: {},
    syncDeadlineMs: 5,
    ...fields,
  };
}

const portsOf = (zone: string): readonly number[] => (zone === "inside" ? [0] : [1]);

describe("compilePolicy()", () => {
  test("gives zones their ids by name, so that members agree whatever their files' order is", () => {
    const model = compilePolicy(policy({ rules: [rule({ from: "inside", to: "outside" })] }), portsOf);
    expect(model.zones.map((zone) => zone.name)).toEqual(["inside", "outside"]);
    expect(model.zones[0]).toEqual({
      id: 0,
      name: "inside",
      trust: 100,
      gateway: ip("10.10.0.1"),
      prefix: net("10.10.0.0/24"),
      ports: [0],
    });
    expect(model.rules[0]).toMatchObject({ fromZone: 0, toZone: 1 });
  });

  test("keeps the order of rules and says -1 for any", () => {
    const rules = [
      rule({ name: "b", protocol: 6, destinationPorts: [{ from: 80, to: 90 }], commit: "async", log: true }),
      rule({ name: "a", action: "drop", protocol: 1, icmpType: 8, icmpCode: 0 }),
      rule({ name: "c", commit: "sync" }),
    ];
    const model = compilePolicy(policy({ rules }), portsOf);
    expect(model.rules.map((r) => [r.id, r.name, r.action, r.commit])).toEqual([
      [0, "b", ACTION_ACCEPT, COMMIT_ASYNC],
      [1, "a", ACTION_DROP, COMMIT_DEFAULT],
      [2, "c", ACTION_ACCEPT, COMMIT_SYNC],
    ]);
    expect(model.rules[2]).toMatchObject({
      fromZone: -1,
      toZone: -1,
      protocol: -1,
      icmpType: -1,
      icmpCode: -1,
      sources: [],
      sourcePorts: [],
    });
    expect(model.rules[1]).toMatchObject({ protocol: 1, icmpType: 8, icmpCode: 0 });
  });

  test("a forwarded port keeps its number unless another is named", () => {
    const model = compilePolicy(
      policy({ nat: { snat: [], dnat: [dnat({}), dnat({ address: ip("198.51.100.11"), toPort: 80 })] } }),
      portsOf,
    );
    expect(model.dnat.map((entry) => [entry.zone, entry.toPort])).toEqual([
      [1, 8080],
      [1, 80],
    ]);
  });

  test("a route without next hop is on-link", () => {
    const routes = [
      { to: net("0.0.0.0/0"), zone: "outside", via: [ip("198.51.100.254")] },
      { to: net("10.20.0.0/16"), zone: "inside" },
    ];
    expect(compilePolicy(policy({ routes }), portsOf).routes).toEqual([
      { to: { address: 0, bits: 0 }, zone: 1, via: ip("198.51.100.254") },
      { to: net("10.20.0.0/16"), zone: 0, via: 0 },
    ]);
  });

  test("answers for pool and DNAT addresses, sorted as unsigned numbers, each once", () => {
    const snat = [
      {
        from: "inside",
        to: "outside",
        sources: [],
        pool: [ip("198.51.100.11"), ip("198.51.100.10"), ip("9.9.9.9")],
      },
    ];
    const model = compilePolicy(
      policy({ nat: { snat, dnat: [dnat({}), dnat({ ports: { from: 1, to: 2 } })] } }),
      portsOf,
    );
    expect(model.answered.map((entry) => `${entry.zone} ${formatAddress(entry.address)}`)).toEqual([
      "1 9.9.9.9",
      "1 198.51.100.10",
      "1 198.51.100.11",
    ]);
  });

  test("named time-outs replace defaults, and take those along that follow them", () => {
    const timeouts = { udpReplied: 1000, icmp: undefined, other: 2000, gre: 3000 };
    expect(compilePolicy(policy({ timeouts }), portsOf).timeoutsMs).toEqual({
      ...DEFAULT_TIMEOUTS_MS,
      ...{ udpReplied: 1000, udpStream: 1000, other: 2000, sctp: 2000, gre: 3000, esp: 2000 },
    });
  });
});

describe("both families", () => {
  const inside = {
    trust: 100,
    gateway: parseInterfaceAddress("10.10.0.1/24")!,
    gateway6: parseInterfaceAddress6("fd00:10::1/64")!,
  };
  const outside = {
    trust: 0,
    gateway: parseInterfaceAddress("198.51.100.1/24")!,
    gateway6: parseInterfaceAddress6("2001:db8::1/64")!,
  };
  const dual = (fields: Partial<PolicySource>): PolicySource =>
    policy({ zones: { inside, outside }, ...fields });
  const snatOf = (entry: Partial<SnatSource>) => {
    const full = { from: "inside", to: "outside", sources: [], pool: MASQUERADE, ...entry } as const;
    const source = dual({ nat: { snat: [full], dnat: [] } });
    expect(checkPolicy(source)).toEqual([]);
    const { snat, answered } = compilePolicy(source, portsOf);
    return {
      snat: snat.map(({ sources, pool }) => [sources.map(formatPrefix), pool.map(formatAddress)]),
      answered: answered.map(({ zone, address }) => [zone, formatAddress(address)]),
    };
  };

  test("a zone without IPv4 has gateway 0, and one without IPv6 none", () => {
    const model = compilePolicy(
      policy({
        zones: { a: { trust: 1, gateway6: inside.gateway6 }, b: { trust: 1, gateway: inside.gateway } },
      }),
      portsOf,
    );
    expect(model.zones[0]).toMatchObject({ gateway: 0, prefix: { address: 0, bits: 32 } });
    expect(model.zones[0]?.ipv6).toEqual({
      gateway: parseIpv6("fd00:10::1"),
      prefix: net("fd00:10::/64"),
      linkLocal: parseIpv6("fe80::1"),
    });
    expect(model.zones[1]).not.toHaveProperty("ipv6");
  });

  test("masquerading without sources leaves IPv6 alone, and gateways are not answered for", () => {
    expect(snatOf({})).toEqual({ snat: [[[], ["198.51.100.1"]]], answered: [] });
  });

  test("masquerading goes by the family of the sources", () => {
    expect(snatOf({ sources: [net("fd00::/8"), net("10.0.0.0/8")] }).snat).toEqual([
      [["10.0.0.0/8"], ["198.51.100.1"]],
      [["fd00::/8"], ["2001:db8::1"]],
    ]);
  });

  test("a pool of both families is an entry for each", () => {
    const pool = [parseIpv6("2001:db8::9")!, ip("198.51.100.9")];
    expect(snatOf({ pool })).toEqual({
      snat: [
        [[], ["198.51.100.9"]],
        [[], ["2001:db8::9"]],
      ],
      answered: [
        [1, "198.51.100.9"],
        [1, "2001:db8::9"],
      ],
    });
  });

  test("a hairpin entry's address is answered in the zone whose network it is in", () => {
    expect(snatOf({ to: "inside", pool: [ip("198.51.100.9")] }).answered).toEqual([[1, "198.51.100.9"]]);
    expect(snatOf({ to: "inside", pool: [ip("192.0.2.9")] }).answered).toEqual([[0, "192.0.2.9"]]);
  });

  test("static addresses are answered one by one on the outer zone's wire, and not when they are routed", () => {
    const entry = (outer: string) => ({
      ...{ innerZone: "inside", outerZone: "outside" },
      ...{ inner: net("10.10.0.252/30"), outer: net(outer) },
    });
    const answeredOf = (outer: string): string[] =>
      compilePolicy(dual({ nat: { snat: [], dnat: [], static: [entry(outer)] } }), portsOf).answered.map(
        ({ address }) => formatAddress(address),
      );
    expect(answeredOf("203.0.113.0/30")).toEqual([]);
    // 198.51.100.255 is the broadcast address of the wire.
    expect(answeredOf("198.51.100.252/30")).toEqual(["198.51.100.252", "198.51.100.253", "198.51.100.254"]);
  });

  test("rules name interfaces by label, and ports are what the node gives them", () => {
    const rules = [rule({ interfaces: ["eth1.100", "eth0"] })];
    const ports = new Map([
      ["eth0", 0],
      ["eth1.100", 1],
    ]);
    const model = compilePolicy(dual({ rules }), portsOf, (label) => ports.get(label)!);
    expect(model.rules[0]?.interfaces).toEqual([0, 1]);
  });
});

describe("sets", () => {
  test("sets of sets hold each network once, and a circle ends", () => {
    const addressSets = { a: ["b", net("10.0.0.0/8")], b: ["a", net("10.0.0.0/8"), net("fd00::/8")] };
    const model = compilePolicy(policy({ addressSets, rules: [rule({ sources: ["a"] })] }), portsOf);
    expect(model.rules[0]?.sources.map(formatPrefix)).toEqual(["10.0.0.0/8", "fd00::/8"]);
    expect(checkPolicy(policy({ addressSets })).map((mistake) => mistake.path)).toEqual([
      ["addressSets", "a"],
    ]);
  });

  test("many sets of many sets are expanded quickly", () => {
    // Each set names the next one twice: without memory that is 2^40 steps.
    const addressSets = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [
        `s${i}`,
        i === 39 ? [net("10.0.0.0/8")] : [`s${i + 1}`, `s${i + 1}`],
      ]),
    );
    const source = policy({ addressSets, rules: [rule({ sources: ["s0"] })] });
    expect(checkPolicy(source)).toEqual([]);
    expect(compilePolicy(source, portsOf).rules[0]?.sources).toHaveLength(1);
  });
});

describe("protection", () => {
  test("the defaults of every table size go together", () => {
    const size = fc.integer({ min: 1024, max: 8_388_608 });
    fc.assert(
      fc.property(size, fc.option(fc.nat({ max: 1024 }), { nil: undefined }), (flowsMax, halfOpenMax) => {
        const source = policy({ flowsMax, protection: { halfOpenMax } });
        expect(checkPolicy(source)).toEqual([]);
        const model = compilePolicy(source, portsOf).protection!;
        expect(model.halfOpenMax).toBeLessThanOrEqual(flowsMax);
      }),
    );
  });

  test("is absent without a table to protect", () => {
    expect(compilePolicy(policy(), portsOf)).not.toHaveProperty("protection");
  });
});

describe("default time-outs", () => {
  test("an established TCP connection outlives 2 h 4 min (RFC 5382, REQ-5)", () => {
    expect(DEFAULT_TIMEOUTS_MS.tcpEstablished).toBeGreaterThanOrEqual(7_440_000);
  });

  test.each([
    "tcpSynSent",
    "tcpSynReceived",
    "tcpFinWait",
    "tcpCloseWait",
    "tcpLastAck",
    "tcpTimeWait",
  ] as const)("%s lasts at least 4 min (RFC 5382, REQ-5)", (name) =>
    expect(DEFAULT_TIMEOUTS_MS[name]).toBeGreaterThanOrEqual(240_000),
  );

  test("a replied UDP flow outlives 2 min, and has the recommended 5 (RFC 4787, REQ-5)", () => {
    expect(DEFAULT_TIMEOUTS_MS.udpReplied).toBe(300_000);
  });

  test("an ICMP query outlives 60 s (RFC 5508, REQ-1)", () => {
    expect(DEFAULT_TIMEOUTS_MS.icmp).toBeGreaterThanOrEqual(60_000);
  });
});

describe("checkPolicy()", () => {
  test("finds nothing in a right policy", () => {
    expect(
      checkPolicy(policy({ nat: { snat: [], dnat: [dnat({})] }, rules: [rule({ from: "inside" })] })),
    ).toEqual([]);
  });

  test("lets one address serve several ports and protocols, and refuses an overlap", () => {
    const entries = [dnat({}), dnat({ protocol: 17 }), dnat({ ports: { from: 8081, to: 8090 } })];
    expect(checkPolicy(policy({ nat: { snat: [], dnat: entries } }))).toEqual([]);
    const clash = checkPolicy(
      policy({ nat: { snat: [], dnat: [...entries, dnat({ ports: { from: 8085, to: 8085 } })] } }),
    );
    expect(clash.map((mistake) => mistake.path)).toEqual([["nat", "dnat", 3, "ports"]]);
  });

  test("accepts a pool that no zone contains: it is routed to the cluster", () => {
    const snat = [{ from: "inside", to: "outside", sources: [], pool: [ip("203.0.113.7")] }];
    expect(checkPolicy(policy({ nat: { snat, dnat: [] } }))).toEqual([]);
  });

  test("refuses one routed address for two zones", () => {
    const snat = [
      { from: "inside", to: "outside", sources: [], pool: [ip("203.0.113.7")] },
      { from: "outside", to: "inside", sources: [], pool: [ip("203.0.113.7")] },
    ];
    const [mistake] = checkPolicy(policy({ nat: { snat, dnat: [] } }));
    expect(mistake?.path).toEqual(["nat", "snat", 1, "pool", 0]);
    expect(mistake?.message).toContain("is used for zone outside already");
  });

  test("refuses a target that is the cluster itself", () => {
    const [mistake] = checkPolicy(policy({ nat: { snat: [], dnat: [dnat({ to: [ip("10.10.0.1")] })] } }));
    expect(mistake?.message).toContain("the cluster's own gateway");
  });

  test("refuses a second route to one network and a route to a zone's own network", () => {
    const routes = [
      { to: net("10.20.0.0/16"), zone: "inside" },
      { to: net("10.20.0.0/16"), zone: "inside" },
      { to: net("10.10.0.0/24"), zone: "inside" },
    ];
    expect(checkPolicy(policy({ routes })).map((mistake) => mistake.path)).toEqual([
      ["routes", 1, "to"],
      ["routes", 2, "to"],
    ]);
  });

  test("refuses the name of the built-in last rule, and commit on a rule that drops", () => {
    const rules = [rule({ name: "default" }), rule({ name: "x", action: "drop", commit: "sync" })];
    expect(checkPolicy(policy({ rules })).map((mistake) => mistake.path)).toEqual([
      ["rules", 0, "name"],
      ["rules", 1, "commit"],
    ]);
  });
});
