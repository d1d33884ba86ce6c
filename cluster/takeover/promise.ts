/**
 * Promise: a voter's side of leases and fences. Owns what this voter has promised to whom and whom it refuses.
 *
 * An acknowledgement promises: for `lease` (plus drift and margin) from now I shall not say that your lease is out. A fence
 * promises the other side: I acknowledge this node no more, and my last promise to it runs so much longer.
 *
 * What a restart forgets is made up for: a new voter assumes a full lease to everybody; it acknowledges nobody while a
 * forgotten fence could still be trusted; and it acknowledges nobody before setCaughtUp(): only then does it know
 * which nodes the cluster has declared down.
 */
import type { Member } from "../control/model.ts";
import { DEFAULT_MARGIN_MS, DRIFT, FENCE_BINDS_LEASES, QUIET_LEASES } from "./timing.ts";

/** Promises to one node are kept apart by the epoch that it knew, newest last; older ones are merged conservatively. */
const PROMISES_MAX = 8;

export interface PromiseConfig {
  readonly leaseMs: number;
  readonly marginMs?: number;
}

/** What a voter tells about its promises to a fenced node. */
export interface FenceState {
  readonly epoch: number;
  readonly remainingMs: number;
  readonly knownEpoch: number;
  readonly seenEpoch: number;
}

interface Granted {
  epoch: number;
  untilMs: number;
}

interface NodeRecord {
  readonly granted: Granted[];
  fencedEpoch: number;
  fenceUntilMs: number;
  seenEpoch: number;
  isBarred: boolean;
  /** The life that the cluster knows; requests of earlier ones are refused. */
  incarnation: number;
}

export class PromiseVoter {
  readonly #promiseMs: number;
  readonly #bindsMs: number;
  readonly #assumedUntilMs: number;
  readonly #quietUntilMs: number;
  readonly #nodes = new Map<number, NodeRecord>();
  #isCaughtUp = false;
  #tableEpoch = 0;
  #quorumEpoch = 0;

  constructor(config: PromiseConfig, nowMs: number) {
    const marginMs = config.marginMs ?? DEFAULT_MARGIN_MS;
    this.#promiseMs = config.leaseMs * DRIFT + marginMs;
    this.#bindsMs = config.leaseMs * FENCE_BINDS_LEASES;
    this.#assumedUntilMs = nowMs + this.#promiseMs;
    this.#quietUntilMs = nowMs + config.leaseMs * QUIET_LEASES * DRIFT + marginMs;
  }

  /**
   * This voter has applied everything that was committed at some moment after its start (a read index, or a command of its
   * own that it saw applied). Until then it acknowledges nobody.
   */
  setCaughtUp(): void {
    this.#isCaughtUp = true;
  }

  /** The committed state that this voter has applied: whoever is down or removed in it is barred. */
  observe(epoch: number, members: readonly Pick<Member, "id" | "state" | "incarnation">[]): void {
    this.#tableEpoch = epoch;
    for (const { id, state, incarnation } of members) {
      const r = this.#record(id);
      r.isBarred = state === "down" || state === "removed";
      r.incarnation = incarnation;
    }
  }

  /** Requests that know an earlier set of voters are refused from here on (control/quorum.ts). */
  setQuorum(epoch: number): void {
    this.#quorumEpoch = epoch;
  }

  /**
   * A lease request of `node` in its life `incarnation`, which knows `epoch`. True: acknowledged, and the promise is made.
   *
   * A node that was declared down and let in again may have a worker that has not heard of either: it asks for its old life,
   * under an epoch in which it still owned slots. Once the fence has lapsed only the incarnation tells it apart.
   */
  request(node: number, epoch: number, incarnation: number, nowMs: number): boolean {
    const r = this.#record(node);
    r.seenEpoch = Math.max(r.seenEpoch, epoch);
    if (!this.#isCaughtUp || nowMs < this.#quietUntilMs || r.isBarred) return false;
    if (incarnation < r.incarnation || epoch < this.#quorumEpoch) return false;
    if (epoch <= r.fencedEpoch && nowMs < r.fenceUntilMs) return false;
    this.#grant(r, epoch, nowMs + this.#promiseMs);
    return true;
  }

  /** Refuses `node` from now on as long as it knows no more than `epoch`, and tells how long that takes to bite. */
  fence(node: number, epoch: number, nowMs: number): FenceState {
    const r = this.#record(node);
    const isBinding = nowMs < r.fenceUntilMs;
    r.fencedEpoch = isBinding ? Math.max(r.fencedEpoch, epoch) : epoch;
    r.fenceUntilMs = nowMs + this.#bindsMs;
    let untilMs = this.#assumedUntilMs;
    for (const g of r.granted) if (g.epoch <= r.fencedEpoch) untilMs = Math.max(untilMs, g.untilMs);
    return {
      epoch: r.fencedEpoch,
      remainingMs: Math.max(0, untilMs - nowMs),
      knownEpoch: r.isBarred ? this.#tableEpoch : 0,
      seenEpoch: r.seenEpoch,
    };
  }

  isFenced(node: number, nowMs: number): boolean {
    const r = this.#nodes.get(node);
    return r !== undefined && nowMs < r.fenceUntilMs;
  }

  #grant(r: NodeRecord, epoch: number, untilMs: number): void {
    const same = r.granted.find((g) => g.epoch === epoch);
    if (same !== undefined) {
      same.untilMs = Math.max(same.untilMs, untilMs);
      return;
    }
    r.granted.push({ epoch, untilMs });
    if (r.granted.length <= PROMISES_MAX) return;
    const [a, b] = r.granted.splice(0, 2) as [Granted, Granted];
    r.granted.unshift({ epoch: Math.min(a.epoch, b.epoch), untilMs: Math.max(a.untilMs, b.untilMs) });
  }

  #record(node: number): NodeRecord {
    let r = this.#nodes.get(node);
    if (r === undefined) {
      r = {
        granted: [],
        fencedEpoch: 0,
        fenceUntilMs: Number.NEGATIVE_INFINITY,
        seenEpoch: 0,
        isBarred: false,
        incarnation: 0,
      };
      this.#nodes.set(node, r);
    }
    return r;
  }
}
