import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { lifeOf, parseStat, startTicksOf } from "../../../../cluster/storage/process-life.ts";

/** A line of /proc/PID/stat as Linux 6.18 prints it. */
function stat(state: string, flags: number, threads: number, name = "node"): string {
  return `7727 (${name}) ${state} 1 7727 7727 0 -1 ${flags} 1 2 3 4 5 6 7 8 20 0 ${threads} 0 4711 0 0`;
}

const NORMAL = 0x400100;
const EXITING = 0x40850c;

test.each([
  ["S", NORMAL, 12, "running"],
  ["T", NORMAL, 12, "running"],
  ["R", EXITING, 12, "ending"],
  ["Z", EXITING, 2, "ending"],
  ["Z", EXITING, 1, "gone"],
  ["X", EXITING, 1, "gone"],
])("a process in state %s with flags %i and %i threads is %s", (state, flags, threads, life) => {
  expect(parseStat(stat(state, flags, threads))).toEqual({ startTicks: "4711", life });
});

test("a name with blanks and parentheses moves no field", () => {
  expect(parseStat(stat("Z", EXITING, 1, "a) Z 1 (b c"))).toEqual({ startTicks: "4711", life: "gone" });
});

test("a process is gone for who noted another start time, and when it ended", async () => {
  const child = spawn("sleep", ["600"]);
  await new Promise((resolve) => child.once("spawn", resolve));
  const pid = child.pid!;
  const ticks = startTicksOf(pid)!;
  expect(lifeOf(pid, ticks)).toBe("running");
  expect(lifeOf(pid, `${ticks}1`)).toBe("gone");
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  expect(lifeOf(pid, ticks)).toBe("gone");
  expect(startTicksOf(pid)).toBeUndefined();
});

test("this process runs", () => {
  expect(lifeOf(process.pid, startTicksOf(process.pid)!)).toBe("running");
});
