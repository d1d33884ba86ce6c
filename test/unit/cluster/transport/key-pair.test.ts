/**
 * A certificate and its key are replaced together: whenever the process ends or the machine loses its power, the next start finds
 * the old pair or the new one, and nothing else.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { diskFs, type StorageFs } from "../../../../cluster/storage/fs.ts";
import { CrashError, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { findPair, finishPair, type KeyPair, replacePair } from "../../../../cluster/transport/key-pair.ts";
import { judgeTls, loadTls } from "../../../../cluster/transport/tls.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { CertificateFolder } from "./certificates.ts";

const folder = new CertificateFolder();
afterAll(() => folder.remove());

function pairOf(name: string): KeyPair {
  const files = folder.member(name);
  return { cert: readFileSync(files.cert), key: readFileSync(files.key) };
}

const OLD = pairOf("old");
const NEW = pairOf("new");
/** More than any of these operations needs. */
const OPERATIONS_MAX = 40;
const SEEDS = 12;
/** Of crashes after crashes. */
const SEEDS_AGAIN = 3;
/** Names of one folder may become durable without those of another. */
const APART = { tearBytes: 512, isJournalPerFolder: true };

const LAYOUTS = {
  "one folder": { cert: "/etc/fw1.crt", key: "/etc/fw1.key" },
  "two folders": { cert: "/certs/fw1.crt", key: "/keys/fw1.key" },
  "one file": { cert: "/etc/fw1.pem", key: "/etc/fw1.pem" },
} as const;
type Files = (typeof LAYOUTS)[keyof typeof LAYOUTS];

function put(fs: StorageFs, path: string, chunks: readonly Uint8Array[]): void {
  const file = fs.create(path);
  file.write(0, chunks);
  file.sync();
  file.close();
  fs.syncFolder(path.slice(0, path.lastIndexOf("/")));
}

function withOld(files: Files): MemoryFs {
  const fs = new MemoryFs();
  if (files.cert === files.key) put(fs, files.cert, [OLD.cert, OLD.key]);
  else {
    put(fs, files.cert, [OLD.cert]);
    put(fs, files.key, [OLD.key]);
  }
  return fs;
}

/** Lets `work` die in its n-th operation; false when it came to its end before. */
function diesIn(fs: MemoryFs, n: number, work: () => void): boolean {
  const last = fs.operations + n;
  fs.onOperation = (operation) => {
    if (operation === last) throw new CrashError("no power");
  };
  try {
    work();
    return false;
  } catch (error) {
    if (error instanceof CrashError) return true;
    throw error;
  } finally {
    fs.onOperation = () => undefined;
  }
}

function found(fs: MemoryFs, files: Files): string {
  const pair = findPair(files, (path) => {
    try {
      return fs.read(path);
    } catch {
      return undefined;
    }
  });
  if (pair === undefined) return "no pair";
  const isOf = (of: KeyPair): boolean =>
    Buffer.from(pair.cert).includes(Buffer.from(of.cert)) &&
    Buffer.from(pair.key).includes(Buffer.from(of.key));
  return isOf(OLD) ? "old" : isOf(NEW) ? "new" : "mixed";
}

function namesIn(fs: MemoryFs, { cert, key }: Files): string[] {
  const folders = new Set([cert, key].map((path) => path.slice(0, path.lastIndexOf("/"))));
  return [...folders].flatMap((path) => fs.list(path).map((name) => `${path}/${name}`)).sort();
}

/** What the next process may find: nothing is lost, or what was not synced is there or not. */
function* disksAfter(fs: MemoryFs, isPowerLost: boolean, seeds = SEEDS): Generator<MemoryFs> {
  if (!isPowerLost) {
    yield fs.restart();
    return;
  }
  for (let seed = 0; seed < seeds; seed++) yield fs.crash(seededRandom(seed), APART);
}

