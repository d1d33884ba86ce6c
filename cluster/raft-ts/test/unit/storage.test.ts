import { CompactedError, type Entry, InvariantError, MemoryStorage, UnavailableError } from "raft-ts";
import { expect, test } from "vitest";
import { bytes, voters } from "../support/driver.ts";

const entry = (index: number, term: number, data = ""): Entry => ({
  index,
  term,
  type: "normal",
  data: bytes(data),
});

/** Entries 4..6 of terms 4..6, compacted up to 3. */
function filled(): MemoryStorage {
  const storage = new MemoryStorage(voters(1, 2));
  storage.append([1, 2, 3, 4, 5, 6].map((i) => entry(i, i, "xy")));
  storage.createSnapshot(3, voters(1, 2), bytes("state"));
  storage.compact(3);
  return storage;
}

const terms = (storage: MemoryStorage): number[] =>
  storage.entries(storage.firstIndex(), storage.lastIndex() + 1, Number.POSITIVE_INFINITY).map((e) => e.term);

test("a new storage is empty and knows its membership", () => {
  const storage = new MemoryStorage(voters(1, 2));
  expect(storage.initialState()).toEqual({
    hardState: { term: 0, vote: 0, commit: 0 },
    confState: voters(1, 2),
  });
  expect([storage.firstIndex(), storage.lastIndex(), storage.term(0)]).toEqual([1, 0, 0]);
  expect(storage.snapshot().index).toBe(0);
});

test("term() answers from the entry before the first one to the last one", () => {
  const storage = filled();
  expect([3, 4, 5, 6].map((i) => storage.term(i))).toEqual([3, 4, 5, 6]);
  expect(() => storage.term(2)).toThrow(CompactedError);
  expect(() => storage.term(7)).toThrow(UnavailableError);
});

test("entries() is cut by payload bytes, but never to nothing", () => {
  const storage = filled();
  const count = (maxBytes: number) => storage.entries(4, 7, maxBytes).length;
  expect([0, 1, 2, 3, 4, 5, 6, 7].map(count)).toEqual([1, 1, 1, 1, 2, 2, 3, 3]);
  expect(storage.entries(5, 6, Number.POSITIVE_INFINITY).map((e) => e.index)).toEqual([5]);
});

test("entries() outside the log throws", () => {
  const storage = filled();
  expect(() => storage.entries(3, 5, 100)).toThrow(CompactedError);
  expect(() => storage.entries(4, 8, 100)).toThrow(UnavailableError);
});

test.each([
  { name: "goes on behind", entries: [entry(7, 7)], result: [4, 5, 6, 7] },
  { name: "replaces from its first entry on", entries: [entry(5, 9)], result: [4, 9] },
  { name: "drops what is compacted", entries: [entry(2, 2), entry(3, 3), entry(4, 9)], result: [9] },
  { name: "ignores what is all compacted", entries: [entry(2, 9), entry(3, 9)], result: [4, 5, 6] },
  { name: "takes nothing", entries: [], result: [4, 5, 6] },
])("append() $name", ({ entries, result }) => {
  const storage = filled();
  storage.append(entries);
  expect(terms(storage)).toEqual(result);
});

test("append() refuses a gap before or between entries", () => {
  expect(() => filled().append([entry(8, 8)])).toThrow(InvariantError);
  expect(() => filled().append([entry(7, 7), entry(9, 9)])).toThrow(InvariantError);
});

test("a snapshot replaces the log and must be newer than the one before", () => {
  const storage = filled();
  const snapshot = { index: 9, term: 8, confState: voters(3), data: bytes("s") };
  storage.applySnapshot(snapshot);
  expect([storage.firstIndex(), storage.lastIndex(), storage.term(9)]).toEqual([10, 9, 8]);
  expect(storage.initialState().confState).toEqual(voters(3));
  expect(() => storage.applySnapshot(snapshot)).toThrow(CompactedError);
});

test("a store that was never used takes its membership with a snapshot at 0; one with entries does not", () => {
  const first = { index: 0, term: 0, confState: voters(1, 2), data: bytes("") };
  const storage = new MemoryStorage(voters());
  storage.applySnapshot(first);
  expect(storage.initialState().confState).toEqual(voters(1, 2));
  storage.append([entry(1, 1)]);
  expect(() => storage.applySnapshot(first)).toThrow(CompactedError);
});

test("entries that are kept cannot be altered by who gave them", () => {
  const storage = new MemoryStorage(voters(1));
  const given = { ...entry(1, 1) };
  storage.append([given]);
  Object.assign(given, { term: 9 });
  expect(storage.term(1)).toBe(1);
  expect(storage.entries(1, 2, 100).every(Object.isFrozen)).toBe(true);
});

test("createSnapshot() and compact() stay within the log", () => {
  const storage = filled();
  expect(() => storage.createSnapshot(3, voters(1), bytes(""))).toThrow(CompactedError);
  expect(() => storage.createSnapshot(7, voters(1), bytes(""))).toThrow(InvariantError);
  expect(() => storage.compact(3)).toThrow(CompactedError);
  expect(() => storage.compact(7)).toThrow(InvariantError);
  expect(storage.createSnapshot(5, voters(1), bytes("x"))).toMatchObject({ index: 5, term: 5 });
  storage.compact(6);
  expect([storage.firstIndex(), storage.lastIndex(), storage.term(6)]).toEqual([7, 6, 6]);
});
