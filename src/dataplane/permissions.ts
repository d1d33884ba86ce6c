/**
 * Permissions: whether the policy of now allows what an older one let in: flows, open bindings, expectations. Owns the second look at
 * them, and which policies there were. Allows nothing new: that is flow-maker.ts.
 */
import { ADDRESS_WORDS, isIpv4 } from "../base/address.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../packet/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../packet/ipv6.ts";
import * as tcp from "../packet/tcp.ts";
import type { Adjuncts } from "./adjuncts.ts";
import type { Bindings } from "./bindings.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  F_META,
  F_PLACE,
  F_PORTS,
  F_RULE,
  FLAG_DNAT,
  FLAG_EXPECTED,
  FLAG_UNRULED,
  HELPERS,
  HELPERS_AT,
  helpersOf,
  NONE,
  REPLY_TUPLE,
  ROW_WORDS,
} from "./flow-layout.ts";
import { isCrossing } from "./nat64.ts";
import { type Packet, UNKNOWN_PORT } from "./packet.ts";
import { HELPER_SIP } from "./policy-model.ts";
import { RuleHistory } from "./rule-history.ts";
import { NO_RULE, RuleQuery, type RuleTable } from "./rules.ts";
import { boundProtocol } from "./satellites.ts";

/** F_RULE has 15 bits for the number of a policy, and 0 means that it was not this node's. */
const GENERATIONS = 0x7fff;

export interface PermissionParts {
  readonly context: EngineContext;
  readonly packet: Packet;
  readonly rules: RuleTable;
  readonly book: FlowBook;
  readonly adjuncts: Adjuncts;
  readonly bindings: Bindings;
}

export class Permissions {
  /** Policies since start, modulo 2^15: what F_RULE's upper half says about when a flow was last allowed. 0: not here. */
  generation = 1;
  #rules: RuleTable;
  readonly #context: EngineContext;
  readonly #packet: Packet;
  readonly #book: FlowBook;
  readonly #adjuncts: Adjuncts;
  readonly #bindings: Bindings;
  readonly #history = new RuleHistory();
  readonly #query = new RuleQuery();
  /** Set by #answer(): no interface by which the flow may have come in would get another answer. */
  #isSure = true;

  constructor(parts: PermissionParts) {
    this.#context = parts.context;
    this.#packet = parts.packet;
    this.#rules = parts.rules;
    this.#book = parts.book;
    this.#adjuncts = parts.adjuncts;
    this.#bindings = parts.bindings;
    this.#history.add(this.generation, parts.rules.helped);
  }

  /** Other rules hold from now on: everything is looked at again when its next packet comes. */
  useRules(rules: RuleTable): void {
    this.#rules = rules;
    this.generation = (this.generation % GENERATIONS) + 1;
    this.#history.add(this.generation, rules.helped);
  }

