import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { requestRealtime } from "../../../src/io/sched.ts";

test("a priority that is none is refused with a reason", () => {
  const answer = requestRealtime(1000);
  expect(answer.granted).toBe(false);
  expect(answer.reason).toMatch(/EINVAL|EPERM/);
});

test("what is granted holds for the calling thread only", async () => {
  const script = `
    import("tsx/esm/api").then(async (tsx) => {
      tsx.register();
      const { requestRealtime } = await import(${JSON.stringify(new URL("../../../src/io/sched.ts", import.meta.url).href)});
      const answer = requestRealtime(1);
      // Field 41 of stat, counted behind the name: the policy.
      const stat = require("node:fs").readFileSync("/proc/thread-self/stat", "utf8");
      require("node:worker_threads").parentPort.postMessage({ answer, policy: policyOf(stat) });
    });
    function policyOf(stat) { return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38]); }`;
  const worker = new Worker(script, { eval: true });
  const { answer, policy } = await new Promise<{ answer: { granted: boolean }; policy: number }>(
    (resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    },
  );
  await worker.terminate();
  expect(answer.granted).toBe((policy & 0xff) === 2);
  const own = readFileSync("/proc/thread-self/stat", "utf8");
  expect(Number(own.slice(own.lastIndexOf(")") + 2).split(" ")[38])).toBe(0);
});

test("ordinary threads are raised, those that were raised before keep what they have", () => {
  // In a process of its own: this one's threads are to stay as they are.
  const script = `
    import { readdirSync, readFileSync } from "node:fs";
    import { Worker } from "node:worker_threads";
    import { raiseOrdinaryThreads, requestRealtime } from ${JSON.stringify(new URL("../../../src/io/sched.ts", import.meta.url).href)};
    const { granted } = requestRealtime(10);
    const worker = new Worker("require('node:worker_threads').parentPort.once('message', () => {})", { eval: true, execArgv: [] });
    raiseOrdinaryThreads(5);
    // Field 40 of stat, counted behind the name: the real-time priority.
    const priorities = readdirSync("/proc/self/task").map((thread) => {
      const stat = readFileSync("/proc/self/task/" + thread + "/stat", "utf8");
      return { isMain: Number(thread) === process.pid, priority: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[37]) };
    });
    console.log(JSON.stringify({ granted, priorities }));
    worker.postMessage("end");`;
  const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module"], {
    input: script,
  });
  const { granted, priorities } = JSON.parse(output.toString()) as {
    granted: boolean;
    priorities: { isMain: boolean; priority: number }[];
  };
  expect(priorities.length).toBeGreaterThan(2);
  const [own, raised] = granted ? [10, 5] : [0, 0];
  for (const { isMain, priority } of priorities) expect(priority).toBe(isMain ? own : raised);
});
