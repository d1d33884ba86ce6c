/** Hairpin: RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7, RFC 7857 section 12, RFC 6146 section 3.8. */
import { describe, expect, test } from "vitest";
import { NO_PROTECTION } from "../../../src/dataplane/defence/defence.ts";
import type { PolicyModel, ProtectionModel } from "../../../src/dataplane/policy-model.ts";
import { echo, icmpError, ip, ipv4, type SeenIp, see, seeIp, tcp, udp } from "./frames.ts";
import {
  CLIENT,
  CLIENT6,
  embedded,
  entry,
  nat64Policy,
  natPolicy,
  natWorld,
  POOL,
  pass,
  SERVER,
} from "./nat-worlds.ts";
import { Pair } from "./pair.ts";
import { INSIDE, OUTSIDE, PORT_INSIDE, prefix, rule, verdictName, type World } from "./world.ts";

const OTHER = "10.10.0.3";
const OTHER6 = "2001:db8:10::3";
const WEB = "10.10.0.250";
const OPEN = { isEndpointIndependent: true, isFilteringIndependent: true };

function send(world: World, from: string, sport: number, to: string, dport: number) {
  return pass(world, PORT_INSIDE, udp({ from, to, sport, dport }));
}

describe("between endpoints with independent mappings", () => {
  test("an inside host calls another by its outside endpoint, and sees its outside endpoint (REQ-9 a)", () => {
    const world = natWorld(natPolicy({ snat: [entry(OPEN)] }));
    const a = send(world, CLIENT, 5000, SERVER, 53).sport;
    const b = send(world, OTHER, 6000, SERVER, 53).sport;
    const seen = send(world, CLIENT, 5000, POOL, b);
    expect(seen).toMatchObject({
      from: POOL,
      sport: a,
      to: OTHER,
      dport: 6000,
      headerOk: true,
      bodyOk: true,
    });
    const answer = send(world, OTHER, 6000, POOL, a);
    expect(answer).toMatchObject({ from: POOL, sport: b, to: CLIENT, dport: 5000, bodyOk: true });
    expect(world.lost()).toBe(0);
  });

  test("TCP as well (RFC 5382 REQ-8), with the rules of the way out and without one of the way in", () => {
    const world = natWorld(natPolicy({ snat: [entry(OPEN)] }));
    const open = { from: OTHER, to: SERVER, sport: 6000, dport: 80, flags: "S" };
    const b = pass(world, PORT_INSIDE, tcp(open)).sport;
    const call = { from: CLIENT, to: POOL, sport: 5000, dport: b };
    const seen = pass(world, PORT_INSIDE, tcp({ ...call, flags: "S", seq: 1 }));
    expect(seen).toMatchObject({ to: OTHER, dport: 6000, flags: "S" });
    const back = { from: OTHER, to: POOL, sport: 6000, dport: seen.sport };
    expect(pass(world, PORT_INSIDE, tcp({ ...back, flags: "SA", seq: 9, ack: 2 }))).toMatchObject({
      from: POOL,
      sport: b,
      to: CLIENT,
      flags: "SA",
    });
    expect(pass(world, PORT_INSIDE, tcp({ ...call, flags: "A", seq: 2, ack: 10 }))).toMatchObject({
      to: OTHER,
    });
    expect(world.lost()).toBe(0);
  });

  test("filters hold for inside hosts too: with dependent filtering both have to call (hole punching)", () => {
    const world = natWorld(natPolicy({ snat: [entry({ isEndpointIndependent: true })] }));
    const a = send(world, CLIENT, 5000, SERVER, 53).sport;
    const b = send(world, OTHER, 6000, SERVER, 53).sport;
    const call = udp({ from: CLIENT, to: POOL, sport: 5000, dport: b });
    expect(verdictName(world.packet(PORT_INSIDE, call))).toBe("bad_destination");
    expect(send(world, OTHER, 6000, POOL, a)).toMatchObject({
      from: POOL,
      sport: b,
      to: CLIENT,
      dport: 5000,
    });
    expect(send(world, CLIENT, 5000, POOL, b)).toMatchObject({
      from: POOL,
      sport: a,
      to: OTHER,
      dport: 6000,
    });
  });

  test("who may not go out may not come back either", () => {
    const rules = [rule(0, { fromZone: INSIDE, toZone: OUTSIDE, destinations: [prefix(`${SERVER}/32`)] })];
    const world = natWorld(natPolicy({ snat: [entry(OPEN)], rules }));
    const b = send(world, OTHER, 6000, SERVER, 53).sport;
    expect(verdictName(world.packet(PORT_INSIDE, udp({ from: CLIENT, to: POOL, sport: 1, dport: b })))).toBe(
      "denied",
    );
  });

  test("ICMP errors take the same way back (RFC 5508 REQ-7, RFC 7857 section 12)", () => {
    const world = natWorld(natPolicy({ snat: [entry(OPEN)] }));
    const a = send(world, CLIENT, 5000, SERVER, 53).sport;
    const b = send(world, OTHER, 6000, SERVER, 53).sport;
    const got = send(world, CLIENT, 5000, POOL, b);
    const about = ipv4(17, { from: POOL, to: OTHER }, got.body);
    const seen = pass(world, PORT_INSIDE, icmpError({ from: OTHER, to: POOL }, 3, 3, about));
    expect(seen).toMatchObject({ from: POOL, to: CLIENT, icmpType: 3, icmpCode: 3, bodyOk: true });
    expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: CLIENT, to: POOL, sport: 5000, dport: b });
    expect(a).not.toBe(b);
  });

  test("each end may be another node's: every leg finds its own", () => {
    for (const affinity of ["source", "flow"] as const) {
      const pair = new Pair({ ...natPolicy({ snat: [entry(OPEN)] }), affinity });
      const out = (world: World, from: string, sport: number, to: string, dport: number) => {
        for (const each of pair.worlds) each.take();
        world.packet(PORT_INSIDE, udp({ from, to, sport, dport }));
        pair.settle();
        const sent = pair.worlds.flatMap((each) => each.take());
        expect(sent.length).toBe(1);
        return see(sent[0]!.frame).ip!;
      };
      for (let host = 10; host < 22; host++) {
        const [one, two] = [`10.10.0.${host}`, `10.10.0.${host + 100}`];
        const a = out(pair.one, one, 5000, SERVER, 53).sport;
        const b = out(pair.two, two, 6000, SERVER, 53).sport;
        for (const world of pair.worlds) {
          expect(out(world, one, 5000, POOL, b)).toMatchObject({
            from: POOL,
            sport: a,
            to: two,
            dport: 6000,
          });
          expect(out(world, two, 6000, POOL, a)).toMatchObject({
            from: POOL,
            sport: b,
            to: one,
            dport: 5000,
          });
        }
      }
      expect(pair.worlds.map((world) => world.lost())).toEqual([0, 0]);
    }
  });
});

