import { describe, expect, test } from "vitest";
import { Packet } from "../../../src/dataplane/packet.ts";
import { arp, echo, ethernet, icmpError, ipv4, mac, macText, see, tcp, udp } from "./frames.ts";
import {
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

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
const spec = { from: CLIENT, to: SERVER, sport: 4000, dport: 53 };
const VIRTUAL = mac("02:53:57:00:00:05");
const BROADCAST = new Uint8Array(6).fill(255);

function verdictOf(packet: Uint8Array, port = PORT_INSIDE): string {
  const world = new World();
  const verdict = verdictName(world.packet(port, packet, CLIENT));
  expect(world.lost()).toBe(0);
  expect(world.table.used).toBe(0);
  return verdict;
}

function frameVerdict(frame: Uint8Array, port = PORT_INSIDE): string {
  const world = new World();
  return verdictName(world.receive(port, frame));
}

describe("frames", () => {
  test("are taken when addressed to a virtual MAC of the zone or to the port itself, else ignored", () => {
    const packet = udp(spec);
    expect(frameVerdict(ethernet(VIRTUAL, hostMac(CLIENT), 0x0800, packet))).toBe("held");
    expect(frameVerdict(ethernet(mac("02:00:00:00:01:00"), hostMac(CLIENT), 0x0800, packet))).toBe("held");
    expect(frameVerdict(ethernet(mac("02:53:57:01:00:05"), hostMac(CLIENT), 0x0800, packet))).toBe(
      "not_for_us",
    );
    expect(frameVerdict(ethernet(hostMac(SERVER), hostMac(CLIENT), 0x0800, packet))).toBe("not_for_us");
  });

  test("that were broadcast on the link are never forwarded (RFC 1812 section 5.3.4)", () => {
    expect(frameVerdict(ethernet(BROADCAST, hostMac(CLIENT), 0x0800, udp(spec)))).toBe("bad_destination");
  });

  test("of other kinds are told apart", () => {
    const payload = new Uint8Array(46);
    expect(frameVerdict(new Uint8Array(13))).toBe("truncated");
    expect(frameVerdict(ethernet(VIRTUAL, hostMac(CLIENT), 0x8847, payload))).toBe("not_ip");
    expect(frameVerdict(ethernet(mac("01:80:c2:00:00:00"), hostMac(CLIENT), 0x0027, payload))).toBe(
      "stp_or_lldp",
    );
    expect(frameVerdict(ethernet(mac("33:33:00:00:00:01"), hostMac(CLIENT), 0x86dd, payload))).toBe(
      "not_for_us",
    );
    expect(frameVerdict(ethernet(BROADCAST, mac("02:53:57:00:00:01"), 0x8035, payload))).toBe("not_for_us");
  });

  test("with heartbeats stay with the caller", () => {
    expect(frameVerdict(ethernet(BROADCAST, hostMac(CLIENT), 0x88b5, new Uint8Array(46)))).toBe("local");
    const heartbeat = udp({ from: "172.16.0.2", to: "172.16.0.1", sport: 49152, dport: 3784 });
    expect(frameVerdict(ethernet(BROADCAST, hostMac(CLIENT), 0x0800, heartbeat), 2)).toBe("local");
    expect(frameVerdict(ethernet(BROADCAST, hostMac(CLIENT), 0x0800, udp(spec)), 2)).toBe("unknown_protocol");
  });

  test("leave without a byte of what the buffer held before (FDP_RIP.2)", () => {
    const world = new World();
    world.frames.bytes.fill(0xee);
    world.packet(PORT_INSIDE, udp({ ...spec, payload: Uint8Array.of(1) }));
    const { frame } = world.takeOne();
    expect(frame.length).toBe(60);
    expect([...frame.subarray(14 + 29)]).toEqual(new Array(17).fill(0));
  });
});

describe("IPv4 headers", () => {
  const broken = (edit: (packet: Uint8Array) => void): string => {
    const packet = udp(spec);
    edit(packet);
    return verdictOf(packet);
  };

  test("must be whole and right (RFC 1812 section 5.2.2)", () => {
    expect(broken((p) => (p[0] = 0x65))).toBe("bad_header");
    expect(broken((p) => (p[0] = 0x44))).toBe("bad_header");
    expect(broken((p) => (p[3] = 10))).toBe("bad_header");
    expect(broken((p) => (p[2] = 9))).toBe("truncated");
    expect(broken((p) => (p[10] = p[10]! ^ 1))).toBe("bad_checksum");
  });

  test("of fragments that cannot be put together are dropped, others wait (FFW_RUL_EXT.1.6a)", () => {
    expect(verdictOf(udp({ ...spec, df: false, fragment: 0x2000 }))).toBe("fragment_invalid");
    const world = new World();
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...spec, df: false, fragment: 5 })))).toBe("held");
  });

  test("with source route or record route are dropped (FFW_RUL_EXT.1.6h)", () => {
    const options = Uint8Array.of(131, 7, 4, 1, 2, 3, 4, 0);
    expect(verdictOf(udp({ ...spec, options }))).toBe("bad_option");
  });

  test("transport headers must fit", () => {
    const short = udp(spec);
    short[25] = 200;
    expect(verdictOf(short)).toBe("bad_header");
    const offset = tcp({ ...spec, flags: "S" });
    offset[32] = 0xf0;
    expect(verdictOf(offset)).toBe("bad_header");
  });
});

