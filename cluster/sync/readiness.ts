/**
 * Readiness: what this node has proven to hold as a backup, and what it must be sent again. A digest of the owner lies at one
 * exact place in the stream; when the worker's own digest equals it there, everything before it is here, and everything
 * after it follows in order. Owns proofs and their reports; does not own how slots are sent.
 */
import { formerOf } from "../control/former.ts";
import type { SlotTable } from "../control/model.ts";
import type { SyncLimits } from "./limits.ts";

export interface ReadinessOptions {
  readonly selfId: number;
  readonly slots: number;
  readonly limits: SyncLimits;
  /** These slots are held, proven; `backupEpochs` runs along. To be committed as `ready`. */
  readonly reportReady: (slots: readonly number[], backupEpochs: readonly number[]) => void;
  /** The owner must send these slots again. */
  readonly requestResync: (ownerId: number, slots: readonly number[], reason: "digest" | "refused") => void;
}

/** Numbers that only grow. */
export interface ReadinessCounts {
  proven: number;
  /** A copy that was proven before differs: a defect somewhere, or memory that flipped. */
  divergences: number;
  /** A copy differs that was never proven: a snapshot that did not come through whole. */
  mismatches: number;
}

interface PendingDigest {
  readonly peerId: number;
  readonly epoch: number;
  /** Applied, once the worker applied this many replicas. */
  readonly position: number;
  /** When it was first seen to be applied; undefined before. */
  appliedMs: number | undefined;
}

/** A digest that the worker compared; `epoch`: of the table that its sender knew. */
interface Compared {
  readonly peerId: number;
  readonly epoch: number;
  readonly isEqual: boolean;
}

/** A worker that has not told the result of an applied digest by then did not compare it: it decides the slot itself. */
const RESULT_MS_MAX = 1000;

/** Digests of one slot between the ring and their result; more are never under way. */
const PENDING_MAX = 64;

export class Readiness {
  readonly counts: ReadinessCounts = { proven: 0, divergences: 0, mismatches: 0 };
  readonly #options: ReadinessOptions;
  readonly #pending = new Map<number, PendingDigest[]>();
  /** By slot: what was compared under a table that is still to come: replication may be faster than the log, and says it once. */
  readonly #early = new Map<number, Compared>();
  /** By slot: the backupEpoch for which it is proven; 0 = none. */
  readonly #provenEpoch: Float64Array;
  readonly #reportedMs: Float64Array;
  #table: SlotTable | undefined;
  #isNews = false;

  constructor(options: ReadinessOptions) {
    this.#options = options;
    this.#provenEpoch = new Float64Array(options.slots);
    this.#reportedMs = new Float64Array(options.slots).fill(Number.NEGATIVE_INFINITY);
  }

  setTable(table: SlotTable): void {
    this.#table = table;
    for (let slot = 0; slot < this.#options.slots; slot++) {
      if (this.#isBackup(slot) && this.#provenEpoch[slot] === table.backupEpoch[slot]) continue;
      this.#provenEpoch[slot] = 0;
      this.#reportedMs[slot] = Number.NEGATIVE_INFINITY;
    }
    for (const [slot, early] of this.#early) {
      if (early.epoch > table.epoch) continue;
      this.#early.delete(slot);
      this.#judge(slot, early, table);
    }
  }

  /** A digest was handed to the worker, as the `position`-th replica since the start. */
  expect(peerId: number, slot: number, epoch: number, position: number): void {
    const digest = { peerId, epoch, position, appliedMs: undefined };
    const pending = this.#pending.get(slot);
    if (pending === undefined) this.#pending.set(slot, [digest]);
    else if (pending.length < PENDING_MAX) pending.push(digest);
  }

  /** The worker compared the oldest digest of this slot that is pending. */
  result(slot: number, isEqual: boolean): void {
    const pending = this.#pending.get(slot);
    const digest = pending?.shift();
    if (pending?.length === 0) this.#pending.delete(slot);
    const table = this.#table;
    if (digest === undefined) return;
    const { peerId, epoch } = digest;
    const compared = { peerId, epoch, isEqual };
    this.#early.delete(slot);
    if (table === undefined || epoch > table.epoch) this.#early.set(slot, compared);
    if (table !== undefined) this.#judge(slot, compared, table);
  }

  /** A record of the slot could not be kept: the copy is not whole until it was sent again. */
  refused(slot: number): void {
    const table = this.#table;
    const owner = table?.owner[slot] ?? 0;
    this.#early.delete(slot);
    if (table === undefined || owner === 0) return;
    // First packets wait for a former backup as well.
    if (!this.#isBackup(slot) && formerOf(table, slot) !== this.#options.selfId) return;
    this.#provenEpoch[slot] = 0;
    this.#options.requestResync(owner, [slot], "refused");
  }

  /** Slots for which this node is the backup and holds a proof. */
  provenSlots(): number {
    return this.#provenEpoch.reduce((sum, epoch) => (epoch === 0 ? sum : sum + 1), 0);
  }

  /** Reports what is proven and not committed yet. `applied`: replicas applied since the start. */
  tick(nowMs: number, applied: number): void {
    this.#forgetUnanswered(nowMs, applied);
    const table = this.#table;
    if (!this.#isNews || table === undefined) return;
    this.#isNews = false;
    const slots: number[] = [];
    for (let slot = 0; slot < this.#options.slots; slot++) {
      if (this.#provenEpoch[slot] === 0 || table.synced[slot]) continue;
      this.#isNews = true;
      if (nowMs - this.#reportedMs[slot]! < this.#options.limits.readyRepeatMs) continue;
      this.#reportedMs[slot] = nowMs;
      slots.push(slot);
    }
    if (slots.length === 0) return;
    this.#options.reportReady(
      slots,
      slots.map((slot) => table.backupEpoch[slot]!),
    );
  }

  /** So that the results of later digests are not taken for those of earlier ones. */
  #forgetUnanswered(nowMs: number, applied: number): void {
    for (const [slot, pending] of this.#pending) {
      const digest = pending[0]!;
      if (digest.position > applied) continue;
      digest.appliedMs ??= nowMs;
      if (nowMs - digest.appliedMs <= RESULT_MS_MAX) continue;
      pending.shift();
      if (pending.length === 0) this.#pending.delete(slot);
    }
  }

  #judge(slot: number, { peerId, epoch, isEqual }: Compared, table: SlotTable): void {
    // A digest from before this node became the backup proves nothing about what was sent since.
    if (!this.#isBackup(slot) || peerId !== table.owner[slot] || epoch < table.backupEpoch[slot]!) return;
    if (isEqual) this.#prove(slot, table);
    else this.#differ(slot, table, peerId);
  }

  #prove(slot: number, table: SlotTable): void {
    if (this.#provenEpoch[slot] === table.backupEpoch[slot]) return;
    this.#provenEpoch[slot] = table.backupEpoch[slot]!;
    this.counts.proven++;
    this.#isNews = true;
  }

  #differ(slot: number, table: SlotTable, ownerId: number): void {
    if (this.#provenEpoch[slot] !== 0 || table.synced[slot]) this.counts.divergences++;
    else this.counts.mismatches++;
    this.#provenEpoch[slot] = 0;
    this.#options.requestResync(ownerId, [slot], "digest");
  }

  #isBackup(slot: number): boolean {
    return this.#table?.backup[slot] === this.#options.selfId;
  }
}
