/**
 * Checks of a simulated cluster that look at all members at once, as no lab can: whether what the network depends on is on two
 * machines, and whether copies are alike. What drills measure is judged elsewhere (chaos/drill).
 */
import { type FlowEnd, FlowReader, type FlowSnapshot } from "../../../src/dataplane/flow-reader.ts";
import type { FrameInFlight } from "../../../src/io/memory-segment.ts";
import { PROTOCOL_TCP } from "../../../src/packet/ipv4.ts";
import { ACK, SYN } from "../../../src/packet/tcp.ts";
import { formatAddress, formatEnd } from "../../../src/policy/address.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./member.ts";
import { readIp, readTcp } from "./packets.ts";

const FLOWS_MAX = 1_000_000;
const FINDINGS_MAX = 20;

/**
 * Commit before the network depends on it: when the first packet of a translated TCP flow leaves to the outside, two nodes have
 * the flow. To be armed while nobody is missing: a node alone goes on without, and counts it.
 */
export class CommitWatch {
  readonly findings: string[] = [];
  isArmed = false;
  /** Flows that were looked at. */
  watched = 0;
  readonly #cluster: SimCluster;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    cluster.onSent = (frame) => this.#onSent(frame);
  }

  #onSent({ segment, from, bytes }: FrameInFlight): void {
    const { wires, members, clock } = this.#cluster;
    if (!this.isArmed || segment !== wires.segments.outside || !from.name.startsWith("fw")) return;
    const datagram = readIp(bytes);
    if (datagram?.protocol !== PROTOCOL_TCP) return;
    const { flags, sourcePort } = readTcp(datagram.body);
    if ((flags & (SYN | ACK)) !== SYN) return;
    this.watched++;
    const query = { protocol: PROTOCOL_TCP, source: datagram.source, port: sourcePort };
    const holders = members.filter((member) => readerOf(member)?.list(query, 1).total);
    if (holders.length >= 2 || this.findings.length >= FINDINGS_MAX) return;
    const flow = `${formatAddress(datagram.source)}:${sourcePort}`;
    this.findings.push(`at ${clock.nowMs().toFixed(3)} ms ${flow} went out, and only ${from.name} has it`);
  }
}

/** Flows that a slot's owner and its backup do not both have. For a settled cluster at rest. */
export async function unlikeReplicas(cluster: SimCluster): Promise<string[]> {
  const nodes = cluster.members.filter((member) => member.isNode && member.isRunning);
  const { slots } = await nodes[0]!.ask("status", {});
  const tables = new Map(nodes.map((node) => [node.id, flowsBySlot(node)]));
  const findings: string[] = [];
  slots.owner.forEach((owner, slot) => {
    const backup = slots.backup[slot]!;
    if (backup === 0) return;
    const [kept, copied] = [tables.get(owner)?.get(slot), tables.get(backup)?.get(slot)];
    for (const flow of difference(kept, copied)) findings.push(`slot ${slot}: only its owner has ${flow}`);
    for (const flow of difference(copied, kept)) findings.push(`slot ${slot}: only its backup has ${flow}`);
  });
  return findings.slice(0, FINDINGS_MAX);
}

/** External tuples that two flows have, wherever their records are. For a settled cluster at rest. */
export function sharedTuples(cluster: SimCluster): string[] {
  const holders = new Map<string, string>();
  const findings: string[] = [];
  for (const node of cluster.members.filter((member) => member.isNode)) {
    for (const { protocol, original, reply } of readerOf(node)?.list({}, FLOWS_MAX).flows ?? []) {
      const tuple = `${protocol} ${textOf(reply.destination)} > ${textOf(reply.source)}`;
      const flow = `${textOf(original.source)} > ${textOf(original.destination)}`;
      const holder = holders.get(tuple) ?? flow;
      holders.set(tuple, holder);
      if (holder !== flow) findings.push(`${tuple} is given to ${holder} and to ${flow}`);
    }
  }
  return findings.slice(0, FINDINGS_MAX);
}

function textOf({ address, port }: FlowEnd): string {
  return formatEnd(address, port);
}

function readerOf(member: SimMember): FlowReader | undefined {
  const memory = member.running?.memory;
  return memory === undefined ? undefined : new FlowReader(memory.flows);
}

function flowsBySlot(member: SimMember): Map<number, Set<string>> {
  const bySlot = new Map<number, Set<string>>();
  for (const flow of readerOf(member)?.list({}, FLOWS_MAX).flows ?? []) {
    const flows = bySlot.get(flow.slot) ?? new Set();
    bySlot.set(flow.slot, flows.add(nameOf(flow)));
  }
  return bySlot;
}

function nameOf({ protocol, original, reply }: FlowSnapshot): string {
  const way = `${textOf(original.source)} > ${textOf(original.destination)}`;
  return `${protocol} ${way}, answered to ${textOf(reply.destination)}`;
}

function difference(
  these: ReadonlySet<string> = new Set(),
  those: ReadonlySet<string> = new Set(),
): string[] {
  return [...these].filter((flow) => !those.has(flow));
}
