import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("exitAtOnce() ends a process with its status although a thread hangs in a system call", () => {
  const child = fileURLToPath(new URL("./exit-child.ts", import.meta.url));
  const { status, signal } = spawnSync(process.execPath, ["--import", "tsx", child, "at-once"], {
    timeout: 30_000,
  });
  expect([status, signal]).toEqual([71, null]);
}, 40_000);
