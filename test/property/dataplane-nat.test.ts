/**
 * NAT in a cluster, over small domains so that all collides: hosts, ports, servers, protocols, all kinds of NAT, slots that move.
 * Whatever happens: no external endpoint belongs to two conversations, an answer reaches who asked, wherever it arrives, and all
 * nodes agree on the slot of either direction without state.
 */
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Borrowed, NOT_BORROWED } from "../../src/dataplane/borrowed.ts";
import { NONE } from "../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import { NatAllocator } from "../../src/dataplane/nat.ts";
import type { PolicyModel, SnatModel } from "../../src/dataplane/policy-model.ts";
import { isPointer, isSatellite } from "../../src/dataplane/satellites.ts";
import { ANCHOR_TRUST, Translation } from "../../src/dataplane/translation.ts";
import { echo, ip, ip6, ipPacket, type SeenIp, tcp, udp } from "../unit/dataplane/frames.ts";
import { embedded, entry, nat64Policy, natPolicy, POOL } from "../unit/dataplane/nat-worlds.ts";
import { INSIDE, OUTSIDE, PORT_INSIDE, PORT_OUTSIDE, prefix, rule } from "../unit/dataplane/world.ts";
import { Cluster, type Delivered, SLOTS } from "./nat-rig.ts";

const NODES = 3;
const SECOND = "198.51.100.11";
/** Two ports a slot and address: they run out, and are borrowed. */
const FEW = { ports: { from: 2048, to: 2079 } };
const ANY = [rule(0, {})];

interface Kind {
  readonly policy: PolicyModel;
  /** Addresses by number: inside hosts, servers as the inside calls them, and as they are. */
  readonly host: (i: number) => string;
  readonly server: (i: number) => string;
  readonly outside: (i: number) => string;
  /** Inside hosts reach each other by their outside endpoints. */
  readonly isOpen?: boolean;
  readonly isNat64?: boolean;
}

const host4 = (i: number): string => `10.10.0.${2 + i}`;
const host6 = (i: number): string => `2001:db8:10::${(2 + i).toString(16)}`;
const server4 = (i: number): string => `203.0.113.${1 + i}`;
const server6 = (i: number): string => `2001:db8:f00::${1 + i}`;
const FOUR = { host: host4, server: server4, outside: server4 };
const SIX = { host: host6, server: server6, outside: server6 };

function snat(...entries: Partial<SnatModel>[]): PolicyModel {
  return natPolicy({ snat: entries.map(entry), rules: ANY });
}

const OPEN = { isEndpointIndependent: true, isFilteringIndependent: true };

const KINDS: Readonly<Record<string, Kind>> = {
  "ports anew for every destination": { ...FOUR, policy: snat(FEW) },
  "two addresses": { ...FOUR, policy: snat({ ...FEW, pool: [ip(POOL), ip(SECOND)] }) },
  "independent mapping": { ...FOUR, policy: snat({ ...FEW, isEndpointIndependent: true }) },
  "independent mapping and filtering": { ...FOUR, policy: snat({ ...FEW, ...OPEN }), isOpen: true },
  "both kinds of mapping with one address": {
    ...FOUR,
    policy: snat({ ...FEW, ...OPEN, sources: [prefix("10.10.0.0/30")] }, FEW),
  },
  "the gateway's address": {
    ...FOUR,
    policy: { ...snat({ ...FEW, pool: [ip("198.51.100.1")] }), answered: [] },
  },
  NAT66: { ...SIX, policy: snat({ ...FEW, pool: [ip6("2001:db8:f::a")] }) },
  NAT64: {
    host: host6,
    server: (i) => embedded(server4(i)),
    outside: server4,
    isNat64: true,
    policy: nat64Policy({ rules: ANY }),
  },
  "static addresses": { ...FOUR, policy: statics("10.10.0.0/24", "192.0.2.0/24", false) },
  NPTv6: { ...SIX, policy: statics("2001:db8:10::/64", "2001:db8:beef:7::/64", true) },
};

function statics(inner: string, outer: string, isChecksumNeutral: boolean): PolicyModel {
  const one = { innerZone: INSIDE, outerZone: OUTSIDE, isChecksumNeutral };
  return natPolicy({ rules: ANY, statics: [{ ...one, inner: prefix(inner), outer: prefix(outer) }] });
}

const PROTOCOLS = ["udp", "tcp", "echo", "gre"] as const;
type Protocol = (typeof PROTOCOLS)[number];

type Step =
  | {
      readonly kind: "ask";
      readonly protocol: Protocol;
      readonly host: number;
      readonly port: number;
      readonly server: number;
      readonly node: number;
    }
  | { readonly kind: "answer"; readonly which: number; readonly node: number }
  | { readonly kind: "call"; readonly which: number; readonly host: number; readonly node: number }
  | { readonly kind: "move"; readonly slot: number; readonly to: number; readonly backup: number }
  | { readonly kind: "pause" };

