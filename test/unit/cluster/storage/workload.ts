/**
 * A scripted life of a Raft log: what a node stores, with a picture of what the log must hold after each step.
 */
import type { ConfState, Entry, HardState, Snapshot } from "raft-ts";
import type { LogStore, Saved } from "../../../../cluster/storage/log-store.ts";

export const CONF: ConfState = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** What can be seen of a log from outside. */
export interface Picture {
  readonly term: number;
  readonly vote: number;
  readonly snapshotIndex: number;
  readonly snapshotData: string;
  /** "term:index:data" of the entries behind the snapshot. */
  readonly entries: readonly string[];
}

export function pictureOf(store: LogStore): Picture {
  const { hardState } = store.initialState();
  const snapshot = store.snapshot();
  const from = Math.max(store.firstIndex(), snapshot.index + 1);
  const entries =
    from > store.lastIndex() ? [] : store.entries(from, store.lastIndex() + 1, Number.POSITIVE_INFINITY);
  return {
    term: hardState.term,
    vote: hardState.vote,
    snapshotIndex: snapshot.index,
    snapshotData: Buffer.from(snapshot.data).toString("latin1"),
    entries: entries.map((e) => `${e.term}:${e.index}:${Buffer.from(e.data).toString("latin1")}`),
  };
}

export type Step =
  | {
      readonly type: "save";
      readonly hardState?: HardState;
      readonly entries: Entry[];
      readonly snapshot?: Snapshot;
    }
  | { readonly type: "snapshot"; readonly index: number; readonly keep: number }
  /** Another log from here on. */
  | { readonly type: "restart"; readonly snapshot: Snapshot; readonly hardState: HardState };

/** Resolves when all of it is durable. */
export function save(store: LogStore, ready: Saved): Promise<void> {
  return new Promise((resolve, reject) => {
    store.save(ready, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** On a disk whose syncs in the background happen at once. */
export function saveNow(store: LogStore, ready: Saved): void {
  let isDone = false;
  store.save(ready, (error) => {
    if (error !== undefined) throw error;
    isDone = true;
  });
  if (!isDone) throw new Error("this disk lets the caller wait");
}

export function run(
  store: LogStore,
  step: Step,
  put: (store: LogStore, ready: Saved) => unknown = saveNow,
): void {
  if (step.type === "snapshot") {
    store.saveSnapshot(step.index, CONF, Buffer.from(`state at ${step.index}`), step.keep);
    return;
  }
  if (step.type === "restart") {
    store.restart(step.snapshot, step.hardState);
    return;
  }
  const { hardState, entries, snapshot } = step;
  put(store, {
    entries,
    mustSync: true,
    ...(hardState === undefined ? {} : { hardState }),
    ...(snapshot === undefined ? {} : { snapshot }),
  });
}

export function entry(term: number, index: number, bytes = 20): Entry {
  return { term, index, type: "normal", data: Buffer.from(`e${term}.${index}.`.padEnd(bytes, "x")) };
}

export function entries(term: number, from: number, to: number, bytes = 20): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(term, from + i, bytes));
}

/** Elections, appends, truncation, commits, local snapshots with compaction, and a snapshot from the leader. */
export const LIFE: readonly Step[] = [
  { type: "save", hardState: { term: 1, vote: 1, commit: 0 }, entries: [] },
  { type: "save", entries: entries(1, 1, 3) },
  { type: "save", hardState: { term: 1, vote: 1, commit: 3 }, entries: [] },
  { type: "save", hardState: { term: 1, vote: 1, commit: 4 }, entries: entries(1, 4, 9, 300) },
  { type: "save", hardState: { term: 2, vote: 3, commit: 5 }, entries: [] },
  // Another leader: entries 6.. are replaced by a shorter tail.
  { type: "save", hardState: { term: 2, vote: 3, commit: 6 }, entries: entries(2, 6, 7) },
  { type: "snapshot", index: 5, keep: 2 },
  { type: "save", entries: entries(2, 8, 14, 400) },
  { type: "save", hardState: { term: 2, vote: 3, commit: 14 }, entries: entries(2, 15, 20, 100) },
  { type: "snapshot", index: 14, keep: 0 },
  {
    type: "save",
    hardState: { term: 4, vote: 0, commit: 50 },
    entries: [],
    snapshot: { index: 50, term: 3, confState: CONF, data: Buffer.from("from the leader") },
  },
  { type: "save", hardState: { term: 4, vote: 0, commit: 51 }, entries: entries(4, 51, 56, 500) },
  { type: "save", hardState: { term: 5, vote: 2, commit: 56 }, entries: entries(5, 57, 57) },
];

/** The same, and what becomes of a log whose cluster went on in another one, twice. */
export const WHOLE_LIFE: readonly Step[] = [
  ...LIFE,
  // The log of a node that went on alone takes the place of this one: earlier in index, higher in term; and then a later one.
  {
    type: "restart",
    snapshot: {
      index: 7,
      term: 900,
      confState: { ...CONF, voters: [2] },
      data: Buffer.from("state of node 2"),
    },
    hardState: { term: 901, vote: 0, commit: 7 },
  },
  { type: "save", hardState: { term: 901, vote: 2, commit: 8 }, entries: entries(901, 8, 10, 300) },
  {
    type: "restart",
    snapshot: {
      index: 60,
      term: 800,
      confState: { ...CONF, voters: [1] },
      data: Buffer.from("state of node 1"),
    },
    hardState: { term: 801, vote: 0, commit: 60 },
  },
  { type: "save", entries: entries(801, 61, 62) },
];
