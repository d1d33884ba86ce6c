/**
 * Property: whatever a Raft node stores, and whenever the machine stops, the next process finds all that was acknowledged, and
 * of the write under way everything or nothing.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { DurableStorage } from "../../cluster/storage/durable-storage.ts";
import type { LogStore } from "../../cluster/storage/log-store.ts";
import { MemoryLogStore } from "../../cluster/storage/memory.ts";
import { CrashError, MemoryFs } from "../../cluster/storage/memory-fs.ts";
import { seededRandom } from "../../src/base/env.ts";
import { CONF, entries, pictureOf, run, type Step } from "../unit/cluster/storage/workload.ts";

/** What a node does next, drawn without knowledge of its log; made valid for it by stepOf(). */
interface Wish {
  readonly kind: "append" | "replace" | "term" | "commit" | "snapshot" | "install";
  readonly count: number;
  readonly bytes: number;
}

const wish: fc.Arbitrary<Wish> = fc.record({
  kind: fc.constantFrom("append", "append", "append", "replace", "term", "commit", "snapshot", "install"),
  count: fc.integer({ min: 1, max: 6 }),
  bytes: fc.constantFrom(0, 10, 100, 700),
});

function stepOf(store: LogStore, { kind, count, bytes }: Wish): Step | undefined {
  const { hardState } = store.initialState();
  const last = store.lastIndex();
  const term = Math.max(1, hardState.term);
  switch (kind) {
    case "append":
      return {
        type: "save",
        hardState: { ...hardState, term },
        entries: entries(term, last + 1, last + count, bytes),
      };
    case "replace": {
      const from = Math.max(hardState.commit + 1, last - count + 1);
      if (from > last) return undefined;
      return {
        type: "save",
        hardState: { ...hardState, term: term + 1, vote: 0 },
        entries: entries(term + 1, from, from + count - 1, bytes),
      };
    }
    case "term":
      return { type: "save", hardState: { ...hardState, term: term + count, vote: count % 4 }, entries: [] };
    case "commit":
      return {
        type: "save",
        hardState: { ...hardState, commit: Math.min(last, hardState.commit + count) },
        entries: [],
      };
    case "snapshot": {
      const index = hardState.commit;
      return index > store.snapshot().index ? { type: "snapshot", index, keep: count - 1 } : undefined;
    }
    case "install": {
      const index = last + count;
      const snapshot = { index, term, confState: CONF, data: Buffer.alloc(bytes, "s") };
      return { type: "save", hardState: { ...hardState, term, commit: index }, entries: [], snapshot };
    }
    default:
      return kind satisfies never;
  }
}

function open(fs: MemoryFs): DurableStorage {
  return DurableStorage.open({
    directory: "/d",
    clusterName: "c",
    nodeId: 1,
    voters: CONF.voters,
    slots: 64,
    fs,
    segmentBytes: 1024,
  });
}

/** Lives until the crash; throws when the next process finds anything else than it may. */
function live(wishes: readonly Wish[], crashAt: number, seed: number, fs = new MemoryFs()): void {
  const model = new MemoryLogStore(CONF);
  let acknowledged = pictureOf(model);
  let possible = acknowledged;
  fs.onOperation = (n) => {
    if (n === crashAt) throw new CrashError("power");
  };
  try {
    const store = open(fs);
    for (const one of wishes) {
      const step = stepOf(model, one);
      if (step === undefined) continue;
      run(model, step);
      possible = pictureOf(model);
      run(store, step);
      acknowledged = possible;
    }
  } catch (error) {
    if (!(error instanceof CrashError)) throw error;
  }
  const store = open(fs.crash(seededRandom(seed)));
  expect([acknowledged, possible]).toContainEqual(pictureOf(store));
  const { commit } = store.initialState().hardState;
  expect(commit).toBeLessThanOrEqual(store.lastIndex());
}

test("nothing that was acknowledged is lost in a crash, and writes are whole", () => {
  fc.assert(
    fc.property(
      fc.array(wish, { minLength: 1, maxLength: 25, size: "max" }),
      fc.integer({ min: 1, max: 150 }),
      fc.nat(),
      (wishes, crashAt, seed) => live(wishes, crashAt, seed),
    ),
    { numRuns: 200 },
  );
});

test("the property notices a disk that acknowledges before it is durable", () => {
  const told = (done: () => void): void => done();
  class LazyFs extends MemoryFs {
    override open(path: string) {
      return { ...super.open(path), sync: () => {}, syncSoon: told };
    }
    override create(path: string) {
      const file = super.create(path);
      let syncs = 0;
      return { ...file, sync: () => (syncs++ === 0 ? file.sync() : undefined), syncSoon: told };
    }
  }
  const append: Wish = { kind: "append", count: 3, bytes: 100 };
  const attempt = (): void => {
    for (let seed = 0; seed < 50; seed++) live([append, append, append], 1_000, seed, new LazyFs());
  };
  expect(attempt).toThrow();
});
