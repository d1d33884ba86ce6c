/**
 * `synwall replay`: runs a capture through the real engine and prints what becomes of each packet, then flows and sums. Owns
 * options and wording; the replaying is node/replay/replay.ts.
 */
import { type Command, InvalidArgumentError } from "commander";
import { EXIT_WRONG } from "../exit-status.ts";
import { wholeBetween } from "../options.ts";
import type { Terminal } from "../terminal.ts";

interface ReplayCommandOptions {
  readonly policy: string;
  readonly zone?: string;
  readonly in: readonly LinkZone[];
  readonly mtu: number;
  readonly write?: string;
  readonly summary?: boolean;
  readonly flows: number;
  readonly json?: boolean;
}

interface LinkZone {
  readonly link: string;
  readonly zone: string;
}

const FLOWS_LISTED = 50;
const MTU_BYTES = 1500;

const HELP = `
Which zone a packet enters by is not in a capture. Without an option it is the zone that the route back to its source leads to
(so a spoofed source is not found); --zone says one for all; --in says it by the frame's destination MAC, or by the name of the
interface that captured it (pcapng), and leaves all other frames out. Time is the capture's. Hosts and next hops always answer.

Examples:
  synwall replay office.pcapng --policy /etc/synwall/fw1.yaml
  synwall replay attack.pcap --policy policy.yaml --zone outside --summary
  synwall replay both.pcap --policy fw1.yaml --in 02:53:57:00:00:1c=inside --in 02:53:57:01:00:1c=outside --write out.pcap

Exit status: 0 all was read; 2 a file or an option is wrong, or the capture is damaged (what was read before stands).
`;

export function addReplayCommand(program: Command, terminal: Terminal): void {
  program
    .command("replay")
    .description("run a capture through the engine: verdict of each packet, flows, rule hits")
    .argument("<capture>", "pcap or pcapng file")
    .requiredOption(
      "--policy <file>",
      "a node's configuration, or a policy alone (zones, routes, nat, rules, flows)",
    )
    .option("--zone <name>", "all packets enter by this zone")
    .option(
      "--in <mac|interface=zone>",
      "frames to this MAC, or captured there, enter by the zone (repeat)",
      linkZone,
      [],
    )
    .option("--mtu <bytes>", "MTU of all zones", wholeBetween(576, 65_535), MTU_BYTES)
    .option("--write <file>", "write what leaves the firewall as pcap")
    .option("--summary", "print no packets, only flows and sums")
    .option("--flows <n>", "list at most this many flows", wholeBetween(0, 1_000_000), FLOWS_LISTED)
    .option("--json", "print one JSON object a line: packets, flows, summary")
    .addHelpText("after", HELP)
    .action(async (capture: string, options: ReplayCommandOptions) => {
      const { runReplay } = await import("../replay-run.ts");
      const problem = runReplay(capture, options, terminal);
      if (problem === undefined) return;
      terminal.err(`synwall: ${capture}: ${problem}; what is above is what was read before\n`);
      process.exitCode = EXIT_WRONG;
    });
}

function linkZone(text: string, before: readonly LinkZone[]): LinkZone[] {
  const match = /^(.+)[=/]([^=/]+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError("write it like 02:53:57:00:00:1c=inside or eth1=inside");
  return [...before, { link: match[1]!.toLowerCase(), zone: match[2]! }];
}

export type { LinkZone, ReplayCommandOptions };
