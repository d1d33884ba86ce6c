/**
 * sync lag: what replication costs and how far it lags, between two processes over gRPC with mTLS on loopback: rings in shared
 * memory, worker threads that wake by doorbell, everything as in a node but the packets.
 *
 *   lag          changes of 10,000 new flows a second (3 changes each): time from change to acknowledgement by the other
 *                dataplane, as seen by the dataplane; CPU of the main threads for 100,000 flows
 *   throughput   records a second, as fast as they are taken
 *   joining      a new backup gets every flow of 64 slots and proves it
 *
 *   node --import tsx bench/sync-lag.bench.ts [--runs 5] [--smoke]
 */
import { type ChildProcess, fork } from "node:child_process";
import { cpus, release } from "node:os";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { nowMs } from "../src/node/clock.ts";
import { CertificateFolder } from "../test/unit/cluster/transport/certificates.ts";
import { freePort } from "../test/unit/cluster/transport/free-port.ts";
import type { FromBackup, ToBackup } from "./sync-lag/backup.ts";
import type { PaceSummary, ToModel } from "./sync-lag/model-worker.ts";
import { mainThreadCpuSeconds, SLOTS, SyncNode, table } from "./sync-lag/sync-node.ts";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "5" }, smoke: { type: "boolean", default: false } },
});
const runs = values.smoke ? 1 : Number(values.runs);
const FLOWS_PER_SECOND = 10_000;
const CHANGES_PER_FLOW = 3;
const LAG_MS = values.smoke ? 300 : 5000;
const BLAST_RECORDS = values.smoke ? 20_000 : 1_000_000;
const FLOWS_PER_SLOT = values.smoke ? 100 : 15_625;

const certificates = new CertificateFolder();
const waiting: ((summary: PaceSummary) => void)[] = [];
const proven = new Set<number>();
let epoch = 1;
let child: ChildProcess | undefined;
let owner: SyncNode | undefined;
process.once("SIGINT", () => void stop().finally(() => process.exit(130)));
try {
  const port = await freePort();
  child = fork(new URL("./sync-lag/backup.ts", import.meta.url), { execArgv: ["--import", "tsx"] });
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
  await main(owner);
} finally {
  await stop();
}

async function main(node: SyncNode): Promise<void> {
  const lags: (PaceSummary & { senderCpu: number; receiverCpu: number })[] = [];
  const rates: number[] = [];
  const fullCpu: number[] = [];
  const joins: number[] = [];
  // The first round warms the code up and does not count.
  for (let run = -1; run < runs; run++) {
    const isCounted = run >= 0;
    const cpuBefore = mainThreadCpuSeconds();
    const otherBefore = await receiverCpu();
    const lag = await ask(node, {
      type: "pace",
      recordsPerSecond: FLOWS_PER_SECOND * CHANGES_PER_FLOW,
      ms: LAG_MS,
    });
    const flows = lag.records / CHANGES_PER_FLOW;
    const senderCpu = ((mainThreadCpuSeconds() - cpuBefore) / flows) * 100_000;
    const otherCpu = (((await receiverCpu()) - otherBefore) / flows) * 100_000;
    if (isCounted) lags.push({ ...lag, senderCpu, receiverCpu: otherCpu });

    const cpuMiddle = mainThreadCpuSeconds();
    const blast = await ask(node, { type: "blast", records: BLAST_RECORDS });
    const blastFlows = blast.records / CHANGES_PER_FLOW;
    if (isCounted) rates.push((blast.records / blast.ms) * 1000);
    if (isCounted) fullCpu.push(((mainThreadCpuSeconds() - cpuMiddle) / blastFlows) * 100_000);

    node.post({ type: "hold", flowsPerSlot: FLOWS_PER_SLOT, epoch: epoch + 1 });
    proven.clear();
    const began = nowMs();
    setTables(false);
    while (proven.size < SLOTS) await setTimeout(1);
    if (isCounted) joins.push(nowMs() - began);
    setTables(true);
  }
  const { sessionEnds, recordsResent } = node.replication.router.sender(2).counts;
  console.log(`sync lag: ${runs} runs, interleaved; median (least to most)`);
  console.log(
    `machine: ${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}; Linux ${release()}; Node.js ${process.version}`,
  );
  line(
    `lag at ${FLOWS_PER_SECOND} new flows/s, p50`,
    lags.map((l) => l.p50Ms),
    2,
    "ms",
  );
  line(
    "lag, p99",
    lags.map((l) => l.p99Ms),
    2,
    "ms",
  );
  line(
    "lag, longest",
    lags.map((l) => l.maxMs),
    2,
    "ms",
  );
  line(
    "CPU per 100,000 flows, owner's main thread",
    lags.map((l) => l.senderCpu),
    2,
    "s",
  );
  line(
    "CPU per 100,000 flows, backup's main thread",
    lags.map((l) => l.receiverCpu),
    2,
    "s",
  );
  line("throughput", rates, 0, "records/s");
  line("CPU per 100,000 flows at that rate, owner", fullCpu, 2, "s");
  line(
    `joining with ${(FLOWS_PER_SLOT * SLOTS).toLocaleString("en")} flows`,
    joins.map((ms) => ms / 1000),
    2,
    "s",
  );
  console.log(
    `sessions that had to begin anew: ${JSON.stringify(sessionEnds)}; records sent again: ${recordsResent}`,
  );
}

function line(name: string, figures: readonly number[], digits: number, unit: string): void {
  const sorted = [...figures].sort((a, b) => a - b);
  const show = (n: number): string => n.toFixed(digits);
  const spread = `(${show(sorted[0]!)} to ${show(sorted.at(-1)!)})`;
  console.log(
    `${name.padEnd(46)} ${show(sorted[sorted.length >> 1]!).padStart(10)} ${unit.padEnd(9)} ${spread}`,
  );
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
