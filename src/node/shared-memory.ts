/**
 * Shared memory: everything that the control thread and the dataplane worker share, allocated once by the control thread.
 * Who writes what:
 *
 *   changes ring    worker -> main     every change of a flow, in order
 *   replicas ring   main -> worker     what peers sent, in order
 *   applied         worker writes      records of the replicas ring applied since start
 *   acked           main writes        by peer: changes that the peer's dataplane has applied
 *   lease           worker writes      exclusive actions are allowed until then (CLOCK_MONOTONIC ms)
 *   ruleLog ring    worker -> main     what rules with log: true decided
 *   board           worker writes      losses of ports, refused heartbeats, beats (worker-board.ts)
 *   natUsage        worker writes      use of pool addresses (nat-usage.ts)
 *   flows, counters, ruleHits, redirects    worker writes, main reads
 */

import { RECORD_BYTES } from "../base/record.ts";
import { createRing, type RingMemory } from "../base/ring.ts";
import { MAX_NODE_ID } from "../dataplane/cluster-view.ts";
import { COUNTER_CELLS } from "../dataplane/counters.ts";
import { NAT_USAGE_BYTES } from "../dataplane/nat-usage.ts";
import { REDIRECT_COUNT_CELLS } from "../dataplane/redirect.ts";
import { RULE_LOG_BYTES } from "../dataplane/rule-log.ts";
import { WORKER_BOARD_BYTES } from "./worker-board.ts";

/** How many records each ring holds; powers of two. */
export interface RingSizes {
  readonly changes: number;
  readonly replicas: number;
  readonly ruleLog: number;
}

const RING_SIZES: RingSizes = {
  /** 0.3 s at 200,000 changes a second. */
  changes: 65_536,
  replicas: 65_536,
  /** 4 s of the default rate: a busy main thread loses no lines. */
  ruleLog: 4096,
};

export interface SharedMemory {
  readonly flows: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly ruleHits: SharedArrayBuffer;
  readonly natUsage: SharedArrayBuffer;
  readonly changes: RingMemory;
  readonly replicas: RingMemory;
  readonly ruleLog: RingMemory;
  /** Float64 [0]: records applied. */
  readonly applied: SharedArrayBuffer;
  /** Float64 by node id. */
  readonly acked: SharedArrayBuffer;
  /** Float64 [0]: lease end. */
  readonly lease: SharedArrayBuffer;
  readonly board: SharedArrayBuffer;
  /** Float64 by peer: REDIRECT_CELLS each. */
  readonly redirects: SharedArrayBuffer;
}

export function createSharedMemory(
  flowTableBytes: number,
  rules: number,
  sizes: RingSizes = RING_SIZES,
): SharedMemory {
  return {
    flows: new SharedArrayBuffer(flowTableBytes),
    counters: new SharedArrayBuffer(8 * COUNTER_CELLS),
    ruleHits: new SharedArrayBuffer(8 * Math.max(1, rules + 1)),
    natUsage: new SharedArrayBuffer(NAT_USAGE_BYTES),
    changes: createRing(RECORD_BYTES, sizes.changes),
    replicas: createRing(RECORD_BYTES, sizes.replicas),
    ruleLog: createRing(RULE_LOG_BYTES, sizes.ruleLog),
    applied: new SharedArrayBuffer(8),
    acked: new SharedArrayBuffer(8 * (MAX_NODE_ID + 1)),
    lease: new SharedArrayBuffer(8),
    board: new SharedArrayBuffer(WORKER_BOARD_BYTES),
    redirects: new SharedArrayBuffer(8 * REDIRECT_COUNT_CELLS),
  };
}