const CASES = Object.entries(LAYOUTS).flatMap(([layout, files]) =>
  [false, true].map((isPowerLost) => ({
    layout,
    files,
    how: isPowerLost ? "power lost" : "killed",
    isPowerLost,
  })),
);

describe.each(CASES)("a rotation, files in $layout, $how", ({ files, isPowerLost }) => {
  test("leaves a whole pair after every operation, and the next start finishes it", () => {
    const seen = new Set<string>();
    let deaths = 0;
    for (let n = 1; n < OPERATIONS_MAX; n++) {
      const fs = withOld(files);
      if (!diesIn(fs, n, () => replacePair(files, NEW, fs))) break;
      deaths++;
      for (const next of disksAfter(fs, isPowerLost)) {
        const held = found(next, files);
        seen.add(held);
        finishPair(files, next);
        expect(found(next, files), `operation ${n}`).toBe(held);
        expect(namesIn(next, files), `operation ${n}`).toEqual([...new Set(Object.values(files))].sort());
      }
    }
    expect([...seen].sort()).toEqual(["new", "old"]);
    expect(deaths).toBeGreaterThan(files.cert === files.key ? 4 : 8);
  });

  test("that dies again while it is finished still leaves a whole pair", () => {
    for (let n = 1; n < OPERATIONS_MAX; n++) {
      const fs = withOld(files);
      if (!diesIn(fs, n, () => replacePair(files, NEW, fs))) break;
      for (const first of disksAfter(fs, isPowerLost, SEEDS_AGAIN)) {
        const held = found(first, files);
        for (let m = 1; m < OPERATIONS_MAX; m++) {
          const again = first.restart();
          if (!diesIn(again, m, () => finishPair(files, again))) break;
          for (const next of disksAfter(again, isPowerLost, SEEDS_AGAIN))
            expect(found(next, files)).toBe(held);
        }
      }
    }
  });

  test("that is begun anew after it failed half-way loses no half of the pair that holds", () => {
    for (let n = 1; n < OPERATIONS_MAX; n++) {
      const fs = withOld(files);
      const last = fs.operations + n;
      fs.onOperation = (operation) => {
        if (operation === last) throw Object.assign(new Error("no room"), { code: "ENOSPC" });
      };
      try {
        replacePair(files, OLD, fs);
        break;
      } catch {
        // The process goes on, and tries again.
      }
      for (let m = 1; m < OPERATIONS_MAX; m++) {
        const copy = fs.restart();
        if (!diesIn(copy, m, () => replacePair(files, NEW, copy))) break;
        for (const next of disksAfter(copy, isPowerLost, 1))
          expect(["old", "new"]).toContain(found(next, files));
      }
    }
  });
});

test("two renames without the other half beside them would be found: the way it was done before", () => {
  const files = LAYOUTS["one folder"];
  const naive = (fs: StorageFs): void => {
    for (const which of ["key", "cert"] as const) {
      put(fs, `${files[which]}.tmp`, [NEW[which]]);
      fs.rename(`${files[which]}.tmp`, files[which]);
    }
  };
  const seen = new Set<string>();
  for (let n = 1; n < OPERATIONS_MAX; n++) {
    const fs = withOld(files);
    if (!diesIn(fs, n, () => naive(fs))) break;
    seen.add(found(fs.restart(), files));
  }
  expect(seen).toContain("no pair");
});

test("a member starts on a rotation that was cut short, and `check` finds nothing wrong with it", () => {
  const files = folder.member("fw1");
  const next = folder.member("fw1", "ca-next");
  const tls = { ...files, ca: folder.bundle("ca", "ca-next") };
  writeFileSync(`${files.cert}.new`, readFileSync(next.cert), { mode: 0o600 });
  renameSync(next.key, files.key);
  expect(judgeTls(tls, "fw1", Date.now()).mistakes).toEqual([]);
  const held = loadTls(tls, "fw1");
  expect(finishPair(files, diskFs)).toBe(true);
  expect(readFileSync(files.cert)).toEqual(held.cert);
  expect(finishPair(files, diskFs)).toBe(false);
});
