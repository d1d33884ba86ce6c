/**
 * The rules of the Raft paper (extended version) and thesis, each seen from outside through RawNode.
 */
import { InvariantError, type Message } from "raft-ts";
import { afterEach, describe, expect, test, vi } from "vitest";
import { RaftLog } from "../../src/log.ts";
import { bytes, TestCluster, TestNode, voters } from "../support/driver.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

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

describe("section 5.1: terms", () => {
  test.each(["MsgApp", "MsgHeartbeat", "MsgVote", "MsgAppResp", "MsgVoteResp"] as const)(
    "a leader that sees a higher term in %s becomes a follower of it",
    (type) => {
      const cluster = new TestCluster([1, 2, 3]);
      cluster.elect(1);
      const { raw } = cluster.node(1);
      raw.step({
        type,
        from: 2,
        to: 1,
        term: 9,
        index: 0,
        logTerm: 0,
        commit: 0,
        entries: [],
      } as unknown as Message);
      expect(raw.status()).toMatchObject({ state: "follower", term: 9 });
    },
  );

  test("a message of an older term is ignored", () => {
    const node = follower([], 5);
    expect(
      answer(node, {
        type: "MsgApp",
        from: 2,
        to: 1,
        term: 4,
        index: 0,
        logTerm: 0,
        commit: 0,
        entries: [entry(1, 4)],
      }),
    ).toBeUndefined();
    expect(node.raw.status()).toMatchObject({ term: 5, lastIndex: 0, lead: 0 });
  });
});

describe("section 5.2: elections", () => {
  test("a follower starts as one, and campaigns after an election timeout without a leader", () => {
    const node = follower([], 0, { electionTick: 10, random: () => 3 });
    expect(node.raw.status().state).toBe("follower");
    node.tick(12);
    expect(node.raw.status().state).toBe("follower");
    node.tick();
    expect(node.raw.status()).toMatchObject({ state: "candidate", term: 1, vote: 1 });
  });

  test("a heartbeat puts the election off", () => {
    const node = follower([], 1, { electionTick: 10 });
    for (let i = 0; i < 5; i++) {
      node.tick(9);
      node.raw.step({ type: "MsgHeartbeat", from: 2, to: 1, term: 1, commit: 0 });
    }
    expect(node.raw.status()).toMatchObject({ state: "follower", lead: 2, term: 1 });
  });

  test("a candidate asks all other voters, with its last entry, once its own vote is durable", () => {
    const node = follower([1, 1, 2], 2);
    node.raw.campaign();
    const rd = node.raw.ready();
    expect(rd.messages).toEqual([]);
    expect(rd.hardState).toEqual({ term: 3, vote: 1, commit: 0 });
    expect(rd.messagesAfterPersist).toEqual([
      { type: "MsgVote", from: 1, to: 2, term: 3, index: 3, logTerm: 2 },
      { type: "MsgVote", from: 1, to: 3, term: 3, index: 3, logTerm: 2 },
    ]);
  });

  test.each([
    { size: 1, grants: 0, state: "leader" },
    { size: 3, grants: 0, state: "candidate" },
    { size: 3, grants: 1, state: "leader" },
    { size: 5, grants: 1, state: "candidate" },
    { size: 5, grants: 2, state: "leader" },
  ])(
    "of $size voters a candidate with its own and $grants other votes is $state",
    ({ size, grants, state }) => {
      const ids = Array.from({ length: size }, (_, i) => i + 1);
      const node = new TestNode(1, voters(...ids));
      node.raw.campaign();
      node.drain();
      for (let id = 2; id < 2 + grants; id++) {
        node.raw.step({ type: "MsgVoteResp", from: id, to: 1, term: 1, reject: false });
      }
      expect(node.raw.status().state).toBe(state);
    },
  );

  test("a repeated vote counts once", () => {
    const node = new TestNode(1, voters(1, 2, 3, 4, 5));
    node.raw.campaign();
    node.drain();
    for (let i = 0; i < 3; i++)
      node.raw.step({ type: "MsgVoteResp", from: 2, to: 1, term: 1, reject: false });
    expect(node.raw.status().state).toBe("candidate");
  });

  test("a candidate that a majority refused becomes a follower of the same term", () => {
    const node = new TestNode(1, voters(1, 2, 3));
    node.raw.campaign();
    node.drain();
    for (const from of [2, 3]) node.raw.step({ type: "MsgVoteResp", from, to: 1, term: 1, reject: true });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 1 });
  });

  test("a server votes once in a term, first come first served, and again for the same candidate", () => {
    const node = follower([], 0);
    const ask = (from: number) =>
      answer(node, { type: "MsgVote", from, to: 1, term: 1, index: 0, logTerm: 0 });
    expect(ask(2)).toMatchObject({ type: "MsgVoteResp", to: 2, reject: false });
    expect(ask(3)).toMatchObject({ type: "MsgVoteResp", to: 3, reject: true });
    expect(ask(2)).toMatchObject({ reject: false });
    node.restart();
    expect(ask(3)).toMatchObject({ reject: true });
  });

  test("a candidate gives way to the leader of its term", () => {
    const node = follower([], 0);
    node.raw.campaign();
    node.raw.step({ type: "MsgApp", from: 2, to: 1, term: 1, index: 0, logTerm: 0, commit: 0, entries: [] });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 1, lead: 2, vote: 1 });
  });

  test("a second leader of the same term is impossible, and ends the process", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    const intruder: Message = { type: "MsgHeartbeat", from: 2, to: 1, term: 1, commit: 0 };
    expect(() => cluster.node(1).raw.step(intruder)).toThrow(InvariantError);
  });

  test("a split vote is resolved by the next timeout", () => {
    const cluster = new TestCluster([1, 2], (id) => ({ random: () => id }));
    for (const id of [1, 2]) cluster.node(id).raw.campaign();
    cluster.settle();
    expect(cluster.leaders()).toEqual([]);
    cluster.tick(11);
    expect(cluster.leaders()).toEqual([1]);
  });
});

