/**
 * Model worker: stands where the dataplane worker stands, with the cost of packets taken away. Publishes changes at a rate, as
 * fast as they are taken, or whole slots; applies what peers sent; and measures what a held first packet waits for: the time
 * from publishing a change to seeing it acknowledged.
 *
 * At a rate it wakes by itself about ten times a millisecond, as a worker does to which packets come, and publishes what is due; a
 * doorbell wakes it at once.
 */
import { parentPort, workerData } from "node:worker_threads";
import { LatencyHistogram } from "../../src/base/histogram.ts";
import {
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_EPOCH_AT,
  RECORD_HASH_AT,
  RECORD_OP_AT,
  RECORD_OPAQUE_AT,
  RECORD_SLOT_AT,
  RECORD_VERSION_AT,
  RECORD_WIRE_AT,
  RECORD_WIRE_VERSION,
} from "../../src/base/record.ts";
import { RecordRing, type RingMemory } from "../../src/base/ring.ts";
import { EXPORT_WAITING_MAX } from "../../src/dataplane/flow-book.ts";
import { requestRealtime } from "../../src/io/sched.ts";
import { nowMs } from "../../src/node/clock.ts";
import { PRIORITY } from "../../src/node/priorities.ts";

export interface ModelWorkerSetup {
  readonly changes: RingMemory;
  readonly replicas: RingMemory;
  readonly applied: SharedArrayBuffer;
  readonly acked: SharedArrayBuffer;
  /** Cell 0: 1 while the worker naps. Whoever posts a message sets it back and notifies, since the event loop cannot end a nap. */
  readonly nap: SharedArrayBuffer;
  readonly slots: number;
  readonly peer: number;
}

export type ToModel =
  | { readonly type: "doorbell" }
  /** Publishes at a rate for a time, then answers `done`. */
  | { readonly type: "pace"; readonly recordsPerSecond: number; readonly ms: number }
  /** Publishes as fast as the peer acknowledges. */
  | { readonly type: "blast"; readonly records: number }
  /** Every slot holds this many flows from now on; records are of this epoch. */
  | { readonly type: "hold"; readonly flowsPerSlot: number; readonly epoch: number }
  | { readonly type: "export"; readonly slots: readonly number[] };

export type FromModel =
  | { readonly type: "doorbell" }
  | { readonly type: "done"; readonly summary: PaceSummary }
  | { readonly type: "digest"; readonly slot: number; readonly isEqual: boolean };

