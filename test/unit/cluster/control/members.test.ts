/**
 * Members and voters as commands: who may come, who may go, and how voters follow each other.
 */
import type { ConfState } from "raft-ts";
import { describe, expect, test } from "vitest";
import { planConfChange } from "../../../../cluster/control/conf-plan.ts";
import { applyCommand, decodeMachine, encodeMachine } from "../../../../cluster/control/machine.ts";
import {
  type ClusterState,
  type Command,
  emptyState,
  STORE_VOTER,
} from "../../../../cluster/control/model.ts";
import { planQuorum, type QuorumFacts } from "../../../../cluster/control/quorum.ts";
import { confState } from "./cluster-of-drivers.ts";

const NOW_MS = 1_000_000;
const TOKEN = {
  id: "t1",
  key: "ab".repeat(32),
  role: "node",
  weight: 3,
  expiresWallMs: NOW_MS + 1000,
} as const;

function up(id: number, role: "node" | "witness" = "node"): Command {
  const weight = role === "node" ? 1 : 0;
  return { type: "up", member: { id, name: `fw${id}`, role, address: `192.0.2.${id}`, weight } };
}

function join(name: string, more: Partial<Extract<Command, { type: "join" }>> = {}): Command {
  return {
    type: "join",
    token: "t1",
    name,
    role: "node",
    address: "192.0.2.9",
    aboveId: 3,
    atWallMs: NOW_MS,
    ...more,
  };
}

function then(state: ClusterState, ...commands: Command[]): ClusterState {
  return commands.reduce((before, command) => {
    const { cluster, result } = applyCommand(before, command);
    expect(result).toEqual({ ok: true, changed: true });
    return cluster;
  }, state);
}

function refusal(state: ClusterState, command: Command): string {
  const { cluster, result } = applyCommand(state, command);
  expect(cluster).toBe(state);
  return result.ok ? "" : result.reason;
}

function down(state: ClusterState, node: number): ClusterState {
  const { incarnation } = state.members.find(({ id }) => id === node)!;
  return then(state, {
    type: "down",
    node,
    incarnation,
    baseEpoch: state.table.epoch,
    table: state.table,
  });
}

const trio = then(emptyState(16), up(1), up(2), up(3, "witness"));
const withToken = then(trio, { type: "token", token: TOKEN });

describe("joining", () => {
  test("gives a new member an id that nobody had, the token's weight, and no life yet", () => {
    const state = then(withToken, join("fw9"));
    expect(state.members.at(-1)).toEqual({
      id: 4,
      name: "fw9",
      role: "node",
      address: "192.0.2.9",
      weight: 3,
      state: "down",
      incarnation: 0,
    });
    expect(then(state, { type: "setState", node: 4, state: "removed" }).members).toHaveLength(4);
  });

  test("never gives an id again, nor one that a founder may still come up with", () => {
    const gone = then(withToken, join("fw9"), { type: "setState", node: 4, state: "removed" });
    const again = then(gone, { type: "token", token: { ...TOKEN, id: "t2" } }, join("fw9", { token: "t2" }));
    expect(again.members.at(-1)).toMatchObject({ id: 5, name: "fw9" });
    expect(then(withToken, join("fw9", { aboveId: 7 })).members.at(-1)!.id).toBe(8);
  });

  test.each([
    ["a token that was used", join("fw8", { address: "192.0.2.8" }), /was used by member 4 already/],
    ["a token that nobody issued", join("fw8", { token: "t7" }), /is not known/],
  ])("refuses %s", (_what, command, why) => {
    expect(refusal(then(withToken, join("fw9")), command)).toMatch(why);
  });

  test.each([
    ["a token that is out", join("fw9", { atWallMs: NOW_MS + 3000 }), /expired 2 s ago/],
    ["another role than the token's", join("w", { role: "witness" }), /is for a node/],
    ["a name that is taken", join("fw2"), /there is a fw2 already/],
    ["an address that is taken", join("fw9", { address: "192.0.2.2" }), /belongs to fw2/],
  ])("refuses %s", (_what, command, why) => {
    expect(refusal(withToken, command)).toMatch(why);
  });

  test("a member that lost its disk comes back under a new id, with a token in its name, once it is down", () => {
    const token = { ...TOKEN, name: "fw2" };
    const state = then(trio, { type: "token", token });
    const again = join("fw2", { address: "192.0.2.2" });
    expect(refusal(state, again)).toMatch(/fw2 cannot become removed: it is joining/);
    const back = then(down(state, 2), again);
    expect(back.members.map(({ id, name, state: is }) => [id, name, is])).toEqual([
      [1, "fw1", "joining"],
      [2, "fw2", "removed"],
      [3, "fw3", "active"],
      [4, "fw2", "down"],
    ]);
    const member = { id: 4, name: "fw2", role: "node", address: "192.0.2.2", weight: 1 } as const;
    expect(then(back, { type: "up", member }).members.at(-1)).toMatchObject({ state: "joining" });
  });
});

