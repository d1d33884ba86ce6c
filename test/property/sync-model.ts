/**
 * Model worker: stands in for the dataplane worker of one node. Publishes changes, exports, digests and barriers into the
 * changes ring, applies the replicas ring by the rules of src/base/record.ts. A flow is a hash with a version in a slot.
 */

import type { SlotTable } from "../../cluster/control/model.ts";
import { RECORD_FORMATS, type RecordFormat } from "../../cluster/sync/wire-format.ts";
import { assert } from "../../src/base/assert.ts";
import {
  OP_BARRIER,
  OP_DELETE,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_EPOCH_AT,
  RECORD_HASH_AT,
  RECORD_OP_AT,
  RECORD_OPAQUE_AT,
  RECORD_SLOT_AT,
  RECORD_VERSION_AT,
  RECORD_WIRE_AT,
} from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";

/** A version of records that is still to come: four words more, the first of them a function of the flow. */
export const LATER_FORMAT: RecordFormat = { version: 2, bytes: RECORD_FORMATS[0]!.bytes + 16 };
const LATER_AT = RECORD_FORMATS[0]!.bytes;
const laterOf = (hash: number): number => (hash ^ 0x5bd1_e995) >>> 0;

export interface Change {
  readonly op: number;
  readonly slot: number;
  readonly hash: number;
  readonly version: number;
  /** Node that must get it by the table known when it was drained; -1 before. */
  target: number;
  role: number;
}

interface Export {
  readonly slot: number;
  readonly hashes: readonly number[];
  at: number;
}

export interface ModelEvents {
  digest(slot: number, isEqual: boolean): void;
  settled(slot: number, movedEpoch: number): void;
}

export class ModelWorker {
  readonly id: number;
  readonly changes: RecordRing;
  readonly replicas: RecordRing;
  readonly applied = new Float64Array(1);
  /** By slot: hash -> version. */
  readonly flows: Map<number, number>[];
  /** hash -> epoch of the last change. */
  readonly #epochs = new Map<number, number>();
  /** Everything that was published, in order: the n-th change is log[n - 1]. */
  readonly log: Change[] = [];
  refused = 0;
  #table: SlotTable | undefined;
  readonly #active: boolean[];
  readonly #barriers: number[];
  /** By slot: hashes refreshed since SNAPSHOT_BEGIN. */
  readonly #refreshed: (Set<number> | undefined)[];
  readonly #owedBarriers = new Map<number, number>();
  #exports: Export[] = [];
  #digests: number[] = [];
  readonly #events: ModelEvents;
  readonly #format: RecordFormat;
  /** Flows applied whose record told what only the later version tells, and those whose did not. */
  readonly told = { later: 0, earlier: 0 };

  constructor(
    id: number,
    slots: number,
    changesCapacity: number,
    replicasCapacity: number,
    events: ModelEvents,
    format: RecordFormat = RECORD_FORMATS[0]!,
  ) {
    this.id = id;
    this.#format = format;
    this.#events = events;
    this.changes = new RecordRing(createRing(format.bytes, changesCapacity));
    this.replicas = new RecordRing(createRing(format.bytes, replicasCapacity));
    this.flows = Array.from({ length: slots }, () => new Map());
    this.#active = new Array<boolean>(slots).fill(false);
    this.#barriers = new Array<number>(slots).fill(0);
    this.#refreshed = new Array<Set<number> | undefined>(slots).fill(undefined);
  }

  isActive(slot: number): boolean {
    return this.#active[slot]!;
  }

  setTable(table: SlotTable): void {
    this.#table = table;
    for (let slot = 0; slot < this.flows.length; slot++) {
      if (table.owner[slot] === this.id) {
        this.#tryActivate(slot);
      } else {
        this.#active[slot] = false;
        // Who is leaving a slot still sends it whole when asked: changes may have been lost before the barrier.
        if (table.awaiting[slot]!.includes(this.id)) this.#owedBarriers.set(slot, table.movedEpoch[slot]!);
        else this.#exports = this.#exports.filter((e) => e.slot !== slot);
      }
    }
  }

