/**
 * promtool for tests: from the system, or from where scripts/setup.sh puts it.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT_DIRECTORY } from "../../../config/version.ts";

const FROM_SETUP = join(ROOT_DIRECTORY, "node_modules/.cache/synwall/bin/promtool");

/** Path of promtool; undefined when there is none, and then the reason is printed once. */
export const PROMTOOL: string | undefined = ((): string | undefined => {
  if (existsSync(FROM_SETUP)) return FROM_SETUP;
  if (spawnSync("promtool", ["--version"]).status === 0) return "promtool";
  process.stderr.write("promtool is missing, so its checks are skipped: run scripts/setup.sh as root\n");
  return undefined;
})();

export function promtool(args: readonly string[], input = ""): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(PROMTOOL!, args, { input, encoding: "utf8" });
  return { status, text: stdout + stderr };
}