describe("the operator", () => {
  test("keeps a disabled node out over a restart, and lets it in again", () => {
    const served = then(trio, { type: "setState", node: 1, state: "active" });
    const disabled = down(then(served, { type: "enable", node: 2, isEnabled: false }), 2);
    const back = then(disabled, up(2));
    expect(back.members[1]).toMatchObject({ state: "drained", isDisabled: true });
    expect(refusal(back, { type: "setState", node: 2, state: "joining" })).toMatch(/disabled/);
    expect(then(back, { type: "enable", node: 2, isEnabled: true }).members[1]).toMatchObject({
      state: "joining",
    });
  });

  test("has a disabled node empty itself, whoever asks that it serve again meanwhile", () => {
    const served = then(trio, { type: "setState", node: 1, state: "active" });
    const leaving = then(served, { type: "enable", node: 2, isEnabled: false });
    expect(leaving.members[1]).toMatchObject({ state: "draining", isDisabled: true });
    expect(refusal(leaving, { type: "setState", node: 2, state: "active" })).toMatch(/disabled; enable it/);
    expect(then(leaving, { type: "enable", node: 2, isEnabled: true }).members[1]).toMatchObject({
      state: "active",
    });
  });

  test("does not disable the only node that serves", () => {
    expect(refusal(trio, { type: "enable", node: 2, isEnabled: false })).toMatch(/no other active node/);
  });

  test("sets a weight that outlives a restart of a member with another one in its configuration", () => {
    const weighed = down(then(trio, { type: "weight", node: 2, weight: 5 }), 2);
    expect(then(weighed, up(2)).members[1]).toMatchObject({ weight: 5 });
    expect(refusal(trio, { type: "weight", node: 3, weight: 5 })).toMatch(/witness/);
  });

  test("removes neither the last node nor the last voter", () => {
    const alone = down(then(emptyState(16), up(1), up(3, "witness")), 1);
    expect(refusal(alone, { type: "setState", node: 1, state: "removed" })).toMatch(/the last node/);
    const quorum = { epoch: 1, voters: [2], outgoing: [], known: [2] };
    const single = down({ ...trio, quorum }, 2);
    expect(refusal(single, { type: "setState", node: 2, state: "removed" })).toMatch(/the last voter/);
  });

  test("removes nobody without whose vote the others have no majority, in either set", () => {
    const idle = down(trio, 2);
    const remove = { type: "setState", node: 2, state: "removed" } as const;
    const quorum = { epoch: 1, voters: [1, 2], outgoing: [], known: [1, 2] };
    expect(refusal({ ...idle, quorum }, remove)).toMatch(/no majority without its vote/);
    const under = { ...quorum, voters: [1], outgoing: [1, 2] };
    expect(refusal({ ...idle, quorum: under }, remove)).toMatch(/no majority without its vote/);
    then({ ...idle, quorum: { ...under, outgoing: [] } }, remove);
    then({ ...idle, quorum: { ...quorum, voters: [1, 2, 3] } }, remove);
    then({ ...idle, quorum: { ...quorum, voters: [1, 2, STORE_VOTER] } }, remove);
  });
});

const FACTS: QuorumFacts = {
  self: 1,
  founders: [1, 2, 3],
  away: new Set(),
  heard: new Set([1, 2, 3]),
  present: new Set([1, 2, 3]),
  isCalm: true,
};

function known(state: ClusterState, ...nodes: number[]): ClusterState {
  const { epoch } = state.quorum!;
  return then(state, ...nodes.map((node): Command => ({ type: "votersKnown", node, epoch })));
}

