import { expect, test } from "vitest";
import { judge, judgeMedians, limitsOf } from "../../../../chaos/drill/limits.ts";
import type { DrillMeasurement, Scenario } from "../../../../chaos/drill/model.ts";
import { goodMeasurement } from "./results.ts";

test("a measurement within all limits passes without reasons", () => {
  expect(judge(goodMeasurement(), "lan")).toMatchObject({ verdict: "pass", reasons: [] });
});

const good = goodMeasurement();
const breaches: [string, Partial<DrillMeasurement>, RegExp][] = [
  [
    "a cluster that does not settle",
    { settledMs: null, unsettled: "fw2: waiting" },
    /did not settle: fw2: waiting/,
  ],
  [
    "an outage beyond the limit in one direction",
    { outageMs: { toServer: 2, toClient: 50.1 } },
    /outage 50\.1 ms, limit 50/,
  ],
  [
    "a broken connection",
    { connections: { ...good.connections, broken: 1, reasons: { ECONNRESET: 1 } } },
    /1 connections broken \(ECONNRESET 1\)/,
  ],
  [
    "a connection that never stood",
    { connections: { ...good.connections, established: 199 } },
    /only 199 of 200/,
  ],
  [
    "a failed new connection",
    { visits: { ...good.visits, failed: 2, reasons: { timeout: 2 } } },
    /2 new connections failed \(timeout 2\)/,
  ],
  [
    "a failed new connection, where flows were without a backup",
    { visits: { ...good.visits, failed: 2, reasons: { timeout: 2 } }, unprotectedFlows: 40 },
    /2 new connections failed \(timeout 2; 40 flows went on before their backup held them/,
  ],
  ["no new connection at all", { visits: { ...good.visits, attempted: 0 } }, /no new connection/],
  [
    "a damaged download",
    { download: { ...good.download, isHashRight: false, error: "ECONNRESET" } },
    /download damaged/,
  ],
  ["a doubled probe", { packets: { ...good.packets, duplicated: 1 } }, /1 probes doubled/],
  ["no probe at all", { packets: { ...good.packets, sent: 0 } }, /no probe/],
  ["a lost translation", { translationsLost: 1 }, /translated addresses changed/],
  [
    "two owners at a time",
    { overlaps: [{ slot: 3, members: ["fw1", "fw2"], fromMs: 0, forMs: 9 }] },
    /two owners/,
  ],
  [
    "a node that carried next to nothing",
    { flowShare: { fw1: 0.34, fw2: 0.66 } },
    /carried 34 % of the flows/,
  ],
  [
    "a node that went on alone without a mark",
    { alone: { isForced: false, isUnwitnessed: true } },
    /not marked as forced/,
  ],
  [
    "a node that is alone and does not say so",
    { alone: { isForced: true, isUnwitnessed: false } },
    /does not say that it is unwitnessed/,
  ],
  ["no ping at all", { ping: { sent: 0, lost: 0, duplicated: 0 } }, /no ping/],
];

test.each(breaches)("%s fails a drill", (_, change, reason) => {
  const result = judge(goodMeasurement(change), "lan");
  expect(result.verdict).toBe("fail");
  expect(result.reasons).toHaveLength(1);
  expect(result.reasons[0]).toMatch(reason);
});

test.each(["drain", "rejoin", "upgrade"] as const)("%s may not lose a single probe, kill may", (scenario) => {
  const packets = { ...good.packets, lost: 1 };
  const ping = { ...good.ping, lost: 0 };
  expect(judge(goodMeasurement({ scenario, packets, ping }), "lan").reasons).toEqual([
    "1 probes lost, limit 0",
  ]);
  expect(judge(goodMeasurement({ packets }), "lan").verdict).toBe("pass");
});

test.each(["drain", "rejoin", "upgrade"] as const)("%s may not lose a single ping, kill may", (scenario) => {
  const packets = { ...good.packets, lost: 0 };
  const lost = { ping: { ...good.ping, lost: 1 }, packets };
  expect(judge(goodMeasurement({ scenario, ...lost }), "lan").reasons).toEqual(["1 pings lost, limit 0"]);
  expect(judge(goodMeasurement(lost), "lan").verdict).toBe("pass");
});

test("before a rejoin the others carry everything, and of more nodes each carries less", () => {
  const ping = { ...good.ping, lost: 0 };
  const packets = { ...good.packets, lost: 0 };
  const alone = { flowShare: { fw1: 0, fw2: 1 }, ping, packets };
  expect(judge(goodMeasurement({ scenario: "rejoin", ...alone }), "lan").verdict).toBe("pass");
  const three = { flowShare: { fw1: 0.25, fw2: 0.35, fw3: 0.4 } };
  expect(judge(goodMeasurement(three), "lan").verdict).toBe("pass");
  // Of 200 hosts chance gives a quarter of the nodes 15 % now and then, and 11 % never.
  const of4 = (least: number): DrillMeasurement =>
    goodMeasurement({ flowShare: { fw1: least, fw2: 0.28, fw3: 0.28, fw4: 0.44 - least } });
  expect(judge(of4(0.15), "lan").verdict).toBe("pass");
  expect(judge(of4(0.11), "lan").reasons).toEqual([
    "a node carried 11 % of the flows, at least 13 % are due",
  ]);
});

test("the medians of several runs are judged by scenario, each against its budget", () => {
  const run = (scenario: "kill" | "silent", ms: number): DrillMeasurement =>
    goodMeasurement({ scenario, outageMs: { toServer: ms, toClient: 1 } });
  const runs = [run("kill", 10), run("kill", 16), run("kill", 49), run("silent", 70), run("silent", 60)];
  expect(judgeMedians(runs)).toEqual([
    { line: "kill: median outage 16.0 ms of 3 runs, budget 15 ms: MISSED", isKept: false },
    { line: "silent: median outage 65.0 ms of 2 runs, budget 70 ms: kept", isKept: true },
  ]);
});

test.each(["link", "link-in", "link-out"] as const)(
  "%s may move no slot, though its packets may wait",
  (scenario) => {
    const outageMs = { toServer: 70, toClient: 70 };
    const still = { scenario, outageMs, epochAfter: good.epochBefore };
    expect(judge(goodMeasurement(still), "lan").verdict).toBe("pass");
    const { reasons } = judge(goodMeasurement({ ...still, epochAfter: 6 }), "lan");
    expect(reasons).toEqual(["slots moved (epoch 4 to 6) although every node could forward"]);
  },
);

test.each(["wire-in", "wire-out", "outside-in", "outside-out"] as const)(
  "%s may take as long as wire: the nodes must find out whose fault it is",
  (scenario) => {
    expect(limitsOf("lan", scenario)).toEqual(limitsOf("lan", "wire"));
    expect(limitsOf("vm", scenario)).toEqual(limitsOf("vm", "wire"));
  },
);

test("silent may take 120 ms with profile lan", () => {
  const both = (ms: number) => ({ toServer: ms, toClient: ms });
  expect(judge(goodMeasurement({ scenario: "silent", outageMs: both(120) }), "lan").verdict).toBe("pass");
  expect(judge(goodMeasurement({ scenario: "silent", outageMs: both(121) }), "lan").verdict).toBe("fail");
});

test("a witness that is far away may cost the way to it and back, and no more", () => {
  const within = { toServer: 139, toClient: 12 };
  const beyond = { toServer: 141, toClient: 12 };
  const verdict = (scenario: Scenario, outageMs: DrillMeasurement["outageMs"]): string =>
    judge(goodMeasurement({ scenario, outageMs }), "vm").verdict;
  expect([verdict("far-witness", within), verdict("kill", within)]).toEqual(["pass", "fail"]);
  expect(verdict("far-witness", beyond)).toBe("fail");
});
