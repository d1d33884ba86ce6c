/**
 * Former backups: a slot that is given another backup keeps the old one until the new one is proven, so that there is no
 * moment with one copy. Owns how a table tells of them (ADR 50):
 *
 *   backup proven ----> backup new, former = the old one ----ready----> backup proven, former kept ----> former released
 *   waits for it        first packets wait for the former               they wait for both               they wait for the backup
 *
 * Both copies count while the former is kept: owners go by a committed table a moment later than it was committed, and one
 * that still waits for the former alone may die just then. So the former takes over as long as it is in the table.
 */
import type { SlotTable } from "./model.ts";

/** The former backup that slot `s` still has; 0: none. */
export function formerOf({ former }: SlotTable, s: number): number {
  return former?.[s] ?? 0;
}

/** Who takes slot `s` over when its owner dies, and whose copy is whole; 0: nobody. */
export function heirOf(table: SlotTable, s: number): number {
  return formerOf(table, s) || table.backup[s]!;
}

/** Who has a proven copy besides the owner: the former backup, or the backup; 0: nobody. */
export function keeperOf(table: Pick<SlotTable, "backup" | "synced" | "former">, s: number): number {
  return table.former?.[s] || (table.synced[s] === true ? table.backup[s]! : 0);
}

/** Whose copy first packets wait for besides the heir's: the new backup's, once it is proven; 0: nobody's. */
export function coBackupOf(table: SlotTable, s: number): number {
  return formerOf(table, s) !== 0 && table.synced[s] === true ? table.backup[s]! : 0;
}

/** The table names `id`: as owner, as backup or as former backup. */
export function holds(table: SlotTable, id: number): boolean {
  return table.owner.includes(id) || table.backup.includes(id) || table.former?.includes(id) === true;
}

/** The column of a table: absent when no slot has one. */
export function formerColumn(cells: readonly number[]): Pick<SlotTable, "former"> {
  return cells.some((id) => id !== 0) ? { former: cells } : {};
}

/** `table` without the cells of `isOver`. */
export function withoutFormers(table: SlotTable, isOver: (s: number) => boolean): SlotTable {
  const { former, ...rest } = table;
  if (former === undefined) return table;
  return { ...rest, ...formerColumn(former.map((id, s) => (isOver(s) ? 0 : id))) };
}

/** The next table once new backups are proven: their formers are released. The same table when there is none. */
export function releaseFormers(table: SlotTable): SlotTable {
  const isOver = (s: number): boolean => formerOf(table, s) !== 0 && table.synced[s] === true;
  if (!table.owner.some((_, s) => isOver(s))) return table;
  return { ...withoutFormers(table, isOver), epoch: table.epoch + 1, cause: "backup" };
}
