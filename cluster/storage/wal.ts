/**
 * Write-ahead log: appends records to preallocated segment files, one write and one fdatasync for each batch, which the caller waits
 * for or not.
 * Owns segments and their rotation; the bytes are wal-record.ts, replay is wal-reader.ts, and what is worth keeping is
 * durable-storage.ts.
 *
 *   00000007-0000000000004711.wal    | meta hardState snapshot | batch | batch | ... | zeros ... |
 *
 * Every segment begins with what is needed if all before it are gone. The next segment is made ready in the background when
 * the present one is half full, so that no command waits for a megabyte of zeros.
 */
import type { HardState } from "raft-ts";
import { assert } from "../../src/base/assert.ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { Founding } from "./founding.ts";
import { type StorageFile, type StorageFs, type SyncDone, zeros } from "./fs.ts";
import { type Replay, replay, type Segment, segmentName } from "./wal-reader.ts";
import { encodeBatch, type WalRecord } from "./wal-record.ts";

export interface WalOptions {
  readonly fs: StorageFs;
  readonly folder: string;
  readonly cluster: string;
  readonly node: number;
  /** Of a new log; one that has its own keeps it. */
  readonly founding: Founding;
  readonly segmentBytes: number;
  /** Milliseconds that a write and its sync took. */
  readonly onSynced: (ms: number) => void;
  readonly nowMs: () => number;
}

/** What the log stands on at the moment; repeated at the head of every segment. */
export interface WalHead {
  readonly hardState: HardState;
  readonly snapshot: { readonly index: number; readonly term: number } | undefined;
  /** Index of the next entry, for the segment's name. */
  readonly nextIndex: number;
}

const SPARE = "spare.tmp";

export class Wal {
  readonly #options: WalOptions;
  #founding: Founding;
  #segments: Segment[];
  #file: StorageFile | undefined;
  #fileBytes = 0;
  #at = 0;
  #crc = 0;
  #batch = 0;
  #spare: "none" | "underWay" | "ready" = "none";
  #spareBytes = 0;
  /** The last batch that is known to be durable, as all before it are. */
  #syncedBatch = -1;

  /**
   * Opens the log of a folder, or begins one. A torn tail is wiped. Throws SW_STORAGE_CORRUPT, SW_STORAGE_FAILED, and
   * SW_CLUSTER_DIFFERS before anything is changed.
   */
  static open(options: WalOptions): { wal: Wal; found: Replay | undefined } {
    const { fs, folder, cluster, node, founding } = options;
    return orFailed(folder, () => {
      for (const name of fs.list(folder)) if (name.endsWith(".tmp")) fs.remove(`${folder}/${name}`);
      const found = replay(fs, folder, { cluster, node, voters: founding.voters });
      return { wal: new Wal(options, found), found };
    });
  }

