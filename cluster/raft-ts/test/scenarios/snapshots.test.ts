/**
 * Snapshots as a driver sees them: when a leader sends one, what a follower makes of it, and how replication goes on
 * after it (Raft section 7).
 */
import {
  CompactedError,
  encodeConfChange,
  type Message,
  type MsgSnap,
  type Snapshot,
  UnavailableError,
} from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, configOf, TestCluster, TestNode, voters } from "../support/driver.ts";
import {
  ack,
  answers,
  app,
  beat,
  beatResp,
  change,
  entry,
  leaderWith,
  nodeWith,
  snap,
  snapshotAt,
  vote,
} from "../support/messages.ts";

const CONF = voters(1, 2, 3);

const snaps = (messages: readonly Message[]): MsgSnap[] => messages.filter((m) => m.type === "MsgSnap");

/** A leader of {1, 2} in term 12 whose log begins behind a snapshot at 11, and ends with its own entry 12. */
function compactedLeader(): TestNode {
  const node = leaderWith({ conf: voters(1, 2), snapshot: snapshotAt(11, 11, voters(1, 2)) });
  node.drain();
  return node;
}

/** Follower 2 refuses and is sent the snapshot. */
function sendSnapshot(node: TestNode): Message[] {
  return answers(node, ack({ term: 12, index: 11, reject: true, rejectHint: 3, logTerm: 1 }));
}

