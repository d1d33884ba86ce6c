/**
 * Real clients and scans through a real lab. What the lab's features switch off must show as not there yet; all else must pass.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { CHECKS } from "../../chaos/clients/checks/all.ts";
import type { ClientReport, Finding } from "../../chaos/clients/model.ts";
import { LAB_FEATURES } from "../../chaos/lab/features.ts";

const NAME = `clients${process.pid}`;
const LONG_MS = 400_000;
const FLOOD_SECONDS = 6;
/** Small enough for such a flood to fill it, if it could. */
const FLOWS = "8192";

interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function synwall(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile("bin/synwall", args, { timeout: LONG_MS, maxBuffer: 16 * 1024 * 1024 }, (error, out, err) =>
      resolve({ status: error === null ? 0 : ((error.code as number | undefined) ?? -1), out, err }),
    );
  });
}

/** Findings that are not what the lab's features promise, one line each. */
function surprises(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ check, family, during, verdict, detail }) => {
    const isFlood = check.startsWith("flood-");
    const needs = isFlood ? "defence" : CHECKS.find(({ name }) => name === check)?.needs;
    const mayMiss = (family === 6 && !LAB_FEATURES.ipv6) || (needs !== undefined && !LAB_FEATURES[needs]);
    if (verdict === "pass" || (mayMiss && verdict === "not-yet")) return [];
    return [`${check} IPv${family} during ${during}: ${verdict}: ${detail}`];
  });
}

async function clients(during: "nothing" | "kill"): Promise<ClientReport> {
  const { out, err } = await synwall("lab", "clients", "--name", NAME, "--during", during, "--json");
  expect(out, err).not.toBe("");
  return JSON.parse(out) as ClientReport;
}

beforeAll(async () => {
  const { status, err } = await synwall("lab", "up", "--name", NAME, "--profile", "vm", "--flows", FLOWS);
  expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
}, LONG_MS);

afterAll(async () => {
  await synwall("lab", "down", "--name", NAME);
  expect(readdirSync("/var/tmp").filter((name) => name.includes(NAME))).toEqual([]);
}, LONG_MS);

test(
  "every client works through the lab, in both families",
  async () => {
    const { findings } = await clients("nothing");
    expect(surprises(findings)).toEqual([]);
    for (const family of [4, 6]) {
      const tried = findings.filter((each) => each.family === family).map(({ check }) => check);
      const expected = CHECKS.filter(({ families }) => families?.includes(family as 4 | 6) ?? true);
      expect(tried).toEqual(expected.map(({ name }) => name));
    }
  },
  LONG_MS,
);

test(
  "every client goes on when the node that owns its flows is killed",
  async () => {
    const { findings, victims } = await clients("kill");
    expect(surprises(findings)).toEqual([]);
    expect(victims).toHaveLength(LAB_FEATURES.ipv6 ? 2 : 1);
  },
  LONG_MS,
);

test(
  "scans from outside are dropped, unanswered and counted, and a flood costs nobody a connection",
  async () => {
    const { out, err } = await synwall(
      ...["lab", "scans", "--name", NAME, "--flood", String(FLOOD_SECONDS), "--json"],
    );
    expect(out, err).not.toBe("");
    const { findings } = JSON.parse(out) as { findings: Finding[] };
    expect(surprises(findings)).toEqual([]);
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining(["scan-syn", "scan-fragments", "flood-established", "flood-table"]),
    );
  },
  LONG_MS,
);

test(
  "a policy of 2,000 rules more is taken over while packets pass: none is lost, and no node looks dead",
  async () => {
    const directory = `/run/synwall-lab/${NAME}`;
    const socketOf = (node: string): string[] => ["--socket", `${directory}/${node}.sock`];
    const epoch = async (): Promise<number> =>
      (JSON.parse((await synwall("status", "--json", ...socketOf("fw1"))).out) as { epoch: number }).epoch;
    const before = await epoch();
    const ping = new Promise<string>((resolve) => {
      const words = [`${NAME}-client`, "ping", "-q", "-i", "0.01", "-c", "600", "198.51.100.100"];
      execFile("ip", ["netns", "exec", ...words], (_error, out) => resolve(out));
    });
    for (const node of ["fw1", "fw2"]) {
      const file = `${directory}/${node}-more.yaml`;
      const content = parse(readFileSync(`${directory}/${node}.yaml`, "utf8")) as { rules: object[] };
      const more = Array.from({ length: 2000 }, (_, i) => ({
        ...{ name: `more-${i}`, from: "inside", to: "outside", protocol: "tcp", action: "accept" },
        destinations: [`192.0.2.${i % 256}`],
        destinationPorts: [1000 + i],
      }));
      writeFileSync(file, stringify({ ...content, rules: [...more, ...content.rules] }), { mode: 0o600 });
      const { status, err } = await synwall("policy", "apply", "--config", file, ...socketOf(node));
      expect({ status, err }).toEqual({ status: 0, err: "" });
    }
    expect(await ping).toContain("600 packets transmitted, 600 received");
    expect(await epoch()).toBe(before);
  },
  LONG_MS,
);

test.each([
  [["lab", "clients", "--only", "gopher", "--name", NAME], /no client check "gopher"/],
  [["lab", "clients", "--family", "5", "--name", NAME], /4, 6 or both/],
  [["lab", "scans", "--flood", "-1", "--name", NAME], /whole number/],
  [["lab", "clients", "--name", "nowhere"], /does not stand/],
])("synwall %j is refused with one clear line and status 2", async (args, message) => {
  const { status, err } = await synwall(...args);
  expect({ status, lines: err.trim().split("\n").length }).toEqual({ status: 2, lines: 1 });
  expect(err).toMatch(message);
});
