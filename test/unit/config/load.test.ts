import { chmodSync, mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkTls } from "../../../config/files.ts";
import { loadNodeConfig } from "../../../config/load.ts";
import { parseIpv4 } from "../../../src/policy/address.ts";
import { exampleText, Site } from "./site.ts";

/** The examples' last section, as it stands there. */
const LOG = [
  "log:",
  "  level: info                     # fatal | error | warn | info | debug",
  '  flowsPerSecond: 1000            # lines of rules with "log: true"; more are counted, not written',
].join("\n");

let site: Site;
beforeAll(() => {
  site = new Site();
});
afterAll(() => site.remove());

describe("a right file", () => {
  test("every example loads", () => {
    for (const example of ["fw1", "fw2", "witness"] as const) {
      expect(site.load(example).cluster.self.name).toBe(example);
    }
  });

  test("the second node's example differs from the first's only in what is its own", () => {
    const own = (text: string): string[] =>
      text
        .split("\n")
        .slice(2)
        .map((line) => line.replaceAll("fw2", "fw1"));
    expect(own(exampleText("fw2"))).toEqual(own(exampleText("fw1")));
  });

  test("a node gets members, secret, interfaces and policy", () => {
    const config = site.load("fw1");
    expect(config.cluster.members.map((m) => [m.id, m.role, m.weight])).toEqual([
      [1, "node", 1],
      [2, "node", 1],
      [3, "witness", 0],
    ]);
    expect(config.cluster.secret).toEqual(new Uint8Array(32).fill(0x5a));
    expect(config.dataplane?.interfaces).toEqual([
      { name: "eth4", vlan: 100, zone: "dmz", cluster: false },
      { name: "eth1", zone: "inside", cluster: false },
      { name: "eth2", zone: "outside", cluster: false },
      { name: "eth3", cluster: true },
    ]);
    expect(config.dataplane?.policy.zones.map((zone) => [zone.id, zone.name, zone.ports])).toEqual([
      [0, "dmz", [0]],
      [1, "inside", [1]],
      [2, "outside", [2]],
    ]);
    expect(config.dataplane?.policy.timeoutsMs.tcpEstablished).toBe(7_440_000);
    expect(config.dataplane?.flowsMax).toBe(262_144);
  });

  test("a witness has no dataplane", () => {
    expect(site.load("witness").dataplane).toBeUndefined();
  });

  test("zone interfaces come in zone name order, whatever the file's order is, and the cluster link last", () => {
    const config = site.load("fw1", {
      "    - { name: eth1, zone: inside }\n    - { name: eth2, zone: outside }\n    - { name: eth3, cluster: true }":
        "    - { name: eth3, cluster: true }\n    - { name: eth2, zone: outside }\n    - { name: eth1, zone: inside }",
    });
    expect(config.dataplane?.interfaces.map((entry) => entry.name)).toEqual(["eth4", "eth1", "eth2", "eth3"]);
  });

  test("what may be left out has a default", () => {
    const config = site.load("fw1", {
      "  profile: vm": "  #",
      "  socket: /run/synwall/fw1.sock": "  #",
      "  http: { address: 127.0.0.1, port: 9470 }": "  #",
      [LOG]: "",
    });
    expect(config.cluster.profile).toBe("vm");
    expect(config.control.socket).toBe("/run/synwall/fw1.sock");
    expect(config.control.http).toEqual({ address: "127.0.0.1", port: 9470 });
    expect(config.logLevel).toBe("info");
    expect(config.dataplane!.ruleLogsPerSecond).toBe(1000);
  });

  test("the result is frozen", () => {
    const config = site.load("fw1");
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.dataplane?.policy.rules[0])).toBe(true);
  });
});

