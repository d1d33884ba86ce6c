import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("process() and tick() cause no garbage collection in a million packets of every kind", () => {
  const child = fileURLToPath(new URL("./gc-child.ts", import.meta.url));
  const output = execFileSync(process.execPath, ["--import", "tsx", child, "1000000"], { encoding: "utf8" });
  const { collections, grownBytes, logged } = JSON.parse(output) as Record<string, number>;
  expect(logged).toBeGreaterThan(100_000);
  expect(collections).toBe(0);
  // What is left are the test's own time stamps: less than one byte a packet.
  expect(grownBytes).toBeLessThan(1_000_000);
}, 60_000);
