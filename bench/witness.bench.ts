/**
 * witness: what the tie-breaker of a pair costs and how it decides when it is 20 ms away: the real process, and two members that are
 * played by this one, joined by relays that keep every byte for 10 ms in each direction.
 *
 *   memory       of the process: when the cluster stands, and after commits with their snapshots; the peak is the kernel's VmHWM
 *   decision     a leader dies: time until the other member leads by the witness's vote and its first command is committed
 *   commit       each command of a member that has only the witness left
 *
 *   npm run build && node --import tsx bench/witness.bench.ts [--commits 20000] [--runs 5] [--smoke]
 *
 * Needs root for a network namespace of its own, whose loopback has the members' addresses. Exit status 1 when the peak is over its budget. What a failover costs hosts is failover.bench.ts's: detection comes on top.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { stringify } from "yaml";
import { pause, poll } from "../chaos/lab/wait.ts";
import { RaftDriver } from "../cluster/control/driver.ts";
import { systemTimers } from "../cluster/control/timers.ts";
import { MemoryLogStore } from "../cluster/storage/memory.ts";
import { GrpcTransport } from "../cluster/transport/grpc.ts";
import { loadTls } from "../cluster/transport/tls.ts";
import { nowMs } from "../src/node/clock.ts";
import { confState } from "../test/unit/cluster/control/cluster-of-drivers.ts";
import { CertificateFolder } from "../test/unit/cluster/transport/certificates.ts";
import { freePort } from "../test/unit/cluster/transport/free-port.ts";

const { values } = parseArgs({
  options: {
    commits: { type: "string", default: "20000" },
    runs: { type: "string", default: "5" },
    smoke: { type: "boolean", default: false },
  },
});
const commits = values.smoke ? 500 : Number(values.commits);
const runs = values.smoke ? 1 : Number(values.runs);
const ONE_WAY_MS = 10;
const WAIT_MS_MAX = 120_000;
const BUDGET_KB = 100_000;
/** Proposals on their way at a time. */
const AT_ONCE = 64;
const ALONE_COMMITS = values.smoke ? 10 : 100;
const SLOTS = 64;
/** Set for the process inside the namespace. */
const INSIDE = "SYNWALL_WITNESS_BENCH";
const IDS = [1, 2, 3];
const SYNWALL = fileURLToPath(new URL("../bin/synwall", import.meta.url));
const COMMAND = [
  { type: "weight", node: 1, weight: 1 } as const,
  { type: "weight", node: 1, weight: 2 } as const,
];

interface Played {
  readonly id: number;
  readonly driver: RaftDriver;
  readonly transport: GrpcTransport;
}

if (!existsSync(new URL("../dist/src/cli/main.js", import.meta.url))) {
  process.stdout.write("witness: skipped, it measures what npm run build makes\n");
  process.exit(0);
}
if (process.getuid?.() !== 0) {
  process.stdout.write("witness: skipped, a network namespace needs root\n");
  process.exit(0);
}
if (process.env[INSIDE] === undefined) {
  const again = ["--net", process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status: code } = spawnSync("unshare", again, {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: "1" },
  });
  process.exit(code ?? 1);
}
execFileSync("ip", ["link", "set", "lo", "up"]);
for (const host of [1, 2, 3, 11, 12, 13])
  execFileSync("ip", ["addr", "add", `192.0.2.${host}/32`, "dev", "lo"]);
const certificates = new CertificateFolder();
const folder = mkdtempSync(join(tmpdir(), "synwall-witness-"));
const relays: Server[] = [];
const stores = new Map(IDS.map((id) => [id, new MemoryLogStore(confState(IDS))]));
const nodes = new Map<number, Played>();
let witness: ChildProcess | undefined;
let isOver = false;
process.once("SIGINT", () => void end().finally(() => process.exit(130)));
try {
  await main();
} finally {
  await end();
}

