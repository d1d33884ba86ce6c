/**
 * XDP queue: one XDP socket on one receive queue of an interface, with its four rings. Owns what travels through them;
 * attaching the program is open.ts, adding queues up to a port is port.ts.
 *
 *   pool --fill--> kernel --rx--> receive()          send() --tx--> kernel --completion--> pool
 */
import { assert } from "../../base/assert.ts";
import {
  AF_XDP,
  bind,
  closeFd,
  errno,
  getsockopt,
  recvfrom,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
  sendto,
  setsockopt,
  socket,
} from "../libc.ts";
import type { ChunkPool } from "../pool.ts";
import { CHUNK_BYTES, type RxBatch } from "../port.ts";
import { SystemError } from "./errors.ts";
import { ConsumerRing, ProducerRing, type RingOffsets } from "./ring.ts";
import type { Umem } from "./umem.ts";

/** Entries of each ring: what a stall of 5 ms at 400,000 frames a second needs. */
export const RING_FRAMES = 2048;
/** Refill in steps, so that the index is not stored for every frame. */
const REFILL_FRAMES = 64;
/** The kernel counts sent frames against this until they are consumed; its default is too small for a full ring. */
const SEND_BUFFER_BYTES = 16 << 20;

const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_STATISTICS = 7;
const XDP_MAX_TX_SKB_BUDGET = 9;
const XDP_SHARED_UMEM = 1;
const XDP_COPY = 2;
const XDP_USE_NEED_WAKEUP = 8;
const PAGE_RX = 0;
const PAGE_TX = 0x80000000;
const PAGE_FILL = 0x100000000;
const PAGE_COMPLETION = 0x180000000;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const EBUSY = 16;
const ENOBUFS = 105;
const UMEM_ENTRY_BYTES = 8;
const DESCRIPTOR_BYTES = 16;

export interface QueuePlace {
  readonly interfaceIndex: number;
  readonly queueIndex: number;
  /** The first socket of the worker registers the memory; the others share it through its descriptor. */
  readonly sharedWith: XdpQueue | undefined;
}

export class XdpQueue {
  readonly fd: number;
  /** True when the pool had no chunk for the fill ring: somebody must call refill() again. */
  isStarved = false;
  /** Frames that send() took, but whose interface was switched off before they left. */
  discardedFrames = 0;
  discardedBytes = 0;
  readonly #pool: ChunkPool;
  readonly #holder: number;
  readonly #fill: ProducerRing;
  readonly #completion: ConsumerRing;
  readonly #rx: ConsumerRing;
  readonly #tx: ProducerRing;
  readonly #rings: { unmap(): void }[] = [];
  readonly #statistics = Buffer.alloc(128);
  readonly #statisticsLength = Buffer.alloc(128);
  #queued = 0;

