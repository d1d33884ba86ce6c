/**
 * Store note: what a member remembers of the log that a site's store keeps, so that it never takes an emptied or restored store for
 * the one that it knows. Owns the small file and its format.
 *
 *   write()       store.json.new --sync--> renamed --sync of the folder--> returns
 *   writeSoon()   store.json.new --sync in the background--> renamed --> done
 *
 * A note that lags weakens the check by what it lags, and nothing else. So while a member runs nobody waits for it (ADR 48), and its new
 * name becomes durable when the file system sees fit: power that is lost leaves this note or the one before, never none.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { diskFs, type StorageFile, type StorageFs, type SyncDone } from "./fs.ts";
import { replaceFile } from "./replace-file.ts";

export interface Noted {
  /** Of the log. */
  readonly id: string;
  /** That the log was begun with. */
  readonly slots: number;
  /** The last entry that was applied, and the checksum up to it. */
  readonly index: number;
  readonly chain: number;
}

export interface StoreNote {
  read(): Noted | undefined;
  /** It is durable when this returns. Throws SW_STORAGE_FAILED. */
  write(noted: Noted): void;
  /**
   * The same without waiting, for one that may get lost with the power: `done` is called when it is written, or with SW_STORAGE_FAILED.
   * One at a time; write() takes the place of one that is not done.
   */
  writeSoon(noted: Noted, done: SyncDone): void;
}

const NAME = "store.json";

export class FileNote implements StoreNote {
  readonly path: string;
  readonly #folder: string;
  readonly #fs: StorageFs;
  /** What waits for the disk; anything else that it syncs was overtaken. */
  #syncing: StorageFile | undefined;
  #beats = 0;

  constructor(dataDir: string, fs: StorageFs = diskFs) {
    fs.makeFolder(dataDir);
    this.path = `${dataDir}/${NAME}`;
    this.#folder = dataDir;
    this.#fs = fs;
  }

  /** Throws SW_STORAGE_CORRUPT. */
  read(): Noted | undefined {
    let text: string;
    try {
      if (!this.#fs.list(this.#folder).includes(NAME)) return undefined;
      text = Buffer.from(this.#fs.read(this.path)).toString("utf8");
    } catch (error) {
      throw new SynwallError("SW_STORAGE_FAILED", `Cannot read ${this.path}`, { path: this.path }, error);
    }
    try {
      const { id, slots, index, chain } = JSON.parse(text) as Noted;
      if (typeof id === "string" && [slots, index, chain].every((number) => Number.isSafeInteger(number))) {
        return { id, slots, index, chain };
      }
    } catch {
      // Told below.
    }
    throw new SynwallError(
      "SW_STORAGE_CORRUPT",
      `${this.path} does not say which log this member has applied: remove it if this member belongs to the store that is configured`,
      { path: this.path },
    );
  }

  write(noted: Noted): void {
    this.#syncing = undefined;
    try {
      replaceFile(this.path, textOf(noted), this.#fs);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  writeSoon(noted: Noted, done: SyncDone): void {
    try {
      const file = this.#create(noted);
      this.#syncing = file;
      file.syncSoon((error) => {
        if (this.#syncing === file) this.#synced(error, done);
      });
      file.close();
    } catch (error) {
      done(this.#failed(error));
    }
  }

  /** Moves from call to call, unless the disk has not finished yet what it was to make durable at the call before. */
  beats(): number {
    if (this.#syncing === undefined) this.#beats++;
    return this.#beats;
  }

  #synced(error: unknown, done: SyncDone): void {
    this.#syncing = undefined;
    this.#beats++;
    let failure = error;
    try {
      if (failure === undefined) this.#fs.rename(this.#next, this.path);
    } catch (thrown) {
      failure = thrown;
    }
    done(failure === undefined ? undefined : this.#failed(failure));
  }

  #create(noted: Noted): StorageFile {
    const file = this.#fs.create(this.#next);
    try {
      file.write(0, [Buffer.from(textOf(noted))]);
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get #next(): string {
    return `${this.path}.new`;
  }

  #failed(error: unknown): SynwallError {
    return new SynwallError("SW_STORAGE_FAILED", `Cannot write ${this.path}`, { path: this.path }, error);
  }
}

function textOf(noted: Noted): string {
  return `${JSON.stringify(noted)}\n`;
}

/** For tests and simulation: outlives a process, but not a disk. */
export class MemoryNote implements StoreNote {
  #noted: Noted | undefined;

  read(): Noted | undefined {
    return this.#noted;
  }

  write(noted: Noted): void {
    this.#noted = noted;
  }

  writeSoon(noted: Noted, done: SyncDone): void {
    this.#noted = noted;
    done();
  }
}