async function main(): Promise<void> {
  say(
    `witness: ${cpus().length} x ${cpus()[0]?.model ?? "?"}, kernel ${release()}, Node.js ${process.version}`,
  );
  const port = await freePort();
  for (const [near, far] of [
    ["192.0.2.11", "192.0.2.1"],
    ["192.0.2.12", "192.0.2.2"],
    ["192.0.2.13", "192.0.2.3"],
  ] as const) {
    relays.push(await relay(near, far, port));
  }
  witness = await startWitness(port);
  for (const id of [1, 2]) await startNode(id, port);
  const first = await leader();
  for (const id of [1, 2]) {
    const member = { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 } as const;
    await first.driver.propose({ type: "up", member, slots: SLOTS });
  }
  await until(() => first.driver.state().members.length === IDS.length && isLevel(first));
  await pause(values.smoke ? 0 : 5_000);
  say(`idle: ${memory()}`);
  const fromMs = nowMs();
  await commitMany(first, commits);
  const perSecond = commits / ((nowMs() - fromMs) / 1000);
  await until(() => isLevel(first));
  say(`after ${commits} commits (${perSecond.toFixed(0)} a second), a snapshot each 256: ${memory()}`);
  const decisions: number[] = [];
  for (let run = 0; run < runs; run++) decisions.push(await leaderDies(port, run === runs - 1));
  say(`decision after a leader's death, ${2 * ONE_WAY_MS} ms to the witness and back: ${spread(decisions)}`);
  const last = await leader();
  const alone: number[] = [];
  for (let i = 0; i < ALONE_COMMITS; i++) {
    const sentMs = nowMs();
    await last.driver.propose(COMMAND[i % 2]!);
    alone.push(nowMs() - sentMs);
  }
  say(`commit with the witness alone: ${spread(alone)}`);
  const peakKb = status("VmHWM");
  const isKept = peakKb <= BUDGET_KB;
  say(`peak ${mb(peakKb)}, budget ${mb(BUDGET_KB)}: ${isKept ? "kept" : "MISSED"}`);
  if (!isKept && !values.smoke) process.exitCode = 1;
}

/** Ends the leader; answers how long it took until the other one had a command committed. `isLast`: it stays away. */
async function leaderDies(port: number, isLast: boolean): Promise<number> {
  const dying = await leader();
  const heir = [...nodes.values()].find(({ id }) => id !== dying.id)!;
  await until(() => isLevel(dying));
  const diedMs = nowMs();
  dying.driver.stop();
  await dying.transport.close();
  nodes.delete(dying.id);
  heir.driver.leaderDied(dying.id);
  await until(() => heir.driver.status().state === "leader");
  await heir.driver.propose(COMMAND[0]!);
  const tookMs = nowMs() - diedMs;
  if (!isLast) {
    await startNode(dying.id, port);
    await until(() => isLevel(heir));
  }
  return tookMs;
}

async function startNode(id: number, port: number): Promise<void> {
  const name = `fw${id}`;
  const transport = new GrpcTransport({
    self: { id, name, address: `192.0.2.${id}` },
    peers: [
      { id: 3 - id, name: `fw${3 - id}`, address: `192.0.2.${3 - id}` },
      { id: 3, name: "witness", address: "192.0.2.13" },
    ],
    port,
    tls: loadTls(certificates.member(name), name),
  });
  const driver = new RaftDriver({
    self: id,
    isWitness: false,
    candidates: (_state, voters) => voters.filter((voter) => voter !== 3),
    slots: SLOTS,
    storage: stores.get(id)!,
    transport,
    timers: systemTimers,
    random: (bound) => randomInt(bound),
    isQuiet: () => true,
    onCommitted: () => {},
    onFatal: (error) => {
      throw error;
    },
  });
  await transport.start({
    onRaft: (_from, message) => driver.receive(message),
    onStatus: () => {
      throw new Error("not asked for");
    },
    onSyncLink: (_from, link) => link.close(),
    onUnreachable: (to) => driver.unreachable(to),
    onSnapshotSent: (to, isDelivered) => driver.snapshotSent(to, isDelivered),
  });
  driver.start();
  nodes.set(id, { id, driver, transport });
}

