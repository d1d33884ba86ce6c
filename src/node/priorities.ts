/**
 * Priorities: which thread of a member goes before which (SCHED_RR, 1 to 99; ADR 16). All are above ordinary programs and below
 * the kernel's own threads.
 */
import { raiseOrdinaryThreads, requestRealtime } from "../io/sched.ts";

export const PRIORITY = {
  /** Sleeps nearly always, and must die first. */
  lifeline: 30,
  /** Packets and heartbeats. */
  dataplane: 20,
  /**
   * What Node.js does beside: V8 compiles, libuv syncs the log. A thread that collects waits until its compilers stand at a safe
   * point, so what keeps them from running keeps packets waiting (ADR 58).
   */
  helpers: 15,
  /** Consensus and replication must not wait for batch jobs. */
  control: 10,
  /** What loads code (ADR 51): behind what already works, here and in every other member on this machine. */
  starting: 5,
} as const;

type Realtime = "auto" | "never" | undefined;

/** Call it before the process begins a thread of its own: all threads but the caller's are helpers then. */
export function hurryProcess(realtime: Realtime): void {
  if (realtime === "never") return;
  requestRealtime(PRIORITY.starting);
  raiseOrdinaryThreads(PRIORITY.helpers);
}

/** Call it where threads were just begun: what they load must not wait until the machine is idle. */
export function hurryStart(realtime: Realtime): void {
  if (realtime !== "never") raiseOrdinaryThreads(PRIORITY.starting);
}
