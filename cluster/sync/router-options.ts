/**
 * Router options: what a router of replication (router.ts) is given, and what it counts.
 */
import type { Env } from "../../src/base/env.ts";
import type { RecordRing } from "../../src/base/ring.ts";
import type { SyncLimits } from "./limits.ts";
import type { ResyncReason } from "./messages.ts";
import type { SessionEnd } from "./sender.ts";
import type { RecordFormat } from "./wire-format.ts";

export interface RouterOptions {
  readonly selfId: number;
  readonly slots: number;
  readonly changes: RecordRing;
  /** By node id; written here, read by the worker. */
  readonly acked: Float64Array;
  readonly limits: SyncLimits;
  readonly env: Env;
  /** This node's policy fingerprint, told to every peer; absent: unknown. */
  readonly policy?: string;
  /** Versions of records (wire-format.ts). */
  readonly formats?: readonly RecordFormat[];
  /** Asks the worker to publish these slots whole: BEGIN, records, END, DIGEST. */
  readonly requestExport: (slots: readonly number[]) => void;
  /** Slots are sent to this peer again: because somebody asked, or because a session ended and with it what was under way. */
  readonly onResync: (peerId: number, slots: readonly number[], reason: ResyncReason | SessionEnd) => void;
  /** A stream to this peer ends because one end does not take what the other says. */
  readonly onRefused: (peerId: number, why: string) => void;
}

/** Numbers that only grow. */
export interface RouterCounts {
  drained: number;
  /** Changes of slots that have no backup. */
  unbacked: number;
  /** Changes that wait for a snapshot instead, since their peer fell behind or away. */
  lost: number;
  /** Records of slots that this node neither owns nor leaves, or markers of snapshots that were given up. */
  stray: number;
  exportsAsked: number;
  exportsDone: number;
  exportsExpired: number;
  /** Barriers that had to wait for a snapshot of lost records, and those that went without it in the end. */
  barriersOwed: number;
  barriersBare: number;
  /** Times that ackedSequence of some peer went up: when this is news, the worker may have packets to let go. */
  claims: number;
  readonly resyncs: Record<ResyncReason, number>;
}

export function routerCounts(): RouterCounts {
  return {
    drained: 0,
    unbacked: 0,
    lost: 0,
    stray: 0,
    exportsAsked: 0,
    exportsDone: 0,
    exportsExpired: 0,
    barriersOwed: 0,
    barriersBare: 0,
    claims: 0,
    resyncs: { digest: 0, refused: 0, operator: 0 },
  };
}
