/**
 * Lab context: what every command that builds or uses labs shares: its options, the rights it runs with, and Ctrl-C.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { LabContext } from "../../chaos/lab/lab.ts";
import { synwallCommand } from "../../chaos/lab/processes.ts";
import type { LabOptions } from "../../chaos/lab/topology.ts";
import { labOwner, mayBuild, runPrivately } from "../../chaos/lab/user-namespace.ts";
import { SynwallError } from "../base/errors.ts";
import { adminCall } from "./admin-client.ts";
import { wholeAtLeast } from "./options.ts";
import type { Terminal } from "./terminal.ts";

export const DEFAULT_LAB = "lab";
/** As the configuration's schema has it. */
const FLOWS_MIN = 1024;

export interface NameOptions {
  readonly name: string;
  readonly json?: boolean;
}

export interface UpOptions extends NameOptions {
  readonly nodes: number;
  readonly witness: boolean;
  readonly port: "auto" | "xdp" | "cap" | "memory";
  readonly profile: "lan" | "vm";
  readonly flows?: number;
  readonly store: "raft" | "etcd";
  readonly routedWitness?: boolean;
}

/** `--name` and `--json`, of every lab command. */
export function withName(command: Command): Command {
  return command
    .option("--name <name>", "the lab's name: labs of different names stand side by side", DEFAULT_LAB)
    .option("--json", "print JSON, for scripts");
}

/** Options that shape a new lab. */
export function withUpOptions(command: Command): Command {
  return withName(command)
    .option("--nodes <n>", "nodes that forward packets, 1 to 8", nodeCount, 2)
    .option("--no-witness", "leave the witness out")
    .addOption(
      new Option("--store <store>", "who keeps the cluster's log; with etcd there is no witness")
        .choices(["raft", "etcd"])
        .default("raft"),
    )
    .option("--routed-witness", "put the witness on another network, behind a router")
    .option("--flows <n>", "entries of each node's flow table", wholeAtLeast(FLOWS_MIN))
    .addOption(
      new Option("--port <driver>", "how nodes reach their wires")
        .choices(["auto", "xdp", "cap", "memory"])
        .default("auto"),
    )
    .addOption(
      new Option("--profile <profile>", "how quickly a silent node is dead")
        .choices(["lan", "vm"])
        // Without root there are no real-time threads, and 50 ms of silence mean nothing on a busy machine.
        .default(labOwner().isUserNamespace ? "vm" : "lan", "lan; without root vm"),
    );
}

/** What the options mean here. Throws SW_LAB_FAILED for what this machine or user cannot do. */
export function toLabOptions(options: UpOptions): LabOptions {
  if (options.port === "memory") {
    throw new SynwallError(
      "SW_LAB_FAILED",
      "--port memory: memory ports exist in 'synwall lab demo' only, where all nodes are in one process: use auto, xdp or cap",
    );
  }
  const { isUserNamespace } = labOwner();
  if (isUserNamespace && options.port === "xdp") {
    throw new SynwallError("SW_LAB_FAILED", "--port xdp: XDP needs root: run as root, or use --port cap");
  }
  const { name, nodes, profile, flows, store } = options;
  const hasWitness = options.witness && store !== "etcd";
  const port = isUserNamespace ? "cap" : options.port;
  return {
    ...{ name, nodes, hasWitness, profile, port },
    ...(store === "etcd" ? { store } : {}),
    ...(options.routedWitness === true && hasWitness ? { isWitnessRouted: true } : {}),
    ...(flows === undefined ? {} : { flowsMax: flows }),
  };
}

/**
 * Runs `work` with what it needs to build or use labs. Without root the whole command runs again in a user namespace
 * instead. Ctrl-C aborts the work, which then cleans up.
 */
export async function withLabContext(
  name: string,
  terminal: Terminal,
  work: (context: LabContext) => Promise<void>,
): Promise<void> {
  if (!mayBuild()) {
    terminal.err("synwall: not root: the lab runs in a user namespace, with cap ports instead of xdp\n");
    process.exitCode = await runPrivately(name, synwallCommand(process.argv.slice(2)));
    return;
  }
  await untilSignal((abort) =>
    work({
      owner: labOwner(),
      ask: adminCall,
      progress: (line) => terminal.err(`  ${line}\n`),
      abort,
    }),
  );
}

/** Runs `work`; Ctrl-C and its like abort it, and it cleans up. */
export async function untilSignal(work: (abort: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void =>
    controller.abort(new SynwallError("SW_LAB_FAILED", `${signal}: stopped, the lab was taken down again`));
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    await work(controller.signal);
  } finally {
    for (const signal of signals) process.off(signal, stop);
    // Results are long, and the process ends right after its command: a pipe that is full must be read first.
    await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  }
}

function nodeCount(text: string): number {
  const n = Number(text);
  if (!/^[1-8]$/.test(text)) throw new InvalidArgumentError("use a whole number, 1 to 8");
  return n;
}
