/**
 * The part of the log that is not known to be durable yet: a snapshot, entries, or both.
 * Owns no view of the whole log (log.ts).
 *
 *      storage            unstable
 *   ------------+  +------------------------+
 *               |  | offset ...             |     entries[i].index == offset + i
 *   ------------+  +-----------^------------+
 *                              offsetInProgress: what is before it was handed out by a Ready
 *
 * `offset` may be at or below the storage's last index: then the next write truncates the storage first.
 */
import { invariant } from "./errors.ts";
import type { Entry, Index, Snapshot, Term } from "./types.ts";

export class Unstable {
  #snapshot: Snapshot | undefined;
  #isSnapshotInProgress = false;
  #entries: Entry[] = [];
  #offset: Index;
  #offsetInProgress: Index;

  constructor(offset: Index) {
    this.#offset = offset;
    this.#offsetInProgress = offset;
  }

  get offset(): Index {
    return this.#offset;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** The snapshot that no Ready has handed out yet. */
  get nextSnapshot(): Snapshot | undefined {
    return this.#isSnapshotInProgress ? undefined : this.#snapshot;
  }

  get hasNextEntries(): boolean {
    return this.#offsetInProgress < this.#offset + this.#entries.length;
  }

  /** The entries that no Ready has handed out yet. */
  nextEntries(): Entry[] {
    return this.#entries.slice(this.#offsetInProgress - this.#offset);
  }

  /** The last index here, if anything is. */
  lastIndex(): Index | undefined {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.#snapshot?.index;
  }

  /** The term of entry `i`, if it is here. */
  term(i: Index): Term | undefined {
    if (this.#snapshot !== undefined && this.#snapshot.index === i) return this.#snapshot.term;
    return this.#entries[i - this.#offset]?.term;
  }

  /** Entries lo..hi-1, all of which must be here. */
  slice(lo: Index, hi: Index): Entry[] {
    invariant(
      this.#offset <= lo && lo <= hi && hi <= this.#offset + this.#entries.length,
      () => `Cannot slice ${lo}..${hi} from unstable entries at ${this.#offset} (${this.#entries.length})`,
    );
    return this.#entries.slice(lo - this.#offset, hi - this.#offset);
  }

  /** Everything here was handed out by a Ready. */
  acceptInProgress(): void {
    this.#isSnapshotInProgress = this.#snapshot !== undefined;
    this.#offsetInProgress = this.#offset + this.#entries.length;
  }

  /** Entries up to `index` of `term` are durable; unless they were replaced meanwhile, forget them. */
  stableTo(index: Index, term: Term): void {
    if (index < this.#offset || this.#entries[index - this.#offset]?.term !== term) return;
    // Entries after this one may be newer than what the disk holds: only the prefix goes.
    this.#entries = this.#entries.slice(index + 1 - this.#offset);
    this.#offset = index + 1;
    this.#offsetInProgress = Math.max(this.#offsetInProgress, this.#offset);
  }

  stableSnapshotTo(index: Index): void {
    if (this.#snapshot?.index !== index) return;
    this.#snapshot = undefined;
    this.#isSnapshotInProgress = false;
  }

  restore(snapshot: Snapshot): void {
    this.#offset = snapshot.index + 1;
    this.#offsetInProgress = this.#offset;
    this.#entries = [];
    this.#snapshot = snapshot;
    this.#isSnapshotInProgress = false;
  }

  /** Appends `entries`; from their first index on, they replace what was here. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = entries[0]!.index;
    if (from <= this.#offset) {
      this.#entries = [...entries];
      this.#offset = from;
      this.#offsetInProgress = from;
      return;
    }
    invariant(
      from <= this.#offset + this.#entries.length,
      () => `Cannot append from ${from}: unstable entries end at ${this.#offset + this.#entries.length - 1}`,
    );
    this.#entries.length = from - this.#offset;
    for (const entry of entries) this.#entries.push(entry);
    this.#offsetInProgress = Math.min(this.#offsetInProgress, from);
  }
}
