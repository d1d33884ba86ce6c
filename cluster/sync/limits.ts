/**
 * Limits of replication: every queue, window and wait has its maximum here. Owns the defaults and how they relate.
 */
import { assert } from "../../src/base/assert.ts";
import { BATCH_RECORDS_MAX } from "./messages.ts";

export interface SyncLimits {
  /** Records kept for one peer until it acknowledged them; a power of two. More than that: the slots are sent again. */
  readonly backlogRecords: number;
  /** A batch that is not full waits while this many are unacknowledged; 1 = sent when the stream is idle. */
  readonly gatherAtBatches: number;
  /** Between two looks into the changes ring, in microseconds, unless a full batch waits there. */
  readonly gatherUs: number;
  /** The same while every stream waits for an acknowledgement: what waits leaves with that, and a look before would be for nothing. */
  readonly gatherWaitingUs: number;
  /** Records taken from the changes ring before others have their turn. */
  readonly drainRecords: number;
  /** Slots on their way to new backups at a time. */
  readonly exportSlots: number;
  /** While so much is on its way to the peer of a snapshot, the worker adds nothing to that; live changes queue behind. */
  readonly exportWindowRecords: number;
  /** How long a peer that acknowledges nothing may hold snapshots back for the sake of that window. */
  readonly exportPauseMsMax: number;
  /** The worker has this long to begin an export that it was asked for, and to end it with a digest. */
  readonly exportDeadlineMs: number;
  /** A snapshot that takes longer than this is asked for again. */
  readonly exportMsMax: number;
  /** A slot that is asked for again and again waits this long, then twice as long, up to the maximum. */
  readonly resyncBackoffMs: number;
  readonly resyncBackoffMsMax: number;
  /** An idle stream carries a heartbeat this often. */
  readonly heartbeatMs: number;
  /** A peer that answers nothing for this long is connected anew. */
  readonly answerMsMax: number;
  /** Between two links that did not come to a welcome: at first, and at most. */
  readonly reconnectMs: number;
  readonly reconnectMsMax: number;
  /** Records of one peer that wait while the replicas ring is full. */
  readonly stagedRecords: number;
  /** Written batches of which the worker has not applied everything yet. */
  readonly unappliedBatches: number;
  /** Every slot's digest is compared once in this time. */
  readonly digestIntervalMs: number;
  /** A proof that the cluster has not committed yet is reported again after this time. */
  readonly readyRepeatMs: number;
}

export const DEFAULT_SYNC_LIMITS: SyncLimits = {
  backlogRecords: 65_536,
  gatherAtBatches: 1,
  gatherUs: 300,
  gatherWaitingUs: 1000,
  drainRecords: 16_384,
  exportSlots: 8,
  exportWindowRecords: 2048,
  exportPauseMsMax: 100,
  exportDeadlineMs: 3000,
  exportMsMax: 30_000,
  resyncBackoffMs: 1000,
  resyncBackoffMsMax: 60_000,
  heartbeatMs: 100,
  answerMsMax: 3000,
  reconnectMs: 50,
  reconnectMsMax: 1000,
  stagedRecords: 16_384,
  unappliedBatches: 8192,
  digestIntervalMs: 5000,
  readyRepeatMs: 1000,
};

/** Limits with the defaults filled in, checked for how they relate. */
export function syncLimits(wanted: Partial<SyncLimits> = {}): SyncLimits {
  const limits = { ...DEFAULT_SYNC_LIMITS, ...wanted };
  for (const [name, value] of Object.entries(limits)) {
    assert(
      Number.isInteger(value) && value > 0,
      `sync limit ${name} must be a whole number above 0, is ${value}`,
    );
  }
  const { backlogRecords } = limits;
  assert(
    (backlogRecords & (backlogRecords - 1)) === 0,
    `backlogRecords ${backlogRecords} is not a power of two`,
  );
  assert(
    limits.exportWindowRecords * 2 <= backlogRecords,
    "exportWindowRecords must be at most half of backlogRecords, or a snapshot could crowd out live changes",
  );
  assert(limits.gatherWaitingUs >= limits.gatherUs, "gatherWaitingUs is below gatherUs");
  assert(
    limits.stagedRecords >= BATCH_RECORDS_MAX,
    `stagedRecords must hold a full batch of ${BATCH_RECORDS_MAX} records`,
  );
  assert(
    limits.answerMsMax >= 3 * limits.heartbeatMs,
    "answerMsMax must be at least 3 x heartbeatMs, or one late answer would cost the link",
  );
  assert(limits.reconnectMsMax >= limits.reconnectMs, "reconnectMsMax is below reconnectMs");
  assert(limits.resyncBackoffMsMax >= limits.resyncBackoffMs, "resyncBackoffMsMax is below resyncBackoffMs");
  return limits;
}
