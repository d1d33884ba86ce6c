/**
 * Defence of a policy: the limits on floods that a policy asks for, over the engine's table and view. Owns what each part is given; its
 * half-open connections are counted anew as their packets come.
 */
import { isExclusive } from "../arp-answer.ts";
import type { EngineContext } from "../context.ts";
import type { PolicyModel } from "../policy-model.ts";
import { PrefixSet } from "../prefix-map.ts";
import { Defence } from "./defence.ts";

export function defenceOf(context: EngineContext, { protection }: PolicyModel): Defence {
  const { table, counters, key, clock, random } = context;
  const allow = new PrefixSet(protection?.allow ?? []);
  return new Defence(
    {
      table,
      counters,
      key,
      clock,
      random,
      isAllowed: (words, at) => allow.has(words, at),
      isOurs: (slot) => isExclusive(context, slot),
    },
    protection,
  );
}
