import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { CaptureReader } from "../../../src/io/pcap/reader.ts";
import { packetText } from "../../../src/node/replay/packet-text.ts";
import { viewPacket } from "../../../src/node/replay/packet-view.ts";
import { trace } from "../../../src/node/replay/trace.ts";
import { Site } from "../config/site.ts";
import { echo, icmpError, tcp, udp } from "../dataplane/frames.ts";
import { LAB_POLICY } from "../dataplane/world.ts";
import { type Captured, cooked, framed, pcap, pcapng } from "../io/pcap/captures.ts";
import { run, withAdmin } from "./admin.ts";

const site = new Site(["fw1"]);
afterAll(() => site.remove());

const POLICY = site.write(
  "policy.yaml",
  `
zones:
  inside: { trust: 100, gateway: 10.10.0.1/24 }
  outside: { trust: 0, gateway: 198.51.100.1/24 }
routes:
  - { to: 0.0.0.0/0, zone: outside, via: 198.51.100.254 }
nat:
  snat:
    - { from: inside, to: outside, pool: [198.51.100.10] }
  dnat:
    - { zone: outside, address: 198.51.100.10, protocol: tcp, ports: 8080, to: 10.10.0.250, toPort: 80 }
rules:
  - { name: out, from: inside, to: outside, action: accept }
  - { name: web, from: outside, to: inside, protocol: tcp, destinationPorts: [80], translated: true, action: accept }
  - { name: no-ping, from: outside, to: inside, protocol: icmp, action: drop }
`,
);

const CLIENT = { from: "203.0.113.9", to: "198.51.100.10", sport: 4000, dport: 8080 };
const SERVER = { from: "10.10.0.250", to: "203.0.113.9", sport: 80, dport: 4000 };
/** A visit to the forwarded port, as the firewall's neighbours would see it. */
const VISIT: readonly Uint8Array[] = [
  tcp({ ...CLIENT, flags: "S", seq: 100 }),
  tcp({ ...SERVER, flags: "SA", seq: 500, ack: 101 }),
  tcp({ ...CLIENT, flags: "A", seq: 101, ack: 501 }),
  tcp({ ...CLIENT, flags: "A", seq: 900_000, ack: 501 }),
  icmpError(
    { from: "10.10.0.250", to: "203.0.113.9" },
    3,
    4,
    tcp({ ...CLIENT, to: "10.10.0.250", dport: 80, flags: "A" }),
    1400,
  ),
];
const START_US = 1_700_000_000_000_000;

function timed(packets: readonly Uint8Array[], stepUs = 1000): Captured[] {
  return packets.map((bytes, i) => ({ us: START_US + i * stepUs, bytes }));
}

function write(name: string, file: Uint8Array): string {
  const path = site.path(name);
  writeFileSync(path, file);
  return path;
}

