/**
 * `synwall lab`: a whole cluster in network namespaces of this machine, and what can be done to it.
 * Owns wording; the work is in chaos/lab, the demo's story in lab-demo.ts.
 */
import { Command, Option } from "commander";
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
  labDown,
  labUp,
  openLab,
  runningProcess,
  waitAnswering,
  waitSettled,
} from "../../../chaos/lab/lab.ts";
import { joinMember, leaveMember } from "../../../chaos/lab/membership.ts";
import { namespaceCommand } from "../../../chaos/lab/processes.ts";
import { runInForeground } from "../../../chaos/lab/run.ts";
import { LINKS, type Link } from "../../../chaos/lab/topology.ts";
import { SynwallError } from "../../base/errors.ts";
import {
  DEFAULT_LAB,
  type NameOptions,
  toLabOptions,
  type UpOptions,
  withLabContext,
  withName,
  withUpOptions,
} from "../lab-context.ts";
import { wholeAtLeast } from "../options.ts";
import { formatMs, printJson, processTerminal, type Terminal, table } from "../terminal.ts";
import { addClients } from "./lab-clients.ts";
import { addDemo } from "./lab-demo.ts";
import { addScans } from "./lab-scans.ts";
import { addUpgrade } from "./lab-upgrade.ts";

const EXAMPLES = `
Examples:
  synwall lab demo                       the whole story: build, load, break, measure, clean up
  synwall lab up && synwall lab status   a cluster to play with
  synwall lab exec client -- curl -s http://198.51.100.100/
  synwall lab kill fw1 && synwall lab start fw1
  synwall lab cut fw2 --link cluster && synwall lab heal
  synwall lab join && synwall lab leave fw3
  synwall lab down
`;

/** The command with all its sub-commands. */
export function labCommand(terminal: Terminal = processTerminal): Command {
  const lab = new Command("lab")
    .description("a whole cluster in network namespaces of this machine")
    .addHelpText("after", EXAMPLES);
  addDemo(lab, terminal);
  addUp(lab, terminal);
  addDown(lab, terminal);
  addStatus(lab, terminal);
  addExec(lab);
  addFaults(lab, terminal);
  addClients(lab, terminal);
  addScans(lab, terminal);
  addUpgrade(lab, terminal);
  return lab;
}

function addUp(lab: Command, terminal: Terminal): void {
  withUpOptions(lab.command("up"))
    .description("build a lab and wait until its cluster is settled")
    .option("--seal", "encrypt what a node hands to another one over the cluster link")
    .action(async (options: UpOptions & { readonly seal?: boolean }) => {
      await withLabContext(options.name, terminal, async (context) => {
        const sealed = options.seal === true ? { isSealed: true } : {};
        const standing = await labUp({ ...toLabOptions(options), ...sealed }, context);
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
    .option("--name <name>", "the lab's name", DEFAULT_LAB)
    .argument("<host>", "client, web, server, hop, far, witness, net, or a node")
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
      await waitAnswering(standing, node);
      return `${node} is up`;
    },
  );
  fault(
    lab.command("join").description("plug one more node in: it joins the cluster and is given slots"),
    async (standing) => {
      const { member } = await joinMember(standing);
      await waitSettled(standing);
      return `${member.name} is member ${member.id}`;
    },
  );
  fault(
    lab.command("leave").description("take a member out for good, and unplug it").argument("<node>"),
    async (standing, node) => {
      await leaveMember(standing, node);
      await waitSettled(standing);
      return `${node} is gone`;
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
  const rows = members.map(({ id, name: member, pid, isRunning, status, socket }) => [
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
    status?.members.find((each) => each.id === id)?.slotsOwned.toString() ?? "-",
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
