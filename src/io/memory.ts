/**
 * Memory port: a port whose wire is a MemorySegment in this process; for tests, simulation and policy tests.
 * Owns the two bounded queues between pool and wire. Delivery time is the segment's business, and wake-ups go through
 * `defer`, so a simulator with virtual time can own both.
 */
import { assert } from "../base/assert.ts";
import { SynwallError } from "../base/errors.ts";
import { type Copyable, copyable, copyFrame } from "./copy.ts";
import { isForUs } from "./filter.ts";
import type { MemorySegment } from "./memory-segment.ts";
import { ChunkPool } from "./pool.ts";
import {
  CHUNK_BYTES,
  FRAME_BYTES_MAX,
  MTU_BYTES_MAX,
  type OpenedPorts,
  type Port,
  type PortCounters,
  type PortFilter,
  type RxBatch,
} from "./port.ts";

const RING_FRAMES = 1024;
const CHUNKS_PER_PORT = 4096;

export interface MemoryPortOptions {
  readonly name: string;
  readonly filter?: PortFilter;
  /** Default: a locally administered address made from a hash of the name. */
  readonly mac?: Uint8Array;
  /** Default 1500. */
  readonly mtuBytes?: number;
  /** Frames that wait for receive(), and for flush(); a power of two. Default 1024. */
  readonly ringFrames?: number;
  /** Runs a wake-up soon, never at once. Default setImmediate; a simulator schedules at its present time. */
  readonly defer?: (task: () => void) => void;
  /** Hears what the filter leaves to the kernel; `frame` is valid during the call only. */
  readonly kernel?: (frame: Uint8Array) => void;
}

export class MemoryPort implements Port {
  readonly driver = "memory";
  readonly mode = "";
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly pool: ChunkPool;
  readonly counters: PortCounters = {
    rxFrames: 0,
    rxBytes: 0,
    txFrames: 0,
    txBytes: 0,
    txDropped: 0,
    rxDropped: 0,
    rxUnknownVlan: 0,
  };
  /** The wire that the port is plugged into; MemorySegment.attach() sets it. */
  segment: MemorySegment | undefined;
  readonly #filter: PortFilter;
  readonly #kernel: ((frame: Uint8Array) => void) | undefined;
  readonly #defer: (task: () => void) => void;
  /** Who holds queued frames, so that one given away twice is found out at once. */
  readonly #holder: number;
  readonly #memory: Copyable;
  readonly #rx: FrameQueue;
  readonly #tx: FrameQueue;
  #wake: (() => void) | undefined;
  #isWakeDue = false;
  #isClosed = false;

  constructor(pool: ChunkPool, options: MemoryPortOptions) {
    this.pool = pool;
    this.#holder = pool.addHolder();
    this.#memory = copyable(pool.bytes);
    this.name = options.name;
    this.mac = options.mac ?? macOf(options.name);
    this.mtuBytes = options.mtuBytes ?? 1500;
    if (this.mtuBytes > MTU_BYTES_MAX) {
      throw new SynwallError(
        "SW_IO_INTERFACE",
        `Cannot open ${this.name}: its MTU must be at most ${MTU_BYTES_MAX}, and is ${this.mtuBytes}`,
        { interface: this.name, mtuBytes: this.mtuBytes },
      );
    }
    this.#filter = options.filter ?? { kind: "all" };
    this.#kernel = options.kernel;
    this.#defer = options.defer ?? setImmediate;
    this.#rx = new FrameQueue(options.ringFrames ?? RING_FRAMES);
    this.#tx = new FrameQueue(options.ringFrames ?? RING_FRAMES);
  }

