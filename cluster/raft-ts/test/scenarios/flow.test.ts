/**
 * Flow control as a driver sees it: how much a leader sends how early, and how much it takes (thesis section 10.2.1).
 */
import type { Message, MsgApp } from "raft-ts";
import { expect, test } from "vitest";
import { voters } from "../support/driver.ts";
import { ack, answers, beatResp, change, leaderWith, nodeWith } from "../support/messages.ts";

const apps = (messages: readonly Message[]): MsgApp[] => messages.filter((m) => m.type === "MsgApp");

/** What each append carries, as its entries' indices. */
const carried = (messages: readonly Message[]): number[][] =>
  apps(messages).map((m) => m.entries.map((e) => e.index));

test("a probed follower gets one append in a heartbeat interval, whatever is proposed", () => {
  const node = leaderWith({ conf: voters(1, 2) });
  expect(carried(node.drain())).toEqual([[1]]);
  for (const x of ["a", "b", "c"]) node.propose(x);
  expect(apps(node.drain())).toEqual([]);
  node.tick();
  node.drain();
  expect(carried(answers(node, beatResp(2)))).toEqual([[1, 2, 3, 4]]);
  expect(apps(answers(node, ack({ from: 9, index: 1 })))).toEqual([]);
});

test("the first ack opens the window, and entries follow optimistically", () => {
  const node = leaderWith({ conf: voters(1, 2) });
  node.drain();
  expect(node.raw.status().progress.get(2)).toMatchObject({ state: "probe" });
  answers(node, ack({ index: 1 }));
  expect(node.raw.status().progress.get(2)).toEqual({ match: 1, next: 2, state: "replicate" });
  for (const x of ["a", "b", "c"]) node.propose(x);
  expect(carried(node.drain())).toEqual([[2], [3], [4]]);
  expect(node.raw.status().progress.get(2)).toEqual({ match: 1, next: 5, state: "replicate" });
});

test("messages are cut by size, the window by count, and acks let the rest go", () => {
  const node = leaderWith({ conf: voters(1, 2) }, { maxSizePerMessage: 200, maxInflightMessages: 3 });
  node.drain();
  for (let i = 0; i < 10; i++) node.propose("x".repeat(100));
  node.drain();
  expect(carried(answers(node, ack({ index: 1 })))).toEqual([
    [2, 3],
    [4, 5],
    [6, 7],
  ]);
  expect(carried(answers(node, ack({ index: 3 })))).toEqual([[8, 9]]);
  // One ack for all three frees all three.
  expect(carried(answers(node, ack({ index: 9 })))).toEqual([[10, 11]]);
  // An ack for what was freed already frees nothing.
  expect(carried(answers(node, ack({ index: 3 })))).toEqual([]);
});

test("an entry larger than the limit goes alone, and size 0 means one by one", () => {
  for (const [size, expected] of [
    [10, [[2], [3, 4]]],
    [0, [[2], [3], [4]]],
  ] as const) {
    const node = leaderWith({ conf: voters(1, 2) }, { maxSizePerMessage: size });
    node.drain();
    for (const x of ["x".repeat(50), "y", "z"]) node.propose(x);
    node.drain();
    expect(carried(answers(node, ack({ index: 1 })))).toEqual(expected);
  }
});

test("a full window sends nothing new; each heartbeat brings one empty append that can find out why", () => {
  const node = leaderWith({ conf: voters(1, 2) }, { maxInflightMessages: 2 });
  node.drain();
  answers(node, ack({ index: 1 }));
  for (const x of ["a", "b", "c", "d"]) node.propose(x);
  expect(carried(node.drain())).toEqual([[2], [3]]);
  for (let i = 0; i < 3; i++) {
    node.tick();
    node.drain();
    expect(carried(answers(node, beatResp(2)))).toEqual([[]]);
    node.propose("e");
    expect(carried(node.drain())).toEqual([]);
  }
  // All of it was lost: the refusal of the empty append starts over.
  const out = answers(node, ack({ index: 3, reject: true, rejectHint: 1, logTerm: 1 }));
  expect(carried(out)[0]).toEqual([2, 3, 4, 5, 6, 7, 8]);
});

