/**
 * Policy checks: what is wrong with a policy whose syntax is right. Pure; answers all mistakes at once.
 * Each message says what is wrong and, after the last colon, what to do. Owns the order; each concept has its own file.
 */
import { checkAnswered } from "./answered.ts";
import { checkDnat, checkSnat } from "./check-nat.ts";
import { checkRules } from "./check-rules.ts";
import { checkNat64, checkStatics, unreachableByNat64 } from "./check-static-nat.ts";
import { checkRoutes, checkZones } from "./check-zones.ts";
import { checkFragments, checkProtection } from "./protection.ts";
import { checkServiceSets } from "./services.ts";
import { checkSets, unusedSets } from "./sets.ts";
import type { PolicyMistake, PolicySource } from "./source.ts";

export function checkPolicy(policy: PolicySource): PolicyMistake[] {
  const statics = checkStatics(policy);
  return [
    ...checkZones(policy),
    ...checkSets(policy),
    ...checkServiceSets(policy),
    ...checkRoutes(policy),
    ...checkSnat(policy),
    ...checkDnat(policy),
    ...statics,
    ...checkNat64(policy),
    ...checkAnswered(policy, statics),
    ...checkRules(policy),
    ...checkProtection(policy),
    ...checkFragments(policy),
  ];
}

/** What is right and most likely not meant: told by `synwall check`, and no reason to refuse a start. */
export function notesOf(policy: PolicySource): PolicyMistake[] {
  return [...unusedSets(policy), ...unreachableByNat64(policy)];
}
