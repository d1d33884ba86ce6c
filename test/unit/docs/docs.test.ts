import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { DIFFERENCE_NAMES } from "../../../chaos/conntrack/differences.ts";
import { parseDurationMs } from "../../../config/duration.ts";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { DROP_REASONS } from "../../../src/dataplane/verdict.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../../src/policy/timeouts.ts";
import { run } from "../cli/admin.ts";

const read = (path: string): string => readFileSync(join(ROOT_DIRECTORY, path), "utf8");

/** All pages for people, relative to the checkout. */
const PAGES = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...["docs", "docs/adr", "docs/runbooks"].flatMap((folder) =>
    readdirSync(join(ROOT_DIRECTORY, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(folder, name)),
  ),
];

test("docs/errors.md explains every code, and no code that does not exist", () => {
  const explained = [...read("docs/errors.md").matchAll(/^\| `(SW_\w+)` \| .+ \| .+ \|$/gm)].map(
    (match) => match[1],
  );
  expect(explained.sort()).toEqual(Object.keys(ERROR_CODES).sort());
});

test("docs/drops.md explains every drop reason, and none that does not exist", () => {
  const explained = [...read("docs/drops.md").matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  expect(explained.sort()).toEqual([...DROP_REASONS].sort());
});

test("docs/conntrack-differences.md explains every class of differences, and none that does not exist", () => {
  const explained = [...read("docs/conntrack-differences.md").matchAll(/^\| `([a-z-]+)` \| [\d,]+ \|/gm)].map(
    (match) => match[1],
  );
  expect(explained.sort()).toEqual([...DIFFERENCE_NAMES].sort());
});

test("docs/dependencies.md lists every package, and none that is gone", () => {
  const manifest = JSON.parse(read("package.json")) as Record<
    "dependencies" | "devDependencies",
    Record<string, string>
  >;
  const page = read("docs/dependencies.md");
  const [, runtime = "", development = ""] = page.split(/^## .*$/m);
  const listed = (section: string): string[] =>
    [...section.matchAll(/^\| (`[^|]+`)/gm)].flatMap((match) =>
      match[1]!.split(", ").map((entry) => entry.replace(/^`([^`]+)`.*$/, "$1")),
    );
  expect(
    listed(runtime)
      .filter((name) => name !== "raft-ts")
      .sort(),
  ).toEqual(Object.keys(manifest.dependencies).sort());
  expect(listed(development).sort()).toEqual(
    Object.keys(manifest.devDependencies)
      .filter((name) => !name.startsWith("@types/"))
      .sort(),
  );
});

test("docs/deploy.md gives the default time-outs", () => {
  const rows = [...read("docs/deploy.md").matchAll(/^\| `(\w+)` \| (\w+) \| .+ \|$/gm)];
  const given = Object.fromEntries(rows.map(([, name, duration]) => [name, parseDurationMs(duration!)]));
  expect(given).toEqual(DEFAULT_TIMEOUTS_MS);
});

describe.each(PAGES)("%s", (page) => {
  test("has no link to a file that is not there", () => {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)) {
      expect([target, existsSync(join(ROOT_DIRECTORY, dirname(page), target!))]).toEqual([target, true]);
    }
  });

  test("names only commands that synwall has", async () => {
    const { out } = await run("--help");
    const commands = new Set([...out.matchAll(/^ {2}(\w+)(?: |$)/gm)].map((match) => match[1]));
    for (const [, command] of read(page).matchAll(/(?:^|`|bin\/|sudo )synwall ([a-z]+)\b/gm)) {
      expect([command, commands.has(command!)]).toEqual([command, true]);
    }
  });
});
