import { beforeEach, describe, expect, test } from "vitest";
import type { SlotTable } from "../../../../cluster/control/model.ts";
import { type SyncLimits, syncLimits } from "../../../../cluster/sync/limits.ts";
import type {
  Batch,
  ReceiverMessage,
  ResyncReason,
  SenderMessage,
} from "../../../../cluster/sync/messages.ts";
import { Router } from "../../../../cluster/sync/router.ts";
import {
  OP_BARRIER,
  OP_DELETE,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_BYTES,
} from "../../../../src/base/record.ts";
import type { RecordRing } from "../../../../src/base/ring.ts";
import { FakeClock, FakeLink, pairTable, publish, put, type RecordFields, ring, SLOTS } from "./fakes.ts";

type Link = FakeLink<SenderMessage, ReceiverMessage>;

let clock: FakeClock;
let changes: RecordRing;
let acked: Float64Array;
let exportsAsked: number[][];
let router: Router;
let resyncs: [peer: number, slots: number, reason: string][];

function start(table: SlotTable, limits: Partial<SyncLimits> = {}, isAdmitted = true): void {
  router = new Router({
    selfId: 1,
    slots: SLOTS,
    changes,
    acked,
    limits: syncLimits(limits),
    env: clock,
    requestExport: (slots) => exportsAsked.push([...slots]),
    onResync: (peer, slots, reason) => resyncs.push([peer, slots.length, reason]),
    onRefused: () => {},
  });
  router.sender(2);
  router.sender(3);
  router.setTable(table, isAdmitted);
}

beforeEach(() => {
  clock = new FakeClock();
  changes = ring(1024);
  acked = new Float64Array(256);
  exportsAsked = [];
  resyncs = [];
});

function connect(peer: number, life = 7): Link {
  const link: Link = new FakeLink();
  const sender = router.sender(peer);
  sender.attach(link);
  link.handlers!.onOpen();
  link.receive({
    type: "welcome",
    protocolVersion: 1,
    recordVersion: 1,
    nodeId: peer,
    life,
    session: sender.session,
    receivedSequence: 0,
    appliedSequence: 0,
  });
  return link;
}

function drain(...records: RecordFields[]): void {
  for (const fields of records) publish(changes, fields);
  router.drain(clock.ms);
}

/** Operations and slots that went out on a link. */
function out(link: Link): [op: number, slot: number][] {
  return contents(link.take());
}

function contents(messages: readonly SenderMessage[]): [op: number, slot: number][] {
  return messages
    .filter((m): m is Batch => m.type === "batch")
    .flatMap(({ slab, count }) =>
      Array.from({ length: count }, (_, i): [number, number] => [
        slab[i * RECORD_BYTES]!,
        slab[i * RECORD_BYTES + 2]!,
      ]),
    );
}

/** Acknowledges what was sent, until nothing more comes; answers what came. */
function ackAll(link: Link): [op: number, slot: number][] {
  const all: [number, number][] = [];
  for (;;) {
    const messages = link.take();
    const last = messages.findLast((m): m is Batch => m.type === "batch");
    if (last === undefined) return all;
    all.push(...contents(messages));
    link.receive({ type: "ack", appliedSequence: last.firstSequence + last.count - 1, beat: 0 });
  }
}

const snapshot = (slot: number): RecordFields[] => [
  { op: OP_SNAPSHOT_BEGIN, slot },
  { op: OP_UPSERT, slot, hash: 1 },
  { op: OP_SNAPSHOT_END, slot },
  { op: OP_DIGEST, slot },
];

describe("before this life is admitted", () => {
  test("what the table gives to an earlier life is not sent: its backup has all of it, this node nothing", () => {
    const unproven = pairTable({ synced: pairTable().synced.map(() => false) });
    start(unproven, {}, false);
    const link = connect(2);
    link.receive({ type: "resync", slots: [1, 2], reason: "digest" });
    drain({ slot: 1 }, ...snapshot(2));
    expect(exportsAsked).toEqual([]);
    expect(ackAll(link)).toEqual([]);
    router.setTable(unproven);
    expect(exportsAsked.flat()).toContain(1);
  });

  test("who took over hears that this life lets go, and nothing of what it has", () => {
    const base = pairTable();
    start(base, {}, false);
    const link = connect(2);
    router.setTable(
      pairTable({
        epoch: 2,
        owner: base.owner.map(() => 2),
        backup: base.backup.map(() => 0),
        awaiting: base.awaiting.map(() => [1]),
        movedEpoch: base.movedEpoch.map(() => 2),
      }),
    );
    drain({ op: OP_BARRIER, slot: 3, epoch: 2 });
    expect(exportsAsked).toEqual([]);
    expect(ackAll(link)).toEqual([[OP_BARRIER, 3]]);
  });
});

