/**
 * A real lab: built, used, broken, mended and taken down by the commands that an operator types.
 */
import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { poll } from "../../chaos/lab/wait.ts";
import type { StatusReport } from "../../src/node/admin-model.ts";

const NAME = `e2e${process.pid}`;
const OTHER = `${NAME}b`;
const LONG_MS = 240_000;

interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function synwall(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile("bin/synwall", args, { timeout: LONG_MS }, (error, out, err) =>
      resolve({ status: error === null ? 0 : ((error.code as number | undefined) ?? -1), out, err }),
    );
  });
}

const lab = (command: string, ...args: string[]): Promise<Outcome> =>
  synwall("lab", command, "--name", NAME, ...args);
const onHost = (host: string, ...command: string[]): Promise<Outcome> => lab("exec", host, "--", ...command);

async function namespaces(): Promise<string[]> {
  const { out } = await new Promise<{ out: string }>((resolve) => {
    execFile("ip", ["netns", "list"], (_error, out) => resolve({ out }));
  });
  return out
    .split("\n")
    .map((line) => line.split(" ")[0]!)
    .filter((name) => name.startsWith(NAME));
}

interface LabStatus {
  readonly cut: readonly string[];
  readonly members: readonly {
    name: string;
    isRunning: boolean;
    pid: number;
    socket: string;
    status?: StatusReport;
  }[];
}

async function labStatus(): Promise<LabStatus> {
  return JSON.parse((await lab("status", "--json")).out) as LabStatus;
}

async function isSettled(): Promise<boolean> {
  const { members } = await labStatus();
  return members.every(
    ({ status }) => status?.isSettled && status.members.every(({ state }) => state !== "down"),
  );
}

beforeAll(async () => {
  const { status, err } = await lab("up", "--profile", "vm");
  expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
}, LONG_MS);

afterAll(async () => {
  await synwall("lab", "down", "--name", OTHER);
  await lab("down");
  expect(await namespaces()).toEqual([]);
  expect(existsSync(`/run/synwall-lab/${NAME}`)).toBe(false);
  expect(readdirSync("/var/tmp").filter((name) => name.includes(NAME))).toEqual([]);
}, LONG_MS);

test("a client reaches the server through the firewall, seen as a pool address", async () => {
  const { out, status } = await onHost("client", "curl", "-sS", "-m", "10", "http://198.51.100.100/");
  expect(status).toBe(0);
  expect(out).toMatch(/^This is server; you are 198\.51\.100\.1[01]\./);
});

test("the server does not reach the inside directly, and the attempt is counted", async () => {
  const denied = async (): Promise<number> => {
    const { members } = await labStatus();
    return members.reduce((sum, { status }) => sum + (status?.dataplane?.drops["denied"] ?? 0), 0);
  };
  const before = await denied();
  const { status, out } = await onHost("server", "curl", "-sS", "-m", "2", "http://10.10.0.250/");
  expect({ isReached: status === 0, out }).toEqual({ isReached: false, out: "" });
  expect(await denied()).toBeGreaterThan(before);
});

test("port 8080 of the first pool address leads to the web host", async () => {
  const { out } = await onHost("server", "curl", "-sS", "-m", "10", "http://198.51.100.10:8080/");
  expect(out).toMatch(/^This is web;/);
});

test("ping and traceroute from the client work", async () => {
  expect((await onHost("client", "ping", "-c", "3", "-i", "0.2", "-W", "3", "198.51.100.100")).status).toBe(
    0,
  );
  const { out } = await onHost(
    "client",
    "traceroute",
    "-n",
    "-w",
    "3",
    "-q",
    "1",
    "-m",
    "4",
    "198.51.100.100",
  );
  expect(out).toMatch(/^ 1 {2}10\.10\.0\.1 .*\n 2 {2}198\.51\.100\.100 /m);
});

test("lab exec ends with the command's own status", async () => {
  expect((await onHost("client", "sh", "-c", "exit 7")).status).toBe(7);
});

