import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";

/** Every line of the module that concerns us, written out here so that the table cannot lose one. */
const IDS = [
  "FFW_RUL_EXT.1.1",
  "FFW_RUL_EXT.1.2",
  "FFW_RUL_EXT.1.3",
  "FFW_RUL_EXT.1.4",
  "FFW_RUL_EXT.1.5a",
  "FFW_RUL_EXT.1.5b",
  "FFW_RUL_EXT.1.6a",
  "FFW_RUL_EXT.1.6b",
  "FFW_RUL_EXT.1.6c",
  "FFW_RUL_EXT.1.6d",
  "FFW_RUL_EXT.1.6e",
  "FFW_RUL_EXT.1.6f",
  "FFW_RUL_EXT.1.6g",
  "FFW_RUL_EXT.1.6h",
  "FFW_RUL_EXT.1.7a",
  "FFW_RUL_EXT.1.7b",
  "FFW_RUL_EXT.1.7c",
  "FFW_RUL_EXT.1.8",
  "FFW_RUL_EXT.1.9",
  "FFW_RUL_EXT.1.10",
  "FFW_RUL_EXT.2.1",
  "FDP_RIP.2.1",
  "FMT_SMF.1",
  "FAU_GEN.1",
  "FPT_ITT.1.1",
  "FCO_CPC_EXT.1",
  "FAU_STG_EXT.5.1",
];

interface Line {
  readonly id: string;
  readonly met: string;
  readonly tests: string;
}

const lines: Line[] = readFileSync(join(ROOT_DIRECTORY, "docs/pp-module.md"), "utf8")
  .split("\n")
  .map((row) => row.split(" | "))
  .filter(([id]) => /^\| F[A-Z]+_/.test(id ?? ""))
  .map((cells) => ({ id: cells[0]!.slice(2), met: cells[2]!, tests: cells[4]! }));

/** Names of the tests in a file: the first string after test( or test.each(...)(. */
function namesIn(path: string): string {
  const text = readFileSync(join(ROOT_DIRECTORY, path), "utf8");
  return [...text.matchAll(/(?:\btest\(|\)\()\s*(["'`])((?:(?!\1).)+)/g)]
    .map(([, , name]) => name)
    .join("\n");
}

/** Ids in the names of tests, each once. */
function idsIn(path: string): string[] {
  return [
    ...new Set([...namesIn(path).matchAll(/F[A-Z]{2}_[A-Z]+(?:_EXT)?(?:\.\d+)+[a-h]?/g)].map(([id]) => id)),
  ];
}

test("docs/pp-module.md has every line of the module once, in its order", () => {
  expect(lines.map(({ id }) => id)).toEqual(IDS);
});

test("each line of docs/pp-module.md that is met has tests with its id in their names, in each file that it tells", () => {
  for (const { id, met, tests } of lines) {
    expect([id, ["yes", "partly", "not yet"].includes(met)]).toEqual([id, true]);
    const files = [...tests.matchAll(/`([^`]+)`/g)].map(([, path]) => path!);
    expect([id, files.length > 0]).toEqual([id, met !== "not yet"]);
    for (const path of files) expect([id, path, idsIn(path).includes(id)]).toEqual([id, path, true]);
  }
});

test("each test of test/unit/pp-module begins with the id of a line of docs/pp-module.md that names its file", () => {
  const folder = "test/unit/pp-module";
  for (const file of readdirSync(join(ROOT_DIRECTORY, folder)).filter((name) => name.endsWith(".test.ts"))) {
    const path = `${folder}/${file}`;
    const ids = idsIn(path);
    expect([file, ids.length > 0]).toEqual([file, true]);
    for (const id of ids) {
      expect([id, lines.some((line) => line.id === id && line.tests.includes(path))]).toEqual([id, true]);
    }
  }
});
