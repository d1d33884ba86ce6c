/**
 * Rules: the ordered filter rules as typed arrays; first match wins, no match means no. Owns matching and each rule's hits.
 *
 * Every pair of zones has its own list. In a long list each rule stands in one index only, by its most telling field:
 * destination, source or destination port; what has none of them is tried for every packet. A packet then meets the few
 * rules that its own addresses and port lead to, merged in order, and the first one that matches in all fields wins.
 */
import { bias, firstOf, lastOf } from "./interval-map.ts";
import type { PolicyModel, PortRange, Prefix, RuleModel } from "./policy-model.ts";
import { type IndexedRange, RangeIndex } from "./range-index.ts";

/** match() when no rule matches: denied. */
export const NO_RULE = -1;

const ANY = -1;
/** Offsets of a rule's fields in the match array. */
const R_PROTOCOL = 0;
const R_ICMP_TYPE = 1;
const R_ICMP_CODE = 2;
/** 1: only packets that a DNAT entry translated. */
const R_TRANSLATED = 3;
/** Four spans (start, end) in the ranges array: sources, destinations, source ports, destination ports. Empty: any. */
const R_SPANS = 4;
const RULE_WORDS = 12;

/** Shorter lists are tried rule by rule. */
const INDEXED_RULES_MIN = 32;
/** A field whose ranges overlap so much that an index would need more entries than this is no good as an index. */
const ENTRIES_MAX = 4_000_000;
/** No more rules. */
const END = 0x7fffffff;

export class RuleTable {
  /** By rule: ACTION_*, COMMIT_*, and 1 when what it decides is logged. */
  readonly action: Uint8Array;
  readonly commit: Uint8Array;
  readonly log: Uint8Array;
  readonly #hits: Float64Array;
  readonly #zones: number;
  /** By zone pair. */
  readonly #lists: readonly RuleList[];
  /** RULE_WORDS a rule. */
  readonly #match: Int32Array;
  /** Pairs of lowest and highest values; addresses are biased. */
  readonly #ranges: Int32Array;

