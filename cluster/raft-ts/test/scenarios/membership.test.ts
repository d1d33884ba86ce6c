/**
 * Membership changes as a driver sees them: which are taken, when they count, and how a joint configuration is entered
 * and left (Raft section 6, thesis chapter 4).
 */
import { type ConfState, decodeConfChange, InvariantError, type Ready } from "raft-ts";
import { describe, expect, test } from "vitest";
import { TestCluster, type TestNode, voters } from "../support/driver.ts";
import { ack, answers, change, leaderWith, nodeWith } from "../support/messages.ts";

const conf = (cs: Partial<ConfState>): ConfState => ({ ...voters(), ...cs });

/** A single voter that leads and has applied its first entry. */
function single(): TestNode {
  const node = leaderWith({ conf: voters(1) });
  node.drain();
  return node;
}

/** The types of the entries that the next Ready makes durable, with their changes. */
const appended = (rd: Ready): string[] =>
  rd.entries.map((e) => (e.type === "normal" ? "normal" : JSON.stringify(decodeConfChange(e.data).changes)));

describe("a change", () => {
  test.each([
    { cc: change("+2"), after: conf({ voters: [1, 2] }) },
    { cc: change("~2"), after: conf({ voters: [1], learners: [2] }) },
    { cc: change("-9"), after: conf({ voters: [1] }) },
    { cc: change("+1"), after: conf({ voters: [1] }) },
    { cc: change("+2", "explicit"), after: conf({ voters: [1, 2], votersOutgoing: [1] }) },
    { cc: change("+2", "implicit"), after: conf({ voters: [1, 2], votersOutgoing: [1], autoLeave: true }) },
    { cc: change("+2 +3"), after: conf({ voters: [1, 2, 3], votersOutgoing: [1], autoLeave: true }) },
    {
      cc: change("+2 ~1"),
      after: conf({ voters: [2], votersOutgoing: [1], learnersNext: [1], autoLeave: true }),
    },
    { cc: change("+2 -1", "explicit"), after: conf({ voters: [2], votersOutgoing: [1] }) },
    {
      cc: change("+2 ~3 ~4"),
      after: conf({ voters: [1, 2], votersOutgoing: [1], learners: [3, 4], autoLeave: true }),
    },
    { cc: change("+2 -2"), after: conf({ voters: [1], votersOutgoing: [1], autoLeave: true }) },
  ])("$cc.changes ($cc.transition) of {1} gives $after", ({ cc, after }) => {
    const node = single();
    node.raw.proposeConfChange(cc);
    expect(node.raw.status().confState).toEqual(voters(1));
    const first = node.raw.ready();
    node.persist(first);
    node.raw.advance();
    const second = node.raw.ready();
    const [entry] = second.committedEntries;
    expect(entry).toMatchObject({ type: "confChange", index: 2 });
    expect(decodeConfChange(entry!.data)).toEqual(cc);
    expect(node.raw.applyConfChange(decodeConfChange(entry!.data))).toEqual(after);
    expect(node.raw.status().confState).toEqual(after);
  });

  test("carries its context along", () => {
    const node = single();
    const context = Uint8Array.of(1, 2, 3);
    node.raw.proposeConfChange({ ...change("~2"), context });
    const [entry] = node.raw.ready().entries;
    expect(decodeConfChange(entry!.data)).toEqual({ ...change("~2"), context });
  });

  test("is refused, as an empty entry, while an earlier one may be unapplied", () => {
    const node = single();
    node.raw.proposeConfChange(change("~2"));
    node.raw.proposeConfChange(change("~3"));
    const rd = node.raw.ready();
    expect(appended(rd)).toEqual(['[{"type":"addLearner","id":2}]', "normal"]);
    expect(rd.entries[1]?.data).toHaveLength(0);
    node.persist(rd);
    node.apply(rd);
    node.raw.advance();
    // Committed, but not applied.
    const next = node.raw.ready();
    node.raw.proposeConfChange(change("~3"));
    node.persist(next);
    node.apply(next);
    node.raw.advance();
    node.raw.proposeConfChange(change("~4"));
    expect(appended(node.raw.ready())).toEqual(["normal", '[{"type":"addLearner","id":4}]']);
  });

  test("is refused by a new leader that has not applied all that was there before it", () => {
    const node = leaderWith({ terms: [1, 1], commit: 1 });
    node.raw.proposeConfChange(change("~4"));
    expect(appended(node.raw.ready())).toEqual(["normal", "normal"]);
    const other = leaderWith({ terms: [1, 1], commit: 1 });
    other.drain();
    answers(other, ack({ from: 2, term: 2, index: 3 }));
    other.raw.proposeConfChange(change("~4"));
    expect(appended(other.raw.ready())).toEqual(['[{"type":"addLearner","id":4}]']);
  });

  test.each([
    { name: "that would leave no voter", before: voters(1), cc: change("-1") },
    { name: "that demotes the last voter", before: voters(1), cc: change("~1") },
    { name: "that leaves what is not joint", before: voters(1), cc: change("") },
    {
      name: "in a joint configuration",
      before: conf({ voters: [1], votersOutgoing: [1, 2] }),
      cc: change("+3"),
    },
    {
      name: "that enters it again",
      before: conf({ voters: [1], votersOutgoing: [1, 2] }),
      cc: change("+3 +4"),
    },
  ])("$name is refused", ({ before, cc }) => {
    const node = leaderWith({ conf: before });
    for (let i = 0; i < 2; i++) {
      node.drain();
      for (const from of [2, 3]) answers(node, ack({ from, index: node.raw.status().lastIndex }));
    }
    node.raw.proposeConfChange(cc);
    expect(appended(node.raw.ready())).toEqual(["normal"]);
  });

  test("that is malformed is refused with an error and changes nothing", () => {
    const node = single();
    for (const cc of [
      { ...change("+2"), transition: "later" },
      { changes: [{ type: "add", id: 2 }] },
      change("+0"),
    ]) {
      expect(() => node.raw.proposeConfChange(cc as never)).toThrow();
    }
    expect(node.raw.hasReady()).toBe(false);
  });

  test("that is committed and cannot be applied ends the process", () => {
    expect(() => nodeWith({ conf: voters(1) }).raw.applyConfChange(change(""))).toThrow(InvariantError);
    expect(() =>
      nodeWith({ conf: conf({ voters: [1], votersOutgoing: [1] }) }).raw.applyConfChange(change("+2")),
    ).toThrow(InvariantError);
  });

  test("lets what was waiting commit, when the quorum shrinks", () => {
    const cluster = new TestCluster([1, 2]);
    cluster.elect(1);
    const node = cluster.node(1);
    node.raw.proposeConfChange(change("-2"));
    node.drain().filter((m) => m.type === "MsgApp");
    node.propose("x");
    node.drain();
    answers(node, ack({ index: 2 }));
    expect(node.applied).toEqual(["3:x"]);
  });

  test("sends a new member its first append at once", () => {
    const node = single();
    node.propose("x");
    node.drain();
    node.raw.applyConfChange(change("+2"));
    const rd = node.raw.ready();
    expect(rd.messages).toMatchObject([{ type: "MsgApp", to: 2, index: 1, entries: [{ index: 2 }] }]);
    expect(node.raw.status().progress.get(2)).toMatchObject({ match: 0, state: "probe" });
  });

  test("forgets the progress of who goes, and begins anew with who comes back", () => {
    const node = leaderWith({ conf: voters(1, 2) });
    node.drain();
    answers(node, ack({ index: 1 }));
    node.raw.applyConfChange(change("-2"));
    expect([...node.raw.status().progress.keys()]).toEqual([1]);
    expect(answers(node, ack({ index: 1 }))).toEqual([]);
    node.raw.applyConfChange(change("~2"));
    expect(node.raw.status().progress.get(2)).toMatchObject({ match: 0, state: "probe" });
    // Promotion and demotion keep it.
    answers(node, ack({ index: 1 }));
    for (const cc of [change("+2"), change("~2")]) {
      node.raw.applyConfChange(cc);
      expect(node.raw.status().progress.get(2)).toMatchObject({ match: 1 });
    }
  });
});

