/**
 * Transfer of leadership as a driver sees it (thesis section 3.10): to whom, how long, and what waits meanwhile.
 */
import { type Message, ProposalDroppedError } from "raft-ts";
import { describe, expect, test } from "vitest";
import { type NodeOptions, TestCluster, type TestNode, voters } from "../support/driver.ts";
import { ack, answers, app, beat, change, leaderWith, nodeWith, vote } from "../support/messages.ts";

const SAFE = { preVote: true, checkQuorum: true } as const;

const timeoutNow = (messages: readonly Message[]): number[] =>
  messages.flatMap((m) => (m.type === "MsgTimeoutNow" ? [m.to] : []));

/** A leader of voters 1, 2, 3 and learner 4, all of whom hold all of its log. */
function leader(options: NodeOptions = {}): TestNode {
  const node = leaderWith({ conf: { ...voters(1, 2, 3), learners: [4] } }, { electionTick: 10, ...options });
  node.drain();
  for (const from of [2, 3, 4]) answers(node, ack({ from, index: 1 }));
  return node;
}

const transferee = (node: TestNode): number => node.raw.status().transferee;

describe("a leader that is to hand over", () => {
  test("tells an up-to-date follower at once, without its disk", () => {
    const node = leader();
    node.raw.transferLeader(2);
    const rd = node.raw.ready();
    expect(rd.messages).toEqual([{ type: "MsgTimeoutNow", from: 1, to: 2, term: 1 }]);
    expect(transferee(node)).toBe(2);
  });

  test("brings the other up to date first, and tells it with its last ack", () => {
    const node = leader();
    node.propose("x");
    const sent = node.drain();
    expect(sent.filter((m) => m.type === "MsgApp")).not.toEqual([]);
    node.raw.transferLeader(3);
    expect(timeoutNow(node.drain())).toEqual([]);
    expect(timeoutNow(answers(node, ack({ from: 2, index: 2 })))).toEqual([]);
    expect(timeoutNow(answers(node, ack({ from: 3, index: 2 })))).toEqual([3]);
  });

  test("refuses proposals meanwhile, its own and others', and says why", () => {
    const node = leader();
    node.raw.transferLeader(2);
    const refused = expect.objectContaining({ reason: "transferring" });
    expect(() => node.propose("x")).toThrow(refused);
    expect(() => node.raw.proposeConfChange(change("-3"))).toThrow(refused);
    const prop: Message = {
      type: "MsgProp",
      from: 3,
      to: 1,
      term: 0,
      entries: [{ term: 0, index: 0, type: "normal", data: new Uint8Array(1) }],
    };
    expect(() => node.raw.step(prop)).toThrow(ProposalDroppedError);
    expect(node.raw.status().lastIndex).toBe(1);
  });

  test.each([
    { name: "itself", to: 1 },
    { name: "a learner", to: 4 },
    { name: "a stranger", to: 9 },
  ])("does nothing for $name", ({ to }) => {
    const node = leader();
    node.raw.transferLeader(to);
    expect(transferee(node)).toBe(0);
    expect(node.raw.hasReady()).toBe(false);
    node.propose("x");
  });

  test("gives up after one election timeout, and takes proposals again", () => {
    const node = leader();
    node.raw.transferLeader(2);
    node.drain();
    node.tick(9);
    expect(transferee(node)).toBe(2);
    node.tick();
    expect(transferee(node)).toBe(0);
    node.propose("x");
    // An ack of who was meant does not bring it back.
    node.drain();
    expect(timeoutNow(answers(node, ack({ from: 2, index: 2 })))).toEqual([]);
  });

  test("counts that timeout from the wish, not from its last quorum check", () => {
    const node = leader();
    node.tick(7);
    node.raw.transferLeader(2);
    node.tick(9);
    expect(transferee(node)).toBe(2);
    node.tick();
    expect(transferee(node)).toBe(0);
  });

  test("does not begin anew when the same one is named again", () => {
    const node = leader();
    node.raw.transferLeader(2);
    node.drain();
    node.tick(5);
    node.raw.transferLeader(2);
    expect(timeoutNow(node.drain())).toEqual([]);
    node.tick(5);
    expect(transferee(node)).toBe(0);
  });

  test("takes another, named meanwhile, instead, with a timeout of its own", () => {
    const node = leader();
    node.raw.transferLeader(2);
    node.drain();
    node.tick(5);
    node.raw.transferLeader(3);
    expect(timeoutNow(node.drain())).toEqual([3]);
    node.tick(9);
    expect(transferee(node)).toBe(3);
    node.tick();
    expect(transferee(node)).toBe(0);
  });

  test("stays when it is named itself meanwhile, and goes on for learners and strangers", () => {
    const node = leader();
    node.raw.transferLeader(2);
    node.raw.transferLeader(4);
    node.raw.transferLeader(9);
    expect(transferee(node)).toBe(2);
    node.raw.transferLeader(1);
    expect(transferee(node)).toBe(0);
    node.propose("x");
  });

  test("has done so when it sees the higher term of the successor, or of anybody", () => {
    const node = leader();
    node.raw.transferLeader(2);
    node.drain();
    answers(node, vote({ from: 3, term: 2, index: 1, logTerm: 1 }));
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 2, transferee: 0 });
  });

  test("stops when the successor is removed or demoted, but not while it is in a half of a joint configuration", () => {
    for (const [cc, isOver] of [
      [change("-2"), true],
      [change("~2"), true],
      [change("-2", "explicit"), false],
      [change("-3"), false],
    ] as const) {
      const node = leader();
      node.raw.transferLeader(2);
      node.raw.applyConfChange(cc);
      expect(transferee(node)).toBe(isOver ? 0 : 2);
    }
  });
});

