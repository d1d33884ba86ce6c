/**
 * Membership changes and snapshots (Raft sections 6 and 7), seen from outside through RawNode.
 */
import type { Message } from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, TestCluster, TestNode, voters } from "../support/driver.ts";

const entry = (index: number, term: number, data = "") =>
  ({ index, term, type: "normal", data: bytes(data) }) as const;

/** A follower with one durable entry per term given. */
function follower(terms: number[], term: number, options = {}): TestNode {
  const node = new TestNode(1, voters(1, 2, 3), options);
  node.storage.append(terms.map((t, i) => entry(i + 1, t)));
  node.storage.setHardState({ term, vote: 0, commit: 0 });
  node.restart();
  return node;
}

const answer = (node: TestNode, m: Message): Message | undefined => {
  node.raw.step(m);
  return node.drain().at(-1);
};

describe("section 6: membership", () => {
  test("a change takes effect when it is applied, not before", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    const leader = cluster.node(1);
    cluster.isolate(1);
    leader.raw.proposeConfChange({ changes: [{ type: "remove", id: 3 }], transition: "auto" });
    cluster.settle();
    expect(leader.raw.status().confState.voters).toEqual([1, 2, 3]);
    cluster.heal();
    cluster.tick(2);
    expect(leader.raw.status().confState.voters).toEqual([1, 2]);
  });

  test("a server with a committed but unapplied change does not campaign", () => {
    const cluster = new TestCluster([1, 2]);
    cluster.elect(1);
    cluster.node(1).raw.proposeConfChange({ changes: [{ type: "addVoter", id: 3 }], transition: "auto" });
    cluster.settle();
    const node = cluster.node(2);
    node.restart();
    expect(node.raw.status().applied).toBe(0);
    node.raw.campaign();
    expect(node.raw.status().state).toBe("follower");
    cluster.settle();
    node.raw.campaign();
    expect(node.raw.status().state).toBe("candidate");
  });

  test("a learner replicates, votes when asked, and never campaigns", () => {
    const cluster = new TestCluster([1]);
    cluster.elect(1);
    const learner = cluster.add(2, voters(1));
    cluster.node(1).raw.proposeConfChange({ changes: [{ type: "addLearner", id: 2 }], transition: "auto" });
    cluster.settle();
    cluster.node(1).propose("a");
    cluster.settle();
    expect(learner.applied).toEqual(["3:a"]);
    learner.tick(100);
    learner.raw.campaign();
    expect(learner.raw.status().state).toBe("follower");
    const m = answer(learner, { type: "MsgVote", from: 9, to: 2, term: 9, index: 3, logTerm: 1 });
    expect(m).toMatchObject({ type: "MsgVoteResp", reject: false });
  });

  test("a joint configuration is left by itself even if a transfer of leadership was in the way", () => {
    const cluster = new TestCluster([1, 2, 3], { electionTick: 5 });
    cluster.elect(1);
    const leader = cluster.node(1);
    cluster.add(4, voters(1, 2, 3));
    leader.raw.proposeConfChange({
      changes: [
        { type: "addVoter", id: 4 },
        { type: "remove", id: 3 },
      ],
      transition: "auto",
    });
    cluster.filter = (m) => m.type !== "MsgTimeoutNow";
    leader.raw.transferLeader(2);
    cluster.settle();
    expect(leader.raw.status().confState).toMatchObject({ votersOutgoing: [1, 2, 3], autoLeave: true });
    cluster.tick(5);
    expect(leader.raw.status().confState).toMatchObject({
      voters: [1, 2, 4],
      votersOutgoing: [],
      autoLeave: false,
    });
  });

  test("a removed leader that need not step down leads until its followers know", () => {
    const cluster = new TestCluster([1, 2, 3], { stepDownOnRemoval: false });
    cluster.elect(1);
    cluster.node(1).raw.proposeConfChange({ changes: [{ type: "remove", id: 1 }], transition: "auto" });
    cluster.settle();
    expect(cluster.leaders()).toEqual([1]);
    expect(() => cluster.node(1).propose("x")).toThrow(/removed/);
    expect(cluster.node(2).raw.status().confState.voters).toEqual([2, 3]);
  });

  test("a demoted leader steps down", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.node(1).raw.proposeConfChange({ changes: [{ type: "addLearner", id: 1 }], transition: "auto" });
    cluster.settle();
    expect(cluster.leaders()).toEqual([]);
    expect(cluster.node(1).raw.status().confState.learners).toEqual([1]);
  });
});

describe("section 7: snapshots", () => {
  test("a server that cannot be served from the log gets a snapshot, with the membership in it", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.isolate(3);
    for (const data of ["a", "b", "c"]) cluster.node(1).propose(data);
    cluster.settle();
    cluster.node(1).compact();
    cluster.heal();
    cluster.tick(2);
    expect(cluster.delivered.filter((m) => m.type === "MsgSnap")).toHaveLength(1);
    expect(cluster.node(3).applied).toEqual(cluster.node(1).applied);
    expect(cluster.node(3).storage.firstIndex()).toBe(5);
  });

  test("a snapshot that the log covers only moves the commit index", () => {
    const node = follower([1, 1, 1], 1);
    const snapshot = { index: 2, term: 1, confState: voters(1, 2, 3), data: bytes("") };
    expect(answer(node, { type: "MsgSnap", from: 2, to: 1, term: 1, snapshot })).toMatchObject({ index: 2 });
    expect(node.raw.status()).toMatchObject({ commit: 2, lastIndex: 3 });
    expect(node.storage.snapshot().index).toBe(0);
  });

  test("a member does not take a snapshot that does not know it, but one that joins does", () => {
    const snapshot = { index: 7, term: 2, confState: voters(2, 3), data: bytes('{"applied":[]}') };
    const m: Message = { type: "MsgSnap", from: 2, to: 1, term: 2, snapshot };
    const member = follower([], 2);
    expect(answer(member, m)).toMatchObject({ type: "MsgAppResp", index: 0 });
    const joiner = new TestNode(1, voters());
    expect(answer(joiner, m)).toMatchObject({ type: "MsgAppResp", index: 7 });
    expect(joiner.raw.status().confState.voters).toEqual([2, 3]);
  });

  test("a new voter of a compacted log catches up even if no newer snapshot is made", () => {
    const cluster = new TestCluster([1]);
    const leader = cluster.node(1);
    leader.isSnapshotRenewed = false;
    cluster.elect(1);
    leader.propose("a");
    cluster.settle();
    leader.compact();
    leader.propose("b");
    cluster.settle();
    const joiner = cluster.add(2, voters());
    leader.raw.proposeConfChange({ changes: [{ type: "addVoter", id: 2 }], transition: "auto" });
    cluster.settle();
    cluster.tick(3);
    expect(joiner.applied).toEqual(leader.applied);
    expect(joiner.raw.status().confState.voters).toEqual([1, 2]);
  });

  test("a server with a snapshot to install does not campaign", () => {
    const node = follower([], 2);
    const snapshot = { index: 7, term: 2, confState: voters(1, 2, 3), data: bytes('{"applied":[]}') };
    node.raw.step({ type: "MsgSnap", from: 2, to: 1, term: 2, snapshot });
    node.raw.campaign();
    expect(node.raw.status().state).toBe("follower");
    node.drain();
    node.raw.campaign();
    expect(node.raw.status().state).toBe("candidate");
  });
});
