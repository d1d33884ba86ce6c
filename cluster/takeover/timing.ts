/**
 * Timing rules shared by lease, promise and fence: how the clocks of two machines may differ, and how long a fence binds.
 * Owns the constants and the argument why they fit together.
 *
 * Each clock runs at 1 +- 0.5 % of true time. A holder's lease of L lasts at most L / 0.995 in truth; a voter's promise of
 * 1.01 L + margin at least (1.01 L + margin) / 1.005: the promise outlives the lease that it backs.
 *
 *   voter:  a fence binds for 10 L after the last ask, then lapses: an aborted takeover cuts nobody off for ever.
 *   asker:  trusts a voter's fence for 2 L after it *sent* the ask, and repeats the ask every few ms.
 *   owner:  acts for at most L after its last look (its own lease ends then), so at most 3 L after the ask.
 *   voter, restarted: has forgotten its fences, so it acknowledges nobody for 1.01 x 3 L + margin.
 */

/** 1 % covers two clocks of 0.5 % each. */
export const DRIFT = 1.01;
/** Covers the rounding of the two drifts and of timers. */
export const DEFAULT_MARGIN_MS = 2;
export const FENCE_BINDS_LEASES = 10;
export const FENCE_TRUST_LEASES = 2;
export const QUIET_LEASES = FENCE_TRUST_LEASES + 1;

/** How long a voter's promise binds it, on its own clock, so that it outlives the lease that it backs. */
export function promiseMs(leaseMs: number, marginMs = DEFAULT_MARGIN_MS): number {
  return leaseMs * DRIFT + marginMs;
}

/** How many of `voters` make a majority. */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}