const small = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });

/** Steps of so many hosts, ports and servers, with these protocols. */
function stepsOf(hosts: number, servers: number, protocols: readonly Protocol[]): fc.Arbitrary<Step[]> {
  const node = small(NODES - 1);
  const ask = {
    kind: fc.constant("ask" as const),
    protocol: fc.constantFrom(...protocols),
    host: small(hosts - 1),
    port: small(7),
    server: small(servers - 1),
    node,
  };
  const answer = { kind: fc.constant("answer" as const), which: small(99), node };
  const call = { kind: fc.constant("call" as const), which: small(99), host: small(hosts - 1), node };
  const move = { kind: fc.constant("move" as const), slot: small(SLOTS - 1), to: node, backup: node };
  const step = fc.oneof(
    { weight: 14, arbitrary: fc.record(ask) },
    { weight: 8, arbitrary: fc.record(answer) },
    { weight: 2, arbitrary: fc.record(call) },
    { weight: 6, arbitrary: fc.record(move) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("pause" as const) }) },
  );
  return fc.array(step, { minLength: 30, maxLength: 80, size: "max" });
}

/** All protocols, or a crowd of flows of one host to one server, most of which borrow their ports. */
const MIXED = stepsOf(4, 2, [...PROTOCOLS, "udp", "udp", "udp"]);
const CROWD = stepsOf(1, 1, ["udp"]);

/** A conversation that goes on. */
interface Flow {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly server: number;
  /** As the server sees it. */
  readonly seen: SeenIp;
  isAnswered: boolean;
}

class Run {
  readonly #kind: Kind;
  readonly #cluster: Cluster;
  #flows: Flow[] = [];

  constructor(kind: Kind, affinity: "source" | "flow", seed: number) {
    this.#kind = kind;
    this.#cluster = new Cluster({ ...kind.policy, affinity }, NODES, seed);
  }

  take(each: Step): void {
    if (each.kind === "ask") this.#ask(each.protocol, each.host, each.port, each.server, each.node);
    else if (each.kind === "answer") this.#answer(each.which, each.node);
    else if (each.kind === "call") this.#call(each.which, each.host, each.node);
    else if (each.kind === "move") this.#cluster.move(each.slot, each.to, each.backup);
    else this.#pause();
  }

  /** Longer than anything here lives without packets. */
  #pause(): void {
    this.#cluster.pass(400_000, 8);
    this.#flows = [];
  }

  /** What must hold after every step. */
  check(): void {
    expect(this.#cluster.mishaps()).toEqual([]);
    const seen = new Map<string, number>();
    for (const { protocol, original, reply } of this.#cluster.tuples()) {
      if (isPointer(protocol)) continue;
      for (const tuple of [original, reply]) {
        // Without NAT both directions have one row; a tuple of two rows is a packet of two flows.
        const key = `${protocol} ${tuple}`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
    }
    const twice = [...seen].filter(([, count]) => count > 1).map(([key]) => key);
    expect(twice).toEqual([]);
  }

  finish(): void {
    expect(this.#cluster.worlds.map((world) => world.lost())).toEqual(this.#cluster.worlds.map(() => 0));
    this.#cluster.pass(400_000, 8);
    const left = this.#cluster
      .tuples()
      .filter(({ protocol }) => !isPointer(protocol) && !isSatellite(protocol));
    expect(left).toEqual([]);
  }

  #ask(protocol: Protocol, host: number, port: number, server: number, node: number): void {
    const kind = this.#kind;
    if (protocol === "gre" && kind.isNat64) return;
    const from = kind.host(host);
    const known = this.#flows.find(
      (flow) =>
        flow.protocol === protocol &&
        flow.host === from &&
        flow.server === server &&
        (protocol === "gre" || flow.port === 5000 + port),
    );
    if (known !== undefined && protocol === "tcp") return;
    const packet = build(protocol, from, kind.server(server), 5000 + port, PORT, true);
    const sent = this.#cluster.send(node, PORT_INSIDE, packet).filter((each) => each.port === PORT_OUTSIDE);
    if (sent.length === 0) {
      // Only somebody new may be refused.
      expect(known).toBeUndefined();
      return;
    }
    expect(sent.length).toBe(1);
    const { ip: seen } = sent[0]!;
    expect(seen).toMatchObject({ to: kind.outside(server), headerOk: true, bodyOk: true });
    if (known !== undefined) {
      expect(endpoint(seen)).toBe(endpoint(known.seen));
      return;
    }
    const other = this.#flows.find(
      (flow) =>
        flow.protocol === protocol && flow.server === server && endpoint(flow.seen) === endpoint(seen),
    );
    expect(other).toBeUndefined();
    this.#flows.push({ protocol, host: from, port: 5000 + port, server, seen, isAnswered: false });
  }

  #answer(which: number, node: number): void {
    const flow = this.#flows[which % Math.max(1, this.#flows.length)];
    if (flow === undefined || (flow.protocol === "tcp" && flow.isAnswered)) return;
    flow.isAnswered = true;
    const { protocol, seen } = flow;
    const packet = build(protocol, this.#kind.outside(flow.server), seen.from, PORT, seen.sport, false);
    const [got, ...more] = this.#cluster.send(node, PORT_OUTSIDE, packet);
    expect(more).toEqual([]);
    expect(got).toMatchObject({
      port: PORT_INSIDE,
      ip: { from: this.#kind.server(flow.server), to: flow.host, bodyOk: true },
    });
    if (protocol === "gre") return;
    expect(protocol === "echo" ? got!.ip.sport : got!.ip.dport).toBe(flow.port);
  }

  /** An inside host calls another one's outside endpoint (hairpin). */
  #call(which: number, host: number, node: number): void {
    const flow = this.#flows[which % Math.max(1, this.#flows.length)];
    if (this.#kind.isOpen !== true || flow?.protocol !== "udp") return;
    const from = this.#kind.host(host);
    if (from === flow.host) return;
    const packet = udp({ from, to: flow.seen.from, sport: 7777, dport: flow.seen.sport });
    const sent: Delivered[] = this.#cluster.send(node, PORT_INSIDE, packet);
    // Refused when no port is left for the caller; then he is told.
    if (sent.some((each) => each.ip.icmpType === 3)) return;
    expect(sent.map((each) => [each.port, each.ip.to, each.ip.dport])).toEqual([
      [PORT_INSIDE, flow.host, flow.port],
    ]);
    expect(sent[0]!.ip.from).toBe(flow.seen.from);
  }
}

