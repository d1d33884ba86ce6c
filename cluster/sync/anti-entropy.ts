/**
 * Anti-entropy: when the digest of which slot is due. Every slot once per interval, spread evenly, so that comparing costs the
 * same at any moment. Owns the schedule; the worker makes digests, the stream carries them, the peer compares (readiness.ts).
 */

export class AntiEntropy {
  readonly #slots: number;
  readonly #intervalMs: number;
  #startMs: number | undefined;
  /** Slots that were visited since the start, all rounds together. */
  #visited = 0;

  constructor(slots: number, intervalMs: number) {
    this.#slots = slots;
    this.#intervalMs = intervalMs;
  }

  /** Slots whose turn came since the last call, those that `isComparable` admits; never one twice. */
  due(nowMs: number, isComparable: (slot: number) => boolean): number[] {
    this.#startMs ??= nowMs;
    const reached = Math.floor(((nowMs - this.#startMs) / this.#intervalMs) * this.#slots);
    // After a long pause one round is enough.
    const from = Math.max(this.#visited, reached - this.#slots);
    this.#visited = Math.max(this.#visited, reached);
    const due: number[] = [];
    for (let visit = from; visit < reached; visit++) {
      const slot = visit % this.#slots;
      if (isComparable(slot)) due.push(slot);
    }
    return due;
  }
}
