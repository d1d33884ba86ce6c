import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type Address, writeAddress } from "../../../../src/base/address.ts";
import type { Prefix, RuleModel, ServiceModel } from "../../../../src/dataplane/policy-model.ts";
import { compileRules } from "../../../../src/dataplane/rules/compile.ts";
import { CLASSIFIER_LIMITS } from "../../../../src/dataplane/rules/image.ts";
import { NO_RULE, RuleQuery, RuleTable } from "../../../../src/dataplane/rules.ts";
import { rule } from "../world.ts";

const SUNDAY = 1;
const MONDAY = 2;
const FRIDAY = 32;
const SATURDAY = 64;
const ALL_DAYS = 127;
const SYN = 0x02;
const SYN_ACK = 0x12;
const ICMPV6 = 58;

function tableOf(parts: readonly Partial<RuleModel>[], limits = CLASSIFIER_LIMITS): RuleTable {
  const rules = parts.map((part, id) => rule(id, part));
  return new RuleTable(compileRules(rules, limits), new Float64Array(rules.length + 1));
}

function query(
  fields: Partial<RuleQuery>,
  source: Address = 0x0a000001,
  destination: Address = 0x08080808,
): RuleQuery {
  const made = Object.assign(new RuleQuery(), fields);
  writeAddress(made.words, 0, source);
  writeAddress(made.words, 4, destination);
  return made;
}

const service = (part: Partial<ServiceModel>): ServiceModel => ({
  protocol: -1,
  sourcePorts: [],
  destinationPorts: [],
  icmpType: -1,
  icmpCode: -1,
  ...part,
});
const port = (number: number) => [{ from: number, to: number }];

describe("a rule matches", () => {
  const everything: Prefix[] = [{ address: 0, bits: 0 }];
  const everything6: Prefix[] = [{ address: 0n, bits: 0 }];

  test("nothing when there are no rules", () => {
    expect(tableOf([]).match(query({}))).toBe(NO_RULE);
  });

  test("its own family only, also by the prefix of length 0", () => {
    const table = tableOf([{ destinations: everything }, { destinations: everything6 }]);
    expect(table.match(query({}, 1, 2))).toBe(0);
    expect(table.match(query({}, 1n, 2n))).toBe(1);
  });

  test("one of its services, as a whole", () => {
    const table = tableOf([
      {
        services: [
          service({ protocol: 6, destinationPorts: port(80) }),
          service({ protocol: 6, destinationPorts: port(443) }),
          service({ protocol: 17, destinationPorts: port(53) }),
        ],
      },
    ]);
    expect(table.match(query({ protocol: 6, destinationPort: 443 }))).toBe(0);
    expect(table.match(query({ protocol: 17, destinationPort: 53 }))).toBe(0);
    expect(table.match(query({ protocol: 17, destinationPort: 443 }))).toBe(NO_RULE);
  });

  test("any port when one of its services does not say which", () => {
    const services = [service({ protocol: 6, destinationPorts: port(80) }), service({ protocol: 6 })];
    const table = tableOf([{ services }]);
    expect(table.match(query({ protocol: 6, destinationPort: 81 }))).toBe(0);
    expect(table.match(query({ protocol: 17, destinationPort: 81 }))).toBe(NO_RULE);
  });

  test("ICMPv4 and ICMPv6 by the header's protocol, type and code (FFW_RUL_EXT.1.2)", () => {
    const table = tableOf([
      { protocol: 1, icmpType: 8, icmpCode: 0 },
      { protocol: ICMPV6, icmpType: 128 },
    ]);
    expect(table.match(query({ protocol: 1, icmpType: 8, icmpCode: 0 }))).toBe(0);
    expect(table.match(query({ protocol: 1, icmpType: 8, icmpCode: 1 }))).toBe(NO_RULE);
    expect(table.match(query({ protocol: ICMPV6, icmpType: 128, icmpCode: 0 }))).toBe(1);
    expect(table.match(query({ protocol: 1, icmpType: 128, icmpCode: 0 }))).toBe(NO_RULE);
  });

  test("by the interface that the packet came in through (FFW_RUL_EXT.1.4)", () => {
    const table = tableOf([{ interfaces: [2, 5] }]);
    expect(table.match(query({ interface: 5 }))).toBe(0);
    expect(table.match(query({ interface: 4 }))).toBe(NO_RULE);
  });

  test("by TCP flags, and never a packet that has none", () => {
    const table = tableOf([{ tcpFlags: { mask: SYN_ACK, value: SYN } }, { tcpFlags: { mask: 0, value: 0 } }]);
    expect(table.match(query({ protocol: 6, tcpFlags: SYN | 0xc0 }))).toBe(0);
    expect(table.match(query({ protocol: 6, tcpFlags: SYN_ACK }))).toBe(1);
    expect(table.match(query({ protocol: 17, tcpFlags: -1 }))).toBe(NO_RULE);
  });

  test("the highest port and the lowest", () => {
    const table = tableOf([{ destinationPorts: port(65_535) }, { destinationPorts: port(0) }]);
    expect(table.match(query({ destinationPort: 65_535 }))).toBe(0);
    expect(table.match(query({ destinationPort: 0 }))).toBe(1);
    expect(table.match(query({ destinationPort: 65_534 }))).toBe(NO_RULE);
  });
});

