/**
 * FFW_RUL_EXT.1.6 and 1.7: packets that no rule can permit. The rules here permit all, so what is dropped is dropped by itself.
 */
import { describe, expect, test } from "vitest";
import { echo, ethernet, icmp, icmpError, ip6, ipv4, ipv6, mac, see, udp } from "../dataplane/frames.ts";
import {
  hostMac,
  INSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  verdictName,
  type World,
} from "../dataplane/world.ts";
import {
  FAMILIES,
  type Family,
  fragment,
  fragments,
  IPV4,
  IPV6,
  PLAIN,
  passed,
  rules,
  verdict,
  world,
} from "./families.ts";

/** A firewall that permits everything it may. */
const open = (): World => world({ rules: rules({}) });
const port = { sport: 4000, dport: 53 };

/** The verdict of a datagram with these addresses from inside, by itself and about a known flow. */
function between(from: string, to: string): string {
  const firewall = open();
  return verdict(
    firewall,
    udp({ from, to, ...port }),
    PORT_INSIDE,
    from.includes(":") ? IPV6.client : IPV4.client,
  );
}

/** The verdict of an ICMP error about a known flow, from a router that says it has this address. */
function errorFrom(family: Family, from: string): string {
  const firewall = open();
  const query = udp({ from: family.client, to: family.server, ...port });
  verdict(firewall, query);
  const error = icmpError({ from, to: family.client }, family.isIpv6 ? 1 : 3, 1, query);
  return verdict(firewall, error, PORT_OUTSIDE, family.server);
}

function sourceIsRefused(family: Family, from: string): void {
  expect([from, between(from, family.server)]).toEqual([from, "bad_source"]);
  expect([from, errorFrom(family, from)]).toEqual([from, "bad_source"]);
}

describe.each(FAMILIES)("$name", (family) => {
  const ends = { from: family.client, to: family.server };
  const whole = udp({ ...ends, ...port, df: false, payload: new Uint8Array(64) });
  const header = whole.subarray(0, family.isIpv6 ? 40 : 20);

  test("FFW_RUL_EXT.1.6a invalid fragments are dropped and counted", () => {
    const tiny = [
      [fragment(header, new Uint8Array(9), 0, true, 1), "fragment_invalid"],
      [fragment(header, new Uint8Array(16), 65_528, false, 1), "fragment_invalid"],
    ] as const;
    for (const [packet, reason] of tiny) expect(verdict(open(), packet)).toBe(reason);
    const firewall = open();
    const [first, second] = fragments(whole, 40);
    expect(verdict(firewall, first!)).toBe("held");
    const overlapping = fragment(
      header,
      second!.subarray(header.length + (family.isIpv6 ? 8 : 0)),
      32,
      false,
      7,
    );
    expect(verdict(firewall, overlapping)).toBe("fragment_overlap");
    expect(verdict(firewall, second!)).toBe("fragment_overlap");
    expect(firewall.take()).toEqual([]);
    expect(firewall.lost()).toBe(0);
  });

  test("FFW_RUL_EXT.1.6b fragments that cannot be reassembled are dropped and counted", () => {
    const firewall = open();
    const [first] = fragments(whole, 40);
    const before = [...firewall.counters];
    expect(verdict(firewall, first!)).toBe("held");
    for (let i = 0; i < 700; i++) firewall.tick(100);
    expect(passed(firewall)).toEqual([]);
    expect(firewall.lost()).toBe(0);
    const moved = firewall.counters.findIndex(
      (value, i) => i >= 16 && value > before[i]! && verdictName(i) === "fragment_timeout",
    );
    expect(moved).toBeGreaterThan(0);
  });

  test("FFW_RUL_EXT.1.6d a multicast source is dropped", () => {
    for (const from of family.isIpv6 ? ["ff02::1", "ff0e::1"] : ["224.0.0.1", "239.255.255.255"])
      sourceIsRefused(family, from);
  });

  test("FFW_RUL_EXT.1.6e a loopback source is dropped", () => {
    for (const from of family.isIpv6 ? ["::1"] : ["127.0.0.1", "127.255.0.1"]) sourceIsRefused(family, from);
  });

  test("FFW_RUL_EXT.1.6h source routes and record route are dropped", () => {
    if (family.isIpv6) {
      const segment = whole.slice(40);
      for (const type of [0, 2]) {
        const routing = Uint8Array.of(17, 0, type, 1, 0, 0, 0, 0);
        expect(verdict(open(), ipv6(17, ends, segment, routing, 43))).toBe("bad_option");
      }
      return;
    }
    for (const kind of [7, 131, 137]) {
      for (const pad of [[], [1, 1, 1, 1]]) {
        const options = Uint8Array.of(...pad, kind, 7, 4, 1, 2, 3, 4, 0);
        expect(verdict(open(), ipv4(17, { ...ends, options }, whole.slice(20)))).toBe("bad_option");
      }
    }
  });

  test("FFW_RUL_EXT.1.7a a source that is the receiving interface's address is dropped", () => {
    sourceIsRefused(family, family.outerGateway);
    expect(between(family.gateway, family.server)).toBe("bad_source");
  });

  test("FFW_RUL_EXT.1.7b a link-local source or destination is dropped", () => {
    const local = family.isIpv6 ? "fe80::99" : "169.254.7.7";
    sourceIsRefused(family, local);
    expect(between(family.client, local)).toBe("bad_destination");
  });

  test("FFW_RUL_EXT.1.7c a source that is not of the receiving interface's networks is dropped", () => {
    const stranger = family.isIpv6 ? "2001:db8:77::1" : "203.0.113.1";
    expect(between(stranger, family.server)).toBe("spoofed");
    const inner = udp({ from: family.client2, to: family.client, ...port });
    expect(verdict(open(), inner, PORT_OUTSIDE)).toBe("spoofed");
    expect(errorFrom(family, family.client2)).toBe("spoofed");
    expect(verdict(open(), udp({ from: stranger, to: family.client, ...port }), PORT_OUTSIDE)).toBe(
      "forwarded",
    );
  });
});

