/**
 * Text scripts in, transcripts out; README.md beside this file tells the commands and how to accept a change.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { runScript } from "../support/script.ts";

const folder = new URL(".", import.meta.url);
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".script"))
  .map((file) => file.slice(0, -".script".length));

test("there are golden scripts", () => {
  expect(names.length).toBeGreaterThan(0);
});

test.each(names)("the transcript of %s is as recorded", (name) => {
  const transcript = runScript(readFileSync(new URL(`${name}.script`, folder), "utf8"));
  const golden = new URL(`${name}.golden`, folder);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, transcript);
  expect(existsSync(golden) ? readFileSync(golden, "utf8") : "").toBe(transcript);
});
