/** The log: storage and unstable part as one (Raft section 5.3 and 5.4). */
import { type Entry, InvariantError, MemoryStorage } from "raft-ts";
import { expect, test } from "vitest";
import { RaftLog } from "../../src/log.ts";
import { bytes, voters } from "../support/driver.ts";

const entry = (index: number, term: number, type: Entry["type"] = "normal"): Entry => ({
  index,
  term,
  type,
  data: bytes("x"),
});

/** A log with one entry per term given, the first `stable` of them in the storage. */
function logOf(terms: number[], stable = 0): { log: RaftLog; storage: MemoryStorage } {
  const storage = new MemoryStorage(voters(1));
  const entries = terms.map((term, i) => entry(i + 1, term));
  storage.append(entries.slice(0, stable));
  const log = new RaftLog(storage);
  log.append(entries.slice(stable));
  return { log, storage };
}

const termsOf = (log: RaftLog): (number | undefined)[] =>
  Array.from({ length: log.lastIndex() - log.firstIndex() + 1 }, (_, i) => log.term(log.firstIndex() + i));

for (const stable of [0, 1, 3]) {
  test.each([
    {
      name: "refuses when the entry before is missing",
      prev: [4, 3],
      add: [4],
      result: undefined,
      log: [1, 2, 3],
    },
    {
      name: "refuses when the entry before is another",
      prev: [3, 2],
      add: [4],
      result: undefined,
      log: [1, 2, 3],
    },
    { name: "goes on at the end", prev: [3, 3], add: [4, 4], result: 5, log: [1, 2, 3, 4, 4] },
    { name: "keeps what it has already", prev: [1, 1], add: [2], result: 2, log: [1, 2, 3] },
    { name: "keeps the tail on an empty append", prev: [2, 2], add: [], result: 2, log: [1, 2, 3] },
    { name: "replaces a conflicting tail", prev: [1, 1], add: [4, 4, 4], result: 4, log: [1, 4, 4, 4] },
    { name: "replaces all", prev: [0, 0], add: [5], result: 1, log: [5] },
  ])(`with ${stable} entries durable maybeAppend() $name`, ({ prev, add, result, log: want }) => {
    const { log } = logOf([1, 2, 3], stable);
    const [prevIndex = 0, prevTerm = 0] = prev;
    const entries = add.map((term, i) => entry(prevIndex + 1 + i, term));
    expect(log.maybeAppend({ prevIndex, prevTerm, entries, commit: 0 })).toBe(result);
    expect(termsOf(log)).toEqual(want);
  });
}

test("a follower commits no further than what it was sent (figure 2, AppendEntries step 5)", () => {
  const { log } = logOf([1, 1, 1]);
  log.maybeAppend({ prevIndex: 1, prevTerm: 1, entries: [], commit: 3 });
  expect(log.committed).toBe(1);
  log.maybeAppend({ prevIndex: 1, prevTerm: 1, entries: [entry(2, 1)], commit: 1 });
  expect(log.committed).toBe(1);
  log.maybeAppend({ prevIndex: 1, prevTerm: 1, entries: [entry(2, 1)], commit: 9 });
  expect(log.committed).toBe(2);
});

test("a conflict with a committed entry is fatal", () => {
  const { log } = logOf([1, 1, 1]);
  log.commitTo(2);
  expect(() => log.maybeAppend({ prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)], commit: 0 })).toThrow(
    InvariantError,
  );
});

test("commitTo() never goes back and never passes the end", () => {
  const { log } = logOf([1, 1]);
  log.commitTo(2);
  log.commitTo(1);
  expect(log.committed).toBe(2);
  expect(() => log.commitTo(3)).toThrow(InvariantError);
});

test("appliedTo() stays between what was applied and what is committed", () => {
  const { log } = logOf([1, 1, 1]);
  log.commitTo(2);
  log.appliedTo(2);
  expect(() => log.appliedTo(1)).toThrow(InvariantError);
  expect(() => log.appliedTo(3)).toThrow(InvariantError);
});

test("only an entry of the given term commits by counting (section 5.4.2)", () => {
  const { log } = logOf([1, 2]);
  expect(log.maybeCommit(1, 2)).toBe(false);
  expect(log.maybeCommit(Number.POSITIVE_INFINITY, 2)).toBe(false);
  expect(log.maybeCommit(2, 2)).toBe(true);
  expect(log.maybeCommit(2, 2)).toBe(false);
});

