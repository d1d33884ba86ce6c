/** Static translation, and port forwards to one host and to several. */
import { describe, expect, test } from "vitest";
import { NatPolicy } from "../../../src/dataplane/nat-policy.ts";
import type { DnatModel, PolicyModel, StaticNatModel } from "../../../src/dataplane/policy-model.ts";
import { StaticNat } from "../../../src/dataplane/static-nat.ts";
import { dotted, echo, icmpError, ip, ip6, ipPacket, ipv4, see, seeIp, tcp, udp, words } from "./frames.ts";
import { CLIENT6, natPolicy, natWorld, POOL, pass, SERVER, SERVER6 } from "./nat-worlds.ts";
import { Pair } from "./pair.ts";
import {
  INSIDE,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  rule,
  TEST_KEY,
  verdictName,
  type World,
} from "./world.ts";

const WEB = "10.10.0.250";
const OUTER = "198.51.100.20";

function statics(...entries: Partial<StaticNatModel>[]): PolicyModel {
  return natPolicy({
    rules: [rule(0, {})],
    statics: entries.map((part) => ({
      innerZone: INSIDE,
      outerZone: OUTSIDE,
      inner: prefix(`${WEB}/32`),
      outer: prefix(`${OUTER}/32`),
      isChecksumNeutral: false,
      ...part,
    })),
  });
}

describe("static 1:1", () => {
  test("translates both ways for every protocol, ports untouched", () => {
    const world = natWorld(statics({}));
    expect(pass(world, PORT_INSIDE, udp({ from: WEB, to: SERVER, sport: 53, dport: 99 }))).toMatchObject({
      from: OUTER,
      sport: 53,
      bodyOk: true,
    });
    expect(
      pass(world, PORT_OUTSIDE, tcp({ from: SERVER, to: OUTER, sport: 7, dport: 80, flags: "S" })),
    ).toMatchObject({
      to: WEB,
      dport: 80,
      bodyOk: true,
    });
    expect(pass(world, PORT_OUTSIDE, echo({ from: SERVER, to: OUTER, id: 5 }))).toMatchObject({
      to: WEB,
      icmpType: 8,
    });
    const esp = ipPacket(50, { from: SERVER, to: OUTER }, new Uint8Array(16));
    expect(pass(world, PORT_OUTSIDE, esp)).toMatchObject({ to: WEB, protocol: 50 });
  });

  test("comes before SNAT, whose other hosts are not touched", () => {
    const world = natWorld(statics({}));
    const other = pass(world, PORT_INSIDE, udp({ from: "10.10.0.2", to: SERVER, sport: 53, dport: 99 }));
    expect(other.from).toBe(POOL);
  });

  test("a whole prefix keeps the host part (IPv4 and IPv6)", () => {
    const world = natWorld(
      statics(
        { inner: prefix("10.10.0.64/26"), outer: prefix("203.0.113.128/26") },
        { inner: prefix("2001:db8:10::/64"), outer: prefix("2001:db8:beef::/64") },
      ),
    );
    const out = pass(world, PORT_INSIDE, udp({ from: "10.10.0.77", to: SERVER, sport: 1, dport: 2 }));
    expect(out.from).toBe("203.0.113.141");
    const back = pass(world, PORT_OUTSIDE, udp({ from: SERVER, to: "203.0.113.190", sport: 1, dport: 2 }));
    expect(back.to).toBe("10.10.0.126");
    const six = pass(world, PORT_INSIDE, udp({ from: CLIENT6, to: SERVER6, sport: 1, dport: 2 }));
    expect(six).toMatchObject({ from: "2001:db8:beef::2", bodyOk: true });
  });

  test("errors are translated with the datagram in them, both ways", () => {
    const world = natWorld(statics({}));
    const out = pass(world, PORT_INSIDE, udp({ from: WEB, to: SERVER, sport: 53, dport: 99 }));
    const about = ipv4(17, { from: OUTER, to: SERVER }, out.body);
    const seen = pass(world, PORT_OUTSIDE, icmpError({ from: "203.0.113.9", to: OUTER }, 11, 0, about));
    expect(seen).toMatchObject({ from: "203.0.113.9", to: WEB, bodyOk: true });
    expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: WEB, to: SERVER, bodyOk: true });
  });

  test("one inner prefix may have an outer one in several zones", () => {
    const nat = new StaticNat([
      {
        innerZone: 0,
        outerZone: 1,
        inner: prefix("10.0.0.0/24"),
        outer: prefix("192.0.2.0/24"),
        isChecksumNeutral: false,
      },
      {
        innerZone: 0,
        outerZone: 2,
        inner: prefix("10.0.0.0/24"),
        outer: prefix("203.0.113.0/24"),
        isChecksumNeutral: false,
      },
    ]);
    const inner = words("10.0.0.9");
    expect([1, 2, 3].map((zone) => nat.ofInner(0, zone, inner, 0))).toEqual([0, 1, -1]);
  });

  test("either node finds the inside host and its slot, before it has seen the flow", () => {
    for (const affinity of ["source", "flow"] as const) {
      const pair = new Pair({ ...statics({}), affinity });
      for (const [i, world] of pair.worlds.entries()) {
        world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: OUTER, sport: 40 + i, dport: 80 }));
        pair.settle();
        pair.other(world).packet(PORT_INSIDE, udp({ from: WEB, to: SERVER, sport: 80, dport: 40 + i }));
        pair.settle();
        const seen = pair.worlds.flatMap((each) => each.take()).map(({ frame }) => see(frame).ip!);
        expect(new Set(seen.map((each) => `${each.from} ${each.to}`))).toEqual(
          new Set([`${OUTER} ${SERVER}`, `${SERVER} ${WEB}`]),
        );
      }
      expect(pair.worlds.reduce((sum, world) => sum + world.count("flowsCreated"), 0)).toBe(2);
    }
  });
});

