/**
 * Check-quorum, pre-vote, leases, transfer and takeover (thesis sections 3.10, 6.2, 6.4 and 9.6), and the witness.
 */
import type { Message } from "raft-ts";
import { expect, test, vi } from "vitest";
import { Tracker } from "../../src/tracker/tracker.ts";
import { bytes, TestCluster, TestNode, voters } from "../support/driver.ts";

const SAFE = { preVote: true, checkQuorum: true } as const;

test("6.2: a leader that hears no quorum for an election timeout steps down", () => {
  const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
  cluster.elect(1);
  cluster.isolate(1);
  cluster.node(1).tick(10);
  // What it heard before the first check still counts.
  expect(cluster.node(1).raw.status().state).toBe("leader");
  cluster.node(1).tick(10);
  expect(cluster.node(1).raw.status()).toMatchObject({ state: "follower", term: 1, lead: 0 });
});

test("9.6: a node that was cut off does not disturb the leader when it comes back", () => {
  const cluster = new TestCluster([1, 2, 3], SAFE);
  cluster.elect(1);
  cluster.isolate(3);
  cluster.tick(50);
  expect(cluster.node(3).raw.status()).toMatchObject({ state: "precandidate", term: 1 });
  cluster.heal();
  cluster.tick(3);
  expect(cluster.leaders()).toEqual([1]);
  expect(cluster.node(1).raw.status().term).toBe(1);
  expect(cluster.node(3).raw.status()).toMatchObject({ state: "follower", lead: 1 });
});

test("9.6: a pre-vote carries the future term, a grant echoes it, a rejection carries the own one", () => {
  const node = new TestNode(1, voters(1, 2, 3), { preVote: true });
  node.storage.append([{ index: 1, term: 4, type: "normal", data: bytes("") }]);
  node.storage.setHardState({ term: 4, vote: 3, commit: 0 });
  node.restart();
  const ask = (logTerm: number): Message | undefined => {
    node.raw.step({ type: "MsgPreVote", from: 2, to: 1, term: 9, index: 1, logTerm });
    return node.drain().at(-1);
  };
  expect(ask(4)).toMatchObject({ type: "MsgPreVoteResp", term: 9, reject: false });
  expect(ask(3)).toMatchObject({ type: "MsgPreVoteResp", term: 4, reject: true });
  expect(node.raw.status()).toMatchObject({ term: 4, vote: 3 });
});

test("9.6: a pre-vote of an older term is rejected with the own term", () => {
  const node = new TestNode(1, voters(1, 2, 3), { preVote: true });
  node.storage.setHardState({ term: 5, vote: 0, commit: 0 });
  node.restart();
  node.raw.step({ type: "MsgPreVote", from: 2, to: 1, term: 3, index: 9, logTerm: 3 });
  expect(node.drain()).toEqual([{ type: "MsgPreVoteResp", from: 1, to: 2, term: 5, reject: true }]);
});

test("whatever a stale leader says is answered with an empty MsgAppResp at the higher term", () => {
  const addressed = { from: 2, to: 1, term: 3 } as const;
  const snapshot = { index: 9, term: 3, confState: voters(1, 2, 3), data: bytes("") };
  const said: readonly Message[] = [
    { type: "MsgHeartbeat", ...addressed, commit: 0 },
    { type: "MsgApp", ...addressed, index: 0, logTerm: 0, entries: [], commit: 0 },
    { type: "MsgSnap", ...addressed, snapshot },
  ];
  for (const options of [{ checkQuorum: true }, { preVote: true }]) {
    const node = new TestNode(1, voters(1, 2, 3), options);
    node.storage.setHardState({ term: 5, vote: 0, commit: 0 });
    node.restart();
    for (const m of said) {
      node.raw.step(m);
      expect(node.drain()).toMatchObject([{ type: "MsgAppResp", to: 2, term: 5, index: 0, reject: false }]);
    }
    expect(node.raw.status()).toMatchObject({ term: 5, commit: 0, lastIndex: 0 });
  }
});

test("votes are ignored, not refused, while a leader was heard within electionTick", () => {
  const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
  cluster.elect(1);
  const node = cluster.node(2);
  const vote: Message = { type: "MsgVote", from: 3, to: 2, term: 2, index: 1, logTerm: 1 };
  node.tick(9);
  node.raw.step(vote);
  expect(node.drain()).toEqual([]);
  expect(node.raw.status().term).toBe(1);
  node.raw.step({ ...vote, context: bytes("transfer") });
  expect(node.drain()).toMatchObject([{ type: "MsgVoteResp", term: 2, reject: false }]);
});

test("takeover: who forgot its dead leader elects another at once, within the lease and the same term's vote", () => {
  const cluster = new TestCluster([1, 2, 3], SAFE);
  cluster.elect(1);
  cluster.isolate(1);
  // Without forgetting the lease stands.
  cluster.node(3).raw.campaign();
  cluster.settle();
  expect(cluster.leaders()).toEqual([1]);
  for (const id of [2, 3]) cluster.node(id).raw.forgetLeader();
  cluster.node(3).raw.campaign();
  cluster.settle();
  expect(cluster.node(3).raw.status()).toMatchObject({ state: "leader", term: 2 });
  expect(cluster.node(2).raw.status()).toMatchObject({ lead: 3, term: 2 });
});

test("a forgotten leader is known again as soon as it is heard", () => {
  const cluster = new TestCluster([1, 2, 3], SAFE);
  cluster.elect(1);
  cluster.node(2).raw.forgetLeader();
  expect(cluster.node(2).raw.status().lead).toBe(0);
  cluster.tick();
  expect(cluster.node(2).raw.status().lead).toBe(1);
});

