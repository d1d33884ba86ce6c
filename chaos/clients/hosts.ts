/**
 * Hosts of a lab as the clients use them: commands run inside a host's namespace, bounded in time and output, each ended by
 * its own process group and no other way.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { namespaceCommand } from "../lab/processes.ts";
import { run } from "../lab/run.ts";
import { namespaceOf } from "../lab/topology.ts";
import { poll } from "../lab/wait.ts";

const TIMEOUT_MS = 20_000;
const OUTPUT_CHARACTERS_MAX = 4 * 1024 * 1024;
const END_TIMEOUT_MS = 3_000;
const LISTEN_TIMEOUT_MS = 8_000;

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
  readonly isTimeout: boolean;
}

export interface RunOptions {
  readonly timeoutMs?: number;
}

export type RunInHost = (host: string, command: readonly string[], options?: RunOptions) => Promise<Outcome>;

export class HostProcess {
  readonly ended: Promise<Outcome>;
  readonly #child: ChildProcess;
  #out = "";
  #err = "";
  #isTimeout = false;
  #hasEnded = false;

  constructor(command: readonly string[]) {
    // A group of its own: what it starts ends with it.
    this.#child = spawn(command[0]!, command.slice(1), { stdio: ["pipe", "pipe", "pipe"], detached: true });
    this.#child.stdin?.on("error", () => undefined);
    const keep = (text: string, more: string): string => (text + more).slice(-OUTPUT_CHARACTERS_MAX);
    this.#child.stdout?.setEncoding("utf8").on("data", (more: string) => {
      this.#out = keep(this.#out, more);
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (more: string) => {
      this.#err = keep(this.#err, more);
    });
    this.ended = new Promise((resolve) => {
      const end = (status: number | null, signal: NodeJS.Signals | null): void => {
        this.#hasEnded = true;
        resolve({ status, signal, out: this.#out, err: this.#err, isTimeout: this.#isTimeout });
      };
      this.#child.once("error", (cause) => {
        this.#err += cause.message;
        end(null, null);
      });
      this.#child.once("close", end);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What it said so far. */
  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  closeInput(): void {
    this.#child.stdin?.end();
  }

  /** Ends it when it still runs after `ms`. */
  async within(ms: number): Promise<Outcome> {
    const timer = setTimeout(() => {
      this.#isTimeout = true;
      this.signal("SIGKILL");
    }, ms);
    const outcome = await this.ended;
    clearTimeout(timer);
    return outcome;
  }

  /** Signals the process and what it started. */
  signal(name: NodeJS.Signals): void {
    if (this.#hasEnded || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  /** Asks it to end, then kills it; answers when it is gone. */
  async end(): Promise<void> {
    this.signal("SIGTERM");
    if (await poll(() => this.#hasEnded, END_TIMEOUT_MS)) return;
    this.signal("SIGKILL");
    await this.ended;
  }
}

/** All that the clients start in one lab. */
export class Hosts {
  readonly lab: string;
  readonly #running = new Set<HostProcess>();

  constructor(lab: string) {
    this.lab = lab;
  }

  start(host: string, command: readonly string[]): HostProcess {
    const started = new HostProcess(namespaceCommand(this.lab, host, command));
    this.#running.add(started);
    void started.ended.then(() => this.#running.delete(started));
    return started;
  }

  run: RunInHost = async (host, command, { timeoutMs = TIMEOUT_MS } = {}) => {
    const started = this.start(host, command);
    started.closeInput();
    return started.within(timeoutMs);
  };

  /** True as soon as something listens on `port` (TCP or UDP) of `host`. */
  async isListening(host: string, port: number): Promise<boolean> {
    const command = ["-N", namespaceOf(this.lab, host), "-Hltun", `sport = :${port}`];
    return poll(async () => (await run("ss", command)).trim() !== "", LISTEN_TIMEOUT_MS);
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#running].map((each) => each.end()));
  }
}
