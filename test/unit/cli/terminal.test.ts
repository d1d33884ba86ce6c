import { describe, expect, test } from "vitest";
import { formatBytes, formatMs, formatShare, table } from "../../../src/cli/terminal.ts";

describe("table()", () => {
  test("aligns text left and numbers right, and leaves no space at the end", () => {
    expect(
      table(
        [{ title: "NAME" }, { title: "N", isRight: true }, { title: "X" }],
        [
          ["a", "7", ""],
          ["longer", "1,000", "y"],
        ],
      ),
    ).toBe(["NAME        N  X", "a           7", "longer  1,000  y", ""].join("\n"));
  });

  test("prints the titles when there are no rows", () => {
    expect(table([{ title: "A" }, { title: "B" }], [])).toBe("A  B\n");
  });
});

test.each([
  [0, "0.00 ms"],
  [0.424, "0.42 ms"],
  [37.4, "37 ms"],
  [12_340, "12.3 s"],
  [300_000, "5 min"],
  [11_520_000, "3 h 12 min"],
  [187_200_000, "2 d 4 h"],
])("%d ms reads %s", (ms, text) => expect(formatMs(ms)).toBe(text));

test("bytes and shares carry their units", () => {
  expect([formatBytes(10), formatBytes(2048), formatBytes(5 * 1024 ** 2)]).toEqual([
    "10 B",
    "2.0 KiB",
    "5.0 MiB",
  ]);
  expect([formatShare(1, 3), formatShare(0, 0)]).toEqual(["33 %", "0 %"]);
});
