/**
 * Child of gc.test.ts: pushes control connections and calls through the helpers in one synchronous run, and prints as JSON what was
 * collected and allocated meanwhile. Runs alone in its process, so that every collection is the helpers'.
 */
import { PerformanceObserver, performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { hashKeyFrom } from "../../../../src/base/hash.ts";
import { COUNT } from "../../../../src/dataplane/context.ts";
import { COUNTER_CELLS } from "../../../../src/dataplane/counters.ts";
import {
  D_DEADLINE,
  F_META,
  F_PLACE,
  F_STATE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../../src/dataplane/flow-table.ts";
import { ExpectationIndex } from "../../../../src/dataplane/helpers/expectation-index.ts";
import { Helpers } from "../../../../src/dataplane/helpers/helpers.ts";
import { HELPER_FTP, HELPER_SIP, HELPER_TFTP } from "../../../../src/dataplane/policy-model.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP } from "../../../../src/dataplane/satellites.ts";
import { TCP_ESTABLISHED } from "../../../../src/dataplane/tcp-state.ts";
import { type Spec, TestPacket } from "./packets.ts";
import { tuple } from "./rig.ts";
import { bye, invite, register, response, sdp } from "./sip-texts.ts";

const rounds = Number(process.argv[2] ?? 20_000);
const BITS = HELPER_FTP | HELPER_TFTP | HELPER_SIP;
const key = hashKeyFrom(new Uint8Array(32).fill(7));
const table = new FlowTable(256, key);
const index = new ExpectationIndex(table.words, key);
const isExpectation = (row: number): boolean => {
  const protocol = table.words[row * ROW_WORDS + F_META]! & 0xff;
  return protocol === EXPECTATION_TCP || protocol === EXPECTATION_UDP;
};
const clock = Float64Array.of(1_000_000.25);
const counters = new Float64Array(COUNTER_CELLS);
table.wheel.start(clock);
let published = 0;
const book = {
  allocateFor: (): number => table.alloc(),
  enter: (row: number): void => {
    table.insert(row);
    if (isExpectation(row)) index.enter(row);
  },
  change: (): boolean => {
    published++;
    return true;
  },
  end: (row: number): void => {
    if (isExpectation(row)) index.leave(row);
    table.remove(row);
  },
};
const memory = new Uint8Array(4096);
let port = 0;
const helpers = new Helpers({
  table,
  book,
  bytes: memory,
  clock,
  counters,
  index,
  allocatePort: (_master, _protocol, _words, _at, wanted) =>
    40_000 + ((port = (port + 2) & 0xfff) | (wanted & 1)),
});

/** Zones 0 and 1. */
function flow(protocol: number, original: [string, string, number], reply: [string, string, number]): number {
  const row = table.alloc();
  const base = row * ROW_WORDS;
  table.words[base + F_META] = protocol;
  table.words[base + F_PLACE] = 1 << 24;
  for (const [index, [from, to, ports]] of [original, reply].entries()) {
    const words = tuple(from, to);
    table.setTuple(row, index, words, 0, words, 4, ports);
  }
  if (protocol === 6) table.words[base + F_STATE] = TCP_ESTABLISHED;
  table.doubles[row * ROW_DOUBLES + D_DEADLINE] = 1e12;
  table.insert(row);
  return row;
}

const PHONE = { ip: "10.0.0.2", port: 5060, mediaPort: 6000 };
const SERVER = { ip: "198.51.100.7", port: 5060, mediaPort: 7000 };
const CALL = { from: PHONE, to: SERVER };
const control = flow(
  6,
  ["10.0.0.2", "198.51.100.7", (4000 << 16) | 21],
  ["198.51.100.7", "203.0.113.1", (21 << 16) | 61_000],
);
const call = flow(
  17,
  ["10.0.0.2", "198.51.100.7", (5060 << 16) | 5060],
  ["198.51.100.7", "203.0.113.1", (5060 << 16) | 61_000],
);
const out = { from: "10.0.0.2", to: "198.51.100.7", sport: 5060, dport: 5060 };
const back = { from: "198.51.100.7", to: "203.0.113.1", sport: 5060, dport: 61_000 };
const ok = response(invite(CALL), "200 OK", SERVER, sdp(SERVER));
const packets: [row: number, direction: number, packet: TestPacket][] = [
  step(control, 0, 6, { ...out, payload: "PORT 10,0,0,2,15,161\r\n" }),
  step(control, 1, 6, { ...back, payload: "200 PORT command successful.\r\n" }),
  step(control, 0, 6, { ...out, payload: "EPRT |1|10.0.0.2|4001|\r\n" }),
  step(control, 1, 6, { ...back, payload: "227 Entering Passive Mode (198,51,100,7,195,80).\r\n" }),
  step(call, 0, 17, { ...out, payload: "\0\x01file\0octet\0" }),
  step(call, 0, 17, {
    ...out,
    payload: register({ from: PHONE, registrar: SERVER.ip, contact: "<sip:10.0.0.2:5070>" }),
  }),
  step(call, 0, 17, { ...out, payload: invite(CALL) }),
  step(call, 1, 17, { ...back, payload: ok }),
  step(call, 0, 17, { ...out, payload: bye(CALL) }),
];

function step(row: number, direction: number, protocol: number, spec: Spec): [number, number, TestPacket] {
  return [row, direction, new TestPacket(protocol, spec)];
}

const seq = new Int32Array(2);
/** A parsed packet that is filled anew each time, as the engine's is. */
const view = { ipAt: 64, l4At: 84, l4Bytes: 0, totalBytes: 0, protocol: 6, isIpv6: false, isFragment: false };

function push(index: number): void {
  const [row, direction, packet] = packets[index]!;
  memory.set(packet.bytes);
  view.l4Bytes = packet.l4Bytes;
  view.totalBytes = packet.totalBytes;
  view.protocol = packet.protocol;
  if (packet.protocol === 6) {
    write(view.l4At + 4, seq[direction]!);
    // The other side's numbers as this end knows them: what left last.
    write(view.l4At + 8, last[1 - direction]!);
    sum();
  }
  helpers.arrive(view, row, direction);
  helpers.depart(view, row, direction, BITS, true, direction === 1, 1500);
  if (packet.protocol !== 6) return;
  seq[direction] = (seq[direction]! + packet.l4Bytes - 20) | 0;
  last[direction] = (read(view.l4At + 4) + view.l4Bytes - 20) | 0;
}

const last = new Int32Array(2);

function write(at: number, value: number): void {
  for (let i = 0; i < 4; i++) memory[at + i] = value >>> (24 - 8 * i);
}

function read(at: number): number {
  return (memory[at]! << 24) | (memory[at + 1]! << 16) | (memory[at + 2]! << 8) | memory[at + 3]!;
}

/** The right checksum of the TCP segment in memory. */
function sum(): void {
  memory[view.l4At + 16] = memory[view.l4At + 17] = 0;
  let total = 6 + view.l4Bytes;
  for (let i = 0; i < 8; i += 2) total += (memory[76 + i]! << 8) | memory[77 + i]!;
  for (let i = 0; i < view.l4Bytes; i += 2) {
    total += (memory[view.l4At + i]! << 8) | (i + 1 < view.l4Bytes ? memory[view.l4At + i + 1]! : 0);
  }
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  memory[view.l4At + 16] = (~total >>> 8) & 0xff;
  memory[view.l4At + 17] = ~total & 0xff;
}

function run(count: number): void {
  for (let i = 0; i < count; i++) for (let step = 0; step < packets.length; step++) push(step);
}

run(5000);
await setTimeout(50);
const collections: number[] = [];
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) collections.push(entry.startTime);
});
observer.observe({ entryTypes: ["gc"] });
const edits = counters[COUNT.helperEdits]!;
const before = process.memoryUsage().heapUsed;
run(rounds);
const endMs = performance.now();
const grownBytes = process.memoryUsage().heapUsed - before;
await setTimeout(50);
observer.disconnect();
const edited = counters[COUNT.helperEdits]! - edits;
// What V8 tidies up while the process idles is not the run's.
const during = collections.filter((startMs) => startMs < endMs).length;
console.log(JSON.stringify({ collections: during, grownBytes, edited, published }));
