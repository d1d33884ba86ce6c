/**
 * Slot tables from any start: balanced to within one slot by weight, with the fewest moves, only to proven backups.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { formerColumn, formerOf, heirOf, keeperOf, releaseFormers } from "../../cluster/control/former.ts";
import type { SlotTable } from "../../cluster/control/model.ts";
import {
  giveUnowned,
  initialTable,
  planBackups,
  planMoves,
  takeover,
  wantedOwners,
} from "../../cluster/ring/assign.ts";
import { isPresent, type RingNode, receivers } from "../../cluster/ring/quota.ts";

const SLOTS = 16;

const nodesOf = (max: number): fc.Arbitrary<RingNode[]> =>
  fc
    .uniqueArray(
      fc.record({
        id: fc.integer({ min: 1, max: 8 }),
        weight: fc.integer({ min: 1, max: 4 }),
        isLeaving: fc.boolean(),
        isAway: fc.boolean(),
      }),
      { minLength: 1, maxLength: max, selector: (n) => n.id },
    )
    .filter((nodes) => nodes.some((n) => !n.isLeaving && !n.isAway));

/** Any table that the nodes could be in, good or bad. */
const tableOf = (nodes: readonly RingNode[]): fc.Arbitrary<SlotTable> => {
  const ids = nodes.map((n) => n.id);
  const cell = fc.record({
    owner: fc.constantFrom(...ids),
    backup: fc.constantFrom(0, ...ids),
    former: fc.constantFrom(0, ...ids),
    synced: fc.boolean(),
  });
  return fc.array(cell, { minLength: SLOTS, maxLength: SLOTS, size: "max" }).map((cells) => ({
    epoch: 5,
    owner: cells.map((c) => c.owner),
    backup: cells.map((c) => (c.backup === c.owner ? 0 : c.backup)),
    synced: cells.map((c) => c.synced && c.backup !== c.owner && c.backup !== 0),
    awaiting: cells.map(() => []),
    movedEpoch: cells.map(() => 5),
    backupEpoch: cells.map(() => 5),
    ...formerColumn(cells.map((c) => (c.former === c.owner || c.former === c.backup ? 0 : c.former))),
    cause: "backup",
  }));
};

const scene = nodesOf(6).chain((nodes) => fc.tuple(fc.constant(nodes), tableOf(nodes)));

function expectBalanced(owner: readonly number[], nodes: readonly RingNode[]): void {
  const able = receivers(nodes);
  const total = able.reduce((sum, n) => sum + n.weight, 0);
  for (const n of able) {
    const share = (SLOTS * n.weight) / total;
    const held = owner.filter((o) => o === n.id).length;
    expect(Math.abs(held - share)).toBeLessThan(1);
  }
}

/** The fewest moves: what is above the rounded-up share must go, what is short of the rounded-down share must come. */
function fewestMoves(owner: readonly number[], nodes: readonly RingNode[]): number {
  const able = receivers(nodes);
  const total = able.reduce((sum, n) => sum + n.weight, 0);
  let above = owner.filter((o) => !able.some((n) => n.id === o)).length;
  let below = 0;
  for (const n of able) {
    const held = owner.filter((o) => o === n.id).length;
    above += Math.max(0, held - Math.ceil((SLOTS * n.weight) / total));
    below += Math.max(0, Math.floor((SLOTS * n.weight) / total) - held);
  }
  return Math.max(above, below);
}

function step(t: SlotTable, nodes: readonly RingNode[], maxSlots: number): SlotTable {
  const backed = planBackups(t, nodes);
  const next = planMoves(backed, nodes, maxSlots);
  if (next === t) return releaseFormers(t);
  for (let s = 0; s < SLOTS; s++) {
    if (next.owner[s] === backed.owner[s]) continue;
    expect(next.owner[s]).toBe(backed.backup[s]);
    expect(backed.synced[s]).toBe(true);
  }
  expectNoCopyLost(t, next, nodes);
  return { ...next, awaiting: next.awaiting.map(() => []), synced: next.backup.map((b) => b !== 0) };
}

/** Who has a whole copy of a slot besides its owner and can be reached; 0: nobody. */
function reachableKeeper(table: SlotTable, s: number, nodes: readonly RingNode[]): number {
  const keeper = keeperOf(table, s);
  return isPresent(nodes, keeper) ? keeper : 0;
}

/** What is planned never leaves one copy where there were two. */
function expectNoCopyLost(before: SlotTable, after: SlotTable, nodes: readonly RingNode[]): void {
  for (let s = 0; s < SLOTS; s++) {
    if (reachableKeeper(before, s, nodes) === 0) continue;
    const isMoved = after.owner[s] !== before.owner[s];
    expect(isMoved ? after.synced[s] : reachableKeeper(after, s, nodes)).toBeTruthy();
  }
}

