/**
 * `synwall check`: reads a configuration as the node or witness would, and starts nothing.
 */
import { type Command, Option } from "commander";
import type { NodeConfig } from "../../../config/node-config.ts";
import { printJson, type Terminal } from "../terminal.ts";

interface CheckOptions {
  readonly config: string;
  readonly role?: "node" | "witness";
  readonly json?: boolean;
}

export function addCheckCommand(program: Command, terminal: Terminal): void {
  program
    .command("check")
    .description("check a configuration, the files that it names and their rights; start nothing")
    .requiredOption("--config <file>", "the configuration of a node or a witness")
    .addOption(
      new Option("--role <role>", "check for this role instead of the one the file says").choices([
        "node",
        "witness",
      ]),
    )
    .option("--json", "print JSON, for scripts")
    .addHelpText(
      "after",
      "\nExit status: 0 the file is right, 2 it is not (one line for each mistake). What is right and probably not meant is told too.\n",
    )
    .action(async (options: CheckOptions) => {
      const { loadNodeConfig, roleInFile } = await import("../../../config/load.ts");
      const { redirectBytes } = await import("../../dataplane/redirect.ts");
      const role = options.role ?? roleInFile(options.config);
      const config = loadNodeConfig(options.config, role);
      if (options.json) printJson(terminal, summary(config, redirectBytes(isSealing(config))));
      else {
        for (const note of config.notes ?? []) terminal.out(`${note}\n`);
        terminal.out(`${options.config}: right. ${describe(config)}\n`);
      }
    });
}

/** `redirectBytes`: what the cluster link's MTU must have above that of the largest zone. */
function summary(config: NodeConfig, redirectBytes: number): object {
  return {
    isRight: true,
    cluster: config.cluster.name,
    member: config.cluster.self.name,
    role: config.cluster.self.role,
    members: config.cluster.members.length,
    interfaces: config.dataplane?.interfaces ?? [],
    redirectBytes,
    zones: config.dataplane?.policy.zones.map((zone) => zone.name) ?? [],
    rules: config.dataplane?.policy.rules.length ?? 0,
    notes: config.notes ?? [],
  };
}

function isSealing({ dataplane }: NodeConfig): boolean {
  return dataplane !== undefined && dataplane.sealRedirects !== "never";
}

function describe(config: NodeConfig): string {
  const { self, name, members } = config.cluster;
  const nodes = members.filter((member) => member.role === "node").length;
  const witness = members.length > nodes ? " and a witness" : ", no witness";
  const parts = [
    `${self.role} ${self.name} of cluster ${name}: ${nodes} node${nodes === 1 ? "" : "s"}${witness}`,
  ];
  if (config.dataplane !== undefined) {
    const { policy } = config.dataplane;
    parts.push(`zones ${policy.zones.map((zone) => zone.name).join(", ")}`, `${policy.rules.length} rules`);
  }
  return `${parts.join("; ")}.`;
}
