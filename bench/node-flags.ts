/**
 * Node flags: those that the product runs with, so that what is measured is what runs. Owns nothing but their reading: they stand in
 * the first line of bin/synwall.
 */
import { readFileSync } from "node:fs";

const FIRST_LINE = readFileSync(new URL("../bin/synwall", import.meta.url), "utf8").split("\n")[0]!;

/** Flags for a process that is started. */
export const NODE_FLAGS: readonly string[] = FIRST_LINE.split(" ").filter((word) => word.startsWith("--"));
