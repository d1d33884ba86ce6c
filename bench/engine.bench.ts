/**
 * engine: packets through the dataplane core alone, without ports: what one thread decides and rewrites a second.
 *
 *   node --import tsx bench/engine.bench.ts [--runs 7] [--packets 1000000] [--smoke]
 *
 * Every packet is copied into a frame first, as a driver would deliver it; that copy is measured too, and shown.
 */
import { spawnSync } from "node:child_process";
import { bundled } from "./bundled.ts";
import { NODE_FLAGS } from "./node-flags.ts";

const script = await bundled("bench/engine/run.ts");
const { status } = spawnSync(process.execPath, [...NODE_FLAGS, script, ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
