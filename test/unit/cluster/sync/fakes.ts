/**
 * Fakes for the sync cores: a link whose both sides the test holds, a clock it moves, records it writes by hand, and tables.
 */
import { emptyState, type SlotTable } from "../../../../cluster/control/model.ts";
import type { LinkHandlers, SyncLink } from "../../../../cluster/sync/link.ts";
import { type Env, seededRandom } from "../../../../src/base/env.ts";
import { OP_UPSERT, RECORD_BYTES, RECORD_WIRE_VERSION } from "../../../../src/base/record.ts";
import { createRing, RecordRing } from "../../../../src/base/ring.ts";

export const SLOTS = 16;

export class FakeClock implements Env {
  ms = 1000;
  readonly #random = seededRandom(1);

  nowMs(): number {
    return this.ms;
  }

  random(bound: number): number {
    return this.#random(bound);
  }
}

export class FakeLink<Out, In> implements SyncLink<Out, In> {
  readonly sent: Out[] = [];
  handlers: LinkHandlers<In> | undefined;
  isFull = false;
  isPaused = false;
  isClosed = false;

  bind(handlers: LinkHandlers<In>): void {
    this.handlers = handlers;
  }

  send(message: Out): boolean {
    if (this.isFull || this.isClosed) return false;
    // The sender goes on to use its slab.
    this.sent.push(structuredClone(message));
    return true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(): void {
    this.isClosed = true;
  }

  /** Takes what was sent since the last call. */
  take(): Out[] {
    return this.sent.splice(0);
  }

  receive(message: In): void {
    this.handlers!.onMessage(message);
  }

  unblock(): void {
    this.isFull = false;
    this.handlers!.onWritable();
  }

  breakOff(): void {
    this.isClosed = true;
    this.handlers!.onClose("broken");
  }
}

export interface RecordFields {
  readonly op?: number;
  readonly slot?: number;
  readonly hash?: number;
  readonly version?: number;
  readonly epoch?: number;
  readonly wire?: number;
}

export function record(fields: RecordFields = {}): Uint8Array {
  const bytes = new Uint8Array(RECORD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, fields.op ?? OP_UPSERT);
  view.setUint8(1, fields.wire ?? RECORD_WIRE_VERSION);
  view.setUint16(2, fields.slot ?? 0, true);
  view.setUint32(4, fields.hash ?? 0, true);
  view.setUint32(8, fields.version ?? 1, true);
  view.setUint32(12, fields.epoch ?? 1, true);
  return bytes;
}

export function slabOf(...records: readonly Uint8Array[]): Uint8Array {
  const slab = new Uint8Array(records.length * RECORD_BYTES);
  for (const [i, bytes] of records.entries()) slab.set(bytes, i * RECORD_BYTES);
  return slab;
}

export function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

export function ring(capacity: number): RecordRing {
  return new RecordRing(createRing(RECORD_BYTES, capacity));
}

export function publish(to: RecordRing, fields: RecordFields): void {
  const at = to.reserve();
  to.bytes.set(record(fields), at);
  to.publish();
}

/** Takes all records out of a ring: op, slot, hash. */
export function drainRing(from: RecordRing): { op: number; slot: number; hash: number }[] {
  const out: { op: number; slot: number; hash: number }[] = [];
  const count = from.length();
  for (let i = 0; i < count; i++) {
    const at = from.at(i);
    out.push({
      op: from.view.getUint8(at),
      slot: from.view.getUint16(at + 2, true),
      hash: from.view.getUint32(at + 4, true),
    });
  }
  from.release(count);
  return out;
}

/** Node 1 owns every slot, node 2 backs it up. */
export function pairTable(change: Partial<SlotTable> = {}): SlotTable {
  const base = emptyState(SLOTS).table;
  return {
    ...base,
    epoch: 1,
    owner: base.owner.map(() => 1),
    backup: base.backup.map(() => 2),
    synced: base.synced.map(() => true),
    movedEpoch: base.movedEpoch.map(() => 1),
    backupEpoch: base.backupEpoch.map(() => 1),
    ...change,
  };
}

/** `cells` with one of them changed. */
export function put<T>(cells: readonly T[], slot: number, value: T): T[] {
  return cells.map((cell, s) => (s === slot ? value : cell));
}
