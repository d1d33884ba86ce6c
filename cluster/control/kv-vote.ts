/**
 * The store's vote on leases: what it stands for in place of a witness, and why that is safe. Pure: facts in, answers out.
 * Owns what is known of the promises in the store; kv-driver.ts reads and writes them, takeover/ uses them as any voter's.
 *
 *   a promise   a member writes its key under the condition that the log's head is the entry that it has applied last. So at that
 *               moment nothing was decided that it does not know, and its lease counts from before it asked.
 *   a fence     a takeover that is committed is the head: whoever has not applied it is promised nothing any more. Promises made
 *               before are in the store in an order with it: whoever has read the takeover has seen them all.
 *
 * How long a promise still runs is told by the reader's own clock: it was made before it was seen.
 */
import type { FenceState } from "../takeover/promise.ts";
import type { ClusterState } from "./model.ts";

interface Seen {
  readonly modRevision: number;
  readonly atMs: number;
}

export class StorePromises {
  /** A lease with all that clocks may differ by. */
  readonly #promiseMs: number;
  readonly #latest = new Map<number, Seen>();

  constructor(promiseMs: number) {
    this.#promiseMs = promiseMs;
  }

  /** The store holds a promise to `node` that was made in `modRevision`. */
  saw(node: number, modRevision: number, nowMs: number): void {
    if (modRevision <= (this.#latest.get(node)?.modRevision ?? 0)) return;
    this.#latest.set(node, { modRevision, atMs: nowMs });
  }

  /**
   * All promises that were made before the last applied entry must have been told. Undefined while `state` knows no epoch after
   * `epoch`: a member that knows as much could still be promised something.
   */
  fence(state: ClusterState, node: number, epoch: number, nowMs: number): FenceState | undefined {
    const reached = state.table.epoch;
    if (reached <= epoch) return undefined;
    const member = state.members.find(({ id }) => id === node);
    const isBarred = member === undefined || member.state === "down" || member.state === "removed";
    const untilMs = (this.#latest.get(node)?.atMs ?? Number.NEGATIVE_INFINITY) + this.#promiseMs;
    return {
      epoch: reached - 1,
      remainingMs: Math.max(0, untilMs - nowMs),
      knownEpoch: isBarred ? reached : 0,
      seenEpoch: 0,
    };
  }
}

/** `self` may ask the store for a promise: its dataplane goes by the state that this member has applied. */
export function mayAsk(state: ClusterState, self: number, epoch: number, incarnation: number): boolean {
  const member = state.members.find(({ id }) => id === self);
  return (
    state.table.epoch === epoch &&
    member?.incarnation === incarnation &&
    member.state !== "down" &&
    member.state !== "removed"
  );
}
