/**
 * Worlds for the port suite: a port under test, and another at the far end of its wire. The memory world is a segment;
 * the xdp and cap worlds are a veth pair in a namespace of their own, which close() deletes.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { closeSync, existsSync, openSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { AF_INET, bind, SOCK_CLOEXEC, SOCK_DGRAM, setns, socket } from "../../src/io/libc.ts";
import { createMemoryPool, MemoryPort } from "../../src/io/memory.ts";
import { MemorySegment } from "../../src/io/memory-segment.ts";
import { openPorts } from "../../src/io/open.ts";
import type { FramePool, Port, PortFilter } from "../../src/io/port.ts";
import { logicalPorts } from "../../src/io/vlan.ts";
import { KERNEL_UDP_PORT } from "./port-frames.ts";

const CLONE_NEWNET = 0x40000000;
const MTU_BYTES = 1600;
const VLAN = 100;

export interface PortWorld {
  /** The port under test. */
  readonly port: Port;
  readonly pool: FramePool;
  /** The far end, on a pool of its own; takes everything. */
  readonly peer: Port;
  readonly peerPool: FramePool;
  /** UDP datagrams to KERNEL_UDP_PORT that our side's own stack received. */
  kernelHeard(): number;
  /** Unplugs and plugs the far end. */
  setFarCarrier(isUp: boolean): void;
  close(): void;
}

export interface PortDriver {
  readonly name: "memory" | "xdp" | "cap";
  /** False where the kernel may lose frames without telling. */
  readonly countsEveryLoss: boolean;
  readonly mtuBytes: number;
  open(filter: PortFilter): Promise<PortWorld>;
}

export const memoryDriver: PortDriver = {
  name: "memory",
  countsEveryLoss: true,
  mtuBytes: MTU_BYTES,
  open: async (filter) => {
    let heard = 0;
    const kernel = (frame: Uint8Array): void => {
      if (((frame[36]! << 8) | frame[37]!) === KERNEL_UDP_PORT) heard++;
    };
    const segment = new MemorySegment({ kind: "bridge" });
    const pool = createMemoryPool(4096);
    const peerPool = createMemoryPool(4096);
    const port = new MemoryPort(pool, { name: "ours", filter, kernel, mtuBytes: MTU_BYTES });
    const peer = new MemoryPort(peerPool, { name: "peer", mtuBytes: MTU_BYTES });
    segment.attach(port);
    segment.attach(peer);
    return {
      port,
      pool,
      peer,
      peerPool,
      kernelHeard: () => heard,
      setFarCarrier: (isUp) => segment.setCarrier(port, isUp),
      close: () => {
        port.close();
        peer.close();
      },
    };
  },
};

/** The same, with both ends in VLAN 100 of their interfaces. */
export const memoryVlanDriver: PortDriver = {
  ...memoryDriver,
  open: async (filter) => {
    const world = await memoryDriver.open(filter);
    const inVlan = (port: Port, pool: FramePool): Port =>
      logicalPorts({ pool, ports: [port], reason: "" }, [{ interfaceName: port.name, vlan: VLAN, filter }])
        .ports[0]!;
    return {
      ...world,
      port: inVlan(world.port, world.pool),
      peer: inVlan(world.peer, world.peerPool),
    };
  },
};

/** The same on real interfaces, which leave the tags where they are. Needs root. */
export function vethVlanDriver(name: "xdp" | "cap"): PortDriver {
  return vethDriver(name, VLAN);
}

/** A driver on real interfaces. Needs root. */
export function vethDriver(name: "xdp" | "cap", vlan?: number): PortDriver {
  const tag = vlan === undefined ? {} : { vlan };
  return {
    name,
    countsEveryLoss: name === "xdp",
    mtuBytes: MTU_BYTES,
    open: async (filter) => {
      const namespace = new Namespace();
      try {
        namespace.addVeth("ours", "peer", MTU_BYTES);
        if (vlan !== undefined) namespace.withTagsInFrames("ours", "peer");
        namespace.enter();
        namespace.ip("address", "add", "10.9.0.1/24", "dev", "ours");
        const listener = createSocket("udp4");
        let heard = 0;
        listener.on("message", () => heard++);
        listener.bind({ fd: listenHere() });
        const ours = openPorts(name, [{ interfaceName: "ours", filter, ...tag }]);
        const far = openPorts("auto", [{ interfaceName: "peer", filter: { kind: "all" }, ...tag }]);
        const port = ours.ports[0]!;
        const peer = far.ports[0]!;
        return {
          port,
          pool: ours.pool,
          peer,
          peerPool: far.pool,
          kernelHeard: () => heard,
          setFarCarrier: (isUp) => namespace.ip("link", "set", "peer", isUp ? "up" : "down"),
          close: () => {
            port.close();
            peer.close();
            listener.close();
            namespace.close();
          },
        };
      } catch (error) {
        namespace.close();
        throw error;
      }
    },
  };
}

