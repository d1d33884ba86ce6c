/**
 * transport floor: what one batch and its acknowledgement cost the two processes of a pair before any of our own code runs, over
 * loopback with mTLS 1.3: by @grpc/grpc-js, by node:http2 with gRPC's framing, and by a bare TLS socket.
 *
 *   in turn    the next batch leaves when the last one is acknowledged: everything stays in the caches
 *   by clock   a batch each millisecond, as replication has it: both processes sleep in between; the sender's timer is in its figure
 *
 *   node --import tsx bench/transport-floor.bench.ts [--runs 5] [--smoke]
 *
 * Not a budget: it says what can be reached by other transports. docs/replication-cost.md draws the conclusions.
 */
import { bundled, runBundled } from "./bundled.ts";

await bundled("bench/transport-floor/echo.ts");
await runBundled("bench/transport-floor/run.ts");
