/**
 * Cap port: an interface heard and spoken to through libpcap, for where XDP is not to be had: other systems' kernels,
 * user namespaces. Frames pass through two rings shared with the capture helper (cap-helper.ts says why it is a process)
 * and are copied into the pool. The kernel sees every frame too: it must have no address on a zone's interface.
 */
import { assert } from "../base/assert.ts";
import { SynwallError } from "../base/errors.ts";
import { type CapRings, FRAME_AT, mapRings } from "./cap-memory.ts";
import { CapProcess } from "./cap-process.ts";
import { type Copyable, copyable, copyFrame } from "./copy.ts";
import { Interface } from "./interface.ts";
import {
  AF_PACKET,
  closeFd,
  describeErrno,
  errno,
  readFd,
  SOCK_CLOEXEC,
  SOCK_RAW,
  socket,
  watchReadable,
} from "./libc.ts";
import { ChunkPool } from "./pool.ts";
import {
  CHUNK_BYTES,
  FRAME_BYTES_MAX,
  type FramePool,
  type OpenedPorts,
  type Port,
  type PortCounters,
  type PortOptions,
  type RxBatch,
} from "./port.ts";

const CHUNKS_PER_PORT = 4096;

/** Opens all ports on one pool and one helper. Throws SynwallError SW_IO_RIGHTS or SW_IO_INTERFACE. */
export function openCapPorts(options: readonly PortOptions[]): OpenedPorts {
  assert(options.length > 0, "openPorts needs at least one port");
  const interfaces: Interface[] = [];
  try {
    for (const option of options) interfaces.push(new Interface(option.interfaceName));
    checkRights(options[0]!.interfaceName);
    const helper = startHelper(options, interfaces);
    const pool = new ChunkPool(new ArrayBuffer(options.length * CHUNKS_PER_PORT * CHUNK_BYTES));
    const ports = interfaces.map((one, index) => new CapPort(pool, one, helper, index));
    return { pool, ports, reason: "cap: libpcap in a helper process" };
  } catch (error) {
    for (const one of interfaces) one.close();
    throw error;
  }
}

/** Asks the kernel itself, so that nobody has to guess from libpcap's words. */
function checkRights(interfaceName: string): void {
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    closeFd(fd);
    return;
  }
  throw new SynwallError(
    "SW_IO_RIGHTS",
    `Cannot open ${interfaceName} with cap: opening a packet socket failed with ${describeErrno(errno())}: ` +
      "run as root (CAP_NET_RAW), or in a user namespace (unshare -Urn)",
    { interface: interfaceName },
  );
}

function startHelper(options: readonly PortOptions[], interfaces: readonly Interface[]): CapProcess {
  const names = options.map((option) => option.interfaceName).join(", ");
  const tasks = options.map((option, i) => ({ ...option, mac: [...interfaces[i]!.mac] }));
  try {
    return new CapProcess(tasks, () => interfaces.every((one) => one.isUp()));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SynwallError("SW_IO_INTERFACE", `Cannot open ${names} with cap: ${why}`, { names }, error);
  }
}

/** Counters of which the helper keeps two. */
class CapCounters implements PortCounters {
  rxFrames = 0;
  rxBytes = 0;
  txFrames = 0;
  txBytes = 0;
  readonly rxUnknownVlan = 0;
  ownTxDropped = 0;
  ownRxDropped = 0;
  readonly #elsewhere: { rxDropped(): number; txDropped(): number };
  #frozen: { readonly rx: number; readonly tx: number } | undefined;

  constructor(elsewhere: { rxDropped(): number; txDropped(): number }) {
    this.#elsewhere = elsewhere;
  }

