/**
 * New files: what a machine gets before its first start, several files that are worth something together only. Each lies beside its
 * place, as NAME.new, until all of them are whole and durable. They are made before their content is known, so a folder that cannot
 * be written and a disk without room show before anything is used up for them. Owns what this run made, and removes it on failure.
 */
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { dirname } from "node:path";
import { diskFs, type StorageFile, type StorageFs } from "../../cluster/storage/fs.ts";
import { SynwallError } from "../base/errors.ts";

export type Content = readonly [path: string, text: string];

type FilesFs = Pick<StorageFs, "create" | "rename" | "remove" | "syncFolder">;

/** Takes room on the disk; what comes later is longer, and is written over it. */
const NOTHING = "\n";

export class NewFiles {
  readonly #fs: FilesFs;
  readonly #open = new Map<string, StorageFile>();
  /** Names that this run made, and folders, the innermost last. */
  readonly #made = new Set<string>();
  readonly #folders: string[] = [];

  /** `dataDir` is for its owner alone, other folders may be read. Throws SW_STORAGE_FAILED, and then nothing was made. */
  constructor(paths: readonly string[], dataDir: string, fs: FilesFs = diskFs) {
    this.#fs = fs;
    for (const path of new Set(paths)) {
      this.#try(path, () => {
        const folder = dirname(path);
        this.#makeFolder(folder, folder === dataDir ? 0o700 : 0o755);
        // Of a run that was cut short; its mode may be anything.
        ignoring(() => fs.remove(newFile(path)));
        this.#open.set(path, fs.create(newFile(path)));
        this.#made.add(newFile(path));
        this.#write(path, NOTHING);
      });
    }
  }

  /** All of them, together; what belongs into one file comes in this order. Throws SW_STORAGE_FAILED, and then nothing is left. */
  fill(contents: readonly Content[]): void {
    const texts = new Map<string, string>();
    for (const [path, text] of contents)
      texts.set(path, (texts.get(path) ?? "") + (text.endsWith("\n") ? text : `${text}\n`));
    for (const [path, text] of texts) this.#try(path, () => this.#write(path, text));
    this.#close();
    for (const path of texts.keys()) {
      this.#try(path, () => {
        this.#fs.rename(newFile(path), path);
        this.#made.delete(newFile(path));
        this.#made.add(path);
      });
    }
    // A folder's own name stands in the one above it.
    for (const folder of new Set([...texts.keys(), ...this.#folders].map((path) => dirname(path))))
      this.#try(folder, () => this.#fs.syncFolder(folder));
  }

  /** Removes what this run made. */
  discard(): void {
    this.#close();
    for (const path of this.#made) ignoring(() => this.#fs.remove(path));
    // One that holds something else by now stays.
    for (const folder of this.#folders.reverse()) ignoring(() => rmdirSync(folder));
  }

  #makeFolder(folder: string, mode: number): void {
    if (existsSync(folder)) return;
    this.#makeFolder(dirname(folder), mode);
    mkdirSync(folder, { mode });
    this.#folders.push(folder);
  }

  #write(path: string, text: string): void {
    const file = this.#open.get(path)!;
    file.write(0, [Buffer.from(text)]);
    file.sync();
  }

  #close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  #try(path: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.discard();
      const { message } = error as Error;
      throw new SynwallError("SW_STORAGE_FAILED", `cannot write ${path} (${message})`, { path }, error);
    }
  }
}

function newFile(path: string): string {
  return `${path}.new`;
}

function ignoring(work: () => void): void {
  try {
    work();
  } catch {
    // What failed first is what is told.
  }
}
