/**
 * Who may alter what: everything that crosses the interface is a copy or frozen, but for the bytes of snapshots and of
 * messages. And what is not of the agreed shape is refused with the package's own errors, not taken halfway.
 */
import {
  type Config,
  ConfigError,
  type ConfState,
  decodeConfChange,
  encodeConfChange,
  MalformedError,
  MemoryStorage,
  type Message,
  RawNode,
  type Storage,
} from "raft-ts";
import { describe, expect, test } from "vitest";
import { bytes, configOf, text, voters } from "../support/driver.ts";
import {
  ack,
  app,
  beat,
  change,
  entry,
  leaderWith,
  nodeWith,
  snap,
  snapshotAt,
} from "../support/messages.ts";

/** Alters what it is given in every way that a careless holder could. */
function spoil(confState: ConfState): void {
  for (const ids of [confState.voters, confState.votersOutgoing, confState.learners]) ids.push(99);
  Object.assign(confState, { autoLeave: true });
}

function isDeepFrozen(value: unknown): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeepFrozen);
}

describe("a membership", () => {
  test("in a status is the caller's own", () => {
    const node = leaderWith();
    spoil(node.raw.status().confState);
    (node.raw.status().progress as Map<number, unknown>).clear();
    expect(node.raw.status().confState).toEqual(voters(1, 2, 3));
    expect(node.raw.status().progress.size).toBe(3);
  });

  test("that applyConfChange() answers is the caller's own", () => {
    const node = nodeWith();
    spoil(node.raw.applyConfChange(change("~4")));
    expect(node.raw.status().confState).toEqual({ ...voters(1, 2, 3), learners: [4] });
  });

  test("that a store was given, or gives, is not the one that it keeps", () => {
    const given = voters(1, 2);
    const storage = new MemoryStorage(given);
    spoil(given);
    spoil(storage.initialState().confState);
    spoil(storage.snapshot().confState);
    expect(storage.initialState().confState).toEqual(voters(1, 2));
    const snapshot = snapshotAt(3, 1, voters(1, 4));
    storage.applySnapshot(snapshot);
    spoil(snapshot.confState);
    spoil(storage.snapshot().confState);
    expect(storage.initialState().confState).toEqual(voters(1, 4));
    storage.append([entry(4, 1)]);
    spoil(storage.createSnapshot(4, voters(1, 5), bytes("")).confState);
    expect(storage.snapshot().confState).toEqual(voters(1, 5));
  });

  test("in a Ready's snapshot is the driver's own", () => {
    const node = nodeWith();
    node.raw.step(snap(snapshotAt(5, 1, voters(1, 2))));
    spoil(node.raw.ready().snapshot!.confState);
    expect(node.raw.status().confState).toEqual(voters(1, 2));
  });
});

test("a hard state that was stored does not change with the object that it came in, nor with the one that is read", () => {
  const storage = new MemoryStorage(voters(1));
  const hardState = { term: 3, vote: 1, commit: 0 };
  storage.setHardState(hardState);
  hardState.term = 4;
  const read = storage.initialState().hardState as { term: number };
  expect(() => {
    read.term = 5;
  }).toThrow(TypeError);
  expect(storage.initialState().hardState).toEqual({ term: 3, vote: 1, commit: 0 });
});

test("a proposer and a reader may use their buffers again at once", () => {
  const node = leaderWith({ conf: voters(1) });
  node.drain();
  const buffer = bytes("one");
  node.raw.propose(buffer);
  buffer.set(bytes("two"));
  node.raw.propose(buffer);
  buffer.set(bytes("ctx"));
  node.raw.readIndex(buffer);
  buffer.fill(0);
  node.drain();
  expect(node.applied).toEqual(["2:one", "3:two"]);
  expect(node.readStates.map(({ context }) => text(context))).toEqual(["ctx"]);
});

test("messages are frozen through and through", () => {
  const seen: Message[] = [];
  const follower = nodeWith({ term: 1 });
  follower.raw.step(beat());
  follower.raw.propose(bytes("x"));
  follower.raw.proposeConfChange(change("+4"));
  follower.raw.readIndex(bytes("r"));
  seen.push(...follower.drain());
  const leader = leaderWith({ snapshot: snapshotAt(5, 1, voters(1, 2, 3)) });
  leader.raw.step(ack({ term: 2, from: 2, index: 5, reject: true }));
  leader.propose("x");
  seen.push(...leader.drain());
  for (const m of seen) expect(isDeepFrozen(m), m.type).toBe(true);
  expect(new Set(seen.map((m) => m.type))).toEqual(
    new Set(["MsgApp", "MsgHeartbeatResp", "MsgProp", "MsgReadIndex", "MsgSnap"]),
  );
});

