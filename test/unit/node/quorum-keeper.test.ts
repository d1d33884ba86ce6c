/**
 * Dynamic quorum over real Raft, in virtual time: nodes fail one after the other, and those that are left go on.
 */
import { expect, test } from "vitest";
import { Controllers } from "./controllers.ts";

/** The examples leave quorum.forgiveAfter at its default. */
const FORGIVE_AFTER_MS = 10_000;

function votersOf(cluster: Controllers, by: number): readonly number[] {
  const { quorum } = cluster.member(by).driver.state();
  const { voters, confState } = cluster.member(by).driver.status();
  const isOver = quorum?.outgoing.length === 0 && confState.votersOutgoing.length === 0;
  // Leases and Raft go by the same voters, or the change is not over.
  return isOver && quorum.voters.join() === [...voters].sort().join() ? quorum.voters : [];
}

async function untilVoters(cluster: Controllers, by: number, wanted: readonly number[]): Promise<void> {
  await cluster.clock.until(() => votersOf(cluster, by).join() === wanted.join(), 30_000);
}

test("a voter that is away for less than forgiveAfter keeps its vote", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  cluster.kill(2);
  await cluster.clock.pass(FORGIVE_AFTER_MS - 2000);
  expect(cluster.member(1).driver.state().quorum).toBeUndefined();
});

test("nodes fail one after the other down to the last one, which still decides; who comes back votes again", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  cluster.kill(2);
  await untilVoters(cluster, 1, [1]);
  cluster.kill(3);
  await cluster.clock.pass(1000);
  expect(cluster.leader).toBe(1);
  const { result } = await resultOf(
    cluster.member(1).propose({ type: "weight", node: 1, weight: 2 }),
    cluster,
  );
  expect(result).toEqual({ ok: true, changed: true });

  cluster.revive(3);
  cluster.revive(2);
  await untilVoters(cluster, 1, [1, 2, 3]);
  await untilVoters(cluster, 2, [1, 2, 3]);
  cluster.kill(1);
  await cluster.clock.until(() => cluster.leader !== 0 && cluster.leader !== 1, 5000);
});

test("a node that votes alone is drained and stopped, and the other one decides", async () => {
  const cluster = new Controllers();
  await cluster.settle();
  cluster.kill(3);
  const alone = (): readonly number[] => votersOf(cluster, cluster.leader || 1);
  await cluster.clock.until(() => alone().length === 1, 30_000);
  const node = alone()[0]!;
  const other = node === 1 ? 2 : 1;
  void cluster.member(node).propose({ type: "setState", node, state: "draining" });
  const isDrained = (): boolean =>
    cluster.member(other).driver.state().members[node - 1]?.state === "drained";
  await cluster.clock.until(() => isDrained() && votersOf(cluster, other).join() === `${other}`, 30_000);
  cluster.kill(node);
  const command = { type: "weight", node: other, weight: 2 } as const;
  const { result } = await resultOf(cluster.member(other).propose(command), cluster);
  expect(result).toEqual({ ok: true, changed: true });
});

async function resultOf<T>(answer: Promise<T>, cluster: Controllers): Promise<{ readonly result: T }> {
  let result: T | undefined;
  void answer.then((value) => {
    result = value;
  });
  await cluster.clock.until(() => result !== undefined, 3000);
  return { result: result! };
}
