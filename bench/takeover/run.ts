/** What bench/takeover.bench.ts runs, in a process of its own. */
import { parseArgs } from "node:util";
import { RECORD_BYTES } from "../../src/base/record.ts";
import { recordSlot } from "../../src/dataplane/flow-record.ts";
import { copyable } from "../../src/io/copy.ts";
import { Bed, FRAME, images } from "../engine/bed.ts";
import { Figures, machineLine } from "../figures.ts";
import { makeWires, Node, SLOTS, state } from "./pair.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "9" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const FLOWS = values.smoke ? 10_000 : 1_000_000;
const HALF = SLOTS / 2;
/** Longer than it takes to find a peer alive, and to find it dead. */
const ALIVE_MS = 500;
const SILENT_MS_MAX = 1000;
const CHUNK_RECORDS = 1024;
const FEW_FLOWS = 4096;

const figures = new Figures();
const frames = images(FLOWS);
/** What the owner of all slots replicates: the record of each flow, in the order of `frames`. */
const records = record();

// The first rounds warm the code up and do not count.
for (let run = -2; run < runs; run++) {
  figures.isCounting = run >= 0;
  takeOver(FLOWS);
  // The same with hardly any flows: what does not depend on them.
  takeOver(FEW_FLOWS);
}
console.log(`takeover: ${runs} runs, interleaved; median (least to most)`);
console.log(machineLine());
figures.print();

function takeOver(flows: number): void {
  const time = { wires: makeWires(), nowMs: 1000 };
  const first = new Node(1, 1024, time);
  const second = new Node(2, 2 ** Math.ceil(Math.log2(flows)), time);
  for (const node of [first, second]) {
    node.receive(state(1, SLOTS));
    node.receive({ type: "caughtUp" });
  }
  replicate(second, flows);
  for (const node of [first, second]) {
    node.receive(state(2, HALF));
    node.receive({ type: "lifeline", node: node === first ? 2 : 1, isOpen: true });
  }
  for (let ms = 0; ms < ALIVE_MS; ms++) {
    time.nowMs++;
    first.tick();
    second.tick();
  }
  const gainedBefore = second.slotsSaid("gained");
  const restMs = timed(() => second.tick());
  let steerMs = 0;
  // The process is gone, and the first node never ticks again.
  steerMs += timed(() => second.receive({ type: "lifeline", node: 1, isOpen: false }));
  for (let ms = 0; second.slotsSaid("steered") < HALF; ms++) {
    if (ms > SILENT_MS_MAX) throw new Error("the silent peer was never found dead");
    time.nowMs++;
    const tookMs = timed(() => second.tick());
    if (second.slotsSaid("steered") > 0) steerMs += tookMs;
  }
  const gainMs = timed(() => {
    second.receive(state(3, 0, true));
    second.turn();
  });
  if (second.slotsSaid("gained") - gainedBefore !== HALF) throw new Error("the slots were not gained");
  const packetMs = timed(() => pass(second));
  // Announcements that exceeded one step's bound leave with the next ticks, and whatever else the takeover left to do.
  let laterMs = 0;
  for (let ms = 0; ms < 50; ms++) {
    time.nowMs++;
    laterMs = Math.max(
      laterMs,
      timed(() => second.tick()),
    );
  }
  const with_ = `with ${flows.toLocaleString("en")} flows`;
  const budget = flows >= 1_000_000 ? { most: 5 } : undefined;
  figures.add(
    `takeover of ${HALF} of ${SLOTS} slots ${with_}: steer and gain`,
    steerMs + gainMs,
    "ms",
    budget,
  );
  figures.add(`  of this: steer, ${with_}`, steerMs, "ms");
  figures.add(`  of this: gain, ${with_}`, gainMs, "ms");
  figures.add(`first packet of a flow taken over, ${with_}`, packetMs * 1000, "us");
  figures.add(`longest turn and tick of the next 50 ms, ${with_}`, laterMs, "ms");
  figures.add(`a turn and tick before all this, ${with_}`, restMs, "ms");
  figures.add(`flows in these slots, ${with_}`, taken(flows), "");
}

function record(): Uint8Array {
  const owner = new Bed(1, true);
  const { ring } = owner;
  const all = new Uint8Array(FLOWS * RECORD_BYTES);
  for (let i = 0; i < FLOWS; i++) {
    if (owner.push(0, frames, i * FRAME) !== 0) throw new Error("a packet was not forwarded");
    if (ring.length() !== 1) throw new Error("a new flow is one record");
    const at = ring.at(0);
    all.set(ring.bytes.subarray(at, at + RECORD_BYTES), i * RECORD_BYTES);
    ring.release(1);
  }
  return all;
}

/** The first flows, into this node's table. */
function replicate(to: Node, flows: number): void {
  for (let i = 0; i < flows; ) {
    for (let n = 0; n < CHUNK_RECORDS && i < flows; n++, i++) {
      const at = to.replicas.reserve();
      to.replicas.bytes.set(records.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES), at);
      to.replicas.publish();
    }
    while (to.replicas.length() > 0) to.turn();
  }
  if (to.flows !== flows) throw new Error(`${to.flows} of ${flows} flows are in the table`);
}

/** Flows of the slots that are taken over, among the first of all. */
function taken(flows: number): number {
  let sum = 0;
  for (let i = 0; i < flows; i++) if (recordSlot(records, i * RECORD_BYTES) < HALF) sum++;
  return sum;
}

/** The next packet of a flow that was the other node's. */
function pass(at: Node): void {
  let flow = 0;
  while (recordSlot(records, flow * RECORD_BYTES) >= HALF) flow++;
  const frame = frames.slice(flow * FRAME, (flow + 1) * FRAME);
  at.ports[0]!.accept(copyable(frame), 0, FRAME);
  at.turn();
}

function timed(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}
