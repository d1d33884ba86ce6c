/**
 * `synwall node`: runs this machine as a node, until it is told to stop.
 */
import type { Command } from "commander";

export function addNodeCommand(program: Command): void {
  program
    .command("node")
    .description("run this machine as a node of the cluster (needs root)")
    .requiredOption("--config <file>", "the node's configuration")
    .addHelpText("after", "\nExample:\n  synwall node --config /etc/synwall/fw1.yaml\n")
    .action(async (options: { config: string }) => {
      const { loadNodeConfig } = await import("../../../config/load.ts");
      const config = loadNodeConfig(options.config, "node");
      const { runNode } = await import("../../node/main.ts");
      await runNode(config);
    });
}
