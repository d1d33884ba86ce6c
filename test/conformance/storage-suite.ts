/**
 * Conformance of log stores: what the driver may expect of any of them, in memory or on a disk.
 */
import { CompactedError, UnavailableError } from "raft-ts";
import { describe, expect, test } from "vitest";
import type { LogStore } from "../../cluster/storage/log-store.ts";
import { CONF, entries, entry, pictureOf, run, save, WHOLE_LIFE } from "../unit/cluster/storage/workload.ts";

export interface StorageWorld {
  /** An empty store of a cluster with voters 1, 2 and 3. */
  open(): LogStore;
  /** The same store in the next process; undefined where nothing outlives a process. */
  reopen: ((store: LogStore) => LogStore) | undefined;
}

const term1 = { term: 1, vote: 1, commit: 0 };

export function storageConformance(name: string, world: StorageWorld): void {
  describe(name, () => {
    test("an empty store has the configured membership, no entries and no votes", () => {
      const store = world.open();
      expect(store.initialState()).toEqual({ hardState: { term: 0, vote: 0, commit: 0 }, confState: CONF });
      expect([store.firstIndex(), store.lastIndex(), store.snapshot().index, store.term(0)]).toEqual([
        1, 0, 0, 0,
      ]);
      store.close();
    });

    test("what save() took can be read at once", async () => {
      const store = world.open();
      const saved = save(store, { hardState: term1, entries: entries(1, 1, 5), mustSync: true });
      expect(store.entries(2, 5, Number.POSITIVE_INFINITY).map((e) => e.index)).toEqual([2, 3, 4]);
      expect(store.entries(1, 6, 0)).toHaveLength(1);
      expect([store.term(5), store.lastIndex()]).toEqual([1, 5]);
      expect(store.initialState().hardState).toEqual(term1);
      await saved;
      store.close();
    });

    test("a commit index alone can be read at once", async () => {
      const store = world.open();
      await save(store, { hardState: term1, entries: entries(1, 1, 5), mustSync: true });
      await save(store, { hardState: { ...term1, commit: 4 }, entries: [], mustSync: false });
      expect(store.initialState().hardState.commit).toBe(4);
      store.close();
    });

    test("a later entry with a lower index cuts the log", async () => {
      const store = world.open();
      await save(store, { hardState: term1, entries: entries(1, 1, 5), mustSync: true });
      await save(store, { hardState: { ...term1, term: 2 }, entries: [entry(2, 3)], mustSync: true });
      expect([store.lastIndex(), store.term(3), store.term(2)]).toEqual([3, 2, 1]);
      store.close();
    });

    test("a snapshot keeps the entries that it is told to keep, and no others", async () => {
      const store = world.open();
      await save(store, { hardState: { ...term1, commit: 20 }, entries: entries(1, 1, 20), mustSync: true });
      expect(store.bytesSinceSnapshot()).toBe(400);
      store.saveSnapshot(15, CONF, Uint8Array.of(1), 5);
      expect([
        store.firstIndex(),
        store.lastIndex(),
        store.snapshot().index,
        store.bytesSinceSnapshot(),
      ]).toEqual([11, 20, 15, 0]);
      expect(() => store.entries(10, 12, 1)).toThrow(CompactedError);
      expect(() => store.term(9)).toThrow(CompactedError);
      expect(() => store.entries(20, 22, 1)).toThrow(UnavailableError);
      store.close();
    });

    test("a snapshot of the leader replaces the log and the membership", async () => {
      const store = world.open();
      await save(store, { hardState: term1, entries: entries(1, 1, 5), mustSync: true });
      const confState = { ...CONF, voters: [1, 2, 3, 4] };
      const snapshot = { index: 30, term: 2, confState, data: Uint8Array.of(7, 8) };
      await save(store, {
        hardState: { term: 3, vote: 0, commit: 30 },
        entries: [],
        snapshot,
        mustSync: true,
      });
      expect([store.firstIndex(), store.lastIndex(), store.term(30)]).toEqual([31, 30, 2]);
      expect([...store.snapshot().data]).toEqual([7, 8]);
      expect(store.initialState().confState.voters).toEqual([1, 2, 3, 4]);
      await save(store, { entries: entries(3, 31, 32), mustSync: true });
      expect(store.lastIndex()).toBe(32);
      store.close();
    });

    test("another log takes the place of this one, whatever its indices and terms are", async () => {
      const store = world.open();
      await save(store, {
        hardState: { term: 9, vote: 1, commit: 40 },
        entries: entries(9, 1, 40),
        mustSync: true,
      });
      const confState = { ...CONF, voters: [2], learners: [1, 3] };
      const snapshot = { index: 12, term: 5, confState, data: Uint8Array.of(4) };
      store.restart(snapshot, { term: 6, vote: 0, commit: 12 });
      expect([store.firstIndex(), store.lastIndex(), store.term(12)]).toEqual([13, 12, 5]);
      expect(store.initialState()).toEqual({ hardState: { term: 6, vote: 0, commit: 12 }, confState });
      await save(store, { entries: entries(6, 13, 14), mustSync: true });
      expect([store.lastIndex(), store.bytesSinceSnapshot()]).toEqual([14, 40]);
      store.close();
    });

    test.runIf(world.reopen !== undefined)("the next process finds all of it", () => {
      let store = world.open();
      for (const step of WHOLE_LIFE) {
        run(store, step, save);
        const before = pictureOf(store);
        store = world.reopen!(store);
        expect(pictureOf(store)).toEqual(before);
      }
      store.close();
    });
  });
}
