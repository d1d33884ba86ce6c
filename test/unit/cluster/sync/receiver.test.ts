import { beforeEach, describe, expect, test } from "vitest";
import { type SyncLimits, syncLimits } from "../../../../cluster/sync/limits.ts";
import {
  matchPolicies,
  type ReceiverMessage,
  type SenderMessage,
} from "../../../../cluster/sync/messages.ts";
import { Receiver } from "../../../../cluster/sync/receiver.ts";
import { decodeFromSender, encodeFromSender } from "../../../../cluster/transport/sync-codec.ts";
import {
  OP_BARRIER,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_BYTES,
} from "../../../../src/base/record.ts";
import type { RecordRing } from "../../../../src/base/ring.ts";
import {
  drainRing,
  FakeClock,
  FakeLink,
  pairTable,
  put,
  type RecordFields,
  record,
  ring,
  SLOTS,
  slabOf,
} from "./fakes.ts";

type Link = FakeLink<ReceiverMessage, SenderMessage>;

let clock: FakeClock;
let replicas: RecordRing;
let applied: Float64Array;
let ready: { slots: number[]; epochs: number[] }[];
let receiver: Receiver;
let refusals: [peer: number, why: string][];
let wanted: [owner: number, slots: readonly number[], reason: string][];

function start(capacity = 1024, limits: Partial<SyncLimits> = {}): void {
  replicas = ring(capacity);
  applied = new Float64Array(1);
  receiver = new Receiver({
    selfId: 2,
    slots: SLOTS,
    replicas,
    applied,
    limits: syncLimits(limits),
    env: clock,
    onRefused: (peer, why) => refusals.push([peer, why]),
    onResyncWanted: (owner, slots, reason) => wanted.push([owner, slots, reason]),
    reportReady: (slots, epochs) => ready.push({ slots: [...slots], epochs: [...epochs] }),
  });
  receiver.setTable(pairTable());
}

beforeEach(() => {
  clock = new FakeClock();
  ready = [];
  refusals = [];
  wanted = [];
  start();
});

const HELLO = {
  type: "hello",
  protocolVersion: 1,
  recordVersion: 1,
  recordBytes: RECORD_BYTES,
  nodeId: 1,
  peerId: 2,
  session: 50,
  policyFingerprint: "p1",
} as const;

function open(
  change: Partial<typeof HELLO> | { [K in keyof typeof HELLO]?: unknown } = {},
  authenticatedId = 1,
): Link {
  const link: Link = new FakeLink();
  receiver.attach(link, authenticatedId);
  link.handlers!.onOpen();
  link.receive({ ...HELLO, ...change } as SenderMessage);
  return link;
}

function connect(session = 50): Link {
  const link = open({ session });
  link.take();
  return link;
}

function batch(link: Link, firstSequence: number, ...records: RecordFields[]): void {
  const slab = slabOf(...records.map(record));
  link.receive({ type: "batch", firstSequence, count: records.length, slab });
}

/** The worker applies everything in the ring. */
function apply(): ReturnType<typeof drainRing> {
  const records = drainRing(replicas);
  applied[0] = applied[0]! + records.length;
  receiver.onApplied();
  return records;
}

describe("policies", () => {
  test("the fingerprint of a peer's latest hello is kept, and replication goes on whatever it is", () => {
    expect(receiver.policyOf(1)).toBe("");
    const link = connect();
    expect(receiver.policyOf(1)).toBe("p1");
    batch(link, 1, { hash: 1 });
    expect(apply()).toHaveLength(1);
    open({ policyFingerprint: "p2" });
    expect(receiver.policyOf(1)).toBe("p2");
  });

  test("two fingerprints are the same or different, and unknown when one node told none", () => {
    expect([matchPolicies("a", "a"), matchPolicies("a", "b")]).toEqual(["same", "different"]);
    expect([matchPolicies("a", ""), matchPolicies("", "b")]).toEqual(["unknown", "unknown"]);
  });

  test("the hello of a build that knows no fingerprints reads as unknown", () => {
    const { policyFingerprint: _absent, ...old } = HELLO;
    const bytes = encodeFromSender({ ...old, policyFingerprint: "" });
    expect(bytes.length).toBe(encodeFromSender(HELLO).length - 4);
    expect(decodeFromSender(bytes)).toMatchObject({ type: "hello", policyFingerprint: "" });
  });
});

