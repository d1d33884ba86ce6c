/** Bundled: a script of this folder as one module, as the build makes the dataplane worker, so that what is measured is what runs. */
import { spawnSync } from "node:child_process";
import { basename, join } from "node:path";
import { ROOT_DIRECTORY } from "../config/version.ts";
import { bundle } from "../scripts/bundle.ts";
import { NODE_FLAGS } from "./node-flags.ts";

const FOLDER = "node_modules/.cache/synwall/bench";

const made = new Map<string, Promise<void>>();

/** The bundle's path, made once in this process. `script` is a path in the checkout; its name is the bundle's. */
export async function bundled(script: string): Promise<string> {
  const path = join(FOLDER, `${basename(script, ".ts")}.mjs`);
  const making = made.get(path) ?? bundle(script, path);
  made.set(path, making);
  await making;
  return join(ROOT_DIRECTORY, path);
}

/** Runs a script as one module, with the product's flags and this process's arguments; its exit status is this process's. */
export async function runBundled(script: string): Promise<void> {
  const command = [...NODE_FLAGS, await bundled(script), ...process.argv.slice(2)];
  process.exitCode = spawnSync(process.execPath, command, { stdio: "inherit" }).status ?? 1;
}
