/**
 * Version: Synwall's own version, as package.json says it. Works from the sources and from dist alike.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json: the checkout. */
export const ROOT_DIRECTORY: string = findRoot(dirname(fileURLToPath(import.meta.url)));

export const VERSION: string = (
  JSON.parse(readFileSync(join(ROOT_DIRECTORY, "package.json"), "utf8")) as { version: string }
).version;

function findRoot(directory: string): string {
  if (existsSync(join(directory, "package.json")) || dirname(directory) === directory) return directory;
  return findRoot(dirname(directory));
}
