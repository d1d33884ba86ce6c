/**
 * `synwall lab clients`: real clients and servers through a standing lab, in peace and across a killed node. Owns options and
 * wording; the work is in chaos/clients.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { CHECKS } from "../../../chaos/clients/checks/all.ts";
import { type ClientReport, DURINGS, type Family } from "../../../chaos/clients/model.ts";
import { runClients } from "../../../chaos/clients/suite.ts";
import { openLab } from "../../../chaos/lab/lab.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { type NameOptions, withLabContext, withName } from "../lab-context.ts";
import { formatMs, printJson, type Terminal, table } from "../terminal.ts";

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
        else terminal.out(formatReport(report));
        if (report.passed < report.findings.length) process.exitCode = EXIT_REFUSED;
      });
    });
}

function formatReport({ findings, passed, failed, notYet, victims }: ClientReport): string {
  const rows = findings.map(({ check, family, during, verdict, tookMs, detail }) => [
    check,
    `IPv${family}`,
    during,
    verdict,
    formatMs(tookMs),
    detail,
  ]);
  const titles = ["CLIENT", "FAMILY", "DURING", "VERDICT", "TOOK", "SEEN"];
  const killed = victims.length === 0 ? "" : `; killed: ${victims.join(", ")}`;
  return `\n${table(
    titles.map((title) => ({ title })),
    rows,
  )}\n${passed} of ${findings.length} passed, ${failed} failed, ${notYet} not there yet${killed}\n`;
}

function families(text: string): readonly Family[] {
  if (text === "both") return [4, 6];
  if (text === "4" || text === "6") return [Number(text) as Family];
  throw new InvalidArgumentError("use 4, 6 or both");
}

function names(text: string): string[] {
  return text.split(",").filter((name) => name !== "");
}