describe("addresses", () => {
  test("that no source may have (FFW_RUL_EXT.1.6c to f)", () => {
    for (const from of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "169.254.1.1"]) {
      expect(verdictOf(udp({ ...spec, from }))).toBe("bad_source");
    }
    for (const from of ["10.10.0.0", "10.10.0.255"])
      expect(verdictOf(udp({ ...spec, from }))).toBe("bad_source");
  });

  test("that are the cluster's own are no source either (1.7a)", () => {
    for (const from of ["10.10.0.1", "198.51.100.1", "198.51.100.10"]) {
      expect(verdictOf(udp({ ...spec, from }))).toBe("bad_source");
    }
  });

  test("that no destination may have", () => {
    for (const to of ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "198.51.100.255"]) {
      expect(verdictOf(udp({ ...spec, to }))).toBe("bad_destination");
    }
  });

  test("must come from the zone that an answer would leave by (RFC 3704, 1.7c)", () => {
    expect(verdictOf(udp({ from: "10.10.0.9", to: SERVER, sport: 1, dport: 2 }), PORT_OUTSIDE)).toBe(
      "spoofed",
    );
    expect(verdictOf(udp({ from: SERVER, to: "10.10.0.9", sport: 1, dport: 2 }), PORT_INSIDE)).toBe(
      "spoofed",
    );
    expect(verdictOf(udp({ from: "203.0.113.1", to: "10.10.0.9", sport: 1, dport: 2 }), PORT_OUTSIDE)).toBe(
      "denied",
    );
  });

  test("a packet of a known flow from the wrong zone is spoofed, too", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp(spec));
    world.take();
    expect(verdictName(world.packet(PORT_OUTSIDE, udp(spec)))).toBe("spoofed");
  });

  test("of the cluster answer echo and nothing else", () => {
    expect(verdictOf(tcp({ from: CLIENT, to: "10.10.0.1", sport: 1, dport: 22, flags: "S" }))).toBe(
      "bad_destination",
    );
    expect(verdictOf(echo({ from: CLIENT, to: "198.51.100.1", id: 1 }))).toBe("held");
    expect(verdictOf(echo({ from: SERVER, to: "198.51.100.11", id: 1 }), PORT_OUTSIDE)).toBe("held");
    expect(verdictOf(echo({ from: SERVER, to: "10.10.0.1", id: 1 }), PORT_OUTSIDE)).toBe("denied");
  });
});

