/**
 * Durable storage: raft-ts' log on disk. Writes go to the WAL (and snapshot files) first and to a MemoryStorage second; reads
 * are answered from memory alone.
 * Owns what is written together and what may be dropped; bytes and files are wal.ts and snapshot-store.ts.
 *
 *   <directory>/lock   wal/00000001-….wal …   snap/<term>-<index>.snap …
 *
 * A change of the commit index alone is not written: it goes with the next write. Losing it costs nothing, since a leader
 * tells it again.
 */
import { randomBytes } from "node:crypto";
import { type ConfState, type Entry, type HardState, MemoryStorage, type Snapshot } from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import { LatencyHistogram } from "../../src/base/histogram.ts";
import { type Founding, requireSameVoters } from "./founding.ts";
import { diskFs, type StorageFs } from "./fs.ts";
import type { LogStore, SaveDone, Saved } from "./log-store.ts";
import { SnapshotStore } from "./snapshot-store.ts";
import { failed, Wal, type WalHead } from "./wal.ts";
import { corrupt, isSegment, type Replay } from "./wal-reader.ts";
import type { WalRecord } from "./wal-record.ts";

/** Small, as it is zeroed before use; about 500 commands of a cluster with 64 slots. */
const SEGMENT_BYTES = 1_048_576;

export interface DurableStorageOptions {
  readonly directory: string;
  readonly clusterName: string;
  readonly nodeId: number;
  /** By the configuration. A new log keeps both; an old one must have been begun with the same voters. */
  readonly voters: readonly number[];
  readonly slots: number;
  readonly fs?: StorageFs;
  readonly segmentBytes?: number;
}

export class DurableStorage implements LogStore {
  /** How long writes took until they were durable. */
  readonly syncLatency = new LatencyHistogram();
  #memory: MemoryStorage;
  readonly #wal: Wal;
  readonly #snapshots: SnapshotStore;
  readonly #unlock: () => void;
  /** As the WAL's replay would find it. */
  #written: HardState;
  #marker: { readonly index: number; readonly term: number } | undefined;
  #bytes = 0;
  readonly #directory: string;
  #isFailed = false;
  #beats = 0;

  /**
   * Throws SW_STORAGE_CORRUPT when the log cannot be trusted, SW_CLUSTER_DIFFERS when it was begun with other voters,
   * SW_STORAGE_FAILED when the disk or a lock says no.
   */
  static open(options: DurableStorageOptions): DurableStorage {
    const { fs = diskFs, directory } = options;
    let unlock: (() => void) | undefined;
    try {
      fs.makeFolder(directory);
      fs.makeFolder(`${directory}/wal`);
      unlock = fs.lock(directory);
      return new DurableStorage(options, fs, unlock);
    } catch (error) {
      unlock?.();
      throw failed(directory, error);
    }
  }

