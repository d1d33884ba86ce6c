/**
 * Draft: a slot table under change. Owns the bookkeeping that every change of a slot needs, so that no caller forgets half
 * of it (who is awaited, in which epoch a slot moved, that a new backup holds nothing yet).
 */
import type { SlotTable } from "../control/model.ts";

export class Draft {
  readonly epoch: number;
  readonly owner: number[];
  readonly backup: number[];
  readonly synced: boolean[];
  readonly awaiting: (readonly number[])[];
  readonly movedEpoch: number[];
  readonly backupEpoch: number[];
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

  /** Makes `to` the backup of `s`. `holdsAll`: it is known to have the slot's whole state already. */
  setBackup(s: number, to: number, holdsAll: boolean): void {
    this.backup[s] = to;
    this.synced[s] = holdsAll && to !== 0;
    this.backupEpoch[s] = this.epoch;
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
      cause,
    };
  }
}