  /** Whether an expectation opens a zone, and the policy of now still allows the flow that announced it, with that helper. */
  isExpected(expectation: number, toZone: number): boolean {
    const { expectations } = this.#adjuncts.helpers;
    if (expectations.zoneOf(expectation) !== toZone) return false;
    const master = expectations.masterOf(expectation);
    if (this.isStillAllowed(master, NONE)) return expectations.isHeld(expectation);
    count(this.#context.counters, COUNT.policyEnded);
    this.#book.end(master);
    return false;
  }

  /**
   * Whether the host of a binding that is open to all may still go where it went last: what it may not use, nobody may. `isFromHost`:
   * the packet in hand is that host's own.
   */
  mayGoOut(binding: number, isFromHost: boolean): boolean {
    const { words } = this.#context.table;
    const base = binding * ROW_WORDS;
    const query = this.#query;
    const place = words[base + F_PLACE]!;
    const protocol = boundProtocol(words[base + F_META]! & 0xff);
    const sourcePort = this.#bindings.inner(binding, query.words);
    const farPort = this.#bindings.far(binding, query.words, ADDRESS_WORDS);
    this.#askFor(place, protocol, sourcePort, farPort);
    query.isTranslated = false;
    return this.#rules.accepts(this.#answer(isFromHost));
  }

  /**
   * Whether the policy of now would still let a flow in; asked at every packet, answered from the row unless the policy is a new
   * one. Flows that no rule let in live as long as the policy allows what they came of: an open binding, or a rule's helper.
   * `direction` is that of the packet in hand; NONE: it is not the flow's own.
   */
  isStillAllowed(row: number, direction: number): boolean {
    const words = this.#context.table.words;
    const allowed = row * ROW_WORDS + F_RULE;
    if (words[allowed]! >>> 16 === this.generation) return true;
    this.#isSure = true;
    const isAllowed = this.#recheck(row, allowed, direction);
    if (this.#isSure) count(this.#context.counters, COUNT.policyRechecked);
    return isAllowed;
  }

  #recheck(row: number, allowed: number, direction: number): boolean {
    const { words } = this.#context.table;
    const before = words[allowed]! & 0xffff;
    const meta = words[row * ROW_WORDS + F_META]!;
    const isUnruled = (meta & FLAG_UNRULED) !== 0;
    let rule = before;
    if (!isUnruled) {
      this.#askAgain(row);
      rule = this.#answer(direction === 0);
      if (!this.#rules.accepts(rule)) return false;
      if (this.#isSure) this.#help(row, this.#rules.helpers[rule]!);
    } else if (helpersOf(meta) === 0) {
      if (!this.#isStillOpen(row, direction)) return false;
    } else {
      rule = this.#stillHelped(row, before, words[allowed]! >>> 16);
      if (rule === NO_RULE) return false;
    }
    // The first packet that tells the interface decides for good; until then the flow has what it had.
    if (!this.#isSure) return true;
    words[allowed] = rule | (this.generation << 16);
    // A backup cannot ask again what no rule let in: it takes the number for one of its own policy.
    const isRenamed = isUnruled && rule !== before;
    if (isRenamed || words[row * ROW_WORDS + F_META] !== meta) this.#book.change(row);
    return true;
  }

  /** Whether a flow that a binding let in would be let in now; what answers it is the binding's host. */
  #isStillOpen(row: number, direction: number): boolean {
    if (!this.#bindings.isOpenFor(row)) return false;
    const binding = this.#bindings.of(row);
    return binding === NONE || this.mayGoOut(binding, direction === 1);
  }

  /** The present number of the rule whose helper let a flow in, if it still accepts with that helper; else NO_RULE. */
  #stillHelped(row: number, before: number, generation: number): number {
    const rule = this.#history.present(before, generation);
    if (!this.#rules.accepts(rule)) return NO_RULE;
    const meta = this.#context.table.words[row * ROW_WORDS + F_META]!;
    const bits = this.#rules.helpers[rule]!;
    const isSignalling = (meta & FLAG_EXPECTED) === 0;
    if ((bits & (isSignalling ? HELPER_SIP : helpersOf(meta))) === 0) return NO_RULE;
    if (isSignalling) this.#help(row, bits);
    return rule;
  }

  /** The helpers of a flow are those that its rule of now asks for; what others announced ends. */
  #help(row: number, bits: number): void {
    const { words } = this.#context.table;
    const meta = row * ROW_WORDS + F_META;
    const before = helpersOf(words[meta]!);
    if (before === bits) return;
    words[meta] = (words[meta]! & ~HELPERS) | (bits << HELPERS_AT);
    if ((before & ~bits) !== 0) this.#adjuncts.helpers.expectations.endUnhelped(row, bits);
  }

  /**
   * What the rules say to the query. By which interface a flow came in is told only by a packet that goes the same way, unless another
   * node redirected it from one that is unknown here; else it may have been any of its zone, and one that is accepted is enough.
   */
  #answer(isSameWay: boolean): number {
    const { ports } = this.#context;
    const query = this.#query;
    if (isSameWay && this.#packet.port !== UNKNOWN_PORT) {
      query.interface = this.#packet.port;
      return this.#rules.peek(query);
    }
    let answer = NO_RULE;
    let asked = 0;
    let isSame = true;
    for (let i = 0; i < ports.length; i++) {
      if (ports[i]!.zone !== query.fromZone) continue;
      query.interface = i;
      const rule = this.#rules.peek(query);
      if (asked > 0 && rule !== answer) isSame = false;
      if (asked === 0 || !this.#rules.accepts(answer)) answer = rule;
      asked++;
    }
    this.#isSure = isSame || !this.#rules.accepts(answer);
    return answer;
  }

  /** Fills in what the rules asked of a flow's first packet, as far as the row tells. */
  #askAgain(row: number): void {
    const { table } = this.#context;
    const query = this.#query;
    const base = row * ROW_WORDS;
    const meta = table.words[base + F_META]!;
    const place = table.words[base + F_PLACE]!;
    table.address(row, 0, 0, query.words, 0);
    table.address(row, 1, 0, query.words, ADDRESS_WORDS);
    const ports = table.words[base + F_PORTS]!;
    this.#askFor(place, meta & 0xff, ports >>> 16, table.words[base + REPLY_TUPLE + F_PORTS]! >>> 16);
    const kind = ports & 0xffff;
    if (query.icmpType >= 0 && kind !== 0) query.icmpType = kind;
    // NAT64 gives every packet another destination, and is no permission.
    query.isTranslated = (meta & FLAG_DNAT) !== 0 && !isCrossing(meta);
  }

  /** What the rules ask of the first packet of a flow between the query's addresses, but for its interface; of ICMP an echo. */
  #askFor(place: number, protocol: number, sourcePort: number, destinationPort: number): void {
    const query = this.#query;
    const isIcmp = protocol === PROTOCOL_ICMP;
    const isIpv6 = !isIpv4(query.words, 0);
    query.fromZone = (place >>> 16) & 0xff;
    query.toZone = place >>> 24;
    query.protocol = isIcmp && isIpv6 ? PROTOCOL_ICMPV6 : protocol;
    query.sourcePort = isIcmp ? 0 : sourcePort;
    query.destinationPort = isIcmp ? 0 : destinationPort;
    query.icmpType = isIcmp ? (isIpv6 ? icmpv6.ICMPV6_ECHO : icmp.ICMP_ECHO) : -1;
    query.icmpCode = isIcmp ? 0 : -1;
    query.tcpFlags = protocol === PROTOCOL_TCP ? tcp.SYN : -1;
  }
}