  private constructor(options: WalOptions, found: Replay | undefined) {
    this.#options = options;
    this.#founding = found?.founding ?? options.founding;
    this.#segments = found?.segments ?? [];
    if (found === undefined) {
      this.#rotate({ hardState: { term: 0, vote: 0, commit: 0 }, snapshot: undefined, nextIndex: 1 }, 0);
      return;
    }
    const last = found.segments.at(-1)!;
    this.#file = options.fs.open(`${options.folder}/${last.name}`);
    this.#fileBytes = found.lastSegmentBytes;
    this.#at = found.endAt;
    this.#crc = found.lastCrc;
    this.#batch = found.lastBatch + 1;
    // What can be read need not be durable: the process before may have ended between a write, or a new name, and its sync, or because
    // of a sync that failed, after which the kernel takes the pages for clean. So the last write is made once more, and what is torn
    // behind it wiped.
    const { lastWrite, endAt, lastSegmentBytes } = found;
    this.#file.write(endAt - lastWrite.length, [lastWrite, ...zeros(lastSegmentBytes - endAt)]);
    this.settle();
    options.fs.syncFolder(options.folder);
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  /** Something that was written is not known to be durable. */
  get isSyncing(): boolean {
    return this.#syncedBatch < this.#batch - 1;
  }

  /** Writes the records and syncs. `head` is the state before them. Throws SW_STORAGE_FAILED, and is unusable then. */
  append(records: readonly WalRecord[], head: WalHead): void {
    const { folder, nowMs, onSynced } = this.#options;
    const startMs = nowMs();
    orFailed(folder, () => {
      this.#write(records, head);
      this.settle();
    });
    onSynced(nowMs() - startMs);
    this.#prepareSpare();
  }

  /** Writes the records, and calls `done` when they and all before them are durable. What fails later is told to `done`. */
  appendSoon(records: readonly WalRecord[], head: WalHead, done: SyncDone): void {
    const { folder, nowMs, onSynced } = this.#options;
    const startMs = nowMs();
    const file = orFailed(folder, () => this.#write(records, head));
    const batch = this.#batch - 1;
    file.syncSoon((error) => {
      if (error !== undefined) {
        done(failed(folder, error));
        return;
      }
      this.#syncedBatch = Math.max(this.#syncedBatch, batch);
      onSynced(nowMs() - startMs);
      done();
    });
    this.#prepareSpare();
  }

  /** What the log was begun with. */
  get founding(): Founding {
    return this.#founding;
  }

  /** Writes a founding into a log that has none. */
  found(founding: Founding, head: WalHead): void {
    this.#founding = founding;
    orFailed(this.#options.folder, () => this.#rotate(head, 0));
  }

  /** Drops the oldest segments, as long as no entry above `index` is in them. The present one stays. */
  dropUpTo(index: number): void {
    const { fs, folder } = this.#options;
    let count = 0;
    while (count < this.#segments.length - 1 && this.#segments[count]!.indexMax <= index) count++;
    if (count === 0) return;
    orFailed(folder, () => {
      // Oldest first: whatever a crash leaves is still a log without a gap.
      for (const { name } of this.#segments.slice(0, count)) fs.remove(`${folder}/${name}`);
      fs.syncFolder(folder);
      this.#segments = this.#segments.slice(count);
    });
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** All that was written is durable when this returns; waits only where something is not yet. */
  settle(): void {
    if (!this.isSyncing) return;
    this.#file?.sync();
    this.#syncedBatch = this.#batch - 1;
  }

  /** A crash must not leave a batch behind one that is torn, nor a segment behind one that ends too early. */
  #write(records: readonly WalRecord[], head: WalHead): StorageFile {
    assert(records.length > 0, "an empty write has no meaning in the log");
    this.settle();
    let encoded = encodeBatch(records, this.#batch, this.#crc);
    if (this.#at + encoded.bytes > this.#fileBytes) {
      this.#rotate(head, encoded.bytes);
      encoded = encodeBatch(records, this.#batch, this.#crc);
    }
    const file = this.#file!;
    file.write(this.#at, encoded.chunks);
    this.#at += encoded.bytes;
    this.#crc = encoded.crc;
    this.#batch++;
    const segment = this.#segments.at(-1)!;
    for (const record of records) {
      if (record.type === "entry") segment.indexMax = Math.max(segment.indexMax, record.entry.index);
    }
    return file;
  }

  /** Begins the next segment, large enough for a write of `bytes`. It is durable with its head before its name is. */
  #rotate(head: WalHead, bytes: number): void {
    const { fs, folder, cluster, node, segmentBytes } = this.#options;
    const founding = this.#founding;
    this.settle();
    const sequence = (this.#segments.at(-1)?.sequence ?? 0) + 1;
    const records: WalRecord[] = [
      { type: "meta", meta: { cluster, node, sequence, previousCrc: this.#crc, founding } },
      { type: "hardState", hardState: head.hardState },
    ];
    if (head.snapshot !== undefined) records.push({ type: "snapshot", ...head.snapshot, isInstalled: false });
    const encoded = encodeBatch(records, this.#batch, 0);
    const needed = Math.max(segmentBytes, encoded.bytes + bytes);
    const spare = `${folder}/${SPARE}`;
    let path = `${folder}/segment.tmp`;
    let file: StorageFile;
    if (this.#spare === "ready" && this.#spareBytes >= needed) {
      path = spare;
      file = fs.open(path);
      this.#spare = "none";
    } else {
      file = fs.create(path);
      file.write(0, zeros(needed));
    }
    file.write(0, encoded.chunks);
    file.sync();
    const name = segmentName(sequence, head.nextIndex);
    fs.rename(path, `${folder}/${name}`);
    fs.syncFolder(folder);
    this.#file?.close();
    this.#file = file;
    this.#fileBytes = path === spare ? this.#spareBytes : needed;
    this.#segments.push({ name, sequence, indexMax: 0 });
    this.#at = encoded.bytes;
    this.#crc = encoded.crc;
    this.#syncedBatch = this.#batch++;
  }

  #prepareSpare(): void {
    const { fs, folder, segmentBytes } = this.#options;
    if (this.#spare !== "none" || this.#at * 2 < this.#fileBytes) return;
    this.#spare = "underWay";
    this.#spareBytes = segmentBytes;
    fs.prepare(`${folder}/${SPARE}`, segmentBytes, (isMade) => {
      // When it cannot be made, rotation tries itself and tells.
      this.#spare = isMade ? "ready" : "none";
    });
  }
}

function orFailed<T>(folder: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw failed(folder, error);
  }
}

/** What the disk said, as an error that ends the process; errors of our own pass as they are. */
export function failed(where: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof SynwallError || code === undefined || typeof code !== "string") return error;
  return new SynwallError("SW_STORAGE_FAILED", `${where}: ${(error as Error).message}`, {}, error);
}
