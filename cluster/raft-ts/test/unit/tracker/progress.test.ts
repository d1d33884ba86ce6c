/** Flow control of one follower (Raft section 5.3; the three states after etcd/raft). */
import { InvariantError } from "raft-ts";
import { expect, test } from "vitest";
import { Inflights } from "../../../src/tracker/inflights.ts";
import { Progress } from "../../../src/tracker/progress.ts";

function progress(next = 5, maxInflight = 2): Progress {
  return new Progress({ next, maxInflight, isLearner: false });
}

test("a probed follower gets one append until it answers a heartbeat", () => {
  const pr = progress();
  expect(pr.isPaused).toBe(false);
  pr.sentEntries(3);
  expect(pr.isPaused).toBe(true);
  expect(pr.next).toBe(5);
  pr.resume();
  pr.sentEntries(0);
  expect(pr.isPaused).toBe(true);
});

test("a replicating follower gets appends ahead of its answers, up to the window", () => {
  const pr = progress(1);
  pr.becomeReplicate();
  pr.sentEntries(2);
  expect([pr.next, pr.isPaused]).toEqual([3, false]);
  pr.sentEntries(1);
  expect([pr.next, pr.isPaused, pr.canSendEntries]).toEqual([4, true, false]);
  // A heartbeat response lets one empty append through.
  pr.resume();
  pr.sentEntries(0);
  expect(pr.isPaused).toBe(true);
  // An ack frees what it covers.
  expect(pr.maybeUpdate(2)).toBe(true);
  pr.freeInflightsTo(2);
  expect([pr.isPaused, pr.canSendEntries, pr.inflightCount]).toEqual([false, true, 1]);
});

test("an old ack changes nothing, a new one moves match and never lowers next", () => {
  const pr = progress(1);
  pr.becomeReplicate();
  pr.sentEntries(9);
  expect(pr.maybeUpdate(4)).toBe(true);
  expect([pr.match, pr.next]).toEqual([4, 10]);
  expect(pr.maybeUpdate(4)).toBe(false);
  expect(pr.maybeUpdate(3)).toBe(false);
  expect([pr.match, pr.next]).toEqual([4, 10]);
});

test.each([
  // Probe: only the refusal of the append under way counts.
  { state: "probe", match: 0, next: 10, rejected: 9, hint: 9, isTaken: true, after: 9 },
  { state: "probe", match: 0, next: 10, rejected: 9, hint: 3, isTaken: true, after: 4 },
  { state: "probe", match: 0, next: 10, rejected: 5, hint: 3, isTaken: false, after: 10 },
  { state: "probe", match: 4, next: 10, rejected: 9, hint: 1, isTaken: true, after: 5 },
  // Replicate: anything above match falls back behind it.
  { state: "replicate", match: 5, next: 10, rejected: 5, hint: 5, isTaken: false, after: 10 },
  { state: "replicate", match: 5, next: 10, rejected: 9, hint: 9, isTaken: true, after: 6 },
])("$state at match $match, refused $rejected with hint $hint", (c) => {
  const pr = progress(1);
  pr.maybeUpdate(c.match);
  if (c.state === "replicate") {
    pr.becomeReplicate();
    pr.sentEntries(c.next - pr.next);
  } else pr.next = c.next;
  expect(pr.maybeDecrement(c.rejected, c.hint)).toBe(c.isTaken);
  expect(pr.next).toBe(c.after);
});

test("a snapshot pauses all, and probing goes on behind it when it arrived", () => {
  const pr = progress(1);
  pr.becomeSnapshot(10);
  expect([pr.isPaused, pr.pendingSnapshot, pr.next]).toEqual([true, 10, 11]);
  pr.resume();
  expect(pr.isPaused).toBe(true);
  expect(() => pr.sentEntries(1)).toThrow(InvariantError);
  pr.becomeProbe();
  expect([pr.state, pr.next, pr.pendingSnapshot]).toEqual(["probe", 11, 0]);
});

test("after a failed snapshot probing starts over behind match", () => {
  const pr = progress(1);
  pr.maybeUpdate(2);
  pr.becomeSnapshot(10);
  pr.pendingSnapshot = 0;
  pr.becomeProbe();
  expect(pr.next).toBe(3);
});

test("a newer commit is worth an append only when the follower can use it", () => {
  const pr = progress(1);
  pr.becomeReplicate();
  pr.sentEntries(5);
  pr.sentCommit(3);
  expect(pr.canBumpCommit(3)).toBe(false);
  expect(pr.canBumpCommit(4)).toBe(true);
  pr.sentCommit(5);
  expect(pr.canBumpCommit(9)).toBe(false);
});

test("the window is a ring that frees in order and refuses more than it holds", () => {
  const window = new Inflights(3);
  for (const last of [1, 4, 6]) window.add(last);
  expect(window.isFull).toBe(true);
  expect(() => window.add(7)).toThrow(InvariantError);
  window.freeTo(0);
  expect(window.count).toBe(3);
  window.freeTo(4);
  expect(window.count).toBe(1);
  for (const last of [8, 9]) window.add(last);
  expect(window.isFull).toBe(true);
  window.freeTo(8);
  expect(window.count).toBe(1);
  window.reset();
  expect(window.count).toBe(0);
});
