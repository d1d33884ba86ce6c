/**
 * Table changes: checks a proposed slot table against the present one and merges it, so that no proposer can skip an epoch,
 * give slots to the dead, forget who is still awaited, or undo a proof that was committed after it computed its table.
 */
import { isCarrier } from "./commands.ts";
import { formerColumn, formerOf, withoutFormers } from "./former.ts";
import type { Member, SlotTable } from "./model.ts";

/** Why `next` cannot follow `present`; undefined when it can. */
export function refusal(present: SlotTable, next: SlotTable, members: readonly Member[]): string | undefined {
  const slots = present.owner.length;
  const { owner, backup, synced, awaiting, movedEpoch, backupEpoch, former } = next;
  const columns = [owner, backup, synced, awaiting, movedEpoch, backupEpoch, ...(former ? [former] : [])];
  if (columns.some((column) => column.length !== slots))
    return `table has not ${slots} slots in every column`;
  if (next.epoch !== present.epoch + 1) {
    return `table has epoch ${next.epoch}, expected ${present.epoch + 1}`;
  }
  const carriers = new Set(members.filter(isCarrier).map((member) => member.id));
  for (let s = 0; s < slots; s++) {
    const owner = next.owner[s]!;
    const backup = next.backup[s]!;
    if (owner !== 0 && !carriers.has(owner)) return `slot ${s}: owner ${owner} is no living node`;
    if (backup !== 0 && !carriers.has(backup)) return `slot ${s}: backup ${backup} is no living node`;
    const kept = formerOf(next, s);
    if (kept !== 0 && (!carriers.has(kept) || kept === owner || kept === backup)) {
      return `slot ${s}: node ${kept} cannot be its former backup`;
    }
    if (owner !== 0 && owner === backup) return `slot ${s}: node ${owner} cannot back itself up`;
  }
  return undefined;
}

/**
 * `next` as it takes effect. Who is awaited is worked out here from the present table; what was proven since the proposer
 * looked stays proven; epochs of cells that did not change stay as they are. Former backups are the proposer's: one is released
 * only by a table that was made when its successor was proven.
 */
export function merge(present: SlotTable, next: SlotTable): SlotTable {
  const slots = present.owner.length;
  const synced: boolean[] = [];
  const awaiting: (readonly number[])[] = [];
  const movedEpoch: number[] = [];
  const backupEpoch: number[] = [];
  for (let s = 0; s < slots; s++) {
    const from = present.owner[s]!;
    const to = next.owner[s]!;
    const isMoved = from !== to;
    awaiting.push(isMoved ? awaited(present.awaiting[s]!, from, to) : present.awaiting[s]!);
    movedEpoch.push(isMoved ? next.epoch : present.movedEpoch[s]!);
    const isSameBackup =
      present.backup[s] === next.backup[s] && next.backupEpoch[s] === present.backupEpoch[s];
    synced.push(isSameBackup ? present.synced[s]! : next.backup[s] !== 0 && next.synced[s]!);
    backupEpoch.push(isSameBackup ? present.backupEpoch[s]! : next.epoch);
  }
  const { epoch, owner, backup, former = [], cause } = next;
  return { epoch, owner, backup, synced, awaiting, movedEpoch, backupEpoch, ...formerColumn(former), cause };
}

/** Earlier owners that may still decide a slot that goes from `from` to `to`; same rule as ring/draft.ts. */
function awaited(before: readonly number[], from: number, to: number): readonly number[] {
  const all = from === 0 || before.includes(from) ? before : [...before, from];
  return all.filter((id) => id !== to);
}

/** The copies that `node` held in an earlier life are gone: it stays the backup, but has everything to prove again. */
export function forgetCopies(present: SlotTable, node: number): SlotTable {
  if (!present.backup.includes(node) && present.former?.includes(node) !== true) return present;
  const epoch = present.epoch + 1;
  const table = withoutFormers(present, (s) => formerOf(present, s) === node);
  return {
    ...table,
    epoch,
    synced: table.synced.map((isSynced, s) => isSynced && table.backup[s] !== node),
    backupEpoch: table.backupEpoch.map((e, s) => (table.backup[s] === node ? epoch : e)),
    cause: "backup",
  };
}
