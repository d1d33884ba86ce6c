/**
 * Rivals: what this member's authority makes of peers whose log is another one than its own (control/generation.ts). Owns who
 * claims what, and two consequences; pure.
 *
 *   what a peer of another log asks or promises does not count        its epochs and lives are numbered apart from ours
 *   a rival that wins and is heard ends our lease at once             the logs follow later, by way of Raft
 *
 * A claim rides along in every datagram, in front of what it is about. Who makes none is of the cluster's first log. Where `quorum:
 * pair` is set members of the first log claim as well: whether a node serves is what another one wants to know before it begins.
 *
 * Who votes alone (control/quorum.ts) needs nobody for its lease. If it stood still for longer than that, its peer may have gone on
 * alone meanwhile: it listens for a detection time before it leases again.
 */
import {
  type Claim,
  FIRST_GENERATION,
  type Generation,
  givesWay,
  isSameGeneration,
} from "../control/generation.ts";

export class Rivals {
  #mine: Claim = { generation: FIRST_GENERATION, isServing: false };
  readonly #claims = new Map<number, Claim>();
  readonly #leaseMs: number;
  readonly #detectionMs: number;
  #tickedMs = Number.NEGATIVE_INFINITY;
  #listenUntilMs = Number.NEGATIVE_INFINITY;

  constructor({
    leaseMs,
    intervalMs,
    multiplier,
  }: { leaseMs: number; intervalMs: number; multiplier: number }) {
    this.#leaseMs = leaseMs;
    this.#detectionMs = intervalMs * multiplier;
  }

  get mine(): Claim {
    return this.#mine;
  }

  /** True when it is another one than before. */
  setMine(generation: Generation, isServing: boolean): boolean {
    const { generation: was, isServing: wasServing } = this.#mine;
    if (isSameGeneration(was, generation) && isServing === wasServing) return false;
    this.#mine = { generation, isServing };
    return true;
  }

  /** True when the peer claims something else than before. */
  claimed(node: number, claim: Claim): boolean {
    const was = this.#claims.get(node);
    const isSame =
      was !== undefined &&
      was.isServing === claim.isServing &&
      was.isStopped === claim.isStopped &&
      isSameGeneration(was.generation, claim.generation);
    if (!isSame) this.#claims.set(node, claim);
    return !isSame;
  }

  /** Its life is over, or it is not heard: what it claimed does not count. */
  gone(node: number): void {
    this.#claims.delete(node);
  }

  isForeign(node: number): boolean {
    const theirs = this.#claims.get(node)?.generation ?? FIRST_GENERATION;
    return !isSameGeneration(theirs, this.#mine.generation);
  }

  /** A peer that is heard wins over this member. */
  get isOutranked(): boolean {
    if (this.#claims.size === 0) return false;
    for (const claim of this.#claims.values()) if (givesWay(this.#mine, claim)) return true;
    return false;
  }

  tick(nowMs: number): void {
    // A little less than a lease: a peer measures silence on another clock, and from the last heartbeat that it got.
    if (nowMs - this.#tickedMs > 0.9 * this.#leaseMs) this.#listenUntilMs = nowMs + this.#detectionMs;
    this.#tickedMs = nowMs;
  }

  isListening(nowMs: number): boolean {
    return nowMs < this.#listenUntilMs;
  }
}
