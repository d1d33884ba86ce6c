/**
 * Story of `synwall lab demo`, wherever its cluster stands: every drill, then a table, report.html and the exit status. Owns
 * their wording and order.
 */
import { resolve } from "node:path";
import { CORE_SCENARIOS, type DrillResult } from "../../chaos/drill/model.ts";
import type { Stage } from "../../chaos/drill/stage.ts";
import { SynwallError } from "../base/errors.ts";
import { runDrills } from "./commands/drill.ts";
import { writeReport } from "./drill-report.ts";
import { formatDrills, formatSummary } from "./drill-table.ts";
import { EXIT_REFUSED } from "./exit-status.ts";
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

/** Runs all drills and says what came out, also when a later one could not be carried out. */
export async function tellStory(story: Story, options: DemoOptions, terminal: Terminal): Promise<void> {
  const { stage, environment, takeDown } = story;
  const results: DrillResult[] = [];
  try {
    terminal.err(`synwall: ${CORE_SCENARIOS.length * options.repeat} drills\n`);
    const repeat = { repeat: options.repeat };
    const failures = await runDrills(stage, CORE_SCENARIOS, repeat, (result) => results.push(result));
    if (failures.length > 0) throw new SynwallError("SW_DRILL_FAILED", failures.join("; "));
  } finally {
    await takeDown();
    // Also when a drill could not be carried out: what was measured before is worth reading.
    if (results.length > 0) {
      print(results, story, options, terminal);
      const createdAt = new Date().toISOString();
      writeReport(options.report, { results, profile: options.profile, environment, createdAt }, terminal);
    }
  }
  if (results.some(({ verdict }) => verdict === "fail")) process.exitCode = EXIT_REFUSED;
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