describe("where records go", () => {
  test("a change goes to the backup of its slot", () => {
    start(pairTable({ backup: pairTable().backup.map((_, s) => (s < 8 ? 2 : 3)) }));
    const two = connect(2);
    const three = connect(3);
    drain({ slot: 1 }, { slot: 9 }, { op: OP_DELETE, slot: 2 });
    expect(out(two)).toEqual([
      [OP_UPSERT, 1],
      [OP_DELETE, 2],
    ]);
    expect(out(three)).toEqual([[OP_UPSERT, 9]]);
  });

  test("the table at the time of draining counts", () => {
    start(pairTable());
    const two = connect(2);
    const three = connect(3);
    drain({ slot: 1 });
    ackAll(two);
    router.setTable(
      pairTable({
        epoch: 2,
        backup: put(pairTable().backup, 1, 3),
        backupEpoch: put(pairTable().backupEpoch, 1, 2),
      }),
    );
    drain({ slot: 1 });
    expect(out(two)).toEqual([]);
    expect(out(three)).toEqual([[OP_UPSERT, 1]]);
  });

  describe("while a slot changes its backup", () => {
    const base = pairTable();
    /** Slot 1 gets backup 3, and 2 is kept until 3 is proven. */
    const changing = pairTable({
      epoch: 2,
      backup: put(base.backup, 1, 3),
      synced: put(base.synced, 1, false),
      backupEpoch: put(base.backupEpoch, 1, 2),
      former: put(new Array<number>(SLOTS).fill(0), 1, 2),
    });

    test("both get its changes, and the new one alone a snapshot", () => {
      start(base);
      const [two, three] = [connect(2), connect(3)];
      router.setTable(changing);
      expect(exportsAsked).toEqual([[1]]);
      drain({ slot: 1 }, ...snapshot(1), { slot: 1 });
      expect(out(two)).toEqual([
        [OP_UPSERT, 1],
        [OP_UPSERT, 1],
        [OP_UPSERT, 1],
      ]);
      expect(out(three).map(([op]) => op)).toEqual([
        OP_UPSERT,
        OP_SNAPSHOT_BEGIN,
        OP_UPSERT,
        OP_SNAPSHOT_END,
        OP_DIGEST,
        OP_UPSERT,
      ]);
      expect([acked[2], acked[3]]).toEqual([0, 0]);
      two.receive({ type: "ack", appliedSequence: 3, beat: 0 });
      expect([acked[2], acked[3]]).toEqual([6, 0]);
    });

    test("what the old one could not keep is claimed there no more until it was sent again", () => {
      start(base);
      const two = connect(2);
      router.setTable(changing);
      drain({ slot: 1 });
      ackAll(two);
      const before = acked[2]!;
      two.receive({ type: "resync", slots: [1], reason: "refused" });
      drain({ slot: 1 });
      ackAll(two);
      expect([router.lostSlots(2), acked[2]]).toEqual([1, before]);
      drain(...snapshot(1));
      ackAll(two);
      expect([router.lostSlots(2), acked[2]]).toEqual([0, router.counts.drained]);
    });

    test("the old one gets nothing any more when it is released", () => {
      start(base);
      const [two, three] = [connect(2), connect(3)];
      router.setTable(changing);
      const { former: _, ...released } = changing;
      router.setTable({ ...released, epoch: 3, synced: base.synced });
      drain({ slot: 1 });
      expect(out(two)).toEqual([]);
      expect(out(three)).toEqual([[OP_UPSERT, 1]]);
    });

    test("what the old one lost on the way it gets in a snapshot of its own, and claims nothing before", () => {
      start(base, { backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
      for (let i = 0; i < 512; i++) publish(changes, { slot: 1 });
      router.drain(clock.ms);
      drain({ slot: 1 });
      expect(router.lostSlots(2)).toBe(1);
      router.setTable(changing);
      expect(router.lostSlots(2)).toBe(1);
      const [two, three] = [connect(2), connect(3)];
      drain({ slot: 9 });
      expect(acked[2]).toBe(0);
      router.tick(clock.ms);
      expect(new Set(exportsAsked.flat())).toEqual(new Set([1]));
      drain(...snapshot(1));
      expect(ackAll(two).filter(([, slot]) => slot === 1)).toEqual(
        ackAll(three).filter(([, slot]) => slot === 1),
      );
      expect(router.lostSlots(2)).toBe(0);
      expect(acked[2]).toBe(router.counts.drained);
    });

    test("the old one is the backup again with what it had", () => {
      start(base);
      connect(2);
      router.setTable(changing);
      exportsAsked.length = 0;
      router.setTable({ ...base, epoch: 3, backupEpoch: put(base.backupEpoch, 1, 3) });
      drain({ slot: 1 });
      expect(exportsAsked).toEqual([]);
      expect(router.lostSlots(2)).toBe(0);
    });
  });

  test("after a peer could not keep a copy nothing is claimed there until a snapshot made up for it", () => {
    start(pairTable());
    const link = connect(2);
    drain({ slot: 5 });
    ackAll(link);
    expect(acked[2]).toBe(1);
    link.receive({ type: "resync", slots: [5], reason: "refused" });
    drain({ slot: 5 });
    ackAll(link);
    expect([acked[2], router.lostSlots(2), router.counts.resyncs.refused]).toEqual([1, 1, 1]);
    expect(exportsAsked).toEqual([[5]]);
    drain(...snapshot(5));
    ackAll(link);
    expect([acked[2], router.lostSlots(2)]).toEqual([router.counts.drained, 0]);
  });

  test("the same for a slot that waits to be sent again, and for one whose snapshot is on its way, which begins anew later", () => {
    start(pairTable(), { exportSlots: 1 });
    const link = connect(2);
    link.receive({ type: "resync", slots: [4, 5], reason: "digest" });
    expect(exportsAsked).toEqual([[4]]);
    link.receive({ type: "resync", slots: [5], reason: "refused" });
    expect(router.lostSlots(2)).toBe(1);
    drain({ op: OP_SNAPSHOT_BEGIN, slot: 4 }, { slot: 4 });
    link.receive({ type: "resync", slots: [4], reason: "refused" });
    drain({ op: OP_SNAPSHOT_END, slot: 4 }, { op: OP_DIGEST, slot: 4 });
    ackAll(link);
    expect([router.lostSlots(2), acked[2]]).toEqual([2, 0]);
    expect(exportsAsked).toEqual([[4], [5]]);
    drain(...snapshot(5));
    ackAll(link);
    clock.ms += 1001;
    link.receive({ type: "ack", appliedSequence: router.sender(2).ackedSequence, beat: 0 });
    router.tick(clock.ms);
    expect(exportsAsked.at(-1)).toEqual([4]);
    drain(...snapshot(4));
    ackAll(link);
    expect([router.lostSlots(2), acked[2]]).toEqual([0, router.counts.drained]);
  });

  test("a change without a backup goes nowhere and counts as acknowledged", () => {
    start(pairTable({ backup: put(pairTable().backup, 4, 0) }));
    drain({ slot: 4 });
    expect(router.counts.unbacked).toBe(1);
    expect([acked[2], acked[3]]).toEqual([1, 1]);
  });

  test("the last changes of a slot that is handed over, and its barrier, go to the new owner", () => {
    start(pairTable());
    const two = connect(2);
    const base = pairTable();
    router.setTable(
      pairTable({
        epoch: 2,
        owner: put(base.owner, 5, 2),
        backup: put(base.backup, 5, 1),
        awaiting: put<readonly number[]>(base.awaiting, 5, [1]),
        movedEpoch: put(base.movedEpoch, 5, 2),
        backupEpoch: put(base.backupEpoch, 5, 2),
      }),
    );
    drain({ slot: 5 }, { op: OP_BARRIER, slot: 5, epoch: 2 });
    expect(out(two)).toEqual([
      [OP_UPSERT, 5],
      [OP_BARRIER, 5],
    ]);
  });

  test("what is kept for a node that left is freed, and what it was to have counts as lost until a table names another", () => {
    start(pairTable());
    const link = connect(2);
    router.forget(2);
    expect([link.isClosed, router.peers.map(({ peerId }) => peerId)]).toEqual([true, [3]]);
    drain({ slot: 0 });
    expect([router.counts.lost, router.lostSlots(2) > 0]).toEqual([1, true]);
    router.setTable(pairTable({ epoch: 2, backup: new Array(SLOTS).fill(3) }));
    expect([router.lostSlots(2), router.lostSlots(3)]).toEqual([0, 0]);
    const other = connect(3);
    drain({ slot: 0 });
    expect([out(other), router.counts.lost]).toEqual([[[OP_UPSERT, 0]], 1]);
  });

  test("records of slots that are another's are counted as stray", () => {
    start(pairTable({ owner: put(pairTable().owner, 3, 2), backup: put(pairTable().backup, 3, 3) }));
    drain({ slot: 3 }, { op: OP_DIGEST, slot: 3 }, { slot: SLOTS + 1 });
    expect(router.counts.stray).toBe(3);
  });
});

describe("what is claimed as acknowledged", () => {
  test("a claim is the change before the oldest that the peer has not applied", () => {
    start(pairTable({ backup: pairTable().backup.map((_, s) => (s < 8 ? 2 : 3)) }));
    const two = connect(2);
    drain({ slot: 9 }, { slot: 1 }, { slot: 10 }, { slot: 2 }, { slot: 11 });
    expect(acked[2]).toBe(1);
    two.receive({ type: "ack", appliedSequence: 1, beat: 0 });
    expect(acked[2]).toBe(3);
    two.receive({ type: "ack", appliedSequence: 2, beat: 0 });
    expect(acked[2]).toBe(5);
    expect(acked[3]).toBe(0);
  });

  test("nothing is claimed while lost changes are not made up for, and lag tells how long", () => {
    start(pairTable(), { backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
    for (let i = 0; i < 512; i++) publish(changes, { slot: 1 });
    router.drain(clock.ms);
    clock.ms += 40;
    drain({ slot: 2 });
    expect(router.sender(2).counts.sessionEnds.overflow).toBe(1);
    expect(resyncs).toEqual([[2, expect.any(Number), "overflow"]]);
    expect(router.book.lostSlots[2]).toBe(2);
    expect(router.lagMs(2, clock.ms)).toBe(40);

    const link = connect(2);
    drain({ slot: 3 });
    ackAll(link);
    expect(acked[2]).toBe(0);
    expect(exportsAsked.flat().sort()).toEqual([1, 2]);
    drain(...snapshot(1), ...snapshot(2));
    ackAll(link);
    expect(acked[2]).toBe(router.counts.drained);
    expect(router.lagMs(2, clock.ms)).toBe(0);
  });

  test("slots of which nothing was lost are not sent again", () => {
    start(pairTable(), { backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
    for (let i = 0; i < 513; i++) publish(changes, { slot: 1 });
    router.drain(clock.ms);
    connect(2);
    expect(exportsAsked).toEqual([[1]]);
  });

  test("a peer that lives a new life gets everything again", () => {
    start(pairTable(), { exportSlots: 16 });
    connect(2, 7);
    connect(2, 8);
    expect(router.book.lostSlots[2]).toBe(SLOTS);
    connect(2, 8);
    expect(exportsAsked.flat()).toHaveLength(SLOTS);
  });
});

describe("snapshots", () => {
  const joining = (): SlotTable => pairTable({ synced: pairTable().synced.map(() => false) });

  test("a few slots at a time are asked for, when the peer is connected, and the next when one is through", () => {
    start(joining(), { exportSlots: 3 });
    expect(exportsAsked).toEqual([]);
    const link = connect(2);
    expect(exportsAsked).toEqual([[0, 1, 2]]);
    drain(...snapshot(0));
    expect(exportsAsked).toHaveLength(1);
    expect(ackAll(link).map(([op]) => op)).toEqual([
      OP_SNAPSHOT_BEGIN,
      OP_UPSERT,
      OP_SNAPSHOT_END,
      OP_DIGEST,
    ]);
    expect(exportsAsked).toEqual([[0, 1, 2], [3]]);
    expect(router.counts.exportsDone).toBe(1);
  });

  test("live changes travel beside a snapshot that has not begun", () => {
    start(joining());
    const link = connect(2);
    drain({ slot: 12 });
    expect(ackAll(link)).toEqual([[OP_UPSERT, 12]]);
    expect(acked[2]).toBe(1);
  });

  test("a slot that still awaits an earlier owner is not sent: it is not complete", () => {
    const awaiting = put<readonly number[]>(joining().awaiting, 0, [3]);
    start(pairTable({ synced: joining().synced, awaiting }), { exportSlots: 16 });
    connect(2);
    expect(exportsAsked.flat()).not.toContain(0);
    router.setTable(joining());
    expect(exportsAsked.flat()).toContain(0);
  });

  test("an end whose beginning went elsewhere is left out, and the new backup gets a snapshot of its own", () => {
    start(joining(), { exportSlots: 16 });
    connect(2);
    const three = connect(3);
    drain(...snapshot(0).slice(0, 2));
    router.setTable(
      pairTable({
        epoch: 2,
        synced: joining().synced,
        backup: put(joining().backup, 0, 3),
        backupEpoch: put(joining().backupEpoch, 0, 2),
      }),
    );
    drain(...snapshot(0).slice(2));
    expect(out(three)).toEqual([]);
    ackAll(three);
    router.tick(clock.ms);
    expect(exportsAsked.flat().filter((slot) => slot === 0)).toHaveLength(2);
  });

  test("an export that the worker does not begin is asked for again", () => {
    start(joining(), { exportSlots: 1 });
    connect(2);
    clock.ms += 3001;
    router.tick(clock.ms);
    // The silence closed the link meanwhile.
    connect(2);
    expect(exportsAsked).toEqual([[0], [0]]);
    expect(router.counts.exportsExpired).toBe(1);
  });

  test("while a snapshot fills its peer's window the worker is held back, until the acknowledgement; changes go on to all", () => {
    const table = joining();
    start({ ...table, backup: put(table.backup, 1, 3) }, { exportWindowRecords: 512 });
    const [slow, other] = [connect(2), connect(3)];
    publish(changes, { op: OP_SNAPSHOT_BEGIN, slot: 0 });
    for (let i = 0; i < 511; i++) publish(changes, { slot: 0, hash: i });
    expect(changes.isHeldBack).toBe(false);
    expect(router.drain(clock.ms)).toBe(false);
    expect(changes.isHeldBack).toBe(true);
    drain({ slot: 1, hash: 7 }, { slot: 0, hash: 511 });
    expect(out(other)).toEqual([[OP_UPSERT, 1]]);
    expect(router.sender(2).lagRecords).toBe(513);
    ackAll(slow);
    expect(changes.isHeldBack).toBe(false);
  });

  test("live changes alone, as many as they are, hold no snapshot back", () => {
    start(joining(), { exportWindowRecords: 64 });
    connect(2);
    for (let i = 0; i < 100; i++) drain({ slot: 5, hash: i });
    expect(changes.isHeldBack).toBe(false);
  });

  test("a peer that applies nothing, or is gone, cannot hold others back for long", () => {
    start(joining(), { exportWindowRecords: 512 });
    const link = connect(2);
    publish(changes, { op: OP_SNAPSHOT_BEGIN, slot: 0 });
    for (let i = 0; i < 800; i++) publish(changes, { slot: 0, hash: i });
    router.drain(clock.ms);
    expect(changes.isHeldBack).toBe(true);
    clock.ms += 100;
    router.tick(clock.ms);
    expect(changes.isHeldBack).toBe(true);
    clock.ms += 1;
    router.tick(clock.ms);
    expect(changes.isHeldBack).toBe(false);
    ackAll(link);
    for (let i = 0; i < 800; i++) publish(changes, { slot: 0, hash: i });
    router.drain(clock.ms);
    expect(changes.isHeldBack).toBe(true);
    link.handlers?.onClose("gone");
    router.tick(clock.ms);
    expect(changes.isHeldBack).toBe(false);
  });

  test("it waits when every open stream does, and for no peer that is not there", () => {
    const table = pairTable();
    start({ ...table, backup: put(table.backup, 1, 3) });
    expect(router.isWaiting).toBe(false);
    const first = connect(2);
    expect(router.isWaiting).toBe(false);
    drain({ slot: 0, hash: 1 });
    expect(router.isWaiting).toBe(true);
    const second = connect(3);
    expect(router.isWaiting).toBe(false);
    drain({ slot: 1, hash: 1 });
    expect(router.isWaiting).toBe(true);
    ackAll(first);
    expect(router.isWaiting).toBe(false);
    ackAll(second);
    first.handlers?.onClose("gone");
    expect(router.isWaiting).toBe(false);
  });

  test("a digest is sent only for a copy that should be whole", () => {
    start(pairTable({ synced: put(pairTable().synced, 1, false) }));
    const link = connect(2);
    drain({ op: OP_DIGEST, slot: 0 }, { op: OP_DIGEST, slot: 1 });
    expect(out(link)).toEqual([[OP_DIGEST, 0]]);
  });
});

describe("resync", () => {
  const ask = (link: Link, slots: number[], reason: ResyncReason): void =>
    link.receive({ type: "resync", slots, reason });

  test("a slot that is asked for is sent at once, and ever less eagerly when it is asked for again", () => {
    start(pairTable());
    const link = connect(2);
    ask(link, [4], "digest");
    expect(exportsAsked).toEqual([[4]]);
    drain(...snapshot(4));
    ackAll(link);
    ask(link, [4], "digest");
    expect(exportsAsked).toEqual([[4]]);
    clock.ms += 1001;
    router.tick(clock.ms);
    expect(exportsAsked).toHaveLength(2);
    expect(router.counts.resyncs.digest).toBe(2);
    expect(resyncs.filter(([, , reason]) => reason === "digest").map(([peer]) => peer)).toContain(2);
  });

  test("slots that the peer does not back up are not sent to it", () => {
    start(pairTable({ backup: put(pairTable().backup, 4, 3) }));
    ask(connect(2), [4, 99], "operator");
    expect(exportsAsked).toEqual([]);
  });

  test("a forced full sync sends every slot again, of one peer when asked so", () => {
    start(pairTable({ backup: put(pairTable().backup, 4, 3) }), { exportSlots: 16 });
    connect(2);
    connect(3);
    expect(router.forceFullSync(3)).toBe(1);
    expect(resyncs.at(-1)).toEqual([3, 1, "operator"]);
    expect(exportsAsked).toEqual([[4]]);
    expect(router.forceFullSync()).toBe(SLOTS - 1);
    expect(exportsAsked.flat()).toHaveLength(SLOTS);
  });
});

describe("a barrier whose slot lost changes on the way", () => {
  function loseAndLeave(): void {
    start(pairTable(), { backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
    for (let i = 0; i < 513; i++) publish(changes, { slot: 5 });
    router.drain(clock.ms);
    const base = pairTable();
    router.setTable(
      pairTable({
        epoch: 2,
        owner: put(base.owner, 5, 2),
        backup: put(base.backup, 5, 1),
        awaiting: put<readonly number[]>(base.awaiting, 5, [1]),
        movedEpoch: put(base.movedEpoch, 5, 2),
        backupEpoch: put(base.backupEpoch, 5, 2),
      }),
    );
    drain({ op: OP_BARRIER, slot: 5, epoch: 2 });
  }

  test("waits for a snapshot and follows it", () => {
    loseAndLeave();
    const link = connect(2);
    router.tick(clock.ms);
    expect(out(link)).toEqual([]);
    expect(exportsAsked).toEqual([[5]]);
    drain(...snapshot(5));
    expect(ackAll(link).at(-1)).toEqual([OP_BARRIER, 5]);
    expect(router.counts.barriersBare).toBe(0);
  });

  test("is not paid when the snapshot is lost at its very end", () => {
    loseAndLeave();
    const first = connect(2);
    router.tick(clock.ms);
    expect(exportsAsked).toEqual([[5]]);
    // 512 records fill the backlog: the digest is one too many.
    for (let i = 0; i < 512; i++) {
      const op = i === 0 ? OP_SNAPSHOT_BEGIN : i === 511 ? OP_SNAPSHOT_END : OP_UPSERT;
      publish(changes, { op, slot: 5, hash: i });
    }
    publish(changes, { op: OP_DIGEST, slot: 5 });
    router.drain(clock.ms);
    first.breakOff();
    clock.ms += 200;
    router.tick(clock.ms);
    const second = connect(2);
    router.tick(clock.ms);
    expect(out(second)).toEqual([]);
    drain(...snapshot(5));
    expect(ackAll(second).at(-1)).toEqual([OP_BARRIER, 5]);
    expect(router.counts.barriersBare).toBe(0);
  });

  test("goes alone when the worker sends none in time: a slot that nobody decides would be worse", () => {
    loseAndLeave();
    const link = connect(2);
    router.tick(clock.ms);
    clock.ms += 2999;
    link.receive({ type: "ack", appliedSequence: 0, beat: 0 });
    clock.ms += 2;
    router.tick(clock.ms);
    expect(out(link)).toEqual([[OP_BARRIER, 5]]);
    expect(router.counts.barriersBare).toBe(1);
  });
});
