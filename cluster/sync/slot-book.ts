/**
 * Slot book: for each slot that this node owns (or is leaving), who must hold its copy and how far that is. A router has two:
 * one for backups and new owners, one for former backups, which get every change until their successors are proven.
 * Owns these columns and their transitions; records are routed by router.ts.
 *
 *   NONE    nobody to send to
 *   HELD <------------------ acknowledged -----------------+     every earlier change is there; live changes keep it so
 *    |                                                     |
 *    | new backup, lost records, resync asked for          |
 *    v                                                     |
 *   WANTED --request--> REQUESTED --BEGIN--> STREAMING --END--> ENDED --DIGEST--> SENT
 *      ^__________________ session ended, deadline passed _________________________|
 *
 * A slot is `lost` while records of it were dropped on their way: until a snapshot made up for them, no change may be
 * claimed as applied by that peer.
 */
import { formerOf } from "../control/former.ts";
import type { SlotTable } from "../control/model.ts";

export const COPY_NONE = 0;
export const COPY_HELD = 1;
export const COPY_WANTED = 2;
export const COPY_REQUESTED = 3;
export const COPY_STREAMING = 4;
export const COPY_ENDED = 5;
export const COPY_SENT = 6;

const NODES = 256;

/** One slot's copy, as a book has it. */
export interface CopyState {
  readonly target: number;
  readonly state: number;
  readonly isLost: boolean;
  readonly lostSinceMs: number;
}

export class SlotBook {
  readonly slots: number;
  /** By slot: node id, 0 = nobody. Read per record; changed by setTable() only. */
  readonly target: Uint8Array;
  /** By slot: COPY_*. Change it with set(). */
  readonly state: Uint8Array;
  /** By slot: 1 when records were dropped on their way to the target. */
  readonly isLost: Uint8Array;
  /** By slot: 1 when this node owns it by the table; else it is leaving, or nothing of it is sent. */
  readonly isOwned: Uint8Array;
  /** By slot: 1 when no earlier owner is awaited: the contents are complete, a snapshot makes sense. */
  readonly isSettled: Uint8Array;
  /** By slot: 1 between BEGIN and DIGEST of an export by the worker, wanted or not. */
  readonly isExporting: Uint8Array;
  /** By slot: since when it is in its state. */
  readonly sinceMs: Float64Array;
  /** By slot: not to be asked for before. */
  readonly notBeforeMs: Float64Array;
  /** By slot: the wait after the next resync that is asked for. */
  readonly backoffMs: Float64Array;
  /** By slot in SENT: the sequence of its digest. */
  readonly digestSequence: Float64Array;
  /** By node: slots whose records were lost on their way there. */
  readonly lostSlots = new Uint16Array(NODES);
  /** By node: since when, for as long as there are such slots. */
  readonly lostSinceMs = new Float64Array(NODES);
  /** By node: slots in STREAMING or ENDED. */
  readonly streaming = new Uint16Array(NODES);
  /** Slots from REQUESTED to SENT. */
  underWay = 0;
  sentSlots = 0;
  wantedSlots = 0;
  readonly #selfId: number;
  /** By slot: 1 from when this life owned it until it has left it. */
  readonly #isOurs: Uint8Array;
  readonly #isOfFormers: boolean;
  readonly #backupEpoch: Float64Array;
  readonly #isProven: Uint8Array;

  constructor(selfId: number, slots: number, isOfFormers = false) {
    this.#selfId = selfId;
    this.#isOfFormers = isOfFormers;
    this.slots = slots;
    this.target = new Uint8Array(slots);
    this.state = new Uint8Array(slots);
    this.isLost = new Uint8Array(slots);
    this.isOwned = new Uint8Array(slots);
    this.isSettled = new Uint8Array(slots);
    this.isExporting = new Uint8Array(slots);
    this.sinceMs = new Float64Array(slots);
    this.notBeforeMs = new Float64Array(slots);
    this.backoffMs = new Float64Array(slots);
    this.digestSequence = new Float64Array(slots);
    this.#isOurs = new Uint8Array(slots);
    this.#backupEpoch = new Float64Array(slots);
    this.#isProven = new Uint8Array(slots);
  }