describe("a wish that reaches a follower", () => {
  test("is passed on to the leader after the disk, with the successor as its sender", () => {
    const node = nodeWith({ term: 3 });
    node.raw.step(beat({ term: 3 }));
    node.drain();
    node.raw.transferLeader(3);
    const rd = node.raw.ready();
    expect(rd.messages).toEqual([]);
    expect(rd.messagesAfterPersist).toEqual([{ type: "MsgTransferLeader", from: 3, to: 2, term: 3 }]);
  });

  test("is dropped where no leader is known", () => {
    const node = nodeWith({ term: 3 });
    node.raw.transferLeader(3);
    expect(node.raw.hasReady()).toBe(false);
  });

  test("of an older term is ignored by the leader", () => {
    const node = leader();
    answers(node, beat({ from: 3, term: 5 }));
    node.raw.campaign();
    node.drain();
    answers(node, { type: "MsgVoteResp", from: 2, to: 1, term: 6, reject: false });
    expect(answers(node, { type: "MsgTransferLeader", from: 2, to: 1, term: 1 })).toEqual([]);
    expect(transferee(node)).toBe(0);
  });
});

describe("the successor", () => {
  test("campaigns at once, without a pre-vote, and marks its requests so that leases do not matter", () => {
    const node = nodeWith({ terms: [1], term: 1 }, SAFE);
    node.raw.step(beat());
    node.drain();
    node.raw.step({ type: "MsgTimeoutNow", from: 2, to: 1, term: 1 });
    const rd = node.raw.ready();
    expect(rd.hardState).toMatchObject({ term: 2, vote: 1 });
    expect(rd.messages).toEqual([]);
    const context = Uint8Array.from("transfer", (c) => c.charCodeAt(0));
    expect(rd.messagesAfterPersist).toEqual([
      { type: "MsgVote", from: 1, to: 2, term: 2, index: 1, logTerm: 1, context },
      { type: "MsgVote", from: 1, to: 3, term: 2, index: 1, logTerm: 1, context },
    ]);
  });

  test.each(["candidate", "precandidate"] as const)("is not disturbed as %s", (state) => {
    const node = nodeWith({ term: state === "candidate" ? 0 : 1 }, { preVote: state === "precandidate" });
    node.raw.campaign();
    node.drain();
    node.raw.step({ type: "MsgTimeoutNow", from: 2, to: 1, term: 1 });
    expect(node.raw.status()).toMatchObject({ state, term: 1 });
  });

  test("that was removed meanwhile does not campaign, nor does one with an unapplied membership change", () => {
    const node = nodeWith({ conf: voters(2, 3), term: 1 });
    node.raw.step({ type: "MsgTimeoutNow", from: 2, to: 1, term: 1 });
    for (const from of [2, 3]) node.raw.step({ type: "MsgVoteResp", from, to: 1, term: 1, reject: false });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 1 });
  });

  test("is elected by those who heard the leader a moment ago, and back again", () => {
    const cluster = new TestCluster([1, 2, 3], SAFE);
    cluster.elect(1);
    for (const to of [3, 2, 1, 2]) {
      const [from] = cluster.leaders();
      cluster.node(from!).raw.transferLeader(to);
      cluster.settle();
      expect(cluster.leaders()).toEqual([to]);
    }
  });

  test("gets leadership also by way of a follower, and by way of a snapshot", () => {
    const cluster = new TestCluster([1, 2, 3], SAFE);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).propose("a");
    cluster.settle();
    cluster.node(1).compact();
    cluster.heal();
    cluster.node(2).raw.transferLeader(3);
    cluster.tick(3);
    expect(cluster.leaders()).toEqual([3]);
    expect(cluster.delivered.some((m) => m.type === "MsgSnap")).toBe(true);
    expect(cluster.node(3).applied).toEqual(["2:a"]);
  });

  test("that does not answer leaves the old leader in its term", () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).raw.transferLeader(3);
    cluster.tick(10);
    expect(cluster.node(1).raw.status()).toMatchObject({ state: "leader", term: 1, transferee: 0 });
    cluster.node(1).propose("x");
    cluster.settle();
    expect(cluster.node(2).applied).toEqual(["2:x"]);
  });

  test("wins against a vote that was given within the lease for its request's sake alone", () => {
    const node = nodeWith({ terms: [1], term: 1 }, SAFE);
    answers(node, app({ index: 1, logTerm: 1 }));
    expect(answers(node, vote({ from: 3, term: 2, index: 1, logTerm: 1 }))).toEqual([]);
    const context = Uint8Array.from("transfer", (c) => c.charCodeAt(0));
    expect(answers(node, vote({ from: 3, term: 2, index: 1, logTerm: 1, context }))).toMatchObject([
      { reject: false },
    ]);
    // The same word with more behind it is another word.
    const longer = Uint8Array.of(...context, 1);
    answers(node, beat({ from: 3, term: 2 }));
    expect(answers(node, vote({ from: 2, term: 3, index: 1, logTerm: 1, context: longer }))).toEqual([]);
  });
});
