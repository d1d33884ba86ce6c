import { expect, test } from "vitest";
import { type RuleLogLine, RuleLogLines } from "../../../src/node/rule-log-lines.ts";
import { echo, tcp, udp } from "../dataplane/frames.ts";
import { INSIDE, LAB_POLICY, OUTSIDE, PORT_INSIDE, PORT_OUTSIDE, rule, World } from "../dataplane/world.ts";

const policy = {
  ...LAB_POLICY,
  rules: [
    rule(0, { name: "out", fromZone: INSIDE, toZone: OUTSIDE, log: true }),
    rule(1, { name: "no-way", fromZone: OUTSIDE, toZone: INSIDE, action: 0, log: true }),
  ],
};

function written(world: World): { line: RuleLogLine; text: string }[] {
  const lines: { line: RuleLogLine; text: string }[] = [];
  const writer = new RuleLogLines({
    ring: world.ruleLog!,
    policy: () => policy,
    portNames: ["eth0", "eth1"],
    clock: { nowMs: () => world.nowMs + 250, wallMs: () => Date.UTC(2026, 0, 1, 12, 0, 10, 250) },
    write: (line, text) => lines.push({ line, text }),
  });
  expect(writer.write()).toBe(lines.length);
  expect(writer.write()).toBe(0);
  return lines;
}

test("an accepted flow is one line with names, addresses in dotted form, and the time of the packet", () => {
  const world = new World({ policy, ruleLogRecords: 16 });
  world.packet(
    PORT_INSIDE,
    tcp({ from: "10.10.0.2", to: "198.51.100.100", sport: 4000, dport: 443, flags: "S" }),
  );
  expect(written(world)).toEqual([
    {
      line: {
        kind: "rule-log",
        at: "2026-01-01T12:00:10.000Z",
        rule: "out",
        ruleIndex: 0,
        action: "accept",
        verdict: "held",
        protocol: "tcp",
        interface: "eth0",
        fromZone: "inside",
        toZone: "outside",
        source: "10.10.0.2:4000",
        destination: "198.51.100.100:443",
        translatedSource: expect.stringMatching(/^198\.51\.100\.1[01]:\d+$/),
      },
      text: "accept tcp 10.10.0.2:4000 > 198.51.100.100:443 (inside to outside, rule out)",
    },
  ]);
});

test("a denied packet is a line as well, an echo without ports but with its type (FAU_GEN.1)", () => {
  const world = new World({ policy, ruleLogRecords: 16 });
  world.packet(PORT_OUTSIDE, udp({ from: "198.51.100.100", to: "10.10.0.2", sport: 9, dport: 22 }));
  world.packet(PORT_OUTSIDE, echo({ from: "198.51.100.100", to: "10.10.0.2", id: 7 }));
  const [udpLine, echoLine] = written(world);
  expect(udpLine!.text).toBe("drop udp 198.51.100.100:9 > 10.10.0.2:22 (outside to inside, rule no-way)");
  expect(udpLine!.line).toMatchObject({ action: "drop", verdict: "denied", interface: "eth1" });
  expect(udpLine!.line).not.toHaveProperty("translatedSource");
  expect(echoLine!.line).toMatchObject({ protocol: "icmp", icmp: "8/0", destination: "10.10.0.2" });
});
