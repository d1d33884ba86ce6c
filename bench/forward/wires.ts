/**
 * Wires of the forwarding bench: three namespaces in a row, and how to run processes in them.
 *
 *   gen: g0 ---- d0 :dut: d1 ---- s0 :sink
 *
 * The middle one carries the nftables rules all the time; an XDP program on d0 and d1 takes the frames away from them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { bundled } from "../bundled.ts";
import { NODE_FLAGS } from "../node-flags.ts";
import { INSIDE_GATEWAY, OUTSIDE_GATEWAY, SERVER, SNAT_ADDRESS } from "./frames.ts";

export type Host = "gen" | "dut" | "sink";
const HOSTS: readonly Host[] = ["gen", "dut", "sink"];

const RULES = `
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "d0" oifname "d1" ct state new accept
  }
}
table ip nat {
  chain postrouting {
    type nat hook postrouting priority 100;
    oifname "d1" snat to ${SNAT_ADDRESS}
  }
}`;

/** The cheapest receiver: frames are counted by the interface and end before the kernel parses them. */
const SINK_RULES = `
table netdev sink {
  chain ingress {
    type filter hook ingress device "s0" priority 0; policy drop;
    ether type arp accept
  }
}`;

/** A process in a namespace that said `ready`; ask() sends it a line and waits for one. */
export class Helper {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`a helper ended: ${this.#child.spawnargs.join(" ")}`);
    return value;
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    return await this.line();
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.stdin!.end();
    await ended;
  }
}

export class Wires {
  readonly #prefix = `pio-fwd-${process.pid}`;
  readonly #helpers: Helper[] = [];

  constructor() {
    try {
      for (const host of HOSTS) execFileSync("ip", ["netns", "add", this.#name(host)]);
      this.#wire("gen", "g0", "dut", "d0");
      this.#wire("dut", "d1", "sink", "s0");
      // veth takes frames from the generator's program only where NAPI runs, which GRO switches on. UDP is not joined.
      this.exec("dut", "ethtool", "-K", "d0", "gro", "on");
      this.ip("dut", "address", "add", `${INSIDE_GATEWAY}/16`, "dev", "d0");
      this.ip("dut", "address", "add", `${OUTSIDE_GATEWAY}/24`, "dev", "d1");
      this.ip("sink", "address", "add", `${SERVER}/24`, "dev", "s0");
      this.ip("dut", "neighbour", "add", SERVER, "lladdr", this.mac("sink", "s0"), "dev", "d1");
      this.exec("dut", "sysctl", "-qw", "net.ipv4.ip_forward=1");
      this.#rules("dut", RULES);
      this.#rules("sink", SINK_RULES);
    } catch (error) {
      this.#remove();
      throw error;
    }
  }

  ip(host: Host, ...words: string[]): string {
    return execFileSync("ip", ["-n", this.#name(host), ...words], { encoding: "utf8", stdio: "pipe" });
  }

  exec(host: Host, command: string, ...words: string[]): string {
    const all = ["netns", "exec", this.#name(host), command, ...words];
    return execFileSync("ip", all, { encoding: "utf8", stdio: "pipe" });
  }

  mac(host: Host, interfaceName: string): string {
    const [link] = JSON.parse(this.ip(host, "-j", "link", "show", interfaceName)) as [{ address: string }];
    return link.address;
  }

  /** Frames that arrived at the sink since it was made. */
  received(): number {
    type Link = { stats64: { rx: { packets: number } } };
    const [link] = JSON.parse(this.ip("sink", "-j", "-s", "link", "show", "s0")) as [Link];
    return link.stats64.rx.packets;
  }

  /**
   * Lets the kernel of the middle host work in a thread of its own (threaded NAPI), on CPU 1 and with the priority that
   * our worker has, instead of on the generator's CPU 0.
   */
  steerKernel(isOn: boolean): void {
    this.exec("dut", "sh", "-c", `echo ${isOn ? 1 : 0} > /sys/class/net/d0/threaded`);
    if (!isOn) return;
    const threads = execFileSync("pgrep", ["^napi/d0-"], { encoding: "utf8" }).split("\n").filter(Boolean);
    for (const pid of threads) {
      execFileSync("taskset", ["-pc", "1", pid], { stdio: "ignore" });
      execFileSync("chrt", ["--rr", "--pid", "20", pid], { stdio: "ignore" });
    }
  }

  /** Starts a script of this folder, as one module, on one CPU in a host's namespace. */
  async start(host: Host, cpu: number, script: string, ...words: string[]): Promise<Helper> {
    const path = await bundled(`bench/forward/${script}`);
    const pinned = ["netns", "exec", this.#name(host), "taskset", "-c", `${cpu}`];
    const command = [...pinned, process.execPath, ...NODE_FLAGS, path, ...words];
    const child = spawn("ip", command, { stdio: ["pipe", "pipe", "inherit"] });
    const helper = new Helper(child);
    this.#helpers.push(helper);
    const said = await helper.line();
    if (said !== "ready") throw new Error(`${script} said: ${said}`);
    return helper;
  }

  async close(): Promise<void> {
    for (const helper of this.#helpers) await helper.stop();
    this.#remove();
  }

  #rules(host: Host, rules: string): void {
    const nft = ["netns", "exec", this.#name(host), "nft", "-f", "-"];
    execFileSync("ip", nft, { input: rules, stdio: ["pipe", "pipe", "inherit"] });
  }

  #wire(leftHost: Host, left: string, rightHost: Host, right: string): void {
    const peer = ["peer", "name", right, "netns", this.#name(rightHost)];
    this.ip(leftHost, "link", "add", "name", left, "type", "veth", ...peer);
    for (const [host, name] of [
      [leftHost, left],
      [rightHost, right],
    ] as const) {
      this.exec(host, "sysctl", "-qw", `net.ipv6.conf.${name}.disable_ipv6=1`);
      this.exec(host, "ethtool", "-K", name, "tx", "off", "gro", "off", "gso", "off", "tso", "off");
      this.ip(host, "link", "set", name, "up");
    }
  }

  #remove(): void {
    for (const host of HOSTS) {
      try {
        execFileSync("ip", ["netns", "del", this.#name(host)], { stdio: "pipe" });
      } catch {
        // It was not made.
      }
    }
  }

  #name(host: Host): string {
    return `${this.#prefix}-${host}`;
  }
}
