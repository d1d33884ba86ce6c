/**
 * XDP port: an interface whose frames the kernel hands to us before its own stack sees them. Owns the interface's
 * sockets (one a receive queue) and its attachment; its siblings in the group share one pool.
 */
import type { Interface } from "../interface.ts";
import { closeFd, watchReadable } from "../libc.ts";
import type { ChunkPool } from "../pool.ts";
import type { FramePool, Port, PortCounters, RxBatch } from "../port.ts";
import type { XdpQueue } from "./queue.ts";
import type { Umem } from "./umem.ts";

/** When the kernel did not take all frames, try again then, and later each time that it does not help. */
const RETRY_MS = 1;
const RETRY_MS_MAX = 64;

/** All XDP ports of one openPorts(): they share memory, so they help each other out with it. */
export class XdpGroup {
  readonly umem: Umem;
  readonly pool: ChunkPool;
  readonly ports: XdpPort[] = [];

  constructor(umem: Umem, pool: ChunkPool) {
    this.umem = umem;
    this.pool = pool;
    pool.reclaim = () => {
      for (let i = 0; i < this.ports.length; i++) this.ports[i]!.collect();
    };
  }

  /** A port whose fill ring ran dry hears nothing and would never wake up to refill it: the others do it. */
  feedStarved(): void {
    if (this.pool.available() === 0) return;
    for (let i = 0; i < this.ports.length; i++) this.ports[i]!.refillStarved();
  }

  remove(port: XdpPort): void {
    const index = this.ports.indexOf(port);
    if (index >= 0) this.ports.splice(index, 1);
    if (this.ports.length === 0) this.umem.release();
  }
}

class XdpCounters implements PortCounters {
  rxFrames = 0;
  rxBytes = 0;
  readonly rxUnknownVlan = 0;
  queuedFrames = 0;
  queuedBytes = 0;
  refusedFrames = 0;
  readonly #sender: XdpQueue;
  #queues: readonly XdpQueue[];
  #rxDropped = 0;

  constructor(queues: readonly XdpQueue[]) {
    this.#queues = queues;
    this.#sender = queues[0]!;
  }

  get txFrames(): number {
    return this.queuedFrames - this.#sender.discardedFrames;
  }

  get txBytes(): number {
    return this.queuedBytes - this.#sender.discardedBytes;
  }

  get txDropped(): number {
    return this.refusedFrames + this.#sender.discardedFrames;
  }

  /** Asks the kernel: a system call for each queue. */
  get rxDropped(): number {
    if (this.#queues.length > 0) {
      this.#rxDropped = this.#queues.reduce((sum, queue) => sum + queue.rxDropped(), 0);
    }
    return this.#rxDropped;
  }

  /** Keeps the last figures; the sockets are about to go. */
  freeze(): void {
    void this.rxDropped;
    this.#queues = [];
  }
}

export interface XdpPortParts {
  readonly interface: Interface;
  readonly mode: "native" | "generic";
  readonly queues: readonly XdpQueue[];
  /** Descriptors that keep the attachment: the link, and the socket that holds the interface promiscuous. */
  readonly keepers: readonly number[];
}

export class XdpPort implements Port {
  readonly driver = "xdp";
  readonly mode: "native" | "generic";
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly pool: FramePool;
  readonly counters: PortCounters;
  readonly #counters: XdpCounters;
  readonly #group: XdpGroup;
  readonly #interface: Interface;
  readonly #queues: readonly XdpQueue[];
  readonly #sender: XdpQueue;
  readonly #keepers: readonly number[];
  #watches: { close(): void }[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #retryMs = RETRY_MS;
  #nextQueue = 0;
  #isGone = false;
  #isClosed = false;

  constructor(group: XdpGroup, parts: XdpPortParts) {
    this.#group = group;
    this.#interface = parts.interface;
    this.#queues = parts.queues;
    this.#sender = parts.queues[0]!;
    this.#keepers = parts.keepers;
    this.mode = parts.mode;
    this.name = parts.interface.name;
    this.mac = parts.interface.mac;
    this.mtuBytes = parts.interface.mtuBytes;
    this.pool = group.pool;
    this.#counters = new XdpCounters(parts.queues);
    this.counters = this.#counters;
    group.ports.push(this);
  }

  receive(batch: RxBatch, max: number): number {
    if (this.#isClosed) return 0;
    const limit = Math.min(max, batch.at.length);
    const queues = this.#queues.length;
    let count = 0;
    // Begin with another queue each time, so that a busy one cannot starve the rest.
    this.#nextQueue = (this.#nextQueue + 1) % queues;
    for (let i = 0; i < queues && count < limit; i++) {
      count = this.#queues[(this.#nextQueue + i) % queues]!.receive(batch, count, limit);
    }
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += batch.lengthBytes[i]!;
    this.#counters.rxFrames += count;
    this.#counters.rxBytes += bytes;
    return count;
  }

  send(at: number, lengthBytes: number): boolean {
    if (this.#isClosed || !this.#sender.send(at, lengthBytes)) {
      this.pool.free(at);
      this.#counters.refusedFrames++;
      return false;
    }
    this.#counters.queuedFrames++;
    this.#counters.queuedBytes += lengthBytes;
    return true;
  }

  flush(): void {
    if (this.#isClosed) return;
    const isDone = this.#sender.flush();
    this.#group.feedStarved();
    // Nobody may ever flush again, so what is stuck must not rely on it.
    if (isDone) this.#retryMs = RETRY_MS;
    else this.#retry ??= setTimeout(this.#onRetry, this.#retryMs);
  }

  onReadable(wake: () => void): void {
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    if (this.#isClosed) return;
    for (const queue of this.#queues) this.#watches.push(watchReadable(queue.fd, wake, this.#onGone));
  }

  mtuNow(): number {
    return this.#interface.mtuNow();
  }

  carrier(): boolean {
    return !this.#isClosed && !this.#isGone && this.#interface.carrier();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
    this.#counters.freeze();
    for (const fd of this.#keepers) closeFd(fd);
    for (const queue of this.#queues) queue.close();
    this.#interface.close();
    this.#group.remove(this);
  }

  /** For the group: chunks of sent frames go back to the pool. */
  collect(): void {
    if (!this.#isClosed) this.#sender.collect();
  }

  /** For the group: refills queues that found the pool empty. */
  refillStarved(): void {
    if (this.#isClosed) return;
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[i]!;
      if (queue.isStarved) queue.refill();
    }
  }

  readonly #onGone = (): void => {
    this.#isGone = true;
    for (const watch of this.#watches) watch.close();
    this.#watches = [];
  };

  readonly #onRetry = (): void => {
    this.#retry = undefined;
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    this.flush();
  };
}