/** What an operator gets wrong, and the line that they read then. */
const MISTAKES: readonly [what: string, edits: Record<string, string>, line: RegExp][] = [
  [
    "an unknown key",
    { "trust: 100": "trsut: 100" },
    /^fw1.yaml:\d+: zones.inside.trsut: unknown key: remove it, or write trust$/,
  ],
  [
    "an unknown key at the top",
    { "\nlog:": "\nlogging:" },
    /^fw1.yaml:\d+: logging: unknown key: remove it, or write log$|known here/,
  ],
  ["a missing key", { "  node: fw1 ": "  #node: fw1 " }, /cluster.node: is missing: add a name of 1 to 32/],
  [
    "a value of the wrong kind",
    { "slots: 64": "slots: many" },
    /cluster.slots: "many" does not fit: write a power of two, 16 to 1024/,
  ],
  [
    "slots that are no power of two",
    { "slots: 64": "slots: 100" },
    /cluster.slots: 100 does not fit: write a power of two/,
  ],
  ["slots beyond the limit", { "slots: 64": "slots: 2048" }, /cluster.slots: 2048 does not fit/],
  [
    "a choice that does not exist",
    { "profile: vm": "profile: fast" },
    /cluster.profile: "fast" does not fit: write one of lan, vm, wan/,
  ],
  [
    "a duration without a unit",
    { "tcpEstablished: 7440s": "tcpEstablished: 7440" },
    /flows.timeouts.tcpEstablished: 7440 does not fit: write a duration with its unit/,
  ],
  [
    "a time-out that does not exist",
    { "udpReplied: 300s": "udpReplyed: 300s" },
    /flows.timeouts.udpReplyed: unknown key: remove it, or write udpReplied/,
  ],
  [
    "an address that is none",
    { "address: 192.0.2.2": "address: 192.0.2.256" },
    /cluster.members\[1\].address: "192.0.2.256" does not fit: write an IPv4 address/,
  ],
  [
    "a role that does not exist",
    { "role: witness": "role: judge" },
    /cluster.members\[2\](.role)?: .* a member whose role is node or witness/,
  ],
  [
    "overlapping zones",
    { "198.51.100.1/24": "10.10.0.1/16" },
    /zones.outside.gateway: 10.10.0.0\/16 overlaps zone inside \(10.10.0.0\/24\): give each zone its own network/,
  ],
  [
    "a gateway without a prefix length",
    { "10.10.0.1/24": "10.10.0.1" },
    /zones.inside.gateway: "10.10.0.1" does not fit: write an address with its prefix length/,
  ],
  [
    "a gateway that is the broadcast address",
    { "10.10.0.1/24": "10.10.0.255/24" },
    /10.10.0.255 is the network or broadcast address/,
  ],
  [
    "an interface in two zones",
    { "name: eth2, zone": "name: eth1, zone" },
    /dataplane.interfaces\[1\].name: eth1 is listed twice/,
  ],
  [
    "an interface of no zone",
    { "- { name: eth2, zone: outside }": "- { name: eth2 }" },
    /eth2 has neither a zone nor cluster: true/,
  ],
  [
    "an interface of an unknown zone",
    { "name: eth2, zone: outside": "name: eth2, zone: lan" },
    /interfaces\[1\].zone: no zone "lan": use one of inside, outside, dmz/,
  ],
  [
    "a zone without interface",
    { "    - { name: eth2, zone: outside }\n": "" },
    /zones.outside: no interface belongs to zone outside/,
  ],
  [
    "no cluster link",
    { "    - { name: eth3, cluster: true }": "    #" },
    /0 interfaces have cluster: true: mark exactly one/,
  ],
  [
    "a cluster link in a zone's network",
    { "address: 192.0.2.2": "address: 10.10.0.2" },
    /members\[1\].address: 10.10.0.2 is in the network of zone inside/,
  ],
  ["two members with one id", { "id: 2": "id: 1" }, /members\[1\].id: 1 is taken by member fw1/],
  [
    "two members with one name",
    { "name: fw2": "name: fw1" },
    /members\[1\].name: fw1 is taken by an earlier member/,
  ],
  [
    "two members with one address",
    { "192.0.2.2": "192.0.2.1" },
    /members\[1\].address: 192.0.2.1 is taken by member fw1/,
  ],
  [
    "a node that is no member",
    { "  node: fw1 ": "  node: fw9 " },
    /cluster.node: "fw9" is not among cluster.members: use one of fw1, fw2, witness/,
  ],
  [
    "a node that is the witness",
    { "  node: fw1 ": "  node: witness " },
    /cluster.node: witness has the role witness: start it with synwall witness/,
  ],
  [
    "one port twice",
    { "lifeline: 7401": "lifeline: 7400" },
    /cluster.ports.lifeline: 7400 is the grpc port already/,
  ],
  [
    "HTTP on a port of the cluster",
    { "127.0.0.1, port: 9470": "0.0.0.0, port: 7400" },
    /control.http.port: 7400 is a port of the cluster already/,
  ],
  [
    "a pool with the gateway in it",
    { "198.51.100.11]": "198.51.100.1]" },
    /nat.snat\[0\].pool\[1\]: 198.51.100.1 is the gateway of zone outside/,
  ],
  [
    "a pool inside another zone",
    { "198.51.100.11]": "10.10.0.9]" },
    /pool\[1\]: 10.10.0.9 is in the network of zone inside, but replies come from zone outside/,
  ],
  ["a pool address twice", { "198.51.100.11]": "198.51.100.10]" }, /198.51.100.10 is in the pool twice/],
  [
    "a pool that is empty",
    { "[198.51.100.10, 198.51.100.11]": "[]" },
    /nat.snat\[0\].pool: \[\] does not fit: write a list of 1 to 256 entries/,
  ],
  [
    "a DNAT target that nothing leads to",
    { "0.0.0.0/0": "203.0.113.0/24", "to: 10.10.0.250, toPort": "to: 10.99.0.1, toPort" },
    /nat.dnat\[0\].to: 10.99.0.1 is in no zone's network and behind no route/,
  ],
  [
    "DNAT of a protocol without ports",
    { "address: 198.51.100.10, protocol: tcp": "address: 198.51.100.10, protocol: icmp" },
    /nat.dnat\[0\].protocol: only tcp and udp have ports/,
  ],
  [
    "a DNAT range past the last port",
    { "ports: 8080, to: 10.10.0.250, toPort: 80": "ports: 8080-8090, to: 10.10.0.250, toPort: 65530" },
    /nat.dnat\[0\].toPort: .* runs past 65535/,
  ],
  [
    "a route via nowhere",
    { "via: 198.51.100.254": "via: 203.0.113.1" },
    /routes\[0\].via: 203.0.113.1 is not in the network of zone outside/,
  ],
  [
    "a network with host bits",
    { "to: 0.0.0.0/0": "to: 10.0.0.1/8" },
    /routes\[0\].to: "10.0.0.1\/8" does not fit: write a network without host bits/,
  ],
  [
    "a rule for an unknown zone",
    { "name: out, from: inside": "name: out, from: insde" },
    /rules\[0\].from: no zone "insde"/,
  ],
  [
    "a rule's name twice",
    { "name: ping-in": "name: web" },
    /rules\[2\].name: "web" is taken by an earlier rule/,
  ],
  [
    "ports without a protocol",
    { "    protocol: tcp ": "    # " },
    /rules\[1\].sourcePorts: ports need a protocol/,
  ],
  [
    "an ICMP type without ICMP",
    { "inside, protocol: icmp, icmpType": "inside, protocol: udp, icmpType" },
    /rules\[2\].icmpType: icmpType needs the protocol/,
  ],
  [
    "a port range that is upside down",
    { "destinationPorts: [80]": "destinationPorts: [90-80]" },
    /rules\[1\].destinationPorts\[0\]: "90-80" does not fit: write a port or a range/,
  ],
  [
    "a protocol that does not exist",
    { "inside, protocol: icmp, icmpType": "inside, protocol: imcp, icmpType" },
    /rules\[2\].protocol: "imcp" does not fit: write a protocol/,
  ],
  [
    "an action that does not exist",
    { "icmpCode: 0, action: drop": "icmpCode: 0, action: deny" },
    /rules\[2\].action: "deny" does not fit: write one of accept, drop, reject/,
  ],
  [
    "a section that is empty",
    { [LOG]: "log:" },
    /log: null does not fit: write a mapping with the keys level/,
  ],
  ["text that is no YAML", { [LOG]: "log: { level: info" }, /^fw1.yaml:\d+: not valid YAML: /],
  [
    "more lines of rules than a log can bear",
    { "flowsPerSecond: 1000": "flowsPerSecond: 100001" },
    /log.flowsPerSecond: 100001 does not fit: write a whole number, 0 to 100000/,
  ],
  ["a key twice", { "\nlog:": "\ncontrol: {}\nlog:" }, /not valid YAML: .*unique/i],
];

