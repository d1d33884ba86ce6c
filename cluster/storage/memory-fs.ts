/**
 * Memory file system that can crash: remembers which bytes and names were made durable. After a crash, sectors that were
 * written but not synced are there or not, each by chance; of unsynced changes of names a prefix is there, as a journal
 * keeps them. A sync that fails takes what it should have written with it, as Linux does: the pages count as clean, and a
 * second sync means nothing. For tests of everything that stands on fs.ts, and for simulated nodes.
 */
import type { StorageFile, StorageFs, SyncDone } from "./fs.ts";

/** What a crash may leave behind. */
export interface CrashModel {
  /** Bytes that are there together or not at all; a disk's sectors have 512. */
  readonly tearBytes: number;
  /** Names of one folder may be there without earlier changes of another. */
  readonly isJournalPerFolder: boolean;
}

const ORDINARY_CRASH: CrashModel = { tearBytes: 512, isJournalPerFolder: false };

/** Thrown by the operation in which the process "dies"; the file system answers nothing else after that. */
export class CrashError extends Error {
  override readonly name = "CrashError";
}

interface Inode {
  content: Uint8Array;
  durable: Uint8Array;
  /** Written since the last sync, in order. */
  pending: { readonly at: number; readonly bytes: Uint8Array }[];
}

type NameChange = (names: Map<string, Inode>) => void;

interface PendingName {
  readonly folder: string;
  readonly change: NameChange;
}

export class MemoryFs implements StorageFs {
  /** Called before each operation that changes something, with its number from 1; throws to let it fail. */
  onOperation: (n: number, what: string) => void = () => {};
  /** When a sync in the background happens; at once, unless told otherwise. */
  later: (work: () => void) => void = (work) => work();
  operations = 0;
  readonly #names = new Map<string, Inode>();
  readonly #durableNames = new Map<string, Inode>();
  #pendingNames: PendingName[] = [];
  #isCrashed = false;

  makeFolder(_path: string): void {}

