/** What bench/engine.bench.ts runs, in a process of its own. Every packet is copied into a frame first, as a driver would deliver it. */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { SLOT_REMOTE } from "../../src/dataplane/cluster-view.ts";
import { flowTableBytes } from "../../src/dataplane/flow-table.ts";
import { Bed, CHUNK, FLOWS_MAX, FRAME, images } from "./bed.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    packets: { type: "string", default: "1000000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const packets = values.smoke ? 20_000 : Number(values.packets);

interface Case {
  readonly name: string;
  run(): number;
}

/** Packets a second of established flows. */
function established(flows: number): Case {
  const bed = new Bed(100, true);
  const all = images(flows);
  for (let i = 0; i < flows; i++) bed.push(0, all, i * FRAME);
  bed.ring.release(bed.ring.length());
  return {
    name: `established UDP + SNAT, flows: ${flows.toLocaleString("en")}`,
    run: () => measure(packets, (i) => bed.push(0, all, (i % flows) * FRAME)),
  };
}

/** New flows a second; each run has a fresh table. */
function creating(rules: number, isReplicating: boolean): Case {
  const flows = Math.min(packets, 200_000);
  const all = images(flows);
  return {
    name: `new flows + SNAT, ${rules.toLocaleString("en")} rules${isReplicating ? ", records written" : ""}`,
    run: () => {
      const bed = new Bed(rules, isReplicating);
      return measure(flows, (i) => {
        if ((i & 4095) === 0) {
          bed.ring.release(bed.ring.length());
          bed.engine.tick(1000);
        }
        return bed.push(0, all, i * FRAME);
      });
    },
  };
}

function measure(count: number, step: (i: number) => number): number {
  let verdicts = 0;
  const started = process.hrtime.bigint();
  for (let i = 0; i < count; i++) verdicts += step(i);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  // The checksum of the run: every packet was forwarded (verdict 0), every record applied (status 0).
  if (verdicts !== 0) throw new Error("not all packets were forwarded, or not all records applied");
  return count / seconds;
}

/** Records applied a second at a backup that knows none of the flows. */
function applying(): Case {
  const flows = Math.min(packets, 60_000);
  const all = images(flows);
  const owner = new Bed(1, true);
  for (let i = 0; i < flows; i++) owner.push(0, all, i * FRAME);
  return {
    name: "records of new flows applied at the backup",
    run: () => {
      const backup = new Bed(1, true, SLOT_REMOTE);
      return measure(flows, (i) => backup.engine.applyReplica(owner.ring.bytes, owner.ring.at(i), 1000));
    },
  };
}

const copying: Case = {
  name: "copy alone",
  run: () => {
    const all = images(1024);
    const target = new Uint8Array(CHUNK * 64);
    const started = process.hrtime.bigint();
    let sum = 0;
    for (let i = 0; i < packets; i++) {
      const at = (i & 63) * CHUNK;
      for (let j = 0; j < FRAME; j++) target[at + j] = all[(i & 1023) * FRAME + j]!;
      sum += target[at + 50]!;
    }
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    if (sum < 0) throw new Error("unreachable");
    return packets / seconds;
  },
};

const cases = [
  established(1),
  established(1000),
  established(values.smoke ? 4096 : 1_000_000),
  creating(100, true),
  creating(100, false),
  creating(10_000, false),
  applying(),
  copying,
];
for (const { run } of cases) run();
const rates = cases.map((): number[] => []);
for (let i = 0; i < runs; i++) {
  for (const [n, { run }] of cases.entries()) rates[n]!.push(run());
}
console.log(
  `engine: ${cpus()[0]?.model}, Node.js ${process.version}, ${runs} runs of ${packets.toLocaleString("en")}`,
);
console.log(`a flow takes ${(flowTableBytes(FLOWS_MAX) / FLOWS_MAX).toFixed(1)} bytes of the table`);
cases.forEach(({ name }, n) => {
  const sorted = rates[n]!.sort((a, b) => a - b);
  const thousands = (rate: number): string => `${(rate / 1000).toFixed(0)} k/s`.padStart(9);
  const median = sorted[sorted.length >> 1]!;
  console.log(
    `${name.padEnd(58)} ${thousands(median)} (${thousands(sorted[0]!).trim()} to ${thousands(sorted.at(-1)!).trim()})`,
  );
});