describe("a mistake", () => {
  test.each(MISTAKES)("%s is one line with field, value and fix", (_what, edits, line) => {
    const { code, lines } = site.failure("fw1", edits);
    expect(code).toBe("SW_CONFIG_INVALID");
    expect(
      lines.some((candidate) => line.test(candidate)),
      lines.join("\n"),
    ).toBe(true);
    for (const candidate of lines) expect(candidate).toMatch(/^fw1\.yaml:\d+: .+: .+/);
  });

  test("names the line that it is on", () => {
    const expected =
      exampleText("fw1")
        .split("\n")
        .findIndex((text) => text.includes("198.51.100.1/24")) + 1;
    const { lines } = site.failure("fw1", { "198.51.100.1/24": "10.10.0.1/16" });
    expect(lines[0]).toContain(`fw1.yaml:${expected}: zones.outside.gateway`);
  });

  test("does not hide another one", () => {
    const { lines } = site.failure("fw1", { "id: 2": "id: 1", "name: ping-in": "name: web" });
    expect(lines).toHaveLength(2);
  });

  test("a dataplane on a witness is an unknown key", () => {
    const { lines } = site.failure("witness", { "log: {": "rules: []\nlog: {" });
    expect(lines[0]).toContain("rules: unknown key");
  });

  test("a file that is not there is unreadable", () => {
    expect(() => loadNodeConfig(site.path("absent.yaml"), "node")).toThrowError(
      /absent.yaml: cannot read the configuration \(no such file\)/,
    );
  });
});

