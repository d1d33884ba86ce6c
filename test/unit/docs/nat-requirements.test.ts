import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";

const page = readFileSync(join(ROOT_DIRECTORY, "docs/nat-requirements.md"), "utf8");

/** Rows of the page's tables, cell by cell, with the section that they stand in. */
const rows = page.split(/^## /m).flatMap((section) => {
  const title = section.split("\n")[0]!;
  return section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| id ") && !line.startsWith("| what "))
    .map((line) => ({
      title,
      cells: line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    }));
});

/** Names of all tests, as they are written. */
const names = new Set(
  filesOf("test").flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/"((?:[^"\\\n]|\\.)+)",\s*(?:async )?\(/g)].map(
      (match) => match[1]!,
    ),
  ),
);

function filesOf(folder: string): string[] {
  return readdirSync(join(ROOT_DIRECTORY, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(ROOT_DIRECTORY, folder, name));
}

function shownBy(cells: readonly string[]): string[] {
  return [...cells.at(-1)!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
}

test("every test that docs/nat-requirements.md names exists", () => {
  const missing = rows.flatMap(({ cells }) => shownBy(cells)).filter((name) => !names.has(name));
  expect(missing).toEqual([]);
});

test("every yes of docs/nat-requirements.md has a test", () => {
  const bare = rows.filter(({ cells }) => cells.includes("yes") && shownBy(cells).length === 0);
  expect(bare.map(({ title, cells }) => `${title}: ${cells[0]}`)).toEqual([]);
});

test("answers are yes, no or n/a, and a no or n/a says why", () => {
  const answers = rows.filter(({ cells }) => cells.length > 2).map(({ cells }) => cells);
  for (const cells of answers) {
    const given = cells.slice(2, -2);
    expect([cells[0], given.every((answer) => ["yes", "no", "n/a"].includes(answer))]).toEqual([
      cells[0],
      true,
    ]);
    if (given.some((answer) => answer !== "yes"))
      expect([cells[0], cells.at(-2) !== ""]).toEqual([cells[0], true]);
  }
});

describe("docs/nat-requirements.md has every requirement", () => {
  /** Numbers, and the letters of their parts. */
  const REQUIREMENTS: Readonly<Record<string, readonly string[]>> = {
    "RFC 4787: UDP": [
      "1",
      "2",
      "3 a",
      "4",
      "5 abc",
      "6 a",
      "7",
      "8 a",
      "9 a",
      "10 a",
      "11",
      "12 ab",
      "13 a",
      "14 a",
    ],
    "RFC 5382: TCP": ["1", "2 a", "3 ab", "4 a", "5 a", "6", "7", "8 a", "9", "10"],
    "RFC 5508: ICMP": ["1 a", "2 a", "3 abcd", "4 abc", "5 abc", "6", "7 a", "8", "9", "11"],
  };

  test.each(Object.entries(REQUIREMENTS))("of %s", (title, numbers) => {
    const wanted = numbers.flatMap((entry) => {
      const [number, letters = ""] = entry.split(" ");
      return [`REQ-${number}`, ...[...letters].map((letter) => `REQ-${number}${letter}`)];
    });
    const given = rows.filter((row) => row.title === title).map(({ cells }) => cells[0]!);
    expect(wanted.filter((id) => !given.includes(id))).toEqual([]);
  });

  test("of RFC 7857", () => {
    const given = rows.filter((row) => row.title === "RFC 7857: updates").map(({ cells }) => cells[0]!);
    expect(given).toEqual(["2", "2.1", "2.2", "3", "4", "5", "6", "7", "7.1", "8", "9", "10", "11", "12"]);
  });
});
