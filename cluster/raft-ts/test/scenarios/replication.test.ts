/**
 * Replication as a driver sees it: what a follower answers to which append, what a leader commits when, and how much it
 * sends how early (Raft section 5.3 and 5.4; thesis section 10.2).
 */
import { InvariantError, type Message, type MsgApp, type MsgAppResp } from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, TestCluster, type TestNode, text, voters } from "../support/driver.ts";
import { ack, answers, app, beat, change, entry, leaderWith, nodeWith } from "../support/messages.ts";

const apps = (messages: readonly Message[], to?: number): MsgApp[] =>
  messages.filter((m): m is MsgApp => m.type === "MsgApp" && (to === undefined || m.to === to));

/** What each append carries, as its entries' indices. */
const carried = (messages: readonly Message[], to = 2): number[][] =>
  apps(messages, to).map((m) => m.entries.map((e) => e.index));

describe("a follower", () => {
  test.each([
    // The log is (1, term 1), (2, term 2); all of it may be committed by the leader of term 2.
    {
      name: "another entry before",
      m: { index: 2, logTerm: 3, commit: 3 },
      last: 2,
      commit: 0,
      reject: true,
    },
    { name: "no entry before", m: { index: 3, logTerm: 3, commit: 3 }, last: 2, commit: 0, reject: true },
    { name: "nothing new", m: { index: 1, logTerm: 1, commit: 1 }, last: 2, commit: 1, reject: false },
    { name: "all new", m: { index: 0, logTerm: 0, commit: 1, add: [2] }, last: 1, commit: 1, reject: false },
    {
      name: "a tail",
      m: { index: 2, logTerm: 2, commit: 3, add: [2, 2] },
      last: 4,
      commit: 3,
      reject: false,
    },
    {
      name: "a tail with less commit",
      m: { index: 2, logTerm: 2, commit: 4, add: [2] },
      last: 3,
      commit: 3,
      reject: false,
    },
    {
      name: "a conflict",
      m: { index: 1, logTerm: 1, commit: 4, add: [3] },
      last: 2,
      commit: 2,
      reject: false,
    },
    {
      name: "what it has",
      m: { index: 1, logTerm: 1, commit: 3, add: [2] },
      last: 2,
      commit: 2,
      reject: false,
    },
    {
      name: "an empty one that commits",
      m: { index: 2, logTerm: 2, commit: 9 },
      last: 2,
      commit: 2,
      reject: false,
    },
    {
      name: "an empty one in the middle",
      m: { index: 1, logTerm: 1, commit: 9 },
      last: 2,
      commit: 1,
      reject: false,
    },
  ])("that gets an append with $name ends at $last, committed to $commit", ({ m, last, commit, reject }) => {
    const node = nodeWith({ terms: [1, 2], term: 3 });
    const { add = [], ...rest } = m as typeof m & { add?: number[] };
    const entries = add.map((term, i) => entry(rest.index + 1 + i, term, `${term}`));
    const out = answers(node, app({ term: 3, ...rest, entries }));
    expect(out).toHaveLength(1);
    expect(out[0]).toMatchObject({ type: "MsgAppResp", to: 2, term: 3, reject });
    expect(node.raw.status()).toMatchObject({ lastIndex: last, commit, lead: 2 });
    if (!reject) expect((out[0] as MsgAppResp).index).toBe(rest.index + add.length);
  });

  test("answers an append from before its commit index with that index", () => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 2 });
    expect(answers(node, app({ index: 0, entries: [entry(1, 1)] }))).toMatchObject([
      { index: 2, reject: false },
    ]);
  });

  test("replaces what is not committed, and ends the process when told to commit what it does not have", () => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 2 });
    answers(node, app({ index: 2, logTerm: 1, term: 2, entries: [entry(3, 2, "2")] }));
    expect(node.log()).toEqual(["1/1", "1/1", "2/2"]);
    expect(() => node.raw.step(beat({ term: 2, commit: 4 }))).toThrow(InvariantError);
  });

  test.each([
    { commit: 3, becomes: 3 },
    { commit: 1, becomes: 2 },
    { commit: 0, becomes: 2 },
  ])("committed to 2 that hears a heartbeat with commit $commit has $becomes", ({ commit, becomes }) => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 2 });
    const out = answers(node, beat({ commit }));
    expect(out).toEqual([{ type: "MsgHeartbeatResp", from: 1, to: 2, term: 1 }]);
    expect(node.raw.status().commit).toBe(becomes);
  });

  test("gives a heartbeat's context back as it came", () => {
    const node = nodeWith({ term: 1 });
    expect(answers(node, beat({ context: bytes("ctx") }))).toMatchObject([
      { type: "MsgHeartbeatResp", context: bytes("ctx") },
    ]);
  });

  test.each([
    // Its log's terms, the append's (index, logTerm), and the hint that it gives.
    { terms: [1, 1, 1], at: [9, 3], hint: [3, 1] },
    { terms: [1, 1, 3, 3], at: [4, 2], hint: [2, 1] },
    { terms: [1, 2, 2, 5, 5, 5], at: [9, 4], hint: [3, 2] },
    { terms: [5, 5], at: [2, 4], hint: [0, 0] },
    { terms: [2, 2, 2], at: [3, 4], hint: [3, 2] },
    { terms: [], at: [3, 4], hint: [0, 0] },
  ])("with terms $terms refuses an append after $at with the hint $hint", ({ terms, at, hint }) => {
    const node = nodeWith({ terms, term: 6 });
    const [index = 0, logTerm = 0] = at;
    const [m] = answers(node, app({ term: 6, index, logTerm }));
    expect(m).toEqual(
      ack({ from: 1, to: 2, term: 6, index, reject: true, rejectHint: hint[0]!, logTerm: hint[1]! }),
    );
  });

  test("passes a proposal on to its leader, with the proposer's id and without a term", () => {
    const node = nodeWith({ term: 1 });
    node.raw.step(beat());
    node.drain();
    node.propose("x");
    const rd = node.raw.ready();
    expect(rd.messages).toEqual([]);
    expect(rd.messagesAfterPersist).toEqual([
      {
        type: "MsgProp",
        from: 1,
        to: 2,
        term: 0,
        entries: [{ term: 0, index: 0, type: "normal", data: bytes("x") }],
      },
    ]);
  });

  test("passes another's proposal on, which the leader then appends", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.node(2).raw.step({ type: "MsgProp", from: 3, to: 2, term: 0, entries: [entry(0, 0, "x")] });
    cluster.node(3).raw.proposeConfChange(change("~9"));
    cluster.settle();
    expect(cluster.node(3).applied).toEqual(["2:x"]);
    expect(cluster.node(2).raw.status().confState.learners).toEqual([9]);
  });
});