describe("NPTv6 (RFC 6296)", () => {
  const neutral = (inner: string, outer: string) => ({
    innerZone: 0,
    outerZone: 1,
    inner: prefix(inner),
    outer: prefix(outer),
    isChecksumNeutral: true,
  });

  test.each([
    ["fd01:203:405::/48", "2001:db8:1::/48"],
    ["fd01:203:405:7::/64", "2001:db8:1:9::/64"],
    ["fd01:203:400::/40", "2001:db8:100::/40"],
  ])("%s to %s and back is the address itself, and the sum of the address stays", (inner, outer) => {
    const nat = new StaticNat([neutral(inner, outer)]);
    const sum = (address: Int32Array) =>
      [...address].reduce((total, word) => total + (word >>> 16) + (word & 0xffff), 0) % 0xffff;
    const base = ip6(inner.split("/")[0]!);
    for (let i = 1; i < 200; i++) {
      const host = (BigInt(i) * 0x9e37_79b9_7f4a_7c15n) & ((1n << 63n) - 1n);
      const address = words(text6(base | host));
      const out = new Int32Array(4);
      const back = new Int32Array(4);
      if (!nat.outward(0, address, 0, out, 0)) continue;
      expect(nat.inward(0, out, 0, back, 0)).toBe(true);
      expect(back).toEqual(address);
      expect(sum(out)).toBe(sum(address));
    }
  });

  test("an address that has no image is refused (sections 3.4 and 3.5)", () => {
    const world = natWorld(
      statics({
        inner: prefix("2001:db8:10::/48"),
        outer: prefix("2001:db8:beef::/48"),
        isChecksumNeutral: true,
      }),
    );
    const packet = udp({ from: SERVER6, to: "2001:db8:beef:ffff::2", sport: 1, dport: 2 });
    expect(verdictName(world.packet(PORT_OUTSIDE, packet))).toBe("bad_destination");
  });

  function text6(value: bigint): string {
    return Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16)).join(
      ":",
    );
  }
});

