/**
 * sync compression: whether it would pay to compress batches of flow records: what a compressor saves of real records, what CPU it
 * takes at both ends, and how fast a link would have to be for its saved time to be worth it.
 *
 *   node --import tsx bench/sync-compression.bench.ts [--runs 5] [--smoke]
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateRawSync,
  inflateRawSync,
  constants as Zlib,
} from "node:zlib";
import { RECORD_BYTES } from "../src/base/record.ts";
import { slotOfAddress } from "../src/dataplane/slot.ts";
import { tcp, words } from "../test/unit/dataplane/frames.ts";
import { Pair, SLOTS } from "../test/unit/dataplane/pair.ts";
import { PORT_INSIDE, TEST_KEY } from "../test/unit/dataplane/world.ts";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "5" }, smoke: { type: "boolean", default: false } },
});
const runs = values.smoke ? 1 : Number(values.runs);
const rounds = values.smoke ? 5 : 200;

/** Records of new TCP connections behind SNAT, from hosts of one network, as an engine publishes them. */
function batchOf(records: number): Uint8Array {
  const pair = new Pair(undefined, {}, 8192);
  const hosts = Array.from({ length: 250 }, (_, i) => `10.10.0.${i + 2}`).filter(
    (host) => slotOfAddress(TEST_KEY, SLOTS, words(host), 0) % 2 === 0,
  );
  const { ring } = pair.one;
  for (let i = 0; ring!.length() < records; i++) {
    const from = hosts[i % hosts.length]!;
    const to = `198.51.100.${20 + (i % 7)}`;
    const sport = 32_768 + ((i * 7919) % 28_000);
    pair.one.packet(
      PORT_INSIDE,
      tcp({ from, to, sport, dport: i % 3 === 0 ? 80 : 443, flags: "S", seq: i * 99_991 }),
    );
    pair.one.take();
    pair.acknowledge(pair.one);
  }
  const out = new Uint8Array(records * RECORD_BYTES);
  for (let i = 0; i < records; i++) {
    const at = ring!.at(i);
    out.set(ring!.bytes.subarray(at, at + RECORD_BYTES), i * RECORD_BYTES);
  }
  return out;
}

/** CPU time of this thread, in us. */
function cpuUs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1000;
}

const WAYS = [
  {
    name: "deflate level 1",
    pack: (b: Uint8Array) => deflateRawSync(b, { level: 1 }),
    unpack: (b: Uint8Array) => inflateRawSync(b),
  },
  {
    name: "brotli quality 1",
    pack: (b: Uint8Array) => brotliCompressSync(b, { params: { [Zlib.BROTLI_PARAM_QUALITY]: 1 } }),
    unpack: (b: Uint8Array) => brotliDecompressSync(b),
  },
];

console.log(`sync compression: CPU a record, ${runs} runs; median`);
console.log(`machine: ${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}; Node.js ${process.version}`);
for (const records of [17, 96]) {
  const batch = batchOf(records);
  for (const { name, pack, unpack } of WAYS) {
    const packed = pack(batch);
    const costs: number[] = [];
    for (let run = 0; run < runs; run++) {
      const began = cpuUs();
      for (let i = 0; i < rounds; i++)
        if (unpack(pack(batch)).length !== batch.length) throw new Error("lost bytes");
      costs.push((cpuUs() - began) / rounds / records);
    }
    const cost = costs.sort((a, b) => a - b)[costs.length >> 1]!;
    const savedBytes = RECORD_BYTES - packed.length / records;
    console.log(
      `${String(records).padStart(3)} records, ${name.padEnd(16)} ${RECORD_BYTES} -> ${(packed.length / records).toFixed(0)} bytes a record, ${cost.toFixed(2)} us at both ends: pays below ${((savedBytes * 8) / cost).toFixed(0)} Mbit/s`,
    );
  }
}
