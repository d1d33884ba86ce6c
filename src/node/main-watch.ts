/**
 * Main watch: the packet worker's eye on the control thread. Packets, leases and heartbeats go on without it, so nobody takes over from a node
 * whose control thread hangs; but it replicates nothing, learns nothing that is decided and cannot be drained. One that hangs for good
 * must end. Owns the pace and the limit; the rule is watchdog.ts.
 */
import { Watchdog } from "./watchdog.ts";

const CHECK_MS = 1000;
/** Far beyond a collection of garbage, a slow disk or a full machine: what a node does meanwhile is right, only unprotected. */
export const MAIN_HUNG_MS = 30_000;

export interface MainWatchOptions {
  /** Beats of the control thread so far. */
  readonly beats: () => number;
  readonly nowMs: () => number;
  /** Must end the process without the control thread. */
  readonly onHung: (text: string) => void;
}

/** Gives the function that ends it. */
export function watchMain({ beats, nowMs, onHung }: MainWatchOptions): () => void {
  const dog = new Watchdog({ checkMs: CHECK_MS, limitMs: MAIN_HUNG_MS }, beats(), nowMs());
  const timer = setInterval(() => {
    if (!dog.check(beats(), nowMs())) return;
    clearInterval(timer);
    onHung(
      `SW_DATAPLANE_HUNG: the control thread has stood still for ${MAIN_HUNG_MS / 1000} s: this process ends, so that others take its place and it can be started anew`,
    );
  }, CHECK_MS);
  return () => clearInterval(timer);
}
