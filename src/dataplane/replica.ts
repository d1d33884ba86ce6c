/**
 * Replicas: applies what other nodes say about the flows of their slots. Owns the order of versions, snapshots and digests
 * on the receiving side; a replica expires only when its owner says so.
 *
 * A record is newer when its epoch is higher, or equal with a version not lower. Inside a snapshot order alone counts: the
 * stream comes from the slot's owner, and what this node knew before may never have left it.
 */
import {
  OP_BARRIER,
  OP_DELETE,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_OPAQUE_AT,
  RECORD_WIRE_VERSION,
} from "../base/record.ts";
import { MAX_SLOTS, SLOT_OWNED } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_DEADLINE,
  F_META,
  F_RECORD_EPOCH,
  F_SNAPSHOT,
  F_TRACKED,
  F_VERSION,
  FLAG_REPLICA,
  FLAG_RESEED,
  FLAGS_BORN,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import {
  decodeKeys,
  decodeState,
  findRecord,
  findRecordReply,
  flowDigest,
  readWord,
  recordEpoch,
  recordFlags,
  recordOperation,
  recordSlot,
  recordVersion,
  recordWire,
} from "./flow-record.ts";
import { isSound } from "./record-check.ts";

export const REPLICA_APPLIED = 0;
/** Older than what is held. */
export const REPLICA_STALE = 1;
/** The slot is ours to decide, the format is unknown, or the flow is none that a node can have. */
export const REPLICA_REFUSED = 2;
export const REPLICA_DIGEST_OK = 3;
export const REPLICA_DIGEST_BAD = 4;
export const REPLICA_BARRIER = 5;
/** The table is full: this copy of the slot is not whole from here on. */
export const REPLICA_NO_ROOM = 6;

export class Replicas {
  readonly #context: EngineContext;
  readonly #book: FlowBook;
  /** By slot: 1 between SNAPSHOT_BEGIN and SNAPSHOT_END. */
  readonly #isInSnapshot = new Uint8Array(MAX_SLOTS);

  constructor(context: EngineContext, book: FlowBook) {
    this.#context = context;
    this.#book = book;
  }

  /** Applies the record at `at`: REPLICA_*. */
  apply(bytes: Uint8Array, at: number): number {
    const status = this.#apply(bytes, at);
    const { counters } = this.#context;
    if (status === REPLICA_APPLIED) count(counters, COUNT.replicasApplied);
    else if (status === REPLICA_STALE) count(counters, COUNT.replicasStale);
    else if (status === REPLICA_REFUSED || status === REPLICA_NO_ROOM) count(counters, COUNT.replicasRefused);
    else if (status === REPLICA_DIGEST_BAD) count(counters, COUNT.digestMismatches);
    return status;
  }

