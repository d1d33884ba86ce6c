/**
 * Compares many sequences with the kernel's conntrack and prints the sums: `node --import tsx chaos/conntrack/conntrack-main.ts
 * [SEEDS] [FIRST]`. Needs root. Exit status 1 when something is unexplained.
 */
import { whyNoKernel } from "./kernel-firewall.ts";
import { runSeeds } from "./run.ts";

const [count = 10_000, first = 0] = process.argv.slice(2).map(Number);
const why = whyNoKernel();
if (why !== undefined) {
  process.stderr.write(`conntrack: ${why}\n`);
  process.exit(2);
}
const result = runSeeds(first, count, (done) => process.stderr.write(`\r${done} of ${count} `));
process.stderr.write("\n");
process.stdout.write(
  `sequences ${result.sequences}, packets ${result.packets}, without difference ${result.agreed}\n`,
);
for (const [name, hits] of [...result.differences].sort((a, b) => b[1] - a[1])) {
  process.stdout.write(`${String(hits).padStart(7)}  ${name}\n`);
}
for (const { seed, text } of result.unexplained)
  process.stdout.write(`unexplained, seed ${seed}:\n${text}\n`);
process.exitCode = result.unexplained.length > 0 ? 1 : 0;
