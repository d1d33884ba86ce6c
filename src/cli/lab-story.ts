/**
 * Story of `synwall lab demo`, wherever its cluster stands: every drill, then a table, report.html and the exit status. Owns
 * their wording and order.
 */
import { closeSync, existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { type DrillResult, SCENARIOS } from "../../chaos/drill/model.ts";
import type { Stage } from "../../chaos/drill/stage.ts";
import { reportPage } from "../../chaos/report/page.ts";
import { SynwallError } from "../base/errors.ts";
import { runDrills } from "./commands/drill.ts";
import { formatDrills, formatSummary } from "./drill-table.ts";
import { EXIT_REFUSED, EXIT_WRONG } from "./exit-status.ts";
import type { UpOptions } from "./lab-context.ts";
import { formatMs, printJson, type Terminal } from "./terminal.ts";

export interface DemoOptions extends UpOptions {
  readonly keep?: boolean;
  readonly report: string;
  readonly repeat: number;
  readonly seed: number;
}

export interface Story {
  readonly stage: Stage;
  /** On the machine's own clock, when the work began. */
  readonly startedMs: number;
  /** One line each: what the figures were measured on. */
  readonly environment: readonly string[];
  /** Removes the cluster; called in any case. */
  readonly takeDown: () => Promise<void>;
}

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

/** Runs all drills and says what came out, also when a later one could not be carried out. */
export async function tellStory(story: Story, options: DemoOptions, terminal: Terminal): Promise<void> {
  const { stage, environment, takeDown } = story;
  const results: DrillResult[] = [];
  try {
    terminal.err(`synwall: ${SCENARIOS.length * options.repeat} drills\n`);
    await runDrills(stage, SCENARIOS, { repeat: options.repeat }, (result) => results.push(result));
  } finally {
    await takeDown();
    // Also when a drill could not be carried out: what was measured before is worth reading.
    if (results.length > 0) {
      print(results, story, options, terminal);
      const createdAt = new Date().toISOString();
      const page = reportPage({ results, profile: options.profile, environment, createdAt });
      try {
        writeFileSync(options.report, page);
      } catch (cause) {
        terminal.err(`synwall: ${unwritable(options.report, cause).message}\n`);
        process.exitCode = EXIT_WRONG;
      }
    }
  }
  if (results.some(({ verdict }) => verdict === "fail")) process.exitCode = EXIT_REFUSED;
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

function print(
  results: readonly DrillResult[],
  { environment, startedMs }: Story,
  options: DemoOptions,
  terminal: Terminal,
): void {
  if (options.json) {
    printJson(terminal, { results, environment, report: resolve(options.report) });
    return;
  }
  const summary = formatSummary(results);
  const passed = results.filter(({ verdict }) => verdict === "pass").length;
  const took = formatMs(performance.now() - startedMs);
  terminal.out(`\n${formatDrills(results)}\n${summary === "" ? "" : `${summary}\n`}`);
  terminal.out(`measured on ${environment.join(", ")}\n`);
  terminal.out(
    `${passed} of ${results.length} drills passed in ${took}; report: ${resolve(options.report)}\n`,
  );
}
