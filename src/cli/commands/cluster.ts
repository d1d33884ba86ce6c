/**
 * `synwall cluster`: who belongs to the cluster. Owns the wording; setting up a machine is node/cluster-setup.ts, everything else
 * is asked of a running member.
 */
import { createInterface } from "node:readline";
import { Command, InvalidArgumentError } from "commander";
import { loadNewcomer } from "../../../config/load.ts";
import type { AdminMethods, MemberProcess, MemberView } from "../../node/admin-model.ts";
import { initCluster, joinWithToken } from "../../node/cluster-setup.ts";
import { isUnicast, parseIpv4 } from "../../policy/address.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, duration, wholeBetween, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { printJson, type Terminal } from "../terminal.ts";
import { processesBy, runsText } from "./status.ts";

const WAIT_MS = 60_000;
/** The node answers at its own deadline; the client waits a little longer, so that its reason arrives. */
const ANSWER_MARGIN_MS = 5_000;
const TOKEN_MS = 3_600_000;

const EXAMPLES = `
Examples:
  synwall cluster init --config /etc/synwall/fw1.yaml --address 192.0.2.1     on the first node
  synwall cluster token                                                       on a running one: lets one node in
  synwall cluster join --config /etc/synwall/fw2.yaml --address 192.0.2.2 --token sw1...
  synwall cluster members
  synwall cluster remove fw2
`;

export function clusterCommand(terminal: Terminal): Command {
  const cluster = new Command("cluster")
    .description("who belongs to the cluster")
    .addHelpText("after", EXAMPLES);
  addSetup(cluster, terminal);
  addMembers(cluster, terminal);
  addToken(cluster, terminal);
  addChanges(cluster, terminal);
  addRotate(cluster, terminal);
  return cluster;
}

interface SetupOptions {
  readonly config: string;
  readonly address: string;
}

function addSetup(cluster: Command, terminal: Terminal): void {
  const setup = (name: string): Command =>
    cluster
      .command(name)
      .requiredOption("--config <file>", "configuration of this member, without cluster.members")
      .requiredOption("--address <ip>", "this machine's address on the cluster link", clusterAddress);
  setup("init")
    .description("begin a cluster of this one node: its CA, secret and certificate")
    .action(async ({ config, address }: SetupOptions) => {
      const newcomer = loadNewcomer(config);
      await initCluster(newcomer, address);
      terminal.out(
        `cluster ${newcomer.name} begins with ${newcomer.node}; start it: synwall node --config ${config}\n` +
          `keep a copy of ${newcomer.tls.caKey}: without it nobody joins, and no certificate is renewed\n`,
      );
    });
  setup("join")
    .description("make this machine a member of a cluster that runs")
    .requiredOption("--token <token>", "as synwall cluster token printed it; - reads it from standard input")
    .action(async ({ config, address, token }: SetupOptions & { token: string }) => {
      const newcomer = loadNewcomer(config);
      const id = await joinWithToken(newcomer, address, token === "-" ? await firstLine() : token);
      terminal.out(
        `${newcomer.node} is member ${id} of ${newcomer.name}; start it: synwall ${newcomer.role} --config ${config}\n`,
      );
    });
}

/** Of standard input: what is given there is in nobody's list of processes. */
async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  return "";
}

function addMembers(cluster: Command, terminal: Terminal): void {
  withAskOptions(cluster.command("members"))
    .description("who belongs to the cluster, who votes, and what each runs")
    .action(async (options: AskOptions) => {
      const socket = chooseSocket(options.socket);
      const { members } = await adminCall(socket, "cluster.members", {});
      const processes = await processesBy(socket);
      if (options.json) printJson(terminal, { members, processes });
      else terminal.out(table(members, processes));
    });
}

interface TokenOptions extends AskOptions {
  readonly role: string;
  readonly name?: string;
  readonly weight: number;
  readonly ttl: number;
}

