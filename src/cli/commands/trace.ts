/**
 * `synwall trace`: which rule, NAT, route and slot a packet would meet, and what would become of it. Asks a running node, or a
 * file alone. Owns options and wording; the tracing is node/replay/trace.ts.
 */
import { type Command, InvalidArgumentError } from "commander";
import type { TraceReport, TraceRequest } from "../../node/replay/trace.ts";
import { PROTOCOL_NAMES, parseProtocol } from "../../policy/protocols.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, wholeBetween, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { printJson, type Terminal } from "../terminal.ts";

interface TraceOptions extends AskOptions {
  readonly src: string;
  readonly dst: string;
  readonly proto?: number;
  readonly in?: string;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly config?: string;
}

const HELP = `
The packet is judged as the first one of a new connection. Without --config a running node is asked, which knows the owner too.

Examples:
  synwall trace --src 10.10.0.5 --dst 198.51.100.100:443
  synwall trace --src 203.0.113.7 --dst 198.51.100.10:8080 --in outside --config fw1.yaml
  synwall trace --src 10.10.0.5 --dst 198.51.100.100 --icmp-type 8

Exit status: 0 answered, whatever the verdict; 2 a value does not fit, or nobody can be asked.
`;

export function addTraceCommand(program: Command, terminal: Terminal): void {
  withAskOptions(program.command("trace"))
    .description("tell what a packet would meet: rule, NAT, route, slot, verdict")
    .requiredOption("--src <address[:port]>", "where it comes from")
    .requiredOption("--dst <address[:port]>", "where it goes, before any translation")
    .option(
      "--proto <protocol>",
      "tcp, udp, icmp or a number (default: tcp with a port, else icmp)",
      protocolOf,
    )
    .option(
      "--in <zone>",
      "zone or interface that it enters by (default: where the route back to --src leads)",
    )
    .option("--icmp-type <n>", "type of an ICMP message (default: echo request)", wholeBetween(0, 255))
    .option("--icmp-code <n>", "its code (default: 0)", wholeBetween(0, 255))
    .option("--config <file>", "judge by this file, a node's configuration or a policy alone; ask no node")
    .addHelpText("after", HELP)
    .action(async (options: TraceOptions) => {
      const report = await askFor(options);
      if (options.json) printJson(terminal, report);
      else terminal.out(formatTrace(report));
    });
}

async function askFor(options: TraceOptions): Promise<TraceReport> {
  const request: TraceRequest = {
    source: options.src,
    destination: options.dst,
    ...(options.proto === undefined ? {} : { protocol: options.proto }),
    ...(options.in === undefined ? {} : { in: options.in }),
    ...(options.icmpType === undefined ? {} : { icmpType: options.icmpType }),
    ...(options.icmpCode === undefined ? {} : { icmpCode: options.icmpCode }),
  };
  if (options.config === undefined) return adminCall(chooseSocket(options.socket), "trace", request);
  const { loadPolicyFile } = await import("../../../config/policy-file.ts");
  const { traceFacts } = await import("../../node/replay/facts.ts");
  const { trace } = await import("../../node/replay/trace.ts");
  return trace(traceFacts(loadPolicyFile(options.config)), request);
}

function protocolOf(text: string): number {
  const protocol = parseProtocol(/^\d+$/.test(text) ? Number(text) : text);
  if (protocol === undefined) {
    throw new InvalidArgumentError(`use one of ${PROTOCOL_NAMES.join(", ")} or a number, 0 to 255`);
  }
  return protocol;
}

/** One line a step, in the order of the packet's way. */
export function formatTrace(report: TraceReport): string {
  const { dnat, route, slot, rule, snat, out } = report;
  const supposed = report.isSupposed ? "  (if a rule allowed it)" : "";
  const steps: [string, string][] = [["packet", report.packet]];
  const by = report.in.isGiven ? "" : "  (by the route back to its source; --in names another)";
  steps.push(["in", `${placeText(report.in)}${by}`]);
  if (route !== undefined) {
    steps.push(["dnat", dnat === undefined ? "none" : `${dnat.from} -> ${dnat.to}${supposed}`]);
    steps.push(["route", `${route.to} in zone ${route.zone}${hopText(route.nextHop)}${supposed}`]);
    steps.push(["slot", slot === undefined ? `not known: ${report.whyNoSlot ?? ""}` : slotText(slot)]);
  }
  if (rule !== undefined) {
    const name =
      rule.number === 0
        ? "no rule matches: the default drops it"
        : `${rule.number} "${rule.name}": ${rule.action}`;
    steps.push(["rule", name]);
  }
  if (route !== undefined)
    steps.push(["snat", snat === undefined ? "none" : `${snatText(snat, slot)}${supposed}`]);
  if (out !== undefined) steps.push(["out", `${placeText(out)}: ${out.packet}`]);
  if (report.answer !== undefined) steps.push(["answer", report.answer]);
  steps.push([
    "verdict",
    `${report.isForwarded ? "passes" : "dropped"}: ${report.verdict} (${report.meaning})`,
  ]);
  if (report.advice !== "") steps.push(["do", report.advice]);
  return steps.map(([title, text]) => `${title.padEnd(8)} ${text}\n`).join("");
}

function placeText({ zone, interface: name }: { readonly zone: string; readonly interface: string }): string {
  return name === "" || name === zone ? `zone ${zone}` : `zone ${zone}, ${name}`;
}

/** The port belongs to the slot, so it is another one where the slot is not known. */
function snatText(snat: NonNullable<TraceReport["snat"]>, slot: TraceReport["slot"]): string {
  const isElsewhere = slot === undefined && /(\]|\.\d+):\d+$/.test(snat.to);
  return `${snat.from} -> ${snat.to}${isElsewhere ? " (the port is another one in the cluster)" : ""}`;
}

function hopText(nextHop: string): string {
  return nextHop === "" ? "" : `, next hop ${nextHop}`;
}

function slotText({ slot, owner, backup }: NonNullable<TraceReport["slot"]>): string {
  if (owner === undefined) return `${slot}  (a running node knows its owner)`;
  return `${slot}, owner ${owner === "" ? "nobody" : owner}, backup ${backup === undefined || backup === "" ? "nobody" : backup}`;
}
