/**
 * What a leader knows about one follower's log, and how fast it may send to it.
 * Owns flow control; append.ts owns what is sent.
 *
 *               +-------- rejected / unreachable --------+
 *               v                                        |
 *   +--> [ probe ] --- first ack ---------------> [ replicate ]
 *   |        |                                           |
 *   |   log compacted                              log compacted
 *   |        v                                           |
 *   +--- [ snapshot ] <----------------------------------+
 *        (an ack that reconnects to the log leads back to replicate)
 *
 * probe: one append per heartbeat interval. replicate: `next` runs ahead optimistically,
 * bounded by the inflights. snapshot: nothing is sent until an ack reconnects.
 */
import { InvariantError, invariant } from "../errors.ts";
import type { Index } from "../types.ts";
import { Inflights } from "./inflights.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

export class Progress {
  /** The follower's log is known to agree with the leader's up to here. */
  match: Index = 0;
  /** The next entry to send; always above `match`. */
  next: Index;
  state: ProgressState = "probe";
  /** The index of the snapshot under way; 0 when none. */
  pendingSnapshot: Index = 0;
  /** Heard from since the last quorum check. */
  recentActive = false;
  isLearner: boolean;
  /** The highest commit index that was sent; used to send a newer one early. */
  #sentCommit: Index = 0;
  /** No more appends until a heartbeat response or an ack. */
  #paused = false;
  readonly #inflights: Inflights;

  constructor(options: { next: Index; maxInflight: number; isLearner: boolean }) {
    this.next = options.next;
    this.isLearner = options.isLearner;
    this.#inflights = new Inflights(options.maxInflight);
  }

  get inflightCount(): number {
    return this.#inflights.count;
  }

  get isPaused(): boolean {
    return this.state === "snapshot" || this.#paused;
  }

  /** In replicate with a full window only empty appends may go, so that a lost window cannot stall. */
  get canSendEntries(): boolean {
    return this.state !== "replicate" || !this.#inflights.isFull;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  becomeProbe(): void {
    // Coming out of a snapshot that was sent, the follower likely holds it: probe right behind it.
    const next = this.state === "snapshot" ? Math.max(this.match, this.pendingSnapshot) + 1 : this.match + 1;
    this.#enter("probe");
    this.next = next;
    this.#sentCommit = Math.min(this.#sentCommit, this.next - 1);
    this.#check();
  }

  becomeReplicate(): void {
    this.#enter("replicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: Index): void {
    this.#enter("snapshot");
    this.pendingSnapshot = index;
    this.next = Math.max(index, this.match) + 1;
    this.#sentCommit = index;
  }

  /** Accounts for an append with `count` entries from `next` on. */
  sentEntries(count: number): void {
    switch (this.state) {
      case "replicate":
        if (count > 0) {
          this.next += count;
          this.#inflights.add(this.next - 1);
        }
        // When the window is full, one heartbeat interval passes before the next (empty) append.
        this.#paused = this.#inflights.isFull;
        return;
      case "probe":
        // Any append is a probe, also an empty one: the next goes out after a heartbeat response or an answer.
        this.#paused = true;
        return;
      case "snapshot":
        throw new InvariantError("Cannot send entries to a follower that is being sent a snapshot");
      default:
        this.state satisfies never;
    }
  }

  sentCommit(commit: Index): void {
    this.#sentCommit = commit;
  }

  /** Whether an append now would tell the follower of a commit that it can use. */
  canBumpCommit(commit: Index): boolean {
    return commit > this.#sentCommit && this.#sentCommit < this.next - 1;
  }

  /** An ack up to `index`. Answers whether it was news. */
  maybeUpdate(index: Index): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.#paused = false;
    return true;
  }

  freeInflightsTo(index: Index): void {
    this.#inflights.freeTo(index);
  }

  /**
   * A refusal of the append after `rejected`; `hint` is where the logs may agree.
   * Answers false when the refusal is stale, as reordered or duplicated messages are.
   */
  maybeDecrement(rejected: Index, hint: Index): boolean {
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
    } else {
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
      this.#paused = false;
    }
    this.#sentCommit = Math.min(this.#sentCommit, this.next - 1);
    this.#check();
    return true;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.pendingSnapshot = 0;
    this.#paused = false;
    this.#inflights.reset();
  }

  #check(): void {
    invariant(this.match < this.next, () => `Progress has match ${this.match} and next ${this.next}`);
  }
}
