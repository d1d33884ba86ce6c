/**
 * Policies: the policies that this process has run on, newest last. A flow and a log record name their rule by its position, and
 * the policy by how many came before it, as the engine counts them (flow-maker.ts): so a name is never taken from another
 * policy's list. Owns the hit counters of each, which the worker writes; hits of a rule go on under its name.
 */
import type { PolicyModel } from "../dataplane/policy-model.ts";

/** Flows of older policies are rechecked at their next packet: few are left that nobody can name. */
const KEPT_MAX = 16;
/** As the engine counts: from 1, and after this from 1 again. */
const POLICIES = 0x7fff;
const DEFAULT_RULE = "default";

interface Kept {
  readonly policy: PolicyModel;
  readonly hits: Float64Array;
}

export class Policies {
  readonly #kept: (Kept & { readonly number: number })[] = [];
  /** Hits by rule name of policies that are not kept any more. */
  readonly #before = new Map<string, number>();

  constructor(policy: PolicyModel, ruleHits: SharedArrayBuffer) {
    this.#kept.push({ number: 1, policy, hits: new Float64Array(ruleHits) });
  }

  get current(): PolicyModel {
    return this.#kept.at(-1)!.policy;
  }

  /** A new policy, and the memory for its hits, for the worker. */
  add(policy: PolicyModel): SharedArrayBuffer {
    const ruleHits = new SharedArrayBuffer(8 * (policy.rules.length + 1));
    const number = (this.#kept.at(-1)!.number % POLICIES) + 1;
    this.#kept.push({ number, policy, hits: new Float64Array(ruleHits) });
    if (this.#kept.length > KEPT_MAX) this.#addHits(this.#kept.shift()!, this.#before);
    return ruleHits;
  }

  /** The policy of a number; 0 (another node decided) means the present one. Undefined when it is too long ago. */
  byNumber(number: number): PolicyModel | undefined {
    if (number === 0) return this.current;
    return this.#kept.find((kept) => kept.number === number)?.policy;
  }

  /** Name of a rule of a policy; empty when that policy is not known any more. */
  ruleName(index: number, number: number): string {
    const policy = this.byNumber(number);
    return policy === undefined ? "" : (policy.rules[index]?.name ?? DEFAULT_RULE);
  }

  /** Hits since the start, by name, of the rules that hold now; the built-in last rule is "default". */
  ruleHits(): { readonly rule: string; readonly hits: number }[] {
    const all = new Map(this.#before);
    for (const kept of this.#kept) this.#addHits(kept, all);
    return namesOf(this.current).map((rule) => ({ rule, hits: all.get(rule)! }));
  }

  #addHits({ policy, hits }: Kept, to: Map<string, number>): void {
    namesOf(policy).forEach((name, i) => {
      to.set(name, (to.get(name) ?? 0) + hits[i]!);
    });
  }
}

function namesOf({ rules }: PolicyModel): string[] {
  return [...rules.map((rule) => rule.name), DEFAULT_RULE];
}