describe("acknowledging", () => {
  test("records are acknowledged when the dataplane applied them, not when they arrive", () => {
    const link = connect();
    batch(link, 1, { hash: 1 }, { hash: 2 });
    receiver.onApplied();
    expect(link.take()).toEqual([]);
    expect(apply().map((r) => r.hash)).toEqual([1, 2]);
    expect(link.take()).toEqual([{ type: "ack", appliedSequence: 2, beat: 0 }]);
  });

  test("half a batch is not acknowledged, and several batches are acknowledged at once", () => {
    const link = connect();
    batch(link, 1, { hash: 1 }, { hash: 2 });
    batch(link, 3, { hash: 3 });
    applied[0] = 1;
    receiver.onApplied();
    expect(link.take()).toEqual([]);
    applied[0] = 3;
    receiver.onApplied();
    expect(link.take()).toEqual([{ type: "ack", appliedSequence: 3, beat: 0 }]);
  });

  test("each peer is acknowledged for its own records, in the order of the ring", () => {
    const base = pairTable();
    receiver.setTable(pairTable({ owner: base.owner.map((_, s) => (s < 8 ? 1 : 3)) }));
    const one = connect();
    const three = open({ nodeId: 3, session: 9 }, 3);
    three.take();
    batch(one, 1, { slot: 0 }, { slot: 0 });
    batch(three, 1, { slot: 9 });
    batch(one, 3, { slot: 0 });
    applied[0] = 3;
    receiver.onApplied();
    expect([one.take(), three.take()]).toEqual([
      [{ type: "ack", appliedSequence: 2, beat: 0 }],
      [{ type: "ack", appliedSequence: 1, beat: 0 }],
    ]);
  });

  test("a heartbeat is answered with its number", () => {
    const link = connect();
    link.receive({ type: "heartbeat", beat: 4, lastSequence: 0 });
    expect(link.take()).toEqual([{ type: "ack", appliedSequence: 0, beat: 4 }]);
  });

  test("an acknowledgement that the link refuses is made up for", () => {
    const link = connect();
    batch(link, 1, {});
    link.isFull = true;
    apply();
    link.unblock();
    expect(link.take()).toEqual([{ type: "ack", appliedSequence: 1, beat: 0 }]);
  });
});

describe("resuming", () => {
  test("a welcome tells what was received and what is applied of the session", () => {
    const link = connect();
    batch(link, 1, {}, {}, {});
    link.breakOff();
    applied[0] = 3;
    const again = open();
    batch(again, 4, {});
    again.breakOff();
    expect(open().take()).toEqual([
      expect.objectContaining({ type: "welcome", session: 50, receivedSequence: 4, appliedSequence: 3 }),
    ]);
  });

  test("a new session begins at one, and leftovers of the old one acknowledge nothing", () => {
    const link = connect(50);
    batch(link, 1, {}, {});
    const next = open({ session: 51 });
    expect(next.take()[0]).toMatchObject({ session: 51, receivedSequence: 0, appliedSequence: 0 });
    expect(link.isClosed).toBe(true);
    batch(next, 1, { hash: 9 });
    applied[0] = 2;
    receiver.onApplied();
    expect(next.take()).toEqual([]);
    applied[0] = 3;
    receiver.onApplied();
    expect(next.take()).toEqual([{ type: "ack", appliedSequence: 1, beat: 0 }]);
  });
});

