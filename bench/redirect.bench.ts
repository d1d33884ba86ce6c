/**
 * redirect: what it costs to carry a frame to another node and to take it out there, in clear and sealed: one thread, both ends, no
 * ports. The work of a packet besides (parsing, the flow table) is not in it: this is what the option alone adds.
 *
 *   node --import tsx bench/redirect.bench.ts [--runs 7] [--frames 200000] [--smoke]
 */
import { runBundled } from "./bundled.ts";

await runBundled("bench/redirect/run.ts");
