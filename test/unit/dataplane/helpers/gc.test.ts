import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("180,000 packets with text for all helpers, more than half of them rewritten, cause no garbage collection", () => {
  const child = fileURLToPath(new URL("./gc-child.ts", import.meta.url));
  const output = execFileSync(process.execPath, ["--import", "tsx", child, "20000"], { encoding: "utf8" });
  const { collections, grownBytes, edited } = JSON.parse(output) as Record<string, number>;
  expect(edited).toBeGreaterThanOrEqual(100_000);
  expect(collections).toBe(0);
  // Less than one byte a packet: the test's own.
  expect(grownBytes).toBeLessThan(100_000);
}, 60_000);
