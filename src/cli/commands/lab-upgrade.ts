/**
 * `synwall lab restart` and `lab upgrade`: members of a lab have nobody who starts them again, so the lab does. Owns the wording.
 */
import type { Command } from "commander";
import { restartMember } from "../../../chaos/lab/faults.ts";
import { openLab, runningProcess, waitAnswering } from "../../../chaos/lab/lab.ts";
import { SynwallError } from "../../base/errors.ts";
import { type NameOptions, withLabContext, withName } from "../lab-context.ts";
import { printJson, type Terminal } from "../terminal.ts";
import { realStage, runUpgrade, type UpgradeCommandOptions, withUpgradeOptions } from "./upgrade.ts";

export function addUpgrade(lab: Command, terminal: Terminal): void {
  withName(lab.command("restart"))
    .description("end a member in order (SIGTERM) and start it again")
    .argument("<member>")
    .action(async (member: string, options: NameOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const standing = openLab(options.name, context);
        await restartMember(standing, member);
        await waitAnswering(standing, member);
        if (options.json) printJson(terminal, { done: `${member} was restarted` });
        else terminal.out(`${member} was restarted\n`);
      });
    });
  withUpgradeOptions(withName(lab.command("upgrade")))
    .description("as 'synwall upgrade': restart all members, one after the other, losing nothing")
    .action(async (options: NameOptions & UpgradeCommandOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const standing = openLab(options.name, context);
        await runUpgrade(
          {
            ...realStage(terminal, options.json === true),
            ask: (method, params, askOptions) => {
              const { members } = standing.state.topology;
              // Any that runs; the one that is being restarted does not.
              const asked = members.find(({ name }) => runningProcess(standing, name) !== undefined);
              if (asked === undefined) throw new SynwallError("SW_ADMIN_UNREACHABLE", "no member runs");
              return context.ask(standing.paths.socket(asked.name), method, params, askOptions);
            },
            restart: async ({ name }) => void (await restartMember(standing, name)),
          },
          options,
          false,
          terminal,
        );
      });
    });
}
