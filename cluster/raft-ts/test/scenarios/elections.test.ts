/**
 * Elections as a driver sees them: who may vote for whom, which role follows which, pre-vote, leases and learners
 * (Raft section 5.2, 5.4.1 and 6; thesis section 9.6).
 */
import { type Message, ProposalDroppedError, type StateType } from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, type NodeOptions, TestCluster, type TestNode, voters } from "../support/driver.ts";
import { answers, app, beat, change, entry, grant, leaderWith, nodeWith, vote } from "../support/messages.ts";

const SAFE = { preVote: true, checkQuorum: true } as const;

/** A member of {1, 2, 3} in term 1 in the wanted role. */
function inRole(role: StateType, options: NodeOptions = {}): TestNode {
  if (role === "leader") {
    const leader = leaderWith({}, { ...options, preVote: false });
    leader.drain();
    return leader;
  }
  const preVote = role === "precandidate" || (options.preVote ?? false);
  const node = nodeWith({ term: role === "candidate" ? 0 : 1 }, { ...options, preVote });
  if (role !== "follower") node.raw.campaign();
  if (role === "candidate" && preVote) {
    node.drain();
    node.raw.step({ type: "MsgPreVoteResp", from: 2, to: 1, term: 1, reject: false });
  }
  node.drain();
  expect(node.raw.status()).toMatchObject({ state: role, term: 1 });
  return node;
}

const ROLES: StateType[] = ["follower", "precandidate", "candidate", "leader"];

