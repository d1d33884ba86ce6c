/**
 * Tuning: the cadence of Raft and of its snapshots, and how it follows from the liveness profile. Owns the numbers only.
 */
import type { LivenessProfile } from "../liveness/model.ts";

/** The rest of a cluster's cadence follows from these: election timeout = electionTick..2 * electionTick - 1 ticks. */
export interface DriverTuning {
  readonly tickMs: number;
  readonly electionTick: number;
  readonly heartbeatTick: number;
  /** Entries between two snapshots, and bytes after which one is made earlier. */
  readonly snapshotEntries: number;
  readonly snapshotBytes: number;
  /** Entries kept behind a snapshot for followers that are a little behind. */
  readonly keepEntries: number;
}

export const DEFAULT_TUNING: DriverTuning = {
  tickMs: 10,
  electionTick: 15,
  heartbeatTick: 3,
  // The state is some 10 KiB: a snapshot costs one write, an entry that a member must replay when it starts a millisecond.
  snapshotEntries: 256,
  snapshotBytes: 4 * 1_048_576,
  keepEntries: 256,
};

/** How much longer the shortest election timeout is than what liveness takes to judge, or a lease to run out. */
const PATIENCE = 1.25;

/**
 * The tick of a profile. An election by the clock is the last resort: liveness finds a dead leader first, and a leader that
 * liveness still calls alive must not be replaced. Slow links get slow heartbeats as well. A lan keeps the default.
 *
 *   profile   tick     heartbeat   election by the clock   by a witness
 *   lan       10 ms    30 ms       150..290 ms             450..870 ms
 *   vm        17 ms    51 ms       255..493 ms             765..1479 ms
 *   wan       100 ms   300 ms      1.5..2.9 s              4.5..8.7 s
 */
export function tuningOf(profile: LivenessProfile): DriverTuning {
  const { intervalMs, multiplier, leaseMs } = profile;
  const patienceMs = PATIENCE * Math.max(intervalMs * multiplier, leaseMs);
  const tickMs = Math.max(DEFAULT_TUNING.tickMs, Math.ceil(patienceMs / DEFAULT_TUNING.electionTick));
  return { ...DEFAULT_TUNING, tickMs };
}
