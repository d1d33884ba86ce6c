/**
 * Reads without the log as a driver sees them (Raft section 8, thesis section 6.4).
 */
import type { Message, MsgHeartbeat } from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, TestCluster, type TestNode, text, voters } from "../support/driver.ts";
import { ack, answers, beat, change, leaderWith, nodeWith } from "../support/messages.ts";

const beats = (messages: readonly Message[]): MsgHeartbeat[] =>
  messages.filter((m) => m.type === "MsgHeartbeat");
const confirm = (from: number, m: MsgHeartbeat, term = m.term): Message => ({
  type: "MsgHeartbeatResp",
  from,
  to: 1,
  term,
  ...(m.context === undefined ? {} : { context: m.context }),
});
const reads = (node: TestNode): string[] =>
  node.readStates.map(({ index, context }) => `${text(context)}@${index}`);

/** A leader of {1, 2, 3} that has committed its first entry. */
function ready(): TestNode {
  const node = leaderWith();
  node.drain();
  answers(node, ack({ from: 2, index: 1 }));
  return node;
}

describe("safe reads", () => {
  test("are answered at the commit index of their arrival once a quorum confirmed a heartbeat", () => {
    const node = ready();
    node.raw.readIndex(bytes("r"));
    const [one] = beats(node.drain());
    expect(one?.context).toBeInstanceOf(Uint8Array);
    expect(reads(node)).toEqual([]);
    // What commits meanwhile does not matter.
    node.propose("x");
    node.drain();
    answers(node, ack({ from: 2, index: 2 }));
    answers(node, confirm(3, one!));
    expect(reads(node)).toEqual(["r@1"]);
  });

  test("beyond 4,096 that wait are dropped, also those that wait for the first commit of the term", () => {
    const node = leaderWith();
    node.drain();
    const ask = { type: "MsgReadIndex", from: 2, to: 1, term: 1, context: bytes("r") } as const;
    for (let i = 0; i < 3000; i++) node.raw.step(ask);
    answers(node, ack({ from: 2, index: 1 }));
    for (let i = 0; i < 3000; i++) node.raw.step(ask);
    const last = beats(node.drain())
      .filter((m) => m.to === 3)
      .at(-1)!;
    expect(answers(node, confirm(3, last)).filter((m) => m.type === "MsgReadIndexResp").length).toBe(4096);
  });

  test("are not confirmed by an answer without a context, of another round, or of a stranger or learner", () => {
    const node = leaderWith({ conf: { ...voters(1, 2, 3), learners: [4] } });
    node.drain();
    answers(node, ack({ from: 2, index: 1 }));
    node.raw.readIndex(bytes("r1"));
    const [first] = beats(node.drain());
    node.raw.readIndex(bytes("r2"));
    const [second] = beats(node.drain());
    answers(node, { type: "MsgHeartbeatResp", from: 2, to: 1, term: 1 });
    answers(node, { type: "MsgHeartbeatResp", from: 2, to: 1, term: 1, context: bytes("r1") });
    answers(node, confirm(9, second!));
    answers(node, confirm(4, second!));
    expect(reads(node)).toEqual([]);
    answers(node, confirm(2, first!));
    expect(reads(node)).toEqual(["r1@1"]);
    answers(node, confirm(2, second!));
    expect(reads(node)).toEqual(["r1@1", "r2@1"]);
    // Late answers change nothing any more.
    answers(node, confirm(3, second!));
    expect(reads(node)).toHaveLength(2);
  });

  test("are all confirmed by the answer to a later round, in the order in which they came", () => {
    const node = ready();
    for (const r of ["a", "b", "c"]) node.raw.readIndex(bytes(r));
    const all = beats(node.drain()).filter((m) => m.to === 3);
    expect(new Set(all.map((m) => String(m.context))).size).toBe(3);
    answers(node, confirm(3, all[2]!));
    expect(reads(node)).toEqual(["a@1", "b@1", "c@1"]);
  });

  test("of the same name are told apart: a context on the wire is never used twice", () => {
    const node = ready();
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      node.raw.readIndex(bytes("same"));
      const [m] = beats(node.drain());
      expect(text(m!.context!)).not.toBe("same");
      expect(seen.has(String(m!.context))).toBe(false);
      seen.add(String(m!.context));
      answers(node, confirm(2, m!));
    }
    expect(reads(node)).toHaveLength(5);
  });

  test("are not confirmed by answers to a round of an earlier leadership", () => {
    const node = ready();
    node.raw.readIndex(bytes("old"));
    const [old] = beats(node.drain());
    answers(node, beat({ from: 3, term: 2, commit: 1 }));
    expect(node.raw.status().state).toBe("follower");
    node.raw.campaign();
    node.drain();
    answers(node, { type: "MsgVoteResp", from: 2, to: 1, term: 3, reject: false });
    answers(node, ack({ from: 2, term: 3, index: 2 }));
    node.raw.readIndex(bytes("new"));
    const [now] = beats(node.drain());
    expect(now?.context).not.toEqual(old?.context);
    answers(node, confirm(2, old!));
    answers(node, confirm(2, old!, 3));
    expect(reads(node)).toEqual([]);
    answers(node, confirm(2, now!));
    expect(reads(node)).toEqual(["new@2"]);
  });

  test("are asked for again by the regular heartbeats until a quorum answers", () => {
    const node = ready();
    node.raw.readIndex(bytes("r"));
    node.drain();
    node.tick();
    const [again] = beats(node.drain());
    answers(node, confirm(2, again!));
    expect(reads(node)).toEqual(["r@1"]);
    node.tick();
    expect(beats(node.drain())[0]?.context).toBeUndefined();
  });

  test("wait for the first commit of the term, and then need their round like all others", () => {
    const node = leaderWith({ terms: [1, 1], commit: 2 });
    node.drain();
    node.raw.readIndex(bytes("early"));
    expect(beats(node.drain())).toEqual([]);
    const round = beats(answers(node, ack({ from: 2, term: 2, index: 3 })));
    expect(round).toHaveLength(2);
    expect(reads(node)).toEqual([]);
    answers(node, confirm(3, round[0]!));
    expect(reads(node)).toEqual(["early@3"]);
  });

  test("are forgotten with the leadership, also those that wait for its first commit", () => {
    for (const node of [ready(), leaderWith()]) {
      node.drain();
      node.raw.readIndex(bytes("r"));
      node.drain();
      answers(node, beat({ from: 3, term: 2 }));
      expect(node.raw.status().state).toBe("follower");
      node.raw.campaign();
      node.drain();
      answers(node, { type: "MsgVoteResp", from: 2, to: 1, term: 3, reject: false });
      answers(node, ack({ from: 2, term: 3, index: 2 }));
      node.tick();
      expect(beats(node.drain())[0]?.context).toBeUndefined();
      expect(reads(node)).toEqual([]);
    }
  });

  test("6: need both majorities of a joint configuration", () => {
    const node = leaderWith({ conf: { ...voters(1, 4, 5), votersOutgoing: [1, 2, 3], autoLeave: false } });
    node.drain();
    for (const from of [2, 4]) answers(node, ack({ from, index: 1 }));
    node.raw.readIndex(bytes("r"));
    const [m] = beats(node.drain());
    for (const from of [4, 5]) answers(node, confirm(from, m!));
    expect(reads(node)).toEqual([]);
    answers(node, confirm(2, m!));
    expect(reads(node)).toEqual(["r@1"]);
  });

  test("of a single voter are answered at once, also when it has learners", () => {
    for (const learners of [[], [2]]) {
      const node = leaderWith({ conf: { ...voters(1), learners } });
      node.drain();
      node.raw.readIndex(bytes("r"));
      expect(node.raw.ready().readStates).toEqual([{ index: 1, context: bytes("r") }]);
    }
  });
});

