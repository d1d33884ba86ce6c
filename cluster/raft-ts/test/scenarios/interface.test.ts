/**
 * The interface itself: one Ready at a time and what is in it, messages that come from anywhere, errors, and what a caller
 * may do with what it was given.
 */
import {
  MalformedError,
  MemoryStorage,
  type Message,
  type MessageType,
  None,
  ProposalDroppedError,
  RawNode,
  type StateType,
  StepLocalMessageError,
} from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, configOf, type TestNode, voters } from "../support/driver.ts";
import {
  ack,
  answers,
  app,
  beat,
  entry,
  leaderWith,
  nodeWith,
  snap,
  snapshotAt,
  vote,
} from "../support/messages.ts";

const CONF = voters(1, 2, 3);

/** One message of each kind, as node `from` would send it in `term`. */
function allKinds(from: number, term: number): Record<MessageType, Message> {
  const head = { from, to: 1, term } as const;
  const context = bytes("ctx");
  return {
    MsgApp: app(head),
    MsgAppResp: ack(head),
    MsgVote: vote(head),
    MsgVoteResp: { type: "MsgVoteResp", ...head, reject: true },
    MsgPreVote: vote({ type: "MsgPreVote", ...head }),
    MsgPreVoteResp: { type: "MsgPreVoteResp", ...head, reject: true },
    MsgHeartbeat: beat(head),
    MsgHeartbeatResp: { type: "MsgHeartbeatResp", ...head, context },
    MsgSnap: snap(snapshotAt(1, 1, CONF), head),
    MsgTimeoutNow: { type: "MsgTimeoutNow", ...head },
    MsgReadIndex: { type: "MsgReadIndex", ...head, context },
    MsgReadIndexResp: { type: "MsgReadIndexResp", ...head, index: 1, context },
    MsgProp: { type: "MsgProp", ...head, entries: [entry(0, 0, "x")] },
    MsgTransferLeader: { type: "MsgTransferLeader", ...head },
  };
}

const KINDS = Object.keys(allKinds(2, 1)) as MessageType[];
const ANSWERS = ["MsgAppResp", "MsgVoteResp", "MsgPreVoteResp", "MsgHeartbeatResp"] as const;

/** A member of {1, 2, 3} in term 5. */
function inRole(role: StateType): TestNode {
  const options = { preVote: role === "precandidate" };
  if (role === "leader") {
    const node = leaderWith({ term: 4 });
    node.drain();
    answers(node, ack({ term: 5, index: 1 }));
    return node;
  }
  const node = nodeWith({ term: role === "candidate" ? 4 : 5 }, options);
  if (role !== "follower") node.raw.campaign();
  node.drain();
  return node;
}

