import { describe, expect, test } from "vitest";
import { addressWords } from "../../../src/base/address.ts";
import { ACTION_REJECT, type PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { StaticNat } from "../../../src/dataplane/static-nat.ts";
import { fragmentPacket } from "./fragment-frames.ts";
import { echo, ethernet, icmp, icmpError, ip6, ipv6, mac, see, seeIp, tcp, udp, words } from "./frames.ts";
import {
  DUAL_POLICY,
  hostMac,
  INSIDE,
  LAB_POLICY,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  rule,
  verdictName,
  World,
} from "./world.ts";

const CLIENT = "2001:db8:10::2";
const SERVER = "2001:db8:f::64";
const GATEWAY = "2001:db8:10::1";

function dual(part: Partial<PolicyModel> = {}): World {
  return new World({ policy: { ...DUAL_POLICY, ...part } });
}

describe("IPv6 flows", () => {
  test("TCP passes without translation, and its answers come back", () => {
    const world = dual();
    const open = { from: CLIENT, to: SERVER, sport: 40_000, dport: 443 };
    world.packet(PORT_INSIDE, tcp({ ...open, flags: "S", seq: 100 }));
    const sent = see(world.takeOne().frame);
    expect(sent.ip).toMatchObject({ from: CLIENT, to: SERVER, sport: 40_000, ttl: 63, bodyOk: true });
    expect(sent.type).toBe(0x86dd);
    const back = { from: SERVER, to: CLIENT, sport: 443, dport: 40_000 };
    world.packet(PORT_OUTSIDE, tcp({ ...back, flags: "SA", seq: 900, ack: 101 }));
    expect(see(world.takeOne().frame).ip).toMatchObject({ from: SERVER, to: CLIENT, flags: "SA" });
    expect(world.lost()).toBe(0);
  });

  test("what no rule allows is denied", () => {
    const world = dual();
    const syn = tcp({ from: SERVER, to: CLIENT, sport: 1, dport: 22, flags: "S" });
    expect(verdictName(world.packet(PORT_OUTSIDE, syn))).toBe("denied");
  });

  test("echo passes by its id, and the gateway answers it (RFC 4443 section 4.2)", () => {
    const world = dual();
    world.packet(PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 7 }));
    expect(see(world.takeOne().frame).ip).toMatchObject({ icmpType: 128, bodyOk: true });
    world.packet(PORT_OUTSIDE, echo({ from: SERVER, to: CLIENT, id: 7, isReply: true }));
    expect(see(world.takeOne().frame).ip).toMatchObject({ icmpType: 129, bodyOk: true });
    expect(verdictName(world.packet(PORT_INSIDE, echo({ from: CLIENT, to: GATEWAY, id: 8 })))).toBe(
      "answered",
    );
    expect(see(world.takeOne().frame).ip).toMatchObject({
      from: GATEWAY,
      to: CLIENT,
      icmpType: 129,
      bodyOk: true,
    });
  });

  test("packet too big tells the next MTU (RFC 8201 section 4), time exceeded the last hop", () => {
    const world = dual();
    const large = udp({ from: CLIENT, to: SERVER, sport: 9, dport: 9, payload: new Uint8Array(1600) });
    expect(verdictName(world.packet(PORT_INSIDE, large))).toBe("too_big");
    const error = see(world.takeOne().frame).ip!;
    expect(error).toMatchObject({ from: GATEWAY, to: CLIENT, icmpType: 2, icmpWord: 1500, bodyOk: true });
    expect(error.total).toBe(1280);
    expect(
      verdictName(world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 9, dport: 9, ttl: 1 }))),
    ).toBe("ttl");
    expect(see(world.takeOne().frame).ip).toMatchObject({ icmpType: 3, icmpCode: 0, bodyOk: true });
  });

  test("an error about a packet of a flow reaches its sender, one about another packet does not", () => {
    const world = dual();
    const query = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 });
    world.packet(PORT_INSIDE, query);
    const left = world.takeOne().frame.slice(14);
    const by = { from: "2001:db8:f::fe", to: CLIENT };
    world.packet(PORT_OUTSIDE, icmpError(by, 1, 4, left));
    expect(see(world.takeOne().frame).ip).toMatchObject({
      from: by.from,
      to: CLIENT,
      icmpType: 1,
      icmpCode: 4,
    });
    const other = udp({ from: CLIENT, to: SERVER, sport: 4001, dport: 53 });
    expect(verdictName(world.packet(PORT_OUTSIDE, icmpError(by, 1, 4, other)))).toBe("icmp_unrelated");
  });

  test("an error to another host than who sent the datagram in it is forged (RFC 4443 section 2.2)", () => {
    const world = dual();
    const query = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 });
    world.packet(PORT_INSIDE, query);
    world.take();
    // The last word alone differs, then the first one: all of the address counts.
    for (const to of ["2001:db8:10::7", "2001:db7:10::2"]) {
      const forged = icmpError({ from: SERVER, to }, 1, 4, query);
      expect(verdictName(world.packet(PORT_OUTSIDE, forged))).toBe("icmp_unrelated");
    }
    expect(world.take()).toEqual([]);
  });
});

