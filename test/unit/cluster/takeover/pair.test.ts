import { describe, expect, test } from "vitest";
import { type ClusterState, emptyState, type Member } from "../../../../cluster/control/model.ts";
import { judgePair, type PairFacts, type PeerFacts, peerOf } from "../../../../cluster/takeover/pair.ts";

const LEASE_MS = 60;
const NOW_MS = 100_000;

function member(id: number, more: Partial<Member> = {}): Member {
  return {
    ...{ id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 },
    ...{ state: "active", incarnation: 1 },
    ...more,
  } as Member;
}

const WITNESS = member(9, { name: "witness", role: "witness", weight: 0 });

function stateOf(members: readonly Member[], voters?: readonly number[], isProven = true): ClusterState {
  const empty = emptyState(16);
  const table = {
    ...empty.table,
    epoch: 7,
    owner: empty.table.owner.map((_, s) => 1 + (s % 2)),
    backup: empty.table.owner.map((_, s) => 2 - (s % 2)),
    synced: empty.table.synced.map(() => isProven),
  };
  const quorum = voters === undefined ? {} : { quorum: { epoch: 5, voters, outgoing: [], known: voters } };
  return { ...empty, members, table, revision: 9, ...quorum };
}

/** Node 1 met node 2, which is silent for good, and nothing speaks for it. */
const GONE: PeerFacts = {
  isHeard: false,
  lastHeardMs: NOW_MS - 100,
  isReleased: false,
  probes: 3,
  probesHeard: 3,
  isAnswering: false,
  isSpeaking: false,
};

function facts(more: Partial<PairFacts> = {}, peer: Partial<PeerFacts> = {}): PairFacts {
  return {
    nowMs: NOW_MS,
    self: 1,
    founders: [1, 2],
    state: stateOf([member(1), member(2)]),
    leaseMs: LEASE_MS,
    startPatienceMs: 10_000,
    startedMs: 0,
    isAdmitted: true,
    ...more,
    peer: { ...GONE, ...peer },
  };
}

const why = (given: PairFacts): string => {
  const verdict = judgePair(given);
  return verdict.type === "force" ? "force" : verdict.why;
};

describe("a node of a pair", () => {
  test("goes on alone when the other one is silent and its machine does not answer", () => {
    expect(judgePair(facts())).toEqual({ type: "force", peer: 2 });
  });

  test("does not while it hears the other one", () => {
    expect(why(facts({}, { isHeard: true }))).toBe("heard");
  });

  test("does not while the other one speaks at a pace of its own, though its words are further apart than a promise", () => {
    expect(why(facts({}, { isSpeaking: true }))).toBe("speaks");
    expect(why(facts({}, { isSpeaking: true, isReleased: true }))).toBe("force");
  });

  test("waits until what it promised the other one is over", () => {
    expect(why(facts({}, { lastHeardMs: NOW_MS - LEASE_MS }))).toBe("promise");
    expect(why(facts({}, { lastHeardMs: NOW_MS - LEASE_MS * 1.01 - 2 }))).toBe("force");
  });

  test("asks three times whether the machine is there", () => {
    expect(why(facts({}, { probes: 2 }))).toBe("probing");
  });

  test("does not go on while the machine answers", () => {
    expect(why(facts({}, { isAnswering: true }))).toBe("answers");
  });

  test("does not go on when it hears nobody else either", () => {
    expect(why(facts({}, { probesHeard: 0 }))).toBe("deaf");
  });

  test("that has just begun to hear others asks anew", () => {
    expect(why(facts({}, { probes: 50, probesHeard: 2 }))).toBe("probing");
  });

  test("goes on at once when the other one stopped in order, or its process is gone, whoever answers", () => {
    const released = { isReleased: true, lastHeardMs: NOW_MS - 1, probes: 0, isAnswering: true };
    expect(why(facts({}, released))).toBe("force");
  });

  test("gives a silent one time to come back while a copy of its flows is not proven", () => {
    const state = stateOf([member(1), member(2)], undefined, false);
    expect(why(facts({ state }))).toBe("unproven");
    expect(why(facts({ state }, { lastHeardMs: NOW_MS - 10 * LEASE_MS }))).toBe("force");
    expect(why(facts({ state }, { isReleased: true }))).toBe("force");
  });

  test("that has just started gives the other one more time", () => {
    const never = { lastHeardMs: Number.NEGATIVE_INFINITY };
    expect(why(facts({ isAdmitted: false, startedMs: NOW_MS - 9_999 }, never))).toBe("new");
    expect(why(facts({ isAdmitted: false, startedMs: NOW_MS - 10_000 }, never))).toBe("force");
  });

  test("that was never let in has nothing to go on with", () => {
    const state = stateOf([member(1, { incarnation: 0, state: "down" }), member(2)]);
    expect(why(facts({ state }))).toBe("unknown");
  });

  test("that votes alone has nothing to force", () => {
    const state = stateOf([member(1), member(2)], [1]);
    expect(why(facts({ state }))).toBe("alone");
    // Still on the way there: the lost one is needed for it.
    const quorum = { epoch: 6, voters: [1], outgoing: [1, 2], known: [1] };
    expect(why(facts({ state: { ...state, quorum } }))).toBe("force");
  });
});

describe("a pair", () => {
  test("is two nodes that nobody else votes with", () => {
    expect(peerOf(facts())).toBe(2);
    const three = stateOf([member(1), member(2), member(3)], [1, 2]);
    expect(peerOf(facts({ state: three }))).toBe(0);
  });

  test("may have a witness, once that has lost its vote", () => {
    const members = [member(1), member(2), WITNESS];
    expect(peerOf(facts({ founders: [1, 2, 9], state: stateOf(members) }))).toBe(0);
    expect(peerOf(facts({ founders: [1, 2, 9], state: stateOf(members, [1, 2]) }))).toBe(2);
    expect(peerOf(facts({ state: stateOf([member(1)]) }))).toBe(0);
  });
});