  receive(batch: RxBatch, max: number): number {
    const limit = Math.min(max, batch.at.length);
    let count = 0;
    while (count < limit && this.#rx.length() > 0) {
      const at = this.#rx.frontAt();
      this.pool.handOut(at, this.#holder);
      batch.at[count] = at;
      batch.lengthBytes[count] = this.#rx.frontLengthBytes();
      this.#rx.shift();
      count++;
    }
    return count;
  }

  send(at: number, lengthBytes: number): boolean {
    if (this.#isClosed || this.#tx.isFull()) {
      this.pool.free(at);
      this.counters.txDropped++;
      return false;
    }
    this.pool.lend(at, this.#holder);
    this.#tx.push(at, lengthBytes);
    return true;
  }

  flush(): void {
    while (this.#tx.length() > 0) {
      const at = this.#tx.frontAt();
      const lengthBytes = this.#tx.frontLengthBytes();
      this.#tx.shift();
      const isSent = this.segment?.transmit(this, this.#memory, at, lengthBytes) ?? false;
      this.pool.giveBack(at, this.#holder);
      if (isSent) {
        this.counters.txFrames++;
        this.counters.txBytes += lengthBytes;
      } else {
        this.counters.txDropped++;
      }
    }
  }

  onReadable(wake: () => void): void {
    this.#wake = wake;
    this.#ring();
  }

  mtuNow(): number {
    return this.mtuBytes;
  }

  carrier(): boolean {
    return this.segment?.hasCarrier(this) ?? false;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.segment?.detach(this);
    this.#rx.clear();
    this.#tx.clear();
    this.pool.revoke(this.#holder);
    this.#wake = undefined;
  }

  /** The wire's side: a frame arrives. Copies it into this port's pool. */
  accept(from: Copyable, at: number, lengthBytes: number): void {
    if (this.#isClosed) return;
    if (!isForUs(this.#filter, from.bytes, at, lengthBytes)) {
      this.#kernel?.(from.bytes.subarray(at, at + lengthBytes));
      return;
    }
    const copyAt = this.#rx.isFull() || lengthBytes > FRAME_BYTES_MAX ? -1 : this.pool.alloc();
    if (copyAt < 0) {
      this.counters.rxDropped++;
      return;
    }
    copyFrame(from, at, this.#memory, copyAt, lengthBytes);
    this.pool.lend(copyAt, this.#holder);
    this.#rx.push(copyAt, lengthBytes);
    this.counters.rxFrames++;
    this.counters.rxBytes += lengthBytes;
    this.#ring();
  }

  #ring(): void {
    if (this.#isWakeDue || this.#wake === undefined || this.#rx.length() === 0) return;
    this.#isWakeDue = true;
    this.#defer(this.#onDue);
  }

  readonly #onDue = (): void => {
    this.#isWakeDue = false;
    if (this.#rx.length() > 0) this.#wake?.();
    // Level-triggered: who did not take everything is asked again.
    this.#ring();
  };
}

/** Memory ports on one pool, each plugged into its segment. */
export function openMemoryPorts(
  ports: readonly (MemoryPortOptions & { readonly segment: MemorySegment })[],
  chunks = CHUNKS_PER_PORT * ports.length,
): OpenedPorts & { readonly ports: readonly MemoryPort[] } {
  const pool = createMemoryPool(chunks);
  const opened = ports.map((options) => {
    const port = new MemoryPort(pool, options);
    options.segment.attach(port);
    return port;
  });
  return { pool, ports: opened, reason: "memory: in-process wires" };
}

/** A pool in ordinary memory. */
export function createMemoryPool(chunks: number): ChunkPool {
  return new ChunkPool(new ArrayBuffer(chunks * CHUNK_BYTES));
}

/** A first-in first-out queue of (offset, length), bounded. */
class FrameQueue {
  readonly #at: Uint32Array;
  readonly #lengthBytes: Uint32Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;

  constructor(capacity: number) {
    assert(capacity > 0 && (capacity & (capacity - 1)) === 0, `ring of ${capacity} is not a power of two`);
    this.#at = new Uint32Array(capacity);
    this.#lengthBytes = new Uint32Array(capacity);
    this.#mask = capacity - 1;
  }

  length(): number {
    return (this.#tail - this.#head) >>> 0;
  }

  isFull(): boolean {
    return this.length() > this.#mask;
  }

  /** Ask isFull() first. */
  push(at: number, lengthBytes: number): void {
    this.#at[this.#tail & this.#mask] = at;
    this.#lengthBytes[this.#tail & this.#mask] = lengthBytes;
    this.#tail = (this.#tail + 1) >>> 0;
  }

  frontAt(): number {
    return this.#at[this.#head & this.#mask]!;
  }

  frontLengthBytes(): number {
    return this.#lengthBytes[this.#head & this.#mask]!;
  }

  shift(): void {
    this.#head = (this.#head + 1) >>> 0;
  }

  clear(): void {
    this.#head = this.#tail;
  }
}

/** A locally administered unicast address, the same for the same name (FNV-1a). */
function macOf(name: string): Uint8Array {
  let hash = 0x811c9dc5;
  for (const letter of new TextEncoder().encode(name)) hash = Math.imul(hash ^ letter, 0x01000193);
  return Uint8Array.of(0x02, 0x5f, hash >>> 24, hash >>> 16, hash >>> 8, hash);
}
