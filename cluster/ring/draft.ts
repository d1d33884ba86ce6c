/**
 * Draft: a slot table under change. Owns the bookkeeping that every change of a slot needs, so that no caller forgets half
 * of it (who is awaited, in which epoch a slot moved, that a new backup holds nothing yet, and who held all before it).
 */
import { formerColumn, keeperOf } from "../control/former.ts";
import type { SlotTable } from "../control/model.ts";

export class Draft {
  readonly epoch: number;
  readonly owner: number[];
  readonly backup: number[];
  readonly synced: boolean[];
  readonly awaiting: (readonly number[])[];
  readonly movedEpoch: number[];
  readonly backupEpoch: number[];
  /** Nobody: 0. */
  readonly former: number[];
  readonly #base: SlotTable;
  #isChanged = false;

  constructor(base: SlotTable) {
    this.#base = base;
    this.epoch = base.epoch + 1;
    this.owner = [...base.owner];
    this.backup = [...base.backup];
    this.synced = [...base.synced];
    this.awaiting = [...base.awaiting];
    this.movedEpoch = [...base.movedEpoch];
    this.backupEpoch = [...base.backupEpoch];
    this.former = [...(base.former ?? base.owner.map(() => 0))];
  }

  get slots(): number {
    return this.owner.length;
  }

  /**
   * Gives slot `s` to `to` (0: nobody). The node that had it, and whoever was awaited before, stay awaited until proven to
   * have let go. The new owner never awaits itself: it is one process, which knows what it still decides; a process of
   * that id from an earlier life is gone, or the id could not be alive now.
   */
  setOwner(s: number, to: number): void {
    const from = this.owner[s] as number;
    const awaited = this.awaiting[s] as readonly number[];
    const all = from === 0 || awaited.includes(from) ? awaited : [...awaited, from];
    this.awaiting[s] = all.filter((id) => id !== to);
    this.owner[s] = to;
    this.movedEpoch[s] = this.epoch;
    this.#isChanged = true;
  }

  /**
   * Makes `to` the backup of `s`. `holdsAll`: it is known to have the slot's whole state already. Nobody else keeps a copy: the
   * one that had it is gone, is `to` or owns the slot now.
   */
  setBackup(s: number, to: number, holdsAll: boolean): void {
    this.backup[s] = to;
    this.synced[s] = holdsAll && to !== 0;
    this.backupEpoch[s] = this.epoch;
    this.former[s] = 0;
    this.#isChanged = true;
  }

  /**
   * Makes `to` the backup of `s`, which holds nothing yet. A living node that holds all keeps its copy until `to` is proven; it
   * is the backup itself when there is nobody else (0).
   */
  changeBackup(s: number, to: number, isLiving: (id: number) => boolean): void {
    const whole = keeperOf(this, s);
    const kept = whole !== this.owner[s] && isLiving(whole) ? whole : 0;
    if (kept !== 0 && (to === 0 || to === kept)) {
      this.setBackup(s, kept, true);
      return;
    }
    this.setBackup(s, to, false);
    this.former[s] = kept;
  }

  /** The slot has no former backup any more. */
  dropFormer(s: number): void {
    if (this.former[s] === 0) return;
    this.former[s] = 0;
    this.#isChanged = true;
  }

  /** The new table, or the old one itself (same object) when nothing changed. */
  finish(cause: SlotTable["cause"]): SlotTable {
    if (!this.#isChanged) return this.#base;
    return {
      epoch: this.epoch,
      owner: this.owner,
      backup: this.backup,
      synced: this.synced,
      awaiting: this.awaiting,
      movedEpoch: this.movedEpoch,
      backupEpoch: this.backupEpoch,
      ...formerColumn(this.former),
      cause,
    };
  }
}
