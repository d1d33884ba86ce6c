/**
 * Replica writer: the producing end of the replicas ring, shared by all peers. Copies slabs into the ring and remembers which
 * record of which peer lies where, so that the worker's one count of applied records becomes each peer's sequence.
 * Does not own what a peer may write (inbound.ts).
 *
 *   written   ...| peer 2, ..40 | peer 3, ..7 | peer 2, ..55 |       one mark per written batch, oldest first
 *                        ^ applied: peer 2 has 40 only when the whole mark is applied
 */
import type { RecordRing } from "../../src/base/ring.ts";

export class ReplicaWriter {
  readonly #ring: RecordRing;
  readonly #markEnd: Float64Array;
  readonly #markSequence: Float64Array;
  readonly #markTag: Float64Array;
  #head = 0;
  #marks = 0;
  #written = 0;

  /** `marksMax` bounds the batches that are written and not applied. */
  constructor(ring: RecordRing, marksMax: number) {
    this.#ring = ring;
    this.#markEnd = new Float64Array(marksMax);
    this.#markSequence = new Float64Array(marksMax);
    this.#markTag = new Float64Array(marksMax);
  }

  /** Records written since the start. */
  get written(): number {
    return this.#written;
  }

  get canMark(): boolean {
    return this.#marks < this.#markEnd.length;
  }

  /** Copies up to `count` records that begin at byte `from`; answers how many had room. */
  write(slab: Uint8Array, from: number, count: number): number {
    const { recordBytes, capacity, bytes } = this.#ring;
    let done = 0;
    while (done < count) {
      const free = capacity - this.#ring.length();
      if (free === 0) break;
      const at = this.#ring.reserve();
      const run = Math.min(free, count - done, capacity - at / recordBytes);
      const begin = from + done * recordBytes;
      bytes.set(slab.subarray(begin, begin + run * recordBytes), at);
      for (let i = 0; i < run; i++) this.#ring.publish();
      done += run;
    }
    this.#written += done;
    return done;
  }

  /** Everything written so far brings the owner of `tag` to `sequence` once it is applied. Needs canMark. */
  mark(tag: number, sequence: number): void {
    const cell = (this.#head + this.#marks++) % this.#markEnd.length;
    this.#markEnd[cell] = this.#written;
    this.#markSequence[cell] = sequence;
    this.#markTag[cell] = tag;
  }

  /** Reports the marks that are applied whole, oldest first, given the count of all applied records. */
  settle(applied: number, report: (tag: number, sequence: number) => void): void {
    while (this.#marks > 0 && this.#markEnd[this.#head]! <= applied) {
      const cell = this.#head;
      this.#head = (this.#head + 1) % this.#markEnd.length;
      this.#marks--;
      report(this.#markTag[cell]!, this.#markSequence[cell]!);
    }
  }
}