describe("who is elected", () => {
  for (const preVote of [false, true]) {
    const name = preVote ? "with" : "without";
    test.each([
      { down: [], state: "leader" },
      { down: [3], state: "leader" },
      { down: [2, 3], state: preVote ? "precandidate" : "candidate" },
    ])(`${name} pre-vote and $down down, 1 of 3 becomes $state`, ({ down, state }) => {
      const cluster = new TestCluster([1, 2, 3], { preVote });
      cluster.isolate(...down);
      cluster.elect(1);
      expect(cluster.node(1).raw.status()).toMatchObject({
        state,
        term: preVote && state !== "leader" ? 0 : 1,
      });
    });

    test(`${name} pre-vote every node can take the lead in its turn`, () => {
      const cluster = new TestCluster([1, 2, 3], { preVote });
      for (const id of [1, 2, 3, 1]) {
        cluster.elect(id);
        expect(cluster.leaders()).toEqual([id]);
      }
    });

    test(`${name} pre-vote a longer log of older terms is overwritten by the one that a majority elects`, () => {
      // Two nodes saw term 2 from a leader that died; one has an entry of term 1 only and term 2's vote (figure 7).
      const cluster = new TestCluster([1, 2, 3, 4, 5], { preVote });
      const load = (id: number, terms: number[], term: number, votedFor = 0) => {
        const { storage } = cluster.node(id);
        storage.append(terms.map((t, i) => entry(i + 1, t, `${t}`)));
        storage.setHardState({ term, vote: votedFor, commit: 0 });
        cluster.node(id).restart();
      };
      load(1, [1], 1);
      load(2, [1], 1);
      load(3, [2], 2);
      load(4, [], 2, 3);
      load(5, [], 2, 3);
      cluster.elect(1);
      if (!preVote) {
        // The first election fails for term 2 is taken, and tells node 1 of it.
        expect(cluster.node(1).raw.status()).toMatchObject({ state: "follower", term: 2 });
        cluster.elect(1);
      } else {
        // The first pre-vote is refused by voters of the higher term, and tells node 1 of it.
        cluster.elect(1);
      }
      expect(cluster.node(1).raw.status()).toMatchObject({ state: "leader", term: 3 });
      for (const node of cluster.nodes.values()) expect(node.log()).toEqual(["1/1", "3/"]);
    });
  }

  test("of two candidates that were cut off, the one with the shorter log follows after healing", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.filter = (m) => !(m.from === 1 && m.to === 3) && !(m.from === 3 && m.to === 1);
    cluster.elect(1);
    cluster.elect(3);
    expect(cluster.node(1).raw.status().state).toBe("leader");
    expect(cluster.node(3).raw.status().state).toBe("candidate");
    cluster.heal();
    // It disrupts, since it has the higher term without pre-vote, but cannot win.
    cluster.elect(3);
    expect(cluster.node(3).raw.status()).toMatchObject({ state: "follower", term: 2 });
    expect(cluster.leaders()).toEqual([]);
  });

  test("9.6: of two precandidates that were cut off, the one with the shorter log does not even disturb", () => {
    const cluster = new TestCluster([1, 2, 3], { preVote: true });
    cluster.filter = (m) => !(m.from === 1 && m.to === 3) && !(m.from === 3 && m.to === 1);
    cluster.elect(1);
    cluster.elect(3);
    expect(cluster.node(3).raw.status()).toMatchObject({ state: "follower", term: 1 });
    cluster.heal();
    cluster.elect(3);
    expect(cluster.node(1).raw.status()).toMatchObject({ state: "leader", term: 1 });
  });

  test("a candidate that is outvoted concedes to the leader's log", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.isolate(1);
    cluster.elect(1);
    cluster.elect(3);
    cluster.heal();
    cluster.node(3).tick();
    cluster.settle();
    cluster.node(3).propose("x");
    cluster.settle();
    expect(cluster.node(1).raw.status()).toMatchObject({ state: "follower", term: 1, lead: 3 });
    expect(cluster.node(1).log()).toEqual(cluster.node(3).log());
  });

  test.each([false, true])("a single voter elects itself (pre-vote %s)", (preVote) => {
    const cluster = new TestCluster([1], { preVote });
    cluster.elect(1);
    expect(cluster.node(1).raw.status()).toMatchObject({ state: "leader", term: 1, commit: 1 });
  });

  test("a leader that is told to campaign goes on leading", () => {
    const cluster = new TestCluster([1], {});
    cluster.elect(1);
    cluster.node(1).raw.campaign();
    expect(cluster.node(1).raw.hasReady()).toBe(false);
    expect(cluster.node(1).raw.status()).toMatchObject({ state: "leader", term: 1 });
  });

  test("6: a joint configuration elects only who has both majorities", () => {
    const conf = { ...voters(1, 4, 5), votersOutgoing: [1, 2, 3], autoLeave: true };
    const node = nodeWith({ conf });
    node.raw.campaign();
    node.drain();
    node.raw.step(grant(4));
    expect(node.raw.status().state).toBe("candidate");
    node.raw.step(grant(2));
    expect(node.raw.status().state).toBe("leader");
  });

  test("a candidate that was refused by one majority of a joint configuration has lost", () => {
    const conf = { ...voters(1, 4, 5), votersOutgoing: [1, 2, 3], autoLeave: true };
    const node = nodeWith({ conf });
    node.raw.campaign();
    node.drain();
    for (const id of [2, 4, 5]) node.raw.step(grant(id));
    node.raw.step(grant(3, 1, true));
    expect(node.raw.status().state).toBe("leader");
    const other = nodeWith({ conf });
    other.raw.campaign();
    other.drain();
    for (const id of [2, 3]) other.raw.step(grant(id, 1, true));
    expect(other.raw.status()).toMatchObject({ state: "follower", term: 1, vote: 1 });
  });

  test("votes of strangers do not count", () => {
    const node = nodeWith();
    node.raw.campaign();
    node.drain();
    for (const id of [7, 8, 9]) node.raw.step(grant(id));
    expect(node.raw.status().state).toBe("candidate");
    for (const id of [7, 8, 9]) node.raw.step(grant(id, 1, true));
    expect(node.raw.status().state).toBe("candidate");
  });
});

