/**
 * `synwall drill`: rehearses failures on a standing lab and says what they cost. Owns options and wording; the work is in
 * chaos/drill.
 */
import { Command } from "commander";
import { runDrill } from "../../../chaos/drill/drill.ts";
import { labStage } from "../../../chaos/drill/lab-stage.ts";
import {
  type DrillResult,
  SCENARIO_TEXT,
  SCENARIOS,
  type Scenario,
  whyNot,
} from "../../../chaos/drill/model.ts";
import { nodesOf, type Stage } from "../../../chaos/drill/stage.ts";
import { type Lab, openLab } from "../../../chaos/lab/lab.ts";
import { SynwallError } from "../../base/errors.ts";
import { checkReport, describeEnvironment, writeReport } from "../drill-report.ts";
import { formatDrills, formatSummary } from "../drill-table.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { withLabContext, withName } from "../lab-context.ts";
import { wholeAtLeast } from "../options.ts";
import { printJson, processTerminal, type Terminal } from "../terminal.ts";

const SCENARIO_WIDTH = 13;
const LIST = [
  ...SCENARIOS.map((scenario) => [scenario, SCENARIO_TEXT[scenario]] as const),
  ["all", "each of them that applies to the lab: some need a witness, or three nodes"] as const,
]
  .map(([scenario, text]) => `  ${scenario.padEnd(SCENARIO_WIDTH)}${text}\n`)
  .join("");
const EXAMPLES = `
Scenarios:
${LIST}
Examples:
  synwall lab up && synwall drill run kill
  synwall drill run all --report report.html
  synwall drill run kill,silent --repeat 7 --json > drills.json
  synwall drill run silent --node fw2
`;

interface RunOptions {
  readonly name: string;
  readonly json?: boolean;
  readonly repeat: number;
  readonly node?: string;
  readonly report?: string;
  readonly newPerSecond: number;
}

export function drillCommand(terminal: Terminal = processTerminal): Command {
  const drill = new Command("drill").description("rehearse a failure on a standing lab and measure it");
  withName(drill.command("run"))
    .description("run one scenario, or all; exit status 1 when a limit was not kept")
    .argument("<scenario>", "one of the list below, several with commas between, or all")
    .option("--repeat <n>", "run it so many times, on the nodes in turn", wholeAtLeast(1), 1)
    .option("--report <file>", "also write the report there, as a page")
    .option(
      "--new-per-second <n>",
      "new connections a second; fewer on a small machine",
      wholeAtLeast(1),
      500,
    )
    .option("--node <node>", "the node that is hit (default: each in turn)")
    .addHelpText("after", EXAMPLES)
    .action((asked: string, options: RunOptions) => run(asked, options, terminal));
  drill
    .command("list")
    .description("the scenarios, and what each does")
    .action(() => terminal.out(LIST));
  return drill;
}

async function run(asked: string, options: RunOptions, terminal: Terminal): Promise<void> {
  parseScenarios(asked);
  if (options.report !== undefined) checkReport(options.report);
  await withLabContext(options.name, terminal, async (context) => {
    const lab = openLab(options.name, context);
    const stage = labStage(lab);
    const scenarios = asked === "all" ? applying(stage) : parseScenarios(asked);
    const results: DrillResult[] = [];
    let failures: readonly string[] = [];
    try {
      failures = await runDrills(stage, scenarios, options, (result) => results.push(result));
    } finally {
      // Also when a later drill could not be carried out: what was measured before is worth reading.
      if (results.length > 0) await tell(results, lab, options, terminal);
    }
    for (const failure of failures) terminal.err(`synwall: not carried out: ${failure}\n`);
    if (failures.length > 0 || results.some(({ verdict }) => verdict === "fail"))
      process.exitCode = EXIT_REFUSED;
  });
}

async function tell(
  results: readonly DrillResult[],
  lab: Lab,
  { json, report }: RunOptions,
  terminal: Terminal,
): Promise<void> {
  if (json) printJson(terminal, results.length === 1 ? results[0] : results);
  else terminal.out(`\n${formatDrills(results)}${separated(formatSummary(results))}`);
  if (report === undefined) return;
  const environment = await describeEnvironment(lab);
  const { profile } = lab.state.options;
  writeReport(report, { results, profile, environment, createdAt: new Date().toISOString() }, terminal);
}

/**
 * Runs scenarios, each `repeat` times, on the nodes in turn so that leaders and followers are hit. Of several, one that could not be
 * carried out does not keep the others from being run: answers why, one line each.
 */
export async function runDrills(
  stage: Stage,
  scenarios: readonly Scenario[],
  {
    repeat,
    node,
    newPerSecond,
  }: Pick<RunOptions, "repeat" | "node"> & Partial<Pick<RunOptions, "newPerSecond">>,
  onResult: (result: DrillResult) => void,
): Promise<string[]> {
  const nodes = nodesOf(stage);
  const failures: string[] = [];
  for (let round = 0; round < repeat; round++) {
    for (const [i, scenario] of scenarios.entries()) {
      stage.abort?.throwIfAborted();
      const victim = node ?? nodes[(round + i) % nodes.length]!;
      let result: DrillResult;
      try {
        const load = newPerSecond === undefined ? {} : { newPerSecond };
        result = await runDrill(stage, { scenario, victim, ...load });
      } catch (error) {
        if (scenarios.length === 1 || !(error instanceof SynwallError)) throw error;
        failures.push(`${scenario} ${victim}: ${error.message}`);
        stage.progress(failures.at(-1)!);
        continue;
      }
      const reasons = result.reasons.length > 0 ? ` (${result.reasons.join("; ")})` : "";
      stage.progress(`${scenario} ${result.victim}: ${result.verdict}${reasons}`);
      onResult(result);
    }
  }
  return failures;
}

/** Those that this cluster can have; of the others it is told why not. */
function applying(stage: Stage): readonly Scenario[] {
  return SCENARIOS.filter((scenario) => {
    const why = whyNot(scenario, stage);
    if (why !== "") stage.progress(why);
    return why === "";
  });
}

function parseScenarios(asked: string): readonly Scenario[] {
  if (asked === "all") return SCENARIOS;
  return asked.split(",").map((word) => {
    const scenario = SCENARIOS.find((each) => each === word);
    if (scenario !== undefined) return scenario;
    throw new SynwallError("SW_LAB_FAILED", `no scenario "${word}": use ${SCENARIOS.join(", ")} or all`);
  });
}

function separated(text: string): string {
  return text === "" ? "" : `\n${text}`;
}