describe("a store of the application's own", () => {
  /** Answers its own arrays, all that it has, whatever the size that is asked for. */
  class Careless implements Storage {
    readonly log = [entry(1, 1, "aaaa"), entry(2, 1, "bbbb"), entry(3, 1, "cccc")];
    initialState() {
      return { hardState: { term: 1, vote: 0, commit: 0 }, confState: voters(1, 2) };
    }
    entries() {
      return this.log;
    }
    term(i: number) {
      return i === 0 ? 0 : 1;
    }
    firstIndex() {
      return 1;
    }
    lastIndex() {
      return 3;
    }
    snapshot() {
      return snapshotAt(0, 0, voters(1, 2));
    }
  }

  test("keeps its arrays to itself, and its largesse does not make messages too large", () => {
    const storage = new Careless();
    const raw = new RawNode(configOf({ id: 1, storage, maxSizePerMessage: 8 }));
    raw.campaign();
    raw.ready();
    raw.advance();
    raw.step({ type: "MsgVoteResp", from: 2, to: 1, term: 2, reject: false });
    raw.step(ack({ term: 2, index: 3, reject: true }));
    const last = raw.ready().messages.at(-1);
    expect(last).toMatchObject({ type: "MsgApp", index: 0 });
    expect(last?.type === "MsgApp" && last.entries.map((e) => e.index)).toEqual([1, 2]);
    expect(Object.isFrozen(storage.log)).toBe(false);
  });
});

describe("what is not of the agreed shape", () => {
  test.each([null, undefined, 7, "MsgApp"])("%s is no message", (m) => {
    expect(() => nodeWith().raw.step(m as never)).toThrow(MalformedError);
  });

  test.each([{}, 5, "x", [null], [5], [undefined]])("%j are no entries", (entries) => {
    const node = nodeWith();
    expect(() => node.raw.step(app({ entries } as never))).toThrow(MalformedError);
    expect(() => node.raw.step({ type: "MsgProp", from: 2, to: 1, term: 0, entries } as never)).toThrow(
      MalformedError,
    );
    expect(node.raw.hasReady()).toBe(false);
  });

  test.each([{ index: -1 }, { term: -1 }, { index: 1.5 }, { data: "x" }])(
    "a snapshot with %j is none",
    (fields) => {
      const snapshot = { ...snapshotAt(5, 1, voters(1, 2, 3)), ...fields } as never;
      expect(() => nodeWith().raw.step(snap(snapshot))).toThrow(MalformedError);
    },
  );

  test("a context that is null counts as none, as others left out", () => {
    const node = nodeWith({ term: 1 });
    node.raw.step({ ...beat(), context: null } as never);
    expect(node.drain()).toEqual([{ type: "MsgHeartbeatResp", from: 1, to: 2, term: 1 }]);
  });

  test.each([
    null,
    undefined,
    {},
    { changes: [null], transition: "auto" },
    { changes: [], transition: "auto", context: "text" },
    { changes: [], transition: "auto", context: [1] },
  ])("%j is no conf change", (cc) => {
    const node = leaderWith({ conf: voters(1) });
    const { lastIndex } = node.raw.status();
    expect(() => node.raw.proposeConfChange(cc as never)).toThrow(MalformedError);
    expect(() => node.raw.applyConfChange(cc as never)).toThrow(MalformedError);
    expect(() => encodeConfChange(cc as never)).toThrow(MalformedError);
    expect(node.raw.status().lastIndex).toBe(lastIndex);
  });

  test.each([null, undefined, "text", [1, 2, 3, 4, 5]])("%j is no encoded conf change", (data) => {
    expect(() => decodeConfChange(data as never)).toThrow(MalformedError);
  });

  test.each([null, undefined, {}])("%j is no configuration", (config) => {
    expect(() => new RawNode(config as unknown as Config)).toThrow(ConfigError);
  });
});
