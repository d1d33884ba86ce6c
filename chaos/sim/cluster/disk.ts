/**
 * Simulated disk: a memory file system that outlives the processes on it, and what can be wrong with it: slow, full, broken, or
 * without power in the middle of a write. Owns the faults; which bytes survive is cluster/storage/memory-fs.ts's.
 */
import type { StorageFile, StorageFs } from "../../../cluster/storage/fs.ts";
import { CrashError, MemoryFs } from "../../../cluster/storage/memory-fs.ts";

/** To a thread that waits for the disk, and back. */
const HOP_MS_MIN = 0.05;
const HOP_MS_MAX = 0.3;

export class SimDisk {
  /** How long each sync takes. */
  syncMs = 0;
  /** No room for anything more. */
  isFull = false;
  /** Syncs fail, as of a disk that loses its cable. */
  isBroken = false;
  /** Nothing is ever synced, and the disk says that it is. */
  isLying = false;
  readonly #random: (bound: number) => number;
  readonly #onSlow: (ms: number) => void;
  readonly #later: (ms: number, work: () => void) => void;
  #fs = new MemoryFs();
  /** Operations until the machine loses its power; 0: never. */
  #tearsIn = 0;
  #isTorn = false;
  #hasFailed = false;

  /** `onSlow`: the caller of the disk waits so long. `later`: runs work of the disk's in so many milliseconds. */
  constructor(
    random: (bound: number) => number,
    onSlow: (ms: number) => void,
    later: (ms: number, work: () => void) => void,
  ) {
    this.#random = random;
    this.#onSlow = onSlow;
    this.#later = later;
    this.#use(new MemoryFs());
  }

  /** What a process opens. */
  get fs(): StorageFs {
    return this.isLying ? new LyingFs(this.#fs) : this.#fs;
  }

  /** A fault of this disk ended the process. */
  get hasFailed(): boolean {
    return this.#isTorn || this.#hasFailed;
  }

  /** The machine loses its power in the middle of the n-th operation from now. */
  tear(operations: number): void {
    this.#tearsIn = operations;
  }

  /** The disk as the next process finds it. */
  reopen(isPowerLost: boolean): void {
    this.#use(isPowerLost || this.#isTorn ? this.#fs.crash(this.#random) : this.#fs.restart());
    this.#tearsIn = 0;
    this.#isTorn = false;
    this.#hasFailed = false;
  }

  /** A new cable, files removed. */
  repair(): void {
    this.syncMs = 0;
    this.isFull = false;
    this.isBroken = false;
    this.#tearsIn = 0;
  }

  #use(fs: MemoryFs): void {
    this.#fs = fs;
    fs.onOperation = (_n, what) => this.#onOperation(what);
    fs.later = (work) => this.#later(this.syncMs + this.#hopMs(), work);
  }

  #hopMs(): number {
    return HOP_MS_MIN + ((HOP_MS_MAX - HOP_MS_MIN) * this.#random(256)) / 256;
  }

  #onOperation(what: string): void {
    if (this.#tearsIn > 0 && --this.#tearsIn === 0) {
      this.#isTorn = true;
      throw new CrashError(`no power in a ${what}`);
    }
    const isSync = what.startsWith("sync");
    if (isSync && this.isBroken) this.#fail("EIO: i/o error, fsync");
    if (!isSync && this.isFull) this.#fail(`ENOSPC: no space left on device, ${what}`);
    if (isSync && what !== "syncSoon" && this.syncMs > 0) this.#onSlow(this.syncMs);
  }

  #fail(message: string): never {
    this.#hasFailed = true;
    throw new Error(message);
  }
}

/** A file system whose syncs do nothing. */
class LyingFs implements StorageFs {
  readonly #inner: MemoryFs;

  constructor(inner: MemoryFs) {
    this.#inner = inner;
  }

  makeFolder(path: string): void {
    this.#inner.makeFolder(path);
  }

  list(folder: string): string[] {
    return this.#inner.list(folder);
  }

  read(path: string): Uint8Array {
    return this.#inner.read(path);
  }

  create(path: string): StorageFile {
    return lying(this.#inner.create(path));
  }

  open(path: string): StorageFile {
    return lying(this.#inner.open(path));
  }

  rename(from: string, to: string): void {
    this.#inner.rename(from, to);
  }

  remove(path: string): void {
    this.#inner.remove(path);
  }

  /** Names are kept, or nothing at all would be found after a crash. */
  syncFolder(path: string): void {
    this.#inner.syncFolder(path);
  }

  prepare(path: string, bytes: number, done: (isMade: boolean) => void): void {
    this.#inner.prepare(path, bytes, done);
  }

  lock(folder: string): () => void {
    return this.#inner.lock(folder);
  }
}

function lying(file: StorageFile): StorageFile {
  return {
    write: (at, chunks) => file.write(at, chunks),
    sync: () => undefined,
    syncSoon: (done) => done(),
    close: () => file.close(),
  };
}
