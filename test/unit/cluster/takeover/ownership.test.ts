import { expect, test } from "vitest";
import type { Member, SlotTable } from "../../../../cluster/control/model.ts";
import { initialTable, planMoves, takeover } from "../../../../cluster/ring/assign.ts";
import { FenceAsker } from "../../../../cluster/takeover/fence.ts";
import { Ownership, type OwnershipEffect } from "../../../../cluster/takeover/ownership.ts";
import { SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE, SLOT_TAKEOVER } from "../../../../src/base/slot-state.ts";
import { nodeMember } from "../members.ts";

const LEASE_MS = 60;
const A = { id: 1, weight: 1 };
const B = { id: 2, weight: 1 };
const FOUR = initialTable([A, B], 4); // owners 1, 2, 1, 2

const member = (id: number, incarnation = 1, state: Member["state"] = "active"): Member =>
  nodeMember(id, { incarnation, state });
const MEMBERS = [member(1), member(2)];

class Bench {
  readonly fences = new FenceAsker({ leaseMs: LEASE_MS, voters: [1, 2, 3], repeatMs: 5 });
  readonly ownership: Ownership;

  constructor(selfId: number, lifelineReleases = true) {
    this.ownership = new Ownership({ selfId, slots: 4, leaseMs: LEASE_MS, lifelineReleases }, this.fences);
  }

  apply(table: SlotTable, nowMs = 0, members: readonly Member[] = MEMBERS): OwnershipEffect[] {
    return this.ownership.applyTable(table, members, true, nowMs);
  }

  get states(): number[] {
    return [...this.ownership.state];
  }

  /** Two of three voters answer the ask that is due. */
  voters(nowMs: number, answer: { remainingMs?: number; knownEpoch?: number; seenEpoch?: number }): void {
    for (const ask of this.fences.due(nowMs)) {
      const full = { ...ask, remainingMs: 0, knownEpoch: 0, seenEpoch: 0, ...answer };
      for (const voter of [1, 3]) this.fences.reply(voter, full, nowMs);
    }
  }
}

const types = (effects: readonly OwnershipEffect[]): string[] => effects.map((e) => e.type);
const find = (
  effects: readonly OwnershipEffect[],
  type: OwnershipEffect["type"],
): OwnershipEffect | undefined => effects.find((e) => e.type === type);

/** Node 2's slots are given to node 1, one life after another. */
const taken = takeover(FOUR, 2, [A]);
const moved = ((): SlotTable => {
  const synced = { ...FOUR, synced: FOUR.synced.map(() => true) };
  return planMoves(synced, [A, { ...B, isLeaving: true }], 4);
})();

test("a first table makes its owner decide at once, and says what to do in order", () => {
  const b = new Bench(1);
  const effects = b.apply(FOUR);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_REMOTE, SLOT_OWNED, SLOT_REMOTE]);
  expect(types(effects).slice(0, 2)).toEqual(["view", "announce"]);
  expect(find(effects, "gained")).toEqual({ type: "gained", slots: [0, 2] });
});

test("a process that was not admitted owns nothing, whatever the table says of its id", () => {
  const b = new Bench(1);
  b.ownership.applyTable(FOUR, MEMBERS, false, 0);
  expect(b.states).toEqual([0, 0, 0, 0]);
});

test("homes stay when their nodes die, and when owners move", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  expect([...b.ownership.home]).toEqual([1, 2, 1, 2]);
  b.apply(moved, 10);
  const dead = MEMBERS.map((member) => (member.id === 2 ? { ...member, state: "down" as const } : member));
  b.ownership.applyTable(moved, dead, true, 11);
  expect([...b.ownership.home]).toEqual([1, 2, 1, 2]);
  b.ownership.applyTable(
    moved,
    dead.map((member) => (member.id === 2 ? { ...member, state: "removed" as const } : member)),
    true,
    12,
  );
  expect([...b.ownership.home]).toEqual([1, 1, 1, 1]);
});

