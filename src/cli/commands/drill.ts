/**
 * `synwall drill`: rehearses failures on a standing lab and says what they cost. Owns options and wording; the work is in
 * chaos/drill.
 */
import { Command } from "commander";
import { runDrill } from "../../../chaos/drill/drill.ts";
import { labStage } from "../../../chaos/drill/lab-stage.ts";
import { type DrillResult, SCENARIO_TEXT, SCENARIOS, type Scenario } from "../../../chaos/drill/model.ts";
import { nodesOf, type Stage } from "../../../chaos/drill/stage.ts";
import { openLab } from "../../../chaos/lab/lab.ts";
import { SynwallError } from "../../base/errors.ts";
import { formatDrills, formatSummary } from "../drill-table.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { withLabContext, withName } from "../lab-context.ts";
import { wholeAtLeast } from "../options.ts";
import { printJson, processTerminal, type Terminal } from "../terminal.ts";

const EXAMPLES = `
Scenarios:
${SCENARIOS.map((scenario) => `  ${scenario.padEnd(8)}${SCENARIO_TEXT[scenario]}`).join("\n")}
  all     each of them

Examples:
  synwall lab up && synwall drill run kill
  synwall drill run all --repeat 7 --json > drills.json
  synwall drill run silent --node fw2
`;

interface RunOptions {
  readonly name: string;
  readonly json?: boolean;
  readonly repeat: number;
  readonly node?: string;
}

export function drillCommand(terminal: Terminal = processTerminal): Command {
  const drill = new Command("drill").description("rehearse a failure on a standing lab and measure it");
  withName(drill.command("run"))
    .description("run one scenario, or all; exit status 1 when a limit was not kept")
    .argument("<scenario>", `${SCENARIOS.join(", ")} or all`)
    .option("--repeat <n>", "run it so many times, on the nodes in turn", wholeAtLeast(1), 1)
    .option("--node <node>", "the node that is hit (default: each in turn)")
    .addHelpText("after", EXAMPLES)
    .action(async (asked: string, options: RunOptions) => {
      const scenarios = parseScenario(asked);
      await withLabContext(options.name, terminal, async (context) => {
        const stage = labStage(openLab(options.name, context));
        const results: DrillResult[] = [];
        try {
          await runDrills(stage, scenarios, options, (result) => results.push(result));
        } finally {
          // Also when a later drill could not be carried out: what was measured before is worth reading.
          if (options.json && results.length > 0)
            printJson(terminal, results.length === 1 ? results[0] : results);
          else if (results.length > 0) {
            terminal.out(`\n${formatDrills(results)}${separated(formatSummary(results))}`);
          }
        }
        if (results.some(({ verdict }) => verdict === "fail")) process.exitCode = EXIT_REFUSED;
      });
    });
  return drill;
}

/** Runs scenarios, each `repeat` times, on the nodes in turn so that leaders and followers are hit. */
export async function runDrills(
  stage: Stage,
  scenarios: readonly Scenario[],
  { repeat, node }: { readonly repeat: number; readonly node?: string | undefined },
  onResult: (result: DrillResult) => void,
): Promise<void> {
  const nodes = nodesOf(stage);
  for (let round = 0; round < repeat; round++) {
    for (const [i, scenario] of scenarios.entries()) {
      stage.abort?.throwIfAborted();
      const victim = node ?? nodes[(round + i) % nodes.length]!;
      const result = await runDrill(stage, { scenario, victim });
      stage.progress(
        `${scenario} ${victim}: ${result.verdict}${result.reasons.length > 0 ? ` (${result.reasons.join("; ")})` : ""}`,
      );
      onResult(result);
    }
  }
}

function parseScenario(asked: string): readonly Scenario[] {
  if (asked === "all") return SCENARIOS;
  const scenario = SCENARIOS.find((each) => each === asked);
  if (scenario !== undefined) return [scenario];
  throw new SynwallError("SW_LAB_FAILED", `no scenario "${asked}": use ${SCENARIOS.join(", ")} or all`);
}

function separated(text: string): string {
  return text === "" ? "" : `\n${text}`;
}