describe("a joint configuration", () => {
  test("auto and implicit: is left by the leader itself, when it has applied the entry", () => {
    for (const cc of [change("+2 ~3"), change("+2", "implicit")]) {
      const cluster = new TestCluster([1]);
      cluster.elect(1);
      for (const id of [2, 3]) cluster.add(id, voters(1));
      cluster.node(1).raw.proposeConfChange(cc);
      cluster.settle();
      const { confState } = cluster.node(1).raw.status();
      expect(confState).toMatchObject({ voters: [1, 2], votersOutgoing: [], autoLeave: false });
      expect(cluster.node(2).raw.status().confState).toEqual(confState);
    }
  });

  test("explicit: stays until it is told to leave", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.add(4, voters(1, 2, 3));
    cluster.node(1).raw.proposeConfChange(change("+4 ~2 -3", "explicit"));
    cluster.tick(5);
    expect(cluster.node(1).raw.status().confState).toEqual(
      conf({ voters: [1, 4], votersOutgoing: [1, 2, 3], learnersNext: [2] }),
    );
    cluster.node(1).raw.proposeConfChange({ changes: [], transition: "explicit" });
    cluster.settle();
    expect(cluster.node(1).raw.status().confState).toEqual(conf({ voters: [1, 4], learners: [2] }));
    expect([...cluster.node(1).raw.status().progress.keys()]).toEqual([1, 2, 4]);
  });

  test("is left by the next leader, when the first one died in it", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.add(4, voters(1, 2, 3));
    // The entry of joining is committed everywhere, the one of leaving nowhere.
    cluster.filter = (m) =>
      !(m.type === "MsgApp" && m.entries.some((e) => e.type === "confChange" && e.index > 2));
    cluster.node(1).raw.proposeConfChange(change("+4 -3"));
    cluster.tick(2);
    expect(cluster.node(2).raw.status().confState.votersOutgoing).toEqual([1, 2, 3]);
    cluster.isolate(1);
    cluster.elect(2);
    cluster.tick(3);
    expect(cluster.node(2).raw.status()).toMatchObject({
      state: "leader",
      confState: { voters: [1, 2, 4], votersOutgoing: [] },
    });
  });

  test("is left although the uncommitted bytes are used up", () => {
    const cluster = new TestCluster([1], { maxUncommittedBytes: 100 });
    cluster.elect(1);
    cluster.add(2, voters(1));
    const node = cluster.node(1);
    node.raw.proposeConfChange(change("+2", "implicit"));
    node.process();
    node.propose("x".repeat(85));
    cluster.settle();
    expect(node.raw.status().confState).toEqual(conf({ voters: [1, 2] }));
  });

  test("needs the outgoing majority, too, to commit anything", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    for (const id of [4, 5]) cluster.add(id, voters(1, 2, 3));
    cluster.node(1).raw.proposeConfChange(change("+4 +5 -2 -3", "explicit"));
    cluster.settle();
    cluster.filter = (m) => ![2, 3].includes(m.from) && ![2, 3].includes(m.to);
    cluster.node(1).propose("x");
    cluster.tick(2);
    expect(cluster.node(1).applied).toEqual([]);
    cluster.heal();
    cluster.tick(2);
    expect(cluster.node(4).applied).toEqual(["3:x"]);
  });

  test("learners may be promoted in it, and voters demoted", () => {
    const before = conf({ voters: [1, 2, 3], learners: [4] });
    const cluster = new TestCluster([]);
    for (const id of [1, 2, 3, 4]) cluster.add(id, before);
    cluster.elect(1);
    cluster.node(1).raw.proposeConfChange(change("+4 ~3"));
    cluster.settle();
    for (const node of cluster.nodes.values()) {
      expect(node.raw.status().confState).toEqual(conf({ voters: [1, 2, 4], learners: [3] }));
    }
    // The demoted one does not campaign any more, but learns and votes.
    cluster.node(3).tick(100);
    expect(cluster.node(3).raw.status().state).toBe("follower");
  });

  test("survives a restart", () => {
    const cs = conf({
      voters: [1, 4],
      votersOutgoing: [1, 2, 3],
      learners: [5],
      learnersNext: [2],
      autoLeave: true,
    });
    const node = nodeWith({ conf: cs });
    expect(node.raw.status().confState).toEqual(cs);
    node.restart();
    expect(node.raw.status().confState).toEqual(cs);
  });

  test.each([
    conf({ voters: [1], learners: [1] }),
    conf({ voters: [1], learnersNext: [2] }),
    conf({ voters: [1], autoLeave: true }),
    conf({ voters: [1], votersOutgoing: [2], learners: [2] }),
    conf({ voters: [0, 1] }),
  ])("that contradicts itself is refused at the start: %o", (cs) => {
    expect(() => nodeWith({ conf: cs })).toThrow(InvariantError);
  });
});