test(
  "a cut is silent: frames stop, the carrier stays; heal mends it",
  async () => {
    expect((await lab("cut", "fw2", "--link", "cluster")).status).toBe(0);
    expect((await labStatus()).cut).toEqual(["fw2-cluster"]);
    expect((await onHost("fw2", "cat", "/sys/class/net/cluster/carrier")).out.trim()).toBe("1");
    expect((await onHost("fw2", "ping", "-c", "1", "-W", "1", "192.0.2.1")).status).not.toBe(0);
    expect((await lab("heal")).status).toBe(0);
    expect((await labStatus()).cut).toEqual([]);
    expect((await onHost("fw2", "ping", "-c", "1", "-W", "5", "192.0.2.1")).status).toBe(0);
    expect(await poll(isSettled, 60_000, { intervalMs: 500 })).toBe(true);
  },
  LONG_MS,
);

test(
  "a killed node is not running, and settles again after start",
  async () => {
    expect((await lab("kill", "fw2")).status).toBe(0);
    expect((await labStatus()).members.find(({ name }) => name === "fw2")?.isRunning).toBe(false);
    const again = await lab("kill", "fw2");
    expect(again).toMatchObject({ status: 2, err: expect.stringMatching(/fw2 does not run/) });
    expect((await lab("start", "fw2")).status).toBe(0);
    expect((await lab("start", "fw2")).status).toBe(2);
    expect(await poll(isSettled, 60_000, { intervalMs: 500 })).toBe(true);
  },
  LONG_MS,
);

test(
  "a paused node goes on afterwards",
  async () => {
    const before = (await labStatus()).members.find(({ name }) => name === "fw1")!.pid;
    expect((await lab("pause", "fw1", "300")).status).toBe(0);
    expect(await poll(isSettled, 60_000, { intervalMs: 500 })).toBe(true);
    expect((await labStatus()).members.find(({ name }) => name === "fw1")!.pid).toBe(before);
  },
  LONG_MS,
);

test("a second lab of the same name is refused, and the first one stays", async () => {
  const { status, err } = await lab("up");
  expect({ status, lines: err.trim().split("\n").length }).toEqual({ status: 2, lines: 1 });
  expect(err).toMatch(/stands already/);
  expect(await namespaces()).toContain(`${NAME}-fw1`);
});

test(
  "Ctrl-C while a second lab is being built leaves nothing of it, and the first one stays",
  async () => {
    const child = spawn("bin/synwall", ["lab", "up", "--name", OTHER], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    expect(await poll(() => said.includes("processes:"), 60_000)).toBe(true);
    child.kill("SIGINT");
    expect(await ended).toBe(2);
    expect(said).toMatch(/SIGINT: stopped, the lab was taken down again/);
    expect((await namespaces()).filter((name) => name.startsWith(`${OTHER}-`))).toEqual([]);
    expect(await namespaces()).toContain(`${NAME}-client`);
  },
  LONG_MS,
);

test("lab down removes what a crash left: from the name alone, without any file", async () => {
  for (const host of ["net", "client", "fw7"]) {
    await new Promise((resolve) => execFile("ip", ["netns", "add", `${OTHER}-${host}`], resolve));
  }
  expect((await synwall("lab", "down", "--name", OTHER)).out).toMatch(/is gone/);
  expect((await namespaces()).filter((name) => name.startsWith(`${OTHER}-`))).toEqual([]);
  expect((await synwall("lab", "down", "--name", OTHER)).out).toMatch(/nothing to do/);
});

test.each([
  [["lab", "up", "--nodes", "9"], /1 to 8/],
  [["lab", "up", "--port", "memory"], /memory ports/],
  [["lab", "up", "--port", "wifi"], /auto, xdp, cap, memory/],
  [["lab", "up", "--name", "Not Good"], /small letters/],
  [["lab", "up", "--xyzzy"], /unknown option/],
  [["lab", "status", "--name", "nowhere"], /does not stand/],
  [["lab", "exec", "--name", "nowhere", "client", "--", "ls"], /does not stand/],
  [["lab", "cut", "fw9", "--name", NAME], /no member "fw9"/],
  [["lab", "cut", "witness", "--link", "inside", "--name", NAME], /witness has no link/],
  [["lab", "exec", "--name", NAME, "moon", "--", "ls"], /no host "moon"/],
  [["drill", "run", "explode", "--name", NAME], /no scenario "explode"/],
  [["drill", "run", "kill", "--node", "witness", "--name", NAME], /no node "witness"/],
])("synwall %j is refused with one clear line and status 2", async (args, message) => {
  const { status, err } = await synwall(...args);
  expect(status).toBe(2);
  expect(err).toMatch(message);
  expect(err.trim().split("\n")).toHaveLength(1);
});
