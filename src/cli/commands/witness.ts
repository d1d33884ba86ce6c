/**
 * `synwall witness`: runs this machine as the tie-breaker of a pair, until it is told to stop.
 */
import type { Command } from "commander";

export function addWitnessCommand(program: Command): void {
  program
    .command("witness")
    .description("run this machine as the witness: a voter without a dataplane")
    .requiredOption("--config <file>", "the witness's configuration")
    .addHelpText("after", "\nExample:\n  synwall witness --config /etc/synwall/witness.yaml\n")
    .action(async (options: { config: string }) => {
      const { loadNodeConfig } = await import("../../../config/load.ts");
      const config = loadNodeConfig(options.config, "witness");
      const { runWitness } = await import("../../node/main.ts");
      await runWitness(config);
    });
}