describe("a message", () => {
  for (const role of ["follower", "precandidate", "candidate", "leader"] as const) {
    test.each(KINDS)(`%s of an older term leaves a ${role} as it is`, (kind) => {
      const node = inRole(role);
      const before = node.raw.status();
      const out = answers(node, allKinds(2, 4)[kind]);
      expect(node.raw.status()).toEqual(before);
      // Only who asks for a pre-vote, and a stale leader where that matters, get an answer.
      for (const m of out) expect(["MsgPreVoteResp", "MsgAppResp"]).toContain(m.type);
      const isFromLeader = ["MsgApp", "MsgHeartbeat", "MsgSnap"].includes(kind);
      expect(out.length > 0).toBe(kind === "MsgPreVote" || (role === "precandidate" && isFromLeader));
    });

    test.each(KINDS)(`%s of a stranger in its own term does not break a ${role}`, (kind) => {
      const node = inRole(role);
      try {
        answers(node, allKinds(9, 5)[kind]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProposalDroppedError);
      }
      expect(node.raw.status().term).toBeLessThanOrEqual(kind === "MsgTimeoutNow" ? 6 : 5);
      if (role === "leader") expect(node.raw.status().state).toBe("leader");
      expect(node.raw.status().confState).toEqual(CONF);
    });

    test.each(KINDS)(`%s without a term leaves a ${role} in its term or a later one`, (kind) => {
      const node = inRole(role);
      try {
        answers(node, allKinds(2, 0)[kind]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProposalDroppedError);
      }
      const { term, vote: votedFor } = node.raw.status();
      expect(term).toBe(role === "follower" && kind === "MsgTimeoutNow" ? 6 : 5);
      expect(votedFor).not.toBe(2);
      expect(node.storage.initialState().hardState.term).toBe(term);
    });

    test.each(ANSWERS)(`%s of a stranger in a later term does not move a ${role}`, (kind) => {
      const node = inRole(role);
      const before = node.raw.status();
      expect(answers(node, allKinds(9, 7)[kind])).toEqual([]);
      expect(node.raw.status()).toEqual(before);
      node.raw.step(allKinds(2, 7)[kind]);
      expect(node.raw.status()).toMatchObject({ state: "follower", term: 7, lead: None });
    });
  }

  test("that asks for a vote in no term is refused", () => {
    for (const type of ["MsgVote", "MsgPreVote"] as const) {
      const node = nodeWith({ term: 5 });
      const [m] = answers(node, vote({ type, term: 0, index: 9, logTerm: 9 }));
      expect(m).toEqual({ type: `${type}Resp`, from: 1, to: 2, term: 5, reject: true });
      expect(node.raw.status().vote).toBe(None);
    }
  });

  test("of a leader whose term is over is not looked into", () => {
    const node = nodeWith({ terms: [1, 2, 3], term: 3 });
    const late = app({ term: 2, index: 0, entries: [entry(3, 2)] });
    expect(answers(node, late)).toEqual([]);
    expect(() => node.raw.step({ ...late, term: 3 })).toThrow(MalformedError);
  });

  test("that is one's own answer to a heartbeat counts as proof of a later term, and as nothing else", () => {
    const node = leaderWith();
    const own = { type: "MsgHeartbeatResp", from: 1, to: 1 } as const;
    expect(() => node.raw.step({ ...own, term: 1 })).toThrow(StepLocalMessageError);
    node.raw.step({ ...own, term: 2 });
    expect(node.raw.status()).toMatchObject({ state: "follower", term: 2, lead: None });
  });

  test.each(["MsgHup", "MsgBeat", "MsgUnreachable", "MsgSnapStatus", "MsgCheckQuorum", "", undefined])(
    "of the kind %s is no message from the network",
    (type) => {
      const node = nodeWith();
      expect(() => node.raw.step({ type, from: 2, to: 1, term: 0 } as unknown as Message)).toThrow(
        StepLocalMessageError,
      );
      expect(node.raw.hasReady()).toBe(false);
    },
  );

  test.each([
    { name: "no membership", confState: undefined },
    { name: "half a membership", confState: { voters: [1] } },
    { name: "a membership that contradicts itself", confState: { ...CONF, learners: [1] } },
    { name: "a member 0", confState: voters(0, 1) },
  ])("with a snapshot of $name is malformed and changes nothing", ({ confState }) => {
    const node = nodeWith();
    const before = node.raw.status();
    const snapshot = { ...snapshotAt(5, 1, CONF), confState } as never;
    expect(() => node.raw.step(snap(snapshot, { term: 3 }))).toThrow(MalformedError);
    expect(node.raw.status()).toEqual(before);
  });

  test("may be frozen, and is not altered", () => {
    const node = nodeWith();
    const m = Object.freeze(app({ entries: Object.freeze([Object.freeze(entry(1, 1, "x"))]) as never }));
    const before = structuredClone(m);
    node.raw.step(m);
    node.drain();
    expect(m).toEqual(before);
  });

  test("may have been cloned on its way", () => {
    const leader = leaderWith({ conf: voters(1, 2) });
    const follower = nodeWith({ id: 2, conf: voters(1, 2), term: 1 });
    leader.propose("x");
    for (let round = 0; round < 6; round++) {
      for (const m of leader.drain()) follower.raw.step(structuredClone(m));
      for (const m of follower.drain()) leader.raw.step(structuredClone(m));
      leader.tick();
    }
    expect(follower.applied).toEqual(["2:x"]);
  });
});

