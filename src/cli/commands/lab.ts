/**
 * `synwall lab`: a whole cluster in network namespaces of this machine, and what can be done to it.
 * Owns options and wording; the work is in chaos/lab, the demo's story in lab-demo.ts.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { statusOf } from "../../../chaos/lab/ask.ts";
import {
  cutMember,
  cutWires,
  healAll,
  killMember,
  pauseMember,
  startAgain,
} from "../../../chaos/lab/faults.ts";
import {
  type Lab,
  type LabContext,
  labDown,
  labUp,
  openLab,
  runningProcess,
} from "../../../chaos/lab/lab.ts";
import { namespaceCommand, synwallCommand } from "../../../chaos/lab/processes.ts";
import { runInForeground } from "../../../chaos/lab/run.ts";
import { type LabOptions, LINKS, type Link } from "../../../chaos/lab/topology.ts";
import { labOwner, mayBuild, runPrivately } from "../../../chaos/lab/user-namespace.ts";
import { SynwallError } from "../../base/errors.ts";
import { adminCall } from "../admin-client.ts";
import { wholeAtLeast } from "../options.ts";
import { formatMs, printJson, processTerminal, type Terminal, table } from "../terminal.ts";

const DEFAULT_NAME = "lab";

const EXAMPLES = `
Examples:
  synwall lab demo                       the whole story: build, load, break, measure, clean up
  synwall lab up && synwall lab status   a cluster to play with
  synwall lab exec client -- curl -s http://198.51.100.100/
  synwall lab kill fw1 && synwall lab start fw1
  synwall lab cut fw2 --link cluster && synwall lab heal
  synwall lab down
`;

interface NameOptions {
  readonly name: string;
  readonly json?: boolean;
}

export interface UpOptions extends NameOptions {
  readonly nodes: number;
  readonly witness: boolean;
  readonly port: "auto" | "xdp" | "cap" | "memory";
  readonly profile: "lan" | "vm";
}

/** The command with all its sub-commands. */
export function labCommand(terminal: Terminal = processTerminal): Command {
  const lab = new Command("lab")
    .description("a whole cluster in network namespaces of this machine")
    .addHelpText("after", EXAMPLES);
  addUp(lab, terminal);
  addDown(lab, terminal);
  addStatus(lab, terminal);
  addExec(lab);
  addFaults(lab, terminal);
  return lab;
}

/** `--name` and `--json`, of every lab command. */
export function withName(command: Command): Command {
  return command
    .option("--name <name>", "the lab's name: labs of different names stand side by side", DEFAULT_NAME)
    .option("--json", "print JSON, for scripts");
}

/** Options that shape a new lab. */
export function withUpOptions(command: Command): Command {
  return withName(command)
    .option("--nodes <n>", "nodes that forward packets, 1 to 8", nodeCount, 2)
    .option("--no-witness", "leave the witness out")
    .addOption(
      new Option("--port <driver>", "how nodes reach their wires")
        .choices(["auto", "xdp", "cap", "memory"])
        .default("auto"),
    )
    .addOption(
      new Option("--profile <profile>", "how quickly a silent node is dead")
        .choices(["lan", "vm"])
        .default("lan"),
    );
}

/** What the options mean here. Throws SW_LAB_FAILED for what this machine or user cannot do. */
export function toLabOptions(options: UpOptions): LabOptions {
  if (options.port === "memory") {
    throw new SynwallError(
      "SW_LAB_FAILED",
      "--port memory: memory ports join nodes of one process only, a lab has one process a node: use auto, xdp or cap",
    );
  }
  const { isUserNamespace } = labOwner();
  if (isUserNamespace && options.port === "xdp") {
    throw new SynwallError("SW_LAB_FAILED", "--port xdp: XDP needs root: run as root, or use --port cap");
  }
  const { name, nodes, witness: hasWitness, profile } = options;
  return { name, nodes, hasWitness, profile, port: isUserNamespace ? "cap" : options.port };
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
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void =>
    controller.abort(new SynwallError("SW_LAB_FAILED", `${signal}: stopped, the lab was taken down again`));
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    await work({
      owner: labOwner(),
      ask: adminCall,
      progress: (line) => terminal.err(`  ${line}\n`),
      abort: controller.signal,
    });
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}

function addUp(lab: Command, terminal: Terminal): void {
  withUpOptions(lab.command("up"))
    .description("build a lab and wait until its cluster is settled")
    .action(async (options: UpOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const standing = await labUp(toLabOptions(options), context);
        if (options.json) printJson(terminal, await describe(standing));
        else terminal.out(await formatLab(standing));
      });
    });
}

function addDown(lab: Command, terminal: Terminal): void {
  withName(lab.command("down"))
    .description("remove a lab, or what a crash left of one")
    .action(async (options: NameOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const wasThere = await labDown(options.name, context);
        if (options.json) printJson(terminal, { name: options.name, removed: wasThere });
        else
          terminal.out(
            wasThere ? `lab "${options.name}" is gone\n` : `no lab "${options.name}": nothing to do\n`,
          );
      });
    });
}