describe("a leader whose log does not reach back far enough", () => {
  test("sends its snapshot and pauses replication until an ack", () => {
    const node = compactedLeader();
    const out = sendSnapshot(node);
    expect(out).toHaveLength(1);
    expect(out[0]).toMatchObject({
      type: "MsgSnap",
      from: 1,
      to: 2,
      term: 12,
      snapshot: { index: 11, term: 11 },
    });
    expect(node.raw.status().progress.get(2)).toEqual({ match: 0, next: 12, state: "snapshot" });
    expect(node.raw.status().flow.get(2)?.pendingSnapshot).toBe(11);
    node.propose("x");
    node.tick();
    node.drain();
    expect(answers(node, beatResp(2, 12))).toEqual([]);
  });

  test("sends it at once, without waiting for its own disk", () => {
    const node = compactedLeader();
    node.raw.step(ack({ term: 12, index: 11, reject: true, rejectHint: 3, logTerm: 1 }));
    expect(snaps(node.raw.ready().messages)).toHaveLength(1);
  });

  test("goes on behind the snapshot when it was delivered, once the follower is heard", () => {
    const node = compactedLeader();
    sendSnapshot(node);
    node.raw.reportSnapshot(2, true);
    expect(node.raw.status().progress.get(2)).toEqual({ match: 0, next: 12, state: "probe" });
    node.propose("x");
    expect(node.drain().filter((m) => m.type === "MsgApp")).toEqual([]);
    const out = answers(node, beatResp(2, 12));
    expect(out).toMatchObject([{ type: "MsgApp", index: 11, logTerm: 11 }]);
  });

  test("starts over after a heartbeat interval when it was lost", () => {
    const node = compactedLeader();
    sendSnapshot(node);
    node.raw.reportSnapshot(2, false);
    expect(node.raw.status().progress.get(2)).toEqual({ match: 0, next: 1, state: "probe" });
    node.propose("x");
    expect(snaps(node.drain())).toEqual([]);
    expect(snaps(answers(node, beatResp(2, 12)))).toHaveLength(1);
  });

  test("needs no report: an ack that reaches the log leads back to replication", () => {
    const node = compactedLeader();
    sendSnapshot(node);
    const out = answers(node, ack({ term: 12, index: 11 }));
    expect(out.filter((m) => m.type === "MsgApp")).toMatchObject([{ index: 11, entries: [{ index: 12 }] }]);
    expect(node.raw.status().progress.get(2)).toEqual({ match: 11, next: 13, state: "replicate" });
  });

  test("takes an ack of an older snapshot as well, when its log reaches back to it", () => {
    const node = leaderWith({ conf: voters(1, 2), terms: [1, 1, 1, 1, 1, 1], commit: 5 });
    node.drain();
    node.compact(3);
    // Entries 3.. are there, the snapshot is at 5; the follower has installed one at 2 from elsewhere.
    answers(node, ack({ term: 2, index: 6, reject: true, rejectHint: 0 }));
    expect(node.raw.status().progress.get(2)).toEqual({ match: 0, next: 6, state: "snapshot" });
    answers(node, ack({ term: 2, index: 1 }));
    expect(node.raw.status().progress.get(2)).toMatchObject({ match: 1, state: "snapshot" });
    answers(node, ack({ term: 2, index: 2 }));
    expect(node.raw.status().progress.get(2)).toMatchObject({ match: 2, state: "replicate" });
  });

  test("does not send it over and over to a follower that has no use for it", () => {
    const node = compactedLeader();
    sendSnapshot(node);
    node.raw.reportSnapshot(2, true);
    // It ignored the snapshot, as its answer tells: it is where it was.
    for (let i = 0; i < 3; i++) expect(answers(node, ack({ term: 12, index: 0 }))).toEqual([]);
    expect(node.raw.status().progress.get(2)).toMatchObject({ match: 0, state: "probe" });
    expect(answers(node, beatResp(2, 12))).toMatchObject([{ type: "MsgApp", index: 11 }]);
  });

  test("sends none to a follower that is silent", () => {
    const node = compactedLeader();
    // It became leader just now: nothing was heard of 2, and the probe is out.
    node.raw.reportUnreachable(2);
    node.tick();
    expect(snaps(node.drain())).toEqual([]);
  });

  test("ignores reports about followers that get no snapshot", () => {
    const node = compactedLeader();
    const before = node.raw.status();
    node.raw.reportSnapshot(2, true);
    node.raw.reportSnapshot(2, false);
    node.raw.reportSnapshot(9, true);
    expect(node.raw.status()).toEqual(before);
    nodeWith().raw.reportSnapshot(2, true);
  });

  test("waits while the storage has no snapshot ready, and asks again", () => {
    const node = compactedLeader();
    let isReady = false;
    const { storage } = node;
    const snapshot = storage.snapshot.bind(storage);
    storage.snapshot = (): Snapshot => {
      if (!isReady) throw new UnavailableError("being made");
      return snapshot();
    };
    expect(sendSnapshot(node)).toEqual([]);
    expect(node.raw.status().progress.get(2)?.state).toBe("probe");
    isReady = true;
    expect(snaps(answers(node, beatResp(2, 12)))).toHaveLength(1);
  });

  test("sends a snapshot as well when the entries go while it looks for them", () => {
    const node = compactedLeader();
    const { storage } = node;
    node.raw.reportUnreachable(2);
    storage.entries = () => {
      throw new CompactedError("gone meanwhile");
    };
    expect(snaps(answers(node, ack({ term: 12, index: 11 })))).toHaveLength(1);
  });

  test("brings learners up to date the same way, and then promotes them", () => {
    const cluster = new TestCluster([1]);
    cluster.elect(1);
    const leader = cluster.node(1);
    leader.propose("a");
    cluster.settle();
    leader.compact();
    const learner = cluster.add(2, voters());
    leader.raw.proposeConfChange(change("~2"));
    cluster.tick(2);
    expect(cluster.delivered.filter((m) => m.type === "MsgSnap")).not.toEqual([]);
    expect(learner.applied).toEqual(["2:a"]);
    expect(learner.raw.status().confState).toMatchObject({ voters: [1], learners: [2] });
    leader.raw.proposeConfChange(change("+2"));
    cluster.tick(2);
    expect(learner.raw.status().confState).toMatchObject({ voters: [1, 2], learners: [] });
  });
});

