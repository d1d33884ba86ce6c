/**
 * sync lag: what replication costs and how far it lags, between two processes over gRPC with mTLS on loopback: rings in shared
 * memory, worker threads that wake by doorbell, everything as in a node but the packets.
 *
 *   lag          1,000, 10,000 and 50,000 new flows a second (3 changes each): time from change to acknowledgement by the other
 *                dataplane, as seen by the dataplane; CPU of the main threads for 100,000 flows; bytes on the owner's sockets,
 *                with all that protobuf, HTTP/2 and TLS add
 *   throughput   records a second, as fast as they are taken
 *   joining      a new backup gets every flow of 64 slots and proves it: 100,000 and 1,000,000 flows
 *   gather       only when asked for: lag and CPU at 10,000 new flows a second by how long changes gather (the limit gatherUs)
 *
 *   node --import tsx bench/sync-lag.bench.ts [--runs 5] [--only lag,throughput,joining,gather] [--rates 1000,10000] [--smoke]
 *
 * Every figure stands beside its budget (docs/architecture.md, section 8), if it has one; docs/replication-cost.md explains them.
 */
import { bundled, runBundled } from "./bundled.ts";

await bundled("bench/sync-lag/backup.ts");
await bundled("bench/sync-lag/model-worker.ts");
await runBundled("bench/sync-lag/run.ts");