describe("a leader that is removed", () => {
  test.each([
    { stepDownOnRemoval: true, cc: change("-1"), state: "follower" },
    { stepDownOnRemoval: true, cc: change("~1"), state: "follower" },
    { stepDownOnRemoval: false, cc: change("-1"), state: "leader" },
    { stepDownOnRemoval: false, cc: change("~1"), state: "leader" },
    { stepDownOnRemoval: true, cc: change("-1", "explicit"), state: "leader" },
    { stepDownOnRemoval: true, cc: change("~1", "explicit"), state: "leader" },
  ])("by $cc.changes ($cc.transition) with stepDownOnRemoval $stepDownOnRemoval is $state after", (c) => {
    const node = leaderWith({}, { stepDownOnRemoval: c.stepDownOnRemoval });
    node.drain();
    answers(node, ack({ index: 1 }));
    node.raw.applyConfChange(c.cc);
    expect(node.raw.status()).toMatchObject({ state: c.state, term: 1 });
  });

  test("and leads on takes no proposals, but tells its followers of the commit", () => {
    const cluster = new TestCluster([1, 2, 3], { stepDownOnRemoval: false, checkQuorum: true });
    cluster.elect(1);
    cluster.node(1).raw.proposeConfChange(change("-1"));
    cluster.settle();
    expect(() => cluster.node(1).propose("x")).toThrow(expect.objectContaining({ reason: "notMember" }));
    for (const id of [2, 3]) expect(cluster.node(id).raw.status().confState.voters).toEqual([2, 3]);
    cluster.tick(25);
    expect(cluster.leaders()).toContain(1);
    // Its followers elect another as soon as they are told to.
    for (const id of [2, 3]) cluster.node(id).raw.forgetLeader();
    cluster.elect(2);
    cluster.tick();
    expect(cluster.leaders()).toEqual([2]);
  });

  test("through a joint configuration leads until it is left", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.add(4, voters(1, 2, 3));
    cluster.node(1).raw.proposeConfChange(change("+4 -1", "explicit"));
    cluster.settle();
    cluster.node(1).propose("x");
    cluster.settle();
    expect(cluster.node(4).applied).toEqual(["3:x"]);
    cluster.node(1).raw.proposeConfChange(change(""));
    cluster.settle();
    expect(cluster.leaders()).toEqual([]);
    cluster.elect(4);
    expect(cluster.node(4).raw.status()).toMatchObject({
      state: "leader",
      confState: conf({ voters: [2, 3, 4] }),
    });
    cluster.tick(100);
    expect(cluster.node(1).raw.status().state).toBe("follower");
  });

  test("steps down in a Ready that says so, and no heartbeat leaves any more", () => {
    const node = leaderWith();
    node.drain();
    answers(node, ack({ index: 1 }));
    node.raw.applyConfChange(change("-1"));
    expect(node.raw.ready().softState).toEqual({ lead: 0, state: "follower" });
    node.raw.advance();
    node.tick(5);
    expect(node.drain()).toEqual([]);
  });
});
