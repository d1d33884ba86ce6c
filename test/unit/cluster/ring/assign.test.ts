import { expect, test } from "vitest";
import { releaseFormers } from "../../../../cluster/control/former.ts";
import type { SlotTable } from "../../../../cluster/control/model.ts";
import {
  giveUnowned,
  initialTable,
  planBackups,
  planMoves,
  takeover,
} from "../../../../cluster/ring/assign.ts";
import type { RingNode } from "../../../../cluster/ring/quota.ts";

const SLOTS = 64;
const A: RingNode = { id: 1, weight: 1 };
const B: RingNode = { id: 2, weight: 1 };
const C: RingNode = { id: 3, weight: 1 };

const count = (ids: readonly number[], id: number): number => ids.filter((x) => x === id).length;
const synced = (t: SlotTable): SlotTable => ({ ...t, synced: t.backup.map((b) => b !== 0) });
const settled = (t: SlotTable): SlotTable => ({ ...t, awaiting: t.awaiting.map(() => []) });

/** Plans, proves and settles until nothing is left to do. */
function converge(table: SlotTable, nodes: readonly RingNode[], maxSlots = 8): SlotTable {
  let t = table;
  for (let i = 0; i < 500; i++) {
    const next = planMoves(planBackups(t, nodes), nodes, maxSlots);
    if (next === t) return t;
    t = releaseFormers(settled(synced(next)));
  }
  throw new Error("does not converge");
}

test("initialTable() gives even slots to the first of two nodes and odd ones to the second", () => {
  const t = initialTable([B, A], SLOTS);
  expect(t.epoch).toBe(1);
  expect(t.owner.slice(0, 4)).toEqual([1, 2, 1, 2]);
  expect(t.backup.slice(0, 4)).toEqual([2, 1, 2, 1]);
  expect(t.synced.includes(true)).toBe(false);
  expect(t.awaiting.every((a) => a.length === 0)).toBe(true);
});

test("initialTable() of a single node has no backups", () => {
  const t = initialTable([A], SLOTS);
  expect(count(t.owner, 1)).toBe(SLOTS);
  expect(count(t.backup, 0)).toBe(SLOTS);
});

test("initialTable() follows weights", () => {
  const t = initialTable(
    [
      { id: 1, weight: 3 },
      { id: 2, weight: 1 },
    ],
    SLOTS,
  );
  expect([count(t.owner, 1), count(t.owner, 2)]).toEqual([48, 16]);
});

test("takeover() gives the dead node's slots to their backups and awaits the dead node", () => {
  const t = initialTable([A, B], SLOTS);
  const next = takeover(t, 2, [A]);
  expect(next.epoch).toBe(2);
  expect(next.cause).toBe("takeover");
  expect(count(next.owner, 1)).toBe(SLOTS);
  expect(next.awaiting[1]).toEqual([2]);
  expect(next.awaiting[0]).toEqual([]);
  expect(next.movedEpoch[1]).toBe(2);
  expect(next.movedEpoch[0]).toBe(1);
  expect(count(next.backup, 0)).toBe(SLOTS);
});

test("takeover() spreads a dead node's slots evenly over those who are left, and gives them new backups", () => {
  const t = synced(initialTable([A, B, C], SLOTS));
  const next = takeover(t, 1, [B, C]);
  expect([count(next.owner, 2), count(next.owner, 3)]).toEqual([32, 32]);
  for (let s = 0; s < SLOTS; s++) {
    expect([2, 3]).toContain(next.backup[s]);
    expect(next.backup[s]).not.toBe(next.owner[s]);
    if (next.backup[s] !== t.backup[s]) expect([next.synced[s], next.backupEpoch[s]]).toEqual([false, 2]);
  }
});

test("takeover() keeps those who were awaited before and have not settled", () => {
  const once = takeover(initialTable([A, B, C], SLOTS), 1, [B, C]);
  const s = once.owner.findIndex((o, i) => o === 2 && once.awaiting[i]?.includes(1));
  const twice = takeover(once, 2, [C]);
  expect(twice.owner[s]).toBe(3);
  expect(twice.awaiting[s]).toEqual([1, 2]);
});

test("takeover() never lets a new owner await itself", () => {
  const moved = planMoves(synced(initialTable([A, B], SLOTS)), [{ ...A, isLeaving: true }, B], 4);
  const s = moved.owner.findIndex((o, i) => o === 2 && moved.awaiting[i]?.includes(1));
  const back = takeover(moved, 2, [A]);
  expect(back.owner[s]).toBe(1);
  expect(back.awaiting[s]).toEqual([2]);
});