  constructor(umem: Umem, pool: ChunkPool, place: QueuePlace) {
    this.#pool = pool;
    this.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (this.fd < 0) throw new SystemError("opening an XDP socket", errno());
    try {
      if (place.sharedWith === undefined) this.#register(umem);
      for (const name of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING]) {
        this.#setNumber("sizing an XDP ring", SOL_XDP, name, RING_FRAMES);
      }
      const [rx, tx, fill, completion] = this.#offsets();
      this.#fill = this.#keep(new ProducerRing(this.fd, PAGE_FILL, fill, RING_FRAMES, UMEM_ENTRY_BYTES));
      this.#completion = this.#keep(
        new ConsumerRing(this.fd, PAGE_COMPLETION, completion, RING_FRAMES, UMEM_ENTRY_BYTES),
      );
      this.#rx = this.#keep(new ConsumerRing(this.fd, PAGE_RX, rx, RING_FRAMES, DESCRIPTOR_BYTES));
      this.#tx = this.#keep(new ProducerRing(this.fd, PAGE_TX, tx, RING_FRAMES, DESCRIPTOR_BYTES));
      this.#bind(place);
      this.#tune();
    } catch (error) {
      this.#release();
      throw error;
    }
    this.#holder = pool.addHolder();
    this.refill();
  }

  /** Appends received frames to `batch` from index `from`; returns the index behind them, at most `limit`. */
  receive(batch: RxBatch, from: number, limit: number): number {
    const count = Math.min(this.#rx.waiting(), limit - from);
    if (count === 0) {
      if (this.#fill.needsWakeup()) recvfrom(this.fd, null, 0, MSG_DONTWAIT, null, null);
      return from;
    }
    for (let i = 0; i < count; i++) {
      const at = this.#rx.at(i);
      this.#pool.handOut(at, this.#holder);
      batch.at[from + i] = at;
      batch.lengthBytes[from + i] = this.#rx.lengthBytes(i);
    }
    this.#rx.release(count);
    this.refill();
    return from + count;
  }

  /** Gives free chunks to the kernel to receive into. */
  refill(): void {
    const room = this.#fill.room(REFILL_FRAMES);
    if (room < REFILL_FRAMES) return;
    this.isStarved = false;
    for (let i = 0; i < room; i++) {
      const at = this.#pool.lendFree(this.#holder);
      if (at < 0) {
        this.isStarved = true;
        break;
      }
      this.#fill.push(at, 0);
    }
    this.#fill.publish();
  }

  /** Queues a frame; false when the ring is full: the caller still owns the frame. */
  send(at: number, lengthBytes: number): boolean {
    if (this.#tx.room(1) < 1) return false;
    this.#pool.lend(at, this.#holder);
    this.#tx.push(at, lengthBytes);
    this.#queued++;
    return true;
  }

  /** Makes queued frames leave. False when some are still in the ring, and a later call must try again. */
  flush(): boolean {
    this.collect();
    if (this.#queued > 0) {
      this.#queued = 0;
      this.#tx.publish();
    }
    // One call sends a bounded number of frames; so go on while it gets on.
    for (let left = this.#tx.pending(); left > 0; ) {
      const answer = this.#tx.needsWakeup() ? sendto(this.fd, null, 0, MSG_DONTWAIT, null, 0) : 0;
      const why = answer < 0 ? errno() : 0;
      if (why !== 0 && why !== EAGAIN && why !== EBUSY && why !== ENOBUFS) {
        this.#discard();
        return true;
      }
      const leftNow = this.#tx.pending();
      if (leftNow === left) return false;
      left = leftNow;
    }
    return true;
  }

  /** Takes the chunks of frames that were sent back into the pool. */
  collect(): void {
    const count = this.#completion.waiting();
    if (count === 0) return;
    for (let i = 0; i < count; i++) this.#pool.giveBack(this.#completion.at(i), this.#holder);
    this.#completion.release(count);
  }

  /** The interface is down or gone: what waits must not leave when it comes back, since it may no longer be true. */
  #discard(): void {
    const count = this.#tx.pending();
    for (let i = 0; i < count; i++) {
      if (this.#tx.isInvalid(i)) continue;
      this.#pool.giveBack(this.#tx.pendingAt(i), this.#holder);
      this.discardedFrames++;
      this.discardedBytes += this.#tx.pendingLengthBytes(i);
      this.#tx.invalidate(i);
    }
  }

  /** Frames lost for want of room or chunks. struct xdp_statistics; an empty fill ring is counted in rx_dropped too. */
  rxDropped(): number {
    this.#statisticsLength.writeUInt32LE(48, 0);
    if (getsockopt(this.fd, SOL_XDP, XDP_STATISTICS, this.#statistics, this.#statisticsLength) !== 0)
      return 0;
    return Number(this.#statistics.readBigUInt64LE(0) + this.#statistics.readBigUInt64LE(24));
  }

  /** Ends the socket and takes every chunk that it held back into the pool. Call once. */
  close(): void {
    this.#release();
    this.#pool.revoke(this.#holder);
  }

  #release(): void {
    // A mapping keeps the socket alive, and a living socket keeps writing into chunks: so the rings go first.
    for (const ring of this.#rings) ring.unmap();
    closeFd(this.fd);
  }

  #keep<Ring extends { unmap(): void }>(ring: Ring): Ring {
    this.#rings.push(ring);
    return ring;
  }

  /** struct xdp_umem_reg: addr, len, chunk_size, headroom, flags. */
  #register(umem: Umem): void {
    const registration = Buffer.alloc(128);
    registration.writeBigUInt64LE(umem.pointer, 0);
    registration.writeBigUInt64LE(BigInt(umem.memory.byteLength), 8);
    registration.writeUInt32LE(CHUNK_BYTES, 16);
    // The kernel leaves XDP_PACKET_HEADROOM (256 bytes = HEADROOM_BYTES) before a frame by itself.
    registration.writeUInt32LE(0, 20);
    if (setsockopt(this.fd, SOL_XDP, XDP_UMEM_REG, registration, 32) !== 0) {
      throw new SystemError("registering frame memory", errno());
    }
  }

  /** struct xdp_mmap_offsets: rx, tx, fill, completion; each producer, consumer, desc, flags. */
  #offsets(): [RingOffsets, RingOffsets, RingOffsets, RingOffsets] {
    const offsets = Buffer.alloc(128);
    const length = Buffer.alloc(128);
    length.writeUInt32LE(offsets.length, 0);
    if (getsockopt(this.fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, length) !== 0) {
      throw new SystemError("asking for the layout of the XDP rings", errno());
    }
    assert(
      length.readUInt32LE(0) === offsets.length,
      "the kernel has no flags in its XDP rings: older than 5.4",
    );
    const ring = (i: number): RingOffsets => ({
      producer: Number(offsets.readBigUInt64LE(i * 32)),
      consumer: Number(offsets.readBigUInt64LE(i * 32 + 8)),
      entries: Number(offsets.readBigUInt64LE(i * 32 + 16)),
      flags: Number(offsets.readBigUInt64LE(i * 32 + 24)),
    });
    return [ring(0), ring(1), ring(2), ring(3)];
  }

  /** struct sockaddr_xdp: family, flags, ifindex, queue_id, shared_umem_fd. */
  #bind(place: QueuePlace): void {
    const address = Buffer.alloc(128);
    address.writeUInt16LE(AF_XDP, 0);
    address.writeUInt32LE(place.interfaceIndex, 4);
    address.writeUInt32LE(place.queueIndex, 8);
    if (place.sharedWith === undefined) {
      // Copy mode works on every driver and on several interfaces over one UMEM; zero-copy would need all to have it.
      address.writeUInt16LE(XDP_COPY | XDP_USE_NEED_WAKEUP, 2);
    } else {
      address.writeUInt16LE(XDP_SHARED_UMEM, 2);
      address.writeUInt32LE(place.sharedWith.fd, 12);
    }
    if (bind(this.fd, address, 16) !== 0) {
      throw new SystemError(`binding an XDP socket to queue ${place.queueIndex}`, errno());
    }
  }

  /** Both only make sending cheaper; a kernel without them, or a process that may not, does without. */
  #tune(): void {
    const value = Buffer.alloc(128);
    value.writeUInt32LE(SEND_BUFFER_BYTES, 0);
    setsockopt(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, value, 4);
    value.writeUInt32LE(RING_FRAMES, 0);
    setsockopt(this.fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, value, 4);
  }

  #setNumber(action: string, level: number, name: number, number: number): void {
    const value = Buffer.alloc(128);
    value.writeUInt32LE(number, 0);
    if (setsockopt(this.fd, level, name, value, 4) !== 0) throw new SystemError(action, errno());
  }
}
