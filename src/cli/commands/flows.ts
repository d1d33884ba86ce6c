/**
 * `synwall flows`: lists or counts tracked connections, its own and those that it holds as a backup.
 */
import { type Command, Option } from "commander";
import type { AdminMethods, FlowFilter, FlowView } from "../../node/admin-model.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, wholeAtLeast, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { formatCount, formatMs, printJson, type Terminal, table } from "../terminal.ts";

type FlowsOptions = AskOptions & FlowFilter;

const LIST_LIMIT = 50;

export function addFlowsCommand(program: Command, terminal: Terminal): void {
  const flows = program.command("flows").description("tracked connections of this node");
  withFilterOptions(withAskOptions(flows.command("list")))
    .description("list flows, the first 50 unless told otherwise")
    .option("--limit <n>", "at most this many", wholeAtLeast(1), LIST_LIMIT)
    .addHelpText("after", "\nExample:\n  synwall flows list --protocol tcp --port 443 --role own\n")
    .action(async (options: FlowsOptions) => {
      const result = await adminCall(chooseSocket(options.socket), "flows.list", filterOf(options));
      if (options.json) printJson(terminal, result);
      else terminal.out(formatFlows(result));
    });
  withFilterOptions(withAskOptions(flows.command("count")))
    .description("count flows, by role and protocol")
    .action(async (options: FlowsOptions) => {
      const result = await adminCall(chooseSocket(options.socket), "flows.count", filterOf(options));
      if (options.json) printJson(terminal, result);
      else terminal.out(formatCounts(result));
    });
}

function withFilterOptions(command: Command): Command {
  return command
    .option("--protocol <name>", "tcp, udp, icmp, or any other by name or number")
    .option("--source <address>", "address at the flow's beginning")
    .option("--destination <address>", "address that it goes to")
    .option("--port <n>", "either end's port", wholeAtLeast(1))
    .option("--slot <n>", "the slot that it hashes into", wholeAtLeast(0))
    .option("--all", "also NAT bindings, and expectations and adjustments of helpers")
    .addOption(new Option("--role <role>", "decided here, or held as a backup").choices(["own", "replica"]));
}

function filterOf(options: FlowsOptions): FlowFilter {
  const { socket: _socket, json: _json, ...filter } = options;
  return filter;
}

export function formatFlows(result: AdminMethods["flows.list"]["result"]): string {
  if (result.flows.length === 0) return "no flow matches\n";
  const rows = result.flows.map((flow) => [
    flow.protocol,
    flow.state,
    flow.original.source,
    flow.original.destination,
    translation(flow),
    flow.isReplica ? `${flow.owner} (replica here)` : flow.owner,
    String(flow.slot),
    formatMs(flow.ageMs),
    formatMs(flow.expiresInMs),
    flow.rule === "" ? "-" : flow.rule,
  ]);
  const listed = table(
    [
      { title: "PROTO" },
      { title: "STATE" },
      { title: "FROM" },
      { title: "TO" },
      { title: "TRANSLATED" },
      { title: "OWNER" },
      { title: "SLOT", isRight: true },
      { title: "AGE", isRight: true },
      { title: "ENDS IN", isRight: true },
      { title: "RULE" },
    ],
    rows,
  );
  const hidden = result.total - result.flows.length;
  return hidden > 0 ? `${listed}${formatCount(hidden)} more: narrow the filter, or raise --limit\n` : listed;
}

/** What the other side sees instead: the source after SNAT, the destination after DNAT. */
function translation(flow: FlowView): string {
  const parts: string[] = [];
  if (flow.reply.destination !== flow.original.source) parts.push(`from ${flow.reply.destination}`);
  if (flow.reply.source !== flow.original.destination) parts.push(`to ${flow.reply.source}`);
  return parts.length === 0 ? "-" : parts.join(" ");
}

export function formatCounts(result: AdminMethods["flows.count"]["result"]): string {
  const protocols = Object.entries(result.byProtocol).map(([name, count]) => `${name} ${formatCount(count)}`);
  return [
    `flows    ${formatCount(result.total)}`,
    `own      ${formatCount(result.own)}, decided here`,
    `replica  ${formatCount(result.replica)}, held for another node`,
    ...(protocols.length === 0 ? [] : [`of them  ${protocols.join(", ")}`]),
    "",
  ].join("\n");
}
