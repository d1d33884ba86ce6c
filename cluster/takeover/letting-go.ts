/**
 * Letting go: when a node that hands slots over learns that it does. Owns this question alone; what becomes of the slots is
 * ownership.ts.
 *
 * A committed hand-over is not known everywhere at once. A successor whose disk or thread is busy may apply it a tenth of a second
 * after the owner, and if the owner had stopped by then, nobody would decide meanwhile. So the owner's dataplane is told only when a
 * successor has shown the epoch, in the lease request that it sends to whom it awaits (authority.ts): it is as if the owner were the one
 * that applies late, which the rules of leases and fences allow for anyway, and its own requests show that it has not yet. Whatever is
 * no plain hand-over is told at once.
 */
import type { ClusterState, Member } from "../control/model.ts";

type State = Pick<ClusterState, "table" | "members" | "quorum" | "forced">;

/** Less than the four leases after which a successor that we do not hear has us fenced (ownership.ts). */
const PATIENCE_LEASES = 2;

export class LettingGo {
  readonly #selfId: number;
  readonly #patienceMs: number;
  /** By node: the epoch that it has shown last. */
  readonly #shown = new Map<number, number>();
  #sinceMs: number | undefined;

  constructor(selfId: number, leaseMs: number) {
    this.#selfId = selfId;
    this.#patienceMs = PATIENCE_LEASES * leaseMs;
  }

  shown(node: number, epoch: number): void {
    this.#shown.set(node, epoch);
  }

  /** The dataplane knows all that is committed. */
  told(): void {
    this.#sinceMs = undefined;
  }

  /** For how many ms `next` is still to be kept from the dataplane, which knows `present`; 0: for none. */
  restMs(present: State | undefined, next: State, nowMs: number): number {
    if (present === undefined || isUrgent(present, next) || !this.#isWaiting(present, next)) return 0;
    this.#sinceMs ??= nowMs;
    return Math.max(0, this.#sinceMs + this.#patienceMs - nowMs);
  }

  /**
   * We lose slots to others who may not know it yet, and nothing else happens to slots of ours. One that knows is enough: it holds what
   * arrives, for a while only.
   */
  #isWaiting(present: State, next: State): boolean {
    let isWaiting = false;
    let isKnown = false;
    for (const [s, owner] of next.table.owner.entries()) {
      const isOurs = owner === this.#selfId;
      const wasOurs = present.table.owner[s] === this.#selfId;
      if (isOurs === wasOurs) continue;
      if (isOurs || !next.table.awaiting[s]!.includes(this.#selfId)) return false;
      if ((this.#shown.get(owner) ?? 0) < next.table.movedEpoch[s]!) isWaiting = true;
      else isKnown = true;
    }
    return isWaiting && !isKnown;
  }
}

/** Somebody died, came or went, or other votes count, or another log. */
function isUrgent(present: State, next: State): boolean {
  const { members, quorum, forced } = next;
  return (
    quorum?.epoch !== present.quorum?.epoch ||
    forced?.epoch !== present.forced?.epoch ||
    members.length !== present.members.length ||
    members.some((member) => !present.members.some((before) => isSameLife(member, before)))
  );
}

function isSameLife(a: Member, b: Member): boolean {
  return a.id === b.id && a.incarnation === b.incarnation && a.state === b.state;
}
