/**
 * Child of fragments.test.ts: pushes fragments of both families through a table in one synchronous run, whole datagrams and
 * a flood that makes all the others lose their place, and prints as JSON what was collected and allocated meanwhile.
 */
import { PerformanceObserver, performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { COUNTER_CELLS } from "../../../src/dataplane/counters.ts";
import { fragmentLimits } from "../../../src/dataplane/fragment-limits.ts";
import { meetingSlot } from "../../../src/dataplane/fragment-meeting.ts";
import { Fragmenter } from "../../../src/dataplane/fragmenter.ts";
import { COMPLETE, Fragments } from "../../../src/dataplane/fragments.ts";
import { createMemoryPool } from "../../../src/io/memory.ts";
import { setI32, setU16 } from "../../../src/packet/bytes.ts";
import { FragmentInfo, readFragment } from "../../../src/packet/fragment.ts";
import { cutPayload, fragmentPacket, ipv6, KEY, pattern } from "./fragment-frames.ts";

const rounds = Number(process.argv[2] ?? 100_000);
const pool = createMemoryPool(4096);
const counters = new Float64Array(COUNTER_CELLS);
const clock = Float64Array.of(1_000_000.25);
const table = new Fragments({ frames: pool, counters, clock, key: KEY }, fragmentLimits(pool.chunks));
const fragmenter = new Fragmenter({ frames: pool, counters }, 64);
const info = new FragmentInfo();
const slots = new Int32Array(64);

const packets = [{ from: "10.0.0.1" }, { from: ipv6(0x20010db8, 1, 1) }].flatMap((family) =>
  cutPayload(pattern(3000), 1480).map((piece) => fragmentPacket({ ...piece, ...family })),
);
/** Offset of the identification's last 16 bits, and of the word of the source's address that changes. */
const ID_AT = [4, 46];
const SOURCE_AT = [12, 12];
let whole = 0;

function push(template: number, id: number, source: number): void {
  const packet = packets[template]!;
  const family = template < 3 ? 0 : 1;
  const at = pool.alloc();
  const ip = at + 14;
  pool.bytes.set(packet, ip);
  setU16(pool.bytes, ip + ID_AT[family]!, id);
  setI32(pool.bytes, ip + SOURCE_AT[family]!, source);
  readFragment(pool.bytes, ip, packet.length, info);
  const slot = meetingSlot(KEY, 64, info);
  slots[slot] = slots[slot]! + 1;
  if (table.add(info, at, packet.length + 14, 0, 1, 0, 0) !== COMPLETE) return;
  whole++;
  while (table.take()) {
    if (table.offsetBytes === 0 && family === 0) cut();
    else pool.free(table.at);
  }
}

function cut(): void {
  fragmenter.cut(table.at, table.at + 14, 800);
  for (let i = 0; i < fragmenter.pieces; i++) pool.free(fragmenter.at[i]!);
}

function run(n: number): void {
  for (let i = 0; i < n; i++) {
    clock[0] = clock[0]! + 0.05;
    const first = (i & 1) * 3;
    push(first + (i % 3), i & 0xffff, i & 255);
    push(first + ((i + 1) % 3), i & 0xffff, i & 255);
    push(first + ((i + 2) % 3), i & 0xffff, i & 255);
    // What nobody completes, from ever new sources.
    push(first, i & 0xffff, i | 0x10000000);
    while (table.takeExpired()) pool.free(table.at);
  }
}

run(20_000);
let collections = 0;
const observer = new PerformanceObserver((list) => {
  collections += list.getEntries().length;
});
observer.observe({ entryTypes: ["gc"] });
await setTimeout(10);
observer.takeRecords();
collections = 0;
const before = process.memoryUsage().heapUsed;
const startMs = performance.now();
run(rounds);
const nsPerFragment = ((performance.now() - startMs) * 1e6) / (rounds * 4);
const grownBytes = process.memoryUsage().heapUsed - before;
await setTimeout(10);
collections += observer.takeRecords().length;
process.stdout.write(JSON.stringify({ collections, grownBytes, whole, nsPerFragment, frames: table.frames }));