describe("IPv6 headers", () => {
  const segment = udp({ from: CLIENT, to: SERVER, sport: 1, dport: 2 }).slice(40);
  const ends = { from: CLIENT, to: SERVER };
  const through = (extensions: number[], next: number): string =>
    verdictName(dual().packet(PORT_INSIDE, ipv6(17, ends, segment, Uint8Array.from(extensions), next)));
  const option = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];

  test("extension headers are walked: hop-by-hop first, options, an atomic fragment (RFC 8200 section 4, RFC 6946)", () => {
    expect(through(option(17), 0)).toBe("held");
    expect(through([...option(60), ...option(17)], 0)).toBe("held");
    expect(through([17, 0, 0, 0, 0, 0, 0, 1], 44)).toBe("held");
    expect(through([...option(0), ...option(17)], 60)).toBe("bad_header");
  });

  test("source routes are refused (RFC 5095), also when they hide behind other headers (FFW_RUL_EXT.1.6h)", () => {
    expect(through([17, 0, 0, 1, 0, 0, 0, 0], 43)).toBe("bad_option");
    expect(through([...option(43), 17, 0, 0, 2, 0, 0, 0, 0], 0)).toBe("bad_option");
    expect(through([17, 0, 0, 0, 0, 0, 0, 0], 43)).toBe("held");
  });

  test("a source route in a fragment is refused, too: cutting a packet hides nothing (RFC 5095)", () => {
    const sent = (segmentsLeft: number): [string[], number] => {
      const world = dual();
      const chain = [17, 0, 0, segmentsLeft, 0, 0, 0, 0, ...segment];
      const first = Uint8Array.from([43, 0, 0, 1, 0, 0, 0, 9, ...chain.slice(0, 16)]);
      const last = Uint8Array.from([43, 0, 0, 16, 0, 0, 0, 9, ...chain.slice(16)]);
      const verdicts = [first, last].map((piece) =>
        verdictName(world.packet(PORT_INSIDE, ipv6(44, ends, piece))),
      );
      return [verdicts, world.take().length];
    };
    expect(sent(1)).toEqual([["bad_option", "held"], 0]);
    expect(sent(0)).toEqual([["held", "held"], 2]);
  });

  test("more than eight extension headers, or one that runs over the packet, are refused", () => {
    expect(through(Array.from({ length: 9 }, (_, i) => option(i === 8 ? 17 : 60)).flat(), 60)).toBe(
      "bad_header",
    );
    expect(through([17, 20, 0, 0, 0, 0, 0, 0], 60)).toBe("truncated");
  });

  test("UDP without a checksum is refused (RFC 8200 section 8.1), and the firewall's own numbers of protocols", () => {
    const bare = udp({ from: CLIENT, to: SERVER, sport: 1, dport: 2, noChecksum: true });
    expect(verdictName(dual().packet(PORT_INSIDE, bare))).toBe("bad_checksum");
    for (const protocol of [200, 203, 205, 207]) {
      expect(verdictName(dual().packet(PORT_INSIDE, ipv6(protocol, ends, segment)))).toBe("unknown_protocol");
    }
    expect(verdictName(dual().packet(PORT_INSIDE, ipv6(1, ends, segment)))).toBe("unknown_protocol");
  });

  test.each([
    ["::", SERVER, "bad_source"],
    ["::1", SERVER, "bad_source"],
    ["ff02::2", SERVER, "bad_source"],
    ["fe80::2", SERVER, "bad_source"],
    ["4000::1", SERVER, "bad_source"],
    ["::ffff:a0a:2", SERVER, "bad_source"],
    [GATEWAY, SERVER, "bad_source"],
    ["2001:db8:77::1", SERVER, "spoofed"],
    [CLIENT, "::", "bad_destination"],
    [CLIENT, "fe80::9", "bad_destination"],
    [CLIENT, "4000::1", "bad_destination"],
    [CLIENT, CLIENT, "land"],
  ])("from %s to %s: %s (FFW_RUL_EXT.1.6, 1.7)", (from, to, reason) => {
    expect(verdictName(dual().packet(PORT_INSIDE, udp({ from, to, sport: 1, dport: 2 }), CLIENT))).toBe(
      reason,
    );
  });
});