function addStatus(lab: Command, terminal: Terminal): void {
  withName(lab.command("status"))
    .description("what runs, what is cut, what the cluster says")
    .action(async (options: NameOptions) => {
      await withLabContext(options.name, terminal, async (context) => {
        const standing = openLab(options.name, context);
        if (options.json) printJson(terminal, await describe(standing));
        else terminal.out(await formatLab(standing));
      });
    });
}

function addExec(lab: Command): void {
  lab
    .command("exec")
    .description("run a command on a host of the lab")
    .option("--name <name>", "the lab's name", DEFAULT_NAME)
    .argument("<host>", "client, web, server, witness, net, or a node")
    .argument("<command...>", "after --")
    .action(async (host: string, command: string[], options: NameOptions) => {
      await withLabContext(options.name, processTerminal, async (context) => {
        const { topology } = openLab(options.name, context).state;
        if (!topology.hosts.includes(host)) {
          throw new SynwallError(
            "SW_LAB_FAILED",
            `no host "${host}": use one of ${topology.hosts.join(", ")}`,
          );
        }
        const [file, ...args] = namespaceCommand(options.name, host, command);
        process.exitCode = await runInForeground(file!, args);
      });
    });
}

function addFaults(lab: Command, terminal: Terminal): void {
  const fault = (
    command: Command,
    work: (
      standing: Lab,
      node: string,
      options: NameOptions & { link: Link | "all" },
      extra?: number,
    ) => Promise<string>,
  ): void => {
    withName(command).action(async (...given: unknown[]) => {
      const options = given.at(-2) as NameOptions & { link: Link | "all" };
      await withLabContext(options.name, terminal, async (context) => {
        const line = await work(
          openLab(options.name, context),
          given[0] as string,
          options,
          given[1] as number,
        );
        if (options.json) printJson(terminal, { done: line });
        else terminal.out(`${line}\n`);
      });
    });
  };
  fault(
    lab.command("kill").description("end a member at once (SIGKILL)").argument("<node>"),
    async (standing, node) => {
      await killMember(standing, node);
      return `${node} is dead`;
    },
  );
  fault(
    lab.command("start").description("start a member that was killed").argument("<node>"),
    async (standing, node) => {
      await startAgain(standing, node);
      return `${node} starts`;
    },
  );
  fault(
    lab
      .command("cut")
      .description("cut a member's wires in the middle: both ends keep their carrier")
      .argument("<node>")
      .addOption(new Option("--link <link>", "which wire").choices([...LINKS, "all"]).default("all")),
    async (standing, node, { link }) => {
      await cutMember(standing, node, link);
      return `${node} is cut off ${link === "all" ? "everything" : link}`;
    },
  );
  fault(lab.command("heal").description("mend every wire"), async (standing) => {
    await healAll(standing);
    return "every wire is whole";
  });
  fault(
    lab
      .command("pause")
      .description("stop a member for some time (SIGSTOP), as a frozen virtual machine")
      .argument("<node>")
      .argument("<ms>", "milliseconds", wholeAtLeast(1)),
    async (standing, node, _options, ms) => {
      await pauseMember(standing, node, ms!);
      return `${node} was paused for ${ms} ms`;
    },
  );
}

async function describe(lab: Lab) {
  const { options, topology, startedAt, processes } = lab.state;
  const members = await Promise.all(
    topology.members.map(async (member) => ({
      ...member,
      pid: runningProcess(lab, member.name)?.pid ?? 0,
      isRunning: runningProcess(lab, member.name) !== undefined,
      socket: lab.paths.socket(member.name),
      log: lab.paths.log(member.name),
      status: await statusOf(lab.context.ask, lab.paths.socket(member.name)),
    })),
  );
  const cut = await cutWires(lab);
  return { ...options, startedAt, hosts: topology.hosts, members, cut, services: Object.keys(processes) };
}

async function formatLab(lab: Lab): Promise<string> {
  const { members, cut, name, profile, startedAt } = await describe(lab);
  const rows = members.map(({ name: member, pid, isRunning, status, socket }) => [
    member,
    isRunning ? String(pid) : "-",
    !isRunning
      ? "not running"
      : status === undefined
        ? "does not answer"
        : status.isSettled
          ? "settled"
          : "settling",
    status === undefined ? "-" : String(status.epoch),
    status?.leader ?? "-",
    status?.members.find((each) => each.name === member)?.slotsOwned.toString() ?? "-",
    status?.dataplane?.driver ?? "-",
    socket,
  ]);
  const titles = ["MEMBER", "PID", "STATE", "EPOCH", "LEADER", "OWNS", "PORTS", "SOCKET"];
  const age = formatMs(Date.now() - Date.parse(startedAt));
  return [
    `lab "${name}", profile ${profile}, up for ${age}; wires cut: ${cut.length === 0 ? "none" : cut.join(", ")}\n\n`,
    table(
      titles.map((title) => ({ title })),
      rows,
    ),
  ].join("");
}

function nodeCount(text: string): number {
  const n = Number(text);
  if (!/^[1-8]$/.test(text)) throw new InvalidArgumentError("use a whole number, 1 to 8");
  return n;
}
