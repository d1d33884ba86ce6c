/** Many trials in processes of their own: what is counted, and what a log is for. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runMany } from "../../../../chaos/sim/cluster/many.ts";
import { addSums, noSums, recoveryMs } from "../../../../chaos/sim/cluster/trial-sums.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synwall-trials-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a run with a log runs only the batches that are not in it, and answers with the sums of all", async () => {
  const logPath = join(folder, "trials.log");
  const done = { ...noSums(), seeds: 25, nodes: { 2: 25 }, violations: [{ seed: 7, finding: "of before" }] };
  const halfALine = '{"fromSeed":26,';
  writeFileSync(
    logPath,
    `${JSON.stringify({ fromSeed: 1, toSeed: 25, version: "v", sums: done })}\n${halfALine}`,
  );
  const ran: number[] = [];
  const sums = await runMany({
    ...{ fromSeed: 1, toSeed: 27, processes: 2, isBrief: true, logPath },
    onBatch: ({ seeds }) => ran.push(seeds),
  });
  expect(ran).toEqual([2]);
  expect(sums.seeds).toBe(27);
  expect(sums.violations).toEqual(done.violations);
  expect(readFileSync(logPath, "utf8").split("\n")).toEqual([
    expect.stringMatching(/"fromSeed":1,"toSeed":25/),
    expect.stringMatching(/"fromSeed":26,"toSeed":27/),
    "",
  ]);
});

test("a run that is to end at a violation ends there, and names the seed", async () => {
  const sums = await runMany({
    ...{ fromSeed: 1, toSeed: 50, processes: 1, isBrief: true, bug: "accepts-all" },
    isOver: "at a violation",
  });
  expect(sums.violations).toEqual([
    { seed: sums.seeds, finding: expect.stringMatching(/that no rule allows/) },
  ]);
});

test("sums add up by name, and say within which time a share of all clusters was whole again", () => {
  const sums = { ...noSums(), seeds: 3, faults: { kill: 2 }, recoveredMs: { 10: 2, 200: 1 } };
  addSums(sums, { ...noSums(), seeds: 1, faults: { kill: 1, drain: 4 }, recoveredMs: { 1000: 1 } });
  expect(sums.seeds).toBe(4);
  expect(sums.faults).toEqual({ kill: 3, drain: 4 });
  expect([0.5, 0.75, 1].map((share) => recoveryMs(sums, share))).toEqual([10, 200, 1000]);
});
