/**
 * The whole log as the core sees it: the storage, and what is not durable yet on top of it.
 * Owns the indices
 *
 *     firstIndex - 1 <= applied <= applying <= committed <= lastIndex
 *
 * of which applied, applying and committed never decrease.
 */
import { CompactedError, InvariantError, invariant, UnavailableError } from "./errors.ts";
import type { Storage } from "./storage.ts";
import { type Entry, type Index, limitEntries, type Snapshot, type Term } from "./types.ts";
import { Unstable } from "./unstable.ts";

export class RaftLog {
  readonly #storage: Storage;
  readonly unstable: Unstable;
  #committed: Index;
  #applying: Index;
  #applied: Index;

  constructor(storage: Storage) {
    this.#storage = storage;
    const first = storage.firstIndex();
    const last = storage.lastIndex();
    invariant(first >= 1 && last >= first - 1, () => `Storage answers a log from ${first} to ${last}`);
    this.unstable = new Unstable(last + 1);
    this.#committed = first - 1;
    this.#applying = first - 1;
    this.#applied = first - 1;
  }

  get committed(): Index {
    return this.#committed;
  }

  get applied(): Index {
    return this.#applied;
  }

  /** Whether entries were handed out to be applied and are not yet. */
  get isApplying(): boolean {
    return this.#applying > this.#applied;
  }

  firstIndex(): Index {
    const snapshot = this.unstable.snapshot;
    return snapshot === undefined ? this.#storage.firstIndex() : snapshot.index + 1;
  }

  lastIndex(): Index {
    return this.unstable.lastIndex() ?? this.#storage.lastIndex();
  }

  lastTerm(): Term {
    const term = this.term(this.lastIndex());
    invariant(term !== undefined, () => `The last entry ${this.lastIndex()} has no term`);
    return term;
  }

  /** The term of entry `i`, or undefined when it was compacted away or is not there yet. */
  term(i: Index): Term | undefined {
    const unstable = this.unstable.term(i);
    if (unstable !== undefined) return unstable;
    if (i + 1 < this.firstIndex() || i > this.lastIndex()) return undefined;
    try {
      return this.#storage.term(i);
    } catch (error) {
      if (error instanceof CompactedError || error instanceof UnavailableError) return undefined;
      throw error;
    }
  }

  matchesTerm(index: Index, term: Term): boolean {
    return this.term(index) === term;
  }

  /** The voting restriction (Raft section 5.4.1): a later last term, or the same and no shorter log. */
  isUpToDate(lastIndex: Index, lastTerm: Term): boolean {
    const ours = this.lastTerm();
    return lastTerm > ours || (lastTerm === ours && lastIndex >= this.lastIndex());
  }

  /**
   * A leader's entries after (prevIndex, prevTerm). Answers the last index that now agrees with the leader, or
   * undefined when the log does not hold the entry before them (Raft section 5.3).
   */
  maybeAppend(options: {
    prevIndex: Index;
    prevTerm: Term;
    entries: readonly Entry[];
    commit: Index;
  }): Index | undefined {
    const { prevIndex, prevTerm, entries, commit } = options;
    if (!this.matchesTerm(prevIndex, prevTerm)) return undefined;
    const conflictAt = entries.findIndex((entry) => !this.matchesTerm(entry.index, entry.term));
    if (conflictAt >= 0) this.append(entries.slice(conflictAt));
    const lastNew = prevIndex + entries.length;
    this.commitTo(Math.min(commit, lastNew));
    return lastNew;
  }