  /** `hits` has a cell per rule and one more for packets that no rule matched. */
  constructor(model: PolicyModel, hits: Float64Array) {
    this.#hits = hits;
    this.action = Uint8Array.from(model.rules, (rule) => rule.action);
    this.commit = Uint8Array.from(model.rules, (rule) => rule.commit);
    this.log = Uint8Array.from(model.rules, (rule) => (rule.log ? 1 : 0));
    this.#zones = Math.max(0, ...model.zones.map((zone) => zone.id)) + 1;
    const ranges: number[] = [];
    this.#match = Int32Array.from(model.rules.flatMap((rule) => compile(rule, ranges)));
    this.#ranges = Int32Array.from(ranges);
    const lists: RuleList[] = [];
    for (let from = 0; from < this.#zones; from++) {
      for (let to = 0; to < this.#zones; to++) lists.push(new RuleList(model.rules, from, to));
    }
    this.#lists = lists;
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
    const list = this.#lists[fromZone * this.#zones + toZone]!;
    const from = bias(source);
    const to = bias(destination);
    list.start(from, to, destinationPort);
    for (let rule = list.next(); rule !== END; rule = list.next()) {
      const at = rule * RULE_WORDS;
      const rules = this.#match;
      const wanted = rules[at + R_PROTOCOL]!;
      if (wanted !== ANY && wanted !== protocol) continue;
      const spans = at + R_SPANS;
      if (!this.#holds(spans, from)) continue;
      if (!this.#holds(spans + 2, to)) continue;
      if (!this.#holds(spans + 4, sourcePort)) continue;
      if (!this.#holds(spans + 6, destinationPort)) continue;
      if (rules[at + R_ICMP_TYPE]! !== ANY && rules[at + R_ICMP_TYPE]! !== icmpType) continue;
      if (rules[at + R_ICMP_CODE]! !== ANY && rules[at + R_ICMP_CODE]! !== icmpCode) continue;
      if (rules[at + R_TRANSLATED]! === 1 && !isTranslated) continue;
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

/** The rules of one pair of zones, and a cursor over those that a packet must be tried against. */
class RuleList {
  readonly #destinations: RangeIndex;
  readonly #sources: RangeIndex;
  readonly #ports: RangeIndex;
  readonly #others: Int32Array;
  /** Next entry and end, for the four parts. */
  readonly #cursor = new Int32Array(8);

  constructor(rules: readonly RuleModel[], fromZone: number, toZone: number) {
    const members = rules
      .map((rule, index) => ({ rule, index }))
      .filter(
        ({ rule }) =>
          (rule.fromZone === ANY || rule.fromZone === fromZone) &&
          (rule.toZone === ANY || rule.toZone === toZone),
      );
    const parts: [IndexedRange[], IndexedRange[], IndexedRange[]] = [[], [], []];
    const others: number[] = [];
    for (const { rule, index } of members) {
      const fields = [
        prefixRanges(rule.destinations),
        prefixRanges(rule.sources),
        portRanges(rule.destinationPorts),
      ];
      const part = members.length < INDEXED_RULES_MIN ? -1 : fields.findIndex((ranges) => ranges.length > 0);
      if (part < 0) others.push(index);
      else parts[part]!.push(...fields[part]!.map(([from, to]) => ({ from, to, rule: index })));
    }
    const indexes = parts.map((ranges) => {
      if (entriesOf(ranges) <= ENTRIES_MAX) return new RangeIndex(ranges);
      for (const { rule } of ranges) others.push(rule);
      return new RangeIndex([]);
    });
    this.#destinations = indexes[0]!;
    this.#sources = indexes[1]!;
    this.#ports = indexes[2]!;
    this.#others = Int32Array.from([...new Set(others)].sort((a, b) => a - b));
  }

  /** Sets the cursor to the rules that these values lead to. */
  start(source: number, destination: number, destinationPort: number): void {
    const cursor = this.#cursor;
    const byDestination = this.#destinations.find(destination);
    cursor[0] = this.#destinations.begin(byDestination);
    cursor[1] = this.#destinations.end(byDestination);
    const bySource = this.#sources.find(source);
    cursor[2] = this.#sources.begin(bySource);
    cursor[3] = this.#sources.end(bySource);
    const byPort = this.#ports.find(destinationPort);
    cursor[4] = this.#ports.begin(byPort);
    cursor[5] = this.#ports.end(byPort);
    cursor[6] = 0;
    cursor[7] = this.#others.length;
  }

  /** The next rule in order, or END. */
  next(): number {
    const cursor = this.#cursor;
    const a = cursor[0]! < cursor[1]! ? this.#destinations.entries[cursor[0]!]! : END;
    const b = cursor[2]! < cursor[3]! ? this.#sources.entries[cursor[2]!]! : END;
    const c = cursor[4]! < cursor[5]! ? this.#ports.entries[cursor[4]!]! : END;
    const d = cursor[6]! < cursor[7]! ? this.#others[cursor[6]!]! : END;
    const ab = Math.min(a, b);
    const cd = Math.min(c, d);
    const first = Math.min(ab, cd);
    // A rule stands in one part only, so exactly one cursor moves.
    if (first === END) return END;
    const part = first === a ? 0 : first === b ? 2 : first === c ? 4 : 6;
    cursor[part] = cursor[part]! + 1;
    return first;
  }
}

/** How many entries an index over these ranges would have. */
function entriesOf(ranges: readonly IndexedRange[]): number {
  const bounds = [...new Set(ranges.flatMap(({ from, to }) => [from, to + 1]))].sort((a, b) => a - b);
  const position = new Map(bounds.map((bound, i) => [bound, i]));
  return ranges.reduce((sum, { from, to }) => sum + position.get(to + 1)! - position.get(from)!, 0);
}

function prefixRanges(prefixes: readonly Prefix[]): [number, number][] {
  return prefixes.map((prefix) => [bias(firstOf(prefix)), bias(lastOf(prefix))]);
}

function portRanges(ports: readonly PortRange[]): [number, number][] {
  return ports.map(({ from, to }) => [from, to]);
}

function compile(rule: RuleModel, ranges: number[]): number[] {
  const words = [rule.protocol, rule.icmpType, rule.icmpCode, rule.isTranslated === true ? 1 : 0];
  for (const field of [
    prefixRanges(rule.sources),
    prefixRanges(rule.destinations),
    portRanges(rule.sourcePorts),
    portRanges(rule.destinationPorts),
  ]) {
    words.push(ranges.length);
    for (const [from, to] of field) ranges.push(from, to);
    words.push(ranges.length);
  }
  return words;
}
