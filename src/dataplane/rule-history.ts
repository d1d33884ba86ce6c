/**
 * Rule history: which rule of now a rule of an earlier policy is, by its name. Owns the names of rules with helpers: what these let
 * in has no addresses and ports of its own that rules could be asked about (flow-maker.ts).
 */
import { NO_RULE } from "./rules.ts";

/** Policies that are remembered: what was not looked at since an older one belongs to no rule any more. */
const KEPT_MAX = 16;

export interface NamedRule {
  readonly rule: number;
  readonly name: string;
}

export class RuleHistory {
  readonly #kept: { readonly generation: number; readonly names: ReadonlyMap<number, string> }[] = [];
  #now: ReadonlyMap<string, number> = new Map();

  /** Another policy holds: its number, and its rules with helpers. */
  add(generation: number, named: readonly NamedRule[]): void {
    this.#now = new Map(named.map(({ rule, name }) => [name, rule]));
    this.#kept.push({ generation, names: new Map(named.map(({ rule, name }) => [rule, name])) });
    if (this.#kept.length > KEPT_MAX) this.#kept.shift();
  }

  /** The present number of a rule of the policy of `generation`, or NO_RULE; 0 stands for the present policy. */
  present(rule: number, generation: number): number {
    if (generation === 0) return rule;
    for (let i = this.#kept.length - 1; i >= 0; i--) {
      const kept = this.#kept[i]!;
      if (kept.generation !== generation) continue;
      const name = kept.names.get(rule);
      return name === undefined ? NO_RULE : (this.#now.get(name) ?? NO_RULE);
    }
    return NO_RULE;
  }
}