async function startWitness(port: number): Promise<ChildProcess> {
  const secret = join(folder, "secret");
  writeFileSync(secret, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  const config = join(folder, "witness.yaml");
  const members = [
    { id: 1, name: "fw1", role: "node", address: "192.0.2.11" },
    { id: 2, name: "fw2", role: "node", address: "192.0.2.12" },
    { id: 3, name: "witness", role: "witness", address: "192.0.2.3" },
  ];
  const cluster = {
    name: "bench",
    node: "witness",
    secretFile: secret,
    profile: "vm",
    slots: SLOTS,
    members,
    ports: { grpc: port },
    tls: certificates.member("witness"),
  };
  const control = {
    dataDir: join(folder, "data"),
    socket: join(folder, "witness.sock"),
    http: { address: "127.0.0.1", port: await freePort() },
  };
  writeFileSync(config, stringify({ cluster, control, log: { level: "warn" } }), { mode: 0o600 });
  const child = spawn(SYNWALL, ["witness", "--config", config], { stdio: ["ignore", "ignore", "inherit"] });
  child.once("exit", (code) => {
    if (!isOver) throw new Error(`the witness ended with status ${code}`);
  });
  return child;
}

async function commitMany({ driver }: Played, count: number): Promise<void> {
  let sent = 0;
  const one = async (): Promise<void> => {
    while (sent < count) await driver.propose(COMMAND[sent++ % 2]!, 30_000);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

/** All that are there hold all that the leader has. */
function isLevel({ driver }: Played): boolean {
  const { matches, commit } = driver.status();
  const there = [3, ...nodes.keys()];
  return there.every((id) => (matches.get(id) ?? commit) >= commit);
}

async function leader(): Promise<Played> {
  let found: Played | undefined;
  await until(() => {
    found = [...nodes.values()].find(({ driver }) => driver.status().state === "leader");
    return found !== undefined;
  });
  return found!;
}

/** Keeps all that goes through it for ONE_WAY_MS, in each direction. */
function relay(near: string, far: string, port: number): Promise<Server> {
  const pipe = (from: Socket, to: Socket): void => {
    from.on("data", (bytes) => void setTimeout(() => void (to.destroyed || to.write(bytes)), ONE_WAY_MS));
    from.on("end", () => void setTimeout(() => to.end(), ONE_WAY_MS));
    from.on("close", () => void setTimeout(() => to.destroy(), 2 * ONE_WAY_MS));
    from.on("error", () => {});
  };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const onward = connect({ host: far, port, noDelay: true, allowHalfOpen: true });
    pipe(socket, onward);
    pipe(onward, socket);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, near, () => resolve(server));
  });
}

async function end(): Promise<void> {
  isOver = true;
  for (const { driver, transport } of nodes.values()) {
    driver.stop();
    await transport.close();
  }
  for (const server of relays) server.close();
  if (witness !== undefined && witness.exitCode === null) {
    const gone = new Promise((resolve) => witness?.once("exit", resolve));
    witness.kill("SIGKILL");
    await gone;
  }
  certificates.remove();
  rmSync(folder, { recursive: true, force: true });
}

function memory(): string {
  return `resident ${mb(status("VmRSS"))}, peak ${mb(status("VmHWM"))}`;
}

function status(field: string): number {
  const text = readFileSync(`/proc/${witness!.pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]);
}

function mb(kb: number): string {
  return `${(kb / 1000).toFixed(0)} MB`;
}

function spread(list: readonly number[]): string {
  const sorted = list.toSorted((a, b) => a - b);
  const at = (share: number): string => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(1);
  return `median ${at(0.5)} ms (${at(0)} to ${at(1)}), ${list.length} times`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function until(condition: () => boolean): Promise<void> {
  if (!(await poll(condition, WAIT_MS_MAX, { intervalMs: 1 }))) {
    throw new Error(`the cluster did not get there in ${WAIT_MS_MAX / 1000} s`);
  }
}
