/**
 * Running the system's tools (ip, ethtool, openssl): one call, its output, and a one-line error when it fails.
 */
import { execFile, spawn } from "node:child_process";
import { SynwallError } from "../../src/base/errors.ts";

const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
/** Characters of a failed command in its error. */
const ARGUMENTS_SHOWN = 80;

export interface RunOptions {
  /** Text for its standard input. */
  readonly input?: string;
  /** Give the tool so much time to get ready before it is given the input. */
  readonly inputAfterMs?: number;
  /** Called right before the input is given. */
  readonly onInput?: () => void;
  /** Give up after; default: 60 s. */
  readonly timeoutMs?: number;
  /** Answer empty text instead of failing. */
  readonly mayFail?: boolean;
}

/** Runs `command` to its end and answers its standard output. Throws SW_LAB_FAILED with what it said. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { maxBuffer: OUTPUT_BYTES_MAX, timeout: options.timeoutMs ?? TIMEOUT_MS },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (options.mayFail) resolve("");
        else reject(failure(command, args, error, stderr));
      },
    );
    child.stdin?.on("error", () => undefined); // The tool ended before it read everything: its status tells.
    setTimeout(() => {
      options.onInput?.();
      child.stdin?.end(options.input ?? "");
    }, options.inputAfterMs ?? 0);
  });
}

/** Runs `command` on this terminal and answers its exit status (128 + signal, as shells do). */
export function runInForeground(command: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit" });
    const ignore = (): void => undefined; // Ctrl-C is for the command; we end when it ends.
    process.on("SIGINT", ignore);
    child.once("error", (cause: NodeJS.ErrnoException) => reject(failure(command, args, cause, "")));
    child.once("exit", (code, signal) => {
      process.off("SIGINT", ignore);
      resolve(code ?? 128 + (signal === "SIGINT" ? 2 : signal === "SIGTERM" ? 15 : 9));
    });
  });
}

function failure(
  command: string,
  args: readonly string[],
  cause: Error & { code?: unknown },
  stderr: string,
): SynwallError {
  if (cause.code === "ENOENT") {
    return new SynwallError("SW_LAB_FAILED", `${command}: not installed: run scripts/setup.sh`, {}, cause);
  }
  const said = stderr.trim().split("\n").slice(-3).join(" | ") || cause.message.split("\n")[0];
  const asked = [command, ...args].join(" ").split("\n")[0]!.slice(0, ARGUMENTS_SHOWN);
  return new SynwallError("SW_LAB_FAILED", `${asked}: ${said}`, {}, cause);
}
