/**
 * engine: packets through the dataplane core alone, without ports: what one thread decides and rewrites a second.
 *
 *   node --import tsx bench/engine.bench.ts [--runs 7] [--packets 1000000] [--smoke]
 *
 * Every packet is copied into a frame first, as a driver would deliver it; that copy is measured too, and shown.
 */
import { runBundled } from "./bundled.ts";

await runBundled("bench/engine/run.ts");
