import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  endAll,
  isRunning,
  namespaceCommand,
  processOf,
  signal,
  startDetached,
} from "../../../../chaos/lab/processes.ts";
import { poll } from "../../../../chaos/lab/wait.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "synwall-processes-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a started process is found again, and is gone after endAll()", async () => {
  const started = await startDetached(["sleep", "1000"], join(directory, "log"));
  expect(isRunning(started)).toBe(true);
  expect(processOf(started.pid)).toEqual(started);
  await endAll([started]);
  expect(isRunning(started)).toBe(false);
});

test("endAll() ends a process that is stopped", async () => {
  const started = await startDetached(["sleep", "1000"], join(directory, "log"));
  signal(started, "SIGSTOP");
  await endAll([started]);
  expect(isRunning(started)).toBe(false);
});

test("signal() leaves another process alone that got the same id", () => {
  const self = processOf(process.pid)!;
  const earlier = { pid: self.pid, startTicks: "1" };
  expect(isRunning(earlier)).toBe(false);
  expect(signal(earlier, "SIGKILL")).toBe(false);
});

test("startDetached() keeps what the process says in its log", async () => {
  const log = join(directory, "log");
  const started = await startDetached(["sh", "-c", "echo out; echo err >&2"], log);
  await poll(() => !isRunning(started), 5_000);
  expect(readFileSync(log, "utf8")).toBe("out\nerr\n");
});

test("startDetached() says which command is missing", async () => {
  await expect(startDetached(["/no/such/command"], join(directory, "log"))).rejects.toThrow(
    /cannot start \/no\/such/,
  );
});

test("namespaceCommand() enters the host's namespace", () => {
  expect(namespaceCommand("lab", "client", ["ls"])).toEqual(["ip", "netns", "exec", "lab-client", "ls"]);
});
