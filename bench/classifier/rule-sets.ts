/**
 * Rule sets of the shapes that ClassBench knows (Taylor and Turner 2007: acl, fw, ipc), in both families, and sets made
 * to be hard; and packets for them. Owns no measurement. The same seed gives the same rules everywhere.
 */
import { seededRandom } from "../../src/base/env.ts";
import type { PortRange, Prefix, RuleModel, ServiceModel } from "../../src/dataplane/policy-model.ts";

export interface RuleSet {
  readonly name: string;
  readonly rules: readonly RuleModel[];
}

/** What a packet brings, as the classifier is asked. */
export interface Probe {
  readonly fromZone: number;
  readonly toZone: number;
  readonly protocol: number;
  readonly source: Prefix["address"];
  readonly destination: Prefix["address"];
  readonly sourcePort: number;
  readonly destinationPort: number;
}

type Random = (bound: number) => number;
type Part = Partial<RuleModel>;
type Shape = (random: Random, index: number) => Part;

const TCP = 6;
const UDP = 17;
const ZONES = 4;
const IPV6_PERCENT = 30;
const SERVICE_PORTS = [
  20, 21, 22, 23, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 514, 587, 636, 993, 995,
];
const SERVER_PORTS = [
  1433, 1521, 3306, 3389, 5060, 5432, 5900, 6379, 8000, 8080, 8443, 9000, 9090, 9200, 27017,
];
const PORTS = [...SERVICE_PORTS, ...SERVER_PORTS];
const HIGH_PORTS: PortRange = { from: 1024, to: 65_535 };

const SHAPES: Readonly<Record<string, Shape>> = {
  // Few wildcards: servers and clients named, one service each.
  acl: (random) => {
    const wide = random(100);
    return {
      sources: wide < 15 ? [] : prefixes(random, 1, 16, 32),
      destinations: wide >= 15 && wide < 20 ? [] : prefixes(random, 1 + random(2), 24, 32),
      ...service(random, wide < 20 || chance(random, 80) ? [at(PORTS, random)] : []),
    };
  },
  // Many wildcards that overlap, ranges of ports on both sides.
  fw: (random) => {
    const wide = random(100);
    const ports =
      wide < 40 || chance(random, 40) ? [at(PORTS, random)] : chance(random, 60) ? [range(random)] : [];
    return {
      sources: wide < 55 ? [] : prefixes(random, 1, 8, 32),
      destinations: wide < 5 || wide >= 85 ? [] : prefixes(random, 1, 16, 32),
      ...service(random, ports),
      sourcePorts: chance(random, 30) ? [chance(random, 60) ? HIGH_PORTS : range(random)] : [],
      ...(chance(random, 5) ? { tcpFlags: { mask: 0x12, value: 0x02 } } : {}),
    };
  },
  // Chains: in between, with zones, sets and several services.
  ipc: (random) => ({
    fromZone: chance(random, 30) ? -1 : random(ZONES),
    toZone: chance(random, 30) ? -1 : random(ZONES),
    sources: chance(random, 30) ? [] : prefixes(random, 1 + random(4), 12, 32),
    destinations: chance(random, 25) ? [] : prefixes(random, 1 + random(4), 16, 32),
    services: Array.from({ length: 1 + random(3) }, () => ({
      ...ANY_SERVICE,
      ...service(random, chance(random, 20) ? [range(random)] : [at(PORTS, random)]),
    })),
  }),
  "any destination": (random) => ({
    sources: prefixes(random, 1, 16, 32),
    ...service(random, [at(PORTS, random)]),
  }),
  "ports alone": (random) => service(random, [range(random)]),
  "one destination": (random) => ({
    destinations: [{ address: 0xc0a80001, bits: 32 }],
    sources: prefixes(random, 1, 20, 32),
    ...service(random, [at(PORTS, random)]),
  }),
  // Everything overlaps everything: no field tells rules apart.
  overlapping: (random) => ({
    sources: prefixes(random, 1, 1, 12),
    destinations: prefixes(random, 1, 1, 12),
    ...service(random, [range(random)]),
    sourcePorts: [range(random)],
  }),
};

export const SHAPE_NAMES = Object.keys(SHAPES);

const ANY_SERVICE: ServiceModel = {
  protocol: -1,
  sourcePorts: [],
  destinationPorts: [],
  icmpType: -1,
  icmpCode: -1,
};