function addToken(cluster: Command, terminal: Terminal): void {
  withAskOptions(cluster.command("token"))
    .description("let one new member in, once; prints the token")
    .option("--role <role>", "node or witness", role, "node")
    .option("--name <name>", "for this member only; one of that name that is down is removed for it")
    .option("--weight <n>", "share of slots of the new node", wholeBetween(1, 100), 1)
    .option("--ttl <duration>", "how long it may be used", duration, TOKEN_MS)
    .action(async ({ socket, json, role: wanted, name, weight, ttl }: TokenOptions) => {
      const params = { role: wanted, weight, ttlMs: ttl, ...(name === undefined ? {} : { name }) };
      const result = await adminCall(chooseSocket(socket), "cluster.token", params);
      if (json) printJson(terminal, result);
      else terminal.out(`${result.token}\n`);
    });
}

function addChanges(cluster: Command, terminal: Terminal): void {
  const waiting = (name: string): Command =>
    withAskOptions(cluster.command(name))
      .argument("<node>", "name of the member")
      .option("--timeout <duration>", "give up after", duration, WAIT_MS);
  waiting("disable")
    .description(
      "empty a node and keep it out, over restarts too; it goes on voting, unless it is one of two",
    )
    .action(async (node: string, options: AskOptions & { timeout: number }) => {
      await change(
        terminal,
        options,
        "cluster.disable",
        { node, timeoutMs: options.timeout },
        () => `${node} owns nothing, and stays out until 'synwall cluster enable ${node}'.`,
      );
    });
  waiting("remove")
    .description("take a member out for good; one that is up is emptied first")
    .action(async (node: string, options: AskOptions & { timeout: number }) => {
      await change(
        terminal,
        options,
        "cluster.remove",
        { node, timeoutMs: options.timeout },
        ({ id }) => `${node} (member ${id}) is removed; its id is never used again.`,
      );
    });
  withAskOptions(cluster.command("enable"))
    .argument("<node>", "name of the node")
    .description("let a disabled node take part again")
    .action(async (node: string, options: AskOptions) => {
      await change(terminal, options, "cluster.enable", { node }, () => `${node} takes part again.`);
    });
  withAskOptions(cluster.command("weight"))
    .argument("<node>", "name of the node")
    .argument("<weight>", "its share of slots, 1 to 100", wholeBetween(1, 100))
    .description("change a node's share of slots; they move one by one, losing nothing")
    .action(async (node: string, weight: number, options: AskOptions) => {
      await change(
        terminal,
        options,
        "cluster.weight",
        { node, weight },
        () => `${node} has weight ${weight}.`,
      );
    });
}

function addRotate(cluster: Command, terminal: Terminal): void {
  withAskOptions(cluster.command("rotate"))
    .description("give this member a new key and certificate; no connection is interrupted")
    .option("--reload", "the files were replaced by hand: take them over as they are")
    .action(async (options: AskOptions & { reload?: boolean }) => {
      await change(
        terminal,
        options,
        "cluster.rotate",
        { isReload: options.reload === true },
        ({ validTo, from }) =>
          `the new certificate is valid until ${validTo}${from === undefined ? "" : `, signed at ${from}`}.`,
      );
    });
}

async function change<Method extends keyof AdminMethods>(
  terminal: Terminal,
  options: AskOptions & { readonly timeout?: number },
  method: Method,
  params: AdminMethods[Method]["params"],
  say: (result: AdminMethods[Method]["result"]) => string,
): Promise<void> {
  const timeoutMs = (options.timeout ?? WAIT_MS) + ANSWER_MARGIN_MS;
  const result = await adminCall(chooseSocket(options.socket), method, params, { timeoutMs });
  if (options.json) printJson(terminal, result);
  else terminal.out(`${say(result)}\n`);
}

function table(members: readonly MemberView[], processes: readonly MemberProcess[]): string {
  const rows = members.map(({ id, name, role: is, address, weight, state, isDisabled, votes }) => [
    String(id),
    name,
    is,
    address,
    is === "node" ? String(weight) : "-",
    isDisabled ? `${state}, disabled` : state,
    votes ? "yes" : "no",
    runsText(processes.find((process) => process.id === id)),
  ]);
  const all = [["id", "name", "role", "address", "weight", "state", "votes", "runs"], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

function role(text: string): string {
  if (text !== "node" && text !== "witness") throw new InvalidArgumentError("use node or witness");
  return text;
}

function clusterAddress(text: string): string {
  const address = parseIpv4(text);
  if (address === undefined || !isUnicast(address))
    throw new InvalidArgumentError("use an IPv4 address of a host");
  return text;
}