test.each([
  { index: 3, term: 2, is: true },
  { index: 1, term: 3, is: true },
  { index: 2, term: 2, is: false },
  { index: 9, term: 1, is: false },
  { index: 4, term: 2, is: true },
])("a candidate at $index of term $term is up to date: $is (section 5.4.1)", ({ index, term, is }) => {
  expect(logOf([1, 1, 2]).log.isUpToDate(index, term)).toBe(is);
});

test.each([
  // The leader's side of the example in append.ts, and the follower's side with a long tail of higher terms.
  { terms: [1, 3, 3, 3, 5, 5, 5, 5, 5], index: 6, term: 2, hint: { index: 1, term: 1 } },
  { terms: [1, 3, 3, 4, 4, 5, 5, 5, 6], index: 8, term: 3, hint: { index: 3, term: 3 } },
  { terms: [2, 2, 2], index: 3, term: 1, hint: { index: 0, term: 0 } },
  { terms: [2, 2, 2], index: 3, term: 2, hint: { index: 3, term: 2 } },
  { terms: [2, 2, 2], index: 5, term: 2, hint: { index: 5, term: 0 } },
])("in the log $terms another one with term $term at $index agrees at most at $hint.index", (c) => {
  expect(logOf(c.terms).log.findConflictByTerm(c.index, c.term)).toEqual(c.hint);
});

test("a slice joins the durable and the unstable part within its size", () => {
  const { log } = logOf([1, 1, 1, 1, 1, 1], 3);
  const slice = (lo: number, hi: number, max: number) => log.slice(lo, hi, max).map((e) => e.index);
  expect(slice(1, 7, 100)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(slice(2, 6, 3)).toEqual([2, 3, 4]);
  expect(slice(2, 6, 1)).toEqual([2]);
  expect(slice(2, 6, 0)).toEqual([2]);
  expect(slice(5, 7, 100)).toEqual([5, 6]);
  expect(() => slice(5, 8, 100)).toThrow(InvariantError);
});

test("what was handed out for the disk is not handed out again, and is forgotten when durable", () => {
  const { log, storage } = logOf([1, 1, 1]);
  expect(log.unstable.nextEntries()).toHaveLength(3);
  log.unstable.acceptInProgress();
  expect(log.unstable.hasNextEntries).toBe(false);
  log.append([entry(4, 1)]);
  expect(log.unstable.nextEntries().map((e) => e.index)).toEqual([4]);
  storage.append([1, 2, 3].map((i) => entry(i, 1)));
  log.unstable.stableTo(3, 1);
  expect(log.unstable.offset).toBe(4);
  expect(log.unstable.nextEntries().map((e) => e.index)).toEqual([4]);
});

test("entries that were replaced while they were written are not taken for durable", () => {
  const { log } = logOf([1, 1, 1]);
  log.unstable.acceptInProgress();
  log.append([entry(2, 2), entry(3, 2)]);
  log.unstable.stableTo(3, 1);
  expect(log.unstable.offset).toBe(1);
  expect(log.unstable.nextEntries().map((e) => [e.index, e.term])).toEqual([
    [2, 2],
    [3, 2],
  ]);
});

test("a snapshot replaces all, and nothing is applied before it is installed", () => {
  const { log, storage } = logOf([1, 1, 1], 3);
  log.commitTo(2);
  const snapshot = { index: 7, term: 3, confState: voters(1), data: bytes("") };
  log.restore(snapshot);
  expect([log.firstIndex(), log.lastIndex(), log.lastTerm(), log.committed]).toEqual([8, 7, 3, 7]);
  expect(log.hasNextCommitted()).toBe(false);
  expect(log.term(3)).toBeUndefined();
  storage.applySnapshot(snapshot);
  log.unstable.acceptInProgress();
  log.unstable.stableSnapshotTo(7);
  log.appliedTo(7);
  log.append([entry(8, 3)]);
  log.commitTo(8);
  expect(log.nextCommitted(100).map((e) => e.index)).toEqual([8]);
  expect(() => log.restore(snapshot)).toThrow(InvariantError);
});

test("an unapplied membership change is found across pages", () => {
  const { log } = logOf([1, 1, 1, 1]);
  log.append([entry(5, 1, "confChange"), entry(6, 1)]);
  log.commitTo(4);
  expect(log.hasUnappliedConfChange(1)).toBe(false);
  log.commitTo(6);
  expect(log.hasUnappliedConfChange(1)).toBe(true);
  log.appliedTo(5);
  expect(log.hasUnappliedConfChange(1)).toBe(false);
});