export function ruleSet(shape: string, count: number): RuleSet {
  const random = seededRandom(count + 1);
  return {
    name: shape,
    rules: Array.from({ length: count }, (_, id) => ({
      id,
      name: `rule-${id}`,
      fromZone: 0,
      toZone: 1,
      sources: [],
      destinations: [],
      ...ANY_SERVICE,
      action: 1,
      commit: 2,
      log: false,
      ...SHAPES[shape]!(random, id),
    })),
  };
}

/** Packets: a third match a chosen rule, a third take each field from another rule, a third are anything. */
export function probes({ rules }: RuleSet, count: number): Probe[] {
  const random = seededRandom(count);
  return Array.from({ length: count }, (_, i) => {
    const kind = i % 3;
    const one = random(rules.length);
    const pick = (): RuleModel => rules[kind === 0 ? one : random(rules.length)]!;
    const isIpv6 = chance(random, IPV6_PERCENT);
    const source = kind === 2 ? undefined : at(pick().sources, random);
    const like = source === undefined ? isIpv6 : typeof source.address === "bigint";
    const same = (p: Prefix): boolean => (typeof p.address === "bigint") === like;
    const destination = kind === 2 ? undefined : at(pick().destinations.filter(same), random);
    const asked = pick();
    const wanted = asked.services?.[0] ?? asked;
    return {
      fromZone: kind === 2 || asked.fromZone < 0 ? random(ZONES) : asked.fromZone,
      toZone: kind === 2 || asked.toZone < 0 ? random(ZONES) : asked.toZone,
      protocol: kind === 2 || wanted.protocol < 0 ? (chance(random, 70) ? TCP : UDP) : wanted.protocol,
      source: inside(random, source ?? { address: like ? 0n : 0, bits: 0 }),
      destination: inside(random, destination ?? { address: like ? 0n : 0, bits: 0 }),
      sourcePort: portIn(random, kind === 2 ? undefined : wanted.sourcePorts[0]),
      destinationPort: portIn(random, kind === 2 ? undefined : wanted.destinationPorts[0]),
    };
  });
}

function chance(random: Random, percent: number): boolean {
  return random(100) < percent;
}

function at<T>(values: readonly T[], random: Random): T {
  return values[random(values.length)]!;
}

function service(random: Random, ports: readonly (number | PortRange)[]): Part {
  return {
    protocol: chance(random, 10) ? -1 : chance(random, 75) ? TCP : UDP,
    destinationPorts: ports.map((port) => (typeof port === "number" ? { from: port, to: port } : port)),
  };
}

function range(random: Random): PortRange {
  const from = random(65_536);
  return { from, to: Math.min(65_535, from + random(chance(random, 50) ? 100 : 20_000)) };
}

/** Prefixes that cluster in some networks, as real ones do; all of one family. */
function prefixes(random: Random, count: number, bitsMin: number, bitsMax: number): Prefix[] {
  const isIpv6 = chance(random, IPV6_PERCENT);
  return Array.from({ length: count }, () => {
    const bits = bitsMin + random(bitsMax - bitsMin + 1);
    const site = bitsMin < 8 ? random(2 ** 32) : (10 + random(20)) * 2 ** 24 + random(64) * 2 ** 16;
    const host = bitsMin < 8 ? 0 : random(2 ** 16);
    if (!isIpv6) return { address: site + host, bits };
    // 2001:db8:site:host::, and twice as many bits after the first 32.
    const network = bitsMin < 8 ? BigInt(site) << 96n : (0x20010db8n << 96n) | (BigInt(site + host) << 64n);
    return { address: network, bits: bitsMin < 8 ? bits : 32 + Math.min(96, 2 * bits) };
  });
}

function inside(random: Random, { address, bits }: Prefix): Prefix["address"] {
  if (typeof address === "number") {
    const size = 2 ** (32 - bits);
    return Math.floor(address / size) * size + Math.floor((random(2 ** 32) / 2 ** 32) * size);
  }
  let host = 0n;
  for (let i = 0; i < 4; i++) host = (host << 32n) | BigInt(random(2 ** 32));
  const free = BigInt(128 - bits);
  const inPrefix = ((address >> free) << free) | (host & ((1n << free) - 1n));
  // No packet has a mapped address.
  return inPrefix >> 32n === 0xffffn ? inPrefix + (1n << 48n) : inPrefix;
}

function portIn(random: Random, ports: PortRange | undefined): number {
  return ports === undefined ? random(65_536) : ports.from + random(ports.to - ports.from + 1);
}