describe("who gets a vote", () => {
  test.each(ROLES)("a %s gives its vote in a higher term and follows nobody yet", (role) => {
    const node = inRole(role);
    const { lastIndex } = node.raw.status();
    const [m] = answers(node, vote({ term: 4, index: lastIndex + 5, logTerm: 4 })).filter(
      (x) => x.type === "MsgVoteResp",
    );
    expect(m).toEqual({ type: "MsgVoteResp", from: 1, to: 2, term: 4, reject: false });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 4, vote: 2, lead: 0 });
  });

  test.each(ROLES)("9.6: a %s grants a pre-vote of a higher term and changes nothing", (role) => {
    const node = inRole(role);
    const before = node.raw.status();
    const out = answers(node, vote({ type: "MsgPreVote", term: 4, index: 9, logTerm: 4 }));
    expect(out.at(-1)).toEqual({ type: "MsgPreVoteResp", from: 1, to: 2, term: 4, reject: false });
    expect(node.raw.status()).toEqual(before);
  });

  test.each([
    // The voter's log ends with (3, term 2), in term 3; who asks, for which term, and with which end of its log.
    { votedFor: 0, from: 2, term: 3, index: 3, logTerm: 2, granted: true },
    { votedFor: 2, from: 2, term: 3, index: 3, logTerm: 2, granted: true },
    { votedFor: 3, from: 2, term: 3, index: 3, logTerm: 2, granted: false },
    { votedFor: 1, from: 2, term: 3, index: 9, logTerm: 2, granted: false },
    { votedFor: 3, from: 2, term: 4, index: 3, logTerm: 2, granted: true },
    { votedFor: 0, from: 2, term: 3, index: 2, logTerm: 2, granted: false },
    { votedFor: 0, from: 2, term: 3, index: 9, logTerm: 1, granted: false },
    { votedFor: 0, from: 2, term: 3, index: 1, logTerm: 3, granted: true },
    { votedFor: 2, from: 2, term: 3, index: 1, logTerm: 1, granted: false },
  ])("who voted for $votedFor answers $from for term $term with end $logTerm/$index: $granted", (c) => {
    const node = nodeWith({ terms: [1, 1, 2], term: 3, vote: c.votedFor });
    const [m] = answers(node, vote(c));
    expect(m).toMatchObject({ type: "MsgVoteResp", to: 2, term: c.term, reject: !c.granted });
    expect(node.raw.status().vote).toBe(c.granted ? 2 : c.term > 3 ? 0 : c.votedFor);
  });

  test("a vote is not given in a term whose leader is known, also when none was given yet", () => {
    const node = nodeWith({ term: 1 });
    node.raw.step(beat({ from: 3, commit: 0 }));
    const out = answers(node, vote({ from: 2, term: 1, index: 5, logTerm: 1 }));
    expect(out.at(-1)).toMatchObject({ type: "MsgVoteResp", reject: true });
  });

  test("a request of an older term is not answered", () => {
    const node = nodeWith({ term: 5 });
    expect(answers(node, vote({ term: 4, index: 9, logTerm: 4 }))).toEqual([]);
  });

  test("a granted vote puts the voter's own election off, a granted pre-vote does not", () => {
    const node = nodeWith({ term: 1 }, { electionTick: 10 });
    node.tick(9);
    node.raw.step(vote({ type: "MsgPreVote", term: 2, index: 0, logTerm: 0 }));
    node.tick();
    expect(node.raw.status().state).toBe("candidate");
    // In the same term: a new one would put it off by itself.
    const other = nodeWith({ term: 2 }, { electionTick: 10 });
    other.tick(9);
    other.raw.step(vote({ term: 2 }));
    other.tick(9);
    expect(other.raw.status().state).toBe("follower");
  });

  test("the vote is part of a Ready that must be synced, and the answer waits for it", () => {
    const node = nodeWith({ term: 1 });
    node.raw.step(vote({ term: 2 }));
    const rd = node.raw.ready();
    expect(rd).toMatchObject({ mustSync: true, hardState: { term: 2, vote: 2, commit: 0 }, messages: [] });
    expect(rd.messagesAfterPersist).toHaveLength(1);
  });

  test("learners vote when asked (they may be voters by now) but never campaign", () => {
    const conf = { ...voters(2, 3), learners: [1] };
    const node = nodeWith({ conf, term: 1 });
    node.tick(100);
    node.raw.campaign();
    node.raw.step({ type: "MsgTimeoutNow", from: 2, to: 1, term: 1 });
    expect(node.raw.status().state).toBe("follower");
    expect(answers(node, vote({ term: 2 })).at(-1)).toMatchObject({ type: "MsgVoteResp", reject: false });
  });

  test("a node that is not a member never campaigns", () => {
    const node = nodeWith({ conf: voters(2, 3), term: 1 });
    node.tick(100);
    node.raw.campaign();
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 1 });
    expect(node.raw.hasReady()).toBe(false);
  });
});