describe("port forwards", () => {
  const forward = (part: Partial<DnatModel> = {}): DnatModel => ({
    zone: OUTSIDE,
    address: ip(POOL),
    protocol: 6,
    ports: { from: 8080, to: 8089 },
    to: ip(WEB),
    toPort: 80,
    ...part,
  });
  const policy = (part: Partial<DnatModel> = {}): PolicyModel =>
    natPolicy({ dnat: [forward(part)], rules: [rule(0, {})] });
  const syn = (from: string, dport = 8080): Uint8Array =>
    tcp({ from, to: POOL, sport: 5000, dport, flags: "S" });

  test("ranges map one to one, and answers have the forwarded port again", () => {
    const world = natWorld(policy());
    for (const [asked, real] of [
      [8080, 80],
      [8089, 89],
    ]) {
      expect(pass(world, PORT_OUTSIDE, syn(SERVER, asked!))).toMatchObject({
        to: WEB,
        dport: real,
        bodyOk: true,
      });
      const answer = tcp({ from: WEB, to: SERVER, sport: real!, dport: 5000, flags: "SA", ack: 1 });
      expect(pass(world, PORT_INSIDE, answer)).toMatchObject({ from: POOL, sport: asked, bodyOk: true });
    }
    expect(verdictName(world.packet(PORT_OUTSIDE, syn(SERVER, 8090)))).toBe("bad_destination");
  });

  test("only in their zone and protocol", () => {
    const world = natWorld(policy());
    const datagram = udp({ from: SERVER, to: POOL, sport: 1, dport: 8080 });
    expect(verdictName(world.packet(PORT_OUTSIDE, datagram))).toBe("bad_destination");
  });

  test("an error of the server is told to the client from the forwarded address", () => {
    const world = natWorld(policy());
    const got = pass(world, PORT_OUTSIDE, syn(SERVER));
    const about = ipv4(6, { from: SERVER, to: WEB }, got.body);
    const seen = pass(world, PORT_INSIDE, icmpError({ from: WEB, to: SERVER }, 3, 3, about));
    expect(seen).toMatchObject({ from: POOL, to: SERVER, bodyOk: true });
    expect(seeIp(seen.body.subarray(8))).toMatchObject({ from: SERVER, to: POOL, dport: 8080 });
  });

  describe("to several targets", () => {
    const hosts = [11, 12, 13, 14, 15].map((host) => ip(`10.10.0.${host}`));
    const clients = Array.from({ length: 4000 }, (_, i) => words(dotted(ip("203.0.0.0") + i * 7)));
    const chosen = (targets: readonly number[]): number[] => {
      const nat = new NatPolicy(natPolicy({ dnat: [forward({ to: targets[0]!, more: targets.slice(1) })] }));
      const to = new Int32Array(4);
      return clients.map((client) => {
        nat.targetOf(0, TEST_KEY, client, 0, to, 0);
        return to[3]! >>> 0;
      });
    };

    test("a client always gets the same one, from either node, for TCP and after a restart", () => {
      const several = policy({ to: hosts[0]!, more: hosts.slice(1) });
      const seen = new Set<string>();
      for (const world of [natWorld(several), natWorld(several, { seed: 99 })]) {
        for (let sport = 1; sport < 20; sport++) {
          const packet = tcp({ from: SERVER, to: POOL, sport, dport: 8080, flags: "S" });
          seen.add(pass(world, PORT_OUTSIDE, packet).to);
        }
      }
      expect(seen.size).toBe(1);
    });

    test("clients are spread evenly", () => {
      const counts = hosts.map((host) => chosen(hosts).filter((each) => each === host).length);
      for (const count of counts) expect(Math.abs(count - 800)).toBeLessThan(100);
    });

    test("without one target, only its clients move; with it again, only they come back", () => {
      const before = chosen(hosts);
      const without = chosen(hosts.filter((_, i) => i !== 2));
      before.forEach((host, i) => {
        if (host !== hosts[2]) expect(without[i]).toBe(host);
      });
      expect(without.includes(hosts[2]!)).toBe(false);
      // The order of the list says nothing.
      expect(chosen([...hosts].reverse())).toEqual(before);
    });

    test("connections to a target that is no more go on", () => {
      const world: World = natWorld(policy({ to: hosts[0]!, more: hosts.slice(1) }));
      const { to } = pass(world, PORT_OUTSIDE, syn(SERVER));
      const left = hosts.filter((host) => host !== ip(to));
      world.engine.usePolicy(policy({ to: left[0]!, more: left.slice(1) }), new Float64Array(2));
      expect(pass(world, PORT_OUTSIDE, syn(SERVER)).to).toBe(to);
      const fresh = tcp({ from: SERVER, to: POOL, sport: 5001, dport: 8080, flags: "S" });
      expect(pass(world, PORT_OUTSIDE, fresh).to).not.toBe(to);
    });
  });
});
