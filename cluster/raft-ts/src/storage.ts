/**
 * What the core reads from the application's log, and a complete implementation in memory.
 * Owns no durability: a driver writes its disk first and this store second (MemoryStorage is the read side
 * over a write-ahead log as well).
 */
import { CompactedError, InvariantError, SnapshotOutOfDateError, UnavailableError } from "./errors.ts";
import {
  type ConfState,
  copyConfState,
  copySnapshot,
  EMPTY_BYTES,
  type Entry,
  type HardState,
  type Index,
  limitEntries,
  type Snapshot,
  type Term,
} from "./types.ts";

/**
 * The read side of the log. All answers must be in line with what the driver made durable.
 *
 *      snapshot().index
 *            |   firstIndex()        lastIndex()
 *            v        v                  v
 *   ---------+--------+------------------+
 *    compacted away   |  entries()       |
 */
export interface Storage {
  initialState(): { hardState: HardState; confState: ConfState };
  /**
   * Entries lo..hi-1, cut after `maxBytes` of payload but never to nothing.
   * Throws CompactedError when lo is before firstIndex(), UnavailableError when hi is past lastIndex() + 1.
   */
  entries(lo: Index, hi: Index, maxBytes: number): Entry[];
  /** Answers from firstIndex() - 1 to lastIndex(), else throws as entries() does. */
  term(i: Index): Term;
  firstIndex(): Index;
  lastIndex(): Index;
  /** Throws UnavailableError when it is not ready yet; the core asks again later. */
  snapshot(): Snapshot;
}

/**
 * The log in memory. Takes and gives copies, so that callers may alter what they hold; only the bytes of entries and
 * snapshots are shared.
 */
export class MemoryStorage implements Storage {
  #hardState: HardState = Object.freeze({ term: 0, vote: 0, commit: 0 });
  #snapshot: Snapshot;
  /** Index and term of the entry before `#entries[0]`. */
  #offset: Index = 0;
  #offsetTerm: Term = 0;
  #entries: Entry[] = [];

  constructor(confState: ConfState) {
    this.#snapshot = { index: 0, term: 0, confState: copyConfState(confState), data: EMPTY_BYTES };
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.#hardState, confState: copyConfState(this.#snapshot.confState) };
  }

  entries(lo: Index, hi: Index, maxBytes: number): Entry[] {
    if (lo <= this.#offset) {
      throw new CompactedError(`Cannot read entries from ${lo}: the log starts at ${this.firstIndex()}`);
    }
    if (hi > this.lastIndex() + 1) {
      throw new UnavailableError(`Cannot read entries up to ${hi - 1}: the log ends at ${this.lastIndex()}`);
    }
    return limitEntries(this.#entries.slice(lo - this.#offset - 1, hi - this.#offset - 1), maxBytes);
  }

  term(i: Index): Term {
    if (i < this.#offset) {
      throw new CompactedError(`Cannot read the term of ${i}: the log starts at ${this.firstIndex()}`);
    }
    if (i === this.#offset) return this.#offsetTerm;
    const entry = this.#entries[i - this.#offset - 1];
    if (entry === undefined) {
      throw new UnavailableError(`Cannot read the term of ${i}: the log ends at ${this.lastIndex()}`);
    }
    return entry.term;
  }

  firstIndex(): Index {
    return this.#offset + 1;
  }

  lastIndex(): Index {
    return this.#offset + this.#entries.length;
  }

  snapshot(): Snapshot {
    return copySnapshot(this.#snapshot);
  }

  /** Appends; where indices overlap, the new entries win and everything behind them is dropped. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    for (const [i, entry] of entries.entries()) {
      if (entry.index !== first.index + i) {
        throw new InvariantError(`Cannot append entry ${entry.index}: expected ${first.index + i}`);
      }
    }
    if (first.index > this.lastIndex() + 1) {
      throw new InvariantError(
        `Cannot append from ${first.index}: the log ends at ${this.lastIndex()}, so entries are missing`,
      );
    }
    const fresh = entries.filter((entry) => entry.index > this.#offset);
    const from = fresh[0];
    if (from === undefined) return;
    this.#entries.length = from.index - this.#offset - 1;
    for (const entry of fresh) {
      this.#entries.push(Object.isFrozen(entry) ? entry : Object.freeze({ ...entry }));
    }
  }

  setHardState(h: HardState): void {
    this.#hardState = Object.freeze({ term: h.term, vote: h.vote, commit: h.commit });
  }

  /** Replaces the log by a snapshot that came from the leader. */
  applySnapshot(s: Snapshot): void {
    // A store that was never used may be given its membership so, too.
    const isFirst = s.index === 0 && this.lastIndex() === 0;
    if (s.index <= this.#snapshot.index && !isFirst) {
      throw new SnapshotOutOfDateError(
        `Cannot install snapshot ${s.index}: the stored one is at ${this.#snapshot.index}`,
      );
    }
    this.#snapshot = copySnapshot(s);
    this.#offset = s.index;
    this.#offsetTerm = s.term;
    this.#entries = [];
  }

  /** Records the state machine at `index`; the log stays until compact(). */
  createSnapshot(index: Index, confState: ConfState, data: Uint8Array): Snapshot {
    if (index <= this.#snapshot.index) {
      throw new SnapshotOutOfDateError(
        `Cannot create snapshot ${index}: the stored one is at ${this.#snapshot.index}`,
      );
    }
    if (index > this.lastIndex()) {
      throw new InvariantError(`Cannot create snapshot ${index}: the log ends at ${this.lastIndex()}`);
    }
    this.#snapshot = { index, term: this.term(index), confState: copyConfState(confState), data };
    return this.snapshot();
  }

  /** Drops all entries up to and including `index`, which should not be past the snapshot. */
  compact(index: Index): void {
    if (index <= this.#offset) {
      throw new CompactedError(`Cannot compact up to ${index}: the log starts at ${this.firstIndex()}`);
    }
    if (index > this.lastIndex()) {
      throw new InvariantError(`Cannot compact up to ${index}: the log ends at ${this.lastIndex()}`);
    }
    const term = this.term(index);
    this.#entries = this.#entries.slice(index - this.#offset);
    this.#offset = index;
    this.#offsetTerm = term;
  }
}
