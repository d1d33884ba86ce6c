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

/** Names this build, made by scripts/bundle.ts of all that it consists of; empty when the sources run themselves. */
export const BUILD: string = readBuild(fileURLToPath(import.meta.url));

function readBuild(module: string): string {
  const file = join(ROOT_DIRECTORY, "dist", "build.json");
  if (!module.startsWith(join(ROOT_DIRECTORY, "dist")) || !existsSync(file)) return "";
  return (JSON.parse(readFileSync(file, "utf8")) as { build: string }).build;
}

function findRoot(directory: string): string {
  if (existsSync(join(directory, "package.json")) || dirname(directory) === directory) return directory;
  return findRoot(dirname(directory));
}
