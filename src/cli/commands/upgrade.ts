/**
 * `synwall upgrade`: restarts all members with the build that is installed, one after the other, losing nothing. Owns the wording;
 * the steps are node/upgrade.
 */
import { spawn } from "node:child_process";
import { Command } from "commander";
import { SynwallError } from "../../base/errors.ts";
import { thisBuild } from "../../node/upgrade/this-build.ts";
import {
  nameOf,
  type RestartedMember,
  type UpgradeReport,
  type UpgradeStage,
  upgrade,
} from "../../node/upgrade/upgrade.ts";
import { adminCall } from "../admin-client.ts";
import { EXIT_REFUSED } from "../exit-status.ts";
import { type AskOptions, duration, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { formatMs, printJson, type Terminal, table } from "../terminal.ts";

const STEP_MS_MAX = 300_000;

const EXAMPLES = `
Before: install the new build on every member, without a restart (scripts/provision.sh ROLE --install-only ...). Each member is
drained, restarted by its supervisor and given its slots back; the leader is the last one. It stops at the first thing that is
wrong, with the cluster serving, and may be run again: it goes on where it stopped.

Examples:
  synwall upgrade --dry-run                     may it begin, and who would be restarted?
  synwall upgrade                               members that do not run this build yet
  synwall upgrade --nodes fw2                   this one alone
  synwall upgrade --all                         all of them, whatever they run: a rolling restart
  synwall upgrade --restart-command 'ssh {node} systemctl restart synwall-{role}'
`;

export interface UpgradeCommandOptions {
  readonly nodes?: string;
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly anyBuild?: boolean;
  readonly acceptNoMajority?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

/** Options that every way to upgrade has. */
export function withUpgradeOptions(command: Command): Command {
  return command
    .option("--nodes <names>", "these members only, with commas between; a witness may be named too")
    .option("--all", "also members that run this build already")
    .option("--dry-run", "say what is wrong and what would be done, and do nothing")
    .option("--any-build", "take any build of this version for the right one")
    .option("--accept-no-majority", "go on although a restart leaves no majority until it is over")
    .option("--timeout <duration>", "longest time of each step", duration, STEP_MS_MAX);
}

export function upgradeCommand(terminal: Terminal): Command {
  const command = new Command("upgrade").description(
    "restart all members with the installed build, one after the other, losing nothing",
  );
  return withUpgradeOptions(withAskOptions(command))
    .option(
      "--restart-command <command>",
      "shell command that restarts {node}; default: it is asked to end itself",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (options: UpgradeCommandOptions & AskOptions & { restartCommand?: string }) => {
      const socket = chooseSocket(options.socket);
      const { restartCommand } = options;
      const stage: UpgradeStage = {
        ...realStage(terminal, options.json === true),
        ask: (method, params, askOptions) => adminCall(socket, method, params, askOptions),
        restart: async (member) => {
          if (restartCommand !== undefined) return runCommand(restartCommand, member);
          const { name, incarnation } = member;
          await adminCall(socket, "cluster.restart", { node: name, incarnation });
        },
      };
      await runUpgrade(stage, options, restartCommand === undefined, terminal);
    });
}

/** The clock, and progress for somebody who waits: with `isJson` beside the result. */
export function realStage(
  terminal: Terminal,
  isJson: boolean,
): Pick<UpgradeStage, "nowMs" | "pause" | "progress"> {
  return {
    nowMs: () => performance.now(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    progress: (member, text) => {
      const line = `${new Date().toTimeString().slice(0, 8)}  ${member === "" ? "" : `${member}: `}${text}\n`;
      if (isJson) terminal.err(line);
      else terminal.out(line);
    },
  };
}

/** Carries it out and prints what came of it; sets the exit status. */
export async function runUpgrade(
  stage: UpgradeStage,
  options: UpgradeCommandOptions,
  needsSupervisor: boolean,
  terminal: Terminal,
): Promise<void> {
  const target = thisBuild();
  const report = await upgrade(stage, {
    target: options.anyBuild === true ? { ...target, build: "" } : target,
    only: options.nodes?.split(",").filter((name) => name !== "") ?? [],
    isAll: options.all === true,
    isDryRun: options.dryRun === true,
    mayLoseMajority: options.acceptNoMajority === true,
    needsSupervisor,
    stepTimeoutMs: options.timeout,
  });
  if (options.json === true) printJson(terminal, report);
  else terminal.out(formatUpgrade(report));
  if (report.stopped.length > 0) process.exitCode = EXIT_REFUSED;
}

export function formatUpgrade(report: UpgradeReport): string {
  const { members, stopped, target, tookMs } = report;
  const rows = members.map(({ name, role, from, to, outcome, drainMs, awayMs, backMs }) => [
    name,
    role,
    from,
    outcome === "current" ? "stays" : to,
    OUTCOMES[outcome],
    ...[drainMs, awayMs, backMs].map((ms) => (ms === undefined ? "-" : formatMs(ms))),
  ]);
  const titles = ["MEMBER", "ROLE", "RUNS", "TO RUN", ""].map((title) => ({ title }));
  const times = ["DRAINED IN", "AWAY FOR", "BACK IN"].map((title) => ({ title, isRight: true }));
  const lines = stopped.map((line) => `  ! ${line}\n`).join("");
  return `\n${table([...titles, ...times], rows)}\n${verdict(report, nameOf(target), tookMs)}\n${lines}`;
}

const OUTCOMES = {
  upgraded: "upgraded",
  current: "-",
  waiting: "to be restarted",
  stopped: "STOPPED HERE",
} as const;

function verdict(
  { isDryRun, isDone, stopped, members }: UpgradeReport,
  target: string,
  tookMs: number,
): string {
  const done = members.filter(({ outcome }) => outcome === "upgraded").length;
  const due = members.filter(({ outcome }) => outcome === "waiting").length;
  if (stopped.length > 0 && done === 0 && members.every(({ outcome }) => outcome !== "stopped")) {
    return "NOT BEGUN: nothing was touched, the cluster serves as before.";
  }
  if (stopped.length > 0) return `STOPPED after ${done} of ${members.length} members: the cluster serves on.`;
  if (isDryRun)
    return due === 0 ? nothing(target) : `Ready: ${due} members would be restarted. Nothing was touched.`;
  if (isDone && done === 0) return nothing(target);
  return `Done: ${done} members restarted with ${target} in ${formatMs(tookMs)}, one after the other.`;
}

function nothing(target: string): string {
  return `Nothing to do: all run ${target}. A rolling restart nevertheless: --all.`;
}

/** Waits for the command's end. Throws SW_CONTROL_REFUSED when it fails. */
function runCommand(template: string, member: RestartedMember): Promise<void> {
  const command = template.replaceAll("{node}", member.name).replaceAll("{role}", member.role);
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", command], { stdio: ["ignore", process.stderr, process.stderr] });
    const fail = (why: string): void =>
      reject(new SynwallError("SW_CONTROL_REFUSED", `--restart-command '${command}': ${why}`));
    child.once("error", ({ message }) => fail(message));
    child.once("exit", (status, signal) => {
      if (status === 0) resolve();
      else fail(status === null ? `ended by ${signal}` : `ended with status ${status}`);
    });
  });
}
