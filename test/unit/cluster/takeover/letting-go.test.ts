import { expect, test } from "vitest";
import type { SlotTable } from "../../../../cluster/control/model.ts";
import { initialTable, planMoves, takeover } from "../../../../cluster/ring/assign.ts";
import { LettingGo } from "../../../../cluster/takeover/letting-go.ts";
import { nodeMember } from "../members.ts";

const LEASE_MS = 60;
const PATIENCE_MS = 2 * LEASE_MS;
const [A, B] = [
  { id: 1, weight: 1 },
  { id: 2, weight: 1 },
];

const MEMBERS = [nodeMember(1), nodeMember(2)];
const FOUR = synced(initialTable([A!, B!], 4)); // owners 1, 2, 1, 2
const PRESENT = { table: FOUR, members: MEMBERS };
/** Node 1 hands over all that it has. */
const DRAINED = planMoves(FOUR, [B!], 4)!;

function synced(table: SlotTable): SlotTable {
  return { ...table, awaiting: table.owner.map(() => []), synced: table.owner.map(() => true) };
}

test("a hand-over is kept from the owner until the successor has shown its epoch", () => {
  const lettingGo = new LettingGo(1, LEASE_MS);
  const next = { table: DRAINED, members: MEMBERS };
  expect(DRAINED.owner).toEqual([2, 2, 2, 2]);
  expect(lettingGo.restMs(PRESENT, next, 1000)).toBe(PATIENCE_MS);
  lettingGo.shown(2, DRAINED.epoch - 1);
  expect(lettingGo.restMs(PRESENT, next, 1010)).toBe(PATIENCE_MS - 10);
  lettingGo.shown(2, DRAINED.epoch);
  expect(lettingGo.restMs(PRESENT, next, 1011)).toBe(0);
});

test("the owner is patient for some leases, each time anew", () => {
  const lettingGo = new LettingGo(1, LEASE_MS);
  const next = { table: DRAINED, members: MEMBERS };
  expect(lettingGo.restMs(PRESENT, next, 0)).toBe(PATIENCE_MS);
  expect(lettingGo.restMs(PRESENT, next, PATIENCE_MS)).toBe(0);
  lettingGo.told();
  expect(lettingGo.restMs(PRESENT, next, 9000)).toBe(PATIENCE_MS);
});

test("one successor that knows is enough", () => {
  const lettingGo = new LettingGo(1, LEASE_MS);
  const [owner, movedEpoch] = [
    [2, 2, 3, 2],
    [5, 0, 5, 0],
  ];
  const next = {
    table: { ...FOUR, epoch: 5, owner, awaiting: [[1], [], [1], []], movedEpoch },
    members: MEMBERS,
  };
  expect(lettingGo.restMs(PRESENT, next, 0)).toBe(PATIENCE_MS);
  lettingGo.shown(3, 5);
  expect(lettingGo.restMs(PRESENT, next, 1)).toBe(0);
});

test("whoever gets the slots is told at once, and so is a third node", () => {
  const next = { table: DRAINED, members: MEMBERS };
  expect(new LettingGo(2, LEASE_MS).restMs(PRESENT, next, 0)).toBe(0);
  expect(new LettingGo(3, LEASE_MS).restMs(PRESENT, next, 0)).toBe(0);
});

test.each([
  ["nobody told it anything before", undefined, { table: DRAINED, members: MEMBERS }],
  [
    "it was declared dead",
    PRESENT,
    { table: takeover(FOUR, 1, [B!]), members: [nodeMember(1, { state: "down" }), MEMBERS[1]!] },
  ],
  ["a member died", PRESENT, { table: DRAINED, members: [MEMBERS[0]!, nodeMember(2, { state: "down" })] }],
  [
    "a member lives anew",
    PRESENT,
    { table: DRAINED, members: [MEMBERS[0]!, nodeMember(2, { incarnation: 2 })] },
  ],
  ["a member came", PRESENT, { table: DRAINED, members: [...MEMBERS, nodeMember(3)] }],
  [
    "other votes count",
    PRESENT,
    { table: DRAINED, members: MEMBERS, quorum: { epoch: 3, voters: [1], outgoing: [], known: [] } },
  ],
  ["another log began", PRESENT, { table: DRAINED, members: MEMBERS, forced: { epoch: 9, by: 2 } }],
])("nothing is kept back when %s", (_why, present, next) => {
  expect(new LettingGo(1, LEASE_MS).restMs(present, next, 0)).toBe(0);
});

test("a node that also gets slots, as somebody else died, is told at once", () => {
  const owner = [2, 1, 2, 2];
  const awaiting = [[1], [2], [1], []];
  const movedEpoch = [5, 5, 5, 0];
  const next = { table: { ...FOUR, epoch: 5, owner, awaiting, movedEpoch }, members: MEMBERS };
  expect(new LettingGo(1, LEASE_MS).restMs(PRESENT, next, 0)).toBe(0);
});