  private constructor(options: DurableStorageOptions, fs: StorageFs, unlock: () => void) {
    const { directory, clusterName, nodeId, voters, slots, segmentBytes = SEGMENT_BYTES } = options;
    this.#unlock = unlock;
    this.#directory = directory;
    this.#snapshots = new SnapshotStore(fs, `${directory}/snap`, clusterName);
    // A log begun anew beside old snapshots would have forgotten its votes. A spare segment holds none.
    if (!fs.list(`${directory}/wal`).some(isSegment) && !this.#snapshots.isEmpty()) {
      throw corrupt(`${directory}/wal`, "the log is gone, while snapshots are there");
    }
    const founding = { voters, slots, log: randomBytes(8).toString("hex") };
    const { wal, found } = Wal.open({
      fs,
      folder: `${directory}/wal`,
      cluster: clusterName,
      node: nodeId,
      founding,
      segmentBytes,
      onSynced: (ms) => this.syncLatency.record(ms),
      nowMs,
    });
    this.#wal = wal;
    this.#marker = found?.snapshot;
    this.#memory = new MemoryStorage({
      voters: [...voters],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    });
    this.#written =
      found === undefined ? this.#memory.initialState().hardState : this.#load(found, directory);
    if (found !== undefined && found.founding === undefined)
      this.#found({ voters, slots, log: "" }, directory);
  }

  save(ready: Saved, done: SaveDone): void {
    const { hardState, entries, snapshot } = ready;
    const next = hardState ?? this.#memory.initialState().hardState;
    if (snapshot === undefined && (entries.length > 0 || isVoteOrTermNew(next, this.#written))) {
      this.#attempt(() => this.#append(entries, next, done));
      return;
    }
    this.#attempt(() => {
      if (snapshot !== undefined) {
        this.#install(snapshot, entries, next);
        return;
      }
      // A driver before this one may have left what it had written to the disk.
      this.#wal.settle();
      this.#remember(entries, next);
    });
    done();
  }

  saveSnapshot(index: number, confState: ConfState, data: Uint8Array, keepEntries: number): Snapshot {
    return this.#attempt(() => this.#saveSnapshot(index, confState, data, keepEntries));
  }

  restart(snapshot: Snapshot, hardState: HardState): void {
    this.#attempt(() => this.#restart(snapshot, hardState));
  }

  #append(entries: readonly Entry[], next: HardState, done: SaveDone): void {
    const records = this.#recordsOf(entries, next);
    const head = this.#head();
    this.#written = next;
    this.#remember(entries, next);
    this.#wal.appendSoon(records, head, (error) => {
      if (error !== undefined) this.#isFailed = true;
      this.#beats++;
      done(error);
    });
  }

  /** A whole state of the leader takes the place of what was here: so rare that it is waited for. */
  #install(snapshot: Snapshot, entries: readonly Entry[], next: HardState): void {
    const { index, term } = snapshot;
    this.#snapshots.save(snapshot);
    const marker: WalRecord = { type: "snapshot", index, term, isInstalled: true };
    this.#wal.append([marker, ...this.#recordsOf(entries, next)], this.#head());
    this.#written = next;
    this.#memory.applySnapshot(snapshot);
    this.#marker = { index, term };
    this.#bytes = 0;
    this.#remember(entries, next);
    this.#wal.dropUpTo(Number.POSITIVE_INFINITY);
    this.#snapshots.purge(index);
  }

  #recordsOf(entries: readonly Entry[], next: HardState): WalRecord[] {
    const records: WalRecord[] = entries.map((entry) => ({ type: "entry", entry }));
    if (isNew(next, this.#written)) records.push({ type: "hardState", hardState: next });
    return records;
  }

  #remember(entries: readonly Entry[], next: HardState): void {
    this.#memory.append(entries);
    for (const entry of entries) this.#bytes += entry.data.length;
    this.#memory.setHardState(next);
  }

  #saveSnapshot(index: number, confState: ConfState, data: Uint8Array, keepEntries: number): Snapshot {
    const snapshot = { index, term: this.#memory.term(index), confState, data };
    this.#snapshots.save(snapshot);
    // The marker says that `index` is committed: the hard state beside it must say so as well.
    const { hardState } = this.#memory.initialState();
    this.#wal.append(
      [
        { type: "snapshot", index, term: snapshot.term, isInstalled: false },
        { type: "hardState", hardState },
      ],
      this.#head(),
    );
    this.#written = hardState;
    this.#marker = { index, term: snapshot.term };
    const stored = this.#memory.createSnapshot(index, confState, data);
    this.#bytes = 0;
    const upTo = index - keepEntries;
    if (upTo >= this.#memory.firstIndex()) {
      this.#memory.compact(upTo);
      this.#wal.dropUpTo(upTo);
    }
    this.#snapshots.purge(index);
    return stored;
  }

  /** Both records are one write: what is found later is the old log or the new one. */
  #restart(snapshot: Snapshot, hardState: HardState): void {
    const { index, term } = snapshot;
    this.#snapshots.save(snapshot);
    const marker: WalRecord = { type: "snapshot", index, term, isInstalled: true };
    this.#wal.append([marker, { type: "hardState", hardState }], this.#head());
    this.#written = hardState;
    this.#marker = { index, term };
    this.#memory = new MemoryStorage(snapshot.confState);
    this.#memory.applySnapshot(snapshot);
    this.#memory.setHardState(hardState);
    this.#bytes = 0;
    this.#wal.dropUpTo(Number.POSITIVE_INFINITY);
    this.#snapshots.purge(index);
  }

  get founding(): Founding {
    return this.#wal.founding;
  }

  bytesSinceSnapshot(): number {
    return this.#bytes;
  }

  /** Files that the log takes at the moment. */
  get segmentCount(): number {
    return this.#wal.segmentCount;
  }

  /** Moves from call to call, unless the disk has not finished yet what it was to make durable at the call before. */
  beats(): number {
    if (!this.#wal.isSyncing) this.#beats++;
    return this.#beats;
  }

  close(): void {
    this.#wal.close();
    this.#unlock();
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    return this.#memory.initialState();
  }

  entries(lo: number, hi: number, maxBytes: number): Entry[] {
    return this.#memory.entries(lo, hi, maxBytes);
  }

  term(index: number): number {
    return this.#memory.term(index);
  }

  firstIndex(): number {
    return this.#memory.firstIndex();
  }

  lastIndex(): number {
    return this.#memory.lastIndex();
  }

  snapshot(): Snapshot {
    return this.#memory.snapshot();
  }

  /** Fills the memory with what the log holds; answers the hard state as it was written. */
  #load(found: Replay, directory: string): HardState {
    if (found.snapshot !== undefined) {
      this.#memory.applySnapshot(this.#snapshots.load(found.snapshot.index, found.snapshot.term));
    }
    this.#snapshots.purge(found.snapshot?.index ?? 0);
    this.#memory.append(found.entries);
    for (const entry of found.entries) this.#bytes += entry.data.length;
    const { hardState } = found;
    const commit = Math.max(hardState.commit, found.snapshot?.index ?? 0);
    if (commit > this.#memory.lastIndex()) {
      throw corrupt(directory, `entry ${commit} is committed, the log ends at ${this.#memory.lastIndex()}`);
    }
    this.#memory.setHardState({ ...hardState, commit });
    return hardState;
  }

  /** A log of version 1: what it was begun with is known from its snapshot, if there is one, and from today on by itself. */
  #found(founding: Founding, directory: string): void {
    const snapshot = this.#memory.snapshot();
    if (snapshot.index > 0) requireSameVoters(directory, snapshot.confState.voters, founding.voters);
    this.#wal.found(founding, this.#head());
  }

  /**
   * After a failure nothing is tried again: the kernel may have dropped the pages that it could not write, and a second sync
   * would succeed and mean nothing.
   */
  #attempt<T>(work: () => T): T {
    if (this.#isFailed) {
      throw new SynwallError(
        "SW_STORAGE_FAILED",
        `${this.#directory}: a write failed before: this process must end`,
      );
    }
    try {
      return work();
    } catch (error) {
      this.#isFailed = true;
      throw error;
    }
  }

  #head(): WalHead {
    return { hardState: this.#written, snapshot: this.#marker, nextIndex: this.#memory.lastIndex() + 1 };
  }
}

function isVoteOrTermNew(next: HardState, written: HardState): boolean {
  return next.term !== written.term || next.vote !== written.vote;
}

function isNew(next: HardState, written: HardState): boolean {
  return isVoteOrTermNew(next, written) || next.commit !== written.commit;
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
