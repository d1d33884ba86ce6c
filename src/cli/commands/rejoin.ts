/**
 * `synwall rejoin`: gives a drained node its slots back, once it has proven that it holds their flows.
 */
import type { Command } from "commander";
import { addMoveCommand } from "../move-command.ts";
import type { Terminal } from "../terminal.ts";

export function addRejoinCommand(program: Command, terminal: Terminal): void {
  addMoveCommand(program, terminal, {
    method: "rejoin",
    description: "give a drained node its slots back, when it is proven ready",
    example: "synwall rejoin fw1",
    done: (node, epoch) => `${node} is back (epoch ${epoch}): it owns its share of slots again.`,
  });
}
