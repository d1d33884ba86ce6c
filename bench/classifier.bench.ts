/**
 * classifier: what it takes to find the first rule that a packet matches, for rule sets of several shapes and sizes.
 *
 *   node --import tsx bench/classifier.bench.ts [--runs 7] [--packets 30720] [--sizes 10,100,1000,10000] [--smoke]
 *
 * Packets follow each other as they would not in any network: each leads to other rules than the one before, so what a look-up
 * reads is rarely in the cache. "worst" is the packet that took longest when it was looked up again and again.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { writeAddress } from "../src/base/address.ts";
import { compileRules } from "../src/dataplane/rules/compile.ts";
import { NO_RULE, RuleQuery, RuleTable } from "../src/dataplane/rules.ts";
import { type Probe, probes, ruleSet, SHAPE_NAMES } from "./classifier/rule-sets.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    packets: { type: "string", default: "30720" },
    sizes: { type: "string", default: "10,100,1000,10000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const packets = values.smoke ? 768 : Number(values.packets);
const sizes = (values.smoke ? "10,1000" : values.sizes).split(",").map(Number);

/** Packets between two looks at the clock. */
const BATCH = 64;
/** Packets that are tried for the worst, and how often each. */
const WORST_PACKETS = Math.min(packets, 3072);
const WORST_ROUNDS = 5;
/** A packet as words: addresses, and five fields after them. */
const PROBE_WORDS = 13;

class Case {
  readonly name: string;
  readonly count: number;
  readonly table: RuleTable;
  readonly buildMs: number;
  readonly #probes: Int32Array;
  readonly #query = new RuleQuery();
  readonly #timesNs: number[] = [];
  #hits = -1;

  constructor(shape: string, count: number) {
    const set = ruleSet(shape, count);
    this.name = shape;
    this.count = count;
    const before = process.cpuUsage();
    this.table = new RuleTable(compileRules(set.rules), new Float64Array(count + 1));
    const { user, system } = process.cpuUsage(before);
    this.buildMs = (user + system) / 1000;
    this.#probes = packed(probes(set, packets));
  }

  /** One pass over all packets, timed in batches. */
  run(): void {
    let hits = 0;
    for (let from = 0; from < packets; from += BATCH) {
      const started = process.hrtime.bigint();
      for (let i = from; i < from + BATCH; i++) hits += this.#look(i);
      this.#timesNs.push(Number(process.hrtime.bigint() - started) / BATCH);
    }
    if (this.#hits >= 0 && hits !== this.#hits)
      throw new Error(`${this.name}: ${hits} hits, not ${this.#hits}`);
    this.#hits = hits;
  }

  report(): string {
    const times = this.#timesNs.sort((a, b) => a - b);
    const at = (part: number): string => `${Math.round(times[Math.floor(part * times.length)]!)}`.padStart(5);
    const { classifier } = this.table;
    return [
      this.name.padEnd(16),
      this.count.toLocaleString("en").padStart(6),
      `p50 ${at(0.5)} ns, p99 ${at(0.99)} ns, worst ${Math.round(this.#worstNs()).toString().padStart(5)} ns`,
      `${((100 * this.#hits) / packets).toFixed(0)} % match`.padStart(11),
      `made in ${this.buildMs.toFixed(0)} ms`.padStart(15),
      `${(classifier.bytes / 2 ** 20).toFixed(1)} MiB, ${classifier.rowsMeeting} rows meet`.padStart(22),
    ].join("  ");
  }

  #worstNs(): number {
    let worst = 0;
    for (let packet = 0; packet < WORST_PACKETS; packet++) {
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0; round < WORST_ROUNDS; round++) {
        const started = process.hrtime.bigint();
        for (let i = 0; i < BATCH; i++) this.#look(packet);
        best = Math.min(best, Number(process.hrtime.bigint() - started) / BATCH);
      }
      worst = Math.max(worst, best);
    }
    return worst;
  }

  /** 1 when a rule matches. */
  #look(packet: number): number {
    const all = this.#probes;
    const query = this.#query;
    const at = packet * PROBE_WORDS;
    for (let word = 0; word < 8; word++) query.words[word] = all[at + word]!;
    query.fromZone = all[at + 8]!;
    query.toZone = all[at + 9]!;
    query.protocol = all[at + 10]!;
    query.sourcePort = all[at + 11]!;
    query.destinationPort = all[at + 12]!;
    return this.table.match(query) === NO_RULE ? 0 : 1;
  }
}

function packed(list: readonly Probe[]): Int32Array {
  const all = new Int32Array(list.length * PROBE_WORDS);
  list.forEach((probe, i) => {
    const at = i * PROBE_WORDS;
    writeAddress(all, at, probe.source);
    writeAddress(all, at + 4, probe.destination);
    all.set([probe.fromZone, probe.toZone, probe.protocol, probe.sourcePort, probe.destinationPort], at + 8);
  });
  return all;
}

const cases = SHAPE_NAMES.flatMap((shape) => sizes.map((count) => new Case(shape, count)));
for (let run = 0; run <= runs; run++) for (const one of cases) one.run();
console.log(
  `classifier: ${cpus()[0]?.model}, Node.js ${process.version}, ${runs} runs of ${packets.toLocaleString("en")} packets`,
);
for (const one of cases) console.log(one.report());
