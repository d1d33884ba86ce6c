/**
 * Flow maker: a new flow in a slot that is ours: rules, limits, NAT, row, record, and then the packet itself. Owns the order of
 * these, and the second look at flows that were allowed under an older policy. The rules come before anything that could answer:
 * to whom they deny it, the firewall is not there.
 */
import { ADDRESS_WORDS, copyAddress, isIpv4 } from "../base/address.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../packet/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../packet/ipv6.ts";
import * as tcp from "../packet/tcp.ts";
import { type Adjuncts, MAY_LEAVE } from "./adjuncts.ts";
import type { Bindings } from "./bindings.ts";
import { PEER_ALIVE } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { ADMIT_BY_COOKIE, ADMITTED, type Defence } from "./defence/defence.ts";
import { DROP_SYN_COOKIE, type SynProxy } from "./defence/syn-proxy.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  F_META,
  F_PLACE,
  F_PORTS,
  F_RULE,
  F_TRACKED,
  FLAG_DNAT,
  FLAG_EXPECTED,
  FLAG_NAT,
  FLAG_UNRULED,
  HELPERS,
  HELPERS_AT,
  helpersOf,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import { type Forwarder, LOOP, NO_EGRESS } from "./forwarder.ts";
import { mssLimit } from "./mss.ts";
import { isCrossing } from "./nat64.ts";
import { KIND_ECHO_REPLY, KIND_ICMP_ERROR, KIND_TCP, P_SOURCE, PARSED, type Packet } from "./packet.ts";
import {
  ACTION_ACCEPT,
  ACTION_REJECT,
  COMMIT_ASYNC,
  COMMIT_DEFAULT,
  COMMIT_SYNC,
  HELPER_SIP,
} from "./policy-model.ts";
import { refuse } from "./reject.ts";
import type { Replaced } from "./replaced.ts";
import { RuleHistory } from "./rule-history.ts";
import type { RuleLog } from "./rule-log.ts";
import { NO_RULE, RuleQuery, type RuleTable } from "./rules.ts";
import { boundProtocol } from "./satellites.ts";
import { hasBadFlags, isOpening } from "./tcp-tracker.ts";
import type { Tenures } from "./tenures.ts";
import { beginTracking } from "./trackers.ts";
import type { Translation } from "./translation.ts";
import { dropVerdict, VERDICT_ANSWERED, VERDICT_FORWARDED } from "./verdict.ts";
import type { Waiting } from "./waiting.ts";

const DROP_DENIED = dropVerdict("denied");
const DROP_INVALID_STATE = dropVerdict("invalid_state");
const DROP_ICMP_UNRELATED = dropVerdict("icmp_unrelated");
const DROP_NAT_PORTS = dropVerdict("nat_port_exhausted");
const DROP_TABLE_FULL = dropVerdict("table_full");
const DROP_RULE_RATE = dropVerdict("rule_rate");

export interface FlowMakerParts {
  readonly context: EngineContext;
  readonly packet: Packet;
  readonly rules: RuleTable;
  readonly ruleLog: RuleLog;
  readonly book: FlowBook;
  readonly tenures: Tenures;
  readonly waiting: Waiting;
  readonly forwarder: Forwarder;
  readonly translation: Translation;
  readonly defence: Defence;
  readonly proxy: SynProxy;
  readonly adjuncts: Adjuncts;
  readonly replaced: Replaced;
  readonly bindings: Bindings;
}

export class FlowMaker {
  /** The packet in hand came back with a cookie: its source is no lie. */
  isProven = false;
  /** Policies since start, modulo 2^15: what F_RULE's upper half says about when a flow was last allowed. 0: not here. */
  #generation = 1;
  #rules: RuleTable;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #packet: Packet;
  readonly #ruleLog: RuleLog;
  readonly #book: FlowBook;
  readonly #tenures: Tenures;
  readonly #waiting: Waiting;
  readonly #forwarder: Forwarder;
  readonly #translation: Translation;
  #defence: Defence;
  readonly #proxy: SynProxy;
  readonly #adjuncts: Adjuncts;
  readonly #replaced: Replaced;
  readonly #bindings: Bindings;
  readonly #history = new RuleHistory();
  readonly #query = new RuleQuery();
  /** Reply tuple's addresses of the flow in hand. */
  readonly #reply = new Int32Array(2 * ADDRESS_WORDS);

