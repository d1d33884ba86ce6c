import { DEFAULT_SIM, simulateOwnership } from "/work/main/chaos/sim/ownership.ts";

const [a, b, bug] = process.argv.slice(2);
const t0 = performance.now();
let commits = 0,
  bad = 0;
for (let seed = Number(a); seed <= Number(b); seed++) {
  const r = simulateOwnership({ ...DEFAULT_SIM, seed, ...(bug ? { bug: bug as never } : {}) });
  commits += r.commits;
  if (r.violation) {
    bad++;
    if (bad <= 12) console.log(seed, r.nodes, r.violation);
  }
}
console.log({ bug, bad, commits, ms: performance.now() - t0 });
