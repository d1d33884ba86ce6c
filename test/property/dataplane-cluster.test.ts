import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PolicyModel } from "../../src/dataplane/policy-model.ts";
import { REPLICA_DIGEST_OK } from "../../src/dataplane/replica.ts";
import { echo, type SeenIp, see, tcp, udp } from "../unit/dataplane/frames.ts";
import { Pair, SLOTS } from "../unit/dataplane/pair.ts";
import { LAB_POLICY, PORT_INSIDE, PORT_OUTSIDE, rule, type World } from "../unit/dataplane/world.ts";

/** Everything may go everywhere, so that all kinds of flows occur. */
const OPEN: PolicyModel = { ...LAB_POLICY, rules: [rule(0, {})] };
const PLAIN: PolicyModel = { ...OPEN, snat: [], answered: [LAB_POLICY.answered[0]!] };
const BY_FLOW: PolicyModel = { ...OPEN, affinity: "flow" };
const PLAIN_BY_FLOW: PolicyModel = { ...PLAIN, affinity: "flow" };

const EQUAL_TRUST: PolicyModel = { ...PLAIN, zones: PLAIN.zones.map((zone) => ({ ...zone, trust: 50 })) };

const policy = fc.constantFrom(OPEN, PLAIN, BY_FLOW, PLAIN_BY_FLOW, EQUAL_TRUST);
// Few hosts and ports, so that tuples meet.
const clients = fc.integer({ min: 2, max: 6 }).map((n) => `10.10.0.${n}`);
const servers = fc.integer({ min: 100, max: 102 }).map((n) => `198.51.100.${n}`);
const ports = fc.integer({ min: 1, max: 4 });

interface Opening {
  readonly kind: "tcp" | "udp" | "echo" | "forward" | "inward";
  readonly client: string;
  readonly server: string;
  readonly sport: number;
  readonly dport: number;
  readonly at: 0 | 1;
}

const opening: fc.Arbitrary<Opening> = fc.record({
  kind: fc.constantFrom("tcp", "udp", "echo", "forward", "inward"),
  client: clients,
  server: servers,
  sport: ports,
  dport: ports,
  at: fc.constantFrom(0, 1),
});
const openings = fc.array(opening, { minLength: 1, maxLength: 30, size: "max" });

/** The first packet of a flow and the port where it enters. */
function first(o: Opening): { port: number; packet: Uint8Array } {
  const out = { from: o.client, to: o.server, sport: o.sport, dport: o.dport };
  switch (o.kind) {
    case "tcp":
      return { port: PORT_INSIDE, packet: tcp({ ...out, flags: "S", seq: 1 }) };
    case "udp":
      return { port: PORT_INSIDE, packet: udp(out) };
    case "echo":
      return { port: PORT_INSIDE, packet: echo({ from: o.client, to: o.server, id: o.sport }) };
    case "forward":
      return {
        port: PORT_OUTSIDE,
        packet: tcp({ from: o.server, to: "198.51.100.10", sport: o.sport, dport: 8080, flags: "S", seq: 1 }),
      };
    case "inward":
      return {
        port: PORT_OUTSIDE,
        packet: udp({ from: o.server, to: o.client, sport: o.sport, dport: o.dport }),
      };
  }
}

/** The packet that the far end sends back. */
function answerTo(seen: SeenIp): Uint8Array {
  const back = { from: seen.to, to: seen.from, sport: seen.dport, dport: seen.sport };
  if (seen.protocol === 6) return tcp({ ...back, flags: "SA", seq: 7, ack: 2 });
  if (seen.protocol === 17) return udp(back);
  return echo({ from: seen.to, to: seen.from, id: seen.sport, isReply: true });
}

/** IPv4 packets that left by zone ports since the last call. */
function left(world: World): { port: number; seen: SeenIp }[] {
  return world.take().flatMap(({ port, frame }) => {
    const { ip } = see(frame);
    return ip === undefined || port > PORT_OUTSIDE ? [] : [{ port, seen: ip }];
  });
}

function drain(pair: Pair): { port: number; seen: SeenIp; world: World }[] {
  pair.settle();
  return pair.worlds.flatMap((world) => left(world).map((item) => ({ ...item, world })));
}

