/**
 * What a drill samples from its members' status while it runs.
 */
import { expect, test } from "vitest";
import { SlotSampler } from "../../../../chaos/drill/sampler.ts";
import type { Stage } from "../../../../chaos/drill/stage.ts";
import { PAIR } from "../../cli/admin.ts";

/** What fw1 and fw2 answer in each look; undefined: dead. */
async function sampled(looks: readonly (readonly (number | undefined)[])[]): Promise<SlotSampler> {
  let look = 0;
  let onLook = (): void => {};
  const stage: Pick<Stage, "members" | "nowMs" | "every" | "ask"> = {
    members: PAIR.members.slice(0, 2).map(({ name }) => ({ name })) as unknown as Stage["members"],
    nowMs: () => 1000 + look,
    every: (_ms, callback) => {
      onLook = callback;
      return () => {};
    },
    ask: (async (member: string) => {
      const late = looks[look]![member === "fw1" ? 0 : 1];
      if (late === undefined) throw new Error("dead");
      const unprotected = { noPeer: 1000 * late, deadline: late - 1, holdFull: 1 };
      return { ...PAIR, node: member, dataplane: { ...PAIR.dataplane!, unprotected } };
    }) as unknown as Stage["ask"],
  };
  const sampler = new SlotSampler(stage as Stage);
  for (; look < looks.length; look++) {
    onLook();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return sampler;
}

test("flows that did not wait for a slow backup are those of the drill, over the members' lives", async () => {
  const sampler = await sampled([
    [100, 7],
    [102, 7],
    [undefined, 9],
    [3, 9],
    [4, 9],
  ]);
  expect(sampler.unprotectedFlows).toBe(2 + 2 + 4);
});

test("slots are those that the member with the latest epoch tells", async () => {
  const sampler = await sampled([[1, 1]]);
  expect(sampler.series(1000)).toEqual({ fw1: [[0, 32]], fw2: [[0, 32]] });
});