/** A port of the pool address that leads to a host inside. */
const dnat = [
  {
    zone: OUTSIDE,
    address: ip(POOL),
    protocol: 6,
    ports: { from: 8080, to: 8080 },
    to: ip(WEB),
    toPort: 80,
  },
];
const rules = [
  rule(0, { fromZone: INSIDE, toZone: OUTSIDE }),
  rule(1, { fromZone: OUTSIDE, toZone: INSIDE, protocol: 6, isTranslated: true }),
];

describe("to a forwarded port", () => {
  const syn = tcp({ from: CLIENT, to: POOL, sport: 5000, dport: 8080, flags: "S", seq: 1 });

  test("an inside host reaches the server by its outside address, which answers through the firewall", () => {
    const world = natWorld(natPolicy({ dnat, rules }));
    const seen = pass(world, PORT_INSIDE, syn);
    expect(seen).toMatchObject({ from: POOL, to: WEB, dport: 80, flags: "S", bodyOk: true });
    const answer = tcp({ from: WEB, to: POOL, sport: 80, dport: seen.sport, flags: "SA", seq: 9, ack: 2 });
    expect(pass(world, PORT_INSIDE, answer)).toMatchObject({
      from: POOL,
      sport: 8080,
      to: CLIENT,
      dport: 5000,
    });
  });

  test("only where a rule lets outside in", () => {
    const world = natWorld(natPolicy({ dnat, rules: rules.slice(0, 1) }));
    expect(verdictName(world.packet(PORT_INSIDE, syn))).toBe("denied");
  });

  test("an entry for the inside zone with SNAT of its own does it in one flow", () => {
    const policy: PolicyModel = natPolicy({
      dnat: [...dnat, { ...dnat[0]!, zone: INSIDE }],
      snat: [entry(), entry({ toZone: INSIDE, pool: [ip("10.10.0.1")] })],
      rules: [...rules, rule(2, { fromZone: INSIDE, toZone: INSIDE, isTranslated: true })],
    });
    for (const affinity of ["source", "flow"] as const) {
      const pair = new Pair({ ...policy, affinity });
      pair.one.packet(PORT_INSIDE, syn);
      pair.settle();
      const seen = pair.worlds.flatMap((world) => world.take()).map(({ frame }) => see(frame).ip!);
      expect(seen).toMatchObject([{ from: "10.10.0.1", to: WEB, dport: 80 }]);
      const answer = tcp({
        from: WEB,
        to: "10.10.0.1",
        sport: 80,
        dport: seen[0]!.sport,
        flags: "SA",
        seq: 9,
        ack: 2,
      });
      for (const world of pair.worlds) {
        world.packet(PORT_INSIDE, answer);
        pair.settle();
        const back = pair.worlds.flatMap((each) => each.take()).map(({ frame }) => see(frame).ip!);
        expect(back).toMatchObject([{ from: POOL, sport: 8080, to: CLIENT, dport: 5000 }]);
      }
    }
  });
});

