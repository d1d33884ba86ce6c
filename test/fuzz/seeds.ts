/** Seeds: valid frames of everything that the engine knows, as templates that mutation starts from. Owns no state. */
import {
  arp,
  echo,
  ethernet,
  icmp,
  icmpError,
  ip6,
  ipPacket,
  ipv4,
  ipv6,
  mac,
  tcp,
  udp,
} from "../unit/dataplane/frames.ts";
import { hostMac } from "../unit/dataplane/world.ts";

export interface Template {
  readonly port: number;
  readonly bytes: Uint8Array;
}

const INSIDE_V4 = ["10.10.0.2", "10.10.0.4", "10.10.0.130"];
const INSIDE_V6 = ["2001:db8:10::2", "fd00:10::5"];
const OUTSIDE_V4 = ["198.51.100.100", "203.0.113.9"];
const OUTSIDE_V6 = ["2001:db8:f::9", "2001:db8:77::1"];
const POOL = ["198.51.100.10", "198.51.100.12", "198.51.100.130"];
const PORTS: readonly [number, number][] = [
  [4000, 53],
  [4001, 80],
  [4002, 21],
  [5060, 5060],
  [4003, 69],
  [4004, 25],
];
const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));
const PAYLOADS: Readonly<Record<number, Uint8Array>> = {
  21: text("PORT 10,10,0,2,15,160\r\n"),
  69: Uint8Array.from([0, 1, ...text("file"), 0, ...text("octet"), 0]),
  5060: text(
    "INVITE sip:b@203.0.113.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.10.0.2:5060\r\nContact: <sip:a@10.10.0.2:5060>\r\n" +
      "Content-Type: application/sdp\r\nContent-Length: 78\r\n\r\nv=0\r\no=a 1 1 IN IP4 10.10.0.2\r\ns=-\r\nc=IN IP4 10.10.0.2\r\nm=audio 7000 RTP/AVP 0\r\n",
  ),
};
const COMMANDS = [
  "EPRT |1|10.10.0.2|4008|\r\n",
  "EPSV\r\n",
  "PASV\r\n",
  "EPRT |2|2001:db8:10::2|4008|\r\n",
].map(text);
const ANSWERS = ["227 Entering Passive Mode (203,0,113,9,20,5)\r\n", "229 Ok (|||5001|)\r\n"].map(text);

/** The virtual MAC of slot 0 of a zone. */
export function gatewayMac(port: number): Uint8Array {
  return mac(`02:53:57:0${port}:00:00`);
}

function framed(port: number, from: string, packet: Uint8Array): Template {
  const type = packet[0]! >> 4 === 6 ? 0x86dd : 0x0800;
  return { port, bytes: ethernet(gatewayMac(port), hostMac(from), type, packet) };
}

/** All that one host sends to another. */
function conversation(port: number, from: string, to: string): Template[] {
  const list: Uint8Array[] = [];
  const isIpv6 = from.includes(":");
  for (const [sport, dport] of PORTS) {
    const ends = port === 0 ? { from, to, sport, dport } : { from, to, sport: dport, dport: sport };
    list.push(udp({ ...ends, payload: PAYLOADS[dport] ?? text("hello") }));
    for (const flags of ["S", "A", "PA", "FA", "R", "RA", "SA", "FPU", ""]) {
      const payload = flags === "PA" ? (PAYLOADS[dport] ?? text("data")) : new Uint8Array(0);
      list.push(tcp({ ...ends, flags, seq: flags === "S" ? 100 : 101, ack: 501, scale: 7, payload }));
    }
  }
  for (const payload of [...COMMANDS, ...ANSWERS]) {
    const ends = port === 0 ? { from, to, sport: 4002, dport: 21 } : { from, to, sport: 21, dport: 4002 };
    list.push(tcp({ ...ends, flags: "PA", seq: 101, ack: 501, payload }));
  }
  list.push(tcp({ from, to, sport: 4001, dport: port === 0 ? 80 : 8080, flags: "S", seq: 7 }));
  list.push(udp({ from, to, sport: 4005, dport: 4006, payload: new Uint8Array(1390).fill(7) }));
  list.push(echo({ from, to, id: 7 }), echo({ from, to, id: 7, isReply: true }));
  const about = isIpv6
    ? echo({ from: to, to: from, id: 7 })
    : udp({ from: to, to: from, sport: 53, dport: 4000 });
  list.push(icmpError({ from, to }, isIpv6 ? 1 : 3, isIpv6 ? 4 : 3, about));
  list.push(
    icmpError(
      { from, to },
      isIpv6 ? 2 : 3,
      isIpv6 ? 0 : 4,
      tcp({ from: to, to: from, sport: 80, dport: 4001, flags: "A" }),
      1280,
    ),
  );
  list.push(icmpError({ from, to }, isIpv6 ? 3 : 11, 0, about));
  list.push(icmp({ from, to }, Uint8Array.from([13, 0, 0, 0, 0, 9, 0, 1, ...new Uint8Array(12)])));
  const sctp = Uint8Array.from([15, 160, 11, 89, 0, 0, 0, 1, 1, 2, 3, 4, 1, 0, 0, 20, ...new Uint8Array(16)]);
  list.push(ipPacket(132, { from, to }, sctp), ipPacket(47, { from, to }, text("\0\0\x08\0gregre")));
  list.push(
    ipPacket(50, { from, to }, text("\0\0\x01\x02\0\0\0\x01secret")),
    ipPacket(200, { from, to }, text("pseudo")),
  );
  return [...list, ...(isIpv6 ? extended(from, to) : cut(from, to))].map((packet) =>
    framed(port, from, packet),
  );
}

