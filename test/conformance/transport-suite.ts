/**
 * Conformance of transports: what gRPC and the memory network both must do. A world makes members and passes time.
 */
import type { Message, MsgSnap } from "raft-ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LINK_BUFFER_BYTES, type ReceiverLink, type SenderLink } from "../../cluster/sync/link.ts";
import type { Batch, ReceiverMessage, SenderMessage } from "../../cluster/sync/messages.ts";
import type { PeerReport, Transport } from "../../cluster/transport/transport.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";

export interface TransportWorld {
  /** A transport of member `id` (1..3), not started. */
  make(id: number): Transport;
  /** Ends the member as a crash of its process would. */
  kill(id: number): Promise<void>;
  until(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

class Member {
  readonly id: number;
  readonly transport: Transport;
  readonly received: { from: number; message: Message }[] = [];
  readonly unreachable: number[] = [];
  readonly turnedAway: number[] = [];
  readonly snapshots: { to: number; isDelivered: boolean }[] = [];
  readonly links: { from: number; end: End<ReceiverMessage, SenderMessage> }[] = [];

  constructor(id: number, transport: Transport) {
    this.id = id;
    this.transport = transport;
  }

  start(): Promise<void> {
    return this.transport.start({
      onRaft: (from, message) => this.received.push({ from, message }),
      onStatus: (from) => ({ ...REPORT, node: this.id, lead: from }),
      onSyncLink: (from, link) => this.links.push({ from, end: new End(link as ReceiverLink) }),
      onRestart: (from, incarnation) =>
        incarnation === 4 ? "" : `not for ${from}: not in life ${incarnation}`,
      onUnreachable: (to) => this.unreachable.push(to),
      onTurnedAway: (by) => this.turnedAway.push(by),
      onSnapshotSent: (to, isDelivered) => this.snapshots.push({ to, isDelivered }),
    });
  }
}

const REPORT: PeerReport = {
  node: 0,
  version: "1",
  term: 3,
  commit: 9,
  applied: 8,
  state: "follower",
  lead: 0,
  epoch: 7,
  lostLinks: [1, 3],
  hearing: [
    { link: 1, nodes: [], hasOthers: false },
    { link: 2, nodes: [2, 7], hasOthers: true },
  ],
  process: {
    ...{ build: "3f2a", recordVersions: [1, 2], syncVersion: 1, commandVersion: 1, heartbeatVersion: 1 },
    ...{ incarnation: 4, isSupervised: true },
  },
};

/** One end of a link, with what happened to it. */
class End<Out, In> {
  readonly link: { send(m: Out): boolean; pause(): void; resume(): void; close(): void };
  readonly received: In[] = [];
  isOpen = false;
  writable = 0;
  closed: string[] = [];
  #isInCall = false;

  constructor(link: SenderLink | ReceiverLink) {
    this.link = link as never;
    (link as never as { bind(h: object): void }).bind({
      onOpen: () => this.#outside(() => (this.isOpen = true)),
      onMessage: (message: In) => this.#outside(() => this.received.push(message)),
      onWritable: () => this.#outside(() => this.writable++),
      onClose: (why: string) => this.#outside(() => this.closed.push(why)),
    });
  }

  send(message: Out): boolean {
    this.#isInCall = true;
    const isTaken = this.link.send(message);
    this.#isInCall = false;
    return isTaken;
  }

  #outside(note: () => unknown): void {
    expect(this.#isInCall).toBe(false);
    note();
  }
}

export function transportConformance(name: string, makeWorld: () => Promise<TransportWorld>): void {
  describe(name, () => {
    let world: TransportWorld;

    beforeEach(async () => {
      world = await makeWorld();
    });
    afterEach(() => world.close());

    async function startAll(...ids: number[]): Promise<Member[]> {
      const members = ids.map((id) => new Member(id, world.make(id)));
      for (const member of members) await member.start();
      await world.until(() =>
        members.every((a) => members.every((b) => a === b || a.transport.isConnected(b.id))),
      );
      return members;
    }

    async function openLink(a: Member, b: Member) {
      const near = new End<SenderMessage, ReceiverMessage>(a.transport.openSyncLink(b.id));
      await world.until(() => near.isOpen && b.links.at(-1)?.end.isOpen === true);
      return { near, far: b.links.at(-1)!.end };
    }

    test("every kind of Raft message arrives as it was sent, in order", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const messages = everyMessage(1, 2);
      for (const message of messages) a.transport.sendRaft(message as Exclude<Message, MsgSnap>);
      await world.until(() => b.received.length === messages.length);
      expect(b.received.map(({ message }) => message)).toEqual(messages);
      expect(b.received.every(({ from }) => from === 1)).toBe(true);
    });

    test("many messages keep their order", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      for (let i = 1; i <= 500; i++) a.transport.sendRaft(heartbeat(1, 2, i));
      await world.until(() => b.received.length === 500);
      expect(b.received.map(({ message }) => message.term)).toEqual(
        Array.from({ length: 500 }, (_, i) => i + 1),
      );
    });

    test("whoever knows no such member turns it away, counts that, and it is told", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      expect(a.turnedAway).toEqual([]);
      b.transport.setPeers([]);
      await world.until(() => {
        a.transport.sendRaft(heartbeat(1, 2, 7));
        return a.turnedAway.length > 0 && b.transport.counters.refused.stranger > 0;
      });
      expect(a.turnedAway[0]).toBe(2);
      expect(b.received).toEqual([]);
    });

    test("a message in another's name is refused and counted", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      a.transport.sendRaft(heartbeat(3, 2, 5));
      a.transport.sendRaft(heartbeat(1, 2, 6));
      await world.until(() => b.received.length > 0);
      expect(b.received.map(({ message }) => message.term)).toEqual([6]);
      expect(b.transport.counters.refused.stranger).toBe(1);
    });

