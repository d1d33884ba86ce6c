import { expect, test } from "vitest";
import { type LoggedPacket, RuleLogReader } from "../../../src/dataplane/rule-log.ts";
import { formatEnd } from "../../../src/policy/address.ts";
import { echo, see, tcp, udp } from "./frames.ts";
import {
  INSIDE,
  LAB_POLICY,
  OUTSIDE,
  PORT_INSIDE,
  PORT_OUTSIDE,
  prefix,
  rule,
  verdictName,
  World,
  type WorldOptions,
} from "./world.ts";

const CLIENT = "10.10.0.2";
const SERVER = "198.51.100.100";
const WEB = [prefix("10.10.0.250/32")];

/** Out and the web server are logged, what comes in otherwise is denied and logged, DNS goes out without a word. */
const RULES = [
  rule(0, { fromZone: INSIDE, toZone: OUTSIDE, protocol: 17, destinationPorts: [{ from: 53, to: 53 }] }),
  rule(1, { fromZone: INSIDE, toZone: OUTSIDE, log: true }),
  rule(2, { fromZone: OUTSIDE, toZone: INSIDE, protocol: 6, destinations: WEB, log: true }),
  rule(3, { fromZone: OUTSIDE, toZone: INSIDE, action: 0, log: true }),
];

function logging(options: WorldOptions = {}): World {
  return new World({ policy: { ...LAB_POLICY, rules: RULES }, ruleLogRecords: 64, ...options });
}

/** What was logged since the last call, as one line each. */
function logged(world: World): string[] {
  return new RuleLogReader(world.ruleLog!).take(1000).map(lineOf);
}

function lineOf({ rule: index, verdict, protocol, fromZone, toZone, ...packet }: LoggedPacket): string {
  const end = ({ address, port }: LoggedPacket["source"]): string => formatEnd(address, port);
  const { source, destination, translated } = packet;
  const after = `${end(translated.source)} > ${end(translated.destination)}`;
  return `${index} ${verdictName(verdict)} ${protocol} ${fromZone}-${toZone} ${end(source)} > ${end(destination)} = ${after}`;
}

test("the first packet of a flow is logged with what became of it and its translation, later ones are not", () => {
  const world = logging();
  const syn = { from: CLIENT, to: SERVER, sport: 4000, dport: 80 };
  world.packet(PORT_INSIDE, tcp({ ...syn, flags: "S" }));
  const [line, ...more] = logged(world);
  expect(more).toEqual([]);
  expect(line).toMatch(
    /^1 held 6 0-1 10\.10\.0\.2:4000 > 198\.51\.100\.100:80 = 198\.51\.100\.1[01]:\d+ > 198\.51\.100\.100:80$/,
  );
  world.packet(PORT_INSIDE, tcp({ ...syn, flags: "S" }));
  expect(logged(world)).toEqual([]);
  expect(world.count("ruleLogRecords")).toBe(1);
});

test("a flow to a forwarded port shows where it was led", () => {
  const world = logging();
  world.packet(
    PORT_OUTSIDE,
    tcp({ from: SERVER, to: "198.51.100.10", sport: 4000, dport: 8080, flags: "S" }),
  );
  expect(logged(world)).toEqual([
    "2 held 6 1-0 198.51.100.100:4000 > 198.51.100.10:8080 = 198.51.100.100:4000 > 10.10.0.250:80",
  ]);
});

test("each packet that a rule denies is logged, and one that no rule matches is not", () => {
  const world = logging();
  const knock = { from: SERVER, to: CLIENT, sport: 1, dport: 22 };
  for (let i = 0; i < 2; i++) world.packet(PORT_OUTSIDE, udp(knock));
  const line = "3 denied 17 1-0 198.51.100.100:1 > 10.10.0.2:22 = 198.51.100.100:1 > 10.10.0.2:22";
  expect(logged(world)).toEqual([line, line]);
  const silent = logging({ policy: { ...LAB_POLICY, rules: RULES.slice(0, 2) } });
  expect(verdictName(silent.packet(PORT_OUTSIDE, udp(knock)))).toBe("denied");
  expect(logged(silent)).toEqual([]);
});

test("a rule without log says nothing", () => {
  const world = logging();
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }));
  expect(logged(world)).toEqual([]);
});

test("an accepted packet that is dropped all the same shows why", () => {
  const world = logging({ capacity: 1 });
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1, dport: 33435 }));
  const { from, sport } = see(world.take().at(-1)!.frame).ip!;
  world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: from, sport: 33435, dport: sport }));
  world.packet(PORT_INSIDE, echo({ from: CLIENT, to: SERVER, id: 8 }));
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 1, dport: 33434, ttl: 1 }));
  expect(logged(world).map((line) => line.split(" ")[1])).toEqual(["held", "table_full", "ttl"]);
});

test("an echo shows its type", () => {
  const world = logging();
  world.packet(PORT_OUTSIDE, echo({ from: SERVER, to: CLIENT, id: 7 }));
  const [packet] = new RuleLogReader(world.ruleLog!).take(1);
  expect(packet).toMatchObject({ icmp: { type: 8, code: 0 }, atMs: world.nowMs });
});

test("more than the rate is counted, packets go on, and the next second has its own share", () => {
  const world = logging({ limits: { ruleLogsPerSecond: 5 } });
  const send = (): void => {
    for (let i = 0; i < 20; i++) {
      const verdict = world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: CLIENT, sport: i, dport: 22 }));
      expect(verdictName(verdict)).toBe("denied");
    }
  };
  send();
  expect([logged(world).length, world.count("ruleLogLimited")]).toEqual([5, 15]);
  world.nowMs += 1000;
  send();
  expect([logged(world).length, world.count("ruleLogLimited")]).toEqual([5, 30]);
});

test("a full ring is counted, and what is read makes room", () => {
  const world = logging({ ruleLogRecords: 4 });
  const send = (): void => {
    for (let i = 0; i < 6; i++)
      world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: CLIENT, sport: i, dport: 22 }));
  };
  send();
  expect(world.count("ruleLogFull")).toBe(2);
  expect(logged(world)).toHaveLength(4);
  send();
  expect(logged(world)).toHaveLength(4);
});

test("an engine without a reader logs nothing and decides the same", () => {
  const world = new World({ policy: { ...LAB_POLICY, rules: RULES } });
  expect(verdictName(world.packet(PORT_OUTSIDE, udp({ from: SERVER, to: CLIENT, sport: 1, dport: 2 })))).toBe(
    "denied",
  );
  expect(world.count("ruleLogRecords")).toBe(0);
});