describe("what a role does with the messages of another", () => {
  test.each(ROLES)("a %s steps down for anything of a higher term but pre-votes", (role) => {
    for (const m of [vote({ term: 3 }), app({ term: 3 }), beat({ term: 3 }), grant(2, 3)]) {
      const node = inRole(role);
      node.raw.step(m as Message);
      const leads = m.type === "MsgApp" || m.type === "MsgHeartbeat";
      expect(node.raw.status(), m.type).toMatchObject({ state: "follower", term: 3, lead: leads ? 2 : 0 });
    }
  });

  test.each(["candidate", "precandidate"] as const)(
    "a %s gives way to an append or a heartbeat of its own term",
    (role) => {
      for (const m of [app(), beat()]) {
        const node = inRole(role);
        expect(answers(node, m).at(-1)).toMatchObject({ to: 2, term: 1 });
        expect(node.raw.status()).toMatchObject({ state: "follower", term: 1, lead: 2 });
      }
    },
  );

  test.each(["candidate", "precandidate"] as const)("a %s drops proposals and passes no read on", (role) => {
    const node = inRole(role);
    expect(() => node.propose("x")).toThrow(ProposalDroppedError);
    node.raw.readIndex(bytes("r"));
    node.raw.transferLeader(2);
    expect(node.raw.hasReady()).toBe(false);
  });

  test("answers to a pre-vote do not count in the election, nor the other way round", () => {
    const node = inRole("candidate");
    node.raw.step({ type: "MsgPreVoteResp", from: 2, to: 1, term: 1, reject: false });
    expect(node.raw.status().state).toBe("candidate");
    const pre = inRole("precandidate");
    pre.raw.step(grant(2));
    expect(pre.raw.status().state).toBe("precandidate");
  });

  test("9.6: a pre-vote that is refused at a higher term teaches that term", () => {
    const node = inRole("precandidate");
    node.raw.step({ type: "MsgPreVoteResp", from: 2, to: 1, term: 7, reject: true });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 7, vote: 0 });
  });

  test("9.6: the own pre-vote arrives late, when the node is a candidate already, and changes nothing", () => {
    const node = nodeWith({}, { preVote: true });
    node.raw.campaign();
    const rd = node.raw.ready();
    for (const from of [2, 3]) node.raw.step({ type: "MsgPreVoteResp", from, to: 1, term: 1, reject: false });
    expect(node.raw.status()).toMatchObject({ state: "candidate", term: 1 });
    node.persist(rd);
    node.raw.advance();
    expect(node.raw.status()).toMatchObject({ state: "candidate", term: 1 });
    node.drain();
    node.raw.step(grant(3));
    expect(node.raw.status().state).toBe("leader");
  });

  test("the own vote counts only once it is durable", () => {
    const node = nodeWith({ conf: voters(1, 2, 3, 4) });
    node.raw.campaign();
    node.raw.step(grant(2));
    node.raw.step(grant(3));
    expect(node.raw.status().state).toBe("candidate");
    node.drain();
    expect(node.raw.status().state).toBe("leader");
  });

  test("an outdated vote for itself is not counted in a later term", () => {
    const node = nodeWith();
    node.raw.campaign();
    const rd = node.raw.ready();
    node.raw.step(vote({ from: 3, term: 2 }));
    node.persist(rd);
    node.raw.advance();
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 2, vote: 3 });
  });
});