describe("a rule with a schedule", () => {
  const holds = (schedule: RuleModel["schedule"], day: number, minute: number): boolean => {
    const table = tableOf([schedule === undefined ? {} : { schedule }]);
    table.setMinute(day, minute);
    return table.peek(query({})) === 0;
  };

  test("does not hold until the table is told what time it is", () => {
    const table = tableOf([{ schedule: { days: ALL_DAYS, fromMinute: 0, toMinute: 1440 } }, {}]);
    expect(table.match(query({}))).toBe(1);
    table.setMinute(SUNDAY, 0);
    expect(table.match(query({}))).toBe(0);
  });

  test("holds from its first minute to before its last, on its days", () => {
    const office = { days: MONDAY | FRIDAY, fromMinute: 480, toMinute: 1020 };
    expect(holds(office, MONDAY, 479)).toBe(false);
    expect(holds(office, MONDAY, 480)).toBe(true);
    expect(holds(office, MONDAY, 1019)).toBe(true);
    expect(holds(office, MONDAY, 1020)).toBe(false);
    expect(holds(office, SUNDAY, 600)).toBe(false);
  });

  test("goes over midnight into the day after the one on which it began", () => {
    const night = { days: SATURDAY, fromMinute: 1320, toMinute: 360 };
    expect(holds(night, SATURDAY, 1319)).toBe(false);
    expect(holds(night, SATURDAY, 1320)).toBe(true);
    expect(holds(night, SUNDAY, 359)).toBe(true);
    expect(holds(night, SUNDAY, 360)).toBe(false);
    expect(holds(night, SATURDAY, 0)).toBe(false);
    expect(holds(night, SUNDAY, 1320)).toBe(false);
  });
});

describe("a rule with a rate", () => {
  test("takes its burst at once and then its rate, by the clock that is handed in", () => {
    const table = tableOf([{ rate: { perSecond: 2, burst: 3 } }, {}]);
    const clock = Float64Array.of(10_000);
    const taken = (): number => [0, 0, 0, 0, 0].filter(() => table.take(0, clock)).length;
    expect(taken()).toBe(3);
    clock[0] = 10_500;
    expect(taken()).toBe(1);
    clock[0] = 1_000_000;
    expect(taken()).toBe(3);
    expect(table.take(1, clock)).toBe(true);
  });
});

test("hits are counted by match() and not by peek()", () => {
  const hits = new Float64Array(2);
  const table = new RuleTable(compileRules([rule(0, { protocol: 6 })]), hits);
  table.match(query({ protocol: 6 }));
  table.match(query({ protocol: 17 }));
  table.peek(query({ protocol: 6 }));
  expect([...hits]).toEqual([1, 1]);
});

test("more rules than an outline has bits are all found, and the first of two", () => {
  const count = 40_000;
  const parts = Array.from({ length: count }, (_, i) => ({
    destinations: [{ address: 0x0b000000 + (i % 39_000), bits: 32 }],
  }));
  const table = tableOf([...parts, {}]);
  for (let i = 0; i < 39_000; i += 97) expect(table.peek(query({}, 1, 0x0b000000 + i))).toBe(i);
  expect(table.peek(query({}, 1, 2))).toBe(count);
});

test("memory stays within the limits, and matching stays right with coarse axes", () => {
  const limits = { ...CLASSIFIER_LIMITS, rowBytesMax: 1 << 16, blockBytesMax: 1 << 17 };
  const parts = Array.from({ length: 5000 }, (_, i) => ({
    sources: [{ address: 0x0a000000 + i * 512, bits: 20 + (i % 13) }],
    destinationPorts: [{ from: i, to: i + (i % 300) }],
  }));
  const table = tableOf(parts, limits);
  const exact = tableOf(parts);
  expect(table.classifier.coarseAxes).toBeGreaterThan(0);
  expect(table.classifier.bytes).toBeLessThan(exact.classifier.bytes);
  for (let i = 0; i < 5000; i += 7) {
    const asked = query({ destinationPort: i }, 0x0a000000 + i * 512 + (i % 900));
    expect(table.peek(asked)).toBe(exact.peek(asked));
  }
});

test("rules that another thread compiled match the same, with coarse axes too", () => {
  const limits = { ...CLASSIFIER_LIMITS, rowBytesMax: 1 << 12, blockBytesMax: 1 << 13 };
  const rules = Array.from({ length: 500 }, (_, i) =>
    rule(i, {
      sources: [{ address: 0x0a000000 + i * 512, bits: 20 + (i % 13) }],
      destinationPorts: [{ from: i, to: i + (i % 300) }],
      ...(i % 5 === 0 ? { schedule: { days: ALL_DAYS, fromMinute: 60, toMinute: 120 } } : {}),
      ...(i % 7 === 0 ? { rate: { perSecond: 1, burst: 1 } } : {}),
    }),
  );
  const compiled = compileRules(rules, limits);
  expect(compiled.image.coarse.length).toBeGreaterThan(0);
  const here = new RuleTable(compiled, new Float64Array(501));
  const there = new RuleTable(structuredClone(compileRules(rules, limits)), new Float64Array(501));
  for (const minute of [0, 60]) {
    for (const table of [here, there]) table.setMinute(SUNDAY, minute);
    for (let i = 0; i < 500; i++) {
      const asked = query({ destinationPort: i }, 0x0a000000 + i * 512 + (i % 900));
      const matched = here.match(asked);
      expect(there.match(asked)).toBe(matched);
      if (matched < 0) continue;
      expect(there.take(matched, Float64Array.of(1000))).toBe(here.take(matched, Float64Array.of(1000)));
    }
  }
});

test("match(), take() and setMinute() cause no garbage collection in a million packets", () => {
  const child = fileURLToPath(new URL("./gc-child.ts", import.meta.url));
  const output = execFileSync(process.execPath, ["--import", "tsx", child, "1000000"], { encoding: "utf8" });
  const { collections, grownBytes, taken, coarseAxes } = JSON.parse(output) as Record<string, number>;
  expect(taken).toBeGreaterThan(100_000);
  expect(coarseAxes).toBeGreaterThan(0);
  expect(collections).toBe(0);
  expect(grownBytes).toBeLessThan(1_000_000);
}, 60_000);
