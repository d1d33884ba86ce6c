/**
 * Flood: spoofed SYNs from outside to the forwarded port, as fast as hping3 can send, while the drills' traffic goes on. Owns what
 * must hold then: established connections lose nothing, new ones get through, the flow table keeps its limits.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { labStage } from "../drill/lab-stage.ts";
import { measureTraffic } from "../drill/measure.ts";
import { statusOf } from "../lab/ask.ts";
import { type Lab, waitSettled } from "../lab/lab.ts";
import { clientAddresses, NAT_POOL } from "../lab/topology.ts";
import { pause } from "../lab/wait.ts";
import { dropsOf } from "./drops.ts";
import { Hosts } from "./hosts.ts";
import type { Finding } from "./model.ts";
import { requireTools } from "./tools.ts";

const FORWARDED_PORT = "8080";
const SAMPLE_INTERVAL_MS = 500;
const WARM_UP_MS = 2_000;
const PROBE_FLOWS = 2;
/** Of new connections from inside. Their own time says little: the flood takes what CPU the clients of a small machine need. */
const SYNS_REPEATED_SHARE_MAX = 0.01;
/** Of the probes of established UDP flows; what one full ring of a busy machine costs, not what a full table would. */
const PROBES_LOST_SHARE_MAX = 0.01;

export interface FloodSight {
  readonly seconds: number;
  readonly synsSent: number;
  readonly flowsMost: number;
  readonly flowsMax: number;
  readonly connections: { readonly established: number; readonly broken: number };
  readonly isDownloadRight: boolean;
  readonly packets: { readonly sent: number; readonly lost: number };
  /** New connections from inside. */
  readonly visits: { readonly attempted: number; readonly failed: number };
  /** SYNs that the client's host sent again: the first was lost, or waited for too long on its way. */
  readonly synsRepeated: number;
  /** New connections from a true outside host to the flooded port. */
  readonly calls: { readonly attempted: number; readonly failed: number };
  readonly drops: Readonly<Record<string, number>>;
}

/** Floods a standing lab for `seconds`. */
export async function runFlood(
  lab: Lab,
  seconds: number,
): Promise<{ findings: Finding[]; sight: FloodSight }> {
  requireTools(["hping3", "curl"]);
  await waitSettled(lab);
  const hosts = new Hosts(lab.state.options.name);
  const startedMs = performance.now();
  try {
    const sight = await flood(lab, hosts, seconds);
    const tookMs = Math.round(performance.now() - startedMs);
    const missing = lab.state.topology.features.defence ? "fail" : "not-yet";
    const findings = judgeFlood(sight).map(({ check, isKept, detail }): Finding => {
      const verdict = isKept ? "pass" : missing;
      lab.context.progress(`${check}: ${verdict}: ${detail}`);
      return { check, family: 4, during: "nothing", verdict, detail, tookMs };
    });
    return { findings, sight };
  } finally {
    await hosts.endAll();
  }
}

async function flood(lab: Lab, hosts: Hosts, seconds: number): Promise<FloodSight> {
  const stage = labStage(lab);
  const addresses = clientAddresses().slice(0, PROBE_FLOWS);
  const before = await dropsOf(lab);
  const repeatedBefore = await synsRepeated(hosts);
  const traffic = await stage.startTraffic({ probeAddresses: addresses, downloadAddress: addresses[0]! });
  try {
    const fromMs = stage.nowMs();
    await stage.pause(WARM_UP_MS);
    const faultAtMs = stage.nowMs();
    lab.context.progress(`flood: spoofed SYNs to ${NAT_POOL[0]}:${FORWARDED_PORT} for ${seconds} s`);
    const hping = hosts.start("server", [
      ...["hping3", "--flood", "--rand-source", "-q", "-S", "-p", FORWARDED_PORT, NAT_POOL[0]],
    ]);
    const endMs = performance.now() + seconds * 1000;
    const [fill, calls] = await Promise.all([watchTable(lab, endMs), callOften(hosts, endMs)]);
    hping.signal("SIGINT");
    const { err, out } = await hping.within(SAMPLE_INTERVAL_MS * 10);
    const synsSent = Number(/(\d+) packets transmitted/.exec(err + out)?.[1] ?? 0);
    const report = await traffic.end();
    const flows = addresses.map((address) => ({ address, owner: "" }));
    const { connections, download, packets, visits } = measureTraffic(report, flows, { fromMs, faultAtMs });
    return {
      ...{ seconds, synsSent, ...fill, calls, connections, packets, visits },
      synsRepeated: (await synsRepeated(hosts)) - repeatedBefore,
      isDownloadRight: download.isHashRight,
      drops: (await dropsOf(lab)).since(before),
    };
  } finally {
    traffic.kill();
  }
}