test("6.4: under lease-based reads a follower cannot forget its leader", () => {
  const cluster = new TestCluster([1, 2, 3], { checkQuorum: true, readOnly: "lease" });
  cluster.elect(1);
  cluster.node(2).raw.forgetLeader();
  expect(cluster.node(2).raw.status().lead).toBe(1);
});

test("3.10: a lagging target is brought up to date before it campaigns", () => {
  const cluster = new TestCluster([1, 2, 3], SAFE);
  cluster.elect(1);
  cluster.isolate(3);
  cluster.node(1).propose("a");
  cluster.settle();
  cluster.heal();
  cluster.node(1).raw.transferLeader(3);
  cluster.tick(2);
  expect(cluster.leaders()).toEqual([3]);
  expect(cluster.node(3).applied).toEqual(["2:a"]);
});

test("3.10: a transfer ends when the target is removed, or another target is named", () => {
  const cluster = new TestCluster([1, 2, 3]);
  cluster.elect(1);
  cluster.filter = (m) => m.type !== "MsgTimeoutNow";
  const { raw } = cluster.node(1);
  raw.proposeConfChange({ changes: [{ type: "remove", id: 3 }], transition: "auto" });
  raw.transferLeader(3);
  expect(raw.status().transferee).toBe(3);
  cluster.settle();
  expect(raw.status().transferee).toBe(0);
  raw.transferLeader(2);
  expect(raw.status().transferee).toBe(2);
  raw.transferLeader(1);
  expect(raw.status().transferee).toBe(0);
  raw.transferLeader(9);
  expect(raw.status().transferee).toBe(0);
});

test("a witness waits three times longer before it campaigns", () => {
  for (const witness of [false, true]) {
    const node = new TestNode(1, voters(1, 2, 3), { electionTick: 10, random: () => 4, witness });
    const timeout = witness ? 42 : 14;
    node.tick(timeout - 1);
    expect(node.raw.status().state).toBe("follower");
    node.tick();
    expect(node.raw.status().state).toBe("candidate");
  }
});

test("a witness that was elected hands leadership to the first voter that answers", () => {
  const cluster = new TestCluster([1, 2, 3], (id) => ({ ...SAFE, witness: id === 3 }));
  cluster.isolate(1);
  cluster.elect(3);
  expect(cluster.leaders()).toEqual([2]);
  cluster.heal();
  cluster.tick(2);
  expect(cluster.leaders()).toEqual([2]);
});

test("a witness whose successor does not take over goes on leading, and then prefers another", () => {
  const cluster = new TestCluster([1, 2, 3], (id) => ({ electionTick: 5, witness: id === 3 }));
  const asked: number[] = [];
  cluster.filter = (m) => {
    if (m.type !== "MsgTimeoutNow") return true;
    asked.push(m.to);
    return false;
  };
  cluster.elect(3);
  expect(asked).toEqual([1]);
  expect(() => cluster.node(3).propose("x")).toThrow();
  cluster.tick(5);
  cluster.node(3).propose("x");
  cluster.settle();
  expect(cluster.node(1).applied).toEqual(["2:x"]);
  cluster.tick(5);
  expect(asked).toEqual([1, 2]);
  cluster.heal();
  cluster.tick(11);
  expect(cluster.leaders()).toEqual([1]);
});

test("a witness that is the only voter leads", () => {
  const cluster = new TestCluster([1], { witness: true });
  cluster.elect(1);
  cluster.node(1).propose("a");
  cluster.settle();
  expect(cluster.node(1).applied).toEqual(["2:a"]);
});

test("6.4: reads asked before the first commit of the term wait for it, also on a single voter", () => {
  const node = new TestNode(1, voters(1));
  node.raw.campaign();
  node.process();
  expect(node.raw.status().state).toBe("leader");
  node.raw.readIndex(bytes("r"));
  const rd = node.raw.ready();
  expect(rd.readStates).toEqual([]);
  node.persist(rd);
  node.raw.advance();
  node.drain();
  expect(node.readStates).toEqual([{ index: 1, context: bytes("r") }]);
});

test("6.4: a deposed leader does not answer reads", () => {
  const cluster = new TestCluster([1, 2, 3]);
  cluster.elect(1);
  cluster.isolate(1);
  cluster.node(1).raw.readIndex(bytes("stale"));
  cluster.settle();
  cluster.elect(2);
  cluster.heal();
  cluster.tick(3);
  expect(cluster.node(1).readStates).toEqual([]);
  expect(cluster.node(1).raw.status().lead).toBe(2);
});

test("6.4: a read that waits for a quorum is confirmed when the quorum shrinks", () => {
  const cluster = new TestCluster([1, 2]);
  cluster.elect(1);
  cluster.filter = (m) => m.type !== "MsgHeartbeat";
  cluster.node(1).raw.readIndex(bytes("r"));
  cluster.settle();
  expect(cluster.node(1).readStates).toEqual([]);
  cluster.node(1).raw.proposeConfChange({ changes: [{ type: "remove", id: 2 }], transition: "auto" });
  cluster.settle();
  expect(cluster.node(1).readStates).toEqual([{ index: 1, context: bytes("r") }]);
});

test("6.4: a read that waits costs one look at the quorum when it comes, however many wait already", () => {
  const cluster = new TestCluster([1, 2, 3]);
  cluster.elect(1);
  const look = vi.spyOn(Tracker.prototype, "reachedByQuorum");
  for (let i = 0; i < 100; i++) cluster.node(1).raw.readIndex(bytes(`${i}`));
  expect(look).toHaveBeenCalledTimes(100);
  look.mockRestore();
  cluster.settle();
  expect(cluster.node(1).readStates).toHaveLength(100);
});
