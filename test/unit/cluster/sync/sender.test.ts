import { beforeEach, describe, expect, test } from "vitest";
import { type SyncLimits, syncLimits } from "../../../../cluster/sync/limits.ts";
import {
  BATCH_RECORDS_MAX,
  type Batch,
  type Hello,
  type ReceiverMessage,
  type SenderMessage,
  SYNC_PROTOCOL_VERSION,
} from "../../../../cluster/sync/messages.ts";
import { Sender, type SessionEnd } from "../../../../cluster/sync/sender.ts";
import { RECORD_FORMATS } from "../../../../cluster/sync/wire-format.ts";
import { RECORD_BYTES, RECORD_WIRE_VERSION } from "../../../../src/base/record.ts";
import { FakeClock, FakeLink, record, words } from "./fakes.ts";

type Link = FakeLink<SenderMessage, ReceiverMessage>;

const LIFE = 77;
let clock: FakeClock;
let refusals: string[];
let ended: { end: SessionEnd; outstanding: number }[];
let sender: Sender;
let count = 0;

/** The formats of a build that has one more version of records. */
const LATER = [...RECORD_FORMATS, { version: 2, bytes: RECORD_BYTES + 16 }];

function makeSender(limits: Partial<SyncLimits> = {}, formats = RECORD_FORMATS): Sender {
  const made: Sender = new Sender({
    selfId: 1,
    peerId: 2,
    limits: syncLimits(limits),
    env: clock,
    formats,
    events: {
      onProgress: () => {},
      onSessionEnd: (_peer, end) => ended.push({ end, outstanding: made.backlog.length }),
      onResync: () => {},
      onRefused: (_peer, why) => refusals.push(why),
    },
  });
  return made;
}

beforeEach(() => {
  clock = new FakeClock();
  ended = [];
  refusals = [];
  count = 0;
  sender = makeSender();
});

function append(records: number): void {
  for (let i = 0; i < records; i++) {
    count++;
    sender.append(words(record({ hash: count })), 0, count, clock.ms);
  }
  sender.pump();
}

function connect(received = 0, applied = received, life = LIFE): Link {
  const link: Link = new FakeLink();
  sender.attach(link);
  link.handlers!.onOpen();
  link.receive({
    type: "welcome",
    protocolVersion: SYNC_PROTOCOL_VERSION,
    recordVersion: RECORD_WIRE_VERSION,
    nodeId: 2,
    life,
    session: sender.session,
    receivedSequence: received,
    appliedSequence: applied,
  });
  return link;
}

function batches(link: Link): [first: number, count: number][] {
  return link
    .take()
    .filter((m): m is Batch => m.type === "batch")
    .map((m) => [m.firstSequence, m.count]);
}

const ack = (link: Link, appliedSequence: number, beat = 0): void =>
  link.receive({ type: "ack", appliedSequence, beat });

