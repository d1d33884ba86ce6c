/**
 * Checks that imports point one way (.dependency-cruiser.cjs). Fails as well when nothing was looked at: a cruiser that cannot
 * read TypeScript finds no mistake.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ROOT_DIRECTORY } from "../config/version.ts";

interface Report {
  readonly summary: {
    readonly totalCruised: number;
    readonly totalDependenciesCruised?: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string; readonly severity: string };
    }[];
  };
}

const MODULES_MIN = 50;

const { stdout, stderr } = spawnSync(
  join(ROOT_DIRECTORY, "node_modules/.bin/depcruise"),
  ["--config", ".dependency-cruiser.cjs", "--output-type", "json", "src", "cluster", "config", "chaos"],
  { cwd: ROOT_DIRECTORY, encoding: "utf8", maxBuffer: 1 << 28 },
);
const { summary } = parseReport(stdout);
for (const { from, to, rule } of summary.violations) {
  process.stdout.write(`${rule.severity}: ${rule.name}: ${from} imports ${to}\n`);
}
process.stdout.write(`imports: ${summary.totalCruised} modules, ${summary.violations.length} violations\n`);
if (summary.totalCruised < MODULES_MIN) {
  process.stdout.write(`imports: fewer than ${MODULES_MIN} modules: the cruiser did not read the sources\n`);
  process.exitCode = 1;
} else if (summary.violations.length > 0) {
  process.exitCode = 1;
}

function parseReport(text: string): Report {
  try {
    return JSON.parse(text) as Report;
  } catch {
    process.stderr.write(`imports: no report from dependency-cruiser: ${stderr}\n`);
    process.exit(1);
  }
}
