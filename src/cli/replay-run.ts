/**
 * Replay run: from files to lines. Reads the policy and the capture, prints each packet, the flows at the end and the sums, as
 * text or as JSON lines. Owns the wording; the engine's part is node/replay/.
 */
import { loadPolicyFile, type PolicyFile } from "../../config/policy-file.ts";
import { SynwallError } from "../base/errors.ts";
import type { FlowEnd, FlowSnapshot } from "../dataplane/flow-reader.ts";
import { VERDICT_DROP_BASE, verdictName } from "../dataplane/verdict.ts";
import { CaptureReader } from "../io/pcap/reader.ts";
import { CaptureWriter } from "../io/pcap/writer.ts";
import { ANY_KEY, keyOf } from "../node/replay/facts.ts";
import type { IngressRule } from "../node/replay/ingress.ts";
import {
  destinationText,
  endsText,
  endText,
  kindText,
  packetText,
  protocolText,
  sourceText,
} from "../node/replay/packet-text.ts";
import type { PacketView } from "../node/replay/packet-view.ts";
import { DEFAULT_RULE, Replay, type ReplayedPacket } from "../node/replay/replay.ts";
import { verdictMeaning } from "../node/replay/verdict-text.ts";
import type { LinkZone, ReplayCommandOptions } from "./commands/replay.ts";
import { formatCount, formatMs, type Terminal, table } from "./terminal.ts";

/** Runs a replay and prints it. Answers what was wrong with the capture's end, if anything was. */
export function runReplay(
  path: string,
  options: ReplayCommandOptions,
  terminal: Terminal,
): string | undefined {
  const file = loadPolicyFile(options.policy);
  const replay = new Replay({
    policy: file.policy,
    slots: file.slots,
    key: keyOf(file) ?? ANY_KEY,
    flowsMax: file.flowsMax,
    mtuBytes: options.mtu,
    ingress: ingressRule(file, options),
  });
  const reader = new CaptureReader(path);
  const writer = options.write === undefined ? undefined : new CaptureWriter(options.write);
  const printer = new Printer(file, options, terminal);
  try {
    for (let captured = reader.next(); captured !== undefined; captured = reader.next()) {
      const packet = replay.take(captured);
      if (packet === undefined) continue;
      if (options.summary !== true) printer.packet(packet, replay.counts.firstMs);
      for (const { frame } of packet.sent) writer?.write(packet.timeMs, frame);
    }
  } finally {
    reader.close();
    writer?.close();
  }
  printer.end(replay);
  return reader.problem;
}

function ingressRule(file: PolicyFile, { zone, in: links }: ReplayCommandOptions): IngressRule {
  if (zone !== undefined && links.length > 0) {
    throw new SynwallError(
      "SW_TRACE_INVALID",
      "--zone and --in: only one of them tells the zone: leave one out",
    );
  }
  if (zone !== undefined) return { kind: "zone", zone: zoneId(file, "zone", zone) };
  if (links.length === 0) return { kind: "route" };
  const idOf = ({ link, zone: name }: LinkZone): [string, number] => [link, zoneId(file, "in", name)];
  return { kind: "link", zones: new Map(links.map(idOf)) };
}

function zoneId({ policy }: PolicyFile, field: string, name: string): number {
  const zone = policy.zones.find((candidate) => candidate.name === name);
  if (zone !== undefined) return zone.id;
  const names = policy.zones.map((candidate) => candidate.name).join(", ");
  throw new SynwallError(
    "SW_TRACE_INVALID",
    `--${field} ${name}: the policy has no such zone: use one of ${names}`,
  );
}

class Printer {
  readonly #file: PolicyFile;
  readonly #options: ReplayCommandOptions;
  readonly #terminal: Terminal;

  constructor(file: PolicyFile, options: ReplayCommandOptions, terminal: Terminal) {
    this.#file = file;
    this.#options = options;
    this.#terminal = terminal;
  }

