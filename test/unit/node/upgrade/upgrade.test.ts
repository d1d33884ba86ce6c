import { describe, expect, test } from "vitest";
import { ModelCluster, refuse, TARGET } from "./model-cluster.ts";

function outcomes(report: { members: readonly { name: string; outcome: string }[] }): Record<string, string> {
  return Object.fromEntries(report.members.map(({ name, outcome }) => [name, outcome]));
}

test("each member is emptied, restarted and back before the next one is touched; a witness has nothing to empty", async () => {
  const cluster = new ModelCluster(3, "fw2");
  const report = await cluster.run();
  expect(cluster.done).toEqual([
    "restart witness 1",
    ...["drain fw1", "restart fw1 1"],
    ...["drain fw3", "restart fw3 1"],
    ...["drain fw2", "restart fw2 1"],
  ]);
  expect(report.isDone).toBe(true);
  expect(report.stopped).toEqual([]);
  expect(outcomes(report)).toEqual({
    fw1: "upgraded",
    fw2: "upgraded",
    fw3: "upgraded",
    witness: "upgraded",
  });
  expect(report.members[0]).toMatchObject({ from: "0.1.0 (build aaaaaa)", to: "0.2.0 (build bbbbbb)" });
});

test("a dry run says who would be restarted, and touches nobody", async () => {
  const cluster = new ModelCluster();
  const report = await cluster.run({ isDryRun: true });
  expect(cluster.done).toEqual([]);
  expect(outcomes(report)).toEqual({ fw1: "waiting", fw2: "waiting", witness: "waiting" });
});

test("nothing is touched while something is wrong", async () => {
  const cluster = new ModelCluster();
  cluster.isSettled = false;
  const report = await cluster.run();
  expect(cluster.done).toEqual([]);
  expect(report.isDone).toBe(false);
  expect(report.stopped.join()).toMatch(/proven copy/);
});

test("what went wrong between two members stops it before the next", async () => {
  const cluster = new ModelCluster(3, "fw3");
  cluster.onRestart = ({ name }) => {
    if (name === "fw1") cluster.member("fw2").isHeard = false;
  };
  const report = await cluster.run();
  expect(cluster.done).toEqual(["restart witness 1", "drain fw1", "restart fw1 1"]);
  expect(report.stopped).toEqual(["fw2 is silent on all links: see docs/runbooks/node-down.md"]);
  expect(outcomes(report)).toEqual({ fw1: "upgraded", fw2: "waiting", fw3: "waiting", witness: "upgraded" });
});

test("a node that cannot be drained gets its slots back, and the rest is left alone", async () => {
  const cluster = new ModelCluster();
  cluster.onDrain = (member) => {
    member.state = "draining";
    refuse("no other active node can take its slots");
  };
  const report = await cluster.run({ only: ["fw2"] });
  expect(cluster.done).toEqual(["drain fw2", "rejoin fw2"]);
  expect(cluster.member("fw2").state).toBe("active");
  expect(report.stopped).toEqual([
    "fw2 could not be drained: no other active node can take its slots; it has its slots again, and serves as before",
  ]);
  expect(outcomes(report)["fw2"]).toBe("stopped");
});

test("a node is not restarted before the others hold proven copies of all flows", async () => {
  const cluster = new ModelCluster();
  cluster.onDrain = () => void (cluster.isSettled = false);
  const report = await cluster.run({ only: ["fw2"], stepTimeoutMs: 5_000 });
  expect(cluster.done).toEqual(["drain fw2", "rejoin fw2"]);
  expect(report.stopped.join()).toMatch(/do not hold proven copies of all flows yet, after 5\.0 s/);
});

test("a restart that is refused gives the slots back", async () => {
  const cluster = new ModelCluster();
  cluster.onRestart = () => refuse("ssh: no route to host");
  const report = await cluster.run({ only: ["fw2"] });
  expect(cluster.done).toEqual(["drain fw2", "restart fw2 1", "rejoin fw2"]);
  expect(report.stopped.join()).toMatch(
    /^fw2 could not be restarted: ssh: no route to host; it has its slots again/,
  );
});

test("a member that does not come back stops it, and is named with what to do", async () => {
  const cluster = new ModelCluster();
  cluster.onRestart = (member) => Object.assign(member, { incarnation: 1, state: "down" });
  const report = await cluster.run({ only: ["fw2"], stepTimeoutMs: 20_000 });
  expect(report.stopped.join()).toMatch(
    /^fw2 was restarted and did not come back: .*journalctl -u synwall-node/,
  );
  expect(cluster.nowMs).toBeGreaterThanOrEqual(20_000);
});

test("a member that comes back with the old build stops it: it would never end", async () => {
  const cluster = new ModelCluster();
  cluster.installed = () => ({ version: "0.1.0", build: "aaaaaa" });
  const report = await cluster.run();
  expect(cluster.done).toEqual(["restart witness 1"]);
  expect(report.stopped.join()).toMatch(
    /^witness came back with 0\.1\.0 \(build aaaaaa\) instead of 0\.2\.0 \(build bbbbbb\)/,
  );
});

test("the next member waits until the one before has its slots back", async () => {
  const cluster = new ModelCluster();
  const restartedAtMs: number[] = [];
  cluster.onRestart = (member) => {
    restartedAtMs.push(cluster.nowMs);
    if (member.role === "witness") return;
    member.state = "joining";
    cluster.isSettled = false;
    const backAtMs = cluster.nowMs + 3_000;
    cluster.onPause = () => {
      if (cluster.nowMs < backAtMs) return;
      member.state = "active";
      cluster.isSettled = true;
    };
  };
  const report = await cluster.run();
  expect(report.stopped).toEqual([]);
  const [, first, second] = restartedAtMs;
  expect(second! - first!).toBeGreaterThanOrEqual(3_000);
});

describe("run again", () => {
  test("it leaves alone what runs the target, and begins with what was left drained", async () => {
    const cluster = new ModelCluster(3, "fw1");
    const fw2 = cluster.member("fw2");
    Object.assign(fw2, { version: TARGET.version, process: { ...fw2.process!, build: TARGET.build } });
    cluster.member("fw3").state = "drained";
    const report = await cluster.run();
    expect(cluster.done).toEqual(["restart fw3 1", "restart witness 1", "drain fw1", "restart fw1 1"]);
    expect(outcomes(report)).toEqual({
      fw1: "upgraded",
      fw2: "current",
      fw3: "upgraded",
      witness: "upgraded",
    });
  });

  test("when all is done it does nothing", async () => {
    const cluster = new ModelCluster();
    await cluster.run();
    cluster.done.length = 0;
    const again = await cluster.run();
    expect(cluster.done).toEqual([]);
    expect(again.isDone).toBe(true);
  });
});

test("a disabled node is restarted without a drain, and stays out", async () => {
  const cluster = new ModelCluster(3, "fw1");
  Object.assign(cluster.member("fw3"), { state: "drained", isDisabled: true });
  const report = await cluster.run({ only: ["fw3"] });
  expect(cluster.done).toEqual(["restart fw3 1"]);
  expect(cluster.member("fw3").state).toBe("drained");
  expect(report.isDone).toBe(true);
});