  list(folder: string): string[] {
    this.#check();
    const prefix = `${folder}/`;
    return [...this.#names.keys()]
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length))
      .filter((name) => !name.includes("/"));
  }

  read(path: string): Uint8Array {
    this.#check();
    return this.#inode(path).content.slice();
  }

  create(path: string): StorageFile {
    this.#operate("create", () => {
      const inode: Inode = { content: new Uint8Array(0), durable: new Uint8Array(0), pending: [] };
      this.#rename(path, (names) => names.set(path, inode));
    });
    return this.#file(path);
  }

  open(path: string): StorageFile {
    this.#check();
    return this.#file(path);
  }

  rename(from: string, to: string): void {
    this.#operate("rename", () => {
      const inode = this.#inode(from);
      this.#rename(to, (names) => {
        if (names.get(from) === inode) names.delete(from);
        names.set(to, inode);
      });
    });
  }

  remove(path: string): void {
    this.#operate("remove", () => this.#rename(path, (names) => names.delete(path)));
  }

  syncFolder(path: string): void {
    this.#operate("syncFolder", () => {
      this.#pendingNames = this.#pendingNames.filter(({ folder, change }) => {
        if (folder !== path) return true;
        change(this.#durableNames);
        return false;
      });
    });
  }

  prepare(path: string, bytes: number, done: (isMade: boolean) => void): void {
    try {
      const file = this.create(path);
      file.write(0, [new Uint8Array(bytes)]);
      file.sync();
      file.close();
      done(true);
    } catch (error) {
      if (error instanceof CrashError) throw error;
      done(false);
    }
  }

  lock(_folder: string): () => void {
    return () => {};
  }

  /** The disk as the next process finds it. `random` decides what of the unsynced is there. */
  crash(random: (bound: number) => number, model: CrashModel = ORDINARY_CRASH): MemoryFs {
    this.#isCrashed = true;
    const next = new MemoryFs();
    const names = new Map(this.#durableNames);
    for (const journal of this.#journals(model)) {
      const kept = random(journal.length + 1);
      for (const { change } of journal.slice(0, kept)) change(names);
    }
    const inodes = new Map<Inode, Inode>();
    for (const [path, inode] of names) {
      const copy = inodes.get(inode) ?? survivor(inode, random, model.tearBytes);
      inodes.set(inode, copy);
      next.#names.set(path, copy);
      next.#durableNames.set(path, copy);
    }
    return next;
  }

  /** The disk as it is, for a process that starts again without a crash of the machine: what was not synced is not yet. */
  restart(): MemoryFs {
    this.#isCrashed = true;
    const next = new MemoryFs();
    for (const [path, inode] of this.#names) next.#names.set(path, inode);
    for (const [path, inode] of this.#durableNames) next.#durableNames.set(path, inode);
    next.#pendingNames = this.#pendingNames;
    return next;
  }

  /** Damages durable bytes, as a bad disk does. */
  damage(path: string, change: (content: Uint8Array) => void): void {
    const inode = this.#inode(path);
    change(inode.content);
    inode.durable = inode.content.slice();
  }

  #file(path: string): StorageFile {
    const inode = this.#inode(path);
    return {
      write: (at, chunks) => {
        let position = at;
        const writes = chunks.map((chunk) => {
          const write = { at: position, bytes: chunk.slice() };
          position += chunk.length;
          return write;
        });
        // What a crash in the middle of this call may leave behind is part of what it may leave behind after it.
        this.#operate("write", () => {
          for (const write of writes) {
            inode.pending.push(write);
            inode.content = written(inode.content, write.at, write.bytes);
          }
        });
      },
      sync: () => this.#sync("sync", inode, inode.pending),
      syncSoon: (done) => {
        const { pending } = inode;
        inode.pending = [...pending];
        this.later(() => this.#syncSoon(inode, pending, done));
      },
      close: () => {},
    };
  }

  /** Makes durable what of `writes` is not yet. */
  #sync(what: "sync" | "syncSoon", inode: Inode, writes: Inode["pending"]): void {
    const due = inode.pending.filter((write) => writes.includes(write));
    const drop = (): void => {
      inode.pending = inode.pending.filter((write) => !due.includes(write));
    };
    try {
      this.#operate(what, () => {
        // Not the whole content: a log is synced for every few bytes that are added to it.
        for (const { at, bytes } of due) inode.durable = written(inode.durable, at, bytes);
      });
    } catch (error) {
      if (!(error instanceof CrashError)) drop();
      throw error;
    }
    drop();
  }

  #syncSoon(inode: Inode, writes: Inode["pending"], done: SyncDone): void {
    let failure: unknown;
    try {
      this.#sync("syncSoon", inode, writes);
    } catch (error) {
      failure = error;
    }
    done(failure);
  }

  /** `work` is done also when the operation "dies": nobody knows how far it came, and crash() draws that. */
  #operate(what: string, work: () => void): void {
    this.#check();
    this.operations++;
    try {
      this.onOperation(this.operations, what);
    } catch (error) {
      if (error instanceof CrashError) {
        this.#isCrashed = true;
        if (what === "write" || what === "rename" || what === "create" || what === "remove") work();
      }
      throw error;
    }
    work();
  }

  #rename(path: string, change: NameChange): void {
    change(this.#names);
    this.#pendingNames.push({ folder: path.slice(0, path.lastIndexOf("/")), change });
  }

  #journals({ isJournalPerFolder }: CrashModel): PendingName[][] {
    if (!isJournalPerFolder) return [this.#pendingNames];
    const folders = new Set(this.#pendingNames.map(({ folder }) => folder));
    return [...folders].map((folder) => this.#pendingNames.filter((pending) => pending.folder === folder));
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw new Error(`ENOENT: ${path}`);
    return inode;
  }

  #check(): void {
    if (this.#isCrashed) throw new CrashError("this file system has crashed");
  }
}

function survivor(inode: Inode, random: (bound: number) => number, tearBytes: number): Inode {
  let content: Uint8Array = inode.durable.slice();
  for (const { at, bytes } of inode.pending) {
    for (let from = 0; from < bytes.length; ) {
      const end = Math.min(bytes.length, from + tearBytes - ((at + from) % tearBytes));
      if (random(2) === 0) content = written(content, at + from, bytes.subarray(from, end));
      from = end;
    }
  }
  return { content, durable: content.slice(), pending: [] };
}

function written(content: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  const end = at + bytes.length;
  let result: Uint8Array = content;
  if (end > content.length) {
    result = new Uint8Array(end);
    result.set(content);
  }
  result.set(bytes, at);
  return result;
}