/** What must hold, one line each. Pure. */
export function judgeFlood(sight: FloodSight): { check: string; isKept: boolean; detail: string }[] {
  const { connections, packets, visits, calls, flowsMost, flowsMax, synsSent, seconds } = sight;
  const share = packets.sent === 0 ? 1 : packets.lost / packets.sent;
  const rate = Math.round(synsSent / seconds / 1000);
  return [
    {
      check: "flood-established",
      isKept: connections.established > 0 && connections.broken === 0 && sight.isDownloadRight,
      detail: `${connections.established - connections.broken} of ${connections.established} connections alive, download ${sight.isDownloadRight ? "right" : "wrong"}`,
    },
    {
      check: "flood-packets",
      isKept: share <= PROBES_LOST_SHARE_MAX,
      detail: `${packets.lost} of ${packets.sent} packets of established flows lost`,
    },
    {
      check: "flood-new-inside",
      isKept:
        visits.attempted > 0 &&
        visits.failed === 0 &&
        sight.synsRepeated <= visits.attempted * SYNS_REPEATED_SHARE_MAX,
      detail: `${visits.attempted - visits.failed} of ${visits.attempted} new connections from inside, ${sight.synsRepeated} SYNs sent again`,
    },
    {
      check: "flood-new-outside",
      isKept: calls.attempted > 0 && calls.failed === 0,
      detail: `${calls.attempted - calls.failed} of ${calls.attempted} new connections from outside to the flooded port`,
    },
    {
      check: "flood-table",
      isKept: synsSent > 0 && flowsMost < flowsMax,
      detail: `${synsSent} SYNs (${rate},000 a second); at most ${flowsMost} of ${flowsMax} flows`,
    },
  ];
}

async function watchTable(lab: Lab, endMs: number): Promise<{ flowsMost: number; flowsMax: number }> {
  const nodes = lab.state.topology.members.filter(({ role }) => role === "node");
  let flowsMost = 0;
  let flowsMax = 0;
  while (performance.now() < endMs) {
    for (const { name } of nodes) {
      const { dataplane } = (await statusOf(lab.context.ask, lab.paths.socket(name))) ?? {};
      flowsMost = Math.max(flowsMost, dataplane?.flows ?? 0);
      flowsMax = Math.max(flowsMax, dataplane?.flowsMax ?? 0);
    }
    await pause(SAMPLE_INTERVAL_MS, lab.context.abort);
  }
  if (flowsMax === 0) throw new SynwallError("SW_LAB_FAILED", "no node told how full its table is");
  return { flowsMost, flowsMax };
}

/** SYNs that the client's host has sent again so far (TcpExt TCPSynRetrans). */
async function synsRepeated(hosts: Hosts): Promise<number> {
  const { out } = await hosts.run("client", ["cat", "/proc/net/netstat"]);
  const [names, values] = out.split("\n").filter((line) => line.startsWith("TcpExt:"));
  const at = names?.split(" ").indexOf("TCPSynRetrans") ?? -1;
  return Number(values?.split(" ")[at] ?? 0);
}

/** A true visitor of the flooded port, once and again. */
async function callOften(hosts: Hosts, endMs: number): Promise<{ attempted: number; failed: number }> {
  const url = `http://${NAT_POOL[0]}:${FORWARDED_PORT}/`;
  let attempted = 0;
  let failed = 0;
  while (performance.now() < endMs) {
    attempted++;
    const { status } = await hosts.run("server", ["curl", "-sS", "-o", "/dev/null", "-m", "10", url]);
    if (status !== 0) failed++;
    await pause(SAMPLE_INTERVAL_MS);
  }
  return { attempted, failed };
}
