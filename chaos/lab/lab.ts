/**
 * Lab: a whole cluster and its hosts on one machine, from `up` to `down`. Owns the order of the steps and that nothing
 * half made stays. Faults are in faults.ts.
 */
import { existsSync, readFileSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { type Ask, statusOf } from "./ask.ts";
import { writeFiles } from "./files.ts";
import { unmountAll } from "./mounts.ts";
import { buildNetwork, deleteHost, pidsIn, standingHosts } from "./network.ts";
import {
  endAll,
  isRunning,
  moduleCommand,
  namespaceCommand,
  processOf,
  shiftedCommand,
  startDetached,
  synwallCommand,
} from "./processes.ts";
import { SETTLE_TIMEOUT_MS, type SettleOptions, settle } from "./settling.ts";
import {
  claimDirectory,
  type LabOwner,
  type LabPaths,
  type LabProcess,
  type LabState,
  labPaths,
  readState,
  removeFiles,
  writeState,
} from "./state.ts";
import { beginStore, storeCommand } from "./store.ts";
import {
  type LabMember,
  type LabOptions,
  planTopology,
  STORE_HOST,
  type Topology,
  withMember,
  withMemberId,
  withoutMember,
} from "./topology.ts";
import { ANCHOR } from "./user-namespace.ts";
import { pause, poll } from "./wait.ts";

/** Hosts that serve HTTP on port 80 as long as the lab stands. */
const SERVICES = ["web", "server"] as const;
const ASK_INTERVAL_MS = 100;
const LOG_LINES_SHOWN = 3;
/** How the line begins in which a member says why it ends. */
const FATAL = '{"level":60,';

export interface LabContext {
  readonly owner: LabOwner;
  readonly ask: Ask;
  /** One line for the operator about what goes on. */
  readonly progress: (line: string) => void;
  readonly abort?: AbortSignal;
}

/** A lab that stands. */
export interface Lab {
  readonly context: LabContext;
  readonly paths: LabPaths;
  state: LabState;
}

/** Builds a lab and waits until its cluster is settled. On any failure everything is taken down again. */
export async function labUp(options: LabOptions, context: LabContext): Promise<Lab> {
  const topology = planTopology(options);
  const paths = labPaths(options.name, context.owner);
  await refuseWhenStanding(options.name);
  claimDirectory(paths, context.owner);
  try {
    return await build(options, topology, paths, context);
  } catch (error) {
    await labDown(options.name, { ...context, progress: () => undefined }).catch(() => undefined);
    throw error;
  }
}

/** Opens a lab that stands. Throws SW_LAB_MISSING. */
export function openLab(name: string, context: LabContext): Lab {
  const paths = labPaths(name, context.owner);
  return { context, paths, state: readState(name, paths) };
}

/** Removes a lab and whatever is left of one, from its name alone. Answers false when there was nothing. */
export async function labDown(name: string, context: LabContext): Promise<boolean> {
  const paths = labPaths(name, context.owner);
  const hosts = await standingHosts(name);
  const wasThere = hosts.length > 0 || existsSync(paths.directory);
  const pids = (await Promise.all(hosts.map((host) => pidsIn(name, host)))).flat();
  // A process that runs `lab exec` or `lab down` itself may be in there too: never end ourselves.
  const targets = pids.filter((pid) => pid !== process.pid).flatMap((pid) => processOf(pid) ?? []);
  const anchor = stateIfAny(name, paths)?.processes[ANCHOR];
  await endAll(targets);
  for (const host of hosts) await deleteHost(name, host);
  await unmountAll(paths.dataDirectory);
  removeFiles(paths);
  if (anchor !== undefined) await endAll([anchor]);
  return wasThere;
}

/** Starts a member's process and notes it in the lab's state. */
export async function startMember(lab: Lab, member: LabMember): Promise<void> {
  const command = synwallCommand([member.role, "--config", lab.paths.config(member.name)]);
  const shifted = shiftedCommand(lab.paths.clock(member.name), command);
  await startInHost(lab, member.name, member.name, shifted);
}

/**
 * Waits until every member (but those `without`) says that the cluster is settled.
 * Throws SW_LAB_FAILED when one of them dies or time is up.
 */
export async function waitSettled(lab: Lab, options: SettleOptions = {}): Promise<void> {
  const waitingFor = await trySettled(lab, options);
  if (waitingFor === "") return;
  const timeoutMs = options.timeoutMs ?? SETTLE_TIMEOUT_MS;
  throw new SynwallError("SW_LAB_FAILED", `not settled after ${timeoutMs / 1000} s: ${waitingFor}`);
}

/** The same, but time that is up is no error: answers what was still waited for; empty when all is settled. */
export async function trySettled(lab: Lab, options: SettleOptions = {}): Promise<string> {
  const { ask, progress, abort } = lab.context;
  const cluster = {
    members: lab.state.topology.members,
    nowMs,
    pause: (ms: number) => pause(ms, abort),
    statusOf: (member: string) => statusOf(ask, lab.paths.socket(member)),
    failWhenDead: (without: readonly string[]) => failWhenDead(lab, without),
    progress,
  };
  return settle(cluster, options);
}

/** Waits until a member that was started answers. Throws SW_LAB_FAILED with its last words when it ends instead. */
export async function waitAnswering(lab: Lab, name: string): Promise<void> {
  const others = Object.keys(lab.state.processes).filter((each) => each !== name);
  const isAnswering = await poll(
    async () => {
      failWhenDead(lab, others);
      return (await statusOf(lab.context.ask, lab.paths.socket(name))) !== undefined;
    },
    SETTLE_TIMEOUT_MS,
    { abort: lab.context.abort, intervalMs: ASK_INTERVAL_MS },
  );
  if (!isAnswering)
    throw new SynwallError("SW_LAB_FAILED", `${name} does not answer after ${SETTLE_TIMEOUT_MS / 1000} s`);
}

export function memberOf(lab: Lab, name: string): LabMember {
  const member = lab.state.topology.members.find((each) => each.name === name);
  if (member === undefined) {
    const names = lab.state.topology.members.map((each) => each.name).join(", ");
    throw new SynwallError(
      "SW_LAB_FAILED",
      `no member "${name}" in lab "${lab.state.options.name}": use one of ${names}`,
    );
  }
  return member;
}

/** Notes that the lab has one member more. */
export function rememberMember(lab: Lab, member: LabMember): void {
  lab.state = { ...lab.state, topology: withMember(lab.state.topology, member) };
  writeState(lab.paths, lab.state);
}

/** Notes that the lab has a member no more. */
export function forgetMember(lab: Lab, member: LabMember): void {
  const { [member.name]: _, ...processes } = lab.state.processes;
  lab.state = { ...lab.state, topology: withoutMember(lab.state.topology, member), processes };
  writeState(lab.paths, lab.state);
}

/** Notes that a member has another id. */
export function noteMemberId(lab: Lab, name: string, id: number): void {
  lab.state = { ...lab.state, topology: withMemberId(lab.state.topology, name, id) };
  writeState(lab.paths, lab.state);
}

/** The process of a member or service; undefined when it does not run. */
export function runningProcess(lab: Lab, name: string): LabProcess | undefined {
  const found = lab.state.processes[name];
  return found !== undefined && isRunning(found) ? found : undefined;
}

/** Ends a process that startInHost() started, and forgets it. */
export async function endHelper(lab: Lab, name: string): Promise<void> {
  const { [name]: helper, ...processes } = lab.state.processes;
  if (helper !== undefined) await endAll([helper]);
  lab.state = { ...lab.state, processes };
  writeState(lab.paths, lab.state);
}

/** The last lines that a member's process wrote. */
export function lastWords(lab: Lab, name: string): string {
  return lastLines(lab.paths.log(name));
}

/** Why a member's process ended, in its own words; empty when they are not the last ones. */
export function fatalWords(lab: Lab, name: string): string {
  const line = readFileSync(lab.paths.log(name), "utf8").trimEnd().split("\n").at(-1) ?? "";
  return line.startsWith(FATAL) ? (JSON.parse(line) as { readonly msg: string }).msg : "";
}

async function build(
  options: LabOptions,
  topology: Topology,
  paths: LabPaths,
  context: LabContext,
): Promise<Lab> {
  const state: LabState = {
    version: 2,
    options,
    topology,
    startedAt: new Date().toISOString(),
    processes: {},
  };
  const lab: Lab = { context, paths, state };
  writeState(paths, state);
  const step = (line: string): void => {
    context.abort?.throwIfAborted();
    context.progress(line);
  };
  if (context.owner.isUserNamespace)
    note(lab, ANCHOR, await startDetached(["sleep", "infinity"], paths.log(ANCHOR)));
  step(`network: ${topology.hosts.length} namespaces, ${topology.wires.length} wires`);
  await buildNetwork(options.name, topology);
  step(`files: certificates and configuration of ${topology.members.map(({ name }) => name).join(", ")}`);
  await writeFiles(options, topology, paths);
  if (options.store === "etcd") {
    step("store: etcd");
    await startInHost(lab, STORE_HOST, STORE_HOST, storeCommand(paths));
    await beginStore(options.name, paths, topology.members[0]!.name);
  }
  step("processes: members of the cluster, web servers");
  for (const member of topology.members) await startMember(lab, member);
  for (const host of SERVICES) {
    await startInHost(lab, host, host, moduleCommand("chaos/traffic/web-main", [host]));
  }
  await waitSettled(lab);
  return lab;
}

/** Starts a process in a host and notes it; its end is the lab's failure. */
export async function startInHost(
  lab: Lab,
  host: string,
  name: string,
  command: readonly string[],
): Promise<void> {
  const inside = namespaceCommand(lab.state.options.name, host, command);
  note(lab, name, await startDetached(inside, lab.paths.log(name)));
}

function note(lab: Lab, name: string, started: LabProcess): void {
  lab.state = { ...lab.state, processes: { ...lab.state.processes, [name]: started } };
  writeState(lab.paths, lab.state);
}

async function refuseWhenStanding(name: string): Promise<void> {
  const hosts = await standingHosts(name);
  if (hosts.length === 0) return;
  throw new SynwallError(
    "SW_LAB_EXISTS",
    `lab "${name}" stands already: take it down with synwall lab down --name ${name}, or choose another --name`,
  );
}

function stateIfAny(name: string, paths: LabPaths): LabState | undefined {
  try {
    return readState(name, paths);
  } catch {
    return undefined; // Nothing, or half made: the namespaces tell the rest.
  }
}

function failWhenDead(lab: Lab, without: readonly string[]): void {
  for (const [name, started] of Object.entries(lab.state.processes)) {
    if (isRunning(started) || without.includes(name)) continue;
    throw new SynwallError("SW_LAB_FAILED", `${name} ended: ${lastLines(lab.paths.log(name))}`);
  }
}

function lastLines(file: string): string {
  const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  // What it said itself is worth more than the end of a stack trace.
  const telling = lines.filter((line) => /^synwall: |Error: /.test(line));
  return (telling.length > 0 ? telling : lines).slice(-LOG_LINES_SHOWN).join(" | ") || "it said nothing";
}
