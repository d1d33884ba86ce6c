/**
 * Crash checker: lives the scripted life on a disk that dies at each of its operations in turn, and looks at what the next
 * process finds. Answers the first thing that is wrong in words, so that a test can expect nothing, and a planted bug something.
 */

import { DurableStorage } from "../../../../cluster/storage/durable-storage.ts";
import type { StorageFs } from "../../../../cluster/storage/fs.ts";
import { MemoryLogStore } from "../../../../cluster/storage/memory.ts";
import { CrashError, type CrashModel, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { SynwallError } from "../../../../src/base/errors.ts";
import { CONF, entry, WHOLE_LIFE as LIFE, type Picture, pictureOf, run, saveNow } from "./workload.ts";

export const SEGMENT_BYTES = 2048;
export const FOUNDING = { voters: [1, 2, 3], slots: 64 };

export function openOn(fs: StorageFs | undefined, change: object = {}): DurableStorage {
  return DurableStorage.open({
    directory: "/data",
    clusterName: "edge",
    nodeId: 1,
    ...FOUNDING,
    ...(fs === undefined ? {} : { fs }),
    segmentBytes: SEGMENT_BYTES,
    ...change,
  });
}

/** What the log must look like after each step; [0] is before the first. */
export const PICTURES: readonly Picture[] = (() => {
  const model = new MemoryLogStore(CONF);
  const pictures = [pictureOf(model)];
  for (const step of LIFE) {
    run(model, step);
    pictures.push(pictureOf(model));
  }
  return pictures;
})();

/** What the machine may do to unsynced bytes and names when it stops; the process alone may stop as well. */
export const CRASHES: readonly (CrashModel | "processOnly")[] = [
  { tearBytes: 512, isJournalPerFolder: false },
  { tearBytes: 512, isJournalPerFolder: true },
  { tearBytes: 64, isJournalPerFolder: true },
  { tearBytes: 8, isJournalPerFolder: true },
  { tearBytes: 1, isJournalPerFolder: true },
  "processOnly",
];

/** How many operations the whole life takes on such a disk. */
export function operationsOf(makeFs: () => MemoryFs = () => new MemoryFs()): number {
  const fs = makeFs();
  const store = openOn(fs);
  for (const step of LIFE) run(store, step);
  return fs.operations;
}

/** Runs the life until the disk dies at operation `at`; answers how many steps were acknowledged. */
export function runUntilCrash(fs: MemoryFs, at: number): number {
  fs.onOperation = (n) => {
    if (n === at) throw new CrashError("the machine lost power");
  };
  let acknowledged = 0;
  try {
    const store = openOn(fs);
    for (const step of LIFE) {
      run(store, step);
      acknowledged++;
    }
  } catch (error) {
    if (!(error instanceof CrashError)) throw error;
  }
  return acknowledged;
}

/** Crashes at every single operation, in every way. Undefined when all that was acknowledged was always found. */
export function firstLoss(makeFs: () => MemoryFs = () => new MemoryFs(), seeds = 3): string | undefined {
  const total = operationsOf(makeFs);
  for (let at = 1; at <= total; at++) {
    for (const crash of CRASHES) {
      for (let seed = 1; seed <= (crash === "processOnly" ? 1 : seeds); seed++) {
        const disk = makeFs();
        const acknowledged = runUntilCrash(disk, at);
        const after =
          crash === "processOnly" ? disk.restart() : disk.crash(seededRandom(at * 7919 + seed), crash);
        const wrong = wrongAfter(after, acknowledged);
        if (wrong !== undefined) return `operation ${at}, ${JSON.stringify(crash)}, seed ${seed}: ${wrong}`;
      }
    }
  }
  return undefined;
}

/** A crash is no damage: the next process must start, find all, be able to go on, and find that as well. */
function wrongAfter(fs: MemoryFs, acknowledged: number): string | undefined {
  try {
    const store = openOn(fs);
    const found = JSON.stringify(pictureOf(store));
    const allowed = [PICTURES[acknowledged], PICTURES[acknowledged + 1]];
    if (!allowed.some((picture) => JSON.stringify(picture) === found)) return `found ${found}`;
    const index = store.lastIndex() + 1;
    saveNow(store, {
      entries: [entry(9, index)],
      mustSync: true,
      hardState: { term: 9, vote: 1, commit: store.snapshot().index },
    });
    store.close();
    const again = openOn(fs.crash(() => 0));
    if (again.lastIndex() !== index || again.term(index) !== 9)
      return "what was written after the crash is gone";
    return undefined;
  } catch (error) {
    if (error instanceof SynwallError) return `refused: ${error.code}: ${error.message}`;
    throw error;
  }
}

/**
 * Lets the disk fail (not crash) at every single operation, once or for good, then lets the machine crash. Undefined when the
 * store told so for ever after, and all that was acknowledged was found.
 */
export function firstLossByFailure(makeFs: () => MemoryFs = () => new MemoryFs()): string | undefined {
  const total = operationsOf(makeFs);
  for (const isOnce of [true, false]) {
    for (let at = 1; at <= total; at++) {
      const disk = makeFs();
      disk.onOperation = (n) => {
        if (n === at || (!isOnce && n > at)) {
          throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
        }
      };
      const { acknowledged, wrong } = liveOn(disk);
      if (wrong !== undefined) return `failure at operation ${at}: ${wrong}`;
      const lost = wrongAfter(disk.crash(seededRandom(at)), acknowledged);
      if (lost !== undefined) return `failure at operation ${at}: ${lost}`;
    }
  }
  return undefined;
}

/** Lives until the store fails, then tries on as a careless driver would. */
function liveOn(disk: MemoryFs): { acknowledged: number; wrong?: string } {
  let acknowledged = 0;
  let store: DurableStorage | undefined;
  try {
    store = openOn(disk);
    for (const step of LIFE) {
      run(store, step);
      acknowledged++;
    }
  } catch (error) {
    if (!(error instanceof SynwallError) || error.code !== "SW_STORAGE_FAILED") {
      return { acknowledged, wrong: `threw ${String(error)}` };
    }
    if (error.message.includes("\n")) return { acknowledged, wrong: "more than one line" };
    if (store === undefined) return { acknowledged };
    try {
      for (const step of LIFE.slice(acknowledged)) {
        run(store, step);
        acknowledged++;
      }
      return { acknowledged };
    } catch (again) {
      const isSame = again instanceof SynwallError && again.code === "SW_STORAGE_FAILED";
      return isSame ? { acknowledged } : { acknowledged, wrong: `then threw ${String(again)}` };
    }
  }
  return { acknowledged };
}
