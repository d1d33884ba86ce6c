/**
 * Store note: what a member remembers of the log that a site's store keeps, so that it never takes an emptied or restored store for
 * the one that it knows. Owns the small file and its format.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { diskFs, type StorageFs } from "./fs.ts";

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
  /** Throws SW_STORAGE_FAILED. */
  write(noted: Noted): void;
}

const NAME = "store.json";

export class FileNote implements StoreNote {
  readonly path: string;
  readonly #folder: string;
  readonly #fs: StorageFs;

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
    const next = `${this.path}.new`;
    try {
      const file = this.#fs.create(next);
      try {
        file.write(0, [Buffer.from(`${JSON.stringify(noted)}\n`)]);
        file.sync();
      } finally {
        file.close();
      }
      this.#fs.rename(next, this.path);
      this.#fs.syncFolder(this.#folder);
    } catch (error) {
      throw new SynwallError("SW_STORAGE_FAILED", `Cannot write ${this.path}`, { path: this.path }, error);
    }
  }
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
}
