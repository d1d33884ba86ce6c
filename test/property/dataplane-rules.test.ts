import fc from "fast-check";
import { expect, test } from "vitest";
import { type Address, mappedValue, writeAddress } from "../../src/base/address.ts";
import type {
  PolicyModel,
  PortRange,
  Prefix,
  RuleModel,
  ScheduleModel,
  ServiceModel,
} from "../../src/dataplane/policy-model.ts";
import { compileRules } from "../../src/dataplane/rules/compile.ts";
import { CLASSIFIER_LIMITS, type ClassifierLimits } from "../../src/dataplane/rules/image.ts";
import { NO_RULE, RuleQuery, RuleTable } from "../../src/dataplane/rules.ts";
import { LAB_POLICY, rule } from "../unit/dataplane/world.ts";

// Few values, so that they meet; addresses around sign bits, at both ends of both spaces, and around the mapped block.
const ADDRESSES: readonly Address[] = [
  ...[0, 1, 0x0a000001, 0x0a0000ff, 0x7fffffff, 0x80000000, 0x80000001, 0xc0a80001, 0xffffffff],
  ...[0n, 1n, 0xfffe_ffff_ffffn, 0x1_0000_0000_0000n, 0x2001_0db8_0000_0000_0000_0000_0000_0001n],
  ...[0x2001_0db8_0000_0001_8000_0000_0000_0000n, 0x2001_0db8_7fff_ffff_ffff_ffff_ffff_ffffn],
  ...[0x7fff_ffff_ffff_ffff_ffff_ffff_ffff_ffffn, 1n << 127n, (1n << 128n) - 1n],
];
const address = fc.constantFrom(...ADDRESSES);
const prefix: fc.Arbitrary<Prefix> = address.chain((base) =>
  fc.record({
    address: fc.constant(base),
    bits:
      typeof base === "number"
        ? fc.constantFrom(0, 1, 8, 24, 31, 32)
        : fc.constantFrom(0, 1, 33, 64, 80, 127, 128),
  }),
);
const prefixes = fc.array(prefix, { maxLength: 3 });
const port = fc.constantFrom(0, 1, 80, 443, 65534, 65535);
const portRanges: fc.Arbitrary<PortRange[]> = fc.array(
  fc.tuple(port, port).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) })),
  { maxLength: 2 },
);
const zone = fc.constantFrom(-1, 0, 1);
const protocol = fc.constantFrom(-1, 1, 6, 17, 58);
const icmpValue = fc.constantFrom(-1, -1, 0, 8, 255);
const service: fc.Arbitrary<ServiceModel> = fc.record({
  protocol,
  sourcePorts: portRanges,
  destinationPorts: portRanges,
  icmpType: icmpValue,
  icmpCode: icmpValue,
});
const ANY_SERVICE: ServiceModel = {
  protocol: -1,
  sourcePorts: [],
  destinationPorts: [],
  icmpType: -1,
  icmpCode: -1,
};
const what: fc.Arbitrary<Partial<RuleModel>> = fc.oneof(
  service,
  fc.array(service, { maxLength: 3, size: "max" }).map((services) => ({ ...ANY_SERVICE, services })),
);
const minute = fc.constantFrom(0, 1, 600, 1439);
const schedule: fc.Arbitrary<ScheduleModel> = fc.record({
  days: fc.integer({ min: 0, max: 127 }),
  fromMinute: minute,
  toMinute: fc.constantFrom(0, 1, 600, 1440),
});
const rarely = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
const part: fc.Arbitrary<Partial<RuleModel>> = fc
  .record({
    fromZone: zone,
    toZone: zone,
    sources: prefixes,
    destinations: prefixes,
    isTranslated: fc.boolean(),
    interfaces: rarely(fc.uniqueArray(fc.constantFrom(0, 1, 2), { maxLength: 2 })),
    tcpFlags: rarely(
      fc.record({ mask: fc.constantFrom(0, 0x02, 0x12, 0xff), value: fc.constantFrom(0, 0x02, 0x10) }),
    ),
    schedule: rarely(schedule),
    what,
  })
  .map(({ what, ...rest }) => ({ ...rest, ...what }) as Partial<RuleModel>);
