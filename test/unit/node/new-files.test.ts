/**
 * Files of a new member: none of them has its name before it is whole, and a run that fails leaves nothing.
 */
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { CrashError, MemoryFs } from "../../../cluster/storage/memory-fs.ts";
import { seededRandom } from "../../../src/base/env.ts";
import { type Content, NewFiles } from "../../../src/node/new-files.ts";

/** Folders are made on the disk: one that is there needs none. */
const HOME = tmpdir();
const CONTENTS: readonly Content[] = [
  [`${HOME}/ca.crt`, "the CA\n"],
  [`${HOME}/fw1.pem`, "the certificate\n"],
  [`${HOME}/fw1.pem`, "the key\n"],
  [`${HOME}/members.json`, "x".repeat(2_000)],
];
const WHOLE = new Map([
  ["ca.crt", "the CA\n"],
  ["fw1.pem", "the certificate\nthe key\n"],
  ["members.json", `${"x".repeat(2_000)}\n`],
]);
const SEEDS = 12;
/** More than it takes. */
const OPERATIONS_MAX = 60;

/** Makes them on a file system whose n-th operation fails; what was thrown. */
function make(fs: MemoryFs, n: number, failure: Error): unknown {
  fs.onOperation = (operation) => {
    if (operation === n) throw failure;
  };
  try {
    new NewFiles(
      CONTENTS.map(([path]) => path),
      HOME,
      fs,
    ).fill(CONTENTS);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    fs.onOperation = () => {};
  }
}

const found = (fs: MemoryFs): Map<string, string> =>
  new Map(
    fs
      .list(HOME)
      .filter((name) => !name.endsWith(".new"))
      .sort()
      .map((name) => [name, Buffer.from(fs.read(`${HOME}/${name}`)).toString()]),
  );

test("whenever the power is lost, a name that is there has all of its content", () => {
  let deaths = 0;
  for (let n = 1; n < OPERATIONS_MAX; n++) {
    const error = make(new MemoryFs(), n, new CrashError("no power"));
    const isDone = error === undefined;
    if (!isDone) deaths++;
    for (let seed = 0; seed < SEEDS; seed++) {
      const fs = new MemoryFs();
      make(fs, n, new CrashError("no power"));
      const after = found(fs.crash(seededRandom(seed)));
      for (const [name, text] of after) expect(text, `operation ${n}`).toBe(WHOLE.get(name));
      if (isDone) expect(after).toEqual(WHOLE);
    }
    if (isDone) break;
  }
  expect(deaths).toBeGreaterThan(15);
});

test("whatever operation fails, the error says what could not be written, and nothing is left", () => {
  let failures = 0;
  for (let n = 1; n < OPERATIONS_MAX; n++) {
    const fs = new MemoryFs();
    const error = make(fs, n, Object.assign(new Error("ENOSPC: no room"), { code: "ENOSPC" }));
    if (error === undefined && found(fs).size > 0 && fs.operations < n) break;
    if (error === undefined) continue; // What could not be removed was not there.
    failures++;
    expect(error).toMatchObject({
      code: "SW_STORAGE_FAILED",
      message: expect.stringMatching(/^cannot write \/.* \(ENOSPC: no room\)$/),
    });
    expect(fs.list(HOME)).toEqual([]);
  }
  expect(failures).toBeGreaterThan(15);
});
