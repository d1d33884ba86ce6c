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

test("a note in the background is the new one or the one before, whenever power was lost", () => {
  const [first, ...others] = NOTES;
  for (let at = 0; at <= 12; at++) {
    for (let seed = 1; seed <= 20; seed++) {
      const fs = new MemoryFs();
      new FileNote("/data", fs).write(first!);
      const { operations } = fs;
      fs.onOperation = (n) => {
        if (n === operations + at) throw new CrashError("the machine lost power");
      };
      const note = new FileNote("/data", fs);
      for (const noted of others) note.writeSoon(noted, () => {});
      const found = new FileNote("/data", fs.crash(seededRandom(100 * at + seed))).read();
      expect(NOTES).toContainEqual(found);
    }
  }
});

test("a note in the background waits for nothing, and its beats stand still until the disk has it", () => {
  const fs = new MemoryFs();
  const due: (() => void)[] = [];
  fs.later = (work) => due.push(work);
  const note = new FileNote("/data", fs);
  note.write(NOTES[0]!);
  const done: unknown[] = [];
  expect(note.beats()).not.toBe(note.beats());
  note.writeSoon(NOTES[1]!, (error) => done.push(error));
  expect([note.read(), note.beats()]).toEqual([NOTES[0], note.beats()]);
  due.shift()!();
  expect([note.read(), done]).toEqual([NOTES[1], [undefined]]);
  expect(note.beats()).not.toBe(note.beats());
  fs.onOperation = (_n, what) => {
    if (what === "syncSoon") throw new Error("EIO: i/o error");
  };
  note.writeSoon(NOTES[2]!, (error) => done.push(error));
  due.shift()!();
  expect(done[1]).toMatchObject({ code: "SW_STORAGE_FAILED" });
  expect(note.read()).toEqual(NOTES[1]);
});

test("a note that is waited for takes the place of one in the background, which comes to nothing then", () => {
  const fs = new MemoryFs();
  const due: (() => void)[] = [];
  fs.later = (work) => due.push(work);
  const note = new FileNote("/data", fs);
  const done: unknown[] = [];
  note.writeSoon(NOTES[1]!, (error) => done.push(error));
  note.write(NOTES[2]!);
  due.shift()!();
  expect([note.read(), done]).toEqual([NOTES[2], []]);
});

test("a folder without a note has none, and a note that says nothing is refused", () => {
  const fs = new MemoryFs();
  const note = new FileNote("/data", fs);
  expect(note.read()).toBeUndefined();
  fs.create(note.path).write(0, [Buffer.from("{}")]);
  expect(() => note.read()).toThrow(/does not say which log/);
});
