/**
 * Command line: mounts the commands and turns their failures into one line and an exit status. Commands load what they need
 * when they run, so that `synwall node` starts without the lab, and `synwall status` without the dataplane.
 */
import { Command, CommanderError } from "commander";
import { VERSION } from "../../config/version.ts";
import { SynwallError } from "../base/errors.ts";
import { addCheckCommand } from "./commands/check.ts";
import { addDrainCommand } from "./commands/drain.ts";
import { addFlowsCommand } from "./commands/flows.ts";
import { addJournalCommand } from "./commands/journal.ts";
import { addLagCommand } from "./commands/lag.ts";
import { addNodeCommand } from "./commands/node.ts";
import { addPolicyCommand } from "./commands/policy.ts";
import { addRejoinCommand } from "./commands/rejoin.ts";
import { addReplayCommand } from "./commands/replay.ts";
import { addStatusCommand } from "./commands/status.ts";
import { addSyncCommand } from "./commands/sync.ts";
import { addTraceCommand } from "./commands/trace.ts";
import { addWitnessCommand } from "./commands/witness.ts";
import { EXIT_OK, EXIT_WRONG, exitStatusOf } from "./exit-status.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

const EXAMPLES = `
Examples:
  synwall check --config /etc/synwall/fw1.yaml   is the file right? says what is not
  synwall node --config /etc/synwall/fw1.yaml    run this machine as a node
  synwall status                                 who owns what, sync lag, what is wrong
  synwall flows list --source 10.10.0.5          what one host has open
  synwall trace --src 10.10.0.5 --dst 192.0.2.7:443   what would become of a packet, and why
  synwall replay office.pcap --policy fw1.yaml   a capture through the engine, before the policy is in force
  synwall drain fw1                              before maintenance: hand all flows over, losing nothing
  synwall lab demo                               a whole cluster on this machine, and its drills
`;

/** Runs one command and answers the exit status. `args` is without the names of node and script. */
export async function main(args: readonly string[], terminal: Terminal = processTerminal): Promise<number> {
  try {
    const program = await buildProgram(args[0], terminal);
    await program.parseAsync([...args], { from: "user" });
    return typeof process.exitCode === "number" ? process.exitCode : EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_WRONG;
    if (!(error instanceof SynwallError)) throw error;
    terminal.err(error.message.replace(/^/gm, "synwall: ").concat("\n"));
    return exitStatusOf(error.code);
  }
}

/** Commands that bring the lab with them: loaded only when they are asked for. */
const LAZY = [
  {
    name: "cluster",
    description: "who belongs to the cluster: init, join, members, remove, rotate",
    load: async (terminal: Terminal) => (await import("./commands/cluster.ts")).clusterCommand(terminal),
  },
  {
    name: "store",
    description: "the log of a cluster in the site's etcd: init",
    load: async (terminal: Terminal) => (await import("./commands/store.ts")).storeCommand(terminal),
  },
  {
    name: "lab",
    description: "a whole cluster in network namespaces of this machine",
    load: async (terminal: Terminal) => (await import("./commands/lab.ts")).labCommand(terminal),
  },
  {
    name: "drill",
    description: "rehearse a failure on a standing lab and measure it",
    load: async (terminal: Terminal) => (await import("./commands/drill.ts")).drillCommand(terminal),
  },
] as const;

async function buildProgram(asked: string | undefined, terminal: Terminal): Promise<Command> {
  const program = new Command("synwall")
    .description("Synwall: a clustered stateful firewall and NAT gateway.")
    .version(VERSION, "--version")
    .helpOption("--help", "explain a command")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) });
  addNodeCommand(program);
  addWitnessCommand(program);
  addCheckCommand(program, terminal);
  addStatusCommand(program, terminal);
  addFlowsCommand(program, terminal);
  addTraceCommand(program, terminal);
  addReplayCommand(program, terminal);
  addDrainCommand(program, terminal);
  addRejoinCommand(program, terminal);
  addPolicyCommand(program, terminal);
  addJournalCommand(program, terminal);
  addLagCommand(program, terminal);
  addSyncCommand(program, terminal);
  for (const { name, description, load } of LAZY) {
    if (asked === name) program.addCommand(inheritDeeply(await load(terminal), program));
    else program.command(name).description(description);
  }
  return program;
}

/** A command built elsewhere takes over how this program prints and ends. */
function inheritDeeply(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inheritDeeply(child as Command, command);
  return command;
}