describe("a leader finds where a log agrees with its own", () => {
  test.each([
    // The terms of the leader (before its own entry) and of the follower; the append before which index finds it.
    { leader: [1, 2, 2, 4, 4, 4, 5], follower: [1, 2, 2, 4, 4, 4, 4, 5, 5], next: 6 },
    { leader: [1, 1, 1, 1, 5, 5, 5], follower: [1, 1, 1, 1, 4], next: 4 },
    { leader: [1, 1, 1, 1, 1, 1, 5], follower: [1, 1, 1, 1, 1, 1, 3], next: 6 },
    { leader: [1, 1, 1, 1, 1, 1, 1], follower: [1, 1, 1, 3, 3, 3, 3, 3], next: 3 },
    { leader: [1, 3, 3, 3, 5, 5, 5], follower: [1, 1, 1, 1, 2, 2], next: 1 },
    { leader: [1, 2, 3, 4, 5], follower: [], next: 0 },
  ])("$leader against $follower in one refusal: next after $next", ({ leader: terms, follower, next }) => {
    const leader = leaderWith({ terms, term: 6, conf: voters(1, 2) });
    const other = nodeWith({ id: 2, terms: follower, term: 7, conf: voters(1, 2) });
    const [first] = apps(leader.drain(), 2);
    const [refusal] = answers(other, first!);
    expect(refusal).toMatchObject({ reject: true, index: terms.length });
    const [second] = apps(answers(leader, refusal!), 2);
    expect(second).toMatchObject({ index: next });
    expect(answers(other, second!).at(-1)).toMatchObject({ reject: false });
  });

  test("and forgets a refusal that is not about its last probe", () => {
    const leader = leaderWith({ terms: [1, 1, 1] });
    leader.drain();
    expect(answers(leader, ack({ term: 2, index: 1, reject: true, rejectHint: 0 }))).toEqual([]);
    expect(leader.raw.status().progress.get(2)).toEqual({ match: 0, next: 4, state: "probe" });
  });

  test("and a late refusal of what was acknowledged since changes nothing while it replicates", () => {
    const leader = leaderWith({ terms: [1, 1, 1] });
    leader.drain();
    answers(leader, ack({ term: 2, index: 4 }));
    expect(answers(leader, ack({ term: 2, index: 3, reject: true, rejectHint: 3, logTerm: 1 }))).toEqual([]);
    expect(leader.raw.status().progress.get(2)).toEqual({ match: 4, next: 5, state: "replicate" });
  });

  test("and probes again when a follower that replicates lost its window", () => {
    const leader = leaderWith({ conf: voters(1, 2) });
    leader.drain();
    answers(leader, ack({ index: 1 }));
    for (const x of ["a", "b"]) leader.propose(x);
    leader.drain();
    const out = answers(leader, ack({ index: 2, reject: true, rejectHint: 1, logTerm: 1 }));
    expect(carried(out)).toEqual([[2, 3]]);
    expect(leader.raw.status().progress.get(2)).toMatchObject({ match: 1, state: "probe" });
  });
});