describe("neighbour discovery", () => {
  const solicit = (from: string, target: string, hops = 255): Uint8Array => {
    const link = from === "::" ? [] : [1, 1, ...hostMac(CLIENT)];
    const address = [...Array(16).keys()].map((i) => Number((ip6(target) >> BigInt(120 - 8 * i)) & 255n));
    const message = Uint8Array.from([135, 0, 0, 0, 0, 0, 0, 0, ...address, ...link]);
    const group = `ff02::1:ff00:${(ip6(target) & 0xffffn).toString(16)}`;
    const packet = icmp({ from, to: group, ttl: hops }, message);
    return ethernet(mac("33:33:ff:00:00:01"), hostMac(CLIENT), 0x86dd, packet);
  };

  test("the gateway's addresses, global and link-local, are answered with the virtual MAC of the asker's slot", () => {
    for (const target of [GATEWAY, "fe80::1"]) {
      const world = dual();
      expect(verdictName(world.receive(PORT_INSIDE, solicit(CLIENT, target)))).toBe("answered");
      const sent = see(world.takeOne().frame);
      expect(sent.sourceMac).toMatch(/^02:53:57:00/);
      expect(sent.ip).toMatchObject({ from: target, to: CLIENT, ttl: 255, icmpType: 136, bodyOk: true });
      expect(sent.ip!.icmpWord >>> 29).toBe(7);
    }
  });

  test("what crossed a router, or asks for somebody else, is not answered (RFC 4861 section 7.1.1)", () => {
    const world = dual();
    expect(verdictName(world.receive(PORT_INSIDE, solicit(CLIENT, GATEWAY, 64)))).toBe("neighbour_discovery");
    expect(verdictName(world.receive(PORT_INSIDE, solicit(CLIENT, "2001:db8:10::77")))).toBe(
      "neighbour_discovery",
    );
    expect(verdictName(world.receive(PORT_INSIDE, solicit("2001:db8:77::1", GATEWAY)))).toBe(
      "neighbour_discovery",
    );
    expect(world.take()).toEqual([]);
  });

  test("a host that probes the gateway's address hears that it is taken (RFC 4862 section 5.4)", () => {
    const world = dual();
    world.receive(PORT_INSIDE, solicit("::", GATEWAY));
    const sent = see(world.takeOne().frame);
    expect(sent.destinationMac).toBe("33:33:00:00:00:01");
    expect(sent.ip).toMatchObject({ to: "ff02::1", icmpType: 136 });
  });

  test("routers are advertised by the owner of the zone's slot, without a link-layer address (RFC 4861 section 6.2.3)", () => {
    const advertise = {
      intervalMs: 10_000,
      lifetimeSeconds: 60,
      isManaged: false,
      isOtherConfig: true,
      isAutonomous: true,
      prefixValidSeconds: 3600,
      prefixPreferredSeconds: 1800,
      dns: [ip6("2001:db8:10::53")],
    };
    const zones = DUAL_POLICY.zones.map((zone) =>
      zone.id === INSIDE ? { ...zone, ipv6: { ...zone.ipv6!, advertise } } : zone,
    );
    const world = dual({ zones });
    const advertised = () => world.take().filter(({ frame }) => see(frame).ip?.icmpType === 134);
    world.tick();
    const [first] = advertised();
    const seen = see(first!.frame).ip!;
    expect(seen).toMatchObject({ from: "fe80::1", to: "ff02::1", ttl: 255, bodyOk: true });
    expect([...seen.body.subarray(4, 8)]).toEqual([64, 0x40, 0, 60]);
    expect(seen.body.length).toBe(16 + 8 + 32 + 24);
    world.tick(9000);
    expect(advertised()).toEqual([]);
    world.tick(1100);
    expect(advertised().length).toBe(1);
    const solicitation = icmp(
      { from: "fe80::2", to: "ff02::2", ttl: 255 },
      Uint8Array.from([133, 0, 0, 0, 0, 0, 0, 0]),
    );
    world.tick(4000);
    world.receive(PORT_INSIDE, ethernet(mac("33:33:00:00:00:02"), hostMac(CLIENT), 0x86dd, solicitation));
    world.tick();
    expect(advertised().length).toBe(1);
  });
});