describe("batching", () => {
  test("an idle stream sends a single record at once", () => {
    const link = connect();
    append(1);
    expect(batches(link)).toEqual([[1, 1]]);
  });

  test("records gather while a batch is unacknowledged, and leave together with its acknowledgement", () => {
    const link = connect();
    append(1);
    append(3);
    append(4);
    expect(batches(link)).toEqual([[1, 1]]);
    ack(link, 1);
    expect(batches(link)).toEqual([[2, 7]]);
  });

  test("a full batch leaves at once, whatever is unacknowledged, and is at most 64 KiB", () => {
    const link = connect();
    append(1);
    append(2 * BATCH_RECORDS_MAX + 5);
    expect(batches(link)).toEqual([
      [1, 1],
      [2, BATCH_RECORDS_MAX],
      [2 + BATCH_RECORDS_MAX, BATCH_RECORDS_MAX],
    ]);
    expect(BATCH_RECORDS_MAX * RECORD_BYTES).toBeLessThanOrEqual(65_536);
  });

  test("a slab holds exactly the records that were appended", () => {
    const link = connect();
    append(1);
    const batch = link.take().find((m) => m.type === "batch") as Batch;
    expect(batch.slab).toEqual(record({ hash: 1 }));
  });

  test("a batch that the link refuses is offered again when the link is writable", () => {
    const link = connect();
    link.isFull = true;
    append(2);
    append(1);
    expect(batches(link)).toEqual([]);
    link.unblock();
    expect(batches(link)).toEqual([[1, 3]]);
  });

  test("sequences go on where the backlog wraps", () => {
    sender = makeSender({ backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
    const link = connect();
    append(400);
    ack(link, 400);
    link.take();
    append(300);
    ack(link, 512);
    expect(batches(link)).toEqual([
      [401, 112],
      [513, 188],
    ]);
  });
});

describe("resuming", () => {
  test("what was kept before the first link is sent on it", () => {
    append(5);
    expect(batches(connect())).toEqual([[1, 5]]);
  });

  test("a new link goes on after what was received, and only what was applied is acknowledged", () => {
    const first = connect();
    append(4);
    append(6);
    first.breakOff();
    expect(sender.lagRecords).toBe(10);
    const second = connect(4, 3);
    expect(sender.ackedSequence).toBe(3);
    expect(batches(second)).toEqual([]);
    ack(second, 4);
    expect(batches(second)).toEqual([[5, 6]]);
    expect(ended).toEqual([]);
  });

  test("what was sent and not received is sent again, and counted", () => {
    const first = connect();
    append(4);
    first.breakOff();
    expect(batches(connect(1, 1))).toEqual([[2, 3]]);
    expect(sender.counts.recordsResent).toBe(3);
  });

  test("a peer in a new life ends the session", () => {
    const first = connect();
    append(4);
    ack(first, 4);
    append(2);
    first.breakOff();
    const { session } = sender;
    const second = connect(0, 0, LIFE + 1);
    expect(ended).toEqual([{ end: "restart", outstanding: 2 }]);
    expect(second.isClosed).toBe(true);
    expect(sender.session).toBe(session + 1);
    expect(sender.lagRecords).toBe(0);
  });

  test("a peer that has less than it acknowledged ends the session", () => {
    const first = connect();
    append(4);
    ack(first, 4);
    first.breakOff();
    connect(2, 2);
    expect(ended.map((e) => e.end)).toEqual(["forgot"]);
  });

  test("a full backlog ends the session while its records can still be seen, and memory stays bounded", () => {
    sender = makeSender({ backlogRecords: 512, exportWindowRecords: 256, stagedRecords: 512 });
    append(512);
    expect(sender.append(words(record()), 0, 513, clock.ms)).toBe(false);
    expect(ended).toEqual([{ end: "overflow", outstanding: 512 }]);
    expect(sender.lagRecords).toBe(0);
    append(1);
    expect(sender.lastSequence).toBe(1);
  });
});

describe("lag on one clock", () => {
  test("lag is the age of the oldest unacknowledged change", () => {
    const link = connect();
    append(1);
    clock.ms += 3;
    append(1);
    clock.ms += 4;
    expect(sender.lagMs(clock.ms)).toBe(7);
    ack(link, 1);
    expect(sender.lagMs(clock.ms)).toBe(4);
    expect(sender.lagBytes).toBe(RECORD_BYTES);
    ack(link, 2);
    expect(sender.lagMs(clock.ms)).toBe(0);
    expect(sender.ackLatency.count).toBe(2);
    expect(sender.ackLatency.maxMs).toBe(7);
  });

  test("an idle stream carries a heartbeat every 100 ms, and silence makes lag grow", () => {
    const link = connect();
    for (let i = 0; i < 25; i++) {
      clock.ms += 10;
      sender.tick(clock.ms);
    }
    expect(link.take().filter((m) => m.type === "heartbeat")).toEqual([
      { type: "heartbeat", beat: 1, lastSequence: 0 },
      { type: "heartbeat", beat: 2, lastSequence: 0 },
    ]);
    expect(sender.lagMs(clock.ms)).toBe(150);
    ack(link, 0, 1);
    expect(sender.lagMs(clock.ms)).toBe(50);
    ack(link, 0, 2);
    expect(sender.lagMs(clock.ms)).toBe(0);
  });

  test("lag grows without a link, and goes on growing over links that come to nothing", () => {
    const link = connect();
    link.breakOff();
    clock.ms += 500;
    sender.attach(new FakeLink());
    clock.ms += 500;
    expect(sender.lagMs(clock.ms)).toBe(1000);
    connect();
    expect(sender.lagMs(clock.ms)).toBe(0);
  });

  test("a peer that answers nothing is connected anew", () => {
    const link = connect();
    for (let i = 0; i < 32; i++) {
      clock.ms += 100;
      sender.tick(clock.ms);
    }
    expect(link.isClosed).toBe(true);
    expect(sender.hasLink).toBe(false);
    expect(sender.counts.linksSilent).toBe(1);
  });

  test("a link that never opens is given up", () => {
    const link: Link = new FakeLink();
    sender.attach(link);
    clock.ms += 3001;
    sender.tick(clock.ms);
    expect(link.isClosed).toBe(true);
  });
});

describe("faults of the peer", () => {
  test("an acknowledgement of what was not sent is refused", () => {
    const link = connect();
    append(1);
    ack(link, 2);
    expect(link.take().at(-1)).toMatchObject({ type: "refuse", reason: "sequence" });
    expect(link.isClosed).toBe(true);
    expect(sender.ackedSequence).toBe(0);
  });

  test("another node than the expected one is refused", () => {
    const link: Link = new FakeLink();
    sender.attach(link);
    link.handlers!.onOpen();
    link.receive({
      type: "welcome",
      protocolVersion: 1,
      recordVersion: 1,
      nodeId: 3,
      life: LIFE,
      session: sender.session,
      receivedSequence: 0,
      appliedSequence: 0,
    });
    expect(link.take().at(-1)).toMatchObject({ type: "refuse", reason: "identity" });
    expect(refusals).toEqual([expect.stringMatching(/^it was refused \(identity\): node 2 is expected/)]);
    expect(sender.isOpen).toBe(false);
  });

  test("a later build cuts its records when the welcome asks for an earlier version", () => {
    sender = makeSender({}, LATER);
    const link = connect();
    sender.append(new Uint32Array(44).fill(0x0202_0201), 0, 1, clock.ms);
    sender.pump();
    const [hello, batch] = link.take();
    expect(hello).toMatchObject({ recordVersion: 2, recordBytes: 176 });
    expect((batch as Batch).slab).toHaveLength(160);
    expect([...(batch as Batch).slab.subarray(0, 4)]).toEqual([1, 1, 2, 2]);
    expect(sender.recordVersion).toBe(1);
  });

  test("a build that refuses a later version is offered the one before, and in the end the latest again", () => {
    sender = makeSender({}, LATER);
    const offers = [1, 2, 3].map(() => {
      const link: Link = new FakeLink();
      sender.attach(link);
      link.handlers!.onOpen();
      const [hello] = link.take();
      link.receive({ type: "refuse", reason: "version", detail: "Cannot read records of version 2" });
      return hello as Hello;
    });
    expect(offers.map((hello) => [hello.recordVersion, hello.recordBytes])).toEqual([
      [2, 176],
      [1, 160],
      [2, 176],
    ]);
  });

  test("a welcome that asks for more than was offered is a fault", () => {
    const link: Link = new FakeLink();
    sender.attach(link);
    link.handlers!.onOpen();
    link.take();
    const { session } = sender;
    const welcome = { protocolVersion: 1, recordVersion: 2, nodeId: 2, life: LIFE, session };
    link.receive({ type: "welcome", ...welcome, receivedSequence: 0, appliedSequence: 0 });
    expect(link.take()).toEqual([expect.objectContaining({ type: "refuse", reason: "version" })]);
  });

  test("a refusal of the version is kept for the operator, and records are kept for later", () => {
    append(3);
    const link: Link = new FakeLink();
    sender.attach(link);
    link.handlers!.onOpen();
    link.receive({ type: "refuse", reason: "version", detail: "needs 2" });
    expect(sender.refusal).toEqual({ reason: "version", detail: "needs 2" });
    expect(sender.counts.refusals.version).toBe(1);
    expect(refusals).toEqual(["it refused (version): needs 2"]);
    expect(sender.lagRecords).toBe(3);
    connect();
    expect(sender.refusal).toBeUndefined();
  });

  test("a refusal of the sequence begins a new session, since both count differently", () => {
    const link = connect();
    append(3);
    link.receive({ type: "refuse", reason: "sequence", detail: "" });
    expect(ended.map((e) => e.end)).toEqual(["forgot"]);
  });

  test("messages of a replaced link are ignored", () => {
    const old = connect();
    append(2);
    connect(0);
    ack(old, 2);
    expect(sender.ackedSequence).toBe(0);
    expect(old.isClosed).toBe(true);
  });
});

describe("a policy that changes", () => {
  const hello = (link: Link): SenderMessage | undefined => link.take().find(({ type }) => type === "hello");

  test("is told in the hello of a new link, on which the session goes on: nothing is sent again", () => {
    const first = connect();
    append(3);
    ack(first, 3);
    const { session } = sender;
    sender.setPolicy("p2");
    expect([first.isClosed, sender.isOpen]).toEqual([true, false]);
    append(1);
    const second = connect(3);
    expect(hello(second)).toMatchObject({ policyFingerprint: "p2", session });
    expect(ended).toEqual([]);
    append(1);
    ack(second, 4);
    ack(second, 5);
    expect([sender.backlog.length, sender.counts.recordsResent]).toEqual([0, 0]);
  });

  test("to the same one leaves the link alone", () => {
    sender.setPolicy("p2");
    const link = connect();
    expect(hello(link)).toMatchObject({ policyFingerprint: "p2" });
    sender.setPolicy("p2");
    expect([link.isClosed, sender.isOpen]).toEqual([false, true]);
  });
});
