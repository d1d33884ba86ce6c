/**
 * Until when a cluster is asked whether it is whole.
 */
import { expect, test } from "vitest";
import { type Settling, settle } from "../../../../chaos/lab/settling.ts";
import type { StatusReport } from "../../../../src/node/admin-model.ts";
import { PAIR } from "../../cli/admin.ts";

/** fw2 says in each look what `looks` says; fw1 is whole. */
function pair(looks: readonly (Partial<StatusReport> | undefined)[]): Settling & { readonly told: string[] } {
  let look = -1;
  const told: string[] = [];
  const members = PAIR.members.filter(({ role }) => role === "node");
  return {
    told,
    members: members as unknown as Settling["members"],
    nowMs: () => look,
    pause: async () => {},
    statusOf: async (member) => {
      if (member === "fw1") look++;
      const change = member === "fw1" ? {} : looks[look];
      return change === undefined ? undefined : { ...PAIR, ...change, node: member };
    },
    failWhenDead: () => {},
    progress: (line) => told.push(line),
  };
}

test("a cluster is whole when all its members say so, and what is waited for is told once", async () => {
  const cluster = pair([
    undefined,
    { leader: "" },
    { leader: "" },
    { isSettled: false },
    { isReady: false },
    {},
  ]);
  expect(await settle(cluster, { timeoutMs: 100 })).toBe("");
  expect(cluster.told).toEqual([
    "fw2: waiting for its admin socket",
    "fw2: waiting for a leader",
    "fw2: epoch 12, waiting for slots to settle",
    "fw2: epoch 12, receiving flows",
  ]);
});

test("a fenced node is waited for: others may be about to take its slots", async () => {
  const cluster = pair([{ lease: { validForMs: 0, isFenced: true } }, {}]);
  expect(await settle(cluster, { timeoutMs: 100 })).toBe("");
  expect(cluster.told).toEqual(["fw2: waiting for its lease"]);
});

test("when time is up it answers what was waited for", async () => {
  const cluster = pair(new Array(10).fill({ isSettled: false }));
  expect(await settle(cluster, { timeoutMs: 5 })).toBe("fw2: epoch 12, waiting for slots to settle");
});
