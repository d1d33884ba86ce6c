/**
 * Child of rule-table.test.ts: matches packets of every kind against a thousand rules in one synchronous run and prints, as
 * JSON, what was collected and allocated meanwhile. Runs alone in its process, so that every collection is the table's.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import type { RuleModel } from "../../../../src/dataplane/policy-model.ts";
import { compileRules } from "../../../../src/dataplane/rules/compile.ts";
import { CLASSIFIER_LIMITS, type ClassifierLimits } from "../../../../src/dataplane/rules/image.ts";
import { RuleQuery, RuleTable } from "../../../../src/dataplane/rules.ts";
import { rule } from "../world.ts";

const count = Number(process.argv[2] ?? 1_000_000);
const rules: RuleModel[] = Array.from({ length: 3000 }, (_, i) =>
  rule(i, {
    sources: i % 3 === 0 ? [] : [{ address: 0x0a000000 + i * 256, bits: 24 }],
    destinations: i % 5 === 0 ? [] : [{ address: (0x20010db8n << 96n) | (BigInt(i) << 64n), bits: 64 }],
    destinationPorts: i % 2 === 0 ? [] : [{ from: i, to: i + 50 }],
    ...(i % 7 === 0 ? { rate: { perSecond: 1000, burst: 10 } } : {}),
    ...(i % 11 === 0 ? { schedule: { days: 127, fromMinute: 0, toMinute: 720 } } : {}),
  }),
);
const coarse: ClassifierLimits = { ...CLASSIFIER_LIMITS, rowBytesMax: 20_000, blockBytesMax: 50_000 };
const hits = new Float64Array(rules.length + 1);
const tables = [CLASSIFIER_LIMITS, coarse].map((limits) => new RuleTable(compileRules(rules, limits), hits));
const query = new RuleQuery();
const clock = Float64Array.of(0.5);

/** Synchronous; returns how many packets were let through. */
function run(packets: number): number {
  let taken = 0;
  for (let i = 0; i < packets; i++) {
    const table = tables[i & 1]!;
    const isIpv6 = (i & 2) !== 0;
    query.words[0] = isIpv6 ? 0x20010db8 : 0;
    query.words[1] = isIpv6 ? i % 4000 : 0;
    query.words[2] = isIpv6 ? 0 : 0xffff;
    query.words[3] = isIpv6 ? i : 0x0a000000 + (i % 1_000_000);
    for (let word = 0; word < 4; word++) query.words[4 + word] = query.words[word]!;
    query.protocol = i % 3 === 0 ? 6 : 17;
    query.tcpFlags = i % 3 === 0 ? 2 : -1;
    query.sourcePort = i & 0xffff;
    query.destinationPort = (i * 7) & 0xffff;
    query.isTranslated = (i & 4) !== 0;
    const matched = table.match(query);
    clock[0] = clock[0]! + 0.001;
    if (matched >= 0 && table.take(matched, clock)) taken++;
    if (i % 1000 === 0) table.setMinute(1 << (i % 7), i % 1440);
  }
  return taken;
}

run(200_000);
const kinds: number[] = [];
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries())
    kinds.push((entry as unknown as { detail: { kind: number } }).detail.kind);
});
observer.observe({ entryTypes: ["gc"] });
await setTimeout(50);
kinds.length = 0;
const before = process.memoryUsage().heapUsed;
const taken = run(count);
const grownBytes = process.memoryUsage().heapUsed - before;
await setTimeout(20);
observer.disconnect();
const coarseAxes = tables[1]!.classifier.coarseAxes;
process.stdout.write(JSON.stringify({ collections: kinds.length, grownBytes, taken, coarseAxes }));