describe("refusing", () => {
  test.each([
    ["a protocol that is too old", { protocolVersion: 0 }, 1, "version"],
    ["records of a version that is too old", { recordVersion: 0 }, 1, "version"],
    ["records of another size", { recordBytes: 128 }, 1, "version"],
    ["a link that was meant for another node", { peerId: 3 }, 1, "identity"],
    ["a node that speaks in another's name", {}, 3, "identity"],
    ["itself", { nodeId: 2 }, 0, "identity"],
  ])("%s is refused with a message", (_name, change, authenticated, reason) => {
    const link = open(change, authenticated);
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason })]);
    expect(link.isClosed).toBe(true);
  });

  test("a hello of a later build is welcomed with this build's version of records", () => {
    const link = open({ protocolVersion: 2, recordVersion: 2, recordBytes: 192 });
    expect(link.take()).toEqual([
      expect.objectContaining({ type: "welcome", protocolVersion: 1, recordVersion: 1 }),
    ]);
    batch(link, 1, { hash: 5 });
    expect(replicas.length()).toBe(1);
  });

  test("a first message other than hello is refused", () => {
    const link: Link = new FakeLink();
    receiver.attach(link, 1);
    link.receive({ type: "heartbeat", beat: 1, lastSequence: 0 });
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason: "order" })]);
    expect(receiver.refusedHellos).toBe(1);
    expect(refusals).toEqual([[1, expect.stringMatching(/needs hello/)]]);
  });

  test("a gap in the sequence is refused, also one that only a heartbeat shows", () => {
    const link = connect();
    batch(link, 2, {});
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason: "sequence" })]);
    const other = connect();
    other.receive({ type: "heartbeat", beat: 1, lastSequence: 3 });
    expect(other.take()).toEqual([expect.objectContaining({ type: "refuse", reason: "sequence" })]);
    expect(replicas.length()).toBe(0);
  });

  test.each([
    ["a record of an unknown version", { wire: 9 }, "version"],
    ["an unknown operation", { op: 7 }, "bounds"],
    ["a slot that does not exist", { slot: SLOTS }, "bounds"],
  ])("a batch with %s is refused whole", (_name, fields, reason) => {
    const link = connect();
    batch(link, 1, {}, fields);
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason })]);
    expect(replicas.length()).toBe(0);
    expect([...receiver.peers][0]!.counts.refusals[reason as "bounds"]).toBe(1);
    expect(refusals).toEqual([[1, expect.stringContaining(`it was refused (${reason}): Cannot`)]]);
  });

  test("a slab of another length than its count says is refused", () => {
    const link = connect();
    link.receive({ type: "batch", firstSequence: 1, count: 2, slab: slabOf(record()) });
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason: "bounds" })]);
  });
});

describe("back-pressure", () => {
  test("a full ring makes the peer wait, and nothing is lost or reordered", () => {
    start(4);
    const link = connect();
    batch(link, 1, ...Array.from({ length: 6 }, (_, i) => ({ hash: i + 1 })));
    expect(link.isPaused).toBe(true);
    batch(link, 7, { hash: 7 });
    expect(receiver.stagedRecords).toBe(7);
    expect(apply().map((r) => r.hash)).toEqual([1, 2, 3, 4]);
    expect(link.isPaused).toBe(false);
    expect(apply().map((r) => r.hash)).toEqual([5, 6, 7]);
    expect(link.take()).toEqual([
      { type: "ack", appliedSequence: 4, beat: 0 },
      { type: "ack", appliedSequence: 7, beat: 0 },
    ]);
  });

  test("more than the staging holds closes the link, and comes again on the next", () => {
    start(4, { stagedRecords: 409 });
    const link = connect();
    batch(link, 1, ...Array.from({ length: 400 }, () => ({})));
    batch(link, 401, ...Array.from({ length: 100 }, () => ({})));
    expect(link.isClosed).toBe(true);
    expect(open().take()[0]).toMatchObject({ receivedSequence: 400 });
    expect([...receiver.peers][0]!.counts.overflows).toBe(1);
  });
});