  constructor(parts: FlowMakerParts) {
    this.#context = parts.context;
    this.#bytes = parts.context.frames.bytes;
    this.#packet = parts.packet;
    this.#rules = parts.rules;
    this.#ruleLog = parts.ruleLog;
    this.#book = parts.book;
    this.#tenures = parts.tenures;
    this.#waiting = parts.waiting;
    this.#forwarder = parts.forwarder;
    this.#translation = parts.translation;
    this.#defence = parts.defence;
    this.#proxy = parts.proxy;
    this.#adjuncts = parts.adjuncts;
    this.#replaced = parts.replaced;
    this.#bindings = parts.bindings;
    this.#history.add(this.#generation, parts.rules.helped);
  }

  /** Other rules hold from now on; flows are looked at again when their next packet comes. */
  useRules(rules: RuleTable, defence: Defence): void {
    this.#rules = rules;
    this.#defence = defence;
    this.#generation = (this.#generation % 0x7fff) + 1;
    this.#history.add(this.#generation, rules.helped);
    this.#ruleLog.policy = this.#generation;
  }

  /** The drop reason of a packet that only a known flow could explain; else `otherwise`. */
  unexpected(otherwise: number): number {
    const kind = this.#packet.kind;
    if (kind === KIND_ICMP_ERROR) return DROP_ICMP_UNRELATED;
    if (kind === KIND_ECHO_REPLY) return DROP_INVALID_STATE;
    return kind === KIND_TCP && !isOpening(tcp.flags(this.#bytes, this.#packet.l4At))
      ? DROP_INVALID_STATE
      : otherwise;
  }

  /** Decides a packet without a flow, of which translation.inbound() knows the destination and that leaves by `toZone`. */
  create(slot: number, toZone: number): number {
    const packet = this.#packet;
    this.isProven = false;
    if (this.#mayBeProof()) {
      const proof = this.#takeProof();
      if (proof !== PARSED) return this.#forwarder.drop(packet.at, proof);
    }
    const unexpected = this.unexpected(PARSED);
    if (unexpected !== PARSED) return this.#forwarder.drop(packet.at, unexpected);
    if (packet.kind === KIND_TCP && hasBadFlags(tcp.flags(this.#bytes, packet.l4At))) {
      return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    }
    // A binding that is open to all, or an expectation, is a permission by itself.
    const { binding, expectation } = this.#translation;
    if (binding !== NONE || expectation !== NONE) {
      const isHeld = expectation === NONE ? this.#mayGoOut(binding) : this.#isExpected(expectation, toZone);
      return isHeld ? this.#admit(slot, toZone, NO_RULE) : this.#forwarder.drop(packet.at, DROP_DENIED);
    }
    this.#ask(toZone);
    const rule = this.#rules.match(this.#query);
    if (rule === NO_RULE) return this.#forwarder.drop(packet.at, DROP_DENIED);
    const verdict = this.#obey(rule, slot, toZone);
    if (this.#rules.log[rule] === 1) {
      const logged = verdict === LOOP ? VERDICT_FORWARDED : verdict;
      this.#ruleLog.add(packet, rule, logged, toZone, this.#translation);
    }
    return verdict;
  }

  /** Whether an expectation opens a zone, and the policy of now still allows the flow that announced it, with that helper. */
  #isExpected(expectation: number, toZone: number): boolean {
    const { expectations } = this.#adjuncts.helpers;
    if (expectations.zoneOf(expectation) !== toZone) return false;
    const master = expectations.masterOf(expectation);
    if (this.isStillAllowed(master)) return expectations.isHeld(expectation);
    count(this.#context.counters, COUNT.policyEnded);
    this.#book.end(master);
    return false;
  }

  /** Whether the host of a binding that is open to all may still go where it went last: what it may not use, nobody may. */
  #mayGoOut(binding: number): boolean {
    const { words } = this.#context.table;
    const base = binding * ROW_WORDS;
    const query = this.#query;
    const place = words[base + F_PLACE]!;
    const protocol = boundProtocol(words[base + F_META]! & 0xff);
    const sourcePort = this.#bindings.inner(binding, query.words);
    const farPort = this.#bindings.far(binding, query.words, ADDRESS_WORDS);
    this.#askFor(place, protocol, sourcePort, farPort);
    query.isTranslated = false;
    const rule = this.#rules.peek(query);
    return rule !== NO_RULE && this.#rules.action[rule] === ACTION_ACCEPT;
  }

  /** Whether the segment in hand may acknowledge a SYN cookie. */
  #mayBeProof(): boolean {
    const packet = this.#packet;
    if (packet.kind !== KIND_TCP || packet.isFragment) return false;
    if ((this.#context.policy.model.protection?.synProxyAbove ?? 0) === 0) return false;
    return (tcp.flags(this.#bytes, packet.l4At) & (tcp.ACK | tcp.SYN | tcp.FIN | tcp.RST)) === tcp.ACK;
  }

  /** Turns an acknowledgement of a cookie into the SYN that it proves: PARSED, or the verdict of its drop. */
  #takeProof(): number {
    const packet = this.#packet;
    const totalBytes = this.#proxy.recreateSyn(packet, this.#bytes);
    if (totalBytes === NONE) return DROP_SYN_COOKIE;
    this.isProven = true;
    return packet.parse(this.#bytes, packet.at, ETHERNET_BYTES + totalBytes);
  }

  #obey(rule: number, slot: number, toZone: number): number {
    const translation = this.#translation;
    const packet = this.#packet;
    copyAddress(translation.source, 0, packet.words, P_SOURCE);
    translation.sourcePort = packet.sourcePort;
    const action = this.#rules.action[rule]!;
    if (action === ACTION_REJECT) return refuse(this.#forwarder, packet, this.#bytes, this.#context);
    if (action !== ACTION_ACCEPT) return this.#forwarder.drop(packet.at, DROP_DENIED);
    if (!this.#rules.take(rule, this.#context.clock)) return this.#forwarder.drop(packet.at, DROP_RULE_RATE);
    return this.#admit(slot, toZone, rule);
  }

  /** Fills in what the rules ask of the packet in hand. */
  #ask(toZone: number): void {
    const packet = this.#packet;
    const query = this.#query;
    const translation = this.#translation;
    query.fromZone = packet.zone;
    query.toZone = toZone;
    query.interface = packet.port;
    query.protocol = packet.ipProtocol;
    copyAddress(query.words, 0, packet.words, P_SOURCE);
    copyAddress(query.words, ADDRESS_WORDS, translation.destination, 0);
    const isQuery = packet.icmpType >= 0;
    query.sourcePort = isQuery ? 0 : packet.sourcePort;
    query.destinationPort = isQuery ? 0 : translation.destinationPort;
    query.icmpType = packet.icmpType;
    query.icmpCode = packet.icmpCode;
    query.tcpFlags = packet.kind === KIND_TCP ? tcp.flags(this.#bytes, packet.l4At) : -1;
    query.isTranslated = translation.isTranslated;
  }

  /** A flow that is allowed: the rest of create(). */
  #admit(slot: number, toZone: number, rule: number): number {
    const packet = this.#packet;
    const { table } = this.#context;
    const translation = this.#translation;
    const verdict = this.#forwarder.route(translation.destination, 0);
    if (verdict !== NO_EGRESS) return verdict;
    const isTcp = packet.kind === KIND_TCP;
    const { destination, destinationPort } = translation;
    // An expected packet needs no cookie: it is for one opening, named by a flow that stands; and a proof would come without it.
    const isProven = this.isProven || translation.expectation !== NONE;
    const defence = this.#defence;
    defence.replaced = this.#replaced.row;
    const admitted = defence.admit(packet.words, P_SOURCE, destination, 0, destinationPort, isTcp, isProven);
    if (admitted === ADMIT_BY_COOKIE) return this.#askForProof(toZone);
    if (admitted !== ADMITTED) return this.#forwarder.drop(packet.at, admitted);
    if (defence.victim !== NONE && !this.#makeWay(defence.victim)) {
      return this.#forwarder.drop(packet.at, DROP_TABLE_FULL);
    }
    const wrong = translation.outbound(slot, toZone);
    // RFC 5508 REQ-8: who cannot be translated is told.
    if (wrong === DROP_NAT_PORTS) return this.#forwarder.prohibited(wrong);
    if (wrong !== PARSED) return this.#forwarder.drop(packet.at, wrong);
    copyAddress(this.#reply, 0, translation.destination, 0);
    copyAddress(this.#reply, ADDRESS_WORDS, translation.source, 0);
    const replyPorts = (translation.destinationPort << 16) | translation.sourcePort;
    // Another flow's replies may look like this one's: there is no way to tell them apart.
    const isTaken = table.find(packet.protocol, this.#reply, 0, replyPorts) !== NONE;
    const row = isTaken ? NONE : this.#fill(slot, rule, replyPorts);
    translation.settle(row !== NONE);
    if (row === NONE) {
      return this.#forwarder.drop(packet.at, isTaken ? DROP_INVALID_STATE : DROP_TABLE_FULL);
    }
    if (this.isProven && !this.#adjuncts.beginProxied(row)) {
      this.#book.end(row);
      return this.#forwarder.drop(packet.at, DROP_TABLE_FULL);
    }
    const isHeard = this.#book.change(row);
    this.#commit(row, slot, rule, isHeard);
    const { expectation } = translation;
    if (expectation !== NONE) {
      this.#adjuncts.helpers.expectations.consume(expectation, packet.words, P_SOURCE, packet.sourcePort);
    }
    // The first packet may announce others already (TFTP, SIP); the proxy's SYN says nothing.
    if (!this.isProven && this.#adjuncts.isHelped(row)) {
      const departing = this.#adjuncts.depart(row, 0, true);
      if (departing !== MAY_LEAVE) return departing;
    }
    return this.#forwarder.leave(row, 0);
  }

  /**
   * Ends the flow that makes way, before any row is chosen for the packet in hand. False: it was the flow that announced this one,
   * whose expectation ended with it.
   */
  #makeWay(victim: number): boolean {
    this.#book.end(victim);
    const { expectation } = this.#translation;
    return expectation === NONE || this.#adjuncts.helpers.expectations.isHeld(expectation);
  }

  /** Answers a SYN with a cookie: only who is where it says it is can go on. */
  #askForProof(toZone: number): number {
    const packet = this.#packet;
    // What proves the address is no segment of the old connection, which would refuse it.
    this.#replaced.end();
    const { policy } = this.#context;
    const route = policy.routeTo(packet.words, P_SOURCE);
    const mssMax = mssLimit(policy, packet.zone, toZone);
    const totalBytes = this.#proxy.answerSyn(packet, this.#bytes, mssMax);
    const sent = this.#forwarder.reply(packet.at, ETHERNET_BYTES + totalBytes, route);
    return sent === VERDICT_FORWARDED ? VERDICT_ANSWERED : sent;
  }

  /** Makes the row of a new flow and enters it; NONE when the table is full. */
  #fill(slot: number, rule: number, replyPorts: number): number {
    const { table, clock, counters } = this.#context;
    const packet = this.#packet;
    if (this.#replaced.row !== NONE) this.#replaced.end();
    const { flags, expectation } = this.#translation;
    // A binding or a pointer may have taken the row that was free. An expected flow has neither, and its master must not make way.
    const row = expectation === NONE ? this.#book.allocate() : table.alloc();
    if (row === NONE) return NONE;
    const { words, doubles } = table;
    const base = row * ROW_WORDS;
    const wide = row * ROW_DOUBLES;
    words[base + F_META] =
      packet.protocol |
      flags |
      (rule === NO_RULE ? this.#unruled(expectation) : this.#rules.helpers[rule]! << HELPERS_AT);
    table.setTuple(row, 0, packet.words, P_SOURCE, packet.words, P_SOURCE + ADDRESS_WORDS, packet.ports);
    table.setTuple(row, 1, this.#reply, 0, this.#reply, ADDRESS_WORDS, replyPorts);
    words[base + F_PLACE] = slot | (packet.zone << 16) | (this.#forwarder.egressZone << 24);
    // Who was expected has the rule of the flow that expected it: its helpers, its name.
    const named = expectation === NONE ? Math.max(0, rule) : this.#ruleOf(expectation);
    words[base + F_RULE] = named | (this.#generation << 16);
    words[base + F_TRACKED] = this.#tenures.mark(slot);
    beginTracking(table, row, packet, this.#bytes);
    doubles[wide + D_CREATED_AT] = clock[0]!;
    doubles[wide + D_PACKETS] = 1;
    doubles[wide + D_BYTES] = packet.totalBytes;
    doubles[wide + D_DEADLINE] = clock[0]! + this.#book.life(row);
    this.#book.enter(row);
    count(counters, COUNT.flowsCreated);
    return row;
  }

  /** The rule of the flow that announced an expectation, which the policy of now allows. */
  #ruleOf(expectation: number): number {
    const master = this.#adjuncts.helpers.expectations.masterOf(expectation);
    return this.#context.table.words[master * ROW_WORDS + F_RULE]! & 0xffff;
  }

  /** Flags of a flow that no rule let in: signalling has the helpers of the flow that announced it. */
  #unruled(expectation: number): number {
    if (expectation === NONE) return FLAG_UNRULED;
    const { expectations } = this.#adjuncts.helpers;
    if (!expectations.isSignalling(expectation)) {
      return FLAG_UNRULED | FLAG_EXPECTED | (expectations.helperOf(expectation) << HELPERS_AT);
    }
    const master = expectations.masterOf(expectation);
    return FLAG_UNRULED | (this.#context.table.words[master * ROW_WORDS + F_META]! & HELPERS);
  }

  /** Decides whether the first packet waits for the backup, and marks the row if so: leave() then holds it. */
  #commit(row: number, slot: number, rule: number, isHeard: boolean): void {
    const { counters, view } = this.#context;
    const commit = rule === NO_RULE ? COMMIT_DEFAULT : this.#rules.commit[rule]!;
    if (commit === COMMIT_ASYNC) return;
    const isNat = (this.#translation.flags & FLAG_NAT) !== 0;
    const isSync =
      commit === COMMIT_SYNC || (commit === COMMIT_DEFAULT && (isNat || this.#packet.kind === KIND_TCP));
    // What comes back at once waits when it leaves for good.
    if (!isSync || this.#forwarder.isLoop) return;
    const backup = view.backup[slot]!;
    if (!isHeard || (view.peerFlags[backup]! & PEER_ALIVE) === 0) {
      count(counters, COUNT.unprotectedNoPeer);
      return;
    }
    this.#waiting.expect(row, backup);
  }

  /**
   * Whether the policy of now would still let a flow in; asked at every packet, answered from the row unless the policy is a new
   * one. Flows that no rule let in live as long as the policy allows what they came of: an open binding, or a rule's helper.
   */
  isStillAllowed(row: number): boolean {
    const words = this.#context.table.words;
    const allowed = row * ROW_WORDS + F_RULE;
    if (words[allowed]! >>> 16 === this.#generation) return true;
    return this.#recheck(row, allowed);
  }

  #recheck(row: number, allowed: number): boolean {
    const { table, counters } = this.#context;
    const { words } = table;
    count(counters, COUNT.policyRechecked);
    const before = words[allowed]! & 0xffff;
    const meta = words[row * ROW_WORDS + F_META]!;
    const isUnruled = (meta & FLAG_UNRULED) !== 0;
    let rule = before;
    if (!isUnruled) {
      this.#askAgain(row);
      rule = this.#rules.peek(this.#query);
      if (rule === NO_RULE || this.#rules.action[rule] !== ACTION_ACCEPT) return false;
      this.#help(row, this.#rules.helpers[rule]!);
    } else if (helpersOf(meta) === 0) {
      if (!this.#isStillOpen(row)) return false;
    } else {
      rule = this.#stillHelped(row, before, words[allowed]! >>> 16);
      if (rule === NO_RULE) return false;
    }
    words[allowed] = rule | (this.#generation << 16);
    // A backup cannot ask again what no rule let in: it takes the number for one of its own policy.
    const isRenamed = isUnruled && rule !== before;
    if (isRenamed || words[row * ROW_WORDS + F_META] !== meta) this.#book.change(row);
    return true;
  }

  /** Whether a flow that a binding let in would be let in now. */
  #isStillOpen(row: number): boolean {
    if (!this.#bindings.isOpenFor(row)) return false;
    const binding = this.#bindings.of(row);
    return binding === NONE || this.#mayGoOut(binding);
  }

  /** The present number of the rule whose helper let a flow in, if it still accepts with that helper; else NO_RULE. */
  #stillHelped(row: number, before: number, generation: number): number {
    const rule = this.#history.present(before, generation);
    if (rule === NO_RULE || this.#rules.action[rule] !== ACTION_ACCEPT) return NO_RULE;
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

  /** The interface by which a flow came in is known only when the packet in hand goes the same way. */
  #firstPort(zone: number): number {
    const { ports } = this.#context;
    for (let i = 0; i < ports.length; i++) if (ports[i]!.zone === zone) return i;
    return 0;
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

  /** The rest of what the rules ask of the first packet of a flow between the query's addresses; of ICMP an echo. */
  #askFor(place: number, protocol: number, sourcePort: number, destinationPort: number): void {
    const query = this.#query;
    const isIcmp = protocol === PROTOCOL_ICMP;
    const isIpv6 = !isIpv4(query.words, 0);
    query.fromZone = (place >>> 16) & 0xff;
    query.toZone = place >>> 24;
    query.interface =
      this.#packet.zone === query.fromZone ? this.#packet.port : this.#firstPort(query.fromZone);
    query.protocol = isIcmp && isIpv6 ? PROTOCOL_ICMPV6 : protocol;
    query.sourcePort = isIcmp ? 0 : sourcePort;
    query.destinationPort = isIcmp ? 0 : destinationPort;
    query.icmpType = isIcmp ? (isIpv6 ? icmpv6.ICMPV6_ECHO : icmp.ICMP_ECHO) : -1;
    query.icmpCode = isIcmp ? 0 : -1;
    query.tcpFlags = protocol === PROTOCOL_TCP ? tcp.SYN : -1;
  }
}
