/**
 * FFW_RUL_EXT.1.2 to 1.4, 1.8 and 1.10, FMT_SMF.1, FAU_GEN.1: what rules match, their order, their log and the limit of half-open
 * connections.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NO_PROTECTION } from "../../../src/dataplane/defence/defence.ts";
import {
  ACTION_ACCEPT,
  ACTION_DROP,
  type ProtectionModel,
  type RuleModel,
} from "../../../src/dataplane/policy-model.ts";
import { RuleLogReader } from "../../../src/dataplane/rule-log.ts";
import { dropVerdict } from "../../../src/dataplane/verdict.ts";
import { icmp, tcp, udp } from "../dataplane/frames.ts";
import { INSIDE, OUTSIDE, PORT_INSIDE, PORT_OUTSIDE, prefix } from "../dataplane/world.ts";
import { Connection, FAMILIES, type Family, OUTWARD, PLAIN, rules, verdict, world } from "./families.ts";

const range = (from: number, to = from) => [{ from, to }];
const host = (family: Family, address: string) => [prefix(`${address}/${family.isIpv6 ? 128 : 32}`)];

/** Whether the one rule lets the packet pass. */
function lets(part: Partial<RuleModel>, packet: Uint8Array): boolean {
  const name = verdict(world({ rules: rules({ ...OUTWARD, ...part }) }), packet);
  expect(["forwarded", "denied"]).toContain(name);
  return name === "forwarded";
}

