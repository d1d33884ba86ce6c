/**
 * spread: how evenly flows of many hosts lie on the nodes of a cluster, with all nodes, after two of them died one after the
 * other, and after they came back.
 *
 *   npm run build && node --import tsx bench/spread.bench.ts [--nodes 4] [--hosts 8000] [--smoke]
 *
 * Needs root for its network namespaces. A flow lies where its host's slot is: of N hosts on n nodes, chance alone moves a
 * node's share by sqrt((n - 1) / N) of the even one: 2 % with 8,000 on 4.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SETTLE_TIMEOUT_MS } from "../chaos/lab/settling.ts";
import { poll } from "../chaos/lab/wait.ts";
import type { AdminMethods } from "../src/node/admin-model.ts";

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "4" },
    hosts: { type: "string", default: "8000" },
    smoke: { type: "boolean", default: false },
  },
});
const nodes = values.smoke ? 3 : Number(values.nodes);
const hosts = values.smoke ? 300 : Number(values.hosts);
const SYNWALL = fileURLToPath(new URL("../bin/synwall", import.meta.url));
const OPEN_FLOWS = fileURLToPath(new URL("spread/open-flows.ts", import.meta.url));
const NAME = `spread${process.pid % 1000}`;
const PORT = 9;
const ASK_INTERVAL_MS = 200;
/** Where nobody answers: an answer would have the nodes look for thousands of hosts that are none. */
const NOBODY = "2001:db8:dead::1";
/** A part of the inside network that the client has whole (ip-route(8), "local"). */
const HOSTS = "2001:db8:10:0:f:0:0";

if (process.getuid?.() !== 0) {
  process.stdout.write("spread: skipped, network namespaces need root\n");
  process.exit(0);
}

try {
  lab("up", "--nodes", String(nodes), "--profile", "vm");
  lab("exec", "client", "--", "ip", "-6", "route", "add", "local", `${HOSTS}:0/112`, "dev", "lo");
  lab("exec", "client", "--", "sh", "-c", "echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind");
  process.stdout.write(`spread: one flow of each of ${hosts} hosts\n`);
  print(`${nodes} nodes`, []);
  const dead: string[] = [];
  // One after the other, without a pause: a majority of nodes and witness must be left.
  for (const name of ["fw1", "fw2"].slice(0, Math.ceil((nodes + 1) / 2) - 1)) {
    lab("kill", name);
    dead.push(name);
    await settle(dead);
    print(`${dead.join(" and ")} dead`, dead);
  }
  for (const name of dead) lab("start", name);
  await settle([]);
  print("all back", []);
} finally {
  execFileSync(SYNWALL, ["lab", "down", "--name", NAME], { stdio: ["ignore", "ignore", "inherit"] });
}

function lab(command: string, ...args: string[]): void {
  const [host, ...rest] = args;
  const words = command === "exec" ? [host!, "--name", NAME, ...rest] : [...args, "--name", NAME];
  execFileSync(SYNWALL, ["lab", command, ...words], { stdio: ["ignore", "ignore", "inherit"] });
}

function open(): void {
  lab(
    "exec",
    "client",
    "--",
    process.execPath,
    "--import",
    "tsx",
    OPEN_FLOWS,
    String(hosts),
    NOBODY,
    String(PORT),
    HOSTS,
  );
}

function ask<Result>(command: readonly string[], member: string): Result {
  const words = [...command, "--socket", `/run/synwall-lab/${NAME}/${member}.sock`, "--json"];
  return JSON.parse(execFileSync(SYNWALL, words, { encoding: "utf8" })) as Result;
}

/** Until every living node says that no slot is on its way. */
async function settle(without: readonly string[]): Promise<void> {
  const living = names().filter((name) => !without.includes(name));
  for (const name of living) {
    const isDone = (): boolean => isSettled(ask<AdminMethods["status"]["result"]>(["status"], name), living);
    if (await poll(isDone, SETTLE_TIMEOUT_MS, { intervalMs: ASK_INTERVAL_MS })) continue;
    throw new Error(`${name} was not settled after ${SETTLE_TIMEOUT_MS / 1000} s`);
  }
}

function isSettled(
  { isSettled: is, members }: AdminMethods["status"]["result"],
  living: readonly string[],
): boolean {
  return is && members.every(({ name, slotsOwned }) => slotsOwned > 0 === living.includes(name));
}

function names(): string[] {
  return Array.from({ length: nodes }, (_, i) => `fw${i + 1}`);
}

function print(title: string, without: readonly string[]): void {
  open();
  const living = names().filter((name) => !without.includes(name));
  const owned = living.map(
    (name) => ask<AdminMethods["flows.count"]["result"]>(["flows", "count"], name).own,
  );
  const even = owned.reduce((sum, count) => sum + count, 0) / living.length;
  const shares = living.map((name, i) => `${name} ${owned[i]} (${percent(owned[i]! / even - 1)})`);
  const worst = Math.max(...owned.map((count) => Math.abs(count / even - 1)));
  process.stdout.write(`${title}: ${shares.join(", ")}; at most ${percent(worst)} from even\n`);
}

function percent(part: number): string {
  return `${(part * 100).toFixed(1)} %`;
}
