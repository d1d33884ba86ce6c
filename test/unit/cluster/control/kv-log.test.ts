import { expect, test } from "vitest";
import {
  advance,
  ENTRIES_A_READ,
  LOG_START,
  type LogEntry,
  type LogPosition,
} from "../../../../cluster/control/kv-keys.ts";
import { continueLog } from "../../../../cluster/control/kv-log.ts";
import { mayAsk, StorePromises } from "../../../../cluster/control/kv-vote.ts";
import { emptyState, type Member } from "../../../../cluster/control/model.ts";

const entry = (index: number, text = `entry ${index}`): LogEntry => ({
  index,
  data: new TextEncoder().encode(text),
});
const log = (count: number, change?: number): LogEntry[] =>
  Array.from({ length: count }, (_, i) => entry(i + 1, i + 1 === change ? "another" : `entry ${i + 1}`));
const endOf = (entries: readonly LogEntry[]): LogPosition =>
  entries.reduce((at, { data }) => advance(at, data), LOG_START);
const snapshotAt = (at: LogPosition) => ({ snapshot: { at, data: new Uint8Array(0) }, modRevision: 9 });

test("entries after the last applied one are applied in order, those before it are passed over", () => {
  const all = log(5);
  const next = continueLog(endOf(log(2)), { head: endOf(all), entries: all });
  expect(next).toEqual({ type: "entries", entries: all.slice(2), isMore: false });
});

test("nothing new is nothing to apply", () => {
  expect(continueLog(endOf(log(3)), { head: endOf(log(3)), entries: [] })).toEqual({
    type: "entries",
    entries: [],
    isMore: false,
  });
});

test("a log that ends before the applied entry, or that is gone, differs", () => {
  expect(continueLog(endOf(log(3)), { head: endOf(log(2)), entries: [] }).type).toBe("differs");
  expect(continueLog(endOf(log(3)), { entries: [] }).type).toBe("differs");
});

test("a log of the same length with one other entry differs, wherever that is", () => {
  for (let change = 1; change <= 4; change++) {
    const other = log(4, change);
    const next = continueLog(endOf(log(4)), { head: endOf(other), entries: [] });
    expect(next.type).toBe("differs");
    expect(continueLog(endOf(log(4)), { head: endOf([...other, entry(5)]), entries: [entry(5)] }).type).toBe(
      "differs",
    );
  }
});

test("a gap asks for the snapshot, and begins with it", () => {
  const all = log(8);
  const image = { head: endOf(all), entries: all.slice(5) };
  expect(continueLog(endOf(log(2)), image)).toEqual({ type: "readSnapshot" });
  const snapshot = snapshotAt(endOf(log(6)));
  expect(continueLog(endOf(log(2)), { ...image, snapshot })).toEqual({
    type: "snapshot",
    snapshot: snapshot.snapshot,
  });
});

test("a gap behind the newest snapshot is no log that can be applied", () => {
  const all = log(8);
  const snapshot = snapshotAt(endOf(log(2)));
  expect(continueLog(endOf(log(2)), { head: endOf(all), entries: all.slice(5), snapshot }).type).toBe(
    "differs",
  );
});

test("a page that is full is applied, and the log read on; what follows it is judged at its end", () => {
  const all = log(ENTRIES_A_READ + 10);
  const page = all.slice(0, ENTRIES_A_READ);
  const first = continueLog(LOG_START, { head: endOf(all), entries: page });
  expect(first).toEqual({ type: "entries", entries: page, isMore: true });
  const second = continueLog(endOf(page), { head: endOf(all), entries: all.slice(ENTRIES_A_READ) });
  expect(second).toMatchObject({ type: "entries", isMore: false });
});

// ---------------------------------------------------------------- the store's vote

const member = (id: number, state: Member["state"]): Member => ({
  id,
  name: `fw${id}`,
  role: "node",
  address: `192.0.2.${id}`,
  weight: 1,
  state,
  incarnation: 2,
});
const stateAt = (epoch: number, ...members: Member[]) => {
  const state = emptyState(16);
  return { ...state, members, table: { ...state.table, epoch } };
};

test("the store fences nobody before the takeover is committed", () => {
  const promises = new StorePromises(200);
  expect(promises.fence(stateAt(4, member(1, "active")), 1, 4, 0)).toBeUndefined();
  expect(promises.fence(stateAt(5, member(1, "down")), 1, 4, 0)).toMatchObject({ epoch: 4, knownEpoch: 5 });
});

test("a node that never asked the store holds no promise of it; one that did holds it from when it was seen", () => {
  const promises = new StorePromises(200);
  promises.saw(2, 70, 1_000);
  const state = stateAt(5, member(1, "down"), member(2, "down"));
  expect(promises.fence(state, 1, 4, 1_050)!.remainingMs).toBe(0);
  expect(promises.fence(state, 2, 4, 1_050)!.remainingMs).toBe(150);
  expect(promises.fence(state, 2, 4, 1_201)!.remainingMs).toBe(0);
});

test("to see a promise again does not make it younger, a newer one does", () => {
  const promises = new StorePromises(200);
  promises.saw(2, 70, 1_000);
  promises.saw(2, 70, 1_100);
  const state = stateAt(5, member(2, "down"));
  expect(promises.fence(state, 2, 4, 1_100)!.remainingMs).toBe(100);
  promises.saw(2, 71, 1_100);
  promises.saw(2, 69, 1_150);
  expect(promises.fence(state, 2, 4, 1_100)!.remainingMs).toBe(200);
});

test("who is alive in the newer table is fenced for the old epoch, but not known to be down", () => {
  const promises = new StorePromises(200);
  expect(promises.fence(stateAt(5, member(1, "active")), 1, 4, 0)).toMatchObject({ epoch: 4, knownEpoch: 0 });
});

test("only a life that is in, with the table that was applied, may ask for a promise", () => {
  const state = stateAt(5, member(1, "active"), member(2, "down"));
  expect(mayAsk(state, 1, 5, 2)).toBe(true);
  expect(mayAsk(state, 1, 4, 2)).toBe(false);
  expect(mayAsk(state, 1, 5, 1)).toBe(false);
  expect(mayAsk(state, 2, 5, 2)).toBe(false);
  expect(mayAsk(state, 3, 5, 2)).toBe(false);
});
