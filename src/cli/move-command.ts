/**
 * Move command: what `drain` and `rejoin` have in common. They answer when the move is complete, or say why it is not.
 */
import type { Command } from "commander";
import { adminCall } from "./admin-client.ts";
import { type AskOptions, duration, withAskOptions } from "./options.ts";
import { chooseSocket } from "./socket.ts";
import { printJson, type Terminal } from "./terminal.ts";

const MOVE_TIMEOUT_MS = 60_000;
/** The node answers at its own deadline; the client waits a little longer, so that its reason arrives. */
const ANSWER_MARGIN_MS = 5_000;

interface Move {
  readonly method: "drain" | "rejoin";
  readonly description: string;
  readonly example: string;
  readonly done: (node: string, epoch: number) => string;
}

export function addMoveCommand(program: Command, terminal: Terminal, move: Move): void {
  withAskOptions(program.command(move.method))
    .description(move.description)
    .argument("<node>", "name of the node")
    .option("--timeout <duration>", "give up after", duration, MOVE_TIMEOUT_MS)
    .addHelpText("after", `\nExample:\n  ${move.example}\n`)
    .action(async (node: string, options: AskOptions & { timeout: number }) => {
      const result = await adminCall(
        chooseSocket(options.socket),
        move.method,
        { node, timeoutMs: options.timeout },
        { timeoutMs: options.timeout + ANSWER_MARGIN_MS },
      );
      if (options.json) printJson(terminal, result);
      else terminal.out(`${move.done(node, result.epoch)}\n`);
    });
}
