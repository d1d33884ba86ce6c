/**
 * Planner: what the Raft leader proposes next, of its own accord. Pure: state and facts in, at most one command out; it is
 * asked again after every applied entry and whenever a fact changes, and answers nothing when all is as it should be.
 *
 *   1. slots that nobody owns go to nodes that are up          4. a draining node that is empty becomes drained
 *   2. slots without a backup get one                          5. a joining node whose copies are proven becomes active
 *   3. former backups whose successor is proven are released   6. owners move towards balance, a few slots an epoch
 *
 * Owns the order and the pace. Who gets which slot is ring/'s; who is dead is liveness' and takeover's.
 */
import { giveUnowned, initialTable, planBackups, planMoves } from "../ring/assign.ts";
import type { RingNode } from "../ring/quota.ts";
import { isCarrier, isLeaving, ringNode } from "./commands.ts";
import { formerColumn, formerOf, releaseFormers } from "./former.ts";
import type { ClusterState, Command, Member, SlotTable } from "./model.ts";

/** Slots on their way at a time: each holds its packets for a moment, so few at once. */
export const MOVES_PER_EPOCH = 8;

export interface PlannerFacts {
  /** Members that the leader hears, itself included; absent: all that are not down. */
  readonly alive?: ReadonlySet<number>;
  readonly movesPerEpoch?: number;
}

export function plan(state: ClusterState, facts: PlannerFacts = {}): Command | undefined {
  const carriers = state.members.filter((m) => isCarrier(m) && (facts.alive?.has(m.id) ?? true));
  if (carriers.length === 0) return undefined;
  return (
    giveToLiving(state, carriers) ??
    backUp(state, carriers) ??
    proposal(state.table, releaseFormers(state.table)) ??
    finishDrain(state) ??
    finishJoin(state, carriers) ??
    move(state, carriers, facts.movesPerEpoch ?? MOVES_PER_EPOCH)
  );
}

function giveToLiving(state: ClusterState, carriers: readonly Member[]): Command | undefined {
  const { table } = state;
  if (!table.owner.includes(0)) return undefined;
  const nodes = carriers.map(ringNode);
  // A leaving node is not given anything, unless nobody else is left to keep the cluster going.
  const able: RingNode[] = nodes.some((n) => n.isLeaving !== true)
    ? nodes
    : nodes.map(({ id, weight }) => ({ id, weight }));
  return table.epoch === 0
    ? proposal(table, initialTable(able, table.owner.length))
    : proposal(table, giveUnowned(table, able));
}

function backUp(state: ClusterState, carriers: readonly Member[]): Command | undefined {
  return proposal(state.table, planBackups(state.table, carriers.map(ringNode)));
}

/**
 * Its backups that others can hold were replaced in step 2 already; what is left has nowhere else to go. Copies that others do
 * not have yet are kept until they do.
 */
function finishDrain(state: ClusterState): Command | undefined {
  const { table } = state;
  const done = state.members.find(
    (m) =>
      m.state === "draining" &&
      !table.owner.includes(m.id) &&
      table.former?.includes(m.id) !== true &&
      !table.awaiting.some((awaited) => awaited.includes(m.id)),
  );
  return done === undefined ? undefined : { type: "setState", node: done.id, state: "drained" };
}

function finishJoin(state: ClusterState, carriers: readonly Member[]): Command | undefined {
  const { table } = state;
  const done = carriers.find(
    (m) => m.state === "joining" && table.backup.every((b, s) => b !== m.id || table.synced[s]),
  );
  return done === undefined ? undefined : { type: "setState", node: done.id, state: "active" };
}

/**
 * The next few slots towards balance. Nothing starts while a former move still awaits its old owner, and nothing is given
 * to a node that has not proven what it holds. Slots of draining nodes come first.
 */
function move(state: ClusterState, carriers: readonly Member[], maxSlots: number): Command | undefined {
  const { table } = state;
  if (table.awaiting.some((awaited) => awaited.length > 0)) return undefined;
  const nodes = carriers.filter((m) => m.state !== "joining").map(ringNode);
  if (!nodes.some((n) => n.isLeaving !== true)) return undefined;
  const whole = planMoves(table, nodes, table.owner.length);
  if (whole === table) return undefined;
  const leaving = new Set(state.members.filter(isLeaving).map((m) => m.id));
  return proposal(table, firstOf(table, whole, maxSlots, leaving));
}

/** `next` cut down to `maxSlots` changed slots, those that leave an owner of `first` before the others. */
function firstOf(table: SlotTable, next: SlotTable, maxSlots: number, first: ReadonlySet<number>): SlotTable {
  const isChanged = (s: number): boolean =>
    next.owner[s] !== table.owner[s] || next.backupEpoch[s] !== table.backupEpoch[s];
  const rank = (s: number): number =>
    (first.has(table.owner[s]!) ? 0 : 2) + (next.owner[s] !== table.owner[s] ? 0 : 1);
  // Copies under way take the same room as new ones, else every plan would start some more.
  const underWay = table.backup.filter((b, s) => b !== 0 && !table.synced[s]).length;
  const moves = [...table.owner.keys()].filter(isChanged).sort((a, b) => rank(a) - rank(b) || a - b);
  const chosen = new Set<number>();
  let copies = underWay;
  for (const s of moves) {
    if (chosen.size === maxSlots) break;
    const isCopy = next.owner[s] === table.owner[s];
    if (isCopy && copies >= maxSlots) continue;
    if (isCopy) copies++;
    chosen.add(s);
  }
  if (chosen.size === 0) return table;
  const pick = <T>(was: readonly T[], becomes: readonly T[]): T[] =>
    was.map((cell, s) => (chosen.has(s) ? becomes[s]! : cell));
  const owner = pick(table.owner, next.owner);
  return {
    epoch: next.epoch,
    owner,
    backup: pick(table.backup, next.backup),
    synced: pick(table.synced, next.synced),
    awaiting: pick(table.awaiting, next.awaiting),
    movedEpoch: pick(table.movedEpoch, next.movedEpoch),
    backupEpoch: pick(table.backupEpoch, next.backupEpoch),
    ...formerColumn(owner.map((_, s) => formerOf(chosen.has(s) ? next : table, s))),
    cause: owner.some((id, s) => id !== table.owner[s]) ? "handover" : "backup",
  };
}

function proposal(table: SlotTable, next: SlotTable): Command | undefined {
  return next === table ? undefined : { type: "table", baseEpoch: table.epoch, table: next };
}