describe.each(FAMILIES)("$name", (family) => {
  const udpOut = { from: family.client, to: family.server, sport: 4000, dport: 53 };
  const datagram = udp(udpOut);
  const syn = tcp({ ...udpOut, flags: "S" });
  const ping = icmp(udpOut, Uint8Array.of(family.isIpv6 ? 128 : 8, 0, 0, 0, 0, 7, 0, 1));
  const code1 = icmp(udpOut, Uint8Array.of(family.isIpv6 ? 128 : 8, 1, 0, 0, 0, 7, 0, 1));
  const echoType = family.isIpv6 ? 128 : 8;
  const cases: [string, Partial<RuleModel>, Partial<RuleModel>, Uint8Array][] = [
    ["source", { sources: host(family, family.client) }, { sources: host(family, family.client2) }, datagram],
    [
      "destination",
      { destinations: host(family, family.server) },
      { destinations: host(family, family.server2) },
      datagram,
    ],
    ["protocol", { protocol: 17 }, { protocol: 6 }, datagram],
    [
      "TCP source port",
      { protocol: 6, sourcePorts: range(4000) },
      { protocol: 6, sourcePorts: range(4001) },
      syn,
    ],
    [
      "TCP destination port",
      { protocol: 6, destinationPorts: range(50, 60) },
      { protocol: 6, destinationPorts: range(54, 60) },
      syn,
    ],
    [
      "UDP source port",
      { protocol: 17, sourcePorts: range(4000) },
      { protocol: 17, sourcePorts: range(4001) },
      datagram,
    ],
    [
      "UDP destination port",
      { protocol: 17, destinationPorts: range(53) },
      { protocol: 17, destinationPorts: range(52) },
      datagram,
    ],
    [
      "ICMP type",
      { protocol: family.icmpProtocol, icmpType: echoType },
      { protocol: family.icmpProtocol, icmpType: 13 },
      ping,
    ],
    [
      "ICMP code",
      { protocol: family.icmpProtocol, icmpType: echoType, icmpCode: 1 },
      { protocol: family.icmpProtocol, icmpType: echoType, icmpCode: 0 },
      code1,
    ],
    ["interface", { interfaces: [PORT_INSIDE] }, { interfaces: [PORT_OUTSIDE] }, datagram],
  ];

  test.each(cases)("FFW_RUL_EXT.1.2 a rule matches by %s", (_, fits, differs, packet) => {
    expect(lets(fits, packet)).toBe(true);
    expect(lets(differs, packet)).toBe(false);
  });

  test("FFW_RUL_EXT.1.3 permit and drop can each be logged, or not", () => {
    for (const action of [ACTION_ACCEPT, ACTION_DROP]) {
      for (const log of [true, false]) {
        const firewall = world({ rules: rules({ ...OUTWARD, action, log }) }, { ruleLogRecords: 8 });
        expect(verdict(firewall, datagram)).toBe(action === ACTION_ACCEPT ? "forwarded" : "denied");
        expect(new RuleLogReader(firewall.ruleLog!).take(9).length).toBe(log ? 1 : 0);
      }
    }
  });

  test("FFW_RUL_EXT.1.4 a rule holds for the interfaces that it is assigned to, not for others of the same zone", () => {
    const second = 3;
    const ports = [...world().ports, { mac: Uint8Array.of(2, 0, 0, 0, 1, 3), mtuBytes: 1500, zone: INSIDE }];
    const zones = PLAIN.zones.map((zone) => (zone.id === INSIDE ? { ...zone, ports: [0, second] } : zone));
    const firewall = world({ zones, rules: rules({ interfaces: [second] }) }, { ports });
    expect(verdict(firewall, datagram, PORT_INSIDE)).toBe("denied");
    expect(verdict(firewall, datagram, second)).toBe("forwarded");
  });

  test("FFW_RUL_EXT.1.8 overlapping and subset rules hold in the administrator's order", () => {
    const any = prefix(family.all);
    const one = host(family, family.client)[0]!;
    const port = fc.integer({ min: 52, max: 54 });
    const part = fc.record({
      action: fc.constantFrom(ACTION_ACCEPT, ACTION_DROP),
      sources: fc.constantFrom([], [any], [one], host(family, family.client2)),
      protocol: fc.constantFrom(-1, 6, 17),
      ports: fc.option(fc.tuple(port, port)),
    });
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8, size: "max" }),
        port,
        fc.boolean(),
        (parts, dport, isTcp) => {
          const list = parts.map(({ ports, protocol, ...rest }) => ({
            ...OUTWARD,
            ...rest,
            protocol: ports === null ? protocol : isTcp ? 6 : 17,
            destinationPorts: ports === null ? [] : range(Math.min(...ports), Math.max(...ports)),
          }));
          const first = list.find(
            (each) =>
              (each.protocol === -1 || each.protocol === (isTcp ? 6 : 17)) &&
              (each.sources.length === 0 || each.sources[0] === any || each.sources[0] === one) &&
              (each.destinationPorts.length === 0 ||
                (each.destinationPorts[0]!.from <= dport && dport <= each.destinationPorts[0]!.to)),
          );
          const packet = isTcp ? tcp({ ...udpOut, dport, flags: "S" }) : udp({ ...udpOut, dport });
          const expected = first?.action === ACTION_ACCEPT ? "forwarded" : "denied";
          expect(verdict(world({ rules: rules(...list) }, { chunks: 80, capacity: 16 }), packet)).toBe(
            expected,
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each(["halfOpenPerSource", "halfOpenPerDestination", "halfOpenMax"] as const)(
    "FFW_RUL_EXT.1.10 half-open connections beyond %s are dropped and counted, and finished ones do not count",
    (limit) => {
      const protection: ProtectionModel = { ...NO_PROTECTION, [limit]: 3 };
      const firewall = world({ protection });
      for (let i = 0; i < 5; i++) new Connection(firewall, family, 100 + i).open();
      const half = [0, 1, 2, 3].map((i) => new Connection(firewall, family, 200 + i).client("S", 100));
      expect(half).toEqual(["forwarded", "forwarded", "forwarded", "half_open_limit"]);
      expect(firewall.counters[dropVerdict("half_open_limit")]).toBe(1);
      expect(firewall.table.used).toBe(8);
    },
  );

  test("FMT_SMF.1 rules are exchanged while packets flow, and hold from the next packet on", () => {
    const firewall = world();
    expect(verdict(firewall, datagram)).toBe("forwarded");
    firewall.engine.usePolicy(
      { ...PLAIN, rules: rules({ ...OUTWARD, action: ACTION_DROP }) },
      new Float64Array(2),
    );
    expect(verdict(firewall, datagram)).toBe("denied");
  });

  test("FAU_GEN.1 the log of a rule has source, destination, ports, protocol, and the interface and zones where the packet came from and went", () => {
    const firewall = world({ rules: rules({ ...OUTWARD, log: true }) }, { ruleLogRecords: 8 });
    verdict(firewall, datagram);
    expect(new RuleLogReader(firewall.ruleLog!).take(9)[0]).toMatchObject({
      source: { port: 4000 },
      destination: { port: 53 },
      protocol: 17,
      port: PORT_INSIDE,
      fromZone: INSIDE,
      toZone: OUTSIDE,
    });
  });
});
