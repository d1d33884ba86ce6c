import { describe, expect, test } from "vitest";
import { nextOf, queueOf, troubles, type Wishes } from "../../../../src/node/upgrade/preflight.ts";
import { misunderstandings } from "../../../../src/node/upgrade/speech.ts";
import { ModelCluster, SPEECH, TARGET, WISHES } from "./model-cluster.ts";

function wrong(change: (cluster: ModelCluster) => void, wishes: Partial<Wishes> = {}): string[] {
  const cluster = new ModelCluster();
  change(cluster);
  const all = { ...WISHES, ...wishes };
  const view = cluster.view();
  return troubles(view, queueOf(view, all), all);
}

test("a healthy cluster may be upgraded", () => {
  expect(wrong(() => undefined)).toEqual([]);
});

test.each<[string, (cluster: ModelCluster) => void, RegExp]>([
  ["has no leader", (c) => void (c.leader = ""), /^no leader: /],
  [
    "has a node that is down",
    (c) => void (c.member("fw2").state = "down"),
    /^fw2 is down: .* start it, or remove it/,
  ],
  [
    "has a silent witness",
    (c) => void (c.member("witness").isHeard = false),
    /^witness is silent on all links/,
  ],
  [
    "has a member that does not answer",
    (c) => void (c.member("fw2").isReachable = false),
    /^fw2 does not answer/,
  ],
  [
    "is not settled",
    (c) => void (c.isSettled = false),
    /proven copy: .* wait until 'synwall status' says OK/,
  ],
  ["has no replication", (c) => void (c.sync = { connected: false }), /^no replication to fw2/],
  ["lags", (c) => void (c.sync = { lagMs: 1200 }), /^sync to fw2 lags 1200 ms/],
  ["refuses replication", (c) => void (c.sync = { refusal: "too old" }), /^sync to fw2 is refused: too old/],
  [
    "has a joining node",
    (c) => void (c.member("fw2").state = "joining"),
    /^fw2 is still receiving its flows/,
  ],
  ["is unwitnessed", (c) => void (c.isUnwitnessed = true), /^unwitnessed: .* --accept-no-majority/],
  [
    "has a member that nobody starts again",
    (c) => void (c.member("fw2").process = { ...c.member("fw2").process!, isSupervised: false }),
    /^fw2 was started by nobody .* --restart-command/,
  ],
  [
    "has a member that is too old to be asked",
    (c) => void (c.member("witness").process = undefined),
    /^witness \(0\.1\.0\) is too old to be asked/,
  ],
  [
    "speaks nothing that the new build knows",
    (c) => void (c.member("fw1").process = { ...c.member("fw1").process!, recordVersions: [0] }),
    /^fw1 \(0\.1\.0\) and version 0\.2\.0 do not understand each other \(flow records: versions 1, 2 and 0\)/,
  ],
])("no upgrade begins while the cluster %s", (_what, change, reason) => {
  const reasons = wrong(change);
  expect(reasons.join("\n")).toMatch(reason);
});

describe("a node that is drained", () => {
  const drained = (c: ModelCluster): void => void (c.member("fw2").state = "drained");

  test("and is to be upgraded was left by an earlier run: this one goes on with it", () => {
    expect(wrong(drained)).toEqual([]);
    const cluster = new ModelCluster();
    drained(cluster);
    expect(nextOf(queueOf(cluster.view(), WISHES), cluster.view())?.name).toBe("fw2");
  });

  test("and is not to be upgraded is somebody else's", () => {
    expect(wrong(drained, { only: ["fw1"] }).join()).toMatch(
      /^fw2 is drained, for maintenance: .*rejoin fw2/,
    );
  });

  test("because it is disabled stays out, and stops nobody", () => {
    const disable = (c: ModelCluster): void => {
      c.members.push({ ...c.member("fw2"), id: 4, name: "fw3", state: "drained", isDisabled: true });
    };
    expect(wrong(disable, { only: ["fw1"] })).toEqual([]);
  });
});

test("a node that is being drained has somebody at work on it", () => {
  expect(wrong((c) => void (c.member("fw2").state = "draining")).join()).toMatch(/somebody else is at work/);
});

test("what can be accepted is accepted only when it is said", () => {
  expect(wrong((c) => void (c.isUnwitnessed = true), { mayLoseMajority: true })).toEqual([]);
  const unsupervised = (c: ModelCluster): void => void (c.member("fw2").process = undefined);
  expect(wrong(unsupervised, { needsSupervisor: false })).toEqual([]);
});

test("a pair is unwitnessed at all times, and is upgraded: the other node decides while one restarts", () => {
  const pair = (c: ModelCluster): void => {
    c.isUnwitnessed = true;
    c.isPair = true;
  };
  expect(wrong(pair)).toEqual([]);
});

test("a node that serves alone is not restarted, whatever else is accepted", () => {
  const alone = (c: ModelCluster): void => void c.members.splice(1, 1);
  expect(wrong(alone, { mayLoseMajority: true }).join()).toMatch(/^fw1 serves alone/);
});

test("members that run the target are left alone, unless a rolling restart is asked for", () => {
  const cluster = new ModelCluster();
  const fw1 = cluster.member("fw1");
  Object.assign(fw1, { version: TARGET.version, process: { ...fw1.process!, build: TARGET.build } });
  const names = (wishes: Partial<Wishes>): string[] =>
    queueOf(cluster.view(), { ...WISHES, ...wishes }).map(({ name }) => name);
  expect(names({})).toEqual(["fw2", "witness"]);
  expect(names({ isAll: true })).toEqual(["fw1", "fw2", "witness"]);
  expect(names({ isAll: true, only: ["witness"] })).toEqual(["witness"]);
  // The same version, and another build: not the target, unless any build will do.
  fw1.process = { ...fw1.process!, build: "aaaaaa" };
  expect(names({})).toContain("fw1");
  expect(names({ target: { ...TARGET, build: "" } })).not.toContain("fw1");
});

test("the witness is first, the leader last", () => {
  const cluster = new ModelCluster(3, "fw1");
  let queue = queueOf(cluster.view(), WISHES);
  const order: string[] = [];
  while (queue.length > 0) {
    const next = nextOf(queue, cluster.view())!;
    order.push(next.name);
    queue = queue.filter((member) => member !== next);
  }
  expect(order).toEqual(["witness", "fw2", "fw3", "fw1"]);
});

describe("two builds understand each other", () => {
  test("when they share a version of records and have all else in common", () => {
    expect(misunderstandings(SPEECH, { ...SPEECH, recordVersions: [1, 2] })).toEqual([]);
    expect(
      misunderstandings({ ...SPEECH, recordVersions: [3] }, { ...SPEECH, recordVersions: [1, 2] }),
    ).toEqual(["flow records: versions 3 and 1, 2"]);
  });

  test("not when heartbeats, replicated state or replication differ", () => {
    const { commandVersion } = SPEECH;
    const other = { ...SPEECH, syncVersion: 2, commandVersion: commandVersion + 1, heartbeatVersion: 4 };
    expect(misunderstandings(SPEECH, other)).toEqual([
      "heartbeats: version 1 and 4",
      `the replicated state: version ${commandVersion} and ${commandVersion + 1}`,
      "replication: version 1 and 2",
    ]);
  });

  test("whatever records one of them has, when the other is a witness", () => {
    expect(misunderstandings({ ...SPEECH, recordVersions: [] }, { ...SPEECH, recordVersions: [9] })).toEqual(
      [],
    );
  });
});
