/**
 * Capture: what passes an interface of a host while something happens, counted by filter afterwards.
 */
import { rmSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { run } from "../lab/run.ts";
import { poll } from "../lab/wait.ts";
import type { HostProcess, Hosts } from "./hosts.ts";
import { lastWords } from "./model.ts";

/** Enough for every header; contents do not matter. */
const SNAP_BYTES = "96";
const READY_TIMEOUT_MS = 8_000;
const BUFFER_KIB = "8192";

export class Capture {
  readonly #file: string;
  readonly #process: HostProcess;

  /** Answers when it hears. */
  static async start(hosts: Hosts, host: string, file: string, filter: string): Promise<Capture> {
    const command = ["tcpdump", "-n", "-i", "eth0", "-s", SNAP_BYTES, "-B", BUFFER_KIB, "-U", "-Z", "root"];
    const running = hosts.start(host, [...command, "-w", file, filter]);
    await poll(() => running.hasEnded || running.err.includes("listening on"), READY_TIMEOUT_MS);
    if (running.hasEnded) {
      throw new SynwallError("SW_LAB_FAILED", `tcpdump on ${host}: ${lastWords(await running.ended)}`);
    }
    return new Capture(file, running);
  }

  private constructor(file: string, running: HostProcess) {
    this.#file = file;
    this.#process = running;
  }

  /** Ends it; what was heard can be counted from now on. Throws when the kernel could not hand everything over. */
  async stop(): Promise<void> {
    this.#process.signal("SIGINT");
    const { err } = await this.#process.ended;
    const missed = Number(/(\d+) packets? dropped by kernel/.exec(err)?.[1] ?? 0);
    if (missed > 0) throw new SynwallError("SW_LAB_FAILED", `the capture missed ${missed} packets`);
  }

  /** Frames that match a filter of libpcap's. */
  async count(filter: string): Promise<number> {
    const text = await run("tcpdump", ["-n", "-r", this.#file, filter]);
    return text.split("\n").filter((line) => line !== "").length;
  }

  forget(): void {
    rmSync(this.#file, { force: true });
  }
}