describe("synwall replay", () => {
  test("prints each packet with verdict, rule and translation, then flows and sums", async () => {
    const capture = write("visit.pcap", pcap(timed(VISIT), { link: 101 }));
    const { status, out, err } = await run("replay", capture, "--policy", POLICY);
    expect([status, err]).toEqual([0, ""]);
    expect(
      out,
    ).toBe(`   0.000000  forwarded      web          outside: tcp 203.0.113.9:4000 > 198.51.100.10:8080 SYN -> inside: 203.0.113.9:4000 > 10.10.0.250:80
   0.001000  forwarded      web          inside: tcp 10.10.0.250:80 > 203.0.113.9:4000 SYN ACK -> outside: 198.51.100.10:8080 > 203.0.113.9:4000
   0.002000  forwarded      web          outside: tcp 203.0.113.9:4000 > 198.51.100.10:8080 ACK -> inside: 203.0.113.9:4000 > 10.10.0.250:80
   0.003000  out_of_window  web          outside: tcp 203.0.113.9:4000 > 198.51.100.10:8080 ACK  (outside the TCP window)
   0.004000  forwarded      web          inside: icmp 10.10.0.250 > 203.0.113.9 type 3 code 4 about (tcp 203.0.113.9:4000 > 10.10.0.250:80 ACK) -> outside: icmp 198.51.100.10 > 203.0.113.9 type 3 code 4 about (tcp 203.0.113.9:4000 > 198.51.100.10:8080 ACK)

flows at the end: 1
PROTO  STATE        FROM              TO                  SOURCE AFTER  DESTINATION AFTER  PACKETS    ENDS IN  RULE
tcp    established  203.0.113.9:4000  198.51.100.10:8080  -             10.10.0.250:80     2/1      2 h 3 min  web

packets   5 read, 5 replayed
        4 forwarded        goes on
        1 out_of_window    outside the TCP window
rule hits, for first packets of flows:
        1 web
`);
  });

  test("--json prints one object a line", async () => {
    const capture = write("json.pcapng", pcapng(timed(VISIT), { link: 101 }));
    const { status, out } = await run("replay", capture, "--policy", POLICY, "--json");
    expect(status).toBe(0);
    const lines = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ type }) => type)).toEqual([
      ...new Array<string>(5).fill("packet"),
      "flow",
      "summary",
    ]);
    expect(lines[0]).toMatchObject({
      number: 1,
      time: "2023-11-14T22:13:20.000Z",
      zone: "outside",
      verdict: "forwarded",
      rule: "web",
      packet: {
        protocol: "tcp",
        source: "203.0.113.9:4000",
        destination: "198.51.100.10:8080",
        flags: "SYN",
      },
      sent: [{ zone: "inside", packet: { destination: "10.10.0.250:80" } }],
    });
    expect(lines[6]).toMatchObject({
      read: 5,
      verdicts: { forwarded: 4, out_of_window: 1 },
      ruleHits: { web: 1 },
    });
  });

  test("--write keeps what leaves, translated, in the capture's time", async () => {
    const capture = write("in.pcap", pcap(timed(VISIT), { link: 101 }));
    const written = site.path("out.pcap");
    await run("replay", capture, "--policy", POLICY, "--summary", "--write", written);
    const reader = new CaptureReader(written);
    const texts: string[] = [];
    for (let packet = reader.next(); packet !== undefined; packet = reader.next()) {
      texts.push(`${packet.timeMs - START_US / 1000} ${packetText(viewPacket(packet.bytes, 14)!)}`);
    }
    expect(texts.slice(0, 2)).toEqual([
      "0 tcp 203.0.113.9:4000 > 10.10.0.250:80 SYN",
      "1 tcp 198.51.100.10:8080 > 203.0.113.9:4000 SYN ACK",
    ]);
    expect(texts).toHaveLength(4);
  });

  test("time is the capture's: a flow ends when its time-out passes, also within a jump of hours", async () => {
    const packets = [
      udp({ from: "10.10.0.5", to: "198.51.100.100", sport: 1, dport: 53 }),
      udp({ from: "10.10.0.5", to: "198.51.100.100", sport: 1, dport: 53 }),
    ];
    const capture = write("hours.pcap", pcap(timed(packets, 7_200_000_000), { link: 101 }));
    const { out } = await run("replay", capture, "--policy", POLICY, "--json");
    expect(out).toContain('"ruleHits":{"out":2}');
    expect(out.match(/"type":"flow"/g)).toHaveLength(1);
  });

  test("a packet that no rule allows names the default; one that a rule drops names it", async () => {
    const packets = [
      udp({ from: "203.0.113.9", to: "10.10.0.5", sport: 1, dport: 53 }),
      echo({ from: "203.0.113.9", to: "10.10.0.5", id: 1 }),
    ];
    const capture = write("denied.pcap", pcap(timed(packets), { link: 113 }));
    const { out } = await run(
      "replay",
      write("denied.pcap", pcap(timed(packets.map(cooked)), { link: 113 })),
      "--policy",
      POLICY,
    );
    expect(capture).toContain("denied");
    expect(out).toMatch(/denied +default +outside: udp/);
    expect(out).toMatch(/denied +no-ping +outside: icmp/);
  });

  test("--zone lets all enter by one zone, so that a spoofed source shows", async () => {
    const packet = udp({ from: "10.10.0.5", to: "198.51.100.100", sport: 1, dport: 53 });
    const capture = write("spoofed.pcap", pcap(timed([packet]), { link: 101 }));
    const { out } = await run("replay", capture, "--policy", POLICY, "--zone", "outside", "--summary");
    expect(out).toContain("1 spoofed");
  });

  test("--in tells zones by MAC or interface and leaves the rest out", async () => {
    const packet = udp({ from: "10.10.0.5", to: "198.51.100.100", sport: 1, dport: 53 });
    const there = framed(packet);
    const elsewhere = Uint8Array.from([2, 0, 0, 0, 0, 9, ...there.subarray(6)]);
    const byMac = write("mac.pcap", pcap(timed([there, elsewhere, framed(packet, 0x0806)])));
    const mac = await run(
      "replay",
      byMac,
      "--policy",
      POLICY,
      "--in",
      "02:00:00:00:00:01=inside",
      "--summary",
    );
    expect(mac.out).toContain("3 read, 1 replayed");
    expect(mac.out).toContain("1: not to the firewall");
    expect(mac.out).toContain("1: not IP");
    const byName = write("name.pcapng", pcapng(timed([there]), { name: "eth1" }));
    const name = await run("replay", byName, "--policy", POLICY, "--in", "eth1=inside", "--summary");
    expect(name.out).toContain("1 forwarded");
  });

  test("a packet that the capture cut short is judged with zeros for what is missing", async () => {
    const packet = udp({
      from: "10.10.0.5",
      to: "198.51.100.100",
      sport: 1,
      dport: 53,
      payload: new Uint8Array(400),
    });
    const cut = { us: START_US, bytes: framed(packet).subarray(0, 60), original: packet.length + 14 };
    const { out } = await run("replay", write("cut.pcap", pcap([cut])), "--policy", POLICY, "--summary");
    expect(out).toContain("cut short 1: what the capture lacks was filled with zeros");
    expect(out).toContain("1 forwarded");
  });

  test("a capture that ends within a packet: what was read stands, one line, exit status 2", async () => {
    const whole = pcap(timed(VISIT), { link: 101 });
    const capture = write("torn.pcap", whole.subarray(0, whole.length - 1));
    const { status, out, err } = await run("replay", capture, "--policy", POLICY, "--summary");
    expect(status).toBe(2);
    process.exitCode = 0;
    expect(out).toContain("packets   4 read");
    expect(err).toMatch(
      /^synwall: \S+torn.pcap: damaged at byte \d+: the file ends within a packet; what is above .+\n$/,
    );
  });

  test("a node's file is as good, with its secret on another machine", async () => {
    const config = site.configure("fw1", { [site.path("cluster.secret")]: "/nowhere/secret" });
    const capture = write("node.pcap", pcap(timed(VISIT), { link: 101 }));
    const { status, out } = await run("replay", capture, "--policy", config, "--summary");
    expect(status).toBe(0);
    expect(out).toContain("4 forwarded");
  });

  test.each([
    [["--zone", "dmz"], "--zone dmz: the policy has no such zone: use one of inside, outside"],
    [["--in", "eth1=dmz"], "--in dmz: the policy has no such zone: use one of inside, outside"],
    [["--in", "eth1"], "write it like 02:53:57:00:00:1c=inside or eth1=inside"],
    [
      ["--zone", "inside", "--in", "eth1=inside"],
      "--zone and --in: only one of them tells the zone: leave one out",
    ],
    [["--mtu", "99"], "use a whole number, 576 to 65535"],
    [["--write", "/nowhere/x.pcap"], "/nowhere/x.pcap: cannot write the capture (ENOENT)"],
    [["--what"], "unknown option '--what'"],
  ])("%j is one line and exit status 2", async (args, text) => {
    const capture = write("one.pcap", pcap([]));
    const { status, err } = await run("replay", capture, "--policy", POLICY, ...args);
    expect(status).toBe(2);
    expect(err).toContain(text);
    expect(err.trim().split("\n")).toHaveLength(1);
  });

  test("a mistake in the policy names line, field and fix", async () => {
    const wrong = site.write("wrong.yaml", readFileSync(POLICY, "utf8").replace("trust: 100", "trsut: 100"));
    const { status, err } = await run("replay", write("one.pcap", pcap([])), "--policy", wrong);
    expect(status).toBe(2);
    expect(err).toContain("wrong.yaml:3: zones.inside.trsut: unknown key: remove it, or write trust");
  });
});