describe("a follower that is sent a snapshot", () => {
  test("starts from it when the power was lost before the commit index was durable", () => {
    const node = nodeWith({ terms: [1, 1] });
    answers(node, beat({ term: 3 }));
    node.raw.step(snap(snapshotAt(11, 3, CONF), { term: 3 }));
    expect(node.drain()).toMatchObject([{ type: "MsgAppResp", index: 11 }]);
    node.restart({ isUnsyncedLost: true });
    expect(node.storage.initialState().hardState.commit).toBe(0);
    expect(node.raw.status()).toMatchObject({ commit: 11, lastIndex: 11, term: 3 });
  });

  test("hands it out to be made durable before it acknowledges, and applies from behind it", () => {
    const node = nodeWith({ terms: [1, 1], term: 1 });
    node.raw.step(snap(snapshotAt(11, 3, CONF), { term: 4 }));
    node.raw.step(app({ term: 4, index: 11, logTerm: 3, commit: 12, entries: [entry(12, 4, "x")] }));
    const rd = node.raw.ready();
    expect(rd.snapshot).toMatchObject({ index: 11, term: 3 });
    expect(rd).toMatchObject({
      mustSync: true,
      hardState: { term: 4, vote: 0, commit: 12 },
      messages: [],
      committedEntries: [],
    });
    expect(rd.messagesAfterPersist).toMatchObject([
      { type: "MsgAppResp", index: 11 },
      { type: "MsgAppResp", index: 12 },
    ]);
    expect(rd.entries.map((e) => e.index)).toEqual([12]);
    node.persist(rd);
    node.apply(rd);
    node.raw.advance();
    expect(node.raw.status()).toMatchObject({ applied: 11, commit: 12, lastIndex: 12 });
    expect(node.raw.ready().committedEntries.map((e) => e.index)).toEqual([12]);
  });

  test.each([
    { name: "at its commit index", index: 2, term: 1 },
    { name: "before it", index: 1, term: 1 },
  ])("ignores one $name and tells how far it is", ({ index, term }) => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 2 });
    expect(answers(node, snap(snapshotAt(index, term, CONF)))).toMatchObject([
      { type: "MsgAppResp", index: 2, reject: false },
    ]);
    expect(node.storage.snapshot().index).toBe(0);
  });

  test("only moves its commit index when it holds the snapshot's last entry", () => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 1 });
    expect(answers(node, snap(snapshotAt(3, 1, CONF)))).toMatchObject([{ index: 3 }]);
    expect(node.raw.status()).toMatchObject({ commit: 3, applied: 3 });
    expect(node.storage.snapshot().index).toBe(0);
  });

  test("takes it when its own entry there is of another term", () => {
    const node = nodeWith({ terms: [1, 1, 1], commit: 1 });
    expect(answers(node, snap(snapshotAt(3, 2, CONF), { term: 2 }))).toMatchObject([{ index: 3 }]);
    expect(node.storage.snapshot()).toMatchObject({ index: 3, term: 2 });
    expect(node.raw.status()).toMatchObject({ commit: 3, applied: 3, lastIndex: 3 });
  });

  test.each([
    { name: "a voter", conf: voters(1, 2, 3) },
    { name: "a learner", conf: { ...voters(2, 3), learners: [1] } },
    { name: "an outgoing voter", conf: { ...voters(2, 3), votersOutgoing: [1, 2], autoLeave: false } },
    {
      name: "a voter that becomes a learner",
      conf: { ...voters(2, 3), votersOutgoing: [1, 2], learnersNext: [1], autoLeave: true },
    },
  ])("as $name takes its membership over", ({ conf }) => {
    for (const before of [voters(), CONF, { ...voters(2, 3), learners: [1] }]) {
      const node = nodeWith({ conf: before });
      expect(answers(node, snap(snapshotAt(11, 3, conf), { term: 3 })).at(-1)).toMatchObject({ index: 11 });
      expect(node.raw.status().confState).toEqual(conf);
    }
  });

  test("that is a candidate follows the sender", () => {
    const node = nodeWith();
    node.raw.campaign();
    node.drain();
    answers(node, snap(snapshotAt(11, 1, CONF)));
    expect(node.raw.status()).toMatchObject({ state: "follower", lead: 2, commit: 11 });
  });

  test("of an older term answers nothing", () => {
    const node = nodeWith({ term: 5 });
    expect(answers(node, snap(snapshotAt(11, 3, CONF), { term: 4 }))).toEqual([]);
    expect(node.raw.status()).toMatchObject({ lastIndex: 0, term: 5 });
  });

  test("votes by the snapshot's end", () => {
    const node = nodeWith({ snapshot: snapshotAt(11, 3, CONF) });
    expect(answers(node, vote({ term: 4, index: 10, logTerm: 3 }))).toMatchObject([{ reject: true }]);
    expect(answers(node, vote({ term: 4, index: 11, logTerm: 3 }))).toMatchObject([{ reject: false }]);
  });

  test("gets a newer one while the first is being installed", () => {
    const node = nodeWith({ conf: CONF });
    node.raw.step(snap(snapshotAt(11, 3, CONF), { term: 4 }));
    const rd = node.raw.ready();
    node.raw.step(snap(snapshotAt(21, 4, CONF), { term: 4 }));
    node.persist(rd);
    node.apply(rd);
    node.raw.advance();
    const next = node.raw.ready();
    expect(next.snapshot).toMatchObject({ index: 21 });
    node.persist(next);
    node.apply(next);
    node.raw.advance();
    expect(node.raw.status()).toMatchObject({ applied: 21, commit: 21, lastIndex: 21 });
  });

  // A change that was handed out before the snapshot came must not be applied on top of the snapshot's membership.
  test.each([
    {
      name: "one that was undone since",
      conf: CONF,
      cc: change("+4"),
      midway: { ...CONF, voters: [1, 2, 3, 4] },
    },
    {
      name: "one that began a joint configuration",
      conf: voters(1, 3),
      cc: change("-2", "implicit"),
      midway: { ...voters(1, 3), votersOutgoing: [1, 2, 3], autoLeave: true },
    },
    {
      name: "one that does not fit any more",
      conf: voters(1, 9),
      cc: change("~2 +9", "explicit"),
      midway: undefined,
    },
  ])(
    "keeps the snapshot's membership when a conf change is still being applied: $name",
    ({ conf, cc, midway }) => {
      const node = nodeWith({ conf: CONF, term: 4 });
      const data = encodeConfChange(cc);
      node.raw.step(app({ term: 4, commit: 1, entries: [{ term: 4, index: 1, type: "confChange", data }] }));
      const rd = node.raw.ready();
      expect(rd.committedEntries).toHaveLength(1);
      node.persist(rd);
      node.raw.step(snap(snapshotAt(21, 4, conf), { term: 4 }));
      node.apply(rd);
      if (midway !== undefined) expect(node.confState).toEqual(midway);
      node.raw.advance();
      expect(node.raw.status().confState).toEqual(conf);
      node.drain();
      expect(node.raw.status()).toMatchObject({ applied: 21, commit: 21, confState: conf });
      expect(node.confState).toEqual(conf);
      // The membership of now is what the next change is applied to.
      expect(node.raw.applyConfChange(change("~7"))).toEqual({ ...conf, learners: [7] });
    },
  );
});