const PORT = 53;

function endpoint(seen: SeenIp): string {
  return `${seen.from} ${seen.sport}`;
}

function build(
  protocol: Protocol,
  from: string,
  to: string,
  sport: number,
  dport: number,
  isFirst: boolean,
): Uint8Array {
  switch (protocol) {
    case "udp":
      return udp({ from, to, sport, dport });
    case "tcp":
      return tcp({ from, to, sport, dport, flags: isFirst ? "S" : "SA", seq: 1, ack: isFirst ? 0 : 2 });
    case "echo":
      return echo({ from, to, id: isFirst ? sport : dport, isReply: !isFirst });
    default:
      return ipPacket(47, { from, to }, Uint8Array.of(0, 0, 8, 0, 1, 2, 3, 4));
  }
}

function holds(kind: Kind, runs: number, steps = MIXED, isPlanted = false): void {
  const affinity = fc.constantFrom("source" as const, "flow" as const);
  fc.assert(
    fc.property(steps, affinity, small(1000), (all, by, seed) => {
      const run = new Run(kind, by, seed);
      for (const each of all) {
        run.take(each);
        run.check();
      }
      run.finish();
    }),
    { numRuns: runs, seed: 7, endOnFailure: isPlanted },
  );
}

/** Why a property with a planted bug fails. */
function failure(kind: Kind, steps = MIXED): string {
  try {
    holds(kind, 20, steps, true);
  } catch (error) {
    return String((error as Error).cause);
  }
  return "it does not";
}

describe("in a cluster of three, no endpoint is given twice and every answer comes home", () => {
  test.each(Object.keys(KINDS))("%s", (name) => {
    holds(KINDS[name]!, 20);
  });
});

test.each(["ports anew for every destination", "independent mapping", "NAT66"])(
  "and when most ports are borrowed: %s",
  (name) => {
    holds(KINDS[name]!, 20, CROWD);
  },
);

describe("planted bugs are seen", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  /** What an answer that nobody delivered looks like. */
  const LOST = "expected undefined to match object";

  test("replies of borrowed ports that nobody leads to their flow", () => {
    vi.spyOn(Borrowed.prototype, "slotOf").mockReturnValue(NOT_BORROWED);
    expect(failure(KINDS["independent mapping"]!, CROWD)).toContain(LOST);
  });

  test("a port that is given out although it is taken", () => {
    const { allocate } = NatAllocator.prototype;
    const { find } = FlowTable.prototype;
    let isChoosing = false;
    vi.spyOn(NatAllocator.prototype, "allocate").mockImplementation(function (this: NatAllocator, ...asked) {
      isChoosing = true;
      const port = allocate.apply(this, asked);
      isChoosing = false;
      return port;
    });
    vi.spyOn(FlowTable.prototype, "find").mockImplementation(function (this: FlowTable, ...asked) {
      return isChoosing ? NONE : find.apply(this, asked);
    });
    // The last look before a flow is entered refuses the second one.
    expect(failure(KINDS["ports anew for every destination"]!)).toContain("invalid_state");
  });

  test("bindings whose flows are in the slots of both their ends", () => {
    vi.spyOn(Translation.prototype, "anchor").mockReturnValue(ANCHOR_TRUST);
    expect(failure(KINDS["independent mapping"]!)).not.toBe("it does not");
  });
});
