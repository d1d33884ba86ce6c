import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { PRIORITY } from "../../../src/node/priorities.ts";

interface Seen {
  readonly main: number;
  readonly begun: readonly number[];
  readonly helpers: readonly number[];
}

/** Priorities of a process that began a thread after it hurried; in a process of its own, since this one's are to stay. */
function prioritiesWith(realtime: "auto" | "never"): Seen {
  const module = new URL("../../../src/node/priorities.ts", import.meta.url).href;
  const script = `
    import { readdirSync, readFileSync } from "node:fs";
    import { Worker } from "node:worker_threads";
    import { hurryProcess, hurryStart } from ${JSON.stringify(module)};
    const threads = () => readdirSync("/proc/self/task").map(Number);
    hurryProcess("${realtime}");
    const before = threads();
    const worker = new Worker("require('node:worker_threads').parentPort.once('message', () => {})", { eval: true, execArgv: [] });
    hurryStart("${realtime}");
    // Field 40 of stat, counted behind the name: the real-time priority.
    const priority = (thread) => {
      const stat = readFileSync("/proc/self/task/" + thread + "/stat", "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[37]);
    };
    const begun = threads().filter((thread) => !before.includes(thread)).map(priority);
    const helpers = before.filter((thread) => thread !== process.pid).map(priority);
    console.log(JSON.stringify({ main: priority(process.pid), begun, helpers }));
    worker.postMessage("end");`;
  const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module"], {
    input: script,
  });
  return JSON.parse(output.toString()) as Seen;
}

test("the compilers go before what they hold up, and what starts goes behind all", () => {
  const isAllowed = process.getuid?.() === 0;
  const { main, begun, helpers } = prioritiesWith("auto");
  expect(helpers.length).toBeGreaterThan(1);
  for (const priority of helpers) expect(priority).toBe(isAllowed ? PRIORITY.helpers : 0);
  expect(begun.length).toBeGreaterThan(0);
  for (const priority of [main, ...begun]) expect(priority).toBe(isAllowed ? PRIORITY.starting : 0);
  expect(PRIORITY.helpers).toBeLessThan(PRIORITY.dataplane);
  expect(PRIORITY.helpers).toBeGreaterThan(PRIORITY.control);
});

test("`realtime: never` leaves every thread as it is", () => {
  const { main, begun, helpers } = prioritiesWith("never");
  expect([main, ...begun, ...helpers].every((priority) => priority === 0)).toBe(true);
});
