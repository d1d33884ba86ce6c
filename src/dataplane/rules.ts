/**
 * Rules: the ordered filter rules as typed arrays; first match wins, no match means no. Owns matching and each rule's hits.
 * A list per pair of zones holds the rules that can match there, in order, so rules of other zones cost nothing.
 */
import { bias, firstOf, lastOf } from "./interval-map.ts";
import type { PolicyModel, PortRange, Prefix, RuleModel } from "./policy-model.ts";

/** match() when no rule matches: denied. */
export const NO_RULE = -1;

const ANY = -1;
/** Offsets of a rule's fields in the match array. */
const R_RULE = 0;
const R_PROTOCOL = 1;
const R_ICMP_TYPE = 2;
const R_ICMP_CODE = 3;
/** Four spans (start, end) in the ranges array: sources, destinations, source ports, destination ports. Empty: any. */
const R_SPANS = 4;
/** 1: only packets that a DNAT entry translated. */
const R_TRANSLATED = 12;
const RULE_WORDS = 13;

export class RuleTable {
  /** By rule: ACTION_*, COMMIT_*. */
  readonly action: Uint8Array;
  readonly commit: Uint8Array;
  readonly #hits: Float64Array;
  readonly #zones: number;
  /** By zone pair: first and end offset of its rules in #match. */
  readonly #lists: Int32Array;
  readonly #match: Int32Array;
  /** Pairs of biased lowest and highest values. */
  readonly #ranges: Int32Array;

  /** `hits` has a cell per rule and one more for packets that no rule matched. */
  constructor(model: PolicyModel, hits: Float64Array) {
    this.#hits = hits;
    this.action = Uint8Array.from(model.rules, (rule) => rule.action);
    this.commit = Uint8Array.from(model.rules, (rule) => rule.commit);
    this.#zones = Math.max(0, ...model.zones.map((zone) => zone.id)) + 1;
    const ranges: number[] = [];
    const compiled = model.rules.map((rule, index) => compile(rule, index, ranges));
    const match: number[] = [];
    this.#lists = new Int32Array(this.#zones * this.#zones * 2);
    for (let from = 0; from < this.#zones; from++) {
      for (let to = 0; to < this.#zones; to++) {
        const list = (from * this.#zones + to) * 2;
        this.#lists[list] = match.length;
        model.rules.forEach((rule, i) => {
          if (rule.fromZone !== ANY && rule.fromZone !== from) return;
          if (rule.toZone !== ANY && rule.toZone !== to) return;
          for (const word of compiled[i]!) match.push(word);
        });
        this.#lists[list + 1] = match.length;
      }
    }
    this.#match = Int32Array.from(match);
    this.#ranges = Int32Array.from(ranges);
  }

  /** Index of the first rule that matches, or NO_RULE; counts the hit. ICMP type and code are -1 for other protocols. */
  match(
    fromZone: number,
    toZone: number,
    protocol: number,
    source: number,
    destination: number,
    sourcePort: number,
    destinationPort: number,
    icmpType: number,
    icmpCode: number,
    isTranslated: boolean,
  ): number {
    const rules = this.#match;
    const list = (fromZone * this.#zones + toZone) * 2;
    const end = this.#lists[list + 1]!;
    const from = bias(source);
    const to = bias(destination);
    for (let at = this.#lists[list]!; at < end; at += RULE_WORDS) {
      const wanted = rules[at + R_PROTOCOL]!;
      if (wanted !== ANY && wanted !== protocol) continue;
      const spans = at + R_SPANS;
      if (rules[at + R_TRANSLATED]! === 1 && !isTranslated) continue;
      if (!this.#holds(spans, from)) continue;
      if (!this.#holds(spans + 2, to)) continue;
      if (!this.#holds(spans + 4, sourcePort)) continue;
      if (!this.#holds(spans + 6, destinationPort)) continue;
      if (rules[at + R_ICMP_TYPE]! !== ANY && rules[at + R_ICMP_TYPE]! !== icmpType) continue;
      if (rules[at + R_ICMP_CODE]! !== ANY && rules[at + R_ICMP_CODE]! !== icmpCode) continue;
      const rule = rules[at + R_RULE]!;
      this.#hits[rule] = this.#hits[rule]! + 1;
      return rule;
    }
    const denied = this.action.length;
    this.#hits[denied] = this.#hits[denied]! + 1;
    return NO_RULE;
  }

  #holds(span: number, value: number): boolean {
    const start = this.#match[span]!;
    const end = this.#match[span + 1]!;
    if (start === end) return true;
    for (let i = start; i < end; i += 2) {
      if (value >= this.#ranges[i]! && value <= this.#ranges[i + 1]!) return true;
    }
    return false;
  }
}

function compile(rule: RuleModel, index: number, ranges: number[]): number[] {
  const words = [index, rule.protocol, rule.icmpType, rule.icmpCode];
  addPrefixes(rule.sources, ranges, words);
  addPrefixes(rule.destinations, ranges, words);
  addPorts(rule.sourcePorts, ranges, words);
  addPorts(rule.destinationPorts, ranges, words);
  words.push(rule.isTranslated === true ? 1 : 0);
  return words;
}

function addPrefixes(prefixes: readonly Prefix[], ranges: number[], words: number[]): void {
  words.push(ranges.length);
  for (const prefix of prefixes) ranges.push(bias(firstOf(prefix)), bias(lastOf(prefix)));
  words.push(ranges.length);
}

function addPorts(ports: readonly PortRange[], ranges: number[], words: number[]): void {
  words.push(ranges.length);
  for (const { from, to } of ports) ranges.push(from, to);
  words.push(ranges.length);
}
