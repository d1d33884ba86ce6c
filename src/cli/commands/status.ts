/**
 * `synwall status`: what the cluster looks like from one node, for an operator who was just woken up.
 */
import type { Command } from "commander";
import { SynwallError } from "../../base/errors.ts";
import type { MemberProcess, PeerStatus, StatusReport, UnprotectedFlows } from "../../node/admin-model.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import {
  formatBytes,
  formatCount,
  formatMs,
  formatShare,
  printJson,
  type Terminal,
  table,
} from "../terminal.ts";

/** `--json` has all of them. */
const NAT_ADDRESSES_SHOWN = 16;
const BUILD_DIGITS = 6;

export function addStatusCommand(program: Command, terminal: Terminal): void {
  withAskOptions(program.command("status"))
    .description("epoch, leader, members, slots by owner, sync lag, readiness, alerts")
    .action(async (options: AskOptions) => {
      const socket = chooseSocket(options.socket);
      const status = await adminCall(socket, "status", {});
      const processes = await processesBy(socket);
      if (options.json) printJson(terminal, processes.length === 0 ? status : { ...status, processes });
      else terminal.out(formatStatus(status, processes));
    });
}

/** What members run; empty when the one that is asked is too old to tell. */
export async function processesBy(socket: string): Promise<readonly MemberProcess[]> {
  try {
    return (await adminCall(socket, "cluster.processes", {})).members;
  } catch (error) {
    if (error instanceof SynwallError && error.code === "SW_ADMIN_BAD_REQUEST") return [];
    throw error;
  }
}

/** "0.1.0 (3f2a41)": the beginning of a build's name tells it from others. */
export function runsText(process: MemberProcess | undefined): string {
  if (process?.version === undefined) return "?";
  const build = process.process?.build ?? "";
  return build === "" ? process.version : `${process.version} (${build.slice(0, BUILD_DIGITS)})`;
}

/** Versions of records that a node reads and writes. */
export function recordsText(process: MemberProcess | undefined): string {
  const versions = process?.process?.recordVersions ?? [];
  return versions.length === 0 ? "-" : versions.join(", ");
}

export function formatStatus(status: StatusReport, processes: readonly MemberProcess[] = []): string {
  return [
    `${headline(status)}\n`,
    ...storeLine(status),
    `${verdict(status)}\n`,
    ...alertLines(status),
    ...mixedLine(processes),
    `\n${memberTable(status, processes)}`,
    ...syncSection(status),
    ...natSection(status),
    ...selfLines(status),
  ].join("");
}

function headline(status: StatusReport): string {
  const { cluster, node, role, epoch, leader, version, uptimeMs, raft } = status;
  return `cluster ${cluster}, seen from ${role} ${node}: epoch ${epoch}, leader ${leader === "" ? "nobody" : leader}, term ${raft.term}; Synwall ${version}, up ${formatMs(uptimeMs)}`;
}

function storeLine({ store }: StatusReport): string[] {
  if (store === undefined) return [];
  const how = store.refusal !== "" ? "REFUSED" : store.isConnected ? "answers" : "DOES NOT ANSWER";
  return [`log kept in etcd at ${store.place}: ${how}\n`];
}

function verdict(status: StatusReport): string {
  const isFenced = status.lease?.isFenced ?? false;
  if (isFenced)
    return "FENCED: this node hears no majority. It forwards established flows and makes no new ones. Check its links.";
  if (!status.isReady)
    return "NOT READY: this node does not yet hold all flows that it must hold. Do not stop another node now.";
  if (!status.isSettled)
    return "SETTLING: some slots are changing hands or have no proven backup. Do not stop a node now.";
  return "OK: every slot has an owner and, where two nodes are up, a proven backup.";
}

function alertLines(status: StatusReport): string[] {
  return status.alerts.map((alert) => `  ! ${alert}\n`);
}

/** Members understand each other, but nobody wants to stay half-way. */
function mixedLine(processes: readonly MemberProcess[]): string[] {
  const builds = new Set(processes.filter(({ isReachable }) => isReachable).map(runsText));
  return builds.size < 2
    ? []
    : [
        "  ! members run different builds: 'synwall upgrade', of the newer one, goes on from member to member\n",
      ];
}

function memberTable(status: StatusReport, processes: readonly MemberProcess[]): string {
  const peers = new Map(status.peers.map((peer) => [peer.id, peer]));
  const rows = status.members.map((member) => {
    const isNode = member.role === "node";
    return [
      member.name + (member.id === status.id ? " *" : ""),
      member.role,
      member.state,
      isNode ? String(member.slotsOwned) : "-",
      isNode ? String(member.slotsBackedUp) : "-",
      ...(processes.length === 0 ? [] : build(processes.find(({ id }) => id === member.id))),
      member.id === status.id ? "(this one)" : heard(peers.get(member.id)),
    ];
  });
  const runs = ["RUNS", "RECORDS"].map((title) => ({ title }));
  return table(
    [
      { title: "MEMBER" },
      { title: "ROLE" },
      { title: "STATE" },
      { title: "OWNS", isRight: true },
      { title: "BACKS UP", isRight: true },
      ...(processes.length === 0 ? [] : runs),
      { title: "HEARD ON" },
    ],
    rows,
  );
}

