/**
 * Replaced file: a small file that gets new content in one step. Owns the order of it: the content is durable before it has the
 * name, so a machine that loses its power has the former content or the new one, whole.
 */
import { dirname } from "node:path";
import type { StorageFs } from "./fs.ts";
import { failed } from "./wal.ts";

type Fs = Pick<StorageFs, "create" | "rename" | "syncFolder">;

/** Throws SW_STORAGE_FAILED, and then the former content is there. */
export function replaceFile(path: string, text: string, fs: Fs): void {
  try {
    replace(path, text, fs);
  } catch (error) {
    throw failed(path, error);
  }
}

function replace(path: string, text: string, fs: Fs): void {
  const file = fs.create(`${path}.new`);
  try {
    file.write(0, [Buffer.from(text)]);
    file.sync();
  } finally {
    file.close();
  }
  fs.rename(`${path}.new`, path);
  fs.syncFolder(dirname(path));
}
