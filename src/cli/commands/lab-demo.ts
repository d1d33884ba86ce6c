import type { Command } from "commander";
import { labStage } from "../../../chaos/drill/lab-stage.ts";
import { type LabContext, labDown, labUp } from "../../../chaos/lab/lab.ts";
import { mayBuild, whyNoUserNamespace } from "../../../chaos/lab/user-namespace.ts";
import { SynwallError } from "../../base/errors.ts";
import { whyNoCap } from "../../io/cap-check.ts";
import { checkReport, describeEnvironment } from "../drill-report.ts";
import { toLabOptions, withLabContext, withUpOptions } from "../lab-context.ts";
import { type DemoOptions, tellStory } from "../lab-story.ts";
import { wholeAtLeast } from "../options.ts";
import type { Terminal } from "../terminal.ts";
import { memoryDemo } from "./lab-demo-memory.ts";

/** The same in every run, so that runs can be compared. */
const DEFAULT_SEED = 1;

export function addDemo(lab: Command, terminal: Terminal): void {
  withUpOptions(lab.command("demo"))
    .description("build a lab, run every drill under load, print the verdict, take it down")
    .option("--keep", "leave the lab up")
    .option("--report <file>", "where the report goes", "report.html")
    .option("--repeat <n>", "run every drill so many times", wholeAtLeast(1), 1)
    .option("--seed <n>", "with --port memory: decides every delay and draw", wholeAtLeast(0), DEFAULT_SEED)
    .action(async (options: DemoOptions, command: Command) => {
      if (options.nodes < 2) {
        throw new SynwallError(
          "SW_LAB_FAILED",
          "--nodes 1: drills need a second node to take over: use 2 to 8",
        );
      }
      checkReport(options.report);
      const why = options.port === "auto" && !mayBuild() ? await whyNoLab() : "";
      if (why !== "") terminal.err(`synwall: not root, and ${why}: memory ports instead, in one process\n`);
      if (why !== "" || options.port === "memory") {
        // Virtual time is never busy: the patient profile is for real machines.
        const isAsked = command.getOptionValueSource("profile") !== "default";
        await memoryDemo({ ...options, profile: isAsked ? options.profile : "lan" }, terminal);
      } else await withLabContext(options.name, terminal, (context) => demo(options, context, terminal));
    });
}

/** Why this user cannot have a lab in namespaces; empty when nothing speaks against it. */
async function whyNoLab(): Promise<string> {
  const why = await whyNoUserNamespace();
  return why === "" ? await whyNoCap() : why;
}

async function demo(options: DemoOptions, context: LabContext, terminal: Terminal): Promise<void> {
  const labOptions = toLabOptions(options);
  const startedMs = performance.now();
  const witness = labOptions.hasWitness ? " and a witness" : "";
  terminal.err(
    `synwall: lab "${options.name}": ${labOptions.nodes} nodes${witness}, profile ${options.profile}\n`,
  );
  const lab = await labUp(labOptions, context);
  const takeDown = async (): Promise<void> => {
    if (!options.keep) await labDown(options.name, { ...context, progress: () => undefined });
  };
  const environment = await describeEnvironment(lab);
  await tellStory({ stage: labStage(lab), startedMs, environment, takeDown }, options, terminal);
  if (options.keep && !options.json) {
    terminal.out(`the lab stands: synwall lab down --name ${options.name} removes it\n`);
  }
}