describe("who may write", () => {
  const moved = (awaiting: readonly number[]) => {
    const base = pairTable();
    return pairTable({
      epoch: 5,
      owner: put(base.owner, 3, 3),
      awaiting: put(base.awaiting, 3, awaiting),
      movedEpoch: put(base.movedEpoch, 3, 5),
    });
  };

  test("records of an earlier owner are left out once it is not awaited any more, and still acknowledged", () => {
    receiver.setTable(moved([1]));
    const link = connect();
    batch(link, 1, { slot: 3, hash: 1, epoch: 4 });
    receiver.setTable(moved([]));
    batch(
      link,
      2,
      { slot: 3, hash: 2, epoch: 4 },
      { slot: 2, hash: 3, epoch: 4 },
      { slot: 3, hash: 4, epoch: 5 },
    );
    expect(apply().map((r) => r.hash)).toEqual([1, 3]);
    expect(link.take()).toEqual([{ type: "ack", appliedSequence: 4, beat: 0 }]);
    expect([...receiver.peers][0]!.counts.stale).toBe(2);
  });

  test("records of a later epoch than this node knows are taken", () => {
    receiver.setTable(moved([]));
    batch(connect(), 1, { slot: 3, hash: 1, epoch: 6 });
    expect(apply()).toHaveLength(1);
  });

  test("what an owner wrote in an earlier reign is left out, but for flows of a snapshot of this one", () => {
    const base = pairTable();
    receiver.setTable(pairTable({ epoch: 5, movedEpoch: put(base.movedEpoch, 3, 5) }));
    const link = connect();
    batch(
      link,
      1,
      { op: OP_SNAPSHOT_BEGIN, slot: 3, epoch: 4 },
      { slot: 3, hash: 1, epoch: 4 },
      { op: OP_SNAPSHOT_END, slot: 3, epoch: 4 },
    );
    batch(
      link,
      4,
      { op: OP_SNAPSHOT_BEGIN, slot: 3, epoch: 5 },
      { slot: 3, hash: 2, epoch: 2 },
      { op: OP_SNAPSHOT_END, slot: 3, epoch: 5 },
    );
    batch(link, 7, { slot: 3, hash: 3, epoch: 4 });
    expect(apply().map((r) => [r.op, r.hash])).toEqual([
      [OP_SNAPSHOT_BEGIN, 0],
      [OP_UPSERT, 2],
      [OP_SNAPSHOT_END, 0],
    ]);
  });

  test("an awaited owner's barrier is passed on", () => {
    receiver.setTable(moved([1]));
    batch(connect(), 1, { op: OP_BARRIER, slot: 3, epoch: 5 });
    expect(apply()[0]).toMatchObject({ op: OP_BARRIER, slot: 3 });
  });
});