describe("the secret", () => {
  test("is refused when others can read it", () => {
    site.write("open.secret", "5a".repeat(32), 0o644);
    const { code, lines } = site.failure("fw1", { "cluster.secret": "open.secret" });
    expect(code).toBe("SW_CONFIG_INVALID");
    expect(lines[0]).toContain("open.secret has mode 0644, so others can read it: run chmod 600");
  });

  test("is refused when it is not 32 bytes in hex", () => {
    site.write("short.secret", "5a".repeat(31), 0o600);
    expect(site.failure("fw1", { "cluster.secret": "short.secret" }).lines[0]).toContain(
      "does not hold 32 bytes in hex",
    );
  });

  test("is unreadable when it is missing", () => {
    const { code, lines } = site.failure("fw1", { "cluster.secret": "no.secret" });
    expect(code).toBe("SW_CONFIG_UNREADABLE");
    expect(lines[0]).toMatch(
      /cluster.secretFile: cannot read no.secret \(no such file\): openssl rand -hex 32/,
    );
  });
});

describe("TLS files", () => {
  test("a missing certificate is one line", () => {
    const { code, lines } = site.failure("fw1", { "fw1.crt": "absent.crt" });
    expect(code).toBe("SW_TLS_INVALID");
    expect(lines).toEqual([
      expect.stringMatching(
        /^fw1.yaml:\d+: cluster.tls.cert: cannot read absent.crt \(no such file\): install this member's certificate there$/,
      ),
    ]);
  });

  test("a certificate that is a directory is one line", () => {
    mkdirSync(site.path("dir.crt"), { recursive: true });
    expect(site.failure("fw1", { "fw1.crt": "dir.crt" }).lines[0]).toContain("it is a directory");
  });

  test("the certificate of another member is refused", () => {
    const { code, lines } = site.failure("fw1", { "fw1.crt": "fw2.crt", "fw1.key": "fw2.key" });
    expect(code).toBe("SW_TLS_INVALID");
    expect(lines[0]).toContain('fw2.crt is for "fw2", but this member is fw1');
  });

  test("a key that does not belong to the certificate is refused", () => {
    expect(site.failure("fw1", { "fw1.key": "fw2.key" }).lines[0]).toContain(
      "fw2.key does not belong to fw1.crt",
    );
  });

  test("a certificate of another CA is refused", () => {
    site.makeCa("ca2");
    site.makeCertificate("stranger", "ca2", "fw1");
    const { lines } = site.failure("fw1", { "fw1.crt": "stranger.crt", "fw1.key": "stranger.key" });
    expect(lines[0]).toContain("stranger.crt is not signed by ca.crt");
  });

  test("a CA of the same name with another key is refused", () => {
    const other = new Site(["fw1"]);
    const paths = { ca: other.path("ca.crt"), cert: site.path("fw1.crt"), key: site.path("fw1.key") };
    expect(checkTls(paths, "fw1", Date.now()).map((m) => m.message)[0]).toContain("is not signed by");
    other.remove();
  });

  test("an expired certificate and one from the future are refused", () => {
    const paths = { ca: site.path("ca.crt"), cert: site.path("fw1.crt"), key: site.path("fw1.key") };
    const day = 86_400_000;
    expect(checkTls(paths, "fw1", Date.now())).toEqual([]);
    expect(checkTls(paths, "fw1", Date.now(), 4).map((m) => m.message)[0]).toMatch(
      /does not name the id that fw1 joined with: .*URI:urn:synwall:member:4$/,
    );
    expect(checkTls(paths, "fw1", Date.now() + 1.5 * day).map((m) => m.message)[0]).toContain(
      "fw1.crt expired on",
    );
    expect(checkTls(paths, "fw1", Date.now() - day).map((m) => m.message)[0]).toContain("is valid only from");
  });

  test("text that is no certificate, and a key that is none, are refused", () => {
    site.write("junk.crt", "hello");
    site.write("junk.key", "hello");
    const { lines } = site.failure("fw1", { "fw1.crt": "junk.crt", "fw1.key": "junk.key" });
    expect(lines.join("\n")).toContain("junk.crt holds no certificate");
    expect(lines.join("\n")).toContain("junk.key holds no private key");
  });

  test("a key that everybody can read is refused", () => {
    chmodSync(site.path("fw1.key"), 0o644);
    expect(site.failure("fw1").lines[0]).toContain("fw1.key has mode 0644, so everybody can read it");
    chmodSync(site.path("fw1.key"), 0o600);
  });

  test("a CA that is an ordinary certificate is refused", () => {
    expect(site.failure("fw1", { "ca: ": "ca: ", "/ca.crt": "/fw2.crt" }).lines.join("\n")).toContain(
      "fw2.crt is not a CA certificate",
    );
  });
});

test("pool addresses are numbers in host order", () => {
  expect(site.load("fw1").dataplane?.policy.snat[0]?.pool).toEqual([
    parseIpv4("198.51.100.10"),
    parseIpv4("198.51.100.11"),
  ]);
});
