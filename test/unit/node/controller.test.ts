import { expect, test } from "vitest";
import { Controllers } from "./controllers.ts";

/** Lets `id` lead. */
async function leadBy(cluster: Controllers, id: number): Promise<void> {
  await cluster.settle();
  if (cluster.leader !== id) cluster.member(cluster.leader).driver.transferLeader(id);
  await cluster.clock.until(() => cluster.leader === id);
}

test("a node that leads and was drained hands leadership to the other node", async () => {
  const cluster = new Controllers();
  await leadBy(cluster, 1);
  const termBefore = cluster.member(1).driver.status().term;
  void cluster.member(2).drain("fw1", 10_000);
  await cluster.clock.until(() => cluster.leader === 2);
  const { driver } = cluster.member(2);
  expect(driver.state().members.find(({ id }) => id === 1)?.state).toBe("drained");
  // One transfer, no election that timed out.
  expect(driver.status().term).toBe(termBefore + 1);
});

test("a drained node that does not lead leaves the leader alone", async () => {
  const cluster = new Controllers();
  await leadBy(cluster, 2);
  void cluster.member(2).drain("fw1", 10_000);
  await cluster.clock.until(() =>
    cluster
      .member(1)
      .driver.state()
      .members.some(({ id, state }) => id === 1 && state === "drained"),
  );
  await cluster.clock.pass(600);
  expect(cluster.leader).toBe(2);
});

test("handOver() ends when another node leads, and its commands are decided as before", async () => {
  const cluster = new Controllers();
  await leadBy(cluster, 1);
  const startedMs = cluster.clock.nowMs();
  let tookMs: number | undefined;
  void cluster
    .member(1)
    .succession.handOver()
    .then(() => {
      tookMs = cluster.clock.nowMs() - startedMs;
    });
  await cluster.clock.until(() => tookMs !== undefined);
  expect(cluster.leader).toBe(2);
  expect(tookMs).toBeLessThan(20);
});

test("handOver() of who does not lead is over at once", async () => {
  const cluster = new Controllers();
  await leadBy(cluster, 2);
  await cluster.member(1).succession.handOver();
  expect(cluster.leader).toBe(2);
});
