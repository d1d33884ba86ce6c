/**
 * Interface: what the kernel says about a network interface: index, address, MTU, queues, carrier.
 * Asks by ioctl on a socket of its own, not through /sys: /sys shows the namespace that it was mounted in, and reading
 * `carrier` there waits for the lock that every `ip link` takes. SIOCGIFFLAGS takes none, so it suits every tick.
 */
import { SynwallError } from "../base/errors.ts";
import {
  AF_INET,
  addressOf,
  closeFd,
  describeErrno,
  errno,
  ioctl,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  socket,
} from "./libc.ts";
import { MTU_BYTES_MAX } from "./port.ts";

const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GFLAGS = 0x25;
const ETH_FLAG_RXVLAN = 1 << 8;
const ETHTOOL_GCHANNELS = 0x3c;
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;
const IFNAMSIZ = 16;
const IFREQ_BYTES = 40;

export class Interface {
  readonly name: string;
  readonly index: number;
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  /** Queues on which frames may arrive. */
  readonly rxQueues: number;
  readonly #fd: number;
  readonly #request = Buffer.alloc(IFREQ_BYTES);
  #isClosed = false;

  /** Throws SW_IO_INTERFACE when the interface is missing, down, not Ethernet, or its MTU is too large. */
  constructor(name: string) {
    this.name = name;
    if (name.length === 0 || Buffer.byteLength(name) >= IFNAMSIZ) throw missing(name);
    this.#request.write(name, "latin1");
    this.#fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw failed(name, "opening a socket", errno());
    try {
      this.index = this.#ask(SIOCGIFINDEX).readInt32LE(IFNAMSIZ);
      const hardware = this.#ask(SIOCGIFHWADDR);
      if (hardware.readUInt16LE(IFNAMSIZ) !== ARPHRD_ETHER) throw notEthernet(name);
      this.mac = Uint8Array.from(hardware.subarray(IFNAMSIZ + 2, IFNAMSIZ + 8));
      this.mtuBytes = this.#ask(SIOCGIFMTU).readInt32LE(IFNAMSIZ);
      if (this.mtuBytes > MTU_BYTES_MAX) throw mtuTooLarge(name, this.mtuBytes);
      if (!this.isUp()) throw down(name);
      this.rxQueues = this.#countRxQueues();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** True while the interface is up and has carrier. */
  carrier(): boolean {
    return (this.#flags() & (IFF_UP | IFF_RUNNING)) === (IFF_UP | IFF_RUNNING);
  }

  /** The MTU as it is now; that of the start when the interface is gone. */
  mtuNow(): number {
    if (this.#isClosed || ioctl(this.#fd, SIOCGIFMTU, this.#request) !== 0) return this.mtuBytes;
    return this.#request.readInt32LE(IFNAMSIZ);
  }

  /** True while the interface is there and switched on, with or without carrier. */
  isUp(): boolean {
    return (this.#flags() & IFF_UP) !== 0;
  }

  #flags(): number {
    if (this.#isClosed || ioctl(this.#fd, SIOCGIFFLAGS, this.#request) !== 0) return 0;
    return this.#request[IFNAMSIZ]!;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeFd(this.#fd);
  }

  #ask(request: number): Buffer {
    if (ioctl(this.#fd, request, this.#request) === 0) return this.#request;
    const why = errno();
    throw why === 19 ? missing(this.name) : failed(this.name, "asking for its properties", why);
  }

  /** True when the card takes VLAN tags off received frames and tells them besides. struct ethtool_value: cmd, data. */
  takesTagsOff(): boolean {
    const flags = Buffer.alloc(8);
    flags.writeUInt32LE(ETHTOOL_GFLAGS, 0);
    return this.#askEthtool(flags) && (flags.readUInt32LE(4) & ETH_FLAG_RXVLAN) !== 0;
  }

  /** struct ethtool_channels: cmd, max_rx, max_tx, max_other, max_combined, rx, tx, other, combined. */
  #countRxQueues(): number {
    const channels = Buffer.alloc(36);
    channels.writeUInt32LE(ETHTOOL_GCHANNELS, 0);
    // A driver that does not know the question has one queue.
    if (!this.#askEthtool(channels)) return 1;
    return Math.max(1, channels.readUInt32LE(20) + channels.readUInt32LE(32));
  }

  /** Fills `question`; false when the driver does not know it. */
  #askEthtool(question: Buffer): boolean {
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write(this.name, "latin1");
    request.writeBigUInt64LE(addressOf(question), IFNAMSIZ);
    return ioctl(this.#fd, SIOCETHTOOL, request) === 0;
  }
}

function missing(name: string): SynwallError {
  return refused(name, "no interface of that name is in this network namespace; see: ip link");
}

function down(name: string): SynwallError {
  return refused(name, `it must be up, and is down: ip link set ${name} up`);
}

function notEthernet(name: string): SynwallError {
  return refused(name, "it must be an Ethernet interface; see: ip -d link");
}

/** A port whose frames would not fit a chunk is refused when it is opened. */
function mtuTooLarge(name: string, mtuBytes: number): SynwallError {
  return refused(
    name,
    `its MTU must be at most ${MTU_BYTES_MAX}, and is ${mtuBytes}: ip link set ${name} mtu 1500`,
  );
}

function failed(name: string, action: string, why: number): SynwallError {
  return refused(name, `${action} failed with ${describeErrno(why)}`);
}

function refused(name: string, why: string): SynwallError {
  return new SynwallError("SW_IO_INTERFACE", `Cannot open ${name}: ${why}`, { interface: name });
}