describe("a leader commits", () => {
  test.each([
    { size: 1, acks: [], commit: 2 },
    { size: 2, acks: [], commit: 0 },
    { size: 3, acks: [2], commit: 2 },
    { size: 4, acks: [2], commit: 0 },
    { size: 4, acks: [2, 2], commit: 2 },
    { size: 5, acks: [1, 2], commit: 1 },
    { size: 5, acks: [2, 2, 1], commit: 2 },
  ])(
    "$commit of two own entries when of $size voters the others acknowledged $acks",
    ({ size, acks, commit }) => {
      const node = leaderWith({ conf: voters(...Array.from({ length: size }, (_, i) => i + 1)) });
      node.propose("x");
      node.drain();
      for (const [i, index] of acks.entries()) answers(node, ack({ from: i + 2, index }));
      expect(node.raw.status().commit).toBe(commit);
    },
  );

  test("nothing that only learners and strangers hold", () => {
    const conf = { ...voters(1, 2, 3), learners: [4, 5] };
    const node = leaderWith({ conf });
    node.drain();
    for (const from of [4, 5, 9]) answers(node, ack({ from, index: 1 }));
    expect(node.raw.status().commit).toBe(0);
    expect(node.raw.status().progress.get(4)).toMatchObject({ match: 1 });
  });

  test("6: in a joint configuration what both majorities hold", () => {
    const node = leaderWith({ conf: { ...voters(1, 4, 5), votersOutgoing: [1, 2, 3], autoLeave: false } });
    node.drain();
    answers(node, ack({ from: 4, index: 1 }));
    answers(node, ack({ from: 5, index: 1 }));
    expect(node.raw.status().commit).toBe(0);
    answers(node, ack({ from: 3, index: 1 }));
    expect(node.raw.status().commit).toBe(1);
  });

  test("entries of earlier terms not before one of its own (5.4.2)", () => {
    const node = leaderWith({ terms: [1, 1], term: 1 });
    node.drain();
    answers(node, ack({ term: 2, index: 2 }));
    expect(node.raw.status().commit).toBe(0);
    answers(node, ack({ term: 2, index: 3 }));
    expect(node.raw.status().commit).toBe(3);
  });

  test("also without its own disk, once a majority of others holds it, and applies it after its own write", () => {
    const node = leaderWith();
    node.drain();
    node.propose("x");
    const rd = node.raw.ready();
    for (const from of [2, 3]) node.raw.step(ack({ from, index: 2 }));
    expect(node.raw.status().commit).toBe(2);
    expect(rd.committedEntries).toEqual([]);
    node.persist(rd);
    node.raw.advance();
    const next = node.raw.ready();
    expect(next.committedEntries.map((e) => e.index)).toEqual([1, 2]);
    expect(next.mustSync).toBe(false);
    expect(next.hardState).toMatchObject({ commit: 2 });
  });

  test("and an ack of its own disk from an earlier leadership does not count", () => {
    const node = leaderWith({ conf: voters(1, 2) });
    const rd = node.raw.ready();
    // Deposed and elected again while the disk works; node 2 replaced the entry meanwhile.
    node.raw.step(app({ term: 2, index: 0, entries: [entry(1, 2)] }));
    node.persist(rd);
    node.raw.advance();
    node.drain();
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 2, commit: 0 });
    expect(node.log()).toEqual(["2/"]);
  });

  test("and tells followers at once, with an empty append", () => {
    const node = leaderWith();
    node.drain();
    const out = answers(node, ack({ from: 2, index: 1 }));
    expect(apps(out, 2)).toMatchObject([{ index: 1, commit: 1, entries: [] }]);
  });

  test("and tells a follower that was late of a commit that others have made", () => {
    const node = leaderWith();
    node.drain();
    answers(node, ack({ from: 3, index: 1 }));
    node.propose("x");
    node.drain();
    answers(node, ack({ from: 3, index: 2 }));
    const out = answers(node, ack({ from: 2, index: 1 }));
    expect(carried(out)).toEqual([[2]]);
    expect(apps(out, 2)[0]).toMatchObject({ commit: 2 });
    // It knows of the commit by that append: no other is due.
    expect(apps(answers(node, ack({ from: 2, index: 2 })), 2)).toEqual([]);
  });

  test("and does not tell a follower twice of the same commit", () => {
    const node = leaderWith();
    node.drain();
    for (const from of [2, 3]) answers(node, ack({ from, index: 1 }));
    node.propose("x");
    node.drain();
    // Node 2 makes it committed; the notice to 3 goes out in front of 3's ack.
    expect(apps(answers(node, ack({ from: 2, index: 2 })), 3)).toMatchObject([{ commit: 2, entries: [] }]);
    expect(apps(answers(node, ack({ from: 3, index: 2 })), 3)).toEqual([]);
  });
});

