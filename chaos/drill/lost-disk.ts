/**
 * Lost disk: a node dies together with its disk, and its machine joins anew in its name, as a drill. Owns what must have become of
 * both ids: the former one is no member any more, the new one carries slots.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { type Stage, waitSettledOn } from "./stage.ts";

export async function lostDisk(stage: Stage, victim: string, helper: string) {
  const former = idOf(stage, victim);
  const before = await stage.ask(helper, "status", {});
  const faultAtMs = await stage.loseDisk(victim);
  const deaths = [{ member: victim, atMs: faultAtMs }];
  await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
  await stage.start(victim);
  await waitSettledOn(stage);
  await checkSuccession(stage, { victim, helper, former });
  return { faultAtMs, deaths, settle: {} };
}

/** Throws SW_DRILL_FAILED unless one member has the name, under another id, and carries slots. */
async function checkSuccession(
  stage: Stage,
  { victim, helper, former }: { readonly victim: string; readonly helper: string; readonly former: number },
): Promise<void> {
  const { members } = await stage.ask(helper, "cluster.members", {});
  const ids = members.filter(({ name }) => name === victim).map(({ id }) => id);
  const { slots } = await stage.ask(helper, "status", {});
  const owned = slots.owner.filter((owner) => owner === ids[0]).length;
  stage.progress(`${victim} was member ${former}, is member ${ids.join(", ")} now, and owns ${owned} slots`);
  if (ids.length === 1 && ids[0] !== former && owned > 0) return;
  throw new SynwallError(
    "SW_DRILL_FAILED",
    `${victim}, member ${former} before its disk was lost, is member ${ids.join(" and ")} with ${owned} slots: one other id with slots is due`,
  );
}

function idOf(stage: Stage, name: string): number {
  return stage.members.find((member) => member.name === name)!.id;
}
