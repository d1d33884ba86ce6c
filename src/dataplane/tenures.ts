/**
 * Tenures: since when this node has seen every packet of a slot's flows. A tracker trusts its windows only within one tenure: a
 * segment that another node forwarded, or that this one forwarded without tracking it, may have moved them.
 *
 *   gained the slot | found itself fenced, and forwarded only | is heard again, or announced it again: others may have stood in
 *   ----------------+-----------------------------------------+---> a new tenure: each side's next segment seeds its window
 *
 * Owns these marks; rows carry the tenure in which they were tracked last.
 */
import { type ClusterView, MAX_SLOTS } from "./cluster-view.ts";

export class Tenures {
  readonly #view: ClusterView;
  /** By slot: the mark from which on its rows' windows can be trusted. */
  readonly #since = new Uint32Array(MAX_SLOTS);
  readonly #gainedEpoch = new Uint32Array(MAX_SLOTS);
  #mark = 0;

  constructor(view: ClusterView) {
    this.#view = view;
  }

  /** The mark to note in a row of the slot that is tracked now. */
  mark(slot: number): number {
    const gained = this.#view.gainedEpoch[slot]!;
    if (gained !== this.#gainedEpoch[slot]!) {
      this.#gainedEpoch[slot] = gained;
      this.interrupt(slot);
    }
    return this.#mark;
  }

  /** Whether a row of the slot that was tracked last at `mark` may lack segments. */
  mayLack(slot: number, mark: number): boolean {
    return this.mark(slot) !== mark && mark < this.#since[slot]!;
  }

  /** Packets of the slot may pass, or have passed, without being tracked here. */
  interrupt(slot: number): void {
    this.#mark++;
    this.#since[slot] = this.#mark;
  }
}