describe("to a static address", () => {
  const policy = (): PolicyModel =>
    natPolicy({
      rules: [rule(0, {})],
      statics: [
        {
          innerZone: INSIDE,
          outerZone: OUTSIDE,
          inner: prefix("10.10.0.248/29"),
          outer: prefix("203.0.113.8/29"),
          isChecksumNeutral: false,
        },
      ],
    });

  test("hosts with static addresses see each other's, for every protocol (RFC 5508 REQ-7)", () => {
    const world = natWorld(policy());
    const seen = pass(world, PORT_INSIDE, echo({ from: "10.10.0.251", to: "203.0.113.10", id: 8 }));
    expect(seen).toMatchObject({ from: "203.0.113.11", to: WEB, icmpType: 8, sport: 8, bodyOk: true });
    const answer = echo({ from: WEB, to: "203.0.113.11", id: 8, isReply: true });
    expect(pass(world, PORT_INSIDE, answer)).toMatchObject({
      from: "203.0.113.10",
      to: "10.10.0.251",
      icmpType: 0,
    });
  });

  test("any other inside host comes from the pool, so that the answer passes the firewall", () => {
    for (const affinity of ["source", "flow"] as const) {
      const pair = new Pair({ ...policy(), affinity });
      for (const [i, world] of pair.worlds.entries()) {
        world.packet(PORT_INSIDE, udp({ from: CLIENT, to: "203.0.113.10", sport: 5000 + i, dport: 80 }));
        pair.settle();
        const [seen] = pair.worlds.flatMap((each) => each.take()).map(({ frame }) => see(frame).ip!);
        expect(seen).toMatchObject({ from: POOL, to: WEB, dport: 80, bodyOk: true });
        pair.other(world).packet(PORT_INSIDE, udp({ from: WEB, to: POOL, sport: 80, dport: seen!.sport }));
        pair.settle();
        const [back] = pair.worlds.flatMap((each) => each.take()).map(({ frame }) => see(frame).ip!);
        expect(back).toMatchObject({
          from: "203.0.113.10",
          to: CLIENT,
          sport: 80,
          dport: 5000 + i,
          bodyOk: true,
        });
      }
    }
  });
});

describe("through NAT64 (RFC 6146 section 3.8)", () => {
  test("an IPv6 host calls another by the IPv4 endpoint that it has outside", () => {
    const policy = nat64Policy();
    const world = natWorld({ ...policy, nat64: [{ ...policy.nat64![0]!, isFilteringIndependent: true }] });
    const a = send(world, CLIENT6, 5000, embedded(SERVER), 53).sport;
    const b = send(world, OTHER6, 6000, embedded(SERVER), 53).sport;
    const seen = send(world, CLIENT6, 5000, embedded(POOL), b);
    expect(seen).toMatchObject({
      from: embedded(POOL),
      sport: a,
      to: OTHER6,
      dport: 6000,
      bodyOk: true,
      ttl: 62,
    });
    const answer = send(world, OTHER6, 6000, embedded(POOL), a);
    expect(answer).toMatchObject({ from: embedded(POOL), sport: b, to: CLIENT6, dport: 5000, bodyOk: true });
    expect(world.lost()).toBe(0);
  });

  test("and a forwarded port of an IPv4 server", () => {
    const policy = nat64Policy({
      snat: [entry({ pool: [ip("198.51.100.11")] })],
      dnat: [
        {
          zone: OUTSIDE,
          address: ip(POOL),
          protocol: 17,
          ports: { from: 53, to: 53 },
          to: ip(WEB),
          toPort: 53,
        },
      ],
      rules: [rule(0, {})],
    });
    const world = natWorld(policy);
    const seen = send(world, CLIENT6, 5000, embedded(POOL), 53);
    expect(seen).toMatchObject({ from: POOL, to: WEB, dport: 53, bodyOk: true });
    expect(send(world, WEB, 53, POOL, seen.sport)).toMatchObject({
      from: embedded(POOL),
      to: CLIENT6,
      dport: 5000,
    });
  });
});

