/**
 * Drill report: the file that `lab demo` and `drill run` leave. Owns whether it can be written, and what the figures were measured on;
 * what is in it is chaos/report.
 */
import { closeSync, existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { statusOf } from "../../chaos/lab/ask.ts";
import type { Lab } from "../../chaos/lab/lab.ts";
import { type ReportFacts, reportPage } from "../../chaos/report/page.ts";
import { SynwallError } from "../base/errors.ts";
import { EXIT_WRONG } from "./exit-status.ts";
import type { Terminal } from "./terminal.ts";

/** Before minutes of drills: can their report be written? Leaves an old report as it is, and no empty one. */
export function checkReport(path: string): void {
  const isNew = !existsSync(path);
  try {
    closeSync(openSync(path, "a"));
  } catch (cause) {
    throw unwritable(path, cause);
  }
  if (isNew) rmSync(path);
}

/** Writes it; when that fails it says so, and the exit status tells. */
export function writeReport(path: string, facts: ReportFacts, terminal: Terminal): void {
  try {
    writeFileSync(path, reportPage(facts));
  } catch (cause) {
    terminal.err(`synwall: ${unwritable(path, cause).message}\n`);
    process.exitCode = EXIT_WRONG;
  }
}

/** One line each: what the figures were measured on. */
export async function describeEnvironment(lab: Lab): Promise<string[]> {
  const member = lab.state.topology.members[0]!;
  const status = await statusOf(lab.context.ask, lab.paths.socket(member.name));
  const processors = cpus();
  return [
    `${processors.length} x ${processors[0]?.model.trim() ?? "unknown processor"}`,
    `Linux ${release()}`,
    `Node.js ${process.version}`,
    `${status?.dataplane?.driver ?? "unknown"} ports`,
  ];
}

function unwritable(path: string, cause: unknown): SynwallError {
  const { code } = cause as NodeJS.ErrnoException;
  return new SynwallError(
    "SW_LAB_FAILED",
    `--report ${path}: cannot write there (${code}): name a file in a folder that exists and may be written`,
    { path },
    cause,
  );
}