describe("IPv6 translation", () => {
  const pool = ip6("2001:db8:f::a");
  const nat66: Partial<PolicyModel> = {
    snat: [...LAB_POLICY.snat, { fromZone: INSIDE, toZone: OUTSIDE, sources: [], pool: [pool] }],
    answered: [...LAB_POLICY.answered, { zone: OUTSIDE, address: pool }],
  };

  test("NAT66 leaves from the pool, and answers and errors find back", () => {
    const world = dual(nat66);
    world.packet(PORT_INSIDE, tcp({ from: CLIENT, to: SERVER, sport: 5000, dport: 80, flags: "S" }));
    const sent = see(world.takeOne().frame).ip!;
    expect(sent).toMatchObject({ from: "2001:db8:f::a", bodyOk: true });
    const reply = { from: SERVER, to: sent.from, sport: 80, dport: sent.sport };
    world.packet(PORT_OUTSIDE, tcp({ ...reply, flags: "SA", ack: 1 }));
    expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 5000, bodyOk: true });
    const about = tcp({ from: sent.from, to: SERVER, sport: sent.sport, dport: 80, flags: "S" });
    world.packet(PORT_OUTSIDE, icmpError({ from: SERVER, to: sent.from }, 1, 0, about));
    const error = see(world.takeOne().frame).ip!;
    expect(error).toMatchObject({ to: CLIENT, icmpType: 1, bodyOk: true });
    expect(seeIp(error.body.subarray(8))).toMatchObject({
      from: CLIENT,
      to: SERVER,
      sport: 5000,
      bodyOk: true,
    });
  });

  test("a router that finds a fragment too big is heard by its sender, with NAT66 too; of a later fragment nobody knows whose it was (RFC 8201 section 4)", () => {
    for (const world of [dual(), dual(nat66)]) {
      world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
      const left = see(world.takeOne().frame).ip!;
      const datagram = udp({
        from: left.from,
        to: SERVER,
        sport: left.sport,
        dport: 53,
        payload: new Uint8Array(2000),
      });
      const about = (offset: number): Uint8Array =>
        fragmentPacket({
          ...{ from: datagram.slice(8, 24), to: datagram.slice(24, 40), offset, more: true },
          payload: datagram.slice(40 + offset, 40 + offset + 1400),
        });
      const by = { from: "2001:db8:ffff::1", to: left.from };
      expect(verdictName(world.packet(PORT_OUTSIDE, icmpError(by, 2, 0, about(1400), 1280)))).toBe(
        "icmp_unrelated",
      );
      world.packet(PORT_OUTSIDE, icmpError(by, 2, 0, about(0), 1280));
      const error = see(world.takeOne().frame).ip!;
      expect(error).toMatchObject({ from: by.from, to: CLIENT, icmpType: 2, icmpWord: 1280, bodyOk: true });
      const quoted = error.body.subarray(8);
      expect(seeIp(quoted)).toMatchObject({ from: CLIENT, to: SERVER });
      // Behind the fragment header: the ports as the client knows them, and a checksum that fits them.
      const own = udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53, payload: new Uint8Array(2000) });
      expect(quoted.subarray(48, 56)).toEqual(own.subarray(40, 48));
    }
  });

  test("a prefix is translated to another, both ways, and checksums stay right (RFC 6296)", () => {
    for (const isChecksumNeutral of [false, true]) {
      const world = dual({
        statics: [
          {
            innerZone: INSIDE,
            outerZone: OUTSIDE,
            inner: prefix("2001:db8:10::/64"),
            outer: prefix("2001:db8:beef:1::/64"),
            isChecksumNeutral,
          },
        ],
        rules: [rule(0, {})],
      });
      const out = tcp({ from: CLIENT, to: SERVER, sport: 5000, dport: 80, flags: "S" });
      world.packet(PORT_INSIDE, out);
      const sent = see(world.takeOne().frame).ip!;
      expect(sent.from).toMatch(/^2001:db8:beef:1:/);
      expect(sent.bodyOk).toBe(true);
      // Checksum-neutral: the segment itself is untouched.
      if (isChecksumNeutral) expect([...sent.body]).toEqual([...seeIp(out).body]);
      else expect(sent.from).toBe("2001:db8:beef:1::2");
      world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: sent.from, sport: 9, dport: 99 }));
      expect(see(world.takeOne().frame).ip).toMatchObject({ to: CLIENT, dport: 99, bodyOk: true });
    }
  });

  test("the example of RFC 6296 appendix B: FD01:0203:0405::/48 and 2001:0DB8:0001::/48", () => {
    const nat = new StaticNat([
      {
        innerZone: 0,
        outerZone: 1,
        inner: prefix("fd01:203:405::/48"),
        outer: prefix("2001:db8:1::/48"),
        isChecksumNeutral: true,
      },
    ]);
    const to = new Int32Array(4);
    expect(nat.outward(0, words("fd01:203:405:1::1234"), 0, to, 0)).toBe(true);
    expect(to).toEqual(addressWords(ip6("2001:db8:1:d550::1234")));
    expect(nat.inward(0, to, 0, to, 0)).toBe(true);
    expect(to).toEqual(addressWords(ip6("fd01:203:405:1::1234")));
  });
});

