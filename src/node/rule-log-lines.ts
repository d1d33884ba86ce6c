/**
 * Rule log lines: takes the worker's records of what rules with `log: true` decided, and writes one line each. Owns the words;
 * what is recorded, and how much of it, is dataplane/rule-log.ts.
 */
import type { RecordRing } from "../base/ring.ts";
import { ACTION_ACCEPT, type PolicyModel } from "../dataplane/policy-model.ts";
import { type LoggedEnd, type LoggedPacket, RuleLogReader } from "../dataplane/rule-log.ts";
import { verdictName } from "../dataplane/verdict.ts";
import { formatAddress, formatEnd } from "../policy/address.ts";
import { formatProtocol } from "../policy/protocols.ts";

/** How often the shell calls write(). */
export const RULE_LOG_WRITE_MS = 100;
/** Lines that one call writes; the ring keeps the rest. */
const LINES_MAX = 1024;

/** Fields of a line beside its text. */
export interface RuleLogLine {
  readonly kind: "rule-log";
  /** When the packet was decided on, ISO 8601. */
  readonly at: string;
  readonly rule: string;
  readonly ruleIndex: number;
  readonly action: "accept" | "drop";
  /** What became of the packet: "forwarded", "held" until its backup has it, or a drop reason. */
  readonly verdict: string;
  readonly protocol: string;
  readonly icmp?: string;
  /** Where it came in; of a packet that another node passed on, the interface that has its place here. */
  readonly interface: string;
  readonly fromZone: string;
  readonly toZone: string;
  readonly source: string;
  readonly destination: string;
  /** Where translation changed something. */
  readonly translatedSource?: string;
  readonly translatedDestination?: string;
}

export interface RuleLogOptions {
  readonly ring: RecordRing;
  /** The policy of a number (LoggedPacket.policy); undefined when it is too long ago. */
  readonly policy: (number: number) => PolicyModel | undefined;
  /** By port index. */
  readonly portNames: readonly string[];
  /** The worker's clock and the wall's. */
  readonly clock: { nowMs(): number; wallMs(): number };
  readonly write: (line: RuleLogLine, text: string) => void;
}

export class RuleLogLines {
  readonly #options: RuleLogOptions;
  readonly #reader: RuleLogReader;

  constructor(options: RuleLogOptions) {
    this.#options = options;
    this.#reader = new RuleLogReader(options.ring);
  }

  /** Writes what waits, within bounds; answers how many lines. */
  write(): number {
    const { clock, write } = this.#options;
    if (this.#reader.length() === 0) return 0;
    const wallOfZeroMs = clock.wallMs() - clock.nowMs();
    const packets = this.#reader.take(LINES_MAX);
    for (const packet of packets) {
      const line = this.#line(packet, wallOfZeroMs);
      write(line, textOf(line));
    }
    return packets.length;
  }

  #line(packet: LoggedPacket, wallOfZeroMs: number): RuleLogLine {
    const policy = this.#options.policy(packet.policy);
    const { translated, icmp } = packet;
    const rule = policy?.rules[packet.rule];
    const zoneName = (id: number): string => policy?.zones.find((zone) => zone.id === id)?.name ?? String(id);
    const source = endText(packet.source, packet);
    const destination = endText(packet.destination, packet);
    const translatedSource = endText(translated.source, packet);
    const translatedDestination = endText(translated.destination, packet);
    return {
      kind: "rule-log",
      at: new Date(wallOfZeroMs + packet.atMs).toISOString(),
      rule: rule?.name ?? "",
      ruleIndex: packet.rule,
      action: rule?.action === ACTION_ACCEPT ? "accept" : "drop",
      verdict: verdictName(packet.verdict),
      protocol: formatProtocol(packet.protocol),
      ...(icmp === undefined ? {} : { icmp: `${icmp.type}/${icmp.code}` }),
      interface: this.#options.portNames[packet.port] ?? "",
      fromZone: zoneName(packet.fromZone),
      toZone: zoneName(packet.toZone),
      source,
      destination,
      ...(translatedSource === source ? {} : { translatedSource }),
      ...(translatedDestination === destination ? {} : { translatedDestination }),
    };
  }
}

/** An address with its port; of an echo, the id stands on one side only, and 0 is no port. */
function endText({ address, port }: LoggedEnd, { icmp }: LoggedPacket): string {
  return port === 0 && icmp !== undefined ? formatAddress(address) : formatEnd(address, port);
}

function textOf({ action, protocol, source, destination, fromZone, toZone, rule }: RuleLogLine): string {
  return `${action} ${protocol} ${source} > ${destination} (${fromZone} to ${toZone}, rule ${rule})`;
}