describe("ICMP", () => {
  test("errors about no known flow are dropped", () => {
    const about = udp({ from: SERVER, to: CLIENT, sport: 1, dport: 2 });
    expect(verdictOf(icmpError({ from: CLIENT, to: SERVER }, 3, 3, about))).toBe("icmp_unrelated");
    const atPool = udp({ from: "198.51.100.10", to: SERVER, sport: 2000, dport: 2 });
    expect(verdictOf(icmpError({ from: SERVER, to: "198.51.100.10" }, 3, 3, atPool), PORT_OUTSIDE)).toBe(
      "icmp_unrelated",
    );
  });

  test("an error to another host than who sent the datagram in it is forged, whatever flow it names (RFC 792)", () => {
    const [far, server] = ["203.0.113.9", "10.10.0.80"];
    const open = rule(0, { fromZone: OUTSIDE, toZone: INSIDE, destinations: [prefix(`${server}/32`)] });
    const world = new World({ policy: { ...LAB_POLICY, snat: [], dnat: [], rules: [open] } });
    world.packet(PORT_OUTSIDE, udp({ from: far, to: server, sport: 4000, dport: 53 }));
    world.take();
    const answer = udp({ from: server, to: far, sport: 53, dport: 4000 });
    const forged = icmpError({ from: far, to: "10.10.0.7" }, 3, 3, answer);
    expect(verdictName(world.packet(PORT_OUTSIDE, forged))).toBe("icmp_unrelated");
    expect(world.take()).toEqual([]);
    world.packet(PORT_OUTSIDE, icmpError({ from: far, to: server }, 3, 3, answer));
    expect(see(world.takeOne().frame).ip).toMatchObject({ to: server, icmpType: 3 });
    expect(world.lost()).toBe(0);
  });

  test("an error about one of the firewall's own numbers of protocols finds no row of the flow table", () => {
    for (const protocol of [200, 203, 205, 208, 211]) {
      const about = ipv4(protocol, { from: CLIENT, to: SERVER }, new Uint8Array(8));
      const error = icmpError({ from: SERVER, to: CLIENT }, 3, 2, about);
      const frame = ethernet(VIRTUAL, hostMac(SERVER), 0x0800, error);
      expect(verdictName(new Packet().parse(frame, 0, frame.length))).toBe("icmp_unrelated");
    }
  });

  test("redirects and source quench are not carried (RFC 6633)", () => {
    for (const type of [4, 5]) {
      expect(verdictOf(icmpError({ from: CLIENT, to: SERVER }, type, 0, udp(spec)))).toBe("icmp_unrelated");
    }
  });

  test("an echo reply that nobody asked for is dropped", () => {
    expect(verdictOf(echo({ from: CLIENT, to: SERVER, id: 1, isReply: true }))).toBe("invalid_state");
  });

  test("an error with a wrong checksum is dropped", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp(spec));
    const sent = world.takeOne().frame;
    const seen = see(sent).ip!;
    const error = icmpError({ from: SERVER, to: seen.from }, 3, 3, sent.subarray(14, 14 + seen.total));
    error[22] = error[22]! ^ 1;
    expect(verdictName(world.packet(PORT_OUTSIDE, error))).toBe("bad_checksum");
  });

  test("an inside router's error leaves with the pool's address (RFC 5508 section 4.2)", () => {
    const world = new World();
    world.packet(PORT_INSIDE, udp(spec));
    const { from, sport } = see(world.takeOne().frame).ip!;
    const answer = udp({ from: SERVER, to: CLIENT, sport: 53, dport: 4000 });
    world.packet(PORT_INSIDE, icmpError({ from: "10.10.0.77", to: SERVER }, 3, 1, answer), "10.10.0.77");
    const error = see(world.takeOne().frame).ip!;
    expect([error.from, error.to, error.headerOk, error.bodyOk]).toEqual([from, SERVER, true, true]);
    const view = new DataView(error.body.buffer, error.body.byteOffset);
    expect(view.getUint16(8 + 20 + 2)).toBe(sport);
  });

  test("errors of the firewall itself are limited (RFC 1812 section 4.3.2.8) and never about errors", () => {
    const world = new World({ limits: { icmpErrorsPerSecond: 3 } });
    for (let i = 0; i < 10; i++) world.packet(PORT_INSIDE, udp({ ...spec, ttl: 1 }));
    expect(world.take().length).toBe(3);
    expect(world.count("icmpErrorsLimited")).toBe(7);
    world.nowMs += 1000;
    world.packet(PORT_INSIDE, icmpError({ from: CLIENT, to: SERVER, ttl: 1 }, 3, 3, udp(spec)));
    expect(world.take()).toEqual([]);
  });
});

