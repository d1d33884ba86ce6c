/**
 * Rules: the ordered filter rules; first match wins, no match means no. Owns what a rule says besides what it matches: action,
 * commit, log, helpers, its hits, its schedule and its rate. Matching is rules/classifier.ts's.
 *
 *   rules -> lines (rules/lines.ts) -> cuts of each field -> classes -> products        rules/compile.ts, when a policy comes
 *   packet -> RuleQuery -> first line -> rule                                           per new flow
 */
import { ACTION_ACCEPT, type ScheduleModel } from "./policy-model.ts";
import { Classifier, NO_LINE } from "./rules/classifier.ts";
import {
  type CompiledRules,
  LIMIT_AT,
  LIMIT_BURST,
  LIMIT_PER_SECOND,
  LIMIT_TOKENS,
  NO_LIMIT,
} from "./rules/compile.ts";

/** match() when no rule matches: denied. */
export const NO_RULE = -1;

/** What rules ask of a packet. Made once; filled in for every new flow. */
export class RuleQuery {
  fromZone = 0;
  toZone = 0;
  /** Port index of the ingress interface; what is none matches no list of them. */
  interface = 0;
  /** Of the header: ICMPv6 is 58. */
  protocol = 0;
  /** Source at word 0, destination (after DNAT) at word 4: base/address.ts. */
  readonly words = new Int32Array(8);
  /** 0 for a protocol without ports. */
  sourcePort = 0;
  destinationPort = 0;
  /** -1 for other protocols than ICMP and ICMPv6. */
  icmpType = -1;
  icmpCode = -1;
  /** The flags byte; -1 for other protocols than TCP. */
  tcpFlags = -1;
  /** A DNAT entry gave it its destination. */
  isTranslated = false;
}

const DAYS = 7;

export class RuleTable {
  /** By rule: ACTION_*, COMMIT_*, 1 when what it decides is logged, HELPER_* bits. */
  readonly action: Uint8Array;
  readonly commit: Uint8Array;
  readonly log: Uint8Array;
  readonly helpers: Uint8Array;
  readonly helped: CompiledRules["helped"];
  /** How it matches: for benches and reports. */
  readonly classifier: Classifier;
  readonly #hits: Float64Array;
  readonly #ruleOfLine: Int32Array;
  readonly #scheduled: CompiledRules["scheduled"];
  readonly #limitOf: Int32Array;
  readonly #limits: Float64Array;

  /** `hits` has a cell per rule and one more for packets that no rule matched. */
  constructor(compiled: CompiledRules, hits: Float64Array) {
    this.#hits = hits;
    this.action = compiled.action;
    this.commit = compiled.commit;
    this.log = compiled.log;
    this.helpers = compiled.helpers;
    this.helped = compiled.helped;
    this.classifier = new Classifier(compiled.image);
    this.#ruleOfLine = compiled.ruleOfLine;
    this.#scheduled = compiled.scheduled;
    // Until it is told what time it is, a rule with a schedule does not hold.
    for (const { line } of this.#scheduled) this.classifier.setAwake(line, false);
    this.#limitOf = compiled.limitOf;
    this.#limits = compiled.limits;
  }

  /** Index of the first rule that matches, or NO_RULE; counts the hit. */
  match(query: RuleQuery): number {
    const rule = this.peek(query);
    const cell = rule === NO_RULE ? this.action.length : rule;
    this.#hits[cell] = this.#hits[cell]! + 1;
    return rule;
  }

  /** match() without counting. */
  peek(query: RuleQuery): number {
    const values = this.classifier.values;
    values[0] = query.fromZone;
    values[1] = query.toZone;
    values[2] = query.interface;
    values[3] = query.protocol;
    values[4] = query.icmpType;
    values[5] = query.icmpCode;
    values[6] = query.tcpFlags;
    values[7] = query.isTranslated ? 1 : 0;
    values[8] = query.sourcePort;
    values[9] = query.destinationPort;
    const line = this.classifier.find(query.words);
    return line === NO_LINE ? NO_RULE : this.#ruleOfLine[line]!;
  }

  /** Whether a rule that match() or peek() answered lets a flow in. */
  accepts(rule: number): boolean {
    return rule !== NO_RULE && this.action[rule] === ACTION_ACCEPT;
  }

  /** Whether a rule may take one more new flow at time `clock[0]`, which it then has: its own rate limit. */
  take(rule: number, clock: Float64Array): boolean {
    const at = this.#limitOf[rule]!;
    if (at === NO_LIMIT) return true;
    const limits = this.#limits;
    const now = clock[0]!;
    const added = ((now - limits[at + LIMIT_AT]!) * limits[at + LIMIT_PER_SECOND]!) / 1000;
    const tokens = Math.min(limits[at + LIMIT_TOKENS]! + added, limits[at + LIMIT_BURST]!);
    limits[at + LIMIT_AT] = now;
    limits[at + LIMIT_TOKENS] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }

  /** Tells what time it is, UTC: the day as one bit (1 is Sunday, 64 is Saturday) and the minute of it, 0..1439. */
  setMinute(dayBit: number, minuteOfDay: number): void {
    for (const { line, schedule } of this.#scheduled) {
      this.classifier.setAwake(line, isIn(schedule, dayBit, minuteOfDay));
    }
  }
}

function isIn({ days, fromMinute, toMinute }: ScheduleModel, dayBit: number, minute: number): boolean {
  const isToday = (days & dayBit) !== 0;
  if (fromMinute <= toMinute) return isToday && minute >= fromMinute && minute < toMinute;
  const dayBefore = dayBit === 1 ? 1 << (DAYS - 1) : dayBit >> 1;
  return (isToday && minute >= fromMinute) || ((days & dayBefore) !== 0 && minute < toMinute);
}