    test("a request that a follower passes on keeps the name of who asked", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const entries = [{ term: 0, index: 0, type: "normal" as const, data: Uint8Array.of(1) }];
      a.transport.sendRaft({ type: "MsgProp", from: 3, to: 2, term: 0, entries });
      await world.until(() => b.received.length > 0);
      expect(b.received[0]).toMatchObject({ from: 1, message: { type: "MsgProp", from: 3 } });
    });

    test("sending to a peer that is not there is told as unreachable, not thrown", async () => {
      const [a] = (await startAll(1)) as [Member];
      a.transport.sendRaft(heartbeat(1, 2, 1));
      await world.until(() => a.unreachable.includes(2));
      expect(a.transport.counters.raftDropped).toBe(1);
      expect(a.transport.isConnected(2)).toBe(false);
    });

    test("a peer that died and came back is reached again", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      a.transport.sendRaft(heartbeat(1, 2, 1));
      await world.until(() => b.received.length === 1);
      await world.kill(2);
      await world.until(() => !a.transport.isConnected(2));
      const again = new Member(2, world.make(2));
      await again.start();
      await world.until(() => a.transport.isConnected(2) && again.transport.isConnected(1));
      a.transport.sendRaft(heartbeat(1, 2, 2));
      again.transport.sendRaft(heartbeat(2, 1, 3));
      await world.until(() => again.received.length === 1 && a.received.length === 1);
      expect(again.received[0]?.message.term).toBe(2);
    });

    test("a snapshot of many chunks arrives whole and is confirmed once", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const message = snapshot(1, 2, 200_001);
      a.transport.sendSnapshot(message);
      await world.until(() => a.snapshots.length > 0);
      expect(a.snapshots).toEqual([{ to: 2, isDelivered: true }]);
      expect(b.received).toEqual([{ from: 1, message }]);
    });

    test("a snapshot to a peer that is not there fails once", async () => {
      const [a] = (await startAll(1)) as [Member];
      a.transport.sendSnapshot(snapshot(1, 2, 10));
      await world.until(() => a.snapshots.length > 0);
      expect(a.snapshots).toEqual([{ to: 2, isDelivered: false }]);
    });

    test("status is answered by the peer that was asked", async () => {
      const [a] = (await startAll(1, 2)) as [Member];
      let report: unknown;
      void a.transport.status(2, 5_000).then((answer) => {
        report = answer;
      });
      await world.until(() => report !== undefined);
      expect(report).toEqual({ ...REPORT, node: 2, lead: 1 });
    });

    test("a restart is taken or refused, with the reason, by the peer that is to restart", async () => {
      const [a] = (await startAll(1, 2)) as [Member];
      const answers: string[] = [];
      void a.transport.restart(2, 4, 5_000).then((refusal) => answers.push(refusal));
      await world.until(() => answers.length === 1);
      void a.transport.restart(2, 3, 5_000).then((refusal) => answers.push(refusal));
      await world.until(() => answers.length === 2);
      expect(answers).toEqual(["", "not for 1: not in life 3"]);
    });

    test("status fails with SW_CONTROL_TIMEOUT when the peer is not there", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      await b.transport.close();
      let code = "";
      a.transport.status(2, 20).catch((error: { code: string }) => {
        code = error.code;
      });
      await world.until(() => code !== "");
      expect(code).toBe("SW_CONTROL_TIMEOUT");
    });

    test("a link opens on both ends and carries every kind of message", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near, far } = await openLink(a, b);
      expect(b.links[0]?.from).toBe(1);
      for (const message of SENDER_MESSAGES) expect(near.send(message)).toBe(true);
      for (const message of RECEIVER_MESSAGES) expect(far.send(message)).toBe(true);
      await world.until(
        () =>
          far.received.length === SENDER_MESSAGES.length && near.received.length === RECEIVER_MESSAGES.length,
      );
      expect(far.received.map(plain)).toEqual(SENDER_MESSAGES.map(plain));
      expect(near.received).toEqual(RECEIVER_MESSAGES);
    });

    test("a slab may be reused as soon as send() returned", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near, far } = await openLink(a, b);
      const slab = new Uint8Array(RECORD_BYTES);
      for (let i = 1; i <= 20; i++) {
        slab.fill(i);
        expect(near.send(batch(i, slab))).toBe(true);
      }
      slab.fill(255);
      await world.until(() => far.received.length === 20);
      expect(far.received.map((m) => (m as Batch).slab[5])).toEqual(
        Array.from({ length: 20 }, (_, i) => i + 1),
      );
    });

    test("a paused reader stops the sender, which goes on after resume() without loss", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near, far } = await openLink(a, b);
      far.link.pause();
      const slab = new Uint8Array(400 * RECORD_BYTES);
      let taken = 0;
      // The windows below are finite: sooner or later nothing is taken any more, and nothing becomes writable.
      let writableBefore = -1;
      while (writableBefore !== near.writable) {
        writableBefore = near.writable;
        while (near.send(batch(taken + 1, slab))) taken++;
        await settle(world);
      }
      expect(taken * slab.length).toBeLessThan(16 * LINK_BUFFER_BYTES);
      far.link.resume();
      await world.until(() => near.writable === writableBefore + 1 && far.received.length === taken);
      expect(near.send(batch(taken + 1, slab))).toBe(true);
      await world.until(() => far.received.length === taken + 1);
      expect(far.received.map((m) => (m as Batch).firstSequence)).toEqual(
        Array.from({ length: taken + 1 }, (_, i) => i + 1),
      );
    });

    test("what was sent before close() arrives; the other side is told once, the closer never", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near, far } = await openLink(a, b);
      near.send({ type: "heartbeat", beat: 1, lastSequence: 0 });
      near.link.close();
      await world.until(() => far.closed.length > 0);
      await settle(world);
      expect(far.received).toHaveLength(1);
      expect(far.closed).toHaveLength(1);
      expect(near.closed).toEqual([]);
      expect(near.send({ type: "heartbeat", beat: 2, lastSequence: 0 })).toBe(false);
      expect(far.send({ type: "ack", appliedSequence: 0, beat: 1 })).toBe(false);
    });

    test("the reader may close as well, with a refusal as its last word", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near, far } = await openLink(a, b);
      far.send({ type: "refuse", reason: "version", detail: "too new" });
      far.link.close();
      await world.until(() => near.closed.length > 0);
      expect(near.received).toEqual([{ type: "refuse", reason: "version", detail: "too new" }]);
      expect(far.closed).toEqual([]);
    });

    test("a link to a peer that dies closes", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { near } = await openLink(a, b);
      await world.kill(2);
      await world.until(() => near.closed.length > 0);
      expect(near.send({ type: "heartbeat", beat: 1, lastSequence: 0 })).toBe(false);
    });

    test("a link whose sender dies closes on the reader's side", async () => {
      const [a, b] = (await startAll(1, 2)) as [Member, Member];
      const { far } = await openLink(a, b);
      await world.kill(1);
      await world.until(() => far.closed.length > 0);
    });

    test("a link to nobody closes without having opened", async () => {
      const [a] = (await startAll(1)) as [Member];
      const near = new End<SenderMessage, ReceiverMessage>(a.transport.openSyncLink(2));
      await world.until(() => near.closed.length > 0);
      expect(near.isOpen).toBe(false);
    });

    test("links of different pairs do not mix", async () => {
      const [a, b, c] = (await startAll(1, 2, 3)) as [Member, Member, Member];
      const toB = await openLink(a, b);
      const toC = await openLink(a, c);
      const fromB = await openLink(b, a);
      toB.near.send({ type: "heartbeat", beat: 1, lastSequence: 0 });
      toC.near.send({ type: "heartbeat", beat: 2, lastSequence: 0 });
      fromB.near.send({ type: "heartbeat", beat: 3, lastSequence: 0 });
      await world.until(() => [toB.far, toC.far, fromB.far].every((end) => end.received.length === 1));
      expect([toB.far, toC.far, fromB.far].map((end) => (end.received[0] as { beat: number }).beat)).toEqual([
        1, 2, 3,
      ]);
    });
  });
}