function build(process: MemberProcess | undefined): string[] {
  return [runsText(process), recordsText(process)];
}

/** Links on which the peer is heard, and silent ones called out. */
function heard(peer: PeerStatus | undefined): string {
  if (peer === undefined) return "-";
  const links = Object.entries(peer.links);
  const up = links.filter(([, isUp]) => isUp).map(([name]) => name);
  const silent = links.filter(([, isUp]) => !isUp).map(([name]) => name);
  if (up.length === 0) return "nothing: silent on all links";
  return up.join(", ") + (silent.length > 0 ? `; silent on ${silent.join(", ")}` : "");
}

function syncSection(status: StatusReport): string[] {
  const rows = status.peers.flatMap((peer) =>
    peer.sync === undefined
      ? []
      : [
          [
            peer.name,
            peer.sync.connected ? "connected" : "BROKEN",
            formatMs(peer.sync.lagMs),
            formatCount(peer.sync.lagRecords),
            formatBytes(peer.sync.lagBytes),
            formatMs(peer.sync.ack.p50Ms),
            formatMs(peer.sync.ack.p99Ms),
            formatMs(peer.sync.ack.maxMs),
            String(peer.sync.resyncs),
          ],
        ],
  );
  if (rows.length === 0) return [];
  const titles = ["LAG", "RECORDS", "BYTES", "ACK P50", "P99", "MAX", "RESYNCS"];
  return [
    `\n${table([{ title: "SYNC TO" }, { title: "STREAM" }, ...titles.map((title) => ({ title, isRight: true }))], rows)}`,
  ];
}

/** Pool addresses that matter most: who refused, then who is used most. */
function natSection({ dataplane }: StatusReport): string[] {
  const nat = dataplane?.nat ?? [];
  if (nat.length === 0) return [];
  const sorted = [...nat].sort((a, b) => b.refused - a.refused || b.portsInUse - a.portsInUse);
  const rows = sorted
    .slice(0, NAT_ADDRESSES_SHOWN)
    .map(({ address, portsInUse, refused, isRetired }) => [
      address,
      formatCount(portsInUse),
      formatCount(refused),
      isRetired ? "no longer in the policy: until its flows end" : "",
    ]);
  const titles = ["PORTS IN USE", "REFUSED"].map((title) => ({ title, isRight: true }));
  const more = nat.length - rows.length;
  return [
    `\n${table([{ title: "NAT ADDRESS" }, ...titles, { title: "" }], rows)}`,
    ...(more > 0 ? [`${more} more: --json shows all\n`] : []),
  ];
}

function selfLines(status: StatusReport): string[] {
  const lines: string[] = [];
  if (status.lease !== undefined && !status.lease.isFenced) {
    lines.push(`lease   valid for ${formatMs(status.lease.validForMs)}`);
  }
  const { dataplane } = status;
  if (dataplane !== undefined) {
    const { flows, flowsMax, driver, realtime } = dataplane;
    lines.push(
      `flows   ${formatCount(flows)} of ${formatCount(flowsMax)} (${formatShare(flows, flowsMax)}); driver ${driver}${realtime ? ", real-time" : ""}`,
      `ports   ${dataplane.ports.map((port) => `${port.name} (${port.zone}) ${port.carrier ? "up" : "NO CARRIER"}`).join(", ")}`,
      `drops   ${formatDrops(dataplane.drops)}`,
    );
    if (dataplane.unprotected !== undefined) lines.push(...riskLines(dataplane.unprotected));
  }
  return lines.length === 0 ? [] : ["\n", ...lines.map((line) => `${line}\n`)];
}

/** They would have been lost with this node: until the backup had them after all, or they ended. */
function riskLines({ noPeer, deadline, holdFull }: UnprotectedFlows): string[] {
  const all = noPeer + deadline + holdFull;
  if (all === 0) return [];
  const why = `no backup was up for ${formatCount(noPeer)}, it was too slow for ${formatCount(deadline + holdFull)}`;
  return [`risk    ${formatCount(all)} flows since the start went on before a backup held them: ${why}`];
}

function formatDrops(drops: Readonly<Record<string, number>>): string {
  const counted = Object.entries(drops)
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1]);
  return counted.length === 0
    ? "none"
    : counted.map(([reason, count]) => `${reason} ${formatCount(count)}`).join(", ");
}