describe("limits", () => {
  test("a table full of flows that both ends want refuses new ones and counts them", () => {
    const world = new World({ capacity: 4 });
    for (let i = 0; i < 4; i++) {
      world.packet(PORT_INSIDE, udp({ ...spec, sport: 1 + i }));
      const { from, sport } = see(world.take().at(-1)!.frame).ip!;
      world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: from, sport: 53, dport: sport }));
    }
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...spec, sport: 99 })))).toBe("table_full");
    expect(world.count("flowsNow")).toBe(4);
  });

  test("a neighbour that does not answer loses what waits for it, and is not asked again at once", () => {
    const world = new World({ silent: [SERVER], chunks: 1024 });
    for (let i = 0; i < 600; i++) world.packet(PORT_INSIDE, udp({ ...spec, sport: 1 + i }));
    expect(world.count("heldForNeighbourNow")).toBe(512);
    const probes: string[] = [];
    for (let i = 0; i < 200; i++) {
      world.tick(10);
      for (const { frame } of world.take()) {
        const seen = see(frame);
        if (seen.arp !== undefined) probes.push(`${seen.arp.sender} ${seen.arp.target} ${seen.sourceMac}`);
      }
    }
    expect(new Set(probes)).toEqual(
      new Set([`0.0.0.0 ${SERVER} ${macText(world.ports[PORT_OUTSIDE]!.mac)}`]),
    );
    expect(probes.length).toBeLessThanOrEqual(5);
    expect(world.count("heldForNeighbourNow")).toBe(0);
    expect(world.lost()).toBe(0);
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...spec, sport: 1 })))).toBe("no_neighbour");
    world.tick(1000);
    expect(verdictName(world.packet(PORT_INSIDE, udp({ ...spec, sport: 1 })))).toBe("held");
  });

  test("nothing waits any more when frames are short: receiving comes first", () => {
    const world = new World({ answersArp: false, chunks: 80, limits: { freeFramesMin: 64 } });
    world.view.state.fill(2);
    let refused = 0;
    for (let i = 0; i < 40; i++) {
      if (verdictName(world.packet(PORT_INSIDE, udp({ ...spec, sport: 1 + i }))) === "hold_full") refused++;
    }
    expect(refused).toBe(40 - 16);
    expect(LAB_POLICY.zones.length).toBe(2);
    expect(world.lost()).toBe(0);
  });

  test("the hosts' caches learn nothing from our probes and the gateway's name is never a node's own address", () => {
    const world = new World();
    world.receive(
      PORT_INSIDE,
      ethernet(
        BROADCAST,
        hostMac(CLIENT),
        0x0806,
        arp({ op: 1, senderMac: hostMac(CLIENT), sender: CLIENT, target: "10.10.0.1" }),
      ),
    );
    const answer = see(world.takeOne().frame);
    expect(answer.arp!.senderMac).toMatch(/^02:53:57:00:00:/);
    expect(answer.sourceMac).toBe(answer.arp!.senderMac);
  });
});
