/**
 * Low descriptors: keeps the lowest file descriptors for sockets to peers. When a process is killed, the kernel closes its
 * descriptors in ascending order, and detaching an XDP socket waits for the network stack (tens of milliseconds): a lifeline
 * with a higher number than the ports would tell the peers that much later that the process is gone.
 */
import { closeSync, openSync } from "node:fs";

/** A listener and a connection each way for every peer of the largest cluster, for Raft, replication and lifelines. */
const KEPT = 64;

/** Takes the lowest free descriptors; the function that it answers gives them back, for whatever opens next. */
export function keepLowDescriptors(): () => void {
  let kept = Array.from({ length: KEPT }, () => openSync("/dev/null", "r"));
  return () => {
    for (const descriptor of kept) closeSync(descriptor);
    kept = [];
  };
}
