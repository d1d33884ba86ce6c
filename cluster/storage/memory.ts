/**
 * Memory log store: a LogStore that forgets everything with its process. For tests and simulation, where a crash keeps the
 * object and drops the driver: everything that save() took then counts as durable.
 */
import { type ConfState, type Entry, type HardState, MemoryStorage, type Snapshot } from "raft-ts";
import type { Founding } from "./founding.ts";
import type { LogStore, SaveDone, Saved } from "./log-store.ts";

export class MemoryLogStore implements LogStore {
  readonly founding: Founding | undefined;
  #memory: MemoryStorage;
  #bytes = 0;

  constructor(confState: ConfState, founding?: Founding) {
    this.founding = founding;
    this.#memory = new MemoryStorage(confState);
  }

  save(ready: Saved, done: SaveDone): void {
    if (ready.snapshot !== undefined) {
      this.#memory.applySnapshot(ready.snapshot);
      this.#bytes = 0;
    }
    this.#memory.append(ready.entries);
    for (const entry of ready.entries) this.#bytes += entry.data.length;
    if (ready.hardState !== undefined) this.#memory.setHardState(ready.hardState);
    done();
  }

  saveSnapshot(index: number, confState: ConfState, data: Uint8Array, keepEntries: number): Snapshot {
    const snapshot = this.#memory.createSnapshot(index, confState, data);
    this.#bytes = 0;
    const upTo = index - keepEntries;
    if (upTo >= this.#memory.firstIndex()) this.#memory.compact(upTo);
    return snapshot;
  }

  restart(snapshot: Snapshot, hardState: HardState): void {
    this.#memory = new MemoryStorage(snapshot.confState);
    this.#memory.applySnapshot(snapshot);
    this.#memory.setHardState(hardState);
    this.#bytes = 0;
  }

  bytesSinceSnapshot(): number {
    return this.#bytes;
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

  close(): void {}
}
