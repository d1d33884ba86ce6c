/**
 * Environment: what Synwall reads from environment variables. Nothing else does.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";

const RUN_DIRECTORY = "/run/synwall";

/** The admin socket named by SYNWALL_SOCKET, if any. */
export function socketFromEnvironment(): string | undefined {
  return process.env["SYNWALL_SOCKET"] || undefined;
}

/** Whoever started this process promises to start it again when it ends with status 75 (src/node/main.ts). */
export function isSupervised(): boolean {
  return process.env["SYNWALL_SUPERVISED"] === "1";
}

/** Admin sockets of this machine's members, by name. */
export function socketsOfThisMachine(directory = RUN_DIRECTORY): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(".sock"))
      .sort()
      .map((name) => join(directory, name));
  } catch {
    return []; // No directory: no member has run here.
  }
}
