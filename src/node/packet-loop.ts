/**
 * Packet loop: one turn of the dataplane worker. Frames from the ports go through the engine, replicas from peers into the
 * flow table, and each turn ends by flushing what has to leave. Owns the order of these steps and their bounds; the same loop
 * runs over real interfaces in a worker thread and over memory ports in virtual time.
 */
import type { RecordRing } from "../base/ring.ts";
import type { Engine } from "../dataplane/engine.ts";
import { VERDICT_LOCAL } from "../dataplane/verdict.ts";
import type { FramePool, Port, RxBatch } from "../io/port.ts";

/** Frames taken from one port before the next port has its turn. */
const BATCH_FRAMES = 64;
/** Rounds over all ports before timers, heartbeats and replicas have their turn. */
const ROUNDS_MAX = 8;
/** Replicas applied between two rounds: about a millisecond of work. */
const REPLICAS_MAX = 512;

export interface PacketLoopOptions {
  readonly engine: Engine;
  readonly pool: FramePool;
  readonly ports: readonly Port[];
  readonly changes: RecordRing;
  readonly replicas: RecordRing;
  /** Cell 0 counts replicas applied since start. */
  readonly applied: Float64Array;
  /** A heartbeat frame; the loop frees it afterwards. */
  readonly onLocal: (portIndex: number, at: number, lengthBytes: number) => void;
  /** A record of the replicas ring was applied with this status. */
  readonly onReplica: (recordAt: number, status: number) => void;
  /** The main thread sleeps and has changes to send, or applied replicas to acknowledge. */
  readonly wakeMain: () => void;
}

export class PacketLoop {
  readonly #options: PacketLoopOptions;
  readonly #batch: RxBatch = {
    at: new Uint32Array(BATCH_FRAMES),
    lengthBytes: new Uint32Array(BATCH_FRAMES),
  };

  /** Packets or replicas went through the engine: its timers are to be looked at. Whoever does that resets it. */
  hasWorked = false;
  #isAppliedNews = false;
  /** Sum of what #fetch() read: without it a compiler might leave the reading out. */
  readonly #read = new Uint32Array(1);

  constructor(options: PacketLoopOptions) {
    this.#options = options;
  }

  get replicas(): RecordRing {
    return this.#options.replicas;
  }

  /** Takes what waits, within bounds. True when more may wait: call again soon, after other work had its turn. */
  turn(nowMs: number): boolean {
    let isMore = false;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      isMore = this.#receive(nowMs);
      // The last round's frames leave with #finish().
      if (!isMore) break;
      // What was just processed is still in the cache, and the kernel reads it to send it.
      this.#flush();
    }
    if (this.#applyReplicas(nowMs)) isMore = true;
    this.#finish(nowMs);
    // Before sleeping: ask to be woken, and look once more, so that nothing comes between.
    return !this.#options.replicas.arm() || isMore;
  }

  /** Timers of the engine. */
  tick(nowMs: number): void {
    this.#options.engine.tick(nowMs);
    this.#finish(nowMs);
  }

  /** Changes wait for which it was too early to ring: look again soon. */
  get isRingDue(): boolean {
    return this.#options.changes.isRingDue;
  }

  /** Call after anything that made the engine send or publish outside a turn. */
  finish(nowMs: number): void {
    this.#finish(nowMs);
  }

  #receive(nowMs: number): boolean {
    const { engine, ports, pool, onLocal } = this.#options;
    const batch = this.#batch;
    let isMore = false;
    for (let index = 0; index < ports.length; index++) {
      const count = ports[index]!.receive(batch, BATCH_FRAMES);
      if (count === BATCH_FRAMES) isMore = true;
      this.#fetch(count);
      for (let i = 0; i < count; i++) {
        const at = batch.at[i]!;
        const lengthBytes = batch.lengthBytes[i]!;
        if (engine.process(index, at, lengthBytes, nowMs) === VERDICT_LOCAL) {
          onLocal(index, at, lengthBytes);
          pool.free(at);
        } else {
          this.hasWorked = true;
        }
      }
    }
    return isMore;
  }

  /** Reads from each frame of the batch. Another CPU wrote them: to fetch them all at once costs hardly more than to fetch one. */
  #fetch(count: number): void {
    const { at } = this.#batch;
    const { bytes } = this.#options.pool;
    let read = 0;
    for (let i = 0; i < count; i++) read += bytes[at[i]!]!;
    this.#read[0] = read;
  }

  #applyReplicas(nowMs: number): boolean {
    const { engine, replicas, applied, onReplica } = this.#options;
    const waiting = replicas.length();
    if (waiting === 0) return false;
    const count = Math.min(waiting, REPLICAS_MAX);
    for (let i = 0; i < count; i++) {
      const at = replicas.at(i);
      onReplica(at, engine.applyReplica(replicas.bytes, at, nowMs));
    }
    replicas.release(count);
    applied[0] = applied[0]! + count;
    this.#isAppliedNews = true;
    this.hasWorked = true;
    return count < waiting;
  }

  #flush(): void {
    const { ports } = this.#options;
    for (let index = 0; index < ports.length; index++) ports[index]!.flush();
  }

  #finish(nowMs: number): void {
    const { changes, wakeMain } = this.#options;
    this.#flush();
    // Too early for the main thread, the next turn or tick looks again.
    if ((changes.length() > 0 && changes.takeArmed(nowMs)) || this.#isAppliedNews) {
      this.#isAppliedNews = false;
      wakeMain();
    }
  }
}
