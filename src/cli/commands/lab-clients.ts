/**
 * `synwall lab clients`: real clients and servers through a standing lab, in peace and across a killed node. Owns options and
 * wording; the work is in chaos/clients.
 */
import { type Command, Option } from "commander";
import { CHECKS } from "../../../chaos/clients/checks/all.ts";
import { DURINGS, type Family } from "../../../chaos/clients/model.ts";
import { runClients } from "../../../chaos/clients/suite.ts";
import { openLab } from "../../../chaos/lab/lab.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { type NameOptions, withLabContext, withName } from "../lab-context.ts";
import { families, formatFindings } from "../lab-findings.ts";
import { printJson, type Terminal } from "../terminal.ts";

const EXAMPLES = `
Checks:
${CHECKS.map(({ name, what }) => `  ${name.padEnd(17)}${what}`).join("\n")}

Examples:
  synwall lab up && synwall lab clients
  synwall lab clients --during kill --only ftp-port,sip
  synwall lab clients --json > clients.json
`;

interface ClientOptions extends NameOptions {
  readonly during: "nothing" | "kill" | "both";
  readonly family: readonly Family[];
  readonly only: readonly string[];
}

export function addClients(lab: Command, terminal: Terminal): void {
  withName(lab.command("clients"))
    .description("real clients and servers through the lab; exit status 1 unless all pass")
    .addOption(
      new Option("--during <fault>", "what happens meanwhile").choices([...DURINGS, "both"]).default("both"),
    )
    .option("--family <family>", "4, 6 or both", families, [4, 6])
    .option("--only <checks>", "names, separated by commas (default: all)", names, [])
    .addHelpText("after", EXAMPLES)
    .action(async (options: ClientOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const durings = options.during === "both" ? DURINGS : [options.during];
        const { family, only } = options;
        const report = await runClients(openLab(options.name, context), { durings, families: family, only });
        if (options.json) printJson(terminal, report);
        else terminal.out(formatFindings(report.findings));
        if (report.passed < report.findings.length) process.exitCode = EXIT_REFUSED;
      });
    });
}

function names(text: string): string[] {
  return text.split(",").filter((name) => name !== "");
}