describe("synwall trace", () => {
  const ask = (...args: string[]): ReturnType<typeof run> => run("trace", ...args, "--config", POLICY);

  test("tells each step of a packet that is forwarded", async () => {
    const { status, out } = await ask("--src", "203.0.113.9:4000", "--dst", "198.51.100.10:8080");
    expect(status).toBe(0);
    expect(out).toBe(`packet   tcp 203.0.113.9:4000 > 198.51.100.10:8080 SYN
in       zone outside  (by the route back to its source; --in names another)
dnat     198.51.100.10:8080 -> 10.10.0.250:80
route    10.10.0.0/24 in zone inside, next hop 10.10.0.250
slot     not known: the file holds a policy alone, and slots are hashed with the cluster's secret
rule     2 "web": accept
snat     none
out      zone inside: tcp 203.0.113.9:4000 > 10.10.0.250:80 SYN
verdict  passes: forwarded (goes on)
`);
  });

  test("a denied one: which rule or the default, and what would allow it", async () => {
    const byDefault = await ask("--src", "203.0.113.9", "--dst", "10.10.0.7:22");
    expect(byDefault.out).toContain("rule     no rule matches: the default drops it\n");
    expect(byDefault.out).toContain(
      "route    10.10.0.0/24 in zone inside, next hop 10.10.0.7  (if a rule allowed it)\n",
    );
    expect(byDefault.out).toContain(
      "do       to allow it, add a rule: { name: NAME, from: outside, to: inside, destinations: [10.10.0.7], protocol: tcp, destinationPorts: [22], action: accept }\n",
    );
    const byRule = await ask("--src", "203.0.113.9", "--dst", "10.10.0.7");
    expect(byRule.out).toContain('rule     3 "no-ping": drop\n');
    expect(byRule.out).toContain("verdict  dropped: denied (a rule denies it)\n");
    expect(byRule.out).toContain("do       to allow it, change rule 3, or put before it:");
  });

  test("IPv6 goes the same way, and a rejected packet shows its answer", async () => {
    const both = site.write(
      "both.yaml",
      `
zones:
  inside: { trust: 100, gateway6: "2001:db8:1::1/64" }
  outside: { trust: 0, gateway6: "2001:db8:2::1/64" }
routes:
  - { to: "::/0", zone: outside, via: "2001:db8:2::fe" }
rules:
  - { name: out, from: inside, to: outside, action: accept }
  - { name: in, from: outside, to: inside, protocol: tcp, action: reject }
`,
    );
    const out = await run(
      "trace",
      "--src",
      "2001:db8:1::5",
      "--dst",
      "[2001:db8:9::9]:443",
      "--config",
      both,
    );
    expect(out.out).toContain("route    ::/0 in zone outside, next hop 2001:db8:2::fe\n");
    expect(out.out).toContain("out      zone outside: tcp [2001:db8:1::5]:40000 > [2001:db8:9::9]:443 SYN\n");
    const back = await run(
      "trace",
      "--src",
      "2001:db8:9::9",
      "--dst",
      "[2001:db8:1::5]:22",
      "--config",
      both,
    );
    expect(back.out).toContain('rule     2 "in": reject\n');
    expect(back.out).toContain("answer   tcp [2001:db8:1::5]:22 > [2001:db8:9::9]:40000 RST ACK\n");
    const ping = await run("trace", "--src", "2001:db8:1::5", "--dst", "2001:db8:1::1", "--config", both);
    expect(ping.out).toContain("verdict  passes: answered");
  });

  test.each([
    [["--src", "10.10.0.5", "--dst", "203.0.113.9:7", "--proto", "sctp"], "passes: forwarded"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9", "--in", "outside"], "dropped: spoofed"],
    [["--src", "127.0.0.1", "--dst", "203.0.113.9"], "dropped: bad_source"],
    [["--src", "203.0.113.9", "--dst", "198.51.100.10:81"], "dropped: bad_destination"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9", "--proto", "gre"], "passes: forwarded"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9", "--icmp-type", "3"], "dropped: icmp_unrelated"],
    [["--src", "10.10.0.5", "--dst", "10.10.0.1"], "passes: answered"],
    [["--src", "203.0.113.9", "--dst", "10.10.0.1"], "dropped: denied"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9:53", "--proto", "udp"], "passes: forwarded"],
  ])("%j: %s", async (args, verdict) => {
    expect((await ask(...args)).out).toContain(`verdict  ${verdict}`);
  });

  test("with the cluster's secret the slot and the SNAT port are those of the cluster", async () => {
    const config = site.configure("fw1");
    const args = ["trace", "--src", "10.10.0.5", "--dst", "203.0.113.9:443", "--json", "--config", config];
    const report = JSON.parse((await run(...args)).out) as { slot: object; snat: object; out: object };
    expect(report.slot).toEqual({ slot: expect.any(Number) });
    expect(report.snat).toMatchObject({ from: "10.10.0.5:40000" });
    expect(report.out).toMatchObject({ zone: "outside", interface: "eth2" });
  });

  test("a running node is asked, and knows the owner", async () => {
    const facts = {
      policy: LAB_POLICY,
      slots: 64,
      key: new Uint32Array(8).fill(5),
      portNames: ["eth1", "eth2"],
      ownerOf: () => ({ owner: "fw2", backup: "fw1" }),
    };
    await withAdmin({ trace: (request) => trace(facts, request) }, async (socket) => {
      const { status, out } = await run(
        ...["trace", "--src", "10.10.0.5", "--dst", "203.0.113.9:443", "--in", "eth1", "--socket", socket],
      );
      expect(status).toBe(0);
      expect(out).toMatch(/^slot {5}\d+, owner fw2, backup fw1$/m);
      expect(out).toContain("in       zone inside, eth1\n");
    });
  });

  test.each([
    [["--src", "10.10.0", "--dst", "203.0.113.9:443"], "--src 10.10.0: does not fit: write an address"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9:x"], "--dst 203.0.113.9:x: does not fit"],
    [
      ["--src", "10.10.0.5", "--dst", "2001:db8::1"],
      "--dst 2001:db8::1: does not fit: write an address of the same family",
    ],
    [
      ["--src", "10.10.0.5", "--dst", "203.0.113.9", "--proto", "tcp"],
      "write an address with a port for tcp, like 203.0.113.9:443",
    ],
    [
      ["--src", "10.10.0.5", "--dst", "203.0.113.9:1", "--icmp-type", "8"],
      "--icmp-type 8: does not fit: write left out",
    ],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9:1", "--proto", "tpc"], "use one of icmp"],
    [["--src", "10.10.0.5", "--dst", "203.0.113.9", "--icmp-type", "256"], "use a whole number, 0 to 255"],
    [
      ["--src", "10.10.0.5", "--dst", "203.0.113.9", "--in", "dmz"],
      "--in dmz: does not fit: write one of the zones inside, outside",
    ],
    [["--dst", "203.0.113.9"], "required option '--src"],
  ])("%j is one line and exit status 2", async (args, text) => {
    const { status, out, err } = await ask(...args);
    expect([status, out]).toEqual([2, ""]);
    expect(err).toContain(text);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});
