/**
 * Membership of a lab: another machine is plugged in and joins the cluster that runs, as an operator would do it (token, join,
 * start); and a member is taken out for good and unplugged. A failed step leaves the lab as it was.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { newcomerFiles, newcomerYaml } from "./files.ts";
import { forgetMember, type Lab, memberOf, rememberMember, runningProcess, startMember } from "./lab.ts";
import { unmountAll } from "./mounts.ts";
import { deleteHost, plugIn, unplug } from "./network.ts";
import { endAll, namespaceCommand, synwallCommand } from "./processes.ts";
import { run } from "./run.ts";
import { freeNode, hasGate, type LabMember, memberWires, NODES_MAX } from "./topology.ts";
import { poll } from "./wait.ts";

const REMOVE_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 10_000;
/** On a lab under load, whose nodes have real-time priority, a program with ordinary priority may take long to start. */
const JOIN_TIMEOUT_MS = 180_000;

/** Plugs one more node in, lets it join, and starts it. Answers it, and when it was started (CLOCK_MONOTONIC). */
export async function joinMember(lab: Lab): Promise<{ readonly member: LabMember; readonly atMs: number }> {
  const nodes = lab.state.topology.members.filter(({ role }) => role === "node");
  if (nodes.length >= NODES_MAX) {
    throw new SynwallError("SW_LAB_FAILED", `a cluster has at most ${NODES_MAX} nodes: let one leave first`);
  }
  const planned = freeNode(lab.state.topology.members);
  const registrar = nodes.find(({ name }) => runningProcess(lab, name) !== undefined);
  if (registrar === undefined)
    throw new SynwallError("SW_LAB_FAILED", "no node runs: nobody can let another in");
  await plugIn(lab.state.options.name, lab.state.topology, planned);
  try {
    const { options, topology } = lab.state;
    const yaml = newcomerYaml(options, topology, planned, lab.paths);
    const id = await register(lab, registrar.name, planned, yaml);
    const member = { ...planned, id };
    rememberMember(lab, member);
    const atMs = nowMs();
    await startMember(lab, member);
    return { member, atMs };
  } catch (error) {
    await clear(lab, planned);
    throw error;
  }
}

/** Takes a member out for good: the cluster first, then its process, files and wires. Answers when it was asked for. */
export async function leaveMember(lab: Lab, name: string): Promise<number> {
  const member = memberOf(lab, name);
  const asked = lab.state.topology.members.find(
    (each) => each.role === "node" && each.name !== name && runningProcess(lab, each.name) !== undefined,
  );
  if (asked === undefined)
    throw new SynwallError("SW_LAB_FAILED", `no other node runs: nobody can take ${name} out`);
  const atMs = nowMs();
  const params = { node: name, timeoutMs: REMOVE_TIMEOUT_MS };
  await lab.context.ask(lab.paths.socket(asked.name), "cluster.remove", params, {
    timeoutMs: REMOVE_TIMEOUT_MS + END_TIMEOUT_MS,
  });
  // It ends by itself when it learns of it; one that cannot learn of it is ended.
  await poll(() => runningProcess(lab, name) === undefined, END_TIMEOUT_MS);
  const left = runningProcess(lab, name);
  if (left !== undefined) await endAll([left]);
  forgetMember(lab, member);
  await clear(lab, member);
  return atMs;
}

/** Token, then join on the new machine, with this configuration. Answers the id that the cluster gave it. */
export async function register(
  lab: Lab,
  registrar: string,
  planned: LabMember,
  yaml: string,
): Promise<number> {
  const { paths, context, state } = lab;
  const config = paths.config(planned.name);
  mkdirSync(paths.data(planned.name), { recursive: true, mode: 0o700 });
  writeFileSync(config, yaml, { mode: 0o600 });
  const { token } = await context.ask(paths.socket(registrar), "cluster.token", { name: planned.name });
  const command = synwallCommand([
    ...["cluster", "join", "--config", config],
    ...["--address", planned.address, "--token", "-"],
  ]);
  const [file, ...args] = namespaceCommand(state.options.name, planned.name, command);
  await run(file!, args, { input: `${token}\n`, timeoutMs: JOIN_TIMEOUT_MS });
  const { members } = await context.ask(paths.socket(registrar), "cluster.members", {});
  const found = members.find(({ name }) => name === planned.name);
  if (found === undefined)
    throw new SynwallError("SW_LAB_FAILED", `${planned.name} joined, but ${registrar} does not know it`);
  return found.id;
}

/** Removes what a member's disk holds; what the lab's members share stays. */
export function removeOwnFiles({ paths }: Lab, name: string): void {
  const { ca, cert, key, secretFile } = newcomerFiles(paths, name);
  for (const file of [
    paths.config(name),
    paths.socket(name),
    ca,
    paths.ownCaKey(name),
    cert,
    key,
    secretFile,
  ])
    rmSync(file, { force: true });
  rmSync(paths.data(name), { recursive: true, force: true });
}

async function clear(lab: Lab, member: LabMember): Promise<void> {
  const { name } = member;
  const { state } = lab;
  const running = runningProcess(lab, name);
  if (running !== undefined) await endAll([running]);
  await unplug(state.options.name, memberWires(member, hasGate(state.topology)));
  await deleteHost(state.options.name, name);
  await unmountAll(lab.paths.data(name));
  removeOwnFiles(lab, name);
}
