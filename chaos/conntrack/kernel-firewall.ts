/**
 * Kernel firewall: conntrack and nftables of this kernel as the other opinion, in a network namespace of its own with a TUN
 * device for each zone. Owns the namespace, which close() deletes, also after a failure; nothing outside of it is changed.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import type { Firewall } from "./firewall.ts";
import { inNamespace, Tun } from "./tun.ts";

const PREFIX = "swcmp";

/** The policy of engine-firewall.ts in the kernel's words. */
const RULES = `
table ip swcmp {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    ct state established,related accept
    iifname "in" oifname "out" ct state new accept
    iifname "out" oifname "in" tcp dport 80 ct state new accept
  }
}
`;

/** All of them belong to the namespace alone. */
const SETTINGS = [
  "net.ipv4.ip_forward=1",
  "net.ipv4.conf.all.rp_filter=0",
  "net.ipv4.conf.default.rp_filter=0",
  "net.ipv6.conf.all.disable_ipv6=1",
  "net.ipv6.conf.default.disable_ipv6=1",
  "net.netfilter.nf_conntrack_tcp_loose=0",
  "net.netfilter.nf_conntrack_tcp_be_liberal=0",
  "net.netfilter.nf_conntrack_checksum=1",
];

let made = 0;

export class KernelFirewall implements Firewall {
  readonly #name = `${PREFIX}-${process.pid}-${++made}`;
  readonly #inside: Tun;
  readonly #outside: Tun;

  constructor() {
    execFileSync("ip", ["netns", "add", this.#name]);
    let tuns: Tun[] = [];
    try {
      tuns = inNamespace(this.#name, () => [new Tun("in"), new Tun("out")]);
      this.#exec("sysctl", "-qw", ...SETTINGS);
      this.#exec("ip", "address", "add", "10.20.0.1/16", "dev", "in");
      this.#exec("ip", "address", "add", "10.30.0.1/16", "dev", "out");
      this.#exec("ip", "link", "set", "in", "up");
      this.#exec("ip", "link", "set", "out", "up");
      execFileSync("ip", ["netns", "exec", this.#name, "nft", "-f", "-"], { input: RULES });
    } catch (error) {
      for (const tun of tuns) tun.close();
      execFileSync("ip", ["netns", "del", this.#name]);
      throw error;
    }
    [this.#inside, this.#outside] = tuns as [Tun, Tun];
  }

  send(isFromInside: boolean, packet: Uint8Array): boolean {
    const [from, to] = isFromInside ? [this.#inside, this.#outside] : [this.#outside, this.#inside];
    for (const tun of [from, to]) while (tun.read() !== undefined);
    from.write(packet);
    return to.read() !== undefined;
  }

  stateOf(needle: string): string {
    const table = inNamespace(this.#name, () => readFileSync("/proc/thread-self/net/nf_conntrack", "utf8"));
    return table
      .split("\n")
      .filter((line) => line.includes(needle))
      .map((line) => line.replace(/\s+/g, " "))
      .join(" | ");
  }

  close(): void {
    this.#inside.close();
    this.#outside.close();
    execFileSync("ip", ["netns", "del", this.#name]);
  }

  #exec(command: string, ...words: string[]): void {
    execFileSync("ip", ["netns", "exec", this.#name, command, ...words], { stdio: "pipe" });
  }
}

/** Why the kernel cannot be asked here, or undefined when it can. Deletes what processes that were killed left. */
export function whyNoKernel(): string | undefined {
  if (process.platform !== "linux") return `no conntrack on ${process.platform}`;
  if (process.getuid?.() !== 0) return "not root: network namespaces cannot be made";
  if (!existsSync("/dev/net/tun")) return "no /dev/net/tun";
  try {
    const listed = execFileSync("ip", ["netns", "list"], { encoding: "utf8" });
    for (const [name, pid] of listed.matchAll(/^swcmp-(\d+)-\d+/gm)) {
      if (!existsSync(`/proc/${pid}`)) execFileSync("ip", ["netns", "del", name]);
    }
    new KernelFirewall().close();
    return undefined;
  } catch (error) {
    return `the kernel's firewall cannot be set up: ${String(error)}`;
  }
}
