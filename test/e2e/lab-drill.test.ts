/**
 * Drills on a real lab. What no load of the machine excuses is checked here: broken connections, damaged bytes, lost packets
 * of planned moves, two owners. How long an outage took is measured by the drills and the bench, not by tests.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DrillResult } from "../../chaos/drill/model.ts";
import { poll } from "../../chaos/lab/wait.ts";
import type { StatusReport } from "../../src/node/admin-model.ts";

const NAME = `drill${process.pid}`;
const LONG_MS = 240_000;

interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function synwall(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile("bin/synwall", args, { timeout: LONG_MS, maxBuffer: 64 * 1024 * 1024 }, (error, out, err) =>
      resolve({ status: error === null ? 0 : ((error.code as number | undefined) ?? -1), out, err }),
    );
  });
}

async function drill(scenario: string, node: string): Promise<DrillResult> {
  const { out, err } = await synwall("drill", "run", scenario, "--node", node, "--name", NAME, "--json");
  expect(out, err).not.toBe("");
  return JSON.parse(out) as DrillResult;
}

async function statusOf(member: string): Promise<StatusReport> {
  const { out } = await synwall("status", "--json", "--socket", `/run/synwall-lab/${NAME}/${member}.sock`);
  return JSON.parse(out) as StatusReport;
}

/** The journals around the first moment of two owners: without them such a failure cannot be understood. */
function evidenceOf({ overlaps, events, faultAtMs }: DrillResult): string {
  const [first] = overlaps;
  if (first === undefined) return "";
  const about = events.filter(
    ({ atMs, slots }) =>
      Math.abs(atMs - first.fromMs) < 600 && (slots.length === 0 || slots.includes(first.slot)),
  );
  const lines = about.map(
    ({ atMs, member, kind, epoch, text }) =>
      `${(atMs - faultAtMs).toFixed(1)} ${member} ${kind} (epoch ${epoch}) ${text}`,
  );
  return `${JSON.stringify(first)}, ${overlaps.length} slots\n${lines.join("\n")}`;
}

/** What every drill must keep. */
function expectUnbroken(result: DrillResult): void {
  expect(evidenceOf(result)).toBe("");
  const { connections, download, overlaps, translationsLost, packets, settledMs } = result;
  expect({ connections, download, overlaps, translationsLost, duplicated: packets.duplicated }).toMatchObject(
    {
      connections: { established: 200, broken: 0 },
      download: { isHashRight: true },
      overlaps: [],
      translationsLost: 0,
      duplicated: 0,
    },
  );
  expect(settledMs).not.toBeNull();
  expect(packets.sent).toBeGreaterThan(1000);
}

async function labUp(...options: string[]): Promise<void> {
  const { status, err } = await synwall("lab", "up", "--name", NAME, "--profile", "vm", ...options);
  expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
}

beforeAll(() => labUp(), LONG_MS);

afterAll(async () => {
  await synwall("lab", "down", "--name", NAME);
}, LONG_MS);

test(
  "a killed node breaks nothing, and both nodes carried flows",
  async () => {
    const result = await drill("kill", "fw1");
    expectUnbroken(result);
    expect(Math.min(...Object.values(result.flowShare))).toBeGreaterThanOrEqual(0.35);
    expect(result.epochAfter).toBeGreaterThan(result.epochBefore);
    expect(result.detectMs).not.toBeNull();
    expect(result.decideMs).not.toBeNull();
  },
  LONG_MS,
);

test(
  "a second kill right after the rejoin, on the other node, breaks nothing",
  async () => {
    expectUnbroken(await drill("kill", "fw2"));
  },
  LONG_MS,
);

test(
  "a node that falls silent breaks nothing",
  async () => {
    expectUnbroken(await drill("silent", "fw1"));
  },
  LONG_MS,
);

test(
  "a drain loses and doubles no packet",
  async () => {
    const result = await drill("drain", "fw2");
    expectUnbroken(result);
    expect(result.packets.lost).toBe(0);
  },
  LONG_MS,
);

test(
  "a rejoin loses and doubles no packet",
  async () => {
    const result = await drill("rejoin", "fw1");
    expectUnbroken(result);
    expect(result.packets.lost).toBe(0);
  },
  LONG_MS,
);

test(
  "without the cluster link nobody takes over, status says it, and healing resynchronises",
  async () => {
    const before = await statusOf("fw1");
    await synwall("lab", "cut", "fw2", "--link", "cluster", "--name", NAME);
    const isSilent = async (): Promise<boolean> =>
      (await statusOf("fw1")).peers.some((peer) => peer.name === "fw2" && peer.links["cluster"] === false);
    expect(await poll(isSilent, 20_000, { intervalMs: 200 })).toBe(true);
    const curl = await synwall(
      "lab",
      "exec",
      "--name",
      NAME,
      "client",
      "--",
      "curl",
      "-sS",
      "-m",
      "10",
      "http://198.51.100.100/",
    );
    expect(curl).toMatchObject({ status: 0, out: expect.stringContaining("This is server") });
    const during = await statusOf("fw1");
    expect(during.slots.owner).toEqual(before.slots.owner);
    expect(during.alerts.join("\n")).toMatch(/fw2/);
    await synwall("lab", "heal", "--name", NAME);
    const isInSync = async (): Promise<boolean> => {
      const now = await statusOf("fw1");
      const fw2 = now.peers.find((peer) => peer.name === "fw2");
      return now.isSettled && fw2?.sync?.connected === true && fw2.sync.lagRecords === 0;
    };
    expect(await poll(isInSync, 60_000, { intervalMs: 200 })).toBe(true);
    expect((await statusOf("fw1")).slots.owner).toEqual(before.slots.owner);
  },
  LONG_MS,
);

test(
  "a drain loses no packet either where nodes seal what they redirect, and none of it is refused",
  async () => {
    await synwall("lab", "down", "--name", NAME);
    await labUp("--seal");
    const result = await drill("drain", "fw2");
    expectUnbroken(result);
    expect(result.packets.lost).toBe(0);
    const counts = [await statusOf("fw1"), await statusOf("fw2")].flatMap(({ peers }) =>
      peers.flatMap(({ redirects }) => redirects ?? []),
    );
    expect(counts.reduce((sum, { in: taken }) => sum + taken, 0)).toBeGreaterThan(0);
    expect(counts.map(({ refused }) => refused)).toEqual([0, 0]);
  },
  LONG_MS,
);

test("the demo refuses a single node before it builds anything, and writes no report", async () => {
  const directory = mkdtempSync(join(tmpdir(), "synwall-demo-"));
  const report = join(directory, "report.html");
  const { status, err } = await synwall(
    "lab",
    "demo",
    "--name",
    `${NAME}b`,
    "--nodes",
    "1",
    "--report",
    report,
  );
  expect({ status, err }).toMatchObject({ status: 2, err: expect.stringMatching(/second node/) });
  expect(() => readFileSync(report)).toThrow();
  rmSync(directory, { recursive: true });
});
