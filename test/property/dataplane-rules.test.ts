import fc from "fast-check";
import { expect, test } from "vitest";
import type { PolicyModel, PortRange, Prefix, RuleModel } from "../../src/dataplane/policy-model.ts";
import { NO_RULE, RuleTable } from "../../src/dataplane/rules.ts";
import { LAB_POLICY, rule } from "../unit/dataplane/world.ts";

// Addresses around the sign bit and at both ends of the space; few enough to meet.
const address = fc.constantFrom(
  0,
  1,
  0x0a000001,
  0x0a0000ff,
  0x7fffffff,
  0x80000000,
  0x80000001,
  0xc0a80001,
  0xffffffff,
);
const prefixes: fc.Arbitrary<Prefix[]> = fc.array(
  fc.record({ address, bits: fc.constantFrom(0, 1, 8, 24, 31, 32) }),
  { maxLength: 3 },
);
const port = fc.constantFrom(0, 1, 80, 443, 65535);
const portRanges: fc.Arbitrary<PortRange[]> = fc.array(
  fc.tuple(port, port).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) })),
  { maxLength: 2 },
);
const zone = fc.constantFrom(-1, 0, 1);
const part: fc.Arbitrary<Partial<RuleModel>> = fc.record({
  fromZone: zone,
  toZone: zone,
  sources: prefixes,
  destinations: prefixes,
  protocol: fc.constantFrom(-1, 1, 6, 17),
  sourcePorts: portRanges,
  destinationPorts: portRanges,
  icmpType: fc.constantFrom(-1, -1, 8),
  icmpCode: fc.constantFrom(-1, -1, 0),
  isTranslated: fc.boolean(),
});
const packet = fc.record({
  from: fc.constantFrom(0, 1),
  to: fc.constantFrom(0, 1),
  protocol: fc.constantFrom(1, 6, 17),
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  isTranslated: fc.boolean(),
});
type Packet = typeof packet extends fc.Arbitrary<infer T> ? T : never;

/** The obvious way. */
function firstMatch(rules: readonly RuleModel[], p: Packet): number {
  const inPrefixes = (list: readonly Prefix[], value: number): boolean =>
    list.length === 0 ||
    list.some(({ address: base, bits }) => {
      const size = 2 ** (32 - bits);
      return Math.floor(value / size) === Math.floor(base / size);
    });
  const inPorts = (list: readonly PortRange[], value: number): boolean =>
    list.length === 0 || list.some(({ from, to }) => value >= from && value <= to);
  const icmp = p.protocol === 1 ? [8, 0] : [-1, -1];
  return rules.findIndex(
    (r) =>
      (r.fromZone === -1 || r.fromZone === p.from) &&
      (r.toZone === -1 || r.toZone === p.to) &&
      (r.protocol === -1 || r.protocol === p.protocol) &&
      inPrefixes(r.sources, p.source) &&
      inPrefixes(r.destinations, p.destination) &&
      inPorts(r.sourcePorts, p.sourcePort) &&
      inPorts(r.destinationPorts, p.destinationPort) &&
      (r.icmpType === -1 || r.icmpType === icmp[0]) &&
      (r.icmpCode === -1 || r.icmpCode === icmp[1]) &&
      (r.isTranslated !== true || p.isTranslated),
  );
}

test("the first rule that matches wins, in short lists and in indexed ones", () => {
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 90, size: "max" }),
      fc.array(packet, { minLength: 1, maxLength: 40, size: "max" }),
      (parts, packets) => {
        const rules = parts.map((p, i) => rule(i, p));
        const model: PolicyModel = { ...LAB_POLICY, rules };
        const hits = new Float64Array(rules.length + 1);
        const table = new RuleTable(model, hits);
        const wanted = new Float64Array(rules.length + 1);
        for (const p of packets) {
          const isIcmp = p.protocol === 1;
          const got = table.match(
            p.from,
            p.to,
            p.protocol,
            p.source | 0,
            p.destination | 0,
            p.sourcePort,
            p.destinationPort,
            isIcmp ? 8 : -1,
            isIcmp ? 0 : -1,
            p.isTranslated,
          );
          const first = firstMatch(rules, p);
          expect(got).toBe(first < 0 ? NO_RULE : first);
          const cell = first < 0 ? rules.length : first;
          wanted[cell] = wanted[cell]! + 1;
        }
        expect(hits).toEqual(wanted);
      },
    ),
    { numRuns: 150 },
  );
});
