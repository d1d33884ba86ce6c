/**
 * `synwall sync`: has a node send its flows to their backups again. Owns asking for it; how it goes on shows in status and lag.
 */
import type { Command } from "commander";
import { SynwallError } from "../../base/errors.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { printJson, type Terminal } from "../terminal.ts";

interface SyncOptions extends AskOptions {
  readonly full?: boolean;
}

export function addSyncCommand(program: Command, terminal: Terminal): void {
  withAskOptions(program.command("sync"))
    .description(
      "send what this node owns to its backups again; no flow is touched, live changes go on alongside",
    )
    .argument("[peer]", "name of one backup; all of them unless given")
    .option(
      "--full",
      "every slot whole: needed, since differences are found and repaired without being asked",
    )
    .addHelpText("after", "\nExample:\n  synwall sync --full fw2\n")
    .action(async (peer: string | undefined, options: SyncOptions) => {
      if (options.full !== true) {
        throw new SynwallError(
          "SW_ADMIN_BAD_REQUEST",
          "sync needs --full: differences are found and repaired by themselves, so only everything can be asked for",
        );
      }
      const params = peer === undefined ? {} : { peer };
      const result = await adminCall(chooseSocket(options.socket), "sync.full", params);
      if (options.json) printJson(terminal, result);
      else terminal.out(`${describe(result.slots)}\n`);
    });
}

function describe(slots: number): string {
  return slots === 0
    ? "no slot is sent again: none has a backup there, or all are on their way already"
    : `${slots} slots are being sent again: 'synwall lag' and 'synwall journal' show how it goes`;
}