describe("rejected packets", () => {
  const rules = [rule(0, { action: ACTION_REJECT })];

  test("TCP is answered with a reset that acknowledges the SYN (RFC 9293 section 3.10.7.1)", () => {
    for (const [from, to] of [
      [CLIENT, SERVER],
      ["10.10.0.2", "198.51.100.100"],
    ] as const) {
      const world = dual({ rules });
      const syn = tcp({ from, to, sport: 5, dport: 6, flags: "S", seq: 77 });
      expect(verdictName(world.packet(PORT_INSIDE, syn))).toBe("denied");
      const sent = see(world.takeOne().frame).ip!;
      expect(sent).toMatchObject({
        from: to,
        to: from,
        sport: 6,
        dport: 5,
        flags: "RA",
        bodyOk: true,
        headerOk: true,
      });
      expect(new DataView(sent.body.buffer, sent.body.byteOffset).getUint32(8)).toBe(78);
      expect(world.lost()).toBe(0);
    }
  });

  test("the rest is told that it is prohibited (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1)", () => {
    const world = dual({ rules });
    world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5, dport: 6 }));
    expect(see(world.takeOne().frame).ip).toMatchObject({
      icmpType: 1,
      icmpCode: 1,
      from: GATEWAY,
      bodyOk: true,
    });
    world.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 5, dport: 6 }));
    expect(see(world.takeOne().frame).ip).toMatchObject({ icmpType: 3, icmpCode: 13, bodyOk: true });
  });
});

describe("a new policy", () => {
  const syn = tcp({ from: "10.10.0.2", to: "198.51.100.100", sport: 5000, dport: 80, flags: "S" });

  test("ends what it does not allow at its next packet, and leaves the rest alone", () => {
    const world = dual();
    world.packet(PORT_INSIDE, syn);
    world.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 5000, dport: 53 }));
    world.take();
    const rules = [rule(0, { protocol: 6, action: 0 }), ...DUAL_POLICY.rules];
    world.engine.usePolicy({ ...DUAL_POLICY, rules }, new Float64Array(rules.length + 1));
    expect(verdictName(world.packet(PORT_INSIDE, syn))).toBe("denied");
    expect(
      verdictName(
        world.packet(PORT_INSIDE, udp({ from: "10.10.0.2", to: "198.51.100.100", sport: 5000, dport: 53 })),
      ),
    ).toBe("forwarded");
    expect(world.table.used).toBe(1);
    expect([world.count("policyRechecked"), world.count("policyEnded")]).toEqual([2, 1]);
  });
});