/** IPv4: options and fragments. */
function cut(from: string, to: string): Uint8Array[] {
  const whole = udp({ from, to, sport: 4000, dport: 53, payload: new Uint8Array(200).fill(9) }).subarray(20);
  const part = (at: number, end: number, more: boolean): Uint8Array =>
    ipv4(17, { from, to, df: false, fragment: (at >> 3) | (more ? 0x2000 : 0) }, whole.subarray(at, end));
  return [
    part(0, 104, true),
    part(104, 208, false),
    part(96, 208, false),
    part(0, 8, true),
    udp({ from, to, sport: 4000, dport: 53, options: Uint8Array.from([148, 4, 0, 0]) }),
    udp({ from, to, sport: 4000, dport: 53, options: Uint8Array.from([7, 7, 4, 0, 0, 0, 0, 0]) }),
    udp({ from, to, sport: 4000, dport: 53, noChecksum: true }),
    udp({ from, to, sport: 4000, dport: 53, ttl: 1 }),
    udp({ from, to, sport: 4007, dport: 53, df: false, payload: new Uint8Array(1440).fill(5) }),
  ];
}

/** IPv6: extension headers and fragments. */
function extended(from: string, to: string): Uint8Array[] {
  const whole = udp({ from, to, sport: 4000, dport: 53, payload: new Uint8Array(200).fill(9) }).subarray(40);
  const part = (at: number, end: number, more: boolean): Uint8Array =>
    ipv6(
      17,
      { from, to },
      whole.subarray(at, end),
      Uint8Array.from(
        [17, 0, 0, 0 | (at >> 8), 0, 0, 0, 9].map((v, i) =>
          i === 2 ? at >> 8 : i === 3 ? (at & 0xf8) | (more ? 1 : 0) : v,
        ),
      ),
      44,
    );
  const options = Uint8Array.from([17, 0, 1, 4, 0, 0, 0, 0]);
  return [
    part(0, 104, true),
    part(104, 208, false),
    part(0, 208, false),
    ipv6(17, { from, to }, whole, options, 0),
    ipv6(17, { from, to }, whole, Uint8Array.from([60, 0, 1, 4, 0, 0, 0, 0, ...options]), 0),
    ipv6(17, { from, to }, whole, Uint8Array.from([17, 2, 0, 1, 0, 0, 0, 0, ...new Uint8Array(16)]), 43),
    udp({ from, to, sport: 4000, dport: 53, ttl: 1 }),
  ];
}

const bytesOf = (address: string): number[] =>
  (ip6(address).toString(16).padStart(32, "0").match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));

