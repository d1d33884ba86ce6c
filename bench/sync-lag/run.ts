/** What bench/sync-lag.bench.ts runs, in a process of its own: the owner, and the one who measures. */
import { type ChildProcess, fork } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { nowMs } from "../../src/node/clock.ts";
import { CertificateFolder } from "../../test/unit/cluster/transport/certificates.ts";
import { freePort } from "../../test/unit/cluster/transport/free-port.ts";
import { Figures, machineLine } from "../figures.ts";
import { besides, mainThreadCpuSeconds } from "../main-thread.ts";
import type { FromBackup, ToBackup } from "./backup.ts";
import type { PaceSummary, ToModel } from "./model-worker.ts";
import { SocketBytes } from "./socket-bytes.ts";
import { SLOTS, SyncNode, table } from "./sync-node.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    only: { type: "string", default: "lag,throughput,joining" },
    rates: { type: "string", default: "1000,10000,50000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const parts = new Set(values.only.split(","));
const FLOWS_PER_SECOND = values.rates.split(",").map(Number);
/** What budgets of lag and CPU are for. */
const BUDGETED = 10_000;
const CHANGES_PER_FLOW = 3;
const GATHER_US = [1, 200, 300, 400, 500, 750, 1000];
const LAG_MS = values.smoke ? 300 : 4000;
const BLAST_RECORDS = values.smoke ? 20_000 : 1_000_000;
const JOINING = (values.smoke ? [6400] : [100_000, 1_000_000]).map((flows) => Math.ceil(flows / SLOTS));

const certificates = new CertificateFolder();
const sockets = new SocketBytes();
const figures = new Figures();
const waiting: ((summary: PaceSummary) => void)[] = [];
const proven = new Set<number>();
let epoch = 1;
let child: ChildProcess | undefined;
let owner: SyncNode | undefined;
process.once("SIGINT", () => void stop().finally(() => process.exit(130)));
try {
  await main(await start());
} finally {
  await stop();
}

async function start(): Promise<SyncNode> {
  const port = await freePort();
  child = fork(besides("backup"));
  child.on("message", (message: FromBackup) => {
    if (message.type === "proven") for (const slot of message.slots) proven.add(slot);
  });
  await next("up");
  const started = next("started");
  tell({ type: "start", port, tls: certificates.member("fw2") });
  await started;
  owner = new SyncNode({
    id: 1,
    port,
    tls: certificates.member("fw1"),
    onDone: (summary) => waiting.shift()?.(summary),
  });
  await owner.start();
  setTables(true);
  while (!owner.replication.status(2, nowMs()).isConnected) await setTimeout(5);
  return owner;
}

async function main(node: SyncNode): Promise<void> {
  // The first round warms the code up and does not count.
  for (let run = -1; run < runs; run++) {
    figures.isCounting = run >= 0;
    if (parts.has("lag")) for (const rate of FLOWS_PER_SECOND) await measureLag(node, rate);
    if (parts.has("gather")) await measureGathering(node);
    if (parts.has("throughput")) await measureThroughput(node);
    if (parts.has("joining")) for (const flows of JOINING) await measureJoining(node, flows);
  }
  const { sessionEnds, recordsResent } = node.replication.router.sender(2).counts;
  console.log(`sync lag: ${runs} runs, interleaved; median (least to most)`);
  console.log(machineLine());
  figures.print();
  console.log(
    `sessions that had to begin anew: ${JSON.stringify(sessionEnds)}; records sent again: ${recordsResent}`,
  );
}

async function measureGathering(node: SyncNode): Promise<void> {
  const { gatherUs: ownUs } = node.replication.limits;
  for (const us of GATHER_US) {
    node.setGatherUs(us);
    await measureLag(node, BUDGETED, `, gathered for ${us} us`);
  }
  node.setGatherUs(ownUs);
}

async function measureLag(node: SyncNode, rate: number, how = ""): Promise<void> {
  const { counts } = node.replication.router.sender(2);
  const before = { cpu: mainThreadCpuSeconds(), bytes: sockets.sum(), batches: counts.batches };
  const otherBefore = await receiverCpu();
  const lag = await ask(node, {
    type: "pace",
    recordsPerSecond: rate * CHANGES_PER_FLOW,
    ms: LAG_MS,
  });
  const own = mainThreadCpuSeconds() - before.cpu;
  const other = (await receiverCpu()) - otherBefore;
  const bytes = sockets.sum() - before.bytes;
  const batches = counts.batches - before.batches;
  const flows = lag.records / CHANGES_PER_FLOW;
  const of = (most: number): { most: number } | undefined => (rate === BUDGETED ? { most } : undefined);
  const at = `at ${rate.toLocaleString("en")} new flows/s${how}`;
  figures.add(`lag ${at}, p50`, lag.p50Ms, "ms", of(0.5));
  figures.add(`lag ${at}, p99`, lag.p99Ms, "ms", of(2));
  figures.add(`lag ${at}, longest`, lag.maxMs, "ms");
  figures.add(`CPU for 100,000 flows ${at}, owner`, (own / flows) * 1e5, "s", of(1));
  figures.add(`CPU for 100,000 flows ${at}, backup`, (other / flows) * 1e5, "s", of(1));
  figures.add(`batches a second ${at}`, (batches / lag.ms) * 1e3, "");
  figures.add(`CPU for a batch ${at}, owner`, (own / batches) * 1e6, "us");
  figures.add(`CPU for a batch ${at}, backup`, (other / batches) * 1e6, "us");
  figures.add(`bytes for a flow on the wire ${at}`, bytes / flows, "B");
}

async function measureThroughput(node: SyncNode): Promise<void> {
  const cpu = mainThreadCpuSeconds();
  const otherBefore = await receiverCpu();
  const blast = await ask(node, { type: "blast", records: BLAST_RECORDS });
  const own = mainThreadCpuSeconds() - cpu;
  const other = (await receiverCpu()) - otherBefore;
  const flows = blast.records / CHANGES_PER_FLOW;
  figures.add("throughput", (blast.records / blast.ms) * 1000, "records/s", { least: 250_000 });
  figures.add("CPU for 100,000 flows at that rate, owner", (own / flows) * 1e5, "s", { most: 1 });
  figures.add("CPU for 100,000 flows at that rate, backup", (other / flows) * 1e5, "s", { most: 1 });
}

async function measureJoining(node: SyncNode, flowsPerSlot: number): Promise<void> {
  node.post({ type: "hold", flowsPerSlot, epoch: epoch + 1 });
  proven.clear();
  const began = nowMs();
  const bytes = sockets.sum();
  setTables(false);
  while (proven.size < SLOTS) await setTimeout(1);
  const ms = nowMs() - began;
  const flows = flowsPerSlot * SLOTS;
  const what = `joining with ${flows.toLocaleString("en")} flows`;
  figures.add(what, ms / 1000, "s", flows >= 1_000_000 ? { most: 5 } : undefined);
  figures.add(`${what}, bytes for a flow on the wire`, (sockets.sum() - bytes) / flows, "B");
  setTables(true);
}

function ask(node: SyncNode, message: ToModel): Promise<PaceSummary> {
  const done = new Promise<PaceSummary>((resolve) => waiting.push(resolve));
  node.post(message);
  return done;
}

function setTables(isSynced: boolean): void {
  // A new backup epoch means a new backup: everything is to be sent and proven.
  if (!isSynced) epoch++;
  tell({ type: "table", epoch, isSynced });
  owner?.replication.setTable(table(epoch, isSynced));
}

function tell(message: ToBackup): void {
  child?.send(message);
}

function next<T extends FromBackup["type"]>(type: T): Promise<Extract<FromBackup, { type: T }>> {
  return new Promise((resolve) => {
    const listen = (message: FromBackup): void => {
      if (message.type !== type) return;
      child?.off("message", listen);
      resolve(message as Extract<FromBackup, { type: T }>);
    };
    child?.on("message", listen);
  });
}

async function receiverCpu(): Promise<number> {
  const answer = next("cpu");
  tell({ type: "cpu" });
  return (await answer).seconds;
}

async function stop(): Promise<void> {
  if (child?.connected) tell({ type: "stop" });
  await owner?.stop();
  certificates.remove();
}
