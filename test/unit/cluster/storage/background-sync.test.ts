/**
 * Syncs in the background: what is told when, and what is left when the machine stops meanwhile.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { DurableStorage } from "../../../../cluster/storage/durable-storage.ts";
import { MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import type { SynwallError } from "../../../../src/base/errors.ts";
import { openOn } from "./crash-checker.ts";
import { entries, entry, save, saveNow } from "./workload.ts";

/** A disk that syncs when it is told to. */
class HeldFs extends MemoryFs {
  readonly #held: (() => void)[] = [];

  override later = (work: () => void): void => void this.#held.push(work);

  get held(): number {
    return this.#held.length;
  }

  /** The n-th of those that wait. */
  release(n = 0): void {
    this.#held.splice(n, 1)[0]!();
  }
}

/** A crash that takes all that was not synced. */
const NOTHING_KEPT = (bound: number): number => bound - 1;
const SEEDS = 40;
const FIRST = { term: 1, vote: 1, commit: 0 };

function saved(store: DurableStorage, from: number, to: number, bytes = 20): unknown[] {
  const told: unknown[] = [];
  store.save({ entries: entries(1, from, to, bytes), mustSync: true, hardState: FIRST }, (error) =>
    told.push(error),
  );
  return told;
}

describe("a save", () => {
  test("can be read at once, and is told to be durable when it is", () => {
    const fs = new HeldFs();
    const store = openOn(fs);
    const told = saved(store, 1, 3);
    expect([store.lastIndex(), store.initialState().hardState.term]).toEqual([3, 1]);
    expect(told).toEqual([]);
    fs.release();
    expect(told).toEqual([undefined]);
    expect(openOn(fs.crash(NOTHING_KEPT)).lastIndex()).toBe(3);
  });

  test("that was not told to be durable may be gone with the power", () => {
    const fs = new HeldFs();
    const store = openOn(fs);
    saved(store, 1, 3);
    fs.release();
    saved(store, 4, 5);
    expect(openOn(fs.crash(NOTHING_KEPT)).lastIndex()).toBe(3);
  });

  test("is durable with what was written before it, in whatever order syncs end", () => {
    const fs = new HeldFs();
    const store = openOn(fs);
    saved(store, 1, 3);
    const later = saved(store, 4, 5);
    fs.release(1);
    expect(later).toEqual([undefined]);
    expect(openOn(fs.crash(NOTHING_KEPT)).lastIndex()).toBe(5);
  });

  test("that begins a new segment makes the one before it durable first", () => {
    const fs = new HeldFs();
    const store = openOn(fs, { segmentBytes: 1024 });
    saved(store, 1, 3);
    saved(store, 4, 6, 600);
    expect(store.segmentCount).toBe(2);
    expect(openOn(fs.crash(NOTHING_KEPT), { segmentBytes: 1024 }).lastIndex()).toBe(3);
  });

  test("behind one that is not durable yet makes that one durable first, so that no crash leaves a hole", () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fs = new HeldFs();
      const store = openOn(fs, { segmentBytes: 65_536 });
      saved(store, 1, 3, 700);
      saved(store, 4, 6, 700);
      expect(openOn(fs.crash(seededRandom(seed)), { segmentBytes: 65_536 }).lastIndex()).toBeGreaterThan(2);
    }
  });

  test("of a process that was killed before its disk had it does not harm what the next process writes", () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fs = new HeldFs();
      saved(openOn(fs, { segmentBytes: 65_536 }), 1, 3, 700);
      const second = fs.restart();
      const store = openOn(second, { segmentBytes: 65_536 });
      expect(store.lastIndex()).toBe(3);
      second.later = () => undefined;
      saved(store, 4, 6, 700);
      expect(openOn(second.crash(seededRandom(seed)), { segmentBytes: 65_536 }).lastIndex()).toBeGreaterThan(
        2,
      );
    }
  });

  test("whose sync failed is made once more by the next process, since the disk does not have what can be read", () => {
    const fs = new HeldFs();
    saved(openOn(fs, { segmentBytes: 65_536 }), 1, 3);
    fs.onOperation = () => {
      throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
    };
    fs.release();
    const second = fs.restart();
    const store = openOn(second, { segmentBytes: 65_536 });
    saved(store, 4, 6);
    expect(openOn(second.crash(NOTHING_KEPT), { segmentBytes: 65_536 }).lastIndex()).toBe(6);
  });

  test("of a commit index alone is not told before the entries that were written before it are durable", () => {
    const fs = new HeldFs();
    const store = openOn(fs);
    saved(store, 1, 3);
    saveNow(store, { entries: [], mustSync: false, hardState: { ...FIRST, commit: 3 } });
    expect(openOn(fs.crash(NOTHING_KEPT)).lastIndex()).toBe(3);
  });

  test("that the disk refuses later is told, and the store takes nothing more", () => {
    const fs = new HeldFs();
    const store = openOn(fs);
    const told = saved(store, 1, 3);
    fs.onOperation = () => {
      throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
    };
    fs.release();
    expect((told[0] as SynwallError).code).toBe("SW_STORAGE_FAILED");
    fs.onOperation = () => {};
    expect(() => saved(store, 4, 4)).toThrow(/a write failed before/);
  });
});

test("beats stand still while the disk has not finished one and the same write", () => {
  const fs = new HeldFs();
  const store = openOn(fs);
  const moves = (): boolean => {
    const before = store.beats();
    return store.beats() !== before;
  };
  expect(moves()).toBe(true);
  saved(store, 1, 3);
  expect(moves()).toBe(false);
  const before = store.beats();
  fs.release();
  saved(store, 4, 5);
  expect([store.beats() !== before, moves()]).toEqual([true, false]);
});

test("a real disk finishes what it syncs when the store is closed meanwhile", async () => {
  const directory = mkdtempSync(join(tmpdir(), "synwall-sync-"));
  try {
    const store = openOn(undefined, { directory });
    const done = save(store, { entries: [entry(1, 1)], mustSync: true, hardState: FIRST });
    store.close();
    await expect(done).resolves.toBeUndefined();
    const again = openOn(undefined, { directory });
    expect(again.lastIndex()).toBe(1);
    again.close();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
