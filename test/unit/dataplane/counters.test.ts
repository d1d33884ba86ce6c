import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { EXTRA_COUNTERS } from "../../../src/dataplane/counters.ts";
import { DROP_REASONS } from "../../../src/dataplane/verdict.ts";

/** Code that runs in the worker: only there counters are written, and there they go by COUNT. */
const written = ["src/dataplane", "src/node"]
  .flatMap((folder) =>
    readdirSync(join(ROOT_DIRECTORY, folder), { encoding: "utf8", recursive: true }).map((name) =>
      join(folder, name),
    ),
  )
  .filter((path) => path.endsWith(".ts"))
  .map((path) => readFileSync(join(ROOT_DIRECTORY, path), "utf8"))
  .join("\n");

test.each(EXTRA_COUNTERS)("counter %s is written somewhere", (name) => {
  expect(written).toMatch(
    new RegExp(`(?:count|#distrust)\\([^;]*COUNT\\.${name}\\b|counters\\[COUNT\\.${name}\\] =`),
  );
});

test.each(DROP_REASONS)("drop reason %s is given somewhere", (reason) => {
  expect(written).toContain(`dropVerdict("${reason}")`);
});
