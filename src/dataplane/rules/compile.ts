/**
 * Compile: rules become arrays that a packet can ask, on any thread, so that a large policy is made beside the packets and not
 * between two of them. Owns what RuleTable (rules.ts) is made from.
 */
import type { RuleModel, ScheduleModel } from "../policy-model.ts";
import type { NamedRule } from "../rule-history.ts";
import { CLASSIFIER_LIMITS, type ClassifierImage, type ClassifierLimits, makeImage } from "./image.ts";
import { linesOf } from "./lines.ts";

/** By rule, where it has no rate limit. */
export const NO_LIMIT = -1;
/** A rate limit: tokens a second, most tokens, tokens left, and when they were counted. */
export const LIMIT_PER_SECOND = 0;
export const LIMIT_BURST = 1;
export const LIMIT_TOKENS = 2;
export const LIMIT_AT = 3;
const LIMIT_DOUBLES = 4;

export interface CompiledRules {
  /** By rule: ACTION_*, COMMIT_*, 1 when what it decides is logged, HELPER_* bits. */
  readonly action: Uint8Array;
  readonly commit: Uint8Array;
  readonly log: Uint8Array;
  readonly helpers: Uint8Array;
  /** The rules with helpers. */
  readonly helped: readonly NamedRule[];
  /** By rule: where its limit is, or NO_LIMIT. */
  readonly limitOf: Int32Array;
  readonly limits: Float64Array;
  /** By line. */
  readonly ruleOfLine: Int32Array;
  readonly scheduled: readonly { readonly line: number; readonly schedule: ScheduleModel }[];
  readonly image: ClassifierImage;
}

/** Takes a good part of a second for 10,000 rules. */
export function compileRules(
  rules: readonly RuleModel[],
  limits: ClassifierLimits = CLASSIFIER_LIMITS,
): CompiledRules {
  const lines = linesOf(rules);
  const [limitOf, rates] = limitsOf(rules);
  return {
    action: Uint8Array.from(rules, (rule) => rule.action),
    commit: Uint8Array.from(rules, (rule) => rule.commit),
    log: Uint8Array.from(rules, (rule) => (rule.log ? 1 : 0)),
    helpers: Uint8Array.from(rules, (rule) => rule.helpers ?? 0),
    helped: rules.flatMap(({ helpers = 0, name }, rule) => (helpers === 0 ? [] : [{ rule, name }])),
    limitOf,
    limits: rates,
    ruleOfLine: Int32Array.from(lines, ({ rule }) => rule),
    scheduled: lines.flatMap(({ model: { schedule } }, line) =>
      schedule === undefined ? [] : [{ line, schedule }],
    ),
    image: makeImage(lines, limits),
  };
}

function limitsOf(rules: readonly RuleModel[]): [limitOf: Int32Array, limits: Float64Array] {
  const limits: number[] = [];
  const limitOf = Int32Array.from(rules, ({ rate }) => {
    if (rate === undefined) return NO_LIMIT;
    limits.push(rate.perSecond, rate.burst, rate.burst, 0);
    return limits.length - LIMIT_DOUBLES;
  });
  return [limitOf, Float64Array.from(limits)];
}