describe("voters", () => {
  const away = { ...FACTS, away: new Set([2]), heard: new Set([1, 3]), present: new Set([1, 3]) };

  test("stay as they are while nobody is away", () => {
    expect(planQuorum(trio, FACTS)).toBeUndefined();
  });

  test("follow each other by a step of both, each known to a majority of every set before the next", () => {
    const both = then(trio, planQuorum(trio, away)!);
    expect(both.quorum).toMatchObject({ voters: [1], outgoing: [1, 2, 3], known: [] });
    expect(both.table.epoch).toBe(trio.table.epoch + 1);
    expect(planQuorum(known(both, 1), away)).toBeUndefined();
    const done = { type: "votersDone", baseEpoch: both.table.epoch } as const;
    expect(refusal(known(both, 1), done)).toMatch(/not known to a majority/);
    const calm = known(both, 1, 3);
    expect(planQuorum(calm, { ...away, isCalm: false })).toBeUndefined();
    expect(then(calm, planQuorum(calm, away)!).quorum).toMatchObject({ voters: [1], outgoing: [] });
  });

  test("go back to those before at once when those that follow cannot be asked", () => {
    const both = then(trio, planQuorum(trio, away)!);
    // Whoever was to vote alone is gone, known or not; the others elected 3.
    const gone = { ...FACTS, self: 3, heard: new Set([2, 3]), present: new Set([2, 3]), isCalm: false };
    for (const state of [both, known(both, 1), known(both, 1, 3)]) {
      const back = planQuorum(state, gone)!;
      expect(back).toMatchObject({ type: "voters", from: [1], to: [1, 2, 3] });
      const before = then(state, back);
      expect(before.quorum).toMatchObject({ voters: [1, 2, 3], outgoing: [], known: [] });
      expect(before.table.epoch).toBe(both.table.epoch + 1);
      expect(refusal(before, back)).toMatch(/epoch moved on/);
      // The next change waits, as after any other step.
      const lone = { ...gone, away: new Set([1]), isCalm: true };
      expect(planQuorum(before, lone)).toBeUndefined();
      expect(planQuorum(known(before, 2, 3), lone)).toMatchObject({ from: [1, 2, 3], to: [2, 3] });
    }
  });

  test("go nowhere when neither can be asked, and not back to anybody else", () => {
    const both = then(trio, planQuorum(trio, away)!);
    expect(planQuorum(known(both, 1, 3), { ...FACTS, self: 3, heard: new Set([3]) })).toBeUndefined();
    const command = { type: "voters", baseEpoch: both.table.epoch, from: [1], to: [2, 3] } as const;
    expect(refusal(both, command)).toMatch(/another change/);
  });

  test("one that votes alone goes back to that when the others are gone before they were known", () => {
    const quorum = { epoch: 0, voters: [1], outgoing: [], known: [1] };
    const grown = then({ ...trio, quorum }, planQuorum({ ...trio, quorum }, FACTS)!);
    expect(grown.quorum).toMatchObject({ voters: [1, 2, 3], outgoing: [1] });
    const left = { ...FACTS, heard: new Set([1]), present: new Set([1]), isCalm: false };
    expect(then(grown, planQuorum(grown, left)!).quorum).toMatchObject({ voters: [1], outgoing: [] });
  });

  test("of three, three are left when the fourth is away", () => {
    const four = then(trio, up(4));
    const facts = { ...FACTS, founders: [1, 2, 3, 4], away: new Set([4]) };
    expect(planQuorum(four, facts)).toMatchObject({ to: [1, 2, 3] });
  });

  test("a leader that makes way leaves its vote to an active node that holds the log", () => {
    const served = then(
      trio,
      { type: "setState", node: 1, state: "active" },
      { type: "setState", node: 2, state: "active" },
      { type: "setState", node: 1, state: "draining" },
    );
    const quorum = { epoch: 1, voters: [1], outgoing: [], known: [1] };
    const unwitnessed = { ...FACTS, away: new Set([3]), present: new Set([1, 2]) };
    const draining = { ...served, quorum };
    const drained = then(draining, { type: "setState", node: 1, state: "drained" });
    for (const state of [draining, drained]) {
      expect(planQuorum(state, unwitnessed)).toMatchObject({ to: [2] });
      expect(planQuorum(state, { ...unwitnessed, present: new Set([1]) })).toBeUndefined();
      // It has the vote, and leads: it keeps it.
      const moved = { ...state, quorum: { ...quorum, voters: [2], known: [2] } };
      expect(planQuorum(moved, { ...unwitnessed, self: 2 })).toBeUndefined();
    }
    expect(
      planQuorum(then(drained, { type: "setState", node: 1, state: "joining" }), unwitnessed),
    ).toBeUndefined();
    expect(planQuorum({ ...down(trio, 2), quorum }, unwitnessed)).toBeUndefined();
  });

  test("a witness that leads leaves two rather than itself alone", () => {
    expect(planQuorum(trio, { ...away, self: 3 })).toMatchObject({ to: [1, 3] });
  });

  test("of two that are all, one that is disabled and empty, or a witness, leaves the vote to the other one", () => {
    const two = then(emptyState(16), up(1), up(2), { type: "setState", node: 1, state: "active" });
    const facts = { ...FACTS, founders: [1, 2], present: new Set([1, 2]) };
    expect(planQuorum(two, facts)).toBeUndefined();
    const leaving = then(two, { type: "enable", node: 2, isEnabled: false });
    expect(planQuorum(leaving, facts)).toBeUndefined();
    const empty = then(leaving, { type: "setState", node: 2, state: "drained" });
    for (const self of [1, 2]) {
      for (const isPair of [false, true])
        expect(planQuorum(empty, { ...facts, self, isPair })).toMatchObject({ to: [1] });
    }
    expect(planQuorum(empty, { ...facts, self: 2, present: new Set([2]) })).toBeUndefined();
    const quorum = { epoch: 1, voters: [1], outgoing: [], known: [1] };
    expect(planQuorum({ ...empty, quorum }, facts)).toBeUndefined();
    const back = then({ ...empty, quorum }, { type: "enable", node: 2, isEnabled: true });
    expect(planQuorum(back, facts)).toMatchObject({ to: [1, 2] });
    const witnessed = then(emptyState(16), up(1), up(3, "witness"));
    expect(planQuorum(witnessed, { ...FACTS, founders: [1, 3] })).toMatchObject({ to: [1] });
  });

  test("one that is disabled and empty votes where that is worth something", () => {
    const served = then(trio, { type: "setState", node: 1, state: "active" });
    const empty = then(
      served,
      { type: "enable", node: 2, isEnabled: false },
      { type: "setState", node: 2, state: "drained" },
    );
    expect(planQuorum(empty, FACTS)).toBeUndefined();
    // The last node that is left serves, whatever was said of it before.
    const last = { ...FACTS, self: 2, away: new Set([1]), present: new Set([2, 3]) };
    expect(planQuorum(down(empty, 1), last)).toMatchObject({ to: [2] });
  });

  test("a member that joined votes once it was up and holds the log", () => {
    const joined = then(withToken, join("fw9"));
    const present = new Set([1, 2, 3, 4]);
    expect(planQuorum(joined, { ...FACTS, present })).toBeUndefined();
    const member = { id: 4, name: "fw9", role: "node", address: "192.0.2.9", weight: 1 } as const;
    const isUp = then(joined, { type: "up", member });
    expect(planQuorum(isUp, FACTS)).toBeUndefined();
    expect(planQuorum(isUp, { ...FACTS, present, promising: FACTS.present })).toBeUndefined();
    expect(planQuorum(isUp, { ...FACTS, present })).toMatchObject({ to: [1, 2, 3, 4] });
  });

  test("a change is refused on another epoch, from other voters, to nobody, and to strangers", () => {
    const command = { type: "voters", baseEpoch: trio.table.epoch, from: [1, 2, 3], to: [1, 2] } as const;
    const state = then(trio, command);
    expect(refusal(state, command)).toMatch(/epoch moved on/);
    const baseEpoch = state.table.epoch;
    expect(refusal(state, { ...command, baseEpoch, from: [1, 2] })).toMatch(/another change/);
    expect(refusal(state, { ...command, baseEpoch })).toMatch(/voters are 1,2, not 1,2,3/);
    expect(refusal(trio, { ...command, to: [] })).toMatch(/no set of voters/);
    expect(refusal(trio, { ...command, to: [1, 9] })).toMatch(/member 9 is not known/);
  });

  test("survive a snapshot, as tokens do", () => {
    const state = then(withToken, planQuorum(withToken, away)!, join("fw9"));
    const decoded = decodeMachine(encodeMachine({ cluster: state, recent: [] }));
    expect(decoded).toEqual({ ok: true, value: { cluster: state, recent: [] } });
  });
});

