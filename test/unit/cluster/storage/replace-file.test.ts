/**
 * A small file that is replaced: whenever the machine loses its power, its next start finds the former content or the new one.
 */
import { expect, test } from "vitest";
import { CrashError, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { replaceFile } from "../../../../cluster/storage/replace-file.ts";
import { formatMembers } from "../../../../config/members-file.ts";
import { seededRandom } from "../../../../src/base/env.ts";

const FILE = "/data/members.json";
const SEEDS = 12;
/** More than it takes. */
const OPERATIONS_MAX = 20;

const fw1 = { id: 1, name: "fw1", role: "node", address: "192.0.2.1", weight: 1 } as const;
const OLD = formatMembers({ founders: [1], members: [fw1] });
const NEW = formatMembers({ founders: [1], members: [fw1, { ...fw1, id: 2, name: "fw2" }] });

/** What is found after a loss of power in each operation, and after the last. */
function foundAfter(replace: (fs: MemoryFs) => void): Set<string> {
  const found = new Set<string>();
  for (let n = 1; n < OPERATIONS_MAX; n++) {
    const fs = new MemoryFs();
    replaceFile(FILE, OLD, fs);
    const last = fs.operations + n;
    fs.onOperation = (operation) => {
      if (operation === last) throw new CrashError("no power");
    };
    let isDead = false;
    try {
      replace(fs);
    } catch (error) {
      if (!(error instanceof CrashError)) throw error;
      isDead = true;
    }
    for (let seed = 0; seed < SEEDS; seed++)
      found.add(Buffer.from(fs.crash(seededRandom(seed)).read(FILE)).toString());
    if (!isDead) break;
  }
  return found;
}

test("a members file that is replaced when the power is lost is the former one or the new one", () => {
  expect(foundAfter((fs) => replaceFile(FILE, NEW, fs))).toEqual(new Set([OLD, NEW]));
});

test("once it is replaced it is the new one, whenever the power is lost", () => {
  const fs = new MemoryFs();
  replaceFile(FILE, OLD, fs);
  replaceFile(FILE, NEW, fs);
  for (let seed = 0; seed < SEEDS; seed++)
    expect(Buffer.from(fs.restart().crash(seededRandom(seed)).read(FILE)).toString()).toBe(NEW);
});

test("a new name for what was not synced would be found: the way it was done before", () => {
  const found = foundAfter((fs) => {
    fs.create(`${FILE}.new`).write(0, [Buffer.from(NEW)]);
    fs.rename(`${FILE}.new`, FILE);
  });
  expect([...found].filter((text) => text !== OLD && text !== NEW)).not.toEqual([]);
});

test("a disk without room is named, with the file, as the end of a process that needs it; the former content stays", () => {
  const fs = new MemoryFs();
  replaceFile(FILE, OLD, fs);
  fs.onOperation = () => {
    throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  };
  expect(() => replaceFile(FILE, NEW, fs)).toThrow(
    expect.objectContaining({
      code: "SW_STORAGE_FAILED",
      message: "/data/members.json: ENOSPC: no space left on device",
    }),
  );
  expect(Buffer.from(fs.read(FILE)).toString()).toBe(OLD);
});