  #apply(bytes: Uint8Array, at: number): number {
    const { view, table } = this.#context;
    const slot = recordSlot(bytes, at);
    // Replication has made it a record of this build's version (cluster/sync/wire-format.ts).
    if (recordWire(bytes, at) !== RECORD_WIRE_VERSION || slot >= view.slots) return REPLICA_REFUSED;
    const operation = recordOperation(bytes, at);
    if (operation === OP_BARRIER) return REPLICA_BARRIER;
    // Who decides a slot takes nobody's word for it, except from a later epoch: then it is this node that is behind.
    if (view.state[slot] === SLOT_OWNED && recordEpoch(bytes, at) <= view.epoch) return REPLICA_REFUSED;
    switch (operation) {
      case OP_UPSERT:
        return this.#upsert(bytes, at, slot);
      case OP_DELETE:
        return this.#delete(bytes, at);
      case OP_SNAPSHOT_BEGIN:
        table.beginSnapshot(slot);
        this.#isInSnapshot[slot] = 1;
        return REPLICA_APPLIED;
      case OP_SNAPSHOT_END:
        this.#dropUnrefreshed(slot);
        return REPLICA_APPLIED;
      case OP_DIGEST: {
        const isEqual =
          readWord(bytes, at + RECORD_OPAQUE_AT) === table.slotCount(slot) &&
          readWord(bytes, at + RECORD_OPAQUE_AT + 4) === table.slotSum(slot);
        return isEqual ? REPLICA_DIGEST_OK : REPLICA_DIGEST_BAD;
      }
      default:
        return REPLICA_REFUSED;
    }
  }

  #upsert(bytes: Uint8Array, at: number, slot: number): number {
    const { table, view, clock, key } = this.#context;
    if (!isSound(bytes, at, view.slots)) return REPLICA_REFUSED;
    const words = table.words;
    let entry = findRecord(table, bytes, at);
    if (entry !== NONE && !this.#isSameFlow(bytes, at, entry, slot)) {
      // The tuple belongs to an older flow: with another NAT binding, of another slot, or turned round.
      if (!this.#giveWay(entry >> 1)) return REPLICA_REFUSED;
      entry = NONE;
    }
    if (entry !== NONE && !this.#isNewer(bytes, at, entry >> 1, slot)) return REPLICA_STALE;
    let row = entry >> 1;
    if (entry === NONE) {
      const other = findRecordReply(table, bytes, at);
      if (other !== NONE && !this.#giveWay(other >> 1)) return REPLICA_REFUSED;
      row = this.#book.allocate();
      if (row === NONE) return REPLICA_NO_ROOM;
      decodeKeys(bytes, at, words, row);
      decodeState(bytes, at, table, row, clock);
      this.#book.enter(row);
    } else {
      const deadline = row * ROW_DOUBLES + D_DEADLINE;
      const before = table.doubles[deadline]!;
      decodeState(bytes, at, table, row, clock);
      if (table.doubles[deadline]! < before) table.rearm(row);
      this.#book.account.rejoin(row);
    }
    const base = row * ROW_WORDS;
    words[base + F_META] = words[base + F_META]! | FLAG_REPLICA | FLAG_RESEED;
    words[base + F_TRACKED] = 0;
    this.#book.replaced(row);
    table.setDigest(row, flowDigest(key, words, row));
    if (this.#isInSnapshot[slot] === 1) table.refresh(row, table.slotSnapshot(slot));
    return REPLICA_APPLIED;
  }

  #delete(bytes: Uint8Array, at: number): number {
    const { table } = this.#context;
    const slot = recordSlot(bytes, at);
    const entry = findRecord(table, bytes, at);
    if (entry === NONE || !this.#isSameFlow(bytes, at, entry, slot)) return REPLICA_APPLIED;
    if (!this.#isNewer(bytes, at, entry >> 1, slot)) return REPLICA_STALE;
    this.#book.leave(entry >> 1);
    return REPLICA_APPLIED;
  }

  /** Whether the record speaks of exactly the flow in the table: both tuples, the slot and all that a flow is born with agree. */
  #isSameFlow(bytes: Uint8Array, at: number, entry: number, slot: number): boolean {
    const { table } = this.#context;
    if ((entry & 1) !== 0 || table.slotOf(entry >> 1) !== slot) return false;
    // By these flags it was counted at its binding (nat-account.ts), and by the same it has to leave.
    const meta = table.words[(entry >> 1) * ROW_WORDS + F_META]!;
    if (((meta ^ recordFlags(bytes, at)) & FLAGS_BORN) !== 0) return false;
    const other = findRecordReply(table, bytes, at);
    return other === entry + 1;
  }

  /** Removes a flow that stands in a newer record's way. False when it is ours to decide: then the record must wait. */
  #giveWay(row: number): boolean {
    const { table, view } = this.#context;
    if (view.state[table.slotOf(row)] === SLOT_OWNED) return false;
    this.#book.leave(row);
    return true;
  }

  #isNewer(bytes: Uint8Array, at: number, row: number, slot: number): boolean {
    if (this.#isInSnapshot[slot] === 1) return true;
    const words = this.#context.table.words;
    const base = row * ROW_WORDS;
    const epochs = (recordEpoch(bytes, at) - words[base + F_RECORD_EPOCH]!) | 0;
    if (epochs !== 0) return epochs > 0;
    return ((recordVersion(bytes, at) - words[base + F_VERSION]!) | 0) >= 0;
  }

  /** A snapshot moved what it refreshed to the front of the slot's list: the stale rest is its tail. */
  #dropUnrefreshed(slot: number): void {
    const { table } = this.#context;
    if (this.#isInSnapshot[slot] === 0) return;
    this.#isInSnapshot[slot] = 0;
    const generation = table.slotSnapshot(slot);
    let row = table.slotTail(slot);
    while (row !== NONE && table.words[row * ROW_WORDS + F_SNAPSHOT] !== generation) {
      this.#book.leave(row);
      row = table.slotTail(slot);
    }
  }
}
