/**
 * Assignment: pure functions from a slot table to the table of the next epoch. Every function gives back the very same
 * table object when there is nothing to change, and the same result on every node.
 * Owns who should have which slot; when a change is proposed is the planner's business (cluster/control).
 *
 *   initialTable   nobody owns anything yet
 *   takeover       a node died: its slots go to whoever holds all of them at once
 *   giveUnowned    nobody was alive when a slot lost its owner
 *   planBackups    every slot that can have a backup gets one
 *   planMoves      owners back into balance, a few slots an epoch, only ever to a proven backup
 */
import { assert } from "../../src/base/assert.ts";
import { formerOf } from "../control/former.ts";
import { emptyState, type SlotTable } from "../control/model.ts";
import { fillBackups, spreadBackups } from "./backups.ts";
import { Draft } from "./draft.ts";
import { byId, countById, homes, isPresent, quotas, type RingNode, receivers } from "./quota.ts";

/** The first table of a cluster: every slot at home. Epoch 1. */
export function initialTable(nodes: readonly RingNode[], slots: number): SlotTable {
  const able = receivers(nodes);
  const draft = new Draft(emptyState(slots).table);
  const home = homes(able, slots);
  for (let s = 0; s < slots; s++) draft.setOwner(s, home[s] as number);
  fillBackups(draft, able);
  return draft.finish("initial");
}

/**
 * `dead` is gone: its slots go to their backups, or to the least loaded node where the backup is not alive; owner 0 when
 * nobody is. What it backed up gets another backup. `alive` names all living nodes (leaving ones too).
 */
export function takeover(table: SlotTable, dead: number, alive: readonly RingNode[]): SlotTable {
  assert(dead > 0, "takeover needs the id of the dead node");
  const living = byId(alive).filter((n) => n.id !== dead && n.isAway !== true);
  const able = receivers(living);
  // A leaving node that is alive is still better than nobody.
  const heirs = able.length > 0 ? able : living;
  const draft = new Draft(table);
  const load = countById(table.owner);
  const home = homes(heirs, draft.slots);
  const isLiving = (id: number): boolean => living.some((n) => n.id === id);
  for (let s = 0; s < draft.slots; s++) {
    if (draft.owner[s] !== dead) continue;
    const heir = [draft.former[s]!, draft.backup[s]!].find(isLiving);
    if (heir === undefined) continue;
    draft.setOwner(s, heir);
    load.set(heir, (load.get(heir) ?? 0) + 1);
  }
  for (let s = 0; s < draft.slots; s++) {
    if (draft.owner[s] !== dead) continue;
    const heir = leastLoaded(heirs, load, home[s] as number);
    draft.setOwner(s, heir);
    load.set(heir, (load.get(heir) ?? 0) + 1);
  }
  for (let s = 0; s < draft.slots; s++) inherit(draft, table, s, isLiving);
  fillBackups(draft, living);
  return draft.finish("takeover");
}

/** Who backs slot `s` up once the owners of a takeover are known. */
function inherit(draft: Draft, before: SlotTable, s: number, isLiving: (id: number) => boolean): void {
  const owner = draft.owner[s]!;
  const backup = draft.backup[s]!;
  const former = draft.former[s]!;
  const isMoved = owner !== before.owner[s];
  if (backup !== 0 && (backup === owner || !isLiving(backup))) {
    const holdsAll = !isMoved && isLiving(former);
    draft.setBackup(s, holdsAll ? former : 0, holdsAll);
  } else if (former !== 0 && isMoved) {
    // The backup gets everything from its new owner, which was the former backup or holds nothing itself.
    draft.setBackup(s, backup, false);
  } else if (!isLiving(former)) draft.dropFormer(s);
}

/** Slots that nobody owns go to their backup if it is there, else home, else to whoever has the fewest for its weight. */
export function giveUnowned(table: SlotTable, nodes: readonly RingNode[]): SlotTable {
  const able = receivers(nodes);
  const draft = new Draft(table);
  if (able.length === 0) return table;
  const load = countById(table.owner);
  const quota = quotas(able, draft.slots, load);
  const home = homes(able, draft.slots);
  const give = (s: number, to: number): void => {
    draft.setOwner(s, to);
    load.set(to, (load.get(to) ?? 0) + 1);
    if (draft.backup[s] === to) draft.setBackup(s, 0, false);
    else if (draft.former[s] !== 0) draft.setBackup(s, draft.backup[s]!, false);
  };
  const wishes = [(s: number) => draft.former[s]! || draft.backup[s]!, (s: number) => home[s] as number];
  for (const wish of wishes) {
    for (let s = 0; s < draft.slots; s++) {
      const to = wish(s);
      if (draft.owner[s] === 0 && (load.get(to) ?? 0) < (quota.get(to) ?? 0)) give(s, to);
    }
  }
  for (let s = 0; s < draft.slots; s++) {
    if (draft.owner[s] === 0) give(s, leastLoaded(able, load, home[s] as number));
  }
  fillBackups(draft, nodes);
  return draft.finish("takeover");
}

/** Gives a backup to every slot that has none (or only a node that is leaving or gone), spread evenly over each owner's peers. */
export function planBackups(table: SlotTable, nodes: readonly RingNode[]): SlotTable {
  const draft = new Draft(table);
  fillBackups(draft, nodes);
  return draft.finish("backup");
}

