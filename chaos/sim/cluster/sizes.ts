/**
 * Sizes of a simulated cluster's buffers: as in a node, or small, so that thousands of clusters can be made in little time. Owns
 * the numbers only.
 */
import type { SyncLimits } from "../../../cluster/sync/limits.ts";
import type { EngineLimits } from "../../../src/dataplane/engine-options.ts";
import type { RingSizes } from "../../../src/node/shared-memory.ts";

export interface Sizes {
  readonly poolChunks: number;
  /** Frames that wait at a port. */
  readonly ringFrames: number;
  /** Default: a node's. */
  readonly rings: RingSizes | undefined;
  readonly sync: Partial<SyncLimits> | undefined;
  /** Of the dataplane; default: an engine's own. */
  readonly engine: Partial<EngineLimits> | undefined;
  /** Of the Raft log. */
  readonly segmentBytes: number;
  /** Heartbeats are sealed with a checksum instead of an HMAC: nobody forges any here. */
  readonly hasCheapMac: boolean;
}

export const LAB_SIZES: Sizes = {
  poolChunks: 8192,
  ringFrames: 1024,
  rings: undefined,
  sync: undefined,
  engine: undefined,
  segmentBytes: 262_144,
  hasCheapMac: false,
};

export const SMALL_SIZES: Sizes = {
  poolChunks: 256,
  ringFrames: 128,
  rings: { changes: 512, replicas: 512, ruleLog: 16 },
  sync: {
    backlogRecords: 512,
    drainRecords: 256,
    exportWindowRecords: 128,
    stagedRecords: 512,
  },
  engine: { heldFramesMax: 128, neighboursMax: 64 },
  segmentBytes: 32_768,
  hasCheapMac: true,
};

/** Small, and a burst of flows fills the worker's ring. */
export const CRAMPED_SIZES: Sizes = {
  ...SMALL_SIZES,
  rings: { changes: 16, replicas: 512, ruleLog: 16 },
};