test("the old owner stops with the table, and only then sends its barriers", () => {
  const b = new Bench(2);
  b.ownership.peerUp(1, 0);
  b.apply(FOUR);
  const effects = b.apply(moved, 10);
  expect(b.states).toEqual([0, 0, 0, 0]);
  expect(types(effects)).toEqual(["view", "barrier", "barrier", "lost"]);
  expect(find(effects, "barrier")).toEqual({ type: "barrier", to: 1, slot: 1, epoch: 2 });
  expect(types(b.apply({ ...moved }, 11))).toEqual(["view"]);
});

test("in a planned move the new owner holds packets until the barrier of each slot is applied", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.apply(moved, 10);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_HANDOVER, SLOT_OWNED, SLOT_HANDOVER]);
  b.ownership.barrierApplied(2, 1, 1, 11);
  expect(b.states[1]).toBe(SLOT_HANDOVER);
  const effects = b.ownership.barrierApplied(2, 1, 2, 12);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_OWNED, SLOT_OWNED, SLOT_HANDOVER]);
  expect(find(effects, "announce")).toEqual({ type: "announce", slots: [1] });
  expect(find(effects, "settle")).toEqual({ type: "settle", slots: [1], movedEpochs: [2] });
  expect(b.ownership.gainedEpoch[1]).toBe(2);
});

test("a barrier that comes before its table counts", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.ownership.barrierApplied(2, 3, 2, 9);
  b.apply(moved, 10);
  expect(b.states[3]).toBe(SLOT_OWNED);
});

test("when the peer dies its backup forwards known flows and announces them before any commit, and asks for fences", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  const effects = b.ownership.peerDown(2, 100);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_TAKEOVER, SLOT_OWNED, SLOT_TAKEOVER]);
  expect(types(effects)).toEqual(["view", "announce", "steered"]);
  expect(find(effects, "announce")).toEqual({ type: "announce", slots: [1, 3] });
  expect(b.fences.due(100)).toEqual([{ ask: 1, node: 2, epoch: 1 }]);
});

test("a peer that was never heard is not taken for dead: nothing is steered", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_REMOTE, SLOT_OWNED, SLOT_REMOTE]);
  expect(b.fences.wanted()).toEqual([]);
});

test("when the peer turns out alive, the backup lets go and drops the fence, and the owner announces again", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.ownership.peerDown(2, 100);
  b.ownership.peerUp(2, 110);
  expect(b.states).toEqual([SLOT_OWNED, SLOT_REMOTE, SLOT_OWNED, SLOT_REMOTE]);
  expect(b.fences.wanted()).toEqual([]);
  const owner = new Bench(2);
  owner.apply(FOUR);
  // Whoever thought it dead may have forwarded packets of any flow whose copy it has.
  const unseen = { type: "unseen", slots: [1, 3] };
  expect(owner.ownership.linkUp(1, 100)).toEqual([unseen, { type: "announce", slots: [1, 3] }]);
  expect(owner.ownership.linkUp(3, 100)).toEqual([unseen]);
  // And until it hears us it may go on with that.
  expect(owner.ownership.tick(100 + LEASE_MS - 1)).toEqual([]);
  expect(owner.ownership.tick(100 + LEASE_MS)).toEqual([unseen]);
  expect(owner.ownership.tick(100 + 2 * LEASE_MS)).toEqual([]);
  expect(owner.ownership.reannounce()).toEqual([{ type: "announce", slots: [1, 3] }]);
});

test("slots of a dead owner are gained when a majority's promises have run out, not before", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.ownership.peerDown(2, 100);
  b.apply(taken, 105);
  b.voters(105, { remainingMs: 40 });
  b.ownership.tick(140);
  expect(b.states[1]).toBe(SLOT_TAKEOVER);
  const effects = b.ownership.tick(148);
  expect(b.states[1]).toBe(SLOT_OWNED);
  // The voters might still forget: the cluster must not.
  expect(find(effects, "settle")).toBeUndefined();
});