describe("a Ready", () => {
  test("is asked for, even with nothing in it", () => {
    const node = nodeWith();
    expect(node.raw.hasReady()).toBe(false);
    expect(node.raw.ready()).toEqual({
      entries: [],
      mustSync: false,
      messages: [],
      messagesAfterPersist: [],
      committedEntries: [],
      readStates: [],
    });
    node.raw.advance();
  });

  test.each([
    { name: "a new term", act: (n: TestNode) => n.raw.step(beat({ term: 4 })), sync: true },
    { name: "a vote", act: (n: TestNode) => n.raw.step(vote({ term: 3, index: 9, logTerm: 3 })), sync: true },
    {
      name: "entries",
      act: (n: TestNode) => n.raw.step(app({ term: 3, index: 2, logTerm: 1, entries: [entry(3, 3)] })),
      sync: true,
    },
    { name: "a commit alone", act: (n: TestNode) => n.raw.step(beat({ term: 3, commit: 2 })), sync: false },
    {
      name: "a refusal",
      act: (n: TestNode) => n.raw.step(app({ term: 3, index: 9, logTerm: 3 })),
      sync: false,
    },
    {
      name: "a snapshot alone",
      act: (n: TestNode) => n.raw.step(snap(snapshotAt(11, 3, voters(1, 2, 3)), { term: 3 })),
      sync: false,
    },
    { name: "a refused vote", act: (n: TestNode) => n.raw.step(vote({ term: 3 })), sync: false },
  ])("with $name has mustSync $sync", ({ act, sync }) => {
    const node = nodeWith({ terms: [1, 1], term: 3 });
    act(node);
    expect(node.raw.ready().mustSync).toBe(sync);
  });

  test("tells of a new leader or role once", () => {
    const node = nodeWith({ term: 1 });
    node.raw.step(beat());
    expect(node.raw.ready().softState).toEqual({ lead: 2, state: "follower" });
    node.raw.advance();
    node.raw.step(beat());
    const rd = node.raw.ready();
    expect(rd.softState).toBeUndefined();
    expect(rd.hardState).toBeUndefined();
  });

  test("that is out keeps the next one back; both calls out of turn are refused", () => {
    const node = nodeWith({ term: 1 });
    expect(() => node.raw.advance()).toThrow();
    node.raw.step(beat());
    node.raw.ready();
    node.raw.step(beat());
    expect(node.raw.hasReady()).toBe(false);
    expect(() => node.raw.ready()).toThrow();
    node.raw.advance();
    expect(node.raw.hasReady()).toBe(true);
  });

  test("may be altered by who has it", () => {
    const node = leaderWith({ conf: voters(1) });
    const rd = node.raw.ready();
    node.persist(rd);
    rd.entries.length = 0;
    rd.committedEntries.push(entry(77, 7));
    rd.messages.length = 0;
    node.raw.advance();
    node.drain();
    expect(node.raw.status()).toMatchObject({ commit: 1, applied: 1 });
  });

  test("of a single node: its vote, its entry and what it commits come one after the other", () => {
    const node = nodeWith({ conf: voters(1) });
    node.raw.campaign();
    const one = node.raw.ready();
    expect(one).toMatchObject({
      hardState: { term: 1, vote: 1, commit: 0 },
      softState: { state: "candidate" },
      entries: [],
    });
    node.persist(one);
    node.raw.advance();
    const two = node.raw.ready();
    expect(two.softState).toEqual({ lead: 1, state: "leader" });
    expect(two.entries).toEqual([{ term: 1, index: 1, type: "normal", data: new Uint8Array(0) }]);
    expect(two.committedEntries).toEqual([]);
    node.persist(two);
    node.raw.advance();
    const three = node.raw.ready();
    expect(three).toMatchObject({ hardState: { term: 1, vote: 1, commit: 1 }, mustSync: false, entries: [] });
    expect(three.committedEntries.map((e) => e.index)).toEqual([1]);
    node.raw.advance();
    expect(node.raw.hasReady()).toBe(false);
  });
});

describe("what is handed in", () => {
  test("None is no node", () => {
    expect(None).toBe(0);
    expect(nodeWith().raw.status()).toMatchObject({ lead: None, vote: None, transferee: None });
  });

  test("a payload may be a Buffer, or be of another realm; anything else is malformed", () => {
    const node = leaderWith({ conf: voters(1) });
    node.raw.propose(Buffer.from("a"));
    node.raw.propose(new Uint8Array(0));
    for (const wrong of ["text", null, undefined, 7, [1, 2], new ArrayBuffer(1)]) {
      expect(() => node.raw.propose(wrong as never)).toThrow(MalformedError);
      expect(() => node.raw.readIndex(wrong as never)).toThrow(MalformedError);
    }
    expect(node.raw.status().lastIndex).toBe(3);
  });

  test("a configuration that is altered afterwards alters nothing", () => {
    const config = configOf({ id: 1, storage: new MemoryStorage(CONF), electionTick: 10 });
    const raw = new RawNode(config);
    config.electionTick = 2;
    config.preVote = true;
    for (let i = 0; i < 9; i++) raw.tick();
    expect(raw.status().state).toBe("follower");
    raw.tick();
    expect(raw.status().state).toBe("candidate");
  });
});
