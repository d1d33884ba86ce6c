/**
 * Log store: what the Raft driver needs of a disk. Implemented by DurableStorage (WAL and snapshots) and MemoryLogStore.
 * All that a call changes can be read when it has returned; save() alone tells later when it is durable.
 */
import type { ConfState, HardState, Ready, Snapshot, Storage } from "raft-ts";
import type { Founding } from "./founding.ts";

/** The part of a Ready that is stored. */
export type Saved = Pick<Ready, "entries" | "mustSync"> & Partial<Pick<Ready, "hardState" | "snapshot">>;

export type SaveDone = (error?: unknown) => void;

export interface LogStore extends Storage {
  /** What the log was begun with; undefined where nobody keeps it. */
  readonly founding: Founding | undefined;
  /**
   * Calls `done` when the Ready is as durable as it will ever be: before it returns if nothing needs the disk, else in a later turn.
   * Throws SW_STORAGE_FAILED, or calls `done` with it; the store is unusable after that and the process must end.
   */
  save(ready: Saved, done: SaveDone): void;
  /** Records the state machine at `index` and drops the log up to `index - keepEntries`. */
  saveSnapshot(index: number, confState: ConfState, data: Uint8Array, keepEntries: number): Snapshot;
  /**
   * Another log takes the place of this one: it begins with `snapshot`, whatever was here, and `hardState` goes with it. All of it
   * or nothing. For another generation only (control/generation.ts): Raft's promises about the old log end here.
   */
  restart(snapshot: Snapshot, hardState: HardState): void;
  /** Bytes of entries stored since the last snapshot. */
  bytesSinceSnapshot(): number;
  close(): void;
}