describe("a restart", () => {
  test("from a snapshot goes on behind it, with its membership", () => {
    const conf = { ...voters(1, 2), learners: [4] };
    const node = nodeWith({ snapshot: snapshotAt(11, 3, conf), terms: [4], term: 4, commit: 12 });
    expect(node.raw.status()).toMatchObject({
      commit: 12,
      applied: 11,
      lastIndex: 12,
      term: 4,
      state: "follower",
      confState: conf,
    });
    const rd = node.raw.ready();
    expect(rd).toMatchObject({ mustSync: false, entries: [], committedEntries: [{ index: 12 }] });
    expect(rd.hardState).toBeUndefined();
  });

  test("without anything committed has nothing to do", () => {
    expect(nodeWith({ terms: [1, 1], term: 1 }).raw.hasReady()).toBe(false);
    expect(nodeWith().raw.hasReady()).toBe(false);
  });

  test("pages through what was committed before it", () => {
    const { storage } = nodeWith({ conf: voters(1), terms: [1, 1, 1, 1, 1], commit: 5 });
    const node = new TestNode(1, voters(1), { maxSizePerMessage: 2 }, storage);
    const pages: number[][] = [];
    while (node.raw.hasReady()) {
      const rd = node.raw.ready();
      pages.push(rd.committedEntries.map((e) => e.index));
      node.persist(rd);
      node.apply(rd);
      node.raw.advance();
    }
    expect(pages).toEqual([[1, 2], [3, 4], [5]]);
    expect(configOf({ id: 1, storage }).applied).toBe(0);
  });

  test("a leader serves a slow follower from its storage after it compacted what all others have", () => {
    const cluster = new TestCluster([1, 2, 3], { maxInflightMessages: 2 });
    cluster.elect(1);
    cluster.isolate(3);
    for (let i = 0; i < 20; i++) cluster.node(1).propose(`${i}`);
    cluster.settle();
    cluster.node(1).compact(5);
    cluster.heal();
    cluster.tick(4);
    for (let i = 0; i < 3; i++) cluster.node(1).propose(`more ${i}`);
    cluster.tick(2);
    expect(cluster.node(3).applied).toEqual(cluster.node(1).applied);
    expect(cluster.node(1).raw.status().progress.get(3)).toMatchObject({ state: "replicate", match: 24 });
  });
});

test("a snapshot's bytes come through as they are", () => {
  const data = Uint8Array.of(0, 255, 1, 2);
  const node = nodeWith();
  node.raw.step(snap({ ...snapshotAt(5, 1, CONF), data }));
  expect(node.raw.ready().snapshot?.data).toEqual(data);
  expect(bytes("")).toHaveLength(0);
});

test("the driver may compact what it has applied before it advances, whatever comes in between", () => {
  const node = nodeWith({ terms: [1, 1, 1], term: 1, commit: 3 });
  const rd = node.raw.ready();
  node.apply(rd);
  node.compact();
  node.tick(10);
  expect(node.raw.status().state).toBe("candidate");
  node.raw.advance();
  node.drain();
  expect(node.raw.status()).toMatchObject({ state: "candidate", applied: 3, commit: 3 });
});
