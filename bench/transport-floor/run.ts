/** What bench/transport-floor.bench.ts runs, in a process of its own: the sender, and the one who measures. */
import { type ChildProcess, fork } from "node:child_process";
import { parseArgs } from "node:util";
import { loadTls } from "../../cluster/transport/tls.ts";
import { CertificateFolder } from "../../test/unit/cluster/transport/certificates.ts";
import { Figures, machineLine } from "../figures.ts";
import { beControlThread, besides, mainThreadCpuSeconds } from "../main-thread.ts";
import type { EchoAnswer, EchoStart } from "./echo.ts";
import { open, WAYS, type Way, type Wire } from "./ways.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const IN_TURN = values.smoke ? 100 : 5000;
const BY_CLOCK = values.smoke ? 50 : 1500;
/** Nine records, as they come at 10,000 new flows a second, and what stands before them. */
const BATCH = Buffer.alloc(9 * 160 + 12, 7);

beControlThread();
const certificates = new CertificateFolder();
const figures = new Figures();
const children: ChildProcess[] = [];
try {
  const wires = new Map<Way, { readonly wire: Wire; readonly child: ChildProcess }>();
  for (const way of WAYS) wires.set(way, await connect(way));
  for (let run = -1; run < runs; run++) {
    figures.isCounting = run >= 0;
    for (const [way, { wire, child }] of wires) {
      await measure(`${way}, in turn`, child, IN_TURN, () => inTurn(wire));
      await measure(`${way}, by clock`, child, BY_CLOCK, () => byClock(wire));
    }
  }
  console.log(`transport floor: ${runs} runs, interleaved; median (least to most)`);
  console.log(machineLine());
  figures.print();
} finally {
  for (const child of children) child.kill();
  certificates.remove();
}
process.exit(0);

async function connect(way: Way): Promise<{ wire: Wire; child: ChildProcess }> {
  const child = fork(besides("echo"));
  children.push(child);
  child.send({ way, tls: certificates.member("fw2") } satisfies EchoStart);
  const { port } = await answer(child);
  const wire = await open(way, port, loadTls(certificates.member("fw1"), "fw1"));
  return { wire, child };
}

async function measure(
  name: string,
  child: ChildProcess,
  count: number,
  work: () => Promise<void>,
): Promise<void> {
  const before = mainThreadCpuSeconds();
  const otherBefore = await cpuOf(child);
  const began = performance.now();
  await work();
  const tookMs = performance.now() - began;
  figures.add(`${name}: CPU for a batch, sender`, ((mainThreadCpuSeconds() - before) / count) * 1e6, "us");
  figures.add(
    `${name}: CPU for a batch, receiver`,
    (((await cpuOf(child)) - otherBefore) / count) * 1e6,
    "us",
  );
  if (count === IN_TURN) figures.add(`${name}: round trip`, (tookMs / count) * 1000, "us");
}

function inTurn(wire: Wire): Promise<void> {
  return new Promise((resolve) => {
    let left = IN_TURN;
    wire.onAck = () => {
      if (--left === 0) resolve();
      else wire.send(BATCH);
    };
    wire.send(BATCH);
  });
}

function byClock(wire: Wire): Promise<void> {
  return new Promise((resolve) => {
    let left = BY_CLOCK;
    let sent = 0;
    wire.onAck = () => {
      if (--left === 0) resolve();
    };
    const timer = setInterval(() => {
      wire.send(BATCH);
      if (++sent === BY_CLOCK) clearInterval(timer);
    }, 1);
  });
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send("cpu");
  return (await answer(child)).cpuSeconds;
}

function answer(child: ChildProcess): Promise<EchoAnswer> {
  return new Promise((resolve) => child.once("message", (message) => resolve(message as EchoAnswer)));
}