test("FFW_RUL_EXT.1.6c IPv4: a broadcast source is dropped", () => {
  for (const from of ["255.255.255.255", "198.51.100.255", "198.51.100.0", "10.10.0.255"])
    sourceIsRefused(IPV4, from);
});

test("FFW_RUL_EXT.1.6f IPv4: 0.0.0.0 and 240.0.0.0/4 are dropped as source and destination", () => {
  for (const address of ["0.0.0.0", "240.0.0.1", "255.255.255.254"]) {
    sourceIsRefused(IPV4, address);
    expect([address, between(IPV4.client, address)]).toEqual([address, "bad_destination"]);
  }
});

test("FFW_RUL_EXT.1.6g IPv6: the unspecified address and what is outside 2000::/3 are dropped as source and destination", () => {
  for (const address of ["::", "::2", "1fff::1", "4000::1", "64:ff9b::a0a:2", "fec0::1", "fbff::1"]) {
    sourceIsRefused(IPV6, address);
    expect([address, between(IPV6.client, address)]).toEqual([address, "bad_destination"]);
  }
  for (const address of ["2000::1", "3fff::1"]) expect(between(IPV6.client, address)).toBe("forwarded");
});

test("FFW_RUL_EXT.1.6g IPv6: unique local addresses are routed unless the zone's bogons say no", () => {
  const zones = (bogons: string[]) =>
    PLAIN.zones.map((zone) =>
      zone.id === INSIDE
        ? {
            ...zone,
            bogons: bogons.map(prefix),
            ipv6: { ...zone.ipv6!, gateway: ip6("fd00::1"), prefix: prefix("fd00::/64") },
          }
        : zone,
    );
  const packet = udp({ from: "fd00::2", to: IPV6.server, ...port });
  expect(verdict(world({ zones: zones([]) }), packet)).toBe("forwarded");
  expect(verdict(world({ zones: zones(["fc00::/7"]) }), packet)).toBe("bad_source");
});

test("FFW_RUL_EXT.1.6g IPv6: duplicate address detection from :: is heard and answered", () => {
  const target = new Uint8Array(16);
  for (let i = 0; i < 16; i++) target[i] = Number((ip6(IPV6.gateway) >> BigInt(120 - 8 * i)) & 255n);
  const message = Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0, ...target);
  const probe = icmp({ from: "::", to: "ff02::1:ff00:1", ttl: 255 }, message);
  const firewall = open();
  firewall.receive(PORT_INSIDE, ethernet(mac("33:33:ff:00:00:01"), hostMac(IPV6.client), 0x86dd, probe));
  expect(see(firewall.takeOne().frame).ip).toMatchObject({
    from: IPV6.gateway,
    to: "ff02::1",
    icmpType: 136,
  });
  expect(verdict(firewall, echo({ from: "::", to: IPV6.server, id: 1 }), PORT_INSIDE, IPV6.client)).toBe(
    "bad_source",
  );
});