describe("section 5.3: replication", () => {
  test("a new leader's first entry is empty and of its own term", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    expect(cluster.node(2).log()).toEqual(["1/"]);
  });

  test("an entry is committed and applied once a majority holds it, also without the leader's own disk", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    const leader = cluster.node(1);
    leader.propose("a");
    const rd = leader.raw.ready();
    for (const id of [2, 3]) {
      cluster.node(id).raw.step(rd.messages.find((m) => m.to === id)!);
      for (const m of cluster.node(id).drain()) leader.raw.step(m);
    }
    expect(leader.raw.status().commit).toBe(2);
    // Yet nothing is applied before it is durable here, too.
    expect(rd.committedEntries).toEqual([]);
  });

  test.each([
    { prev: [2, 2], reject: false, hint: [0, 0], index: 2 },
    { prev: [3, 3], reject: true, hint: [2, 2], index: 3 },
    { prev: [1, 2], reject: true, hint: [1, 1], index: 1 },
    { prev: [2, 1], reject: true, hint: [1, 1], index: 2 },
  ])("a follower with terms 1, 2 answers an append after $prev", ({ prev, reject, hint, index }) => {
    const [prevIndex = 0, prevTerm = 0] = prev;
    const node = follower([1, 2], 3);
    const m = answer(node, {
      type: "MsgApp",
      from: 2,
      to: 1,
      term: 3,
      index: prevIndex,
      logTerm: prevTerm,
      commit: 0,
      entries: [],
    });
    expect(m).toMatchObject({ type: "MsgAppResp", index, reject, rejectHint: hint[0], logTerm: hint[1] });
  });

  test("figure 7: the leader makes every possible follower log equal to its own", () => {
    const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const followers = [
      [1, 1, 1, 4, 4, 5, 5, 6, 6],
      [1, 1, 1, 4],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      [1, 1, 1, 4, 4, 4, 4],
      [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for (const terms of followers) {
      const cluster = new TestCluster([1, 2, 3]);
      const load = (id: number, log: number[], term: number) => {
        const node = cluster.node(id);
        node.storage.append(log.map((t, i) => entry(i + 1, t)));
        node.storage.setHardState({ term, vote: 0, commit: 0 });
        node.restart();
      };
      load(1, leaderTerms, 7);
      load(2, terms, terms.at(-1)!);
      cluster.elect(1);
      expect(cluster.leaders()).toEqual([1]);
      cluster.tick(2);
      expect(cluster.node(2).log()).toEqual([...leaderTerms.map((t) => `${t}/`), "8/"]);
      expect(cluster.node(2).log()).toEqual(cluster.node(1).log());
    }
  });

  test("a long diverged tail is found in one probe per term, not per entry", () => {
    const cluster = new TestCluster([1, 2, 3]);
    const one = cluster.node(1);
    const two = cluster.node(2);
    one.storage.append(Array.from({ length: 300 }, (_, i) => entry(i + 1, i < 50 ? 1 : 5)));
    one.storage.setHardState({ term: 5, vote: 0, commit: 0 });
    two.storage.append(Array.from({ length: 250 }, (_, i) => entry(i + 1, i < 50 ? 1 : i < 150 ? 2 : 3)));
    two.storage.setHardState({ term: 3, vote: 0, commit: 0 });
    one.restart();
    two.restart();
    cluster.elect(1);
    const refusals = cluster.delivered.filter((m) => m.type === "MsgAppResp" && m.from === 2 && m.reject);
    expect(refusals.length).toBeLessThanOrEqual(2);
    expect(two.log()).toEqual(one.log());
  });

  test("appends that come twice or out of order change nothing that is right", () => {
    const node = follower([], 1);
    const app = (
      index: number,
      logTerm: number,
      entries: ReturnType<typeof entry>[],
      commit: number,
    ): Message => ({
      type: "MsgApp",
      from: 2,
      to: 1,
      term: 1,
      index,
      logTerm,
      commit,
      entries,
    });
    const all = [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")];
    answer(node, app(0, 0, all, 3));
    expect(answer(node, app(0, 0, all.slice(0, 1), 1))).toMatchObject({ index: 3, reject: false });
    expect(answer(node, app(1, 1, all.slice(1), 2))).toMatchObject({ index: 3, reject: false });
    expect(node.applied).toEqual(["1:a", "2:b", "3:c"]);
  });
});

describe("section 5.4: safety", () => {
  test.each([
    { candidate: [1, 1], granted: false },
    { candidate: [3, 1], granted: false },
    { candidate: [2, 2], granted: true },
    { candidate: [3, 2], granted: true },
    { candidate: [1, 3], granted: true },
  ])("5.4.1: a voter with terms 1, 2 answers a candidate at $candidate", ({ candidate, granted }) => {
    const [index = 0, logTerm = 0] = candidate;
    const node = follower([1, 2], 2);
    const m = answer(node, { type: "MsgVote", from: 2, to: 1, term: 3, index, logTerm });
    expect(m).toMatchObject({ type: "MsgVoteResp", term: 3, reject: !granted });
  });

  /** Figure 8: the entry of term 2 reaches a majority in term 4, and S5 may still overwrite it. */
  function figureEight(): { before: number; after: string[][] } {
    const cluster = new TestCluster([1, 2, 3, 4, 5], { maxSizePerMessage: 0, maxInflightMessages: 1 });
    const load = (id: number, log: number[], term: number) => {
      const node = cluster.node(id);
      node.storage.append(log.map((t, i) => entry(i + 1, t, `${t}`)));
      node.storage.setHardState({ term, vote: 0, commit: 1 });
      node.restart();
    };
    load(1, [1, 2], 3);
    for (const id of [2, 3, 4]) load(id, [1], 3);
    load(5, [1, 3], 3);
    // S1 leads term 4 with S2 and S3, and only its entry of term 2 gets through to them: what carries the one of
    // term 4 is lost, but for the probe that tells that they lack the one before.
    cluster.filter = (m) => {
      if ([4, 5].includes(m.from) || [4, 5].includes(m.to)) return false;
      // Nobody but S1 learns what S1 commits.
      if ((m.type === "MsgApp" || m.type === "MsgHeartbeat") && m.commit > 1) return false;
      const carriesOwn = m.type === "MsgApp" && m.entries.some((e) => e.term === 4);
      return !carriesOwn || cluster.node(m.to).storage.lastIndex() < 2;
    };
    cluster.elect(1);
    cluster.tick(2);
    const before = cluster.node(1).raw.status().commit;
    // S1 crashes, S5 is elected by S3 and S4 and overwrites.
    cluster.filter = (m) => ![1, 2].includes(m.from) && ![1, 2].includes(m.to);
    cluster.node(5).raw.campaign();
    cluster.settle();
    cluster.elect(5);
    cluster.tick(3);
    return { before, after: [cluster.node(1).applied, cluster.node(5).applied] };
  }

  test("5.4.2: an entry of an earlier term is not committed by counting (figure 8)", () => {
    const { before, after } = figureEight();
    expect(before).toBe(1);
    expect(after[1]).toContain("2:3");
    expect(after[0]).not.toContain("2:2");
  });

  test("5.4.2: a core that counts entries of earlier terms loses what it applied (planted bug)", () => {
    vi.spyOn(RaftLog.prototype, "maybeCommit").mockImplementation(function (this: RaftLog, index: number) {
      if (index <= this.committed || this.term(index) === undefined) return false;
      this.commitTo(index);
      return true;
    });
    const { before, after } = figureEight();
    expect(before).toBe(2);
    expect(after[0]).toContain("2:2");
    expect(after[1]).toContain("2:3");
  });

  test("a heartbeat commits no further than what the follower is known to hold", () => {
    const cluster = new TestCluster([1, 2, 3]);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.node(1).propose("a");
    cluster.settle();
    cluster.node(1).tick();
    const beats = cluster
      .node(1)
      .drain()
      .filter((m) => m.type === "MsgHeartbeat");
    expect(beats.map((m) => [m.to, m.type === "MsgHeartbeat" ? m.commit : 0])).toEqual([
      [2, 2],
      [3, 1],
    ]);
  });
});
