/**
 * Priorities: which thread of a member goes before which (SCHED_RR, 1 to 99; ADR 16). All are above ordinary programs and below
 * the kernel's own threads.
 */
import { raiseOrdinaryThreads } from "../io/sched.ts";

export const PRIORITY = {
  /** Sleeps nearly always, and must die first. */
  lifeline: 30,
  /** Packets and heartbeats. */
  dataplane: 20,
  /** Consensus and replication must not wait for batch jobs. */
  control: 10,
  /** What loads and compiles code (ADR 23, 51): behind what already works, here and in every other member on this machine. */
  starting: 5,
} as const;

/** Call it where threads were just begun: what they load must not wait until the machine is idle. */
export function hurryStart(realtime: "auto" | "never" | undefined): void {
  if (realtime !== "never") raiseOrdinaryThreads(PRIORITY.starting);
}
