/**
 * Replaced file: a small file that gets new content in one step. Owns the order of it: the content is durable before it has the
 * name, so a machine that loses its power has the former content or the new one, whole.
 */
import { dirname } from "node:path";
import type { StorageFs } from "./fs.ts";

export function replaceFile(
  path: string,
  text: string,
  fs: Pick<StorageFs, "create" | "rename" | "syncFolder">,
): void {
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