describe("several proposals", () => {
  test("in one forwarded message keep their order and share one append", () => {
    const node = leaderWith({ conf: voters(1, 2) });
    node.drain();
    answers(node, ack({ index: 1 }));
    node.raw.step({
      type: "MsgProp",
      from: 2,
      to: 1,
      term: 0,
      entries: [entry(0, 0, "a"), entry(0, 0, "b")],
    });
    const rd = node.raw.ready();
    expect(rd.entries.map((e) => [e.term, e.index, text(e.data)])).toEqual([
      [1, 2, "a"],
      [1, 3, "b"],
    ]);
    expect(carried(rd.messages)).toEqual([[2, 3]]);
  });

  test("of a leader that is gone are lost only where no majority holds them", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.filter = (m) => m.to !== 3 && m.from !== 3;
    cluster.node(1).propose("kept");
    cluster.settle();
    cluster.isolate(1);
    cluster.node(1).propose("lost");
    cluster.settle();
    cluster.elect(3);
    expect(cluster.node(3).raw.status().state).not.toBe("leader");
    cluster.elect(2);
    cluster.heal();
    cluster.tick(2);
    const logs = [1, 2, 3].map((id) => cluster.node(id).applied);
    expect(logs).toEqual([["2:kept"], ["2:kept"], ["2:kept"]]);
  });
});

test("a stranger's claim to lead is ignored by the leader, a member's ends the process", () => {
  const node: TestNode = leaderWith();
  node.drain();
  for (const m of [app({ from: 9 }), beat({ from: 9 })]) expect(answers(node, m)).toEqual([]);
  expect(node.raw.status().state).toBe("leader");
  for (const m of [app({ from: 3 }), beat({ from: 3 })])
    expect(() => node.raw.step(m)).toThrow(InvariantError);
});