describe("Raft's configuration", () => {
  const now = confState([1, 2, 3]);

  test("is left alone while it says the same, and while voters change", () => {
    expect(planConfChange(trio, [1, 2, 3], now)).toBeUndefined();
    const quorum = { epoch: 9, voters: [1], outgoing: [1, 2, 3], known: [] };
    expect(planConfChange({ ...trio, quorum }, [1, 2, 3], now)).toBeUndefined();
  });

  test("has a new member as a learner, and keeps a voter that is away as one", () => {
    const joined = then(withToken, join("fw9"));
    expect(planConfChange(joined, [1, 2, 3], now)?.changes).toEqual([{ type: "addLearner", id: 4 }]);
    const quorum = { epoch: 9, voters: [1, 3], outgoing: [], known: [] };
    expect(planConfChange({ ...trio, quorum }, [1, 2, 3], now)?.changes).toEqual([
      { type: "addLearner", id: 2 },
    ]);
  });

  test("loses who was removed, and keeps a founder that never came up", () => {
    const state = { ...trio, quorum: { epoch: 9, voters: [1, 3], outgoing: [], known: [] } };
    const gone = then(down(state, 2), { type: "setState", node: 2, state: "removed" });
    const learners: ConfState = { ...confState([1, 3]), learners: [2, 4] };
    expect(planConfChange(gone, [1, 2, 3, 4], learners)?.changes).toEqual([{ type: "remove", id: 2 }]);
  });
});