/** Lets what is under way arrive. */
async function settle(world: TransportWorld): Promise<void> {
  let turns = 0;
  await world.until(() => ++turns > 20);
}

function heartbeat(from: number, to: number, term: number): Exclude<Message, MsgSnap> {
  return { type: "MsgHeartbeat", from, to, term, commit: 0 };
}

function batch(firstSequence: number, slab: Uint8Array): Batch {
  return { type: "batch", firstSequence, count: slab.length / RECORD_BYTES, slab };
}

/** Slabs as arrays of the same class, whatever buffer they lie in. */
function plain(message: SenderMessage): unknown {
  return message.type === "batch" ? { ...message, slab: [...message.slab] } : message;
}

function snapshot(from: number, to: number, bytes: number): MsgSnap {
  const data = new Uint8Array(bytes).map((_, i) => i * 31);
  const confState = { voters: [1, 2], votersOutgoing: [3], learners: [], learnersNext: [3], autoLeave: true };
  return { type: "MsgSnap", from, to, term: 4, snapshot: { index: 2 ** 40, term: 3, confState, data } };
}

function everyMessage(from: number, to: number): Message[] {
  const base = { from, to, term: 2 ** 45 };
  const context = Uint8Array.of(1, 2, 3);
  const entries = [
    { term: 1, index: 2 ** 44 + 1, type: "normal" as const, data: Uint8Array.of(9, 8) },
    { term: 2, index: 2 ** 44 + 2, type: "confChange" as const, data: new Uint8Array(0) },
  ];
  return [
    { type: "MsgApp", ...base, index: 2 ** 44, logTerm: 1, commit: 3, entries },
    { type: "MsgAppResp", ...base, index: 7, reject: true, rejectHint: 5, logTerm: 4 },
    { type: "MsgVote", ...base, index: 7, logTerm: 4, context },
    { type: "MsgVote", ...base, index: 0, logTerm: 0 },
    { type: "MsgVoteResp", ...base, reject: false },
    { type: "MsgPreVote", ...base, index: 7, logTerm: 4 },
    { type: "MsgPreVoteResp", ...base, reject: true },
    { type: "MsgHeartbeat", ...base, commit: 3, context },
    { type: "MsgHeartbeatResp", ...base },
    { type: "MsgTimeoutNow", ...base },
    { type: "MsgReadIndex", ...base, context },
    { type: "MsgReadIndexResp", ...base, index: 3, context },
    { type: "MsgProp", ...base, entries },
    { type: "MsgTransferLeader", ...base },
  ];
}

const SENDER_MESSAGES: SenderMessage[] = [
  {
    type: "hello",
    protocolVersion: 1,
    recordVersion: 1,
    recordBytes: RECORD_BYTES,
    nodeId: 1,
    peerId: 2,
    session: 2 ** 48,
    policyFingerprint: "00ff",
  },
  batch(
    2 ** 50,
    new Uint8Array(RECORD_BYTES * 3).map((_, i) => i),
  ),
  { type: "heartbeat", beat: 4, lastSequence: 2 ** 50 + 2 },
  { type: "refuse", reason: "order", detail: "expected hello" },
];

const RECEIVER_MESSAGES: ReceiverMessage[] = [
  {
    type: "welcome",
    protocolVersion: 1,
    recordVersion: 1,
    nodeId: 2,
    life: 2 ** 47,
    session: 2 ** 48,
    receivedSequence: 12,
    appliedSequence: 11,
  },
  { type: "ack", appliedSequence: 2 ** 50, beat: 4 },
  { type: "resync", slots: [0, 5, 63], reason: "digest" },
  { type: "refuse", reason: "sequence", detail: "a gap" },
];
