/**
 * Queue budget: how many receive queues the ports of one worker may have. Each takes 16 MiB of frame memory that stays locked, and
 * one thread reads them all, so more queues cost memory and carry nothing. Owns the limits and the line that says how to keep them.
 */
import { CardError } from "./errors.ts";

/** scripts/prepare-interfaces.sh sets cards that have more to this many. */
export const QUEUES_PER_PORT_MAX = 8;
/** 1 GiB of frame memory; far below the holders that a chunk pool can tell apart. */
export const QUEUES_MAX = 64;

/** A card has too many queues. */
export class QueueError extends CardError {
  constructor(interfaceName: string, why: string, queues: number) {
    super(
      interfaceName,
      why,
      `ethtool -L ${interfaceName} combined ${queues} (rx ${queues} where combined is n/a)`,
    );
  }
}

/** Throws QueueError (SW_IO_INTERFACE) when one port, or all together, have more queues than are served. */
export function checkQueues(
  interfaces: readonly { readonly name: string; readonly rxQueues: number }[],
): void {
  for (const { name, rxQueues } of interfaces) {
    if (rxQueues <= QUEUES_PER_PORT_MAX) continue;
    const why = `it has ${rxQueues} receive queues, at most ${QUEUES_PER_PORT_MAX} are served`;
    throw new QueueError(name, why, shareOf(interfaces.length));
  }
  const all = interfaces.reduce((sum, one) => sum + one.rxQueues, 0);
  if (all <= QUEUES_MAX) return;
  const widest = interfaces.reduce((a, b) => (b.rxQueues > a.rxQueues ? b : a));
  const why = `all interfaces together have ${all} receive queues, at most ${QUEUES_MAX} are served`;
  throw new QueueError(widest.name, why, shareOf(interfaces.length));
}

/** Queues that each of so many ports may have. */
function shareOf(ports: number): number {
  return Math.min(QUEUES_PER_PORT_MAX, Math.max(1, Math.floor(QUEUES_MAX / ports)));
}