  get rxDropped(): number {
    return this.ownRxDropped + (this.#frozen?.rx ?? this.#elsewhere.rxDropped());
  }

  get txDropped(): number {
    return this.ownTxDropped + (this.#frozen?.tx ?? this.#elsewhere.txDropped());
  }

  /** Keeps the helper's last figures; its memory is about to go. */
  freeze(): void {
    this.#frozen = { rx: this.#elsewhere.rxDropped(), tx: this.#elsewhere.txDropped() };
  }
}

class CapPort implements Port {
  readonly driver = "cap";
  readonly mode = "";
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly pool: FramePool;
  readonly counters: PortCounters;
  readonly #counters: CapCounters;
  readonly #interface: Interface;
  readonly #helper: CapProcess;
  readonly #index: number;
  readonly #rings: CapRings;
  readonly #poolMemory: Copyable;
  readonly #rxMemory: Copyable;
  readonly #txMemory: Copyable;
  readonly #bell = Buffer.alloc(8);
  #wake: (() => void) | undefined;
  #watch: { close(): void } | undefined;
  #isClosed = false;

  constructor(pool: ChunkPool, one: Interface, helper: CapProcess, index: number) {
    this.pool = pool;
    this.name = one.name;
    this.mac = one.mac;
    this.mtuBytes = one.mtuBytes;
    this.#interface = one;
    this.#helper = helper;
    this.#index = index;
    this.#rings = mapRings(helper.memoryFd, index);
    this.#poolMemory = copyable(pool.bytes);
    this.#rxMemory = copyable(this.#rings.rx.bytes);
    this.#txMemory = copyable(this.#rings.tx.bytes);
    this.#counters = new CapCounters({
      rxDropped: () => helper.tooLong(index) + this.#rings.rx.refused(),
      txDropped: () => helper.refusedTx(index),
    });
    this.counters = this.#counters;
    helper.onEnd(() => this.#discard());
  }

  receive(batch: RxBatch, max: number): number {
    if (this.#isClosed) return 0;
    const ring = this.#rings.rx;
    const waiting = Math.min(ring.length(), max, batch.at.length);
    let count = 0;
    for (let i = 0; i < waiting; i++) {
      const record = ring.at(i);
      const lengthBytes = ring.view.getUint32(record, true);
      const at = this.pool.alloc();
      if (at < 0) {
        this.#counters.ownRxDropped++;
        continue;
      }
      copyFrame(this.#rxMemory, record + FRAME_AT, this.#poolMemory, at, lengthBytes);
      batch.at[count] = at;
      batch.lengthBytes[count] = lengthBytes;
      this.#counters.rxBytes += lengthBytes;
      count++;
    }
    if (waiting > 0) ring.release(waiting);
    this.#counters.rxFrames += count;
    return count;
  }

  send(at: number, lengthBytes: number): boolean {
    // Without a helper nothing leaves, and nothing waits for the next one.
    const canSend = !this.#isClosed && this.#helper.isUp && lengthBytes <= FRAME_BYTES_MAX;
    const record = canSend ? this.#rings.tx.reserve() : -1;
    if (record < 0) {
      this.pool.free(at);
      this.#counters.ownTxDropped++;
      return false;
    }
    this.#rings.tx.view.setUint32(record, lengthBytes, true);
    copyFrame(this.#poolMemory, at, this.#txMemory, record + FRAME_AT, lengthBytes);
    this.pool.free(at);
    this.#rings.tx.publish();
    this.#counters.txFrames++;
    this.#counters.txBytes += lengthBytes;
    return true;
  }

  flush(): void {
    if (!this.#isClosed && this.#rings.tx.takeArmed()) this.#helper.ringTx();
  }

  onReadable(wake: () => void): void {
    if (this.#isClosed) return;
    this.#wake = wake;
    this.#watch ??= watchReadable(this.#helper.rxDoorbells[this.#index]!, this.#onBell, () => {});
    if (!this.#rings.rx.arm()) this.#helper.ringRx(this.#index);
  }

  mtuNow(): number {
    return this.#interface.mtuNow();
  }

  carrier(): boolean {
    return !this.#isClosed && this.#helper.isUp && this.#interface.carrier();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch?.close();
    this.#counters.freeze();
    this.#rings.unmap();
    this.#interface.close();
    this.#helper.closePort(this.#index);
  }

  /** The interface went down and took the helper with it: what waits might no longer be true when it is back. */
  #discard(): void {
    if (this.#isClosed) return;
    const waiting = this.#rings.tx.length();
    this.#rings.tx.release(waiting);
    this.#counters.ownTxDropped += waiting;
    this.#counters.txFrames -= waiting;
  }

  /** The bell stays on, and rings again, until everything was received. */
  readonly #onBell = (): void => {
    this.#wake?.();
    if (this.#isClosed || this.#rings.rx.length() > 0) return;
    readFd(this.#helper.rxDoorbells[this.#index]!, this.#bell, 8);
    if (!this.#rings.rx.arm()) this.#helper.ringRx(this.#index);
  };
}
