import { expect, test } from "vitest";
import { CrashError, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { FileNote, type Noted } from "../../../../cluster/storage/store-note.ts";
import { seededRandom } from "../../../../src/base/env.ts";

const NOTES: readonly Noted[] = [1, 2, 3].map((index) => ({
  id: "ab12",
  slots: 64,
  index,
  chain: 7 * index,
}));

/** Writes all notes until power is lost at operation `at`; answers how many were acknowledged. */
function writeUntil(fs: MemoryFs, at: number): number {
  fs.onOperation = (n) => {
    if (n === at) throw new CrashError("the machine lost power");
  };
  let acknowledged = 0;
  try {
    for (const noted of NOTES) {
      new FileNote("/data", fs).write(noted);
      acknowledged++;
    }
  } catch {
    // It says so as a failure of the disk.
  }
  return acknowledged;
}

test("a note that was written is found after power was lost at any moment", () => {
  const whole = new MemoryFs();
  expect(writeUntil(whole, 0)).toBe(NOTES.length);
  for (let at = 1; at <= whole.operations + 1; at++) {
    for (let seed = 1; seed <= 20; seed++) {
      const fs = new MemoryFs();
      const acknowledged = writeUntil(fs, at);
      const found = new FileNote("/data", fs.crash(seededRandom(100 * at + seed))).read();
      expect([NOTES[acknowledged - 1], NOTES[acknowledged]]).toContainEqual(found);
    }
  }
});

test("a folder without a note has none, and a note that says nothing is refused", () => {
  const fs = new MemoryFs();
  const note = new FileNote("/data", fs);
  expect(note.read()).toBeUndefined();
  fs.create(note.path).write(0, [Buffer.from("{}")]);
  expect(() => note.read()).toThrow(/does not say which log/);
});