/** A bound UDP socket made at once, on this thread: dgram's own bind() would do it later, elsewhere. */
function listenHere(): number {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // struct sockaddr_in: family, port (network order), address 0.0.0.0.
  const address = Buffer.alloc(128);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(KERNEL_UDP_PORT, 2);
  if (bind(fd, address, 16) !== 0) throw new Error(`cannot listen on UDP port ${KERNEL_UDP_PORT}`);
  return fd;
}

let namespaces = 0;

/** A network namespace `pio-<pid>-<n>`. */
export class Namespace {
  #home = -1;
  readonly name = `pio-${process.pid}-${++namespaces}`;

  constructor() {
    execFileSync("ip", ["netns", "add", this.name]);
  }

  /** Two interfaces joined by a wire, both up, as real cards: no unfinished checksums, no joined frames. */
  addVeth(left: string, right: string, mtuBytes: number, queues = 1): void {
    const many = ["numrxqueues", `${queues}`, "numtxqueues", `${queues}`];
    const end = (name: string): string[] => ["name", name, "mtu", `${mtuBytes}`, ...many];
    this.ip("link", "add", ...end(left), "type", "veth", "peer", ...end(right));
    for (const name of [left, right]) {
      // No frames of the kernel's own making: they would mix with the test's.
      this.exec("sysctl", "-qw", `net.ipv6.conf.${name}.disable_ipv6=1`);
      this.exec("ethtool", "-K", name, "tx", "off", "gro", "off", "gso", "off", "tso", "off");
      this.ip("link", "set", name, "up");
    }
  }

  /** veth hands tags over beside the frame, as a card does that takes them off, unless it is told not to. */
  withTagsInFrames(...names: string[]): void {
    for (const name of names) this.exec("ethtool", "-K", name, "rxvlan", "off", "txvlan", "off");
  }

  ip(...words: string[]): string {
    return execFileSync("ip", ["-n", this.name, ...words], { encoding: "utf8", stdio: "pipe" });
  }

  exec(command: string, ...words: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.name, command, ...words], {
      encoding: "utf8",
      stdio: "pipe",
    });
  }

  /** Other processes that live in the namespace. */
  others(): number[] {
    const asked = spawnSync("ip", ["netns", "pids", this.name], { encoding: "utf8" });
    const pids = asked.stdout.split("\n").filter(Boolean).map(Number);
    return pids.filter((pid) => pid !== process.pid && pid !== asked.pid);
  }

  /** Moves this thread, and what it starts from now on, into the namespace; close() moves it back. */
  enter(): void {
    this.#home = openSync("/proc/thread-self/ns/net", "r");
    const there = openSync(`/run/netns/${this.name}`, "r");
    const answer = setns(there, CLONE_NEWNET);
    closeSync(there);
    if (answer !== 0) throw new Error(`cannot enter namespace ${this.name}`);
  }

  close(): void {
    if (this.#home >= 0) {
      // Outside of its own namespace this process must not go on: its next test would touch the machine's interfaces.
      if (setns(this.#home, CLONE_NEWNET) !== 0) process.abort();
      closeSync(this.#home);
    }
    execFileSync("ip", ["netns", "del", this.name]);
  }
}

/** Why the drivers on real interfaces cannot be tried here, or undefined when they can. */
export function whyNoVeth(): string | undefined {
  if (process.platform !== "linux") return `no veth pairs on ${process.platform}`;
  if (process.getuid?.() !== 0) return "not root: network namespaces cannot be made";
  try {
    removeForgotten();
    new Namespace().close();
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made: ${String(error)}`;
  }
}

/** Deletes the namespaces of test processes that were killed. */
function removeForgotten(): void {
  const listed = execFileSync("ip", ["netns", "list"], { encoding: "utf8" });
  for (const [name, pid] of listed.matchAll(/^pio-(\d+)-\d+/gm)) {
    if (!existsSync(`/proc/${pid}`)) execFileSync("ip", ["netns", "del", name]);
  }
}

/** Why XDP cannot be tried here, or undefined when it can. */
export function whyNoXdp(): string | undefined {
  const why = whyNoVeth();
  if (why !== undefined) return why;
  try {
    openPorts("xdp", [{ interfaceName: "", filter: { kind: "all" } }]);
  } catch (error) {
    // The right to use BPF is asked for first, then the interface, whose name is refused.
    if (error instanceof SynwallError && error.code === "SW_IO_RIGHTS") return error.message;
  }
  return undefined;
}
