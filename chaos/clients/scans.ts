/**
 * Scans from outside: nmap's kinds against hosts inside and a pool address, on ports that no rule opens. Each probe must be
 * dropped, none answered, and all of them counted. Owns the kinds and their judgement.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Lab, waitSettled } from "../lab/lab.ts";
import {
  clientAddresses,
  clientAddresses6,
  NAT_POOL,
  SERVER_ADDRESS,
  SERVER_ADDRESS6,
  WEB_ADDRESS,
} from "../lab/topology.ts";
import { poll } from "../lab/wait.ts";
import { Capture } from "./capture.ts";
import { dropsOf } from "./drops.ts";
import { Hosts } from "./hosts.ts";
import { CheckFailure, type Family, type Finding, lastWords } from "./model.ts";
import { requireTools } from "./tools.ts";

export interface ScanKind {
  readonly name: string;
  readonly flags: readonly string[];
  readonly families: readonly Family[];
  /** One probe is several frames. */
  readonly isFragmented?: boolean;
}

const BOTH: readonly Family[] = [4, 6];

export const SCAN_KINDS: readonly ScanKind[] = [
  { name: "scan-syn", flags: ["-sS"], families: BOTH },
  { name: "scan-ack", flags: ["-sA"], families: BOTH },
  { name: "scan-fin", flags: ["-sF"], families: BOTH },
  { name: "scan-null", flags: ["-sN"], families: BOTH },
  { name: "scan-xmas", flags: ["-sX"], families: BOTH },
  { name: "scan-window", flags: ["-sW"], families: BOTH },
  // nmap makes fragments of IPv4 packets only.
  { name: "scan-fragments", flags: ["-sS", "-f"], families: [4], isFragmented: true },
];

const FIRST_PORT = 1;
/** Below 8080, which is forwarded. */
const LAST_PORT = 200;
const PROBES_PER_SECOND = ["--min-rate", "300", "--max-rate", "1500"];
const COUNT_TIMEOUT_MS = 5_000;
const SCAN_TIMEOUT_MS = 60_000;

/** What the capture and the counters saw of one scan. */
export interface ScanSight {
  readonly probes: number;
  /** Frames that left the scanner. */
  readonly sent: number;
  /** Frames from the targets to the scanner. */
  readonly answers: number;
  /** Frames of the scanner's on an inside wire. */
  readonly leaked: number;
  /** By reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly open: readonly string[];
}

/** Runs all scans of `families` and answers a finding for each. */
export async function runScans(lab: Lab, families: readonly Family[]): Promise<Finding[]> {
  requireTools(["nmap", "tcpdump"]);
  await waitSettled(lab);
  const hosts = new Hosts(lab.state.options.name);
  const directory = join(lab.paths.dataDirectory, "scans");
  mkdirSync(directory, { recursive: true });
  const findings: Finding[] = [];
  try {
    for (const family of families) {
      for (const kind of SCAN_KINDS.filter((each) => each.families.includes(family))) {
        lab.context.abort?.throwIfAborted();
        const finding = await examine(lab, hosts, directory, { family, kind });
        lab.context.progress(`${kind.name} IPv${family}: ${finding.verdict}: ${finding.detail}`);
        findings.push(finding);
      }
    }
    return findings;
  } finally {
    await hosts.endAll();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function examine(
  lab: Lab,
  hosts: Hosts,
  directory: string,
  { family, kind }: { readonly family: Family; readonly kind: ScanKind },
): Promise<Finding> {
  const startedMs = performance.now();
  const found = (verdict: Finding["verdict"], detail: string): Finding => {
    const tookMs = Math.round(performance.now() - startedMs);
    return { check: kind.name, family, during: "nothing", verdict, detail, tookMs };
  };
  if (family === 6 && !lab.state.topology.features.ipv6) {
    return found("not-yet", "not tried: IPv6 is off in this lab");
  }
  try {
    return found("pass", judgeScan(kind, await scan(lab, hosts, directory, { family, kind })));
  } catch (error) {
    if (!(error instanceof CheckFailure)) throw error;
    return found("fail", error.message);
  }
}

async function scan(
  lab: Lab,
  hosts: Hosts,
  directory: string,
  { family, kind }: { readonly family: Family; readonly kind: ScanKind },
): Promise<ScanSight> {
  const scanner = family === 4 ? SERVER_ADDRESS : SERVER_ADDRESS6;
  const targets =
    family === 4 ? [clientAddresses()[0]!, WEB_ADDRESS, NAT_POOL[1]] : clientAddresses6().slice(0, 2);
  const ip = family === 4 ? "ip" : "ip6";
  const before = await dropsOf(lab);
  const outside = await Capture.start(hosts, "server", join(directory, "outside"), ip);
  const inside = await Capture.start(hosts, "web", join(directory, "inside"), `${ip} and src ${scanner}`);
  const flags = [...kind.flags, ...(family === 6 ? ["-6"] : []), ...PROBES_PER_SECOND];
  const outcome = await hosts.run(
    "server",
    [
      ...["nmap", "-Pn", "-n", "--disable-arp-ping", "--max-retries", "0", ...flags],
      ...["-p", `${FIRST_PORT}-${LAST_PORT}`, "-oG", "-", ...targets],
    ],
    { timeoutMs: SCAN_TIMEOUT_MS },
  );
  if (outcome.status !== 0) throw new CheckFailure(`nmap: ${lastWords(outcome)}`);
  const probes = targets.length * (LAST_PORT - FIRST_PORT + 1);
  // The last probes may still be on their way to the counters.
  await poll(async () => sum((await dropsOf(lab)).since(before)) >= probes, COUNT_TIMEOUT_MS);
  await outside.stop();
  await inside.stop();
  const toTargets = targets.map((target) => `dst ${target}`).join(" or ");
  const fromTargets = targets.map((target) => `src ${target}`).join(" or ");
  return {
    probes,
    sent: await outside.count(`${ip} and src ${scanner} and (${toTargets})`),
    answers: await outside.count(`${ip} and (${fromTargets})`),
    leaked: await inside.count(ip),
    drops: (await dropsOf(lab)).since(before),
    open: [...outcome.out.matchAll(/(\d+)\/open\/tcp/g)].map(([, port]) => port!),
  };
}

/** One line about a scan that was refused as it must be; throws CheckFailure otherwise. Pure. */
export function judgeScan(kind: ScanKind, { probes, sent, answers, leaked, drops, open }: ScanSight): string {
  const counted = sum(drops);
  const reasons = Object.entries(drops).map(([reason, count]) => `${reason} ${count}`);
  const line = `${probes} probes in ${sent} frames, ${counted} counted (${reasons.join(", ")})`;
  if (sent < probes) throw new CheckFailure(`nmap sent only ${sent} frames for ${probes} probes`);
  if (answers > 0) throw new CheckFailure(`${answers} answers; ${line}`);
  if (leaked > 0) throw new CheckFailure(`${leaked} frames got inside; ${line}`);
  if (open.length > 0) throw new CheckFailure(`nmap calls ports ${open.join(", ")} open; ${line}`);
  // Fragments may be counted one by one, or as the packet that they make.
  const isCounted = kind.isFragmented ? counted >= probes && counted <= sent : counted === sent;
  if (!isCounted) throw new CheckFailure(`not all counted: ${line}`);
  return `${line}, none answered`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