  /** Makes, changes or ends a flow; nothing happens when the ring is full or the slot is not this node's. */
  change(slot: number, hash: number, isDelete: boolean): void {
    if (!this.#active[slot]) return;
    const held = this.flows[slot]!.get(hash);
    if (isDelete && held === undefined) return;
    // A flow that comes again under the same hash is newer than the one before.
    const version = (held ?? this.#lastVersion.get(hash) ?? 0) + 1;
    if (!this.#publish(isDelete ? OP_DELETE : OP_UPSERT, slot, hash, version)) return;
    this.#lastVersion.set(hash, version);
    this.#epochs.set(hash, this.#table!.epoch);
    if (isDelete) this.flows[slot]!.delete(hash);
    else this.flows[slot]!.set(hash, version);
  }

  readonly #lastVersion = new Map<number, number>();

  requestExport(slots: readonly number[]): void {
    for (const slot of slots) {
      // One that is being sent now is sent once more afterwards, as the exporter does.
      if (this.#exports.some((e) => e.slot === slot && e.at < 0)) continue;
      this.#exports.push({ slot, hashes: [], at: -1 });
    }
  }

  requestDigest(slots: readonly number[]): void {
    this.#digests.push(...slots);
  }

  /** Publishes what is due: barriers, then a slice of an export, then digests. */
  work(slice: number): void {
    for (const [slot, epoch] of this.#owedBarriers) {
      if (this.#publish(OP_BARRIER, slot, 0, 0, 0, 0, epoch)) this.#owedBarriers.delete(slot);
    }
    for (let i = 0; i < slice && this.#exports.length > 0; i++) {
      if (this.changes.isHeldBack) break;
      if (this.changes.length() >= this.changes.capacity - (this.changes.capacity >> 2)) break;
      if (this.#exportStep(this.#exports[0]!)) this.#exports.shift();
    }
    while (this.#digests.length > 0) {
      const slot = this.#digests[0]!;
      const isMidway = this.#exports[0]?.slot === slot && this.#exports[0].at >= 0;
      if (this.#active[slot] && !isMidway && !this.#publishDigest(slot)) break;
      this.#digests.shift();
    }
  }

  /** Applies up to `count` replicas. */
  apply(count: number): void {
    const ring = this.replicas;
    const ready = Math.min(count, ring.length());
    for (let i = 0; i < ready; i++) this.#applyOne(ring.at(i));
    ring.release(ready);
    this.applied[0] = this.applied[0]! + ready;
  }

  #exportStep(task: { -readonly [K in keyof Export]: Export[K] }): boolean {
    if (task.at < 0) {
      if (!this.#publish(OP_SNAPSHOT_BEGIN, task.slot, 0, 0)) return false;
      task.hashes = [...this.flows[task.slot]!.keys()];
      task.at = 0;
      return false;
    }
    if (task.at < task.hashes.length) {
      const hash = task.hashes[task.at]!;
      const version = this.flows[task.slot]!.get(hash);
      // As it was last published, with the epoch of then.
      const epoch = this.#epochs.get(hash);
      if (version === undefined || this.#publish(OP_UPSERT, task.slot, hash, version, 0, 0, epoch)) task.at++;
      return false;
    }
    if (task.at === task.hashes.length) {
      if (this.#publish(OP_SNAPSHOT_END, task.slot, 0, 0)) task.at++;
      return false;
    }
    return this.#publishDigest(task.slot);
  }

  #publishDigest(slot: number): boolean {
    const { count, sum } = digestOf(this.flows[slot]!);
    return this.#publish(OP_DIGEST, slot, 0, 0, count, sum);
  }

  #publish(op: number, slot: number, hash: number, version: number, a = 0, b = 0, epoch = 0): boolean {
    const at = this.changes.reserve();
    if (at < 0) {
      this.refused++;
      return false;
    }
    const { view } = this.changes;
    view.setUint8(at + RECORD_OP_AT, op);
    view.setUint8(at + RECORD_WIRE_AT, this.#format.version);
    if (this.#format.version > 1) view.setUint32(at + LATER_AT, laterOf(hash), true);
    view.setUint16(at + RECORD_SLOT_AT, slot, true);
    view.setUint32(at + RECORD_HASH_AT, hash, true);
    view.setUint32(at + RECORD_VERSION_AT, version, true);
    view.setUint32(at + RECORD_EPOCH_AT, epoch || (this.#table?.epoch ?? 0), true);
    view.setUint32(at + RECORD_OPAQUE_AT, a, true);
    view.setUint32(at + RECORD_OPAQUE_AT + 4, b, true);
    // Barriers tell their sender, as the engine's do.
    view.setUint32(at + RECORD_OPAQUE_AT + 8, this.id, true);
    this.changes.publish();
    this.log.push({ op, slot, hash, version, target: -1, role: 0 });
    return true;
  }

  /** What a later version adds is right, or zero when an older build was on the way. */
  #noteLater(hash: number, later: number): void {
    assert(later === 0 || later === laterOf(hash), "what the later version tells is garbled");
    if (later === 0) this.told.earlier++;
    else this.told.later++;
  }

  #applyOne(at: number): void {
    const { view } = this.replicas;
    assert(
      view.getUint8(at + RECORD_WIRE_AT) === this.#format.version,
      "a record of another version came through",
    );
    const op = view.getUint8(at + RECORD_OP_AT);
    const slot = view.getUint16(at + RECORD_SLOT_AT, true);
    const hash = view.getUint32(at + RECORD_HASH_AT, true);
    const version = view.getUint32(at + RECORD_VERSION_AT, true);
    const flows = this.flows[slot]!;
    if (op === OP_BARRIER) {
      this.#barriers[slot] = Math.max(this.#barriers[slot]!, view.getUint32(at + RECORD_EPOCH_AT, true));
      this.#tryActivate(slot);
      return;
    }
    if (op === OP_DIGEST) {
      const own = digestOf(flows);
      const isEqual =
        own.count === view.getUint32(at + RECORD_OPAQUE_AT, true) &&
        own.sum === view.getUint32(at + RECORD_OPAQUE_AT + 4, true);
      this.#events.digest(slot, isEqual);
      return;
    }
    // Who decides a slot is told nothing about it by others.
    if (this.#active[slot]) return;
    const refreshed = this.#refreshed[slot];
    if (op === OP_SNAPSHOT_BEGIN) {
      this.#refreshed[slot] = new Set();
    } else if (op === OP_SNAPSHOT_END) {
      if (refreshed !== undefined) for (const h of [...flows.keys()]) if (!refreshed.has(h)) flows.delete(h);
      this.#refreshed[slot] = undefined;
    } else if (op === OP_UPSERT || op === OP_DELETE) {
      const epoch = view.getUint32(at + RECORD_EPOCH_AT, true);
      if (this.#format.version > 1) this.#noteLater(hash, view.getUint32(at + LATER_AT, true));
      const held = flows.get(hash);
      this.#lastVersion.set(hash, Math.max(version, this.#lastVersion.get(hash) ?? 0));
      refreshed?.add(hash);
      // Within a snapshot order alone counts, else the later epoch, then the later version.
      const epochs = epoch - (this.#epochs.get(hash) ?? 0);
      const isNewer = epochs > 0 || (epochs === 0 && version >= (held ?? 0));
      if (held !== undefined && refreshed === undefined && !isNewer) return;
      this.#epochs.set(hash, epoch);
      if (op === OP_UPSERT) flows.set(hash, version);
      else flows.delete(hash);
    }
  }

  #tryActivate(slot: number): void {
    const table = this.#table;
    if (table === undefined || table.owner[slot] !== this.id || this.#active[slot]) return;
    const isAwaiting = table.awaiting[slot]!.length > 0;
    if (isAwaiting && this.#barriers[slot]! < table.movedEpoch[slot]!) return;
    this.#active[slot] = true;
    if (isAwaiting) this.#events.settled(slot, table.movedEpoch[slot]!);
  }
}

export function digestOf(flows: ReadonlyMap<number, number>): {
  readonly count: number;
  readonly sum: number;
} {
  let sum = 0;
  for (const [hash, version] of flows)
    sum = (sum + Math.imul(hash + 1, 0x9e3779b1) + Math.imul(version, 0x85ebca6b)) >>> 0;
  return { count: flows.size, sum };
}