describe("two nodes", () => {
  test("no packet is lost or doubled, wherever it enters, and every checksum is right", () => {
    fc.assert(
      fc.property(policy, openings, (model, list) => {
        const pair = new Pair(model);
        for (const o of list) {
          const { port, packet } = first(o);
          const before = pair.one.table.used;
          pair.worlds[o.at].packet(port, packet);
          const out = drain(pair);
          if (pair.one.table.used > before) expect(out.length).toBe(1);
          for (const { seen } of out) {
            expect(seen.headerOk && seen.bodyOk).toBe(true);
            expect(seen.ttl).toBe(63);
          }
          // The answer enters at the other node.
          for (const { port: egress, seen } of out) {
            pair.worlds[1 - o.at]!.packet(egress, answerTo(seen));
            const back = drain(pair);
            expect(back.length).toBe(1);
            expect(back[0]!.port).toBe(port);
            expect(back[0]!.seen.headerOk && back[0]!.seen.bodyOk).toBe(true);
          }
          expect([pair.one.lost(), pair.two.lost()]).toEqual([0, 0]);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("both directions of every flow give one slot, from packet and policy alone", () => {
    fc.assert(
      fc.property(policy, openings, (model, list) => {
        for (const o of list) {
          // Node 1 owns all and makes the flow; node 2 knows nothing and tells by redirecting which slot it takes it for.
          const pair = new Pair(model);
          pair.assign(2, () => 1);
          pair.one.view.peerFlags[2] = 0;
          const { port, packet } = first(o);
          pair.one.packet(port, packet);
          const out = left(pair.one);
          if (out.length === 0) continue;
          const slots = [packet, answerTo(out[0]!.seen)].map((bytes, i) => {
            pair.two.packet(i === 0 ? port : out[0]!.port, bytes);
            const frame = pair.two.take().find((sent) => sent.port === 2)!.frame;
            return (frame[64 - 8]! << 8) | frame[64 - 7]!;
          });
          expect(slots[0]).toBe(slots[1]);
          expect(pair.one.table.slotOf(0)).toBe(slots[0]);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("never give out one external tuple twice", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(clients, servers, ports, ports, fc.constantFrom(0, 1)), {
          minLength: 1,
          maxLength: 60,
          size: "max",
        }),
        fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 4, maxLength: 4 }),
        (list, owners) => {
          const pair = new Pair(OPEN);
          const given = new Map<string, string>();
          list.forEach(([client, server, sport, dport, at], i) => {
            // Ownership moves on the way; records and packets are never exchanged.
            if (i % 15 === 14) pair.assign(2 + i, (slot) => owners[slot % owners.length]!);
            const inner = `${client}:${sport} ${server}:${dport}`;
            pair.worlds[at]!.packet(PORT_INSIDE, udp({ from: client, to: server, sport, dport }));
            pair.carry(pair.one);
            pair.carry(pair.two);
            pair.replicate(pair.one);
            pair.replicate(pair.two);
            pair.acknowledge(pair.one);
            pair.acknowledge(pair.two);
            for (const world of pair.worlds) {
              for (const { seen } of left(world)) {
                const outer = `${seen.from}:${seen.sport} ${seen.to}:${seen.dport}`;
                expect(given.get(outer) ?? inner).toBe(inner);
                given.set(outer, inner);
              }
            }
          });
        },
      ),
      { numRuns: 40 },
    );
  });

  test("after all records are applied, digests agree and the replica forwards as its owner would", () => {
    fc.assert(
      fc.property(policy, openings, (model, list) => {
        const pair = new Pair(model);
        pair.assign(2, () => 1);
        const seenFirst: { port: number; packet: Uint8Array; seen: SeenIp; egress: number }[] = [];
        for (const o of list) {
          const { port, packet } = first(o);
          pair.one.packet(port, packet);
          for (const { port: egress, seen } of drain(pair)) {
            pair.one.packet(egress, answerTo(seen));
            drain(pair);
            seenFirst.push({ port, packet, seen, egress });
          }
        }
        for (let slot = 0; slot < SLOTS; slot++) pair.one.engine.publishDigest(slot);
        expect(new Set(pair.replicate(pair.one))).toEqual(new Set([REPLICA_DIGEST_OK]));
        expect(pair.two.table.used).toBe(pair.one.table.used);
        pair.two.view.peerFlags[1] = 0;
        for (const { port, packet, seen, egress } of seenFirst) {
          for (const [ingress, bytes] of [
            [port, packet],
            [egress, answerTo(seen)],
          ] as const) {
            pair.one.packet(ingress, bytes);
            pair.two.packet(ingress, bytes);
            pair.one.tick(6);
            pair.two.tick(6);
            const [own, copy] = [left(pair.one), left(pair.two)];
            expect(copy.length).toBe(1);
            if (own.length === 1) expect(copy).toEqual(own);
          }
        }
      }),
      { numRuns: 30 },
    );
  });
});