describe("under limits against floods, the source is judged on its way out, and its pool address is nobody on the way back", () => {
  const limited = (part: Partial<ProtectionModel>): PolicyModel =>
    natPolicy({ dnat, rules, protection: { ...NO_PROTECTION, ...part } });
  const client = { from: CLIENT, to: POOL, sport: 5000, dport: 8080 };
  const syn = (host: number) => tcp({ ...client, from: `10.10.0.${host}`, flags: "S", seq: 1 });

  /** Word of a TCP header. */
  const word = ({ body }: SeenIp, at: number): number =>
    new DataView(body.buffer, body.byteOffset).getUint32(at);

  test("one cookie is asked for, and the connection passes data both ways (RFC 4987 section 3.7)", () => {
    const world = natWorld(limited({ synProxyAbove: 2 }));
    for (let sport = 6000; sport < 6003; sport++) {
      world.packet(PORT_INSIDE, tcp({ from: OTHER, to: SERVER, sport, dport: 80, flags: "S" }));
    }
    const answer = pass(world, PORT_INSIDE, tcp({ ...client, flags: "S", seq: 1000 }));
    expect(answer).toMatchObject({ from: POOL, to: CLIENT, flags: "SA" });
    const first = { ...client, seq: 1001, ack: word(answer, 4) + 1 };
    const opened = pass(world, PORT_INSIDE, tcp({ ...first, flags: "A" }));
    expect(opened).toMatchObject({ from: POOL, to: WEB, dport: 80, flags: "S" });
    expect(word(opened, 4)).toBe(1000);
    const server = { from: WEB, to: POOL, sport: 80, dport: opened.sport };
    world.packet(PORT_INSIDE, tcp({ ...server, flags: "SA", seq: 5_000_000, ack: 1001 }));
    const payload = Uint8Array.of(1, 2, 3);
    const asked = pass(world, PORT_INSIDE, tcp({ ...first, flags: "PA", payload }));
    expect(asked).toMatchObject({ from: POOL, to: WEB, dport: 80, bodyOk: true });
    expect(word(asked, 8)).toBe(5_000_001);
    const told = tcp({ ...server, flags: "PA", seq: 5_000_001, ack: 1004, payload });
    expect(pass(world, PORT_INSIDE, told)).toMatchObject({
      from: POOL,
      sport: 8080,
      to: CLIENT,
      bodyOk: true,
    });
    expect(world.count("synCookiesSent")).toBe(1);
  });

  test("the pool address has no rate of new flows, and its hosts have their own", () => {
    const world = natWorld(limited({ newFlowsPerSecond: 1, newFlowsBurst: 1 }));
    for (let host = 10; host < 20; host++) {
      expect(pass(world, PORT_INSIDE, syn(host))).toMatchObject({ from: POOL, to: WEB, flags: "S" });
    }
    const again = tcp({ ...client, from: "10.10.0.10", sport: 5001, flags: "S" });
    expect(verdictName(world.packet(PORT_INSIDE, again))).toBe("source_rate");
  });

  test("nor half-open connections, whichever node the way back is another's", () => {
    const pair = new Pair(limited({ halfOpenPerSource: 1 }));
    for (let host = 10; host < 20; host++) {
      const world = pair.worlds[host & 1]!;
      world.packet(PORT_INSIDE, syn(host));
      pair.settle();
      const sent = pair.worlds.flatMap((each) => each.take()).map(({ frame }) => see(frame).ip!);
      expect(sent).toMatchObject([{ from: POOL, to: WEB, flags: "S" }]);
    }
    expect(pair.worlds.map((world) => world.count("halfOpenRefusedBySource"))).toEqual([0, 0]);
  });
});

test("what nobody outside could reach, nobody inside can: no flow, no answer", () => {
  const world = natWorld(natPolicy());
  const call = udp({ from: CLIENT, to: POOL, sport: 5000, dport: 9999 });
  expect(verdictName(world.packet(PORT_INSIDE, call))).toBe("bad_destination");
  expect(world.take()).toEqual([]);
  expect(world.lost()).toBe(0);
});