  /** Appends; entries that conflict are replaced, which at or below `committed` must never happen. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    invariant(
      first.index > this.#committed,
      () =>
        `Entry ${first.index} (term ${first.term}) conflicts with the log committed to ${this.#committed}`,
    );
    invariant(
      Number.isSafeInteger(first.index + entries.length),
      () => "The log index left the safe integers",
    );
    this.unstable.truncateAndAppend(entries);
  }

  /**
   * The best guess where another log, which has `term` at `index`, agrees with this one: the largest index up to
   * `index` whose term here is not above `term`. The term is 0 where it is not known any more.
   */
  findConflictByTerm(index: Index, term: Term): { index: Index; term: Term } {
    for (let i = index; i > 0; i--) {
      const ours = this.term(i);
      if (ours === undefined) return { index: i, term: 0 };
      if (ours <= term) return { index: i, term: ours };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: Index): void {
    if (index <= this.#committed) return;
    invariant(
      index <= this.lastIndex(),
      () => `Cannot commit to ${index}: the log ends at ${this.lastIndex()}; was it truncated or lost?`,
    );
    this.#committed = index;
  }

  /** Commits to what a quorum holds, if that entry is of the leader's own term (Raft section 5.4.2). */
  maybeCommit(index: Index, term: Term): boolean {
    if (index <= this.#committed || !this.matchesTerm(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  /** Only at start: the commit index that was stored. */
  loadCommitted(commit: Index): void {
    invariant(
      this.#committed <= commit && commit <= this.lastIndex(),
      () => `Stored commit ${commit} is outside the log ${this.#committed}..${this.lastIndex()}`,
    );
    this.#committed = commit;
  }

  appliedTo(index: Index): void {
    invariant(
      this.#applied <= index && index <= this.#committed,
      () => `Cannot mark ${index} as applied: outside ${this.#applied}..${this.#committed}`,
    );
    this.#applied = index;
    this.#applying = Math.max(this.#applying, index);
  }

  /** Whether entries wait to be applied; never while a snapshot is to be installed first. */
  hasNextCommitted(): boolean {
    return this.unstable.snapshot === undefined && this.#committed > this.#applying;
  }

  nextCommitted(maxBytes: number): Entry[] {
    if (!this.hasNextCommitted()) return [];
    return this.slice(this.#applying + 1, this.#committed + 1, maxBytes);
  }

  acceptApplying(index: Index): void {
    invariant(
      this.#applying <= index && index <= this.#committed,
      () => `Cannot apply up to ${index}: outside ${this.#applying}..${this.#committed}`,
    );
    this.#applying = index;
  }

  /** Whether a committed membership change still waits to be applied. */
  hasUnappliedConfChange(pageBytes: number): boolean {
    if (this.unstable.snapshot !== undefined) return false;
    // What is compacted was applied, even when the driver has not advanced yet.
    let lo = Math.max(this.#applied + 1, this.firstIndex());
    while (lo <= this.#committed) {
      const page = this.slice(lo, this.#committed + 1, pageBytes);
      if (page.some((entry) => entry.type === "confChange")) return true;
      lo += page.length;
    }
    return false;
  }

  /** Entries from `lo` to the end, cut after `maxBytes`; undefined when they were compacted away. */
  entriesFrom(lo: Index, maxBytes: number): Entry[] | undefined {
    if (lo > this.lastIndex()) return [];
    if (lo < this.firstIndex()) return undefined;
    try {
      return this.slice(lo, this.lastIndex() + 1, maxBytes);
    } catch (error) {
      if (error instanceof CompactedError) return undefined;
      throw error;
    }
  }

  /** Entries lo..hi-1, cut after `maxBytes` but never to nothing. */
  slice(lo: Index, hi: Index, maxBytes: number): Entry[] {
    invariant(
      this.firstIndex() <= lo && lo < hi && hi <= this.lastIndex() + 1,
      () => `Cannot slice ${lo}..${hi} from the log ${this.firstIndex()}..${this.lastIndex()}`,
    );
    const offset = this.unstable.offset;
    if (lo >= offset) return limitEntries(this.unstable.slice(lo, hi), maxBytes);
    const stableEnd = Math.min(hi, offset);
    // A copy, as the answer may be the storage's own array.
    const stable = limitEntries(this.#storage.entries(lo, stableEnd, maxBytes), maxBytes);
    if (stable.length === 0 || stable[0]!.index !== lo) {
      throw new InvariantError(`Storage answered no entry ${lo} when asked for ${lo}..${stableEnd}`);
    }
    if (stableEnd === hi || stable.length < stableEnd - lo) return stable;
    return limitEntries([...stable, ...this.unstable.slice(offset, hi)], maxBytes);
  }

  /** The snapshot to send to a follower; undefined while the storage has none ready. */
  snapshot(): Snapshot | undefined {
    if (this.unstable.snapshot !== undefined) return this.unstable.snapshot;
    try {
      return this.#storage.snapshot();
    } catch (error) {
      if (error instanceof UnavailableError) return undefined;
      throw error;
    }
  }

  /** Replaces the whole log by a snapshot from the leader. */
  restore(snapshot: Snapshot): void {
    invariant(
      snapshot.index > this.#committed,
      () => `Cannot restore snapshot ${snapshot.index}: already committed to ${this.#committed}`,
    );
    this.#committed = snapshot.index;
    this.unstable.restore(snapshot);
  }
}
