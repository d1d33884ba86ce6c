/**
 * Store note: what a member remembers of the log that a site's store keeps, so that it never takes an emptied or restored store for
 * the one that it knows. Owns the small file and its format.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";

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

export class FileNote implements StoreNote {
  readonly path: string;

  constructor(dataDir: string) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    this.path = join(dataDir, "store.json");
  }

  /** Throws SW_STORAGE_CORRUPT. */
  read(): Noted | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
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
      const file = openSync(next, "w", 0o600);
      try {
        writeSync(file, `${JSON.stringify(noted)}\n`);
        fdatasyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(next, this.path);
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
