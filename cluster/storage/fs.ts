/**
 * File system: the few calls that the log and the snapshots stand on, so that tests can crash between any two of them
 * (memory-fs.ts). Owns durability's vocabulary: what is written is durable after sync() of the file, a name after syncFolder() of
 * its folder, and nothing before.
 *
 * All but one of them return when they are done. What every command waits for is syncSoon(): a disk may take a tenth of a second
 * now and then, and the thread that calls it carries replication as well (ADR 48).
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  promises,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writevSync,
} from "node:fs";
import { lockFolder } from "./folder-lock.ts";

export interface StorageFile {
  /** Writes all chunks one behind the other, from byte `at` on. */
  write(at: number, chunks: readonly Uint8Array[]): void;
  /** What was written is durable when this returns (fdatasync). */
  sync(): void;
  /** The same for what was written until now, without waiting: `done` is called when it is durable, or with why it never will be. */
  syncSoon(done: SyncDone): void;
  /** What is being synced is synced all the same. */
  close(): void;
}

export type SyncDone = (error?: unknown) => void;

export interface StorageFs {
  makeFolder(path: string): void;
  /** Names, without the folder, in no particular order. */
  list(folder: string): string[];
  read(path: string): Uint8Array;
  /** A new, empty file; an old one of that name is replaced. */
  create(path: string): StorageFile;
  open(path: string): StorageFile;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Names that were made, renamed or removed in the folder are durable when this returns. */
  syncFolder(path: string): void;
  /** Makes a file of zeros in the background; `done` is called with false when that failed. */
  prepare(path: string, bytes: number, done: (isMade: boolean) => void): void;
  /** Keeps other processes out of the folder until the function that it gives is called. */
  lock(folder: string): () => void;
}

const ZEROS = new Uint8Array(65_536);

/** Chunks of zeros for preallocation. */
export function zeros(bytes: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let left = bytes; left > 0; left -= ZEROS.length) {
    chunks.push(left >= ZEROS.length ? ZEROS : ZEROS.subarray(0, left));
  }
  return chunks;
}

export const diskFs: StorageFs = {
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  },
  list: (folder) => readdirSync(folder),
  read: (path) => readFileSync(path),
  create: (path) => new DiskFile(openSync(path, "w+", 0o600)),
  open: (path) => new DiskFile(openSync(path, "r+")),
  rename: renameSync,
  remove: unlinkSync,
  syncFolder(path) {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  },
  prepare(path, bytes, done) {
    prepareOnDisk(path, bytes).then(
      () => done(true),
      () => done(false),
    );
  },
  lock: (folder) => lockFolder(folder),
};

class DiskFile implements StorageFile {
  readonly #fd: number;
  #syncing = 0;
  #isClosed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(at: number, chunks: readonly Uint8Array[]): void {
    let rest = [...chunks];
    let position = at;
    while (rest.length > 0) {
      const written = writevSync(this.#fd, rest, position);
      // A disk that takes nothing and says nothing would keep the process here for ever.
      if (written === 0) throw Object.assign(new Error("ENOSPC: nothing was written"), { code: "ENOSPC" });
      position += written;
      rest = behind(rest, written);
    }
  }

  sync(): void {
    fdatasyncSync(this.#fd);
  }

  syncSoon(done: SyncDone): void {
    this.#syncing++;
    fdatasync(this.#fd, (error) => {
      this.#syncing--;
      // Not before: another file would get the number, and be synced in place of this one.
      if (this.#isClosed && this.#syncing === 0) closeSync(this.#fd);
      done(error ?? undefined);
    });
  }

  close(): void {
    this.#isClosed = true;
    if (this.#syncing === 0) closeSync(this.#fd);
  }
}

/** What is left of `chunks` after `bytes` of them were written. */
function behind(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  for (const [i, chunk] of chunks.entries()) {
    if (left < chunk.length) return [chunk.subarray(left), ...chunks.slice(i + 1)];
    left -= chunk.length;
  }
  return [];
}

async function prepareOnDisk(path: string, bytes: number): Promise<void> {
  const file = await promises.open(path, "w", 0o600);
  let isMade = false;
  try {
    let at = 0;
    for (const chunk of zeros(bytes)) {
      const { bytesWritten } = await file.write(chunk, 0, chunk.length, at);
      if (bytesWritten < chunk.length) throw new Error(`only ${at + bytesWritten} of ${bytes} bytes fit`);
      at += chunk.length;
    }
    await file.datasync();
    isMade = true;
  } finally {
    await file.close();
    // On a full disk, what was made of it would take the room of what must be written.
    if (!isMade) await promises.rm(path, { force: true });
  }
}
