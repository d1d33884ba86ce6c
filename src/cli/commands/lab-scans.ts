/**
 * `synwall lab scans`: what an attacker outside would try on a standing lab: port scans of all kinds and a flood of spoofed SYNs.
 * Owns options and wording; the work is in chaos/clients.
 */
import type { Command } from "commander";
import { runFlood } from "../../../chaos/clients/flood.ts";
import type { Family } from "../../../chaos/clients/model.ts";
import { runScans } from "../../../chaos/clients/scans.ts";
import { openLab } from "../../../chaos/lab/lab.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { type NameOptions, withLabContext, withName } from "../lab-context.ts";
import { families, formatFindings } from "../lab-findings.ts";
import { wholeAtLeast } from "../options.ts";
import { printJson, type Terminal } from "../terminal.ts";

const EXAMPLES = `
Examples:
  synwall lab up && synwall lab scans               nmap's scans, then 30 s of hping3's flood
  synwall lab scans --flood 0 --json                scans only
`;
const FLOOD_SECONDS = 30;

interface ScanOptions extends NameOptions {
  readonly flood: number;
  readonly scans: boolean;
  readonly family: readonly Family[];
}

export function addScans(lab: Command, terminal: Terminal): void {
  withName(lab.command("scans"))
    .description("port scans and a SYN flood from outside; exit status 1 unless all are withstood")
    .option("--flood <seconds>", "how long spoofed SYNs come; 0: not at all", wholeAtLeast(0), FLOOD_SECONDS)
    .option("--no-scans", "the flood alone")
    .option("--family <family>", "4, 6 or both", families, [4, 6])
    .addHelpText("after", EXAMPLES)
    .action(async (options: ScanOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const standing = openLab(options.name, context);
        const scanned = options.scans ? await runScans(standing, options.family) : [];
        const flooded = options.flood > 0 ? await runFlood(standing, options.flood) : undefined;
        const findings = [...scanned, ...(flooded?.findings ?? [])];
        if (options.json) printJson(terminal, { lab: options.name, findings, flood: flooded?.sight });
        else terminal.out(formatFindings(findings));
        if (findings.some(({ verdict }) => verdict !== "pass")) process.exitCode = EXIT_REFUSED;
      });
    });
}
