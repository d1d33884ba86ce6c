/**
 * Options: kinds of option values that several commands take, read into what they mean. Owns their wording when wrong.
 */
import { type Command, InvalidArgumentError } from "commander";
import { parseDurationMs } from "../../config/duration.ts";

/** `--socket` and `--json`, of every command that asks a node. */
export interface AskOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

export function withAskOptions(command: Command): Command {
  return command
    .option(
      "--socket <path>",
      "admin socket of the node (default: $SYNWALL_SOCKET, else the only one in /run/synwall)",
    )
    .option("--json", "print JSON, for scripts");
}

/** A whole number of at least `min`. */
export function wholeAtLeast(min: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!/^\d+$/.test(text) || n < min) throw new InvalidArgumentError(`use a whole number, ${min} or more`);
    return n;
  };
}

/** A whole number from `min` to `max`. */
export function wholeBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!/^\d+$/.test(text) || n < min || n > max) {
      throw new InvalidArgumentError(`use a whole number, ${min} to ${max}`);
    }
    return n;
  };
}

export function duration(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined) throw new InvalidArgumentError("use a duration with its unit, like 500ms, 30s or 5m");
  return ms;
}