test("takeover() leaves slots without owner when nobody is alive, and giveUnowned() finds one later", () => {
  const t = takeover(initialTable([A], SLOTS), 1, []);
  expect(count(t.owner, 0)).toBe(SLOTS);
  expect(t.awaiting[0]).toEqual([1]);
  const next = giveUnowned(t, [A, B]);
  expect([count(next.owner, 1), count(next.owner, 2)]).toEqual([32, 32]);
  expect(next.awaiting[0]).toEqual([]);
  expect(next.awaiting[1]).toEqual([1]);
});

test("takeover() prefers an unproven backup to a node that holds nothing", () => {
  const t = initialTable([A, B, C], SLOTS);
  const next = takeover(t, 1, [B, C]);
  for (let s = 0; s < SLOTS; s++) if (t.owner[s] === 1) expect(next.owner[s]).toBe(t.backup[s]);
});

test("planMoves() never moves a slot to a backup that is not proven", () => {
  const alone = takeover(synced(initialTable([A, B], SLOTS)), 2, [A]);
  const withBackups = planBackups(settled(alone), [A, B]);
  expect(count(withBackups.backup, 2)).toBe(SLOTS);
  expect(planMoves(withBackups, [A, B], 8)).toBe(withBackups);
  const moved = planMoves(synced(withBackups), [A, B], 8);
  expect(moved.cause).toBe("handover");
  expect(count(moved.owner, 2)).toBe(8);
});

test("planMoves() makes the old owner the proven backup and awaits it", () => {
  const t = planBackups(settled(takeover(initialTable([A, B], SLOTS), 2, [A])), [A, B]);
  const moved = planMoves(synced(t), [A, B], 1);
  const s = moved.owner.indexOf(2);
  expect(moved.backup[s]).toBe(1);
  expect(moved.synced[s]).toBe(true);
  expect(moved.awaiting[s]).toEqual([1]);
  expect(moved.movedEpoch[s]).toBe(moved.epoch);
  expect(moved.backupEpoch[s]).toBe(moved.epoch);
});

test("planMoves() leaves a slot alone that still awaits somebody", () => {
  const t = synced(planBackups(takeover(initialTable([A, B], SLOTS), 2, [A]), [A, B]));
  const moved = planMoves(t, [A, B], SLOTS);
  for (let s = 0; s < SLOTS; s++) if (t.awaiting[s]?.length !== 0) expect(moved.owner[s]).toBe(t.owner[s]);
});

test.each([2, 3, 4, 8])(
  "the layout from before comes back after one of %i nodes failed and returned",
  (n) => {
    const nodes = Array.from({ length: n }, (_, i): RingNode => ({ id: i + 1, weight: 1 }));
    const before = converge(synced(initialTable(nodes, SLOTS)), nodes);
    const without = nodes.filter((x) => x.id !== 2);
    const during = converge(
      settled(synced(takeover(before, 2, without))),
      nodes.map((x) => (x.id === 2 ? { ...x, isAway: true } : x)),
    );
    expect(converge(during, nodes).owner).toEqual(before.owner);
  },
);

test("draining a node of three moves all of its slots and none of the others'", () => {
  const before = synced(initialTable([A, B, C], SLOTS));
  const after = converge(before, [A, { ...B, isLeaving: true }, C]);
  expect(count(after.owner, 2)).toBe(0);
  expect(count(after.backup, 2)).toBe(0);
  for (let s = 0; s < SLOTS; s++) if (before.owner[s] !== 2) expect(after.owner[s]).toBe(before.owner[s]);
});

test("draining a node of two keeps it as the backup", () => {
  const after = converge(synced(initialTable([A, B], SLOTS)), [A, { ...B, isLeaving: true }]);
  expect(count(after.owner, 1)).toBe(SLOTS);
  expect(count(after.backup, 2)).toBe(SLOTS);
});

test("backups of each owner are spread evenly when a third node has joined", () => {
  const after = converge(synced(initialTable([A, B], SLOTS)), [A, B, C]);
  for (const owner of [1, 2, 3]) {
    const backups = after.backup.filter((_, s) => after.owner[s] === owner);
    const peers = [1, 2, 3].filter((id) => id !== owner).map((id) => count(backups, id));
    expect(Math.abs((peers[0] as number) - (peers[1] as number))).toBeLessThanOrEqual(1);
  }
});

test("a balanced table is given back as it is", () => {
  const t = synced(initialTable([A, B, C], SLOTS));
  expect(planBackups(t, [A, B, C])).toBe(t);
  expect(planMoves(t, [C, B, A], 8)).toBe(t);
  expect(giveUnowned(t, [A, B, C])).toBe(t);
});