  packet(packet: ReplayedPacket, firstMs: number): void {
    if (this.#options.json) {
      this.#json({
        type: "packet",
        number: packet.number,
        time: new Date(packet.timeMs).toISOString(),
        seconds: Number(((packet.timeMs - firstMs) / 1000).toFixed(6)),
        zone: this.#zoneName(packet.zone),
        verdict: verdictName(packet.verdict),
        isDropped: packet.verdict >= VERDICT_DROP_BASE,
        meaning: verdictMeaning(packet.verdict),
        ...(packet.rule === "" ? {} : { rule: packet.rule }),
        packet: fieldsOf(packet.view),
        sent: packet.sent.map(({ zone, view }) => ({
          zone: this.#zoneName(zone),
          ...(view === undefined ? {} : { packet: fieldsOf(view) }),
        })),
      });
      return;
    }
    const seconds = ((packet.timeMs - firstMs) / 1000).toFixed(6).padStart(11);
    const verdict = verdictName(packet.verdict);
    const rule = packet.rule === "" ? "-" : packet.rule;
    const meaning = packet.verdict < VERDICT_DROP_BASE ? "" : `  (${verdictMeaning(packet.verdict)})`;
    const way = `${this.#zoneName(packet.zone)}: ${packetText(packet.view)}${this.#sentText(packet)}`;
    this.#terminal.out(`${seconds}  ${verdict.padEnd(14)} ${rule.padEnd(12)} ${way}${meaning}\n`);
  }

  end(replay: Replay): void {
    const { flows, total } = replay.flows(this.#options.flows);
    if (this.#options.json) {
      for (const flow of flows) this.#json({ type: "flow", ...this.#flowFields(flow, replay.nowMs) });
      this.#json({ type: "summary", ...this.#sums(replay, total) });
      return;
    }
    this.#terminal.out(this.#flowTable(flows, total, replay.nowMs));
    this.#terminal.out(this.#sumText(replay));
  }

  /** What left: the packet itself as it was translated, or what the engine sent of its own. */
  #sentText({ view, sent, verdict }: ReplayedPacket): string {
    return sent
      .map(({ zone, view: left }): string => {
        const place = this.#zoneName(zone);
        if (left === undefined) return ` -> ${place}`;
        const isSame =
          verdict < VERDICT_DROP_BASE && left.protocol === view.protocol && kindText(left) === kindText(view);
        if (!isSame) return ` -> ${place}: ${packetText(left)}`;
        const isUntouched = endsText(left) === endsText(view);
        return isUntouched ? ` -> ${place}` : ` -> ${place}: ${endsText(left)}`;
      })
      .join("");
  }

  #flowTable(flows: readonly FlowSnapshot[], total: number, nowMs: number): string {
    if (total === 0) return "\nno flow at the end\n";
    const rows = flows.map((flow) => {
      const fields = this.#flowFields(flow, nowMs);
      const { original, reply } = fields;
      return [
        fields.protocol,
        fields.state,
        original.source,
        original.destination,
        original.source === reply.destination ? "-" : reply.destination,
        original.destination === reply.source ? "-" : reply.source,
        fields.packets.join("/"),
        formatMs(fields.expiresInMs),
        fields.rule,
      ];
    });
    const columns = [
      "PROTO",
      "STATE",
      "FROM",
      "TO",
      "SOURCE AFTER",
      "DESTINATION AFTER",
      "PACKETS",
      "ENDS IN",
      "RULE",
    ];
    const listed = table(
      columns.map((title) => ({ title, isRight: title === "ENDS IN" })),
      rows,
    );
    const hidden = total - flows.length;
    const more = hidden > 0 ? `${formatCount(hidden)} more: raise --flows\n` : "";
    return `\nflows at the end: ${formatCount(total)}\n${flows.length > 0 ? listed : ""}${more}`;
  }

  #sumText(replay: Replay): string {
    const { counts } = replay;
    const lines = [`\npackets   ${formatCount(counts.read)} read, ${formatCount(counts.replayed)} replayed`];
    for (const [reason, count] of counts.skipped) lines.push(`left out  ${formatCount(count)}: ${reason}`);
    if (counts.filled > 0) {
      lines.push(`cut short ${formatCount(counts.filled)}: what the capture lacks was filled with zeros`);
    }
    const verdicts = [...counts.verdicts].sort((a, b) => b[1] - a[1]);
    for (const [verdict, count] of verdicts) {
      lines.push(
        `${formatCount(count).padStart(9)} ${verdictName(verdict).padEnd(16)} ${verdictMeaning(verdict)}`,
      );
    }
    lines.push("rule hits, for first packets of flows:");
    for (const { name, hits } of this.#hits(replay)) lines.push(`${formatCount(hits).padStart(9)} ${name}`);
    return `${lines.join("\n")}\n`;
  }

  #sums(replay: Replay, flows: number): object {
    const { counts } = replay;
    return {
      read: counts.read,
      replayed: counts.replayed,
      filled: counts.filled,
      skipped: Object.fromEntries(counts.skipped),
      verdicts: Object.fromEntries(
        [...counts.verdicts].map(([verdict, count]) => [verdictName(verdict), count]),
      ),
      flows,
      ruleHits: Object.fromEntries(this.#hits(replay).map(({ name, hits }) => [name, hits])),
    };
  }

  /** Rules that were hit, in order, and the default. */
  #hits(replay: Replay): { name: string; hits: number }[] {
    const { rules } = this.#file.policy;
    return Array.from(replay.ruleHits, (hits, i) => ({ name: rules[i]?.name ?? DEFAULT_RULE, hits })).filter(
      ({ hits }) => hits > 0,
    );
  }

  #flowFields(flow: FlowSnapshot, nowMs: number) {
    const { original, reply } = flow;
    const end = ({ address, port }: FlowEnd): string => endText(address, port);
    return {
      protocol: protocolText(flow.protocol),
      state: flow.state,
      original: { source: end(original.source), destination: end(original.destination) },
      reply: { source: end(reply.source), destination: end(reply.destination) },
      zones: flow.zones.map((zone) => this.#zoneName(zone)),
      packets: flow.packets,
      bytes: flow.bytes,
      expiresInMs: Math.max(0, Math.round(flow.deadlineMs - nowMs)),
      rule: this.#file.policy.rules[flow.rule]?.name ?? "",
    };
  }

  #zoneName(id: number): string {
    return this.#file.policy.zones.find((zone) => zone.id === id)?.name ?? "?";
  }

  #json(value: object): void {
    this.#terminal.out(`${JSON.stringify(value)}\n`);
  }
}

function fieldsOf(view: PacketView): object {
  const { tcpFlags, icmpType, icmpCode, icmpId, inner } = view;
  return {
    protocol: protocolText(view.protocol),
    source: sourceText(view),
    destination: destinationText(view),
    hops: view.hops,
    bytes: view.totalBytes,
    ...(tcpFlags === undefined ? {} : { flags: tcpFlags }),
    ...(icmpType === undefined ? {} : { icmpType, icmpCode }),
    ...(icmpId === undefined ? {} : { icmpId }),
    ...(inner === undefined ? {} : { about: packetText(inner) }),
  };
}