test("wanted owners are balanced to within one slot by weight and cost the fewest moves", () => {
  fc.assert(
    fc.property(scene, ([nodes, table]) => {
      const wanted = wantedOwners(table, nodes);
      expectBalanced(wanted, nodes);
      const moves = wanted.filter((o, s) => o !== table.owner[s]).length;
      expect(moves).toBe(fewestMoves(table.owner, nodes));
    }),
    { numRuns: 400 },
  );
});

test("plans converge from any table, move only to proven backups, and move no slot twice", () => {
  fc.assert(
    fc.property(scene, fc.integer({ min: 1, max: SLOTS }), ([nodes, table], maxSlots) => {
      const wanted = wantedOwners(table, nodes);
      let t = table;
      let moves = 0;
      for (let i = 0; ; i++) {
        expect(i).toBeLessThan(200);
        const next = step(t, nodes, maxSlots);
        if (next === t) break;
        moves += next.owner.filter((o, s) => o !== t.owner[s]).length;
        t = next;
      }
      expectBalanced(t.owner, nodes);
      expect(moves).toBe(wanted.filter((o, s) => o !== table.owner[s]).length);
      const able = receivers(nodes);
      for (let s = 0; s < SLOTS; s++) {
        expect(t.backup[s]).not.toBe(t.owner[s]);
        if (able.length > 1) expect(able.map((n) => n.id)).toContain(t.backup[s]);
      }
    }),
    { numRuns: 300 },
  );
});

test("whoever takes a slot over has all of it, when anybody has", () => {
  fc.assert(
    fc.property(scene, fc.nat(), ([nodes, table], pick) => {
      const dead = (nodes[pick % nodes.length] as RingNode).id;
      const alive = nodes.filter((n) => n.id !== dead);
      const next = takeover(table, dead, alive);
      for (let s = 0; s < SLOTS; s++) {
        const keeper = reachableKeeper(table, s, alive);
        if (table.owner[s] === dead && keeper !== 0) expect(next.owner[s]).toBe(keeper);
        if (table.owner[s] !== dead && keeper !== 0) expect(reachableKeeper(next, s, alive)).not.toBe(0);
        if (next.owner[s] !== 0) expect(heirOf(next, s)).not.toBe(next.owner[s]);
        expect(formerOf(next, s)).not.toBe(dead);
      }
    }),
    { numRuns: 400 },
  );
});

test("takeover() moves exactly the dead node's slots, awaits it, and never owns or backs up with it", () => {
  fc.assert(
    fc.property(scene, fc.nat(), ([nodes, table], pick) => {
      const dead = (nodes[pick % nodes.length] as RingNode).id;
      const alive = nodes.filter((n) => n.id !== dead);
      const isAnyPresent = alive.some((n) => n.isAway !== true);
      const next = takeover(table, dead, alive);
      for (let s = 0; s < SLOTS; s++) {
        expect(next.owner[s]).not.toBe(dead);
        expect(next.backup[s]).not.toBe(dead);
        if (next.owner[s] !== 0) expect(next.owner[s]).not.toBe(next.backup[s]);
        if (table.owner[s] !== dead) expect(next.owner[s]).toBe(table.owner[s]);
        else expect(next.awaiting[s]).toContain(dead);
        if (isAnyPresent) expect(next.owner[s]).not.toBe(0);
        else if (table.owner[s] === dead) expect(next.owner[s]).toBe(0);
      }
    }),
    { numRuns: 300 },
  );
});

test("all nodes compute the same tables, in whatever order they list the members", () => {
  fc.assert(
    fc.property(scene, ([nodes, table]) => {
      const reversed = [...nodes].reverse();
      expect(planMoves(table, reversed, 4)).toEqual(planMoves(table, nodes, 4));
      expect(planBackups(table, reversed)).toEqual(planBackups(table, nodes));
      expect(initialTable(reversed, SLOTS)).toEqual(initialTable(nodes, SLOTS));
      const dead = (nodes[0] as RingNode).id;
      const without = nodes.slice(1);
      expect(takeover(table, dead, [...without].reverse())).toEqual(takeover(table, dead, without));
    }),
    { numRuns: 200 },
  );
});

test("giveUnowned() leaves no slot without owner and touches no other", () => {
  fc.assert(
    fc.property(
      scene,
      fc.array(fc.boolean(), { minLength: SLOTS, maxLength: SLOTS }),
      ([nodes, table], lost) => {
        const holed = { ...table, owner: table.owner.map((o, s) => (lost[s] === true ? 0 : o)) };
        const next = giveUnowned(holed, nodes);
        for (let s = 0; s < SLOTS; s++) {
          expect(next.owner[s]).not.toBe(0);
          if (lost[s] !== true) expect(next.owner[s]).toBe(table.owner[s]);
        }
      },
    ),
    { numRuns: 200 },
  );
});