/** Neighbour discovery, ARP, tags and frames that are nothing. */
function link(port: number): Template[] {
  const host6 = port === 0 ? "2001:db8:10::2" : "2001:db8:f::9";
  const gateway6 = port === 0 ? "2001:db8:10::1" : "2001:db8:f::1";
  const host = port === 0 ? "10.10.0.2" : "198.51.100.100";
  const source = hostMac(host);
  const all = new Uint8Array(6).fill(255);
  const nodes = mac("33:33:00:00:00:02");
  const nd = (from: string, to: string, message: number[], destination = nodes): Template => ({
    port,
    bytes: ethernet(
      destination,
      hostMac(host6),
      0x86dd,
      icmp({ from, to, ttl: 255 }, Uint8Array.from(message)),
    ),
  });
  const own = [1, 1, ...hostMac(host6)];
  const asked = (op: number, target: string, sender = host): Template => ({
    port,
    bytes: ethernet(
      op === 1 ? all : mac(`02:00:00:00:01:0${port}`),
      source,
      0x0806,
      arp({ op, senderMac: source, sender, target }),
    ),
  });
  return [
    nd(host6, gateway6, [135, 0, 0, 0, 0, 0, 0, 0, ...bytesOf(gateway6), ...own], mac("33:33:ff:00:00:01")),
    nd("::", "ff02::1:ff00:1", [135, 0, 0, 0, 0, 0, 0, 0, ...bytesOf(gateway6)], mac("33:33:ff:00:00:01")),
    nd("fe80::2", "ff02::2", [133, 0, 0, 0, 0, 0, 0, 0, ...own]),
    nd("fe80::2", "ff02::1", [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, ...own]),
    nd(
      host6,
      gateway6,
      [136, 0, 0, 0, 0x60, 0, 0, 0, ...bytesOf(host6), 2, 1, ...hostMac(host6)],
      gatewayMac(port),
    ),
    nd(
      "fe80::1",
      host6,
      [137, 0, 0, 0, 0, 0, 0, 0, ...bytesOf(host6), ...bytesOf(gateway6)],
      gatewayMac(port),
    ),
    asked(1, port === 0 ? "10.10.0.1" : "198.51.100.1"),
    asked(1, port === 0 ? "10.10.0.250" : "198.51.100.10"),
    asked(1, host),
    asked(2, port === 0 ? "10.10.0.1" : "198.51.100.1"),
    {
      port,
      bytes: ethernet(
        gatewayMac(port),
        source,
        0x8100,
        Uint8Array.from([0, 5, 8, 0, ...udp({ from: host, to: "203.0.113.9", sport: 4000, dport: 53 })]),
      ),
    },
    { port, bytes: ethernet(mac("01:80:c2:00:00:00"), source, 0x0027, text("bpdu")) },
    { port, bytes: ethernet(gatewayMac(port), source, 0x88b5, text("heartbeat")) },
    {
      port,
      bytes: ethernet(
        mac("01:00:5e:00:00:01"),
        source,
        0x0800,
        udp({ from: host, to: "224.0.0.1", sport: 1, dport: 2 }),
      ),
    },
  ];
}

/** A frame as a peer redirects it. */
export function redirected(inner: Uint8Array, zone: number, to: number, isToMeet = false): Uint8Array {
  const from = `172.16.0.${3 - to}`;
  const option = [0x00, 0, 0, 0];
  const geneve = Uint8Array.from([
    3,
    0,
    0x65,
    0x58,
    0,
    0,
    0,
    0,
    ...option,
    0,
    zone,
    0,
    zone,
    0,
    0,
    0,
    isToMeet ? 1 : 0,
  ]);
  const payload = Uint8Array.from([...geneve, ...inner]);
  const packet = udp({ from, to: `172.16.0.${to}`, sport: 50000, dport: 6081, payload, noChecksum: true });
  return ethernet(mac(`02:00:00:00:0${to}:02`), mac(`02:00:00:00:0${3 - to}:02`), 0x0800, packet);
}

export function makeSeeds(): readonly Template[] {
  const seeds: Template[] = [...link(0), ...link(1)];
  for (const host of INSIDE_V4) {
    for (const far of [...OUTSIDE_V4, "198.51.100.10", "10.10.0.1"])
      seeds.push(...conversation(0, host, far));
  }
  for (const host of INSIDE_V6) {
    for (const far of [...OUTSIDE_V6, "64:ff9b::cb00:7109", "2001:db8:10::1"])
      seeds.push(...conversation(0, host, far));
  }
  for (const far of OUTSIDE_V4) for (const pool of POOL) seeds.push(...conversation(1, far, pool));
  for (const far of OUTSIDE_V6) {
    for (const host of ["2001:db8:10::2", "2001:db8:10::250", "2001:db8:e::5"])
      seeds.push(...conversation(1, far, host));
  }
  seeds.push(
    ...seeds
      .filter((_, i) => i % 29 === 0)
      .map(({ port, bytes }) => ({ port: 2, bytes: redirected(bytes, port, 2) })),
  );
  const beat = udp({ from: "172.16.0.1", to: "172.16.0.2", sport: 7, dport: 7946 });
  seeds.push({ port: 2, bytes: ethernet(mac("02:00:00:00:02:02"), mac("02:00:00:00:01:02"), 0x0800, beat) });
  return seeds.map(({ port, bytes }) => ({ port, bytes: bytes.subarray(0, 1514) }));
}
