/**
 * `synwall drain`: hands all of a node's slots over, losing nothing, before maintenance or an upgrade.
 */
import type { Command } from "commander";
import { addMoveCommand } from "../move-command.ts";
import type { Terminal } from "../terminal.ts";

export function addDrainCommand(program: Command, terminal: Terminal): void {
  addMoveCommand(program, terminal, {
    method: "drain",
    description: "hand all slots of a node over, losing nothing; then it may be stopped",
    example: "synwall drain fw1 && ssh fw1 systemctl stop synwall-node",
    done: (node, epoch) =>
      `${node} is drained (epoch ${epoch}): it owns nothing and may be stopped. Bring it back with: synwall rejoin ${node}`,
  });
}