export interface PaceSummary {
  readonly records: number;
  readonly ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const TIMES = 1 << 18;
const BURST_RECORDS = 512;
/** Half of what the owner keeps for a peer: faster than the peer is what a session would not survive. */
const BLAST_OUTSTANDING = 32_768;
/** A nap between two looks for what is due. */
const NAP_MS = 0.08;
/** As the engine's exporter. */
const EXPORT_STEP = 256;

requestRealtime(PRIORITY.dataplane);
const setup = workerData as ModelWorkerSetup;
const port = parentPort!;
const changes = new RecordRing(setup.changes);
const replicas = new RecordRing(setup.replicas);
const applied = new Float64Array(setup.applied);
const acked = new Float64Array(setup.acked);
const publishedMs = new Float64Array(TIMES);
const latency = new LatencyHistogram();
const counts = new Float64Array(setup.slots);
const sums = new Float64Array(setup.slots);
let published = 0;
let seen = 0;
let flowsPerSlot = 0;
let epoch = 1;
const nap = new Int32Array(setup.nap);
const exports: number[] = [];
let exportAt = -1;
let job:
  | {
      readonly until: number;
      readonly beganMs: number;
      readonly perMs: number;
      readonly endMs: number;
      next: number;
    }
  | undefined;

port.on("message", (message: ToModel) => {
  switch (message.type) {
    case "doorbell":
      break;
    case "pace": {
      const now = nowMs();
      const perMs = message.recordsPerSecond / 1000;
      latency.reset();
      job = {
        until: Number.POSITIVE_INFINITY,
        beganMs: now,
        perMs,
        endMs: now + message.ms,
        next: published,
      };
      break;
    }
    case "blast":
      latency.reset();
      job = { until: published + message.records, beganMs: nowMs(), perMs: 0, endMs: 0, next: published };
      break;
    case "hold":
      flowsPerSlot = message.flowsPerSlot;
      epoch = message.epoch;
      break;
    case "export":
      exports.push(...message.slots);
      break;
  }
  turn();
  if (message.type === "pace") look();
});
setInterval(turn, 1);

/** While changes are published at a rate: a turn, a nap, and then whatever messages came. */
function look(): void {
  turn();
  if (job === undefined) return;
  Atomics.store(nap, 0, 1);
  Atomics.wait(nap, 0, 1, NAP_MS);
  Atomics.store(nap, 0, 0);
  setImmediate(look);
}

let isTurnDue = false;
function turn(): void {
  apply();
  observe();
  const isMore = produce() || exportSome();
  if (changes.length() > 0 && changes.takeArmed(nowMs()))
    port.postMessage({ type: "doorbell" } satisfies FromModel);
  if ((isMore || replicas.length() > 0 || !replicas.arm()) && !isTurnDue) {
    isTurnDue = true;
    setImmediate(() => {
      isTurnDue = false;
      turn();
    });
  }
}

/** True when more can be published soon. */
function produce(): boolean {
  if (job === undefined) return false;
  const now = nowMs();
  if (job.perMs > 0) {
    const due = job.next + Math.floor((Math.min(now, job.endMs) - job.beganMs) * job.perMs) - published;
    for (let i = 0; i < due; i++) publish(OP_UPSERT, published % setup.slots, published, now);
    if (now < job.endMs || acked[setup.peer]! < published) return false;
  } else {
    for (let i = 0; i < BURST_RECORDS && published < job.until; i++) {
      if (published - acked[setup.peer]! >= BLAST_OUTSTANDING) break;
      publish(OP_UPSERT, published % setup.slots, published, now);
    }
    if (published < job.until) return published - acked[setup.peer]! < BLAST_OUTSTANDING;
    if (acked[setup.peer]! < published) return false;
  }
  const summary = {
    records: published - job.next,
    ms: now - job.beganMs,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    maxMs: latency.maxMs,
  };
  job = undefined;
  port.postMessage({ type: "done", summary } satisfies FromModel);
  return false;
}

function exportSome(): boolean {
  for (let i = 0; i < EXPORT_STEP && exports.length > 0; i++) {
    if (changes.isHeldBack || changes.length() >= EXPORT_WAITING_MAX) return true;
    const slot = exports[0]!;
    const now = nowMs();
    if (exportAt < 0) publish(OP_SNAPSHOT_BEGIN, slot, 0, now);
    else if (exportAt < flowsPerSlot) publish(OP_UPSERT, slot, exportAt, now);
    else if (exportAt === flowsPerSlot) publish(OP_SNAPSHOT_END, slot, 0, now);
    else publish(OP_DIGEST, slot, 0, now);
    exportAt++;
    if (exportAt <= flowsPerSlot + 1) continue;
    exportAt = -1;
    exports.shift();
  }
  return exports.length > 0;
}

function publish(op: number, slot: number, hash: number, now: number): void {
  const at = changes.reserve();
  if (at < 0) return;
  const { view } = changes;
  view.setUint8(at + RECORD_OP_AT, op);
  view.setUint8(at + RECORD_WIRE_AT, RECORD_WIRE_VERSION);
  view.setUint16(at + RECORD_SLOT_AT, slot, true);
  view.setUint32(at + RECORD_HASH_AT, hash >>> 0, true);
  view.setUint32(at + RECORD_VERSION_AT, 1, true);
  view.setUint32(at + RECORD_EPOCH_AT, epoch, true);
  view.setUint32(at + RECORD_OPAQUE_AT, flowsPerSlot, true);
  view.setUint32(at + RECORD_OPAQUE_AT + 4, ((flowsPerSlot * (flowsPerSlot - 1)) / 2) % 2 ** 32, true);
  changes.publish();
  publishedMs[published % TIMES] = now;
  published++;
}

/** What is acknowledged now, was published so long ago. */
function observe(): void {
  const claim = acked[setup.peer]!;
  if (claim === seen) return;
  const now = nowMs();
  for (let n = Math.max(seen, published - TIMES); n < claim; n++)
    latency.record(now - publishedMs[n % TIMES]!);
  seen = claim;
}

function apply(): void {
  const count = Math.min(replicas.length(), BURST_RECORDS);
  for (let i = 0; i < count; i++) applyOne(replicas.at(i));
  if (count === 0) return;
  replicas.release(count);
  applied[0] = applied[0]! + count;
  port.postMessage({ type: "doorbell" } satisfies FromModel);
}

function applyOne(at: number): void {
  const { view } = replicas;
  const op = view.getUint8(at + RECORD_OP_AT);
  const slot = view.getUint16(at + RECORD_SLOT_AT, true);
  if (op === OP_UPSERT) {
    counts[slot] = counts[slot]! + 1;
    sums[slot] = (sums[slot]! + view.getUint32(at + RECORD_HASH_AT, true)) % 2 ** 32;
  } else if (op === OP_SNAPSHOT_BEGIN) {
    counts[slot] = 0;
    sums[slot] = 0;
  } else if (op === OP_DIGEST) {
    const isEqual =
      counts[slot] === view.getUint32(at + RECORD_OPAQUE_AT, true) &&
      sums[slot] === view.getUint32(at + RECORD_OPAQUE_AT + 4, true);
    port.postMessage({ type: "digest", slot, isEqual } satisfies FromModel);
  }
}