const packet = fc.record({
  fromZone: fc.constantFrom(0, 1),
  toZone: fc.constantFrom(0, 1),
  interface: fc.constantFrom(0, 1, 2, 3),
  protocol: fc.constantFrom(1, 6, 17, 58),
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  icmpType: fc.constantFrom(-1, 0, 8, 255),
  icmpCode: fc.constantFrom(-1, 0, 255),
  tcpFlags: fc.constantFrom(-1, 0, 0x02, 0x12, 0xff),
  isTranslated: fc.boolean(),
});
type Packet = typeof packet extends fc.Arbitrary<infer T> ? T : never;
const time = fc.record({ day: fc.integer({ min: 0, max: 6 }), minute });
type Time = typeof time extends fc.Arbitrary<infer T> ? T : never;

/** The obvious way. */
function firstMatch(rules: readonly RuleModel[], p: Packet, now: Time): number {
  return rules.findIndex(
    (r) =>
      (r.fromZone === -1 || r.fromZone === p.fromZone) &&
      (r.toZone === -1 || r.toZone === p.toZone) &&
      isListed(r.interfaces ?? [], (index) => index === p.interface) &&
      isListed(r.sources, (prefix) => isInside(prefix, p.source)) &&
      isListed(r.destinations, (prefix) => isInside(prefix, p.destination)) &&
      isListed(r.services ?? [], (one) => isService(one, p)) &&
      isService(r, p) &&
      (r.tcpFlags === undefined ||
        (p.tcpFlags >= 0 && (p.tcpFlags & r.tcpFlags.mask) === r.tcpFlags.value)) &&
      (r.isTranslated !== true || p.isTranslated) &&
      (r.schedule === undefined || isIn(r.schedule, now)),
  );
}

function isListed<T>(list: readonly T[], holds: (entry: T) => boolean): boolean {
  return list.length === 0 || list.some(holds);
}

function isInside({ address: base, bits }: Prefix, value: Address): boolean {
  if (typeof base !== typeof value) return false;
  const free = BigInt(typeof base === "number" ? 32 - bits : 128 - bits);
  return mappedValue(base) >> free === mappedValue(value) >> free;
}

function isService(wanted: ServiceModel, p: Packet): boolean {
  return (
    (wanted.protocol === -1 || wanted.protocol === p.protocol) &&
    isListed(wanted.sourcePorts, ({ from, to }) => p.sourcePort >= from && p.sourcePort <= to) &&
    isListed(
      wanted.destinationPorts,
      ({ from, to }) => p.destinationPort >= from && p.destinationPort <= to,
    ) &&
    (wanted.icmpType === -1 || wanted.icmpType === p.icmpType) &&
    (wanted.icmpCode === -1 || wanted.icmpCode === p.icmpCode)
  );
}

/** Minute by minute from the beginning of each day on which the span may have begun. */
function isIn({ days, fromMinute, toMinute }: ScheduleModel, { day, minute }: Time): boolean {
  const length = toMinute - fromMinute + (fromMinute > toMinute ? 1440 : 0);
  return [0, 1].some((daysAgo) => {
    const began = (day + 7 - daysAgo) % 7;
    const since = minute + daysAgo * 1440 - fromMinute;
    return ((days >> began) & 1) === 1 && since >= 0 && since < length;
  });
}

function fill(query: RuleQuery, { source, destination, ...fields }: Packet): RuleQuery {
  writeAddress(query.words, 0, source);
  writeAddress(query.words, 4, destination);
  return Object.assign(query, fields);
}

/** Rules before those of the test, so that theirs are in several words and blocks: they match nothing. */
function padding(count: number): RuleModel[] {
  return Array.from({ length: count }, (_, i) =>
    rule(i, { protocol: 99, destinations: [{ address: i, bits: 32 }] }),
  );
}

