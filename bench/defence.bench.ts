/**
 * defence: what one new flow costs in each limit, and one SYN in cookies, on one thread.
 *
 *   node --import tsx bench/defence.bench.ts [--runs 5] [--operations 1000000] [--smoke]
 *
 * Sources are random, as in a flood, so every operation meets cold cells. A checksum of all answers keeps the work from vanishing.
 */
import { parseArgs } from "node:util";
import { seededRandom } from "../src/base/env.ts";
import { hashKeyFrom } from "../src/base/hash.ts";
import { COUNTER_CELLS } from "../src/dataplane/counters.ts";
import { EarlyDrop } from "../src/dataplane/defence/early-drop.ts";
import { HalfOpen } from "../src/dataplane/defence/half-open.ts";
import { SourceRate } from "../src/dataplane/defence/source-rate.ts";
import { SynCookies } from "../src/dataplane/defence/syn-cookie.ts";
import { CAUTIOUS_PROMISE, SynProxy } from "../src/dataplane/defence/syn-proxy.ts";
import { D_CREATED_AT, F_META, F_STATE, ROW_DOUBLES, ROW_WORDS } from "../src/dataplane/flow-layout.ts";
import { FlowTable } from "../src/dataplane/flow-table.ts";
import { TCP_ESTABLISHED, TCP_SYN_SENT } from "../src/dataplane/tcp-state.ts";
import { setI32, setU16 } from "../src/packet/bytes.ts";
import { PROTOCOL_TCP, writeHeader } from "../src/packet/ipv4.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    operations: { type: "string", default: "1000000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const operations = values.smoke ? 5000 : Number(values.operations);
const CAPACITY = values.smoke ? 4096 : 262_144;
const FRAME = 256;
const SERVER = 0xc6336464 | 0;

const key = hashKeyFrom(Uint8Array.from({ length: 32 }, (_, i) => i * 13 + 5));
const random = seededRandom(42);
const sources = Int32Array.from({ length: 1 << 16 }, () => random(2 ** 32) | 0);
/** An IPv4 source and the server. */
const words = Int32Array.of(0, 0, 0xffff, 0, 0, 0, 0xffff, SERVER);
const clock = new Float64Array(1);

/** A table whose rows are TCP: a fifth half-open, the rest established. */
function fullTable(): FlowTable {
  const table = new FlowTable(CAPACITY, key);
  table.wheel.start(clock);
  for (let i = 0; i < CAPACITY; i++) {
    const row = table.alloc();
    table.words[row * ROW_WORDS + F_META] = PROTOCOL_TCP;
    table.words[row * ROW_WORDS + F_STATE] = i % 5 === 0 ? TCP_SYN_SENT : TCP_ESTABLISHED;
    table.words[row * ROW_WORDS] = i;
    table.doubles[row * ROW_DOUBLES + D_CREATED_AT] = random(1e6);
    table.insert(row);
  }
  return table;
}

const table = fullTable();
const limits = { perSource: 64, perDestination: 0, total: 65_536, proxyAbove: 10_000 };
const halfOpen = new HalfOpen(table, key, limits);
const rate = new SourceRate(key, 100, 200);
const drop = new EarlyDrop(table, () => true, random);
const cookies = new SynCookies(key);
const proxy = new SynProxy(cookies, CAUTIOUS_PROMISE, new Float64Array(COUNTER_CELLS));
const bytes = new Uint8Array(2048);
const packet = { words, isIpv6: false, ipAt: FRAME, l4At: FRAME + 20 };

/** A SYN with a segment size, as a flood sends it. */
function writeSyn(source: number): void {
  writeHeader(bytes, FRAME, 44, 64, PROTOCOL_TCP, source, SERVER);
  setI32(bytes, FRAME + 20, 0x9c400050);
  setI32(bytes, FRAME + 24, source);
  setI32(bytes, FRAME + 28, 0);
  setI32(bytes, FRAME + 32, 0x60020000);
  setU16(bytes, FRAME + 34, 64_000);
  setI32(bytes, FRAME + 40, 0x020405b4);
}

const CASES: readonly (readonly [string, (source: number) => number])[] = [
  ["half-open: judge", () => halfOpen.judge(words, 0, words, 4, 80)],
  ["half-open: flooded", () => (halfOpen.isFlooded(words, 4, 80) ? 1 : 0)],
  ["source rate: take", () => (rate.take(words, 0, clock) ? 1 : 0)],
  ["early drop: choose, a fifth may go", () => drop.choose()],
  ["cookie: make", (source) => cookies.make(words, 0, 4, 80, source, 7)],
  ["cookie: check a wrong one", (source) => cookies.check(words, 0, 4, 80, source, source)],
  [
    "proxy: SYN to SYN, ACK in place",
    (source) => {
      writeSyn(source);
      return proxy.answerSyn(packet, bytes, 0);
    },
  ],
];

function measure(run: (source: number) => number): { readonly ns: number; readonly sum: number } {
  let sum = 0;
  const from = process.hrtime.bigint();
  for (let i = 0; i < operations; i++) {
    const source = sources[i & 0xffff]!;
    words[3] = source;
    clock[0] = i / 100;
    sum = (sum + run(source)) | 0;
  }
  return { ns: Number(process.hrtime.bigint() - from) / operations, sum };
}

const results = CASES.map(() => [] as number[]);
const sums = CASES.map(() => 0);
for (let run = 0; run <= runs; run++) {
  for (const [i, [, operation]] of CASES.entries()) {
    const { ns, sum } = measure(operation);
    // The first run warms up.
    if (run > 0) results[i]!.push(ns);
    sums[i] = sum;
  }
}
console.log(
  `defence: ${operations} operations, ${runs} runs, table of ${CAPACITY}, Node.js ${process.version}`,
);
for (const [i, [name]] of CASES.entries()) {
  const sorted = results[i]!.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  const spread = `${sorted[0]!.toFixed(0)} to ${sorted.at(-1)!.toFixed(0)}`;
  console.log(`  ${name.padEnd(36)} ${median.toFixed(0).padStart(6)} ns  (${spread})  sum ${sums[i]}`);
}
