/** Flows as operators read them: what is listed and what `--all` adds, names, IPv6, refused filters. */
import { describe, expect, test } from "vitest";
import { FlowReader } from "../../../src/dataplane/flow-reader.ts";
import { HELPER_FTP, type PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { isSatellite, satelliteName } from "../../../src/dataplane/satellites.ts";
import type { FlowFilter } from "../../../src/node/admin-model.ts";
import { countFlows, type FlowContext, listFlows } from "../../../src/node/flows-view.ts";
import { echo, see, tcp, udp } from "../dataplane/frames.ts";
import { CLIENT, CLIENT6, entry, natPolicy, SERVER, SERVER6 } from "../dataplane/nat-worlds.ts";
import { INSIDE, OUTSIDE, PORT_INSIDE, PORT_OUTSIDE, rule, World } from "../dataplane/world.ts";

const SLOTS = 64;

/** `owner`: of all slots, 1 being this node. */
function viewOf(world: World, owner = 1) {
  const reader = new FlowReader(world.table.buffer);
  const context: FlowContext = {
    selfId: 1,
    owners: new Array<number>(SLOTS).fill(owner),
    memberName: (id) => `fw${id}`,
    ruleName: (index) => world.policy.rules[index]?.name ?? "default",
    nowMs: world.nowMs,
  };
  return {
    list: (filter: FlowFilter = {}) => listFlows(reader, filter, context),
    count: (filter: FlowFilter = {}) => countFlows(reader, filter, context),
  };
}

const INDEPENDENT = natPolicy({ snat: [entry({ isEndpointIndependent: true })] });

/** A DNS question through a binding. */
function bound(): World {
  const world = new World({ policy: INDEPENDENT });
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
  return world;
}

describe("connections and what stands beside them", () => {
  test("a binding is hidden, and named and without a rule with --all", () => {
    const { list, count } = viewOf(bound());
    expect(list()).toMatchObject({ total: 1, flows: [{ protocol: "udp", rule: "rule-0" }] });
    expect(count()).toEqual({ total: 1, own: 1, replica: 0, byProtocol: { udp: 1 } });
    const all = list({ all: true });
    expect(all.total).toBe(2);
    const binding = all.flows.find(({ protocol }) => protocol === "udp-binding");
    expect(binding).toMatchObject({
      rule: "",
      original: { source: "10.10.0.2:5000" },
      reply: { source: "0.0.0.0", destination: expect.stringMatching(/^198\.51\.100\.10:\d+$/) },
    });
    expect(count({ all: true }).byProtocol).toEqual({ udp: 1, "udp-binding": 1 });
  });

  test("an expectation of a helper is hidden, and named with --all", () => {
    const policy: PolicyModel = natPolicy({
      rules: [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, helpers: HELPER_FTP })],
    });
    const world = new World({ policy });
    const open = { from: CLIENT, to: SERVER, sport: 5000, dport: 21 };
    world.packet(PORT_INSIDE, tcp({ ...open, flags: "S", seq: 100 }));
    const { from, sport } = see(world.take().at(-1)!.frame).ip!;
    const back = { from: SERVER, to: from, sport: 21, dport: sport };
    world.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 900, ack: 101 }));
    world.packet(PORT_INSIDE, tcp({ ...open, flags: "A", seq: 101, ack: 901 }));
    const payload = Uint8Array.from(Buffer.from("PORT 10,10,0,2,195,80\r\n", "latin1"));
    world.packet(PORT_INSIDE, tcp({ ...open, flags: "PA", seq: 101, ack: 901, payload }));
    const { list } = viewOf(world);
    expect(list().flows.map(({ protocol }) => protocol)).toEqual(["tcp"]);
    const names = list({ all: true }).flows.map(({ protocol }) => protocol);
    expect(new Set(names)).toEqual(new Set(["tcp", "tcp-expectation", "tcp-adjustment"]));
  });

  test("every kind has a name: none shows as a number", () => {
    const kinds = Array.from({ length: 256 }, (_, protocol) => protocol).filter(isSatellite);
    expect(kinds.length).toBeGreaterThan(6);
    for (const kind of kinds) {
      expect(satelliteName(kind) ?? kind).toMatch(
        /^(tcp|udp|icmp)-(binding|expectation|adjustment|pointer)$/,
      );
    }
  });
});

describe("IPv6", () => {
  function dual(): World {
    const world = new World({ policy: natPolicy() });
    world.packet(PORT_INSIDE, tcp({ from: CLIENT6, to: SERVER6, sport: 5000, dport: 443, flags: "S" }));
    world.packet(PORT_INSIDE, echo({ from: CLIENT6, to: SERVER6, id: 7 }));
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 7 }));
    return world;
  }

  test("addresses with a port stand in brackets, and ICMPv6 has its own name", () => {
    const { flows } = viewOf(dual()).list();
    expect(flows.find(({ protocol }) => protocol === "tcp")).toMatchObject({
      original: { source: `[${CLIENT6}]:5000`, destination: `[${SERVER6}]:443` },
      reply: { source: `[${SERVER6}]:443`, destination: `[${CLIENT6}]:5000` },
    });
    expect(flows.find(({ protocol }) => protocol === "icmpv6")).toMatchObject({
      original: { destination: SERVER6 },
    });
  });

  test("is found by address and by protocol, and counted apart", () => {
    const { list, count } = viewOf(dual());
    expect(list({ destination: SERVER6 }).total).toBe(2);
    expect(list({ source: "2001:DB8:10:0::2", port: 443 }).total).toBe(1);
    expect([list({ protocol: "icmpv6" }).total, list({ protocol: "icmp" }).total]).toEqual([1, 1]);
    expect(count().byProtocol).toEqual({ tcp: 1, icmp: 1, icmpv6: 1 });
  });
});

describe("the filter", () => {
  test("tells what is decided here from what is held for another node", () => {
    const world = bound();
    expect([
      viewOf(world).list({ role: "own" }).total,
      viewOf(world).list({ role: "replica" }).total,
    ]).toEqual([1, 0]);
    const other = viewOf(world, 2);
    expect(other.list({ role: "replica" }).flows).toMatchObject([{ owner: "fw2", isReplica: true }]);
    expect(other.count()).toMatchObject({ own: 0, replica: 1 });
    expect(viewOf(world, 0).list().flows).toMatchObject([{ owner: "", isReplica: true }]);
  });

  test("limits what is listed, not what is counted", () => {
    expect(viewOf(bound()).list({ all: true, limit: 1 })).toMatchObject({ total: 2, flows: [{}] });
  });

  test.each<[FlowFilter, string]>([
    [{ limit: 0 }, "limit: 0 is not a whole number from 1 to 100000"],
    [{ port: 65_536 }, "port: 65536 is not 0..65535"],
    [{ slot: 64 }, "slot: 64 is not 0..63"],
    [{ role: "mine" }, 'role: "mine" is not own or replica'],
    [{ source: "10.10.0" }, 'source: "10.10.0" is not an IP address like 10.10.0.2 or 2001:db8::2'],
    [{ protocol: "tpc" }, 'protocol: "tpc" is not tcp, udp, icmp or a number 0..255'],
  ])("%j is refused with what is right", (filter, message) => {
    const { list, count } = viewOf(bound());
    expect(() => list(filter)).toThrow(message);
    if (filter.limit === undefined) expect(() => count(filter)).toThrow(message);
  });
});
