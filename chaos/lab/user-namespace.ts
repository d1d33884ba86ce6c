/**
 * Labs without root: the whole command runs again inside a user namespace of its own, in which it is root over network
 * namespaces but may not load BPF programs, so the lab uses `cap` ports. A lab that stands is entered again through its
 * anchor, a process that does nothing but hold the namespaces.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { isRunning } from "./processes.ts";
import { run } from "./run.ts";
import { type LabOwner, labPaths, readState } from "./state.ts";

/** Name under which the anchor is among a lab's processes. */
export const ANCHOR = "anchor";
/** A private /run, for the names of network namespaces and for what tools keep there. */
const PREPARE = 'mount -t tmpfs tmpfs /run && exec "$@"';

/** Who this process works for. */
export function labOwner(): LabOwner {
  const uid = process.getuid?.() ?? -1;
  const outside = uid === 0 ? mappedRoot(readFileSync("/proc/self/uid_map", "utf8")) : undefined;
  return outside === undefined
    ? { uid, isUserNamespace: uid !== 0 }
    : { uid: outside, isUserNamespace: true };
}

/**
 * The outer user of a namespace that maps its root and nobody else ("0 1000 1"), as `unshare --map-root-user` makes them;
 * undefined for the machine's own namespace.
 */
export function mappedRoot(uidMap: string): number | undefined {
  const lines = uidMap.trim().split("\n");
  const match = /^\s*0\s+(\d+)\s+1\s*$/.exec(lines.length === 1 ? lines[0]! : "");
  return match === null ? undefined : Number(match[1]);
}

/** True when this process may make network namespaces as it is. */
export function mayBuild(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Command that runs `command` with the rights to build or use lab `name`: inside the standing lab's namespaces, or in fresh
 * ones when no lab of that name stands.
 */
export function privateCommand(name: string, command: readonly string[]): string[] {
  const anchor = anchorOf(name);
  if (anchor === undefined) return freshNamespaces(command);
  const flags = ["--user", "--net", "--mount", "--preserve-credentials"];
  return ["nsenter", `--target=${anchor}`, ...flags, ...command];
}

/** Runs `command` as privateCommand() says, on this terminal, and answers its exit status. */
export function runPrivately(name: string, command: readonly string[]): Promise<number> {
  const [file, ...args] = privateCommand(name, command);
  return new Promise((resolve, reject) => {
    const child = spawn(file!, args, { stdio: "inherit" });
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
    const ignore = (): void => undefined; // The terminal sends Ctrl-C to both.
    process.on("SIGTERM", forward);
    process.on("SIGINT", ignore);
    child.once("error", (cause) =>
      reject(
        new SynwallError(
          "SW_LAB_FAILED",
          `without root the lab needs ${file} (util-linux): ${cause.message}`,
          {},
          cause,
        ),
      ),
    );
    child.once("exit", (code, signal) => {
      process.off("SIGTERM", forward);
      process.off("SIGINT", ignore);
      resolve(code ?? (signal === "SIGINT" ? 130 : 1));
    });
  });
}

/** Why this user cannot have namespaces of its own, in a few words; empty when it can. */
export async function whyNoUserNamespace(): Promise<string> {
  const [file, ...args] = freshNamespaces(["true"]);
  try {
    await run(file, args);
    return "";
  } catch {
    return "user namespaces are not to be had";
  }
}

function freshNamespaces(command: readonly string[]): [string, ...string[]] {
  return ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", PREPARE, "sh", ...command];
}

function anchorOf(name: string): number | undefined {
  try {
    const anchor = readState(name, labPaths(name, labOwner())).processes[ANCHOR];
    return anchor !== undefined && isRunning(anchor) ? anchor.pid : undefined;
  } catch (error) {
    if (error instanceof SynwallError && error.code === "SW_LAB_MISSING") return undefined;
    throw error;
  }
}
