/**
 * Processes of a lab: started inside a namespace, found again by id and start time, ended by id only.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { lifeOf, startTicksOf } from "../../cluster/storage/process-life.ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { LabProcess } from "./state.ts";
import { namespaceOf } from "./topology.ts";
import { poll } from "./wait.ts";

const END_TIMEOUT_MS = 5_000;

/** The checkout that this code belongs to, be it compiled or not. */
export function checkoutDirectory(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const root = join(here, "..", "..");
  return root.endsWith("/dist") ? dirname(root) : root;
}

/** Command that runs a compiled module of this checkout, like "chaos/traffic/probe-main". */
export function moduleCommand(module: string, args: readonly string[]): string[] {
  return [process.execPath, join(checkoutDirectory(), "dist", `${module}.js`), ...args];
}

/** Command that runs `synwall` with these arguments. */
export function synwallCommand(args: readonly string[]): string[] {
  return [join(checkoutDirectory(), "bin", "synwall"), ...args];
}

/** Command that runs another one with a time of day that is off by what `clockFile` says. */
export function shiftedCommand(clockFile: string, command: readonly string[]): string[] {
  const module = pathToFileURL(join(checkoutDirectory(), "dist", "chaos/lab/clock-shift.js"));
  module.searchParams.set("file", clockFile);
  return ["env", `NODE_OPTIONS=--import=${module.href}`, ...command];
}

/** Command that runs another one in a host's namespace; `ip` replaces itself by it, so the process id stays. */
export function namespaceCommand(lab: string, host: string, command: readonly string[]): string[] {
  return ["ip", "netns", "exec", namespaceOf(lab, host), ...command];
}

/** Starts a process that outlives this one, with its output in `logFile`. */
export async function startDetached(command: readonly string[], logFile: string): Promise<LabProcess> {
  const log = openSync(logFile, "a", 0o600);
  try {
    const child = spawn(command[0]!, command.slice(1), { detached: true, stdio: ["ignore", log, log] });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (cause) =>
        reject(new SynwallError("SW_LAB_FAILED", `cannot start ${command[0]}: ${cause.message}`, {}, cause)),
      );
    });
    child.unref();
    const pid = child.pid!;
    return { pid, startTicks: startTicksOf(pid) ?? "" };
  } finally {
    closeSync(log);
  }
}

/** A process that is being taken down counts as running: it may still hold ports and sockets. */
export function isRunning(target: LabProcess): boolean {
  return lifeOf(target.pid, target.startTicks) !== "gone";
}

/** Sends a signal, unless the process is gone or its id belongs to another one by now. */
export function signal(target: LabProcess, name: NodeJS.Signals): boolean {
  if (!isRunning(target)) return false;
  try {
    process.kill(target.pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Ends processes: asked first, then killed. Waits until they are gone. */
export async function endAll(targets: readonly LabProcess[]): Promise<void> {
  const gone = (): boolean => targets.every((target) => !isRunning(target));
  for (const target of targets) {
    signal(target, "SIGCONT"); // A paused process would keep every other signal for later.
    signal(target, "SIGTERM");
  }
  if (await poll(gone, END_TIMEOUT_MS)) return;
  for (const target of targets) signal(target, "SIGKILL");
  if (!(await poll(gone, END_TIMEOUT_MS))) {
    const left = targets.filter(isRunning).map(({ pid }) => pid);
    throw new SynwallError("SW_LAB_FAILED", `processes ${left.join(", ")} do not end`);
  }
}

/** A process as it runs now, by id alone. */
export function processOf(pid: number): LabProcess | undefined {
  const startTicks = startTicksOf(pid);
  return startTicks === undefined ? undefined : { pid, startTicks };
}