test("a commit that a full window kept back is told with the ack that opens it", () => {
  const node = leaderWith({}, { maxInflightMessages: 1 });
  node.drain();
  for (const from of [2, 3]) answers(node, ack({ from, index: 1 }));
  node.propose("x");
  node.drain();
  const told = answers(node, ack({ from: 3, index: 2 })).filter((m) => m.type === "MsgApp");
  expect(told.map((m) => m.to)).toEqual([3]);
  expect(apps(answers(node, ack({ from: 2, index: 2 })))).toMatchObject([{ to: 2, commit: 2, entries: [] }]);
});

test("an unreachable follower that replicates is probed from what it is known to hold", () => {
  const node = leaderWith({ conf: voters(1, 2) });
  node.drain();
  answers(node, ack({ index: 1 }));
  for (const x of ["a", "b"]) node.propose(x);
  node.drain();
  node.raw.reportUnreachable(2);
  expect(node.raw.status().progress.get(2)).toEqual({ match: 1, next: 2, state: "probe" });
  node.propose("c");
  expect(carried(node.drain())).toEqual([[2, 3, 4]]);
  // Reports about strangers, or to a node that does not lead, mean nothing.
  node.raw.reportUnreachable(9);
  nodeWith().raw.reportUnreachable(2);
  expect(carried(answers(node, ack({ index: 4 })))).toEqual([[]]);
});

test("a heartbeat's answer brings a probed follower back although nothing is missing", () => {
  const node = leaderWith({ conf: voters(1, 2) });
  node.drain();
  answers(node, ack({ index: 1 }));
  node.raw.reportUnreachable(2);
  node.tick();
  node.drain();
  expect(carried(answers(node, beatResp(2)))).toEqual([[]]);
  answers(node, ack({ index: 1 }));
  expect(node.raw.status().progress.get(2)).toMatchObject({ state: "replicate" });
});

test("uncommitted bytes are limited, and what is applied makes room", () => {
  const node = leaderWith({ conf: voters(1, 2) }, { maxUncommittedBytes: 10 });
  node.drain();
  answers(node, ack({ index: 1 }));
  for (const x of ["12345", "12345"]) node.propose(x);
  expect(() => node.propose("1")).toThrow(expect.objectContaining({ reason: "uncommittedLimit" }));
  // Empty payloads and what others hold already do not count.
  node.propose("");
  node.drain();
  answers(node, ack({ index: 4 }));
  node.propose("1234567890");
  expect(() => node.raw.proposeConfChange(change("+3"))).toThrow(
    expect.objectContaining({ reason: "uncommittedLimit" }),
  );
  node.drain();
  answers(node, ack({ index: 5 }));
  // A refused conf change was not counted as pending.
  node.raw.proposeConfChange(change("+3"));
  expect(node.raw.ready().entries.map((e) => e.type)).toEqual(["confChange"]);
});

test("a leader that was deposed and comes back does not count what it proposed before", () => {
  const node = leaderWith({ conf: voters(1, 2) }, { maxUncommittedBytes: 10 });
  node.propose("1234567890");
  node.drain();
  answers(node, { type: "MsgHeartbeat", from: 2, to: 1, term: 2, commit: 0 });
  node.raw.campaign();
  node.drain();
  answers(node, { type: "MsgVoteResp", from: 2, to: 1, term: 3, reject: false });
  node.propose("1234567890");
  expect(() => node.propose("1")).toThrow(expect.objectContaining({ reason: "uncommittedLimit" }));
});

test("a new leader counts from zero, and 0 bytes is no limit", () => {
  const node = leaderWith({ conf: voters(1, 2), terms: [1, 1] }, { maxUncommittedBytes: 1 });
  node.propose("long, but first");
  expect(() => node.propose("x")).toThrow();
  const free = leaderWith({ conf: voters(1, 2) });
  for (let i = 0; i < 100; i++) free.propose("x".repeat(1000));
  expect(free.raw.status().lastIndex).toBe(101);
});
