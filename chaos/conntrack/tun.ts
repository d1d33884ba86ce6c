/**
 * TUN device: an interface whose wire is this process. What is written arrives at the kernel as a received IP packet, within the
 * call; what the kernel sends is read back. A TAP device is the same for Ethernet frames. Owns the device, which is gone when it
 * is closed.
 */
import { closeSync, constants, openSync } from "node:fs";
import { ioctl, readFd, setns, writeFd } from "../../src/io/libc.ts";

const CLONE_NEWNET = 0x40000000;
const TUNSETIFF = 0x400454ca;
const FLAGS = { tun: 0x0001, tap: 0x0002 } as const;
/** No header before each packet. */
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;

export class Tun {
  readonly #fd: number;
  readonly #into = new Uint8Array(65_536);

  /** Makes the device `name` in the namespace that this thread is in. */
  constructor(name: string, kind: keyof typeof FLAGS = "tun") {
    this.#fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write(name, "latin1");
    request.writeUInt16LE(FLAGS[kind] | IFF_NO_PI, NAME_BYTES);
    if (ioctl(this.#fd, TUNSETIFF, request) === 0) return;
    closeSync(this.#fd);
    throw new Error(`cannot make the ${kind} device ${name}`);
  }

  /** To wait on with poll(2). */
  get fd(): number {
    return this.#fd;
  }

  write(packet: Uint8Array): void {
    if (writeFd(this.#fd, packet, packet.length) !== packet.length)
      throw new Error("the TUN device refused a packet");
  }

  /** The next packet that the kernel sent, or undefined when there is none. */
  read(): Uint8Array | undefined {
    const lengthBytes = readFd(this.#fd, this.#into, this.#into.length);
    return lengthBytes > 0 ? this.#into.slice(0, lengthBytes) : undefined;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Runs `body` with this thread in a named network namespace; afterwards the thread is where it was. */
export function inNamespace<Result>(name: string, body: () => Result): Result {
  const home = openSync("/proc/thread-self/ns/net", "r");
  const there = openSync(`/run/netns/${name}`, "r");
  try {
    if (setns(there, CLONE_NEWNET) !== 0) throw new Error(`cannot enter namespace ${name}`);
    return body();
  } finally {
    // In a namespace that is not its own this process must not go on.
    if (setns(home, CLONE_NEWNET) !== 0) process.abort();
    closeSync(home);
    closeSync(there);
  }
}