/**
 * The next step towards balance, at most `maxSlots` slots of it: moves slots whose wanted owner is their proven backup, and
 * makes the wanted owner the backup of others first, so that it can be proven; the old backup keeps its copy as long. The old owner becomes the backup and counts
 * as synced: it held everything up to its barrier, and all that the new owner changes after the barrier is replicated to
 * it in order. A slot in the middle of a change is left alone. When owners are in balance, backups are spread.
 */
export function planMoves(table: SlotTable, nodes: readonly RingNode[], maxSlots: number): SlotTable {
  const wanted = wantedOwners(table, nodes);
  const draft = new Draft(table);
  let budget = maxSlots;
  let moves = 0;
  let isBalanced = true;
  for (let s = 0; s < draft.slots && budget > 0; s++) {
    const to = wanted[s] as number;
    const from = draft.owner[s] as number;
    if (to === from) continue;
    isBalanced = false;
    if (isSettling(table, s) || draft.backup[s] !== to || draft.synced[s] !== true) continue;
    draft.setOwner(s, to);
    draft.setBackup(s, from, true);
    moves++;
    budget--;
  }
  // Slots on their way to a new backup cost their owner a copy: they count against the budget until it is proven.
  for (let s = 0; s < draft.slots; s++) {
    if (wanted[s] !== table.owner[s] && table.backup[s] === wanted[s] && table.synced[s] !== true) budget--;
  }
  for (let s = 0; s < draft.slots && budget > 0; s++) {
    const to = wanted[s] as number;
    if (to === table.owner[s] || to === table.backup[s] || isSettling(table, s)) continue;
    draft.changeBackup(s, to, (id) => isPresent(nodes, id));
    budget--;
  }
  if (isBalanced && isQuiet(table)) spreadBackups(draft, nodes, maxSlots);
  return draft.finish(moves > 0 ? "handover" : "backup");
}

/**
 * Who should own each slot: balanced to within one slot by weight, reached with the fewest moves from `table`. Among equal
 * choices: slots go home first, then where their backup is, so that the plan stays the same while it is carried out.
 */
export function wantedOwners(table: SlotTable, nodes: readonly RingNode[]): number[] {
  const able = receivers(nodes);
  const wanted = [...table.owner];
  if (able.length === 0) return wanted;
  const slots = wanted.length;
  const held = countById(table.owner);
  const quota = quotas(able, slots, held);
  // Homes of nodes that leave or are away count too: what lies there for now is the first to move again.
  const home = homes(byId(nodes), slots);
  const missing = new Map<number, number>();
  const surplus = new Map<number, number>();
  for (const [id, n] of held) if (id !== 0) surplus.set(id, Math.max(0, n - (quota.get(id) ?? 0)));
  for (const [id, n] of quota) missing.set(id, Math.max(0, n - (held.get(id) ?? 0)));
  const give = (s: number, to: number): void => {
    const from = wanted[s] as number;
    if (from !== table.owner[s] || (surplus.get(from) ?? 0) === 0 || (missing.get(to) ?? 0) === 0) return;
    surplus.set(from, (surplus.get(from) as number) - 1);
    missing.set(to, (missing.get(to) as number) - 1);
    wanted[s] = to;
  };
  for (let s = 0; s < slots; s++) give(s, home[s] as number);
  for (let s = 0; s < slots; s++) if (home[s] !== table.owner[s]) give(s, table.backup[s] as number);
  for (let s = 0; s < slots; s++) give(s, table.backup[s] as number);
  for (const isHomeSpared of [true, false]) {
    for (let s = 0; s < slots; s++) {
      if (wanted[s] === table.owner[s] && !(isHomeSpared && home[s] === table.owner[s]))
        give(s, neediest(missing));
    }
  }
  return wanted;
}

function neediest(missing: ReadonlyMap<number, number>): number {
  let best = 0;
  let most = 0;
  for (const [id, n] of missing) {
    if (n > most || (n === most && n > 0 && id < best)) {
      best = id;
      most = n;
    }
  }
  return best;
}

/** The node with the fewest slots for its weight; among equals `preferred`, then the lowest id. 0 when there is none. */
function leastLoaded(
  nodes: readonly RingNode[],
  load: ReadonlyMap<number, number>,
  preferred: number,
): number {
  let best: RingNode | undefined;
  for (const n of nodes) {
    if (best === undefined) {
      best = n;
      continue;
    }
    const mine = ((load.get(n.id) ?? 0) + 1) * best.weight;
    const its = ((load.get(best.id) ?? 0) + 1) * n.weight;
    if (mine < its || (mine === its && n.id === preferred)) best = n;
  }
  return best?.id ?? 0;
}

function isSettling(table: SlotTable, s: number): boolean {
  return (table.awaiting[s] as readonly number[]).length > 0 || formerOf(table, s) !== 0;
}

/** Nothing is under way: every owner settled, every backup proven. */
function isQuiet(table: SlotTable): boolean {
  return table.owner.every((owner, s) => owner !== 0 && !isSettling(table, s) && table.synced[s] === true);
}