describe("proofs", () => {
  const unproven = (epoch = 1) => {
    const base = pairTable();
    return pairTable({
      epoch,
      synced: put(base.synced, 6, false),
      backupEpoch: put(base.backupEpoch, 6, epoch),
    });
  };

  test("an equal digest after a snapshot is reported as ready, with the epoch of the backup", () => {
    receiver.setTable(unproven(3));
    const link = connect();
    batch(
      link,
      1,
      { op: OP_SNAPSHOT_BEGIN, slot: 6, epoch: 3 },
      { op: OP_SNAPSHOT_END, slot: 6, epoch: 3 },
      { op: OP_DIGEST, slot: 6, epoch: 3 },
    );
    apply();
    receiver.digestResult(6, true);
    receiver.tick(clock.ms);
    expect(ready).toEqual([{ slots: [6], epochs: [3] }]);
  });

  test("a proof is reported again until it is committed, and not after", () => {
    receiver.setTable(unproven());
    batch(connect(), 1, { op: OP_DIGEST, slot: 6 });
    receiver.digestResult(6, true);
    receiver.tick(clock.ms);
    receiver.tick(clock.ms + 500);
    receiver.tick(clock.ms + 1000);
    expect(ready).toHaveLength(2);
    receiver.setTable(pairTable());
    receiver.tick(clock.ms + 5000);
    expect(ready).toHaveLength(2);
  });

  test("a digest from before this node became the backup proves nothing", () => {
    receiver.setTable(unproven(3));
    batch(connect(), 1, { op: OP_DIGEST, slot: 6, epoch: 2 });
    receiver.digestResult(6, true);
    receiver.tick(clock.ms);
    expect(ready).toEqual([]);
  });

  describe("a digest that was compared before the table came that made this node the backup", () => {
    const compare = (isEqual: boolean): void => {
      receiver.setTable(pairTable({ epoch: 2, backup: put(pairTable().backup, 6, 0) }));
      batch(connect(), 1, { op: OP_DIGEST, slot: 6, epoch: 3 });
      receiver.digestResult(6, isEqual);
      receiver.tick(clock.ms);
      expect(ready).toEqual([]);
    };

    test("proves the copy when it comes", () => {
      compare(true);
      receiver.setTable(unproven(3));
      receiver.tick(clock.ms);
      expect(ready).toEqual([{ slots: [6], epochs: [3] }]);
    });

    test("or has the slot sent again", () => {
      compare(false);
      expect(wanted).toEqual([]);
      receiver.setTable(unproven(3));
      expect(wanted).toEqual([[1, [6], "digest"]]);
    });

    test("counts for nothing when that table is a later one, has another owner, or a record was refused meanwhile", () => {
      const { owner } = pairTable();
      const tables = [unproven(4), { ...unproven(3), owner: put(owner, 6, 3) }, unproven(3)];
      for (const [i, table] of tables.entries()) {
        start();
        compare(true);
        if (i === 2) receiver.readiness.refused(6);
        receiver.setTable(table);
        receiver.tick(clock.ms);
        expect(ready).toEqual([]);
      }
    });
  });

  test("a copy that differs is asked for again, and counted as divergence only when it was proven", () => {
    receiver.setTable(unproven());
    const link = connect();
    batch(link, 1, { op: OP_DIGEST, slot: 6 }, { op: OP_DIGEST, slot: 7 });
    receiver.digestResult(6, false);
    receiver.digestResult(7, false);
    expect(link.take()).toEqual([
      { type: "resync", slots: [6], reason: "digest" },
      { type: "resync", slots: [7], reason: "digest" },
    ]);
    expect(receiver.readiness.counts).toMatchObject({ mismatches: 1, divergences: 1 });
    expect(wanted).toEqual([
      [1, [6], "digest"],
      [1, [7], "digest"],
    ]);
  });

  test("a copy that found no room is asked for again; of a slot that another node backs up it is nobody's business", () => {
    receiver.setTable(pairTable());
    const link = connect();
    receiver.readiness.refused(7);
    expect(link.take()).toEqual([{ type: "resync", slots: [7], reason: "refused" }]);
    const { backup } = pairTable();
    receiver.setTable(pairTable({ backup: put(backup, 7, 3) }));
    receiver.readiness.refused(7);
    expect(link.take()).toEqual([]);
    // Unless this node was its backup before, and the new one is not proven: it may have to take over.
    const former = put(new Array<number>(SLOTS).fill(0), 7, 2);
    receiver.setTable(pairTable({ backup: put(backup, 7, 3), former }));
    receiver.readiness.refused(7);
    expect(link.take()).toEqual([{ type: "resync", slots: [7], reason: "refused" }]);
  });

  test("a request to send slots again is kept until a link takes it", () => {
    receiver.setTable(unproven());
    const link = connect();
    batch(link, 1, { op: OP_DIGEST, slot: 6 });
    link.isFull = true;
    receiver.digestResult(6, false);
    expect(link.take()).toEqual([]);
    link.isFull = false;
    link.handlers!.onWritable();
    expect(link.take().at(-1)).toEqual({ type: "resync", slots: [6], reason: "digest" });
  });

  test("a result without a digest is ignored", () => {
    receiver.digestResult(6, false);
    expect(receiver.readiness.counts).toMatchObject({ mismatches: 0, divergences: 0 });
  });

  test("a digest that the worker never answers is forgotten, so that the next result is not taken for its own", () => {
    receiver.setTable(unproven(3));
    const link = connect();
    batch(link, 1, { op: OP_DIGEST, slot: 6, epoch: 2 });
    batch(link, 2, { op: OP_DIGEST, slot: 6, epoch: 3 });
    apply();
    receiver.tick(clock.ms);
    clock.ms += 1001;
    receiver.tick(clock.ms);
    receiver.digestResult(6, true);
    receiver.tick(clock.ms);
    expect(ready).toHaveLength(1);
  });
});