  /** Follows a committed table; one with the same epoch may still differ in what is proven and who is awaited. */
  setTable(table: SlotTable, nowMs: number, isAdmitted = true): void {
    for (let slot = 0; slot < this.slots; slot++) {
      const owner = table.owner[slot]!;
      const awaiting = table.awaiting[slot]!;
      const isOwned = isAdmitted && owner === this.#selfId;
      const isLeaving = owner !== this.#selfId && awaiting.includes(this.#selfId);
      const backup = table.backup[slot]!;
      const target = isOwned ? (backup === this.#selfId ? 0 : backup) : isLeaving ? owner : 0;
      this.isSettled[slot] = awaiting.length === 0 ? 1 : 0;
      if (this.#isOfFormers) this.#keep(slot, isOwned ? formerOf(table, slot) : 0, nowMs);
      else if (isOwned) this.#own(slot, target, table, nowMs);
      else this.#leave(slot, target, nowMs);
      this.isOwned[slot] = isOwned ? 1 : 0;
      if (isOwned) this.#isOurs[slot] = 1;
      else if (!isLeaving) this.#isOurs[slot] = 0;
    }
  }

  /** Moves a slot to another state. */
  set(slot: number, state: number, nowMs: number): void {
    this.#count(slot, -1);
    this.state[slot] = state;
    this.sinceMs[slot] = nowMs;
    this.#count(slot, 1);
  }

  /** Records of the slot were dropped on their way; it has to be sent whole. */
  lose(slot: number, sinceMs: number, nowMs: number): void {
    const target = this.target[slot]!;
    if (target === 0) return;
    if (this.isLost[slot] === 0) {
      this.isLost[slot] = 1;
      if (this.lostSlots[target]!++ === 0) this.lostSinceMs[target] = sinceMs;
    }
    if (sinceMs < this.lostSinceMs[target]!) this.lostSinceMs[target] = sinceMs;
    if (this.state[slot] !== COPY_REQUESTED) this.set(slot, COPY_WANTED, nowMs);
  }

  /** `other` had the copy of this slot that this book has from now on: what it lacked is lacking still. */
  inherit(slot: number, other: CopyState, nowMs: number): void {
    if (other.isLost) this.lose(slot, other.lostSinceMs, nowMs);
    else if (other.state !== COPY_HELD && this.state[slot] === COPY_HELD) this.set(slot, COPY_WANTED, nowMs);
  }

  /** What inherit() of another book needs, before this one follows a table. */
  copyOf(slot: number): CopyState {
    const target = this.target[slot]!;
    const isLost = this.isLost[slot] === 1;
    return { target, state: this.state[slot]!, isLost, lostSinceMs: this.lostSinceMs[target]! };
  }

  /** The copy is complete: a snapshot and all that came with it are applied. */
  hold(slot: number, nowMs: number): void {
    this.#find(slot);
    this.set(slot, COPY_HELD, nowMs);
  }

  #own(slot: number, target: number, table: SlotTable, nowMs: number): void {
    const isProven = table.synced[slot]!;
    const isSameCopy =
      this.isOwned[slot] === 1 &&
      this.target[slot] === target &&
      this.#backupEpoch[slot] === table.backupEpoch[slot]!;
    const wasProven = this.#isProven[slot] === 1;
    this.#backupEpoch[slot] = table.backupEpoch[slot]!;
    this.#isProven[slot] = isProven ? 1 : 0;
    if (isSameCopy) {
      if (isProven && !wasProven && this.state[slot] === COPY_WANTED && this.isLost[slot] === 0) {
        this.set(slot, COPY_HELD, nowMs);
      }
      return;
    }
    this.#aim(slot, target, target === 0 ? COPY_NONE : isProven ? COPY_HELD : COPY_WANTED, nowMs);
  }

  /**
   * The new owner was the proven backup as a rule: what is under way to it goes on. It lacks nothing of a slot that only an
   * earlier life owned, and must not be given what this one has of it.
   */
  #leave(slot: number, target: number, nowMs: number): void {
    if (this.target[slot] === target) return;
    const state = this.#isOurs[slot] === 1 ? COPY_WANTED : COPY_HELD;
    this.#aim(slot, target, target === 0 ? COPY_NONE : state, nowMs);
  }

  /** A former backup has everything, and gets what comes; it was proven, or it would not be one. */
  #keep(slot: number, target: number, nowMs: number): void {
    if (this.target[slot] !== target) this.#aim(slot, target, target === 0 ? COPY_NONE : COPY_HELD, nowMs);
  }

  #aim(slot: number, target: number, state: number, nowMs: number): void {
    // The same node in another role, with records lost: they are still lost.
    const isStillLost = this.isLost[slot] === 1 && this.target[slot] === target;
    if (!isStillLost) this.#find(slot);
    this.#count(slot, -1);
    this.target[slot] = target;
    this.state[slot] = isStillLost ? COPY_WANTED : state;
    this.sinceMs[slot] = nowMs;
    this.notBeforeMs[slot] = 0;
    this.backoffMs[slot] = 0;
    this.#count(slot, 1);
  }

  #find(slot: number): void {
    if (this.isLost[slot] === 0) return;
    this.isLost[slot] = 0;
    const target = this.target[slot]!;
    this.lostSlots[target] = this.lostSlots[target]! - 1;
  }

  #count(slot: number, by: number): void {
    const state = this.state[slot]!;
    if (state === COPY_WANTED) this.wantedSlots += by;
    if (state >= COPY_REQUESTED) this.underWay += by;
    if (state === COPY_SENT) this.sentSlots += by;
    if (state === COPY_STREAMING || state === COPY_ENDED) {
      const target = this.target[slot]!;
      this.streaming[target] = this.streaming[target]! + by;
    }
  }
}