/** What the table is made of instead of the rules: to see that a wrong table would be seen. */
type Bug = (rules: readonly RuleModel[]) => RuleModel[];

/** undefined when it holds, else what fast-check has to say. */
function firstMatchWins(
  limits: ClassifierLimits,
  rulesMax: number,
  runs: number,
  bug?: Bug,
): string | undefined {
  const property = fc.property(
    fc.array(part, { maxLength: rulesMax, size: "max" }),
    fc.constantFrom(0, 0, 30, 1000, 1023, 3071),
    fc.array(packet, { minLength: 1, maxLength: 40, size: "max" }),
    fc.array(time, { minLength: 1, maxLength: 3 }),
    (parts, pad, packets, times) => {
      const rules = [...padding(pad), ...parts.map((p, i) => rule(pad + i, p))];
      const model: PolicyModel = { ...LAB_POLICY, rules: bug === undefined ? rules : bug(rules) };
      const hits = new Float64Array(rules.length + 1);
      const wanted = new Float64Array(rules.length + 1);
      const table = new RuleTable(compileRules(model.rules, limits), hits);
      const query = new RuleQuery();
      for (const now of times) {
        table.setMinute(1 << now.day, now.minute);
        for (const p of packets) {
          const first = firstMatch(rules, p, now);
          expect(table.match(fill(query, p))).toBe(first < 0 ? NO_RULE : first);
          expect(table.peek(query)).toBe(first < 0 ? NO_RULE : first);
          const cell = first < 0 ? rules.length : first;
          wanted[cell] = wanted[cell]! + 1;
        }
      }
      expect(hits).toEqual(wanted);
    },
  );
  const details = fc.check(property, { numRuns: runs, ...(bug === undefined ? {} : { endOnFailure: true }) });
  return details.failed ? fc.defaultReportMessage(details) : undefined;
}

test("the first rule that matches wins, whatever its fields", () => {
  expect(firstMatchWins(CLASSIFIER_LIMITS, 60, 100)).toBeUndefined();
});

test("the first rule that matches wins when no two axes may be multiplied", () => {
  expect(firstMatchWins({ ...CLASSIFIER_LIMITS, productBlocksMax: 0 }, 60, 60)).toBeUndefined();
});

test("the first rule that matches wins when memory allows coarse axes only", () => {
  expect(
    firstMatchWins({ ...CLASSIFIER_LIMITS, rowBytesMax: 400, blockBytesMax: 4000 }, 60, 60),
  ).toBeUndefined();
});

const without = (field: keyof RuleModel): Bug => {
  return (rules) => rules.map(({ [field]: _, ...rest }) => rest as RuleModel);
};
const BUGS: readonly [string, Bug][] = [
  ["lets a later rule win", (rules) => rules.toReversed()],
  ["forgets interfaces", without("interfaces")],
  ["forgets TCP flags", without("tcpFlags")],
  ["forgets schedules", without("schedule")],
  ["forgets services", without("services")],
  ["forgets that a rule wants translated packets", without("isTranslated")],
  ["takes every address for a source", (rules) => rules.map((r) => ({ ...r, sources: [] }))],
  [
    "is off by a bit in prefixes of IPv6",
    (rules) => rules.map((r) => ({ ...r, destinations: r.destinations.map(wider) })),
  ],
  ["is off by one in ports", (rules) => rules.map((r) => ({ ...r, sourcePorts: r.sourcePorts.map(longer) }))],
];

const wider = ({ address: base, bits }: Prefix): Prefix => ({
  address: base,
  bits: typeof base === "bigint" ? Math.max(0, bits - 1) : bits,
});
const longer = ({ from, to }: PortRange): PortRange => ({ from: Math.max(0, from - 1), to });

test.each(BUGS)("a table that %s is seen", (_name, bug) => {
  expect(firstMatchWins({ ...CLASSIFIER_LIMITS, productBlocksMax: 0 }, 60, 300, bug)).toBeDefined();
});
