/**
 * Traffic of a drill, seen from its starter: the processes in the lab's hosts, their begin, their quiet end and their
 * results. What they do is in the *-main.ts files.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { moduleCommand, namespaceCommand } from "../lab/processes.ts";
import { run } from "../lab/run.ts";
import { clientAddresses, SERVER_ADDRESS } from "../lab/topology.ts";
import { pause } from "../lab/wait.ts";
import type { LoadArguments, LoadReport } from "./load-client-main.ts";
import { type PingReport, parsePing } from "./ping.ts";
import type { ProbeReport } from "./probe-end.ts";
import type { ProbeArguments } from "./probe-main.ts";

/** New connections a second. */
export const VISITS_PER_SECOND = 500;
const PING_INTERVAL_S = "0.05";
const READY_TIMEOUT_MS = 20_000;
const RESULT_TIMEOUT_MS = 20_000;
/** After the last probe was sent: long enough for it to arrive. */
const QUIET_MS = 500;

export interface TrafficPlan {
  readonly lab: string;
  /** Client addresses of the probes, by flow number. */
  readonly probeAddresses: readonly string[];
  readonly downloadAddress: string;
  /** Absent: VISITS_PER_SECOND. */
  readonly visitsPerSecond?: number;
}

export interface TrafficReport {
  readonly probes: { readonly client: ProbeReport; readonly server: ProbeReport };
  readonly load: LoadReport;
  readonly served: { readonly bulkBytes: number; readonly bulkHash: string; readonly resets: number };
  readonly ping: PingReport;
  /** Probes sent after this are not counted: their answers may not have been heard. */
  readonly quietAtMs: number;
  /** Probes ran with real-time priority. */
  readonly isRealtime: boolean;
}

/** Starts all traffic; answers when every stream stands. */
export async function startTraffic(plan: TrafficPlan): Promise<Traffic> {
  const traffic = new Traffic(plan.lab, await realtimePrefix());
  try {
    await traffic.begin(plan);
    return traffic;
  } catch (error) {
    traffic.kill();
    throw error;
  }
}

export class Traffic {
  readonly #lab: string;
  readonly #realtime: readonly string[];
  readonly #children = new Map<string, TrafficChild>();
  #ping: ChildProcess | undefined;
  #pingText = "";

  constructor(lab: string, realtime: readonly string[]) {
    this.#lab = lab;
    this.#realtime = realtime;
  }

  async begin(plan: TrafficPlan): Promise<void> {
    const addresses = clientAddresses();
    const flows = plan.probeAddresses.map((address, flow) => ({ flow, address }));
    const probe = (role: "client" | "server"): ProbeArguments => ({ role, server: SERVER_ADDRESS, flows });
    const load: LoadArguments = {
      server: SERVER_ADDRESS,
      addresses,
      visitsPerSecond: plan.visitsPerSecond ?? VISITS_PER_SECOND,
      downloadAddress: plan.downloadAddress,
    };
    await Promise.all([
      this.#start("server", "load-server", [SERVER_ADDRESS]),
      this.#start("server", "probe", [JSON.stringify(probe("server"))]),
    ]);
    await this.#start("client", "load-client", [JSON.stringify(load)]);
    await this.#start("client", "probe", [JSON.stringify(probe("client"))]);
    this.#startPing();
  }

  /** Lets the traffic come to its end and answers what it saw. */
  async end(): Promise<TrafficReport> {
    const quietAtMs = nowMs();
    for (const child of this.#children.values()) child.tell("quiet");
    this.#ping?.kill("SIGINT");
    await pause(QUIET_MS);
    const stop = (name: string): Promise<Record<string, unknown>> =>
      this.#children.get(name)!.stop(RESULT_TIMEOUT_MS);
    const [client, server, load] = await Promise.all([
      stop("client probe"),
      stop("server probe"),
      stop("client load-client"),
    ]);
    // Last, since the client still talks to it while it waits for answers.
    const served = await stop("server load-server");
    return {
      probes: {
        client: client as unknown as ProbeReport,
        server: server as unknown as ProbeReport,
      },
      load: load as unknown as LoadReport,
      served: served as unknown as TrafficReport["served"],
      ping: parsePing(this.#pingText),
      quietAtMs,
      isRealtime: this.#realtime.length > 0,
    };
  }

  /** Ends everything at once. */
  kill(): void {
    for (const child of this.#children.values()) child.kill();
    this.#ping?.kill("SIGKILL");
  }

  async #start(host: string, module: string, args: readonly string[]): Promise<void> {
    const name = `${host} ${module}`;
    const command = moduleCommand(`chaos/traffic/${module}-main`, args);
    const prefix = module === "probe" ? this.#realtime : [];
    const child = new TrafficChild(name, namespaceCommand(this.#lab, host, [...prefix, ...command]));
    this.#children.set(name, child);
    await child.ready(READY_TIMEOUT_MS);
  }

  #startPing(): void {
    const args = ["ping", "-n", "-i", PING_INTERVAL_S, SERVER_ADDRESS];
    const [file, ...rest] = namespaceCommand(this.#lab, "client", args);
    this.#ping = spawn(file!, rest, { stdio: ["ignore", "pipe", "ignore"], detached: true });
    this.#ping.on("error", () => undefined); // Its report stays empty: the drill sees that.
    this.#ping.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#pingText += text;
    });
  }
}

class TrafficChild {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #answers = new Map<string, (value: Record<string, unknown>) => void>();
  #stderr = "";
  #fail: (error: Error) => void = () => undefined;

  constructor(name: string, command: readonly string[]) {
    this.#name = name;
    this.#child = spawn(command[0]!, command.slice(1), { stdio: ["pipe", "pipe", "pipe"], detached: true });
    this.#child.on("error", (cause) => this.#fail(cause));
    // Not "exit": what the process wrote last may still be on its way.
    this.#child.on("close", (code, signal) =>
      this.#fail(new Error(`it ended (${signal ?? code}): ${this.#stderr.trim().split("\n").at(-1) ?? ""}`)),
    );
    this.#child.stdin?.on("error", () => undefined);
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#hear(line));
  }

  async ready(timeoutMs: number): Promise<void> {
    await this.#wait("ready", timeoutMs);
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  stop(timeoutMs: number): Promise<Record<string, unknown>> {
    const result = this.#wait("result", timeoutMs);
    this.tell("stop");
    return result;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** A line that is cut off is the end of a process that was killed: its end is reported anyway. */
  #hear(line: string): void {
    if (!line.endsWith("}")) return;
    const { type, ...content } = JSON.parse(line) as { type: string };
    this.#answers.get(type)?.(content);
  }

  #wait(type: string, timeoutMs: number): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        reject(new SynwallError("SW_DRILL_FAILED", `traffic (${this.#name}): ${why}`));
      };
      const timer = setTimeout(() => fail(`not ${type} within ${timeoutMs / 1000} s`), timeoutMs);
      this.#fail = (error) => fail(error.message);
      this.#answers.set(type, (message) => {
        clearTimeout(timer);
        this.#fail = () => undefined;
        resolve(message);
      });
    });
  }
}

/** Above a member that starts, below whatever forwards (src/node/priorities.ts). */
const PROBE_PRIORITY = 6;

/** Real-time priority for the probes where this user may have it: it keeps our own stalls out of what they measure. */
async function realtimePrefix(): Promise<string[]> {
  const prefix = ["chrt", "-r", String(PROBE_PRIORITY)];
  try {
    await run(prefix[0]!, [...prefix.slice(1), "true"]);
    return prefix;
  } catch {
    return []; // Stalls are measured and subtracted anyway.
  }
}
