/**
 * `synwall lab demo`: the main job from nothing to a verdict. A lab is built, loaded, broken in every way that the drills
 * know, measured and taken down; a table and report.html stay.
 */
import { writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { resolve } from "node:path";
import type { Command } from "commander";
import { labStage } from "../../../chaos/drill/lab-stage.ts";
import { type DrillResult, SCENARIOS } from "../../../chaos/drill/model.ts";
import { statusOf } from "../../../chaos/lab/ask.ts";
import { type Lab, type LabContext, labDown, labUp } from "../../../chaos/lab/lab.ts";
import { reportPage } from "../../../chaos/report/page.ts";
import { SynwallError } from "../../base/errors.ts";
import { formatDrills, formatSummary } from "../drill-table.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { toLabOptions, type UpOptions, withLabContext, withUpOptions } from "../lab-context.ts";
import { wholeAtLeast } from "../options.ts";
import { formatMs, printJson, type Terminal } from "../terminal.ts";
import { runDrills } from "./drill.ts";

interface DemoOptions extends UpOptions {
  readonly keep?: boolean;
  readonly report: string;
  readonly repeat: number;
}

export function addDemo(lab: Command, terminal: Terminal): void {
  withUpOptions(lab.command("demo"))
    .description("build a lab, run every drill under load, print the verdict, take it down")
    .option("--keep", "leave the lab up")
    .option("--report <file>", "where the report goes", "report.html")
    .option("--repeat <n>", "run every drill so many times", wholeAtLeast(1), 1)
    .action(async (options: DemoOptions) => {
      await withLabContext(options.name, terminal, (context) => demo(options, context, terminal));
    });
}

async function demo(options: DemoOptions, context: LabContext, terminal: Terminal): Promise<void> {
  const labOptions = toLabOptions(options);
  if (labOptions.nodes < 2) {
    throw new SynwallError("SW_LAB_FAILED", "--nodes 1: drills need a second node to take over: use 2 to 8");
  }
  const startedMs = performance.now();
  const witness = labOptions.hasWitness ? " and a witness" : "";
  terminal.err(
    `synwall: lab "${options.name}": ${labOptions.nodes} nodes${witness}, profile ${options.profile}\n`,
  );
  const lab = await labUp(labOptions, context);
  const results: DrillResult[] = [];
  let environment: string[] = [];
  try {
    terminal.err(`synwall: ${SCENARIOS.length * options.repeat} drills\n`);
    environment = await describeEnvironment(lab);
    await runDrills(labStage(lab), SCENARIOS, { repeat: options.repeat }, (result) => results.push(result));
  } finally {
    if (!options.keep) await labDown(options.name, { ...context, progress: () => undefined });
    // Also when a drill could not be carried out: what was measured before is worth reading.
    if (results.length > 0) {
      const createdAt = new Date().toISOString();
      writeFileSync(
        options.report,
        reportPage({ results, profile: options.profile, environment, createdAt }),
      );
      print(results, options, environment, performance.now() - startedMs, terminal);
    }
  }
  if (results.some(({ verdict }) => verdict === "fail")) process.exitCode = EXIT_REFUSED;
}

function print(
  results: readonly DrillResult[],
  options: DemoOptions,
  environment: readonly string[],
  tookMs: number,
  terminal: Terminal,
): void {
  if (options.json) {
    printJson(terminal, { results, environment, report: resolve(options.report) });
    return;
  }
  const summary = formatSummary(results);
  const passed = results.filter(({ verdict }) => verdict === "pass").length;
  terminal.out(`\n${formatDrills(results)}\n${summary === "" ? "" : `${summary}\n`}`);
  terminal.out(`measured on ${environment.join(", ")}\n`);
  terminal.out(
    `${passed} of ${results.length} drills passed in ${formatMs(tookMs)}; report: ${resolve(options.report)}\n`,
  );
  if (options.keep) terminal.out(`the lab stands: synwall lab down --name ${options.name} removes it\n`);
}

async function describeEnvironment(lab: Lab): Promise<string[]> {
  const member = lab.state.topology.members[0]!;
  const driver =
    (await statusOf(lab.context.ask, lab.paths.socket(member.name)))?.dataplane?.driver ?? "unknown";
  const processors = cpus();
  return [
    `${processors.length} x ${processors[0]?.model.trim() ?? "unknown processor"}`,
    `Linux ${release()}`,
    `Node.js ${process.version}`,
    `${driver} ports`,
  ];
}
