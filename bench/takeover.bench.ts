/**
 * takeover: what the dataplane of the survivor has to do to go on with a dead node's half of the slots, with 1,000,000 flows in its
 * table: the real dataplane core and its liveness, lease and ownership rules over memory ports, in virtual time; what is measured
 * is the real time that its calls take. How long hosts wait is failover.bench.ts's.
 *
 *   steer    the peer falls silent on all links: its flows are forwarded here, and the slots' virtual MACs announced
 *   gain     the committed table says that the slots are ours, and the peer's process is gone: we decide them
 *   packet   the first packet of a flow that was the peer's
 *
 *   node --import tsx bench/takeover.bench.ts [--runs 9] [--smoke]
 */
import { runBundled } from "./bundled.ts";

await runBundled("bench/takeover/run.ts");
