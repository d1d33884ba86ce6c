/** The contract of RawNode with its driver. */
import { readdirSync, readFileSync } from "node:fs";
import {
  type Config,
  ConfigError,
  InvariantError,
  MalformedError,
  MemoryStorage,
  type Message,
  ProposalDroppedError,
  RawNode,
  StepLocalMessageError,
} from "raft-ts";
import { expect, test } from "vitest";
import { bytes, configOf, TestCluster, TestNode, voters } from "../support/driver.ts";
import { Random } from "../support/random.ts";

test("one Ready is out at a time, and advance() needs one", () => {
  const node = new TestNode(1, voters(1));
  expect(() => node.raw.advance()).toThrow(InvariantError);
  node.raw.campaign();
  expect(node.raw.hasReady()).toBe(true);
  node.raw.ready();
  expect(node.raw.hasReady()).toBe(false);
  expect(() => node.raw.ready()).toThrow(InvariantError);
  node.raw.advance();
});

test("a node without news has no Ready", () => {
  const node = new TestNode(1, voters(1, 2, 3));
  expect(node.raw.hasReady()).toBe(false);
  node.tick();
  expect(node.raw.hasReady()).toBe(false);
});

test("a single voter counts its own vote and its own entries only after they are durable", () => {
  const node = new TestNode(1, voters(1));
  node.raw.campaign();
  expect(node.raw.status().state).toBe("candidate");
  const vote = node.raw.ready();
  expect(vote).toMatchObject({ mustSync: true, hardState: { term: 1, vote: 1 } });
  expect(node.raw.status().state).toBe("candidate");
  node.persist(vote);
  node.raw.advance();
  expect(node.raw.status()).toMatchObject({ state: "leader", commit: 0 });
  const first = node.raw.ready();
  expect(first.committedEntries).toEqual([]);
  node.persist(first);
  node.raw.advance();
  expect(node.raw.status().commit).toBe(1);
  const commit = node.raw.ready();
  expect(commit).toMatchObject({ mustSync: false, entries: [], hardState: { commit: 1 } });
  expect(commit.committedEntries).toHaveLength(1);
});

test("only what a leader sends may leave before the disk", () => {
  const early = new Set<string>();
  const late = new Set<string>();
  const cluster = new TestCluster([1, 2, 3], { preVote: true });
  for (const n of cluster.nodes.values()) {
    n.process = () => {
      const rd = n.raw.ready();
      for (const m of rd.messages) early.add(m.type);
      for (const m of rd.messagesAfterPersist) late.add(m.type);
      n.persist(rd);
      n.apply(rd);
      n.raw.advance();
      return [...rd.messages, ...rd.messagesAfterPersist];
    };
  }
  cluster.elect(1);
  cluster.tick(3);
  cluster.node(2).propose("a");
  cluster.node(2).raw.readIndex(bytes("r"));
  cluster.settle();
  cluster.node(2).raw.transferLeader(3);
  cluster.settle();
  expect([...early].sort()).toEqual(["MsgApp", "MsgHeartbeat", "MsgReadIndexResp", "MsgTimeoutNow"]);
  expect([...late].sort()).toEqual([
    "MsgAppResp",
    "MsgHeartbeatResp",
    "MsgPreVote",
    "MsgPreVoteResp",
    "MsgProp",
    "MsgReadIndex",
    "MsgTransferLeader",
    "MsgVote",
    "MsgVoteResp",
  ]);
});

test("a follower gets entries and their commit in one Ready, to be applied after they are durable", () => {
  const node = new TestNode(2, voters(1, 2));
  const entries = [{ index: 1, term: 1, type: "normal", data: bytes("a") }] as const;
  node.raw.step({ type: "MsgApp", from: 1, to: 2, term: 1, index: 0, logTerm: 0, commit: 1, entries });
  const rd = node.raw.ready();
  expect(rd.entries).toEqual(entries);
  expect(rd.committedEntries).toEqual(entries);
  expect(rd.mustSync).toBe(true);
  expect(rd.softState).toEqual({ lead: 1, state: "follower" });
});

test("inputs between ready() and advance() are part of the next Ready", () => {
  const cluster = new TestCluster([1]);
  cluster.elect(1);
  const node = cluster.node(1);
  node.propose("a");
  const rd = node.raw.ready();
  node.propose("b");
  node.persist(rd);
  node.raw.advance();
  const next = node.raw.ready();
  expect(next.entries.map((e) => e.index)).toEqual([3]);
  expect(next.committedEntries.map((e) => e.index)).toEqual([2]);
});

test("entries that were overwritten while they were written are written again", () => {
  const node = new TestNode(2, voters(1, 2, 3));
  const entry = (index: number, term: number) => ({
    index,
    term,
    type: "normal" as const,
    data: bytes(`${term}`),
  });
  node.raw.step({
    type: "MsgApp",
    from: 1,
    to: 2,
    term: 1,
    index: 0,
    logTerm: 0,
    commit: 0,
    entries: [entry(1, 1), entry(2, 1)],
  });
  const rd = node.raw.ready();
  node.raw.step({
    type: "MsgApp",
    from: 3,
    to: 2,
    term: 2,
    index: 1,
    logTerm: 1,
    commit: 2,
    entries: [entry(2, 2)],
  });
  node.persist(rd);
  node.raw.advance();
  node.drain();
  expect(node.log()).toEqual(["1/1", "2/2"]);
  expect(node.applied).toEqual(["1:1", "2:2"]);
});

