import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";

/** What is loaded with `entry` before anything runs: static imports that are more than types, of our own files and packages. */
function loadedWith(entry: string): Set<string> {
  const loaded = new Set<string>();
  const queue = [join(ROOT_DIRECTORY, entry)];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (loaded.has(relative(ROOT_DIRECTORY, file))) continue;
    loaded.add(relative(ROOT_DIRECTORY, file));
    const text = readFileSync(file, "utf8");
    for (const [, target] of text.matchAll(/^(?:import|export) (?!type )(?:[^"';]* from )?"([^"]+)";/gm)) {
      if (!target!.startsWith(".")) loaded.add(target!);
      else if (existsSync(join(dirname(file), target!))) queue.push(join(dirname(file), target!));
    }
  }
  return loaded;
}

test("the command line starts without the lab, the dataplane, gRPC or the schema: commands bring what they need", () => {
  const loaded = [...loadedWith("src/cli/main.ts")];
  expect(loaded).toContain("src/cli/commands/status.ts");
  expect(
    loaded.filter((name) =>
      /^(chaos|cluster|src\/(io|node|dataplane|metrics))\/|grpc|^zod|^koffi|^yaml/.test(name),
    ),
  ).toEqual([]);
});

test("a node starts without the lab", () => {
  const loaded = [
    ...loadedWith("src/node/main.ts"),
    ...loadedWith("src/node/worker.ts"),
    ...loadedWith("config/load.ts"),
  ];
  expect(loaded.length).toBeGreaterThan(20);
  expect(loaded.filter((name) => name.startsWith("chaos/") || name.startsWith("src/cli/"))).toEqual([]);
});

test("the check above would see the lab", () => {
  const loaded = [...loadedWith("src/cli/commands/lab.ts")];
  expect(loaded.some((name) => name.startsWith("chaos/lab/"))).toBe(true);
});