test("a slot gained by fences falls back when the fences are not confirmed any more", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.apply(taken, 100);
  b.voters(100, {});
  b.ownership.tick(103);
  expect(b.states[1]).toBe(SLOT_OWNED);
  const effects = b.ownership.tick(100 + 2 * LEASE_MS);
  expect(b.states[1]).toBe(SLOT_TAKEOVER);
  expect(find(effects, "lost")).toEqual({ type: "lost", slots: [1, 3] });
});

test("a gain is for good, and settled, when a majority knows the old owner to be down", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.apply(taken, 100);
  b.voters(100, { knownEpoch: taken.epoch });
  const effects = b.ownership.tick(103);
  expect(find(effects, "settle")).toEqual({ type: "settle", slots: [1, 3], movedEpochs: [2, 2] });
  b.ownership.tick(10_000);
  expect(b.states[1]).toBe(SLOT_OWNED);
});

test("that a majority knew of an earlier death proves nothing", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.apply(taken, 100);
  b.voters(100, { knownEpoch: taken.epoch - 1 });
  expect(find(b.ownership.tick(103), "settle")).toBeUndefined();
});

test("a settle that the table does not show is proposed again", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.ownership.peerGone(2, 1, 90);
  expect(find(b.apply(taken, 100), "settle")).toBeDefined();
  expect(find(b.ownership.tick(101), "settle")).toBeUndefined();
  expect(find(b.ownership.tick(100 + 4 * LEASE_MS), "settle")).toBeDefined();
  b.apply({ ...taken, awaiting: taken.awaiting.map(() => []) }, 400);
  expect(b.ownership.tick(2000)).toEqual([]);
});

test("a process that is provably gone releases what it held, at the moment of the commit", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.ownership.peerGone(2, 1, 90);
  b.apply(taken, 100);
  expect(b.states).toEqual([1, 1, 1, 1]);
});

test("without the rule lifelineReleases a process that is gone is waited for like any other", () => {
  const b = new Bench(1, false);
  b.apply(FOUR);
  b.ownership.peerGone(2, 1, 90);
  b.apply(taken, 100);
  expect(b.states[1]).toBe(SLOT_TAKEOVER);
});

test("the end of an earlier incarnation releases nothing that a later one held", () => {
  const b = new Bench(1);
  b.apply(FOUR);
  b.ownership.peerGone(2, 1, 90);
  b.apply(taken, 100, [member(1), member(2, 2, "down")]);
  expect(b.states[1]).toBe(SLOT_TAKEOVER);
});

test("an old owner that lives but does not send its barrier is fenced when patience is over", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.apply(moved, 10);
  b.ownership.tick(10 + 4 * LEASE_MS - 1);
  expect([b.states[1], b.fences.wanted()]).toEqual([SLOT_HANDOVER, []]);
  b.ownership.tick(10 + 4 * LEASE_MS);
  expect([b.states[1], b.fences.wanted()]).toEqual([SLOT_TAKEOVER, [2]]);
  // It has shown the epoch in which it lost the slot: it has stopped.
  b.voters(300, { seenEpoch: 2, remainingMs: 60 });
  expect(find(b.ownership.tick(300), "settle")).toBeDefined();
  expect(b.states[1]).toBe(SLOT_OWNED);
});

test("what was proven for one owner does not count when the slot was lost and gained again", () => {
  const b = new Bench(1);
  b.ownership.peerUp(2, 0);
  b.apply(FOUR);
  b.apply(moved, 10);
  b.ownership.barrierApplied(2, 1, 2, 11);
  const away = takeover(moved, 1, [B]);
  b.apply(away, 20);
  expect(b.states).toEqual([0, 0, 0, 0]);
  const again = takeover(away, 2, [A]);
  b.apply(again, 30);
  expect(again.awaiting[1]).toEqual([2]);
  expect(b.states[1]).toBe(SLOT_HANDOVER);
});