test("committed entries come in pages, and all of them come", () => {
  const cluster = new TestCluster([1], { maxSizePerMessage: 2 });
  cluster.elect(1);
  const node = cluster.node(1);
  for (let i = 0; i < 5; i++) node.propose("x");
  node.process();
  const page = node.raw.ready();
  expect(page.committedEntries).toHaveLength(2);
  node.persist(page);
  node.apply(page);
  node.raw.advance();
  node.drain();
  expect(node.applied).toHaveLength(5);
});

test.each([
  ["noLeader", () => new TestNode(1, voters(1, 2))],
  [
    "forwardingDisabled",
    () => {
      const node = new TestNode(1, voters(1, 2), { disableProposalForwarding: true });
      node.raw.step({ type: "MsgHeartbeat", from: 2, to: 1, term: 1, commit: 0 });
      return node;
    },
  ],
  [
    "transferring",
    () => {
      const cluster = new TestCluster([1, 2]);
      cluster.elect(1);
      cluster.node(1).raw.transferLeader(2);
      return cluster.node(1);
    },
  ],
  [
    "uncommittedLimit",
    () => {
      const cluster = new TestCluster([1, 2], { maxUncommittedBytes: 1 });
      cluster.elect(1);
      cluster.node(1).propose("too long, but alone");
      return cluster.node(1);
    },
  ],
] as const)("a proposal that is dropped says %s", (reason, make) => {
  const node = make();
  let caught: unknown;
  try {
    node.propose("x");
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(ProposalDroppedError);
  expect((caught as ProposalDroppedError).reason).toBe(reason);
});

test("a conf change that does not fit becomes an empty entry", () => {
  const cluster = new TestCluster([1]);
  cluster.elect(1);
  const { raw } = cluster.node(1);
  raw.proposeConfChange({ changes: [{ type: "remove", id: 1 }], transition: "auto" });
  raw.proposeConfChange({ changes: [], transition: "auto" });
  const rd = raw.ready();
  expect(rd.entries.map((e) => [e.type, e.data.length])).toEqual([
    ["normal", 0],
    ["normal", 0],
  ]);
});

test("applying a conf change that cannot be is fatal", () => {
  const node = new TestNode(1, voters(1));
  expect(() =>
    node.raw.applyConfChange({ changes: [{ type: "remove", id: 1 }], transition: "auto" }),
  ).toThrow(InvariantError);
});

test("votes and acks of the node itself cannot come over the network", () => {
  const node = new TestNode(1, voters(1, 2, 3));
  node.raw.campaign();
  expect(() => node.raw.step({ type: "MsgVoteResp", from: 1, to: 1, term: 1, reject: false })).toThrow(
    StepLocalMessageError,
  );
  expect(() => node.raw.step({ type: "MsgHup", from: 2, to: 1, term: 0 } as unknown as Message)).toThrow(
    StepLocalMessageError,
  );
});

const WRONG: [string, object][] = [
  ["a fractional index", { type: "MsgAppResp", index: 1.5 }],
  ["a negative term", { type: "MsgHeartbeat", term: -1 }],
  ["an unsafe integer", { type: "MsgVote", index: 2 ** 53 }],
  [
    "a gap in its entries",
    {
      type: "MsgApp",
      index: 3,
      logTerm: 1,
      entries: [{ index: 5, term: 1, type: "normal", data: bytes("") }],
    },
  ],
  [
    "an entry of an unknown type",
    { type: "MsgProp", entries: [{ index: 0, term: 0, type: "other", data: bytes("") }] },
  ],
  [
    "a broken conf change",
    { type: "MsgProp", term: 0, entries: [{ index: 0, term: 0, type: "confChange", data: bytes("?") }] },
  ],
  ["no entries to propose", { type: "MsgProp", term: 0, entries: [] }],
  ["a snapshot without membership", { type: "MsgSnap", snapshot: { index: 1, term: 1, data: bytes("") } }],
  ["no context", { type: "MsgReadIndex", term: 0 }],
];

test.each(WRONG)("a message with %s is refused and changes nothing", (_, fields) => {
  const cluster = new TestCluster([1, 2, 3]);
  cluster.elect(1);
  const { raw } = cluster.node(1);
  const before = raw.status();
  expect(() => raw.step({ from: 2, to: 1, term: 7, ...fields } as unknown as Message)).toThrow(
    MalformedError,
  );
  expect(raw.status()).toEqual(before);
});

test("fields that a sender left out count as zero", () => {
  const node = new TestNode(1, voters(1, 2, 3));
  node.raw.step({ type: "MsgApp", from: 2, to: 1, term: 1 } as unknown as Message);
  expect(node.drain()).toMatchObject([{ type: "MsgAppResp", index: 0, reject: false }]);
});

test("an answer of a node that is no member is ignored", () => {
  const cluster = new TestCluster([1, 2]);
  cluster.elect(1);
  const { raw } = cluster.node(1);
  raw.step({
    type: "MsgAppResp",
    from: 9,
    to: 1,
    term: 1,
    index: 1,
    reject: false,
    rejectHint: 0,
    logTerm: 0,
  });
  raw.step({ type: "MsgHeartbeatResp", from: 9, to: 1, term: 1 });
  expect(raw.hasReady()).toBe(false);
});

test("an ack for an entry that the leader never had is fatal", () => {
  const cluster = new TestCluster([1, 2]);
  cluster.elect(1);
  const ack: Message = {
    type: "MsgAppResp",
    from: 2,
    to: 1,
    term: 1,
    index: 9,
    reject: false,
    rejectHint: 0,
    logTerm: 0,
  };
  expect(() => cluster.node(1).raw.step(ack)).toThrow(InvariantError);
});

test("messages and their entries are frozen", () => {
  const cluster = new TestCluster([1, 2]);
  cluster.elect(1);
  cluster.node(1).propose("a");
  const [app] = cluster.node(1).raw.ready().messages;
  expect(Object.isFrozen(app)).toBe(true);
  expect(app?.type === "MsgApp" && Object.isFrozen(app.entries) && Object.isFrozen(app.entries[0])).toBe(
    true,
  );
});

test("a status is a copy that does not change any more", () => {
  const cluster = new TestCluster([1, 2, 3]);
  cluster.elect(1);
  const { raw } = cluster.node(1);
  const status = raw.status();
  const before = structuredClone(status);
  cluster.node(1).propose("a");
  cluster.settle();
  expect(status).toEqual(before);
  expect(raw.status().progress.get(2)).toEqual({ match: 2, next: 3, state: "replicate" });
  expect(cluster.node(2).raw.status().progress.size).toBe(0);
});

test("after a restart a node goes on with what is durable, from the index that was applied", () => {
  const cluster = new TestCluster([1]);
  cluster.elect(1);
  const node = cluster.node(1);
  for (const data of ["a", "b", "c"]) node.propose(data);
  cluster.settle();
  const { storage } = node;
  const raw = new RawNode(configOf({ id: 1, storage, applied: 3 }));
  expect(raw.status()).toMatchObject({ term: 1, vote: 1, commit: 4, applied: 3, state: "follower" });
  expect(raw.ready().committedEntries.map((e) => e.index)).toEqual([4]);
});

test("stored state that contradicts itself is fatal", () => {
  const storage = new MemoryStorage(voters(1));
  storage.setHardState({ term: 1, vote: 0, commit: 3 });
  expect(() => new RawNode(configOf({ id: 1, storage }))).toThrow(InvariantError);
  expect(() => new RawNode(configOf({ id: 1, storage: new MemoryStorage(voters(1)), applied: 2 }))).toThrow(
    InvariantError,
  );
});

test.each([
  ["id", { id: 0 }],
  ["heartbeatTick", { heartbeatTick: 0 }],
  ["electionTick", { electionTick: 1, heartbeatTick: 1 }],
  ["maxInflightMessages", { maxInflightMessages: 0 }],
  ["maxSizePerMessage", { maxSizePerMessage: -1 }],
  ["maxUncommittedBytes", { maxUncommittedBytes: Number.NaN }],
  ["checkQuorum", { readOnly: "lease" }],
  ["readOnly", { readOnly: "fast" }],
  ["storage", { storage: undefined }],
  ["random", { random: undefined }],
  ["applied", { applied: -1 }],
])("a wrong %s is named", (field, fields) => {
  const config = { ...configOf({ id: 1, storage: new MemoryStorage(voters(1)) }), ...fields } as Config;
  expect(() => new RawNode(config)).toThrow(ConfigError);
  expect(() => new RawNode(config)).toThrow(field);
});

test("two nodes that are fed the same inputs give the same outputs", () => {
  const run = (): string => {
    const random = new Random(99);
    const cluster = new TestCluster([1, 2, 3], { preVote: true, random: (n) => random.below(n) });
    for (let i = 0; i < 60; i++) {
      cluster.tick();
      for (const id of cluster.leaders()) {
        try {
          cluster.node(id).propose(`${i}`);
        } catch (error) {
          expect(error).toBeInstanceOf(ProposalDroppedError);
        }
      }
    }
    return JSON.stringify(cluster.delivered);
  };
  expect(run()).toBe(run());
});

test("the core touches no clock, disk, network, promise or console", () => {
  const folder = new URL("../../src/", import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const source = readFileSync(new URL(file, folder), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
    expect(source, file).not.toMatch(
      /\b(Date|performance|setTimeout|setInterval|Promise|async|await|console|process)\b[.(\s]/,
    );
    expect(source, file).not.toMatch(/Math\.random|from "(node:|[^."])/);
  }
});