describe("reads of others", () => {
  test.each(["safe", "lease"] as const)(
    "%s: any node, a learner too, gets its answer through the leader",
    (readOnly) => {
      const cluster = new TestCluster([1, 2, 3], { readOnly, checkQuorum: true });
      cluster.elect(1);
      cluster.add(4, voters(1, 2, 3), { readOnly, checkQuorum: true });
      cluster.node(1).raw.proposeConfChange(change("~4"));
      cluster.settle();
      for (const id of [1, 2, 3, 4]) cluster.node(id).raw.readIndex(bytes(`r${id}`));
      cluster.settle();
      for (const id of [1, 2, 3, 4]) expect(reads(cluster.node(id))).toEqual([`r${id}@2`]);
    },
  );

  test("are passed on with the id of who asked, without a term, after the disk", () => {
    const node = nodeWith({ term: 3 });
    node.raw.step(beat({ term: 3 }));
    node.drain();
    node.raw.readIndex(bytes("r"));
    node.raw.step({ type: "MsgReadIndex", from: 7, to: 1, term: 0, context: bytes("s") });
    const rd = node.raw.ready();
    expect(rd.messages).toEqual([]);
    expect(rd.messagesAfterPersist).toEqual([
      { type: "MsgReadIndex", from: 1, to: 2, term: 0, context: bytes("r") },
      { type: "MsgReadIndex", from: 7, to: 2, term: 0, context: bytes("s") },
    ]);
  });

  test("are dropped where no leader is known", () => {
    const node = nodeWith({ term: 3 });
    node.raw.readIndex(bytes("r"));
    expect(node.raw.hasReady()).toBe(false);
  });

  test("are answered to who asked, at once", () => {
    const node = ready();
    node.raw.step({ type: "MsgReadIndex", from: 3, to: 1, term: 0, context: bytes("r") });
    const [m] = beats(node.drain());
    node.raw.step(confirm(2, m!));
    expect(node.raw.ready().messages).toEqual([
      { type: "MsgReadIndexResp", from: 1, to: 3, term: 1, index: 1, context: bytes("r") },
    ]);
  });

  test("become a read state at the asker, unless the answer is of an older term", () => {
    const node = nodeWith({ term: 3 });
    const m = { type: "MsgReadIndexResp", from: 2, to: 1, index: 9, context: bytes("r") } as const;
    node.raw.step({ ...m, term: 2 });
    expect(node.raw.hasReady()).toBe(false);
    node.raw.step({ ...m, term: 3 });
    expect(node.raw.ready().readStates).toEqual([{ index: 9, context: bytes("r") }]);
  });
});

describe("reads under a lease", () => {
  test("are answered without asking anybody, once the term has committed", () => {
    const node = leaderWith({}, { readOnly: "lease", checkQuorum: true });
    node.drain();
    node.raw.readIndex(bytes("r"));
    expect(node.drain()).toEqual([]);
    expect(reads(node)).toEqual([]);
    const out = answers(node, ack({ from: 2, index: 1 }));
    expect(beats(out)).toEqual([]);
    node.raw.readIndex(bytes("s"));
    node.drain();
    expect(reads(node)).toEqual(["r@1", "s@1"]);
  });

  test("end with the lease: a leader that hears no quorum steps down and answers no more", () => {
    const node = leaderWith({}, { readOnly: "lease", checkQuorum: true });
    node.drain();
    answers(node, ack({ from: 2, index: 1 }));
    node.tick(20);
    node.drain();
    node.raw.readIndex(bytes("r"));
    node.drain();
    expect(node.raw.status().state).toBe("follower");
    expect(reads(node)).toEqual([]);
  });
});