describe("pre-vote and check-quorum together (thesis section 9.6 and 6.2)", () => {
  test("a node of the higher term with the shorter log cannot block the election of the others", () => {
    const cluster = new TestCluster([1, 2, 3], { preVote: true });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).propose("a");
    cluster.settle();
    // Node 3 is of an older build and raised its term alone.
    cluster.node(3).storage.setHardState({ term: 9, vote: 3, commit: 1 });
    cluster.node(3).restart();
    cluster.heal();
    cluster.filter = (m) => m.from !== 1 && m.to !== 1;
    cluster.node(3).raw.campaign();
    cluster.settle();
    for (let i = 0; i < 4 && cluster.node(2).raw.status().state !== "leader"; i++) cluster.elect(2);
    expect(cluster.node(2).raw.status().state).toBe("leader");
    expect(cluster.node(3).log()).toEqual(cluster.node(2).log());
  });

  test("a stuck candidate of a higher term frees itself through the stale leader's heartbeats", () => {
    const cluster = new TestCluster([1, 2, 3], { checkQuorum: true });
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(3).tick(100);
    cluster.settle();
    const { term } = cluster.node(3).raw.status();
    expect(term).toBeGreaterThan(2);
    cluster.heal();
    cluster.tick(30);
    expect(cluster.leaders()).toHaveLength(1);
    expect(cluster.node(1).raw.status().term).toBeGreaterThanOrEqual(term);
  });

  test("a leader within its lease ignores the votes of others, too", () => {
    const node = leaderWith({}, { checkQuorum: true });
    node.drain();
    node.raw.step(vote({ from: 3, term: 5, index: 9, logTerm: 5 }));
    expect(node.drain()).toEqual([]);
    expect(node.raw.status()).toMatchObject({ state: "leader", term: 1 });
  });

  test("a leader that hears a quorum stays, over many election timeouts", () => {
    const cluster = new TestCluster([1, 2, 3], SAFE);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.tick(100);
    expect(cluster.leaders()).toEqual([1]);
  });

  test("a leader counts itself as heard, also while its own disk is slow", () => {
    const node = leaderWith({ conf: voters(1, 2) }, { checkQuorum: true });
    node.raw.step({ type: "MsgHeartbeatResp", from: 2, to: 1, term: 1 });
    node.tick(10);
    expect(node.raw.status().state).toBe("leader");
  });

  test("learners do not count for the quorum that a leader must hear", () => {
    const conf = { ...voters(1, 2, 3), learners: [4] };
    const cluster = new TestCluster([]);
    for (const id of [1, 2, 3, 4]) cluster.add(id, conf, { checkQuorum: true });
    cluster.elect(1);
    cluster.filter = (m) => ![2, 3].includes(m.from) && ![2, 3].includes(m.to);
    cluster.tick(21);
    expect(cluster.leaders()).toEqual([]);
  });

  test("a member that was just added counts as heard until the first check", () => {
    const node = leaderWith({ conf: voters(1) }, { checkQuorum: true });
    node.raw.applyConfChange(change("+2"));
    node.tick(10);
    expect(node.raw.status().state).toBe("leader");
    node.tick(10);
    expect(node.raw.status().state).toBe("follower");
  });

  test("pre-votes, too, are ignored while the leader is heard", () => {
    const node = nodeWith({ term: 1 }, SAFE);
    node.raw.step(beat());
    node.drain();
    expect(answers(node, vote({ type: "MsgPreVote", from: 3, term: 2, index: 9, logTerm: 1 }))).toEqual([]);
    node.tick(10);
    node.drain();
    const out = answers(node, vote({ type: "MsgPreVote", from: 3, term: 2, index: 9, logTerm: 1 }));
    expect(out.at(-1)).toMatchObject({ type: "MsgPreVoteResp", reject: false });
  });

  test("forgetLeader() is without effect on a leader and on candidates", () => {
    for (const role of ["leader", "candidate", "precandidate"] as const) {
      const node = inRole(role);
      const before = node.raw.status();
      node.raw.forgetLeader();
      expect(node.raw.status()).toEqual(before);
    }
  });

  test("who forgot its leader drops proposals and votes, without a new term", () => {
    const node = nodeWith({ term: 1 }, SAFE);
    node.raw.step(beat());
    node.drain();
    node.raw.forgetLeader();
    expect(node.raw.ready().softState).toEqual({ lead: 0, state: "follower" });
    node.raw.advance();
    expect(() => node.propose("x")).toThrow(/no leader/);
    const out = answers(node, vote({ from: 3, term: 2, index: 9, logTerm: 1 }));
    expect(out.at(-1)).toMatchObject({ type: "MsgVoteResp", term: 2, reject: false });
  });
});

describe("the clock", () => {
  test.each([0, 1, 5, 9])("an election timeout is electionTick + random(electionTick): drawn %i", (drawn) => {
    const asked: number[] = [];
    const random = (n: number) => {
      asked.push(n);
      return drawn;
    };
    const node = nodeWith({}, { electionTick: 10, random });
    node.tick(10 + drawn - 1);
    expect(node.raw.status().state).toBe("follower");
    node.tick();
    expect(node.raw.status().state).toBe("candidate");
    expect(new Set(asked)).toEqual(new Set([10]));
  });

  test("a new timeout is drawn for each election, so that a split vote does not repeat for ever", () => {
    const draws = [0, 0, 7];
    const node = nodeWith({}, { electionTick: 10, random: () => draws.shift() ?? 7 });
    node.tick(10);
    expect(node.raw.status().term).toBe(1);
    node.tick(16);
    expect(node.raw.status().term).toBe(1);
    node.tick();
    expect(node.raw.status().term).toBe(2);
  });

  test("a leader's heartbeats leave every heartbeatTick, to voters and learners", () => {
    const conf = { ...voters(1, 2), learners: [3] };
    const node = leaderWith({ conf }, { heartbeatTick: 3 });
    node.drain();
    node.tick(2);
    expect(node.drain()).toEqual([]);
    node.tick();
    expect(node.drain()).toEqual([
      { type: "MsgHeartbeat", from: 1, to: 2, term: 1, commit: 0 },
      { type: "MsgHeartbeat", from: 1, to: 3, term: 1, commit: 0 },
    ]);
  });
});
