/**
 * Flow maker: a new flow in a slot that is ours: rules, limits, NAT, row, record, and then the packet itself. Owns the order of
 * these. The rules come before anything that could answer: to whom they deny it, the firewall is not there.
 */
import { ADDRESS_WORDS, copyAddress } from "../base/address.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import * as tcp from "../packet/tcp.ts";
import { isTurnedBack } from "./address-rules.ts";
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
  F_RULE,
  F_TRACKED,
  FLAG_EXPECTED,
  FLAG_NAT,
  FLAG_UNRULED,
  HELPERS,
  HELPERS_AT,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import { type Forwarder, LOOP, NO_EGRESS } from "./forwarder.ts";
import { mssLimit } from "./mss.ts";
import { KIND_ECHO_REPLY, KIND_ICMP_ERROR, KIND_TCP, P_SOURCE, PARSED, type Packet } from "./packet.ts";
import { Permissions } from "./permissions.ts";
import { ACTION_ACCEPT, ACTION_REJECT, COMMIT_DEFAULT, COMMIT_SYNC } from "./policy-model.ts";
import { refuse } from "./reject.ts";
import type { Replaced } from "./replaced.ts";
import type { RuleLog } from "./rule-log.ts";
import { NO_RULE, RuleQuery, type RuleTable } from "./rules.ts";
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
  /** What stays allowed. */
  readonly permissions: Permissions;
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
    this.permissions = new Permissions(parts);
  }

  /** Other rules hold from now on; flows are looked at again when their next packet comes. */
  useRules(rules: RuleTable, defence: Defence): void {
    this.#rules = rules;
    this.#defence = defence;
    this.permissions.useRules(rules);
    this.#ruleLog.policy = this.permissions.generation;
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
      const isHeld =
        expectation === NONE
          ? this.permissions.mayGoOut(binding, false)
          : this.permissions.isExpected(expectation, toZone);
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
    const admitted = isTurnedBack(this.#context.policy, packet)
      ? defence.admitTurnedBack()
      : defence.admit(packet.words, P_SOURCE, destination, 0, destinationPort, isTcp, isProven);
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
    this.#replaced.end();
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
    words[base + F_RULE] =
      expectation === NONE
        ? Math.max(0, rule) | (this.permissions.generation << 16)
        : this.#ruleOf(expectation);
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

  /** F_RULE of the flow that announced an expectation: its number may be an older policy's (permissions.ts). */
  #ruleOf(expectation: number): number {
    const master = this.#adjuncts.helpers.expectations.masterOf(expectation);
    return this.#context.table.words[master * ROW_WORDS + F_RULE]!;
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
}
