/**
 * Decider: what becomes of a parsed packet. Known flows go by their row's slot, unknown ones by the slot that packet and
 * policy tell; who owns the slot now decides (ownership), then the trackers or the rules. Does not own how a packet is sent
 * on (forwarder.ts) or how it waits (waiting.ts).
 *
 *   hit  -> #owned | #shared | redirect | wait
 *   miss -> #turn  -> #create | #own | redirect | wait
 */
import { setIpv4 } from "../base/address.ts";
import * as ethernet from "../packet/ethernet.ts";
import * as tcp from "../packet/tcp.ts";
import { isExclusive } from "./arp-answer.ts";
import { type ClusterView, PEER_ALIVE, SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE } from "./cluster-view.ts";
import { type CompiledPolicy, NO_DNAT, NO_ROUTE, NO_SNAT } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  D_PUBLISHED_AT,
  F_DESTINATION,
  F_META,
  F_PLACE,
  F_PORTS,
  F_PUBLISHED_END,
  F_RULE,
  F_SOURCE,
  F_TRACKED,
  F_WINDOW,
  FAMILY_IPV4,
  FLAG_DNAT,
  FLAG_NAT,
  FLAG_REPLICA,
  FLAG_RESEED,
  FLAG_SNAT,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
  W_END,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import { type Forwarder, NO_EGRESS, OURS } from "./forwarder.ts";
import type { NatAllocator } from "./nat.ts";
import {
  DIRECT,
  KIND_ECHO,
  KIND_ECHO_REPLY,
  KIND_ICMP_ERROR,
  KIND_OTHER,
  KIND_TCP,
  PARSED,
  type Packet,
} from "./packet.ts";
import { ACTION_ACCEPT, COMMIT_ASYNC, COMMIT_DEFAULT, COMMIT_SYNC } from "./policy-model.ts";
import { turnEchoRound } from "./rewrite.ts";
import type { RuleLog } from "./rule-log.ts";
import { NO_RULE, RuleQuery, type RuleTable } from "./rules.ts";
import { isUnroutable } from "./sanity.ts";
import { slotByFlow, slotBySource, slotOfAddress, slotOfPoolPort } from "./slot.ts";
import {
  hasBadFlags,
  isOpening,
  TRACK_CHANGED,
  TRACK_IGNORED,
  TRACK_INVALID,
  TRACK_NEW,
  TRACK_OUT_OF_WINDOW,
  TRACK_RESEEDED,
} from "./tcp-tracker.ts";
import type { Tenures } from "./tenures.ts";
import { beginTracking, lifeOf, track } from "./trackers.ts";
import { dropVerdict, VERDICT_ANSWERED, VERDICT_FORWARDED, VERDICT_FORWARDED_SHARED } from "./verdict.ts";
import { LIST_HANDOVER, LIST_TAKEOVER, type Waiting } from "./waiting.ts";

/** A refresh is published when a side's sequence numbers moved this far: what a backup's windows may lack. */
const PUBLISH_SPAN = 262_144;
const ECHO_TTL = 64;
const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_SPOOFED = dropVerdict("spoofed");
const DROP_NO_ROUTE = dropVerdict("no_route");
const DROP_DENIED = dropVerdict("denied");
const DROP_INVALID_STATE = dropVerdict("invalid_state");
const DROP_OUT_OF_WINDOW = dropVerdict("out_of_window");
const DROP_ICMP_UNRELATED = dropVerdict("icmp_unrelated");
const DROP_NAT_PORTS = dropVerdict("nat_port_exhausted");
const DROP_TABLE_FULL = dropVerdict("table_full");
const DROP_FENCED = dropVerdict("fenced");
const DROP_NO_OWNER = dropVerdict("no_owner");
const DROP_TWICE = dropVerdict("redirected_twice");
const DROP_HOLD_TIMEOUT = dropVerdict("hold_timeout");
const DROP_UNKNOWN_PROTOCOL = dropVerdict("unknown_protocol");

/** The engine's parts that a decision needs. */
export interface DeciderParts {
  readonly context: EngineContext;
  readonly packet: Packet;
  readonly rules: RuleTable;
  readonly ruleLog: RuleLog;
  readonly book: FlowBook;
  readonly nat: NatAllocator;
  readonly tenures: Tenures;
  readonly waiting: Waiting;
  readonly egress: Egress;
  readonly forwarder: Forwarder;
}

export class Decider {
  /** The frame in hand waited until its deadline: it is decided now, one way or the other. */
  isLate = false;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #view: ClusterView;
  readonly #policy: CompiledPolicy;
  readonly #rules: RuleTable;
  readonly #query = new RuleQuery();
  readonly #ruleLog: RuleLog;
  readonly #packet: Packet;
  readonly #book: FlowBook;
  readonly #nat: NatAllocator;
  readonly #tenures: Tenures;
  readonly #waiting: Waiting;
  readonly #egress: Egress;
  readonly #forwarder: Forwarder;
  /** Set by #admit(): source of the flow in hand after translation. */
  #newSource = 0;
  #newSourcePort = 0;

  constructor(parts: DeciderParts) {
    this.#context = parts.context;
    this.#bytes = parts.context.frames.bytes;
    this.#view = parts.context.view;
    this.#policy = parts.context.policy;
    this.#rules = parts.rules;
    this.#ruleLog = parts.ruleLog;
    this.#packet = parts.packet;
    this.#book = parts.book;
    this.#nat = parts.nat;
    this.#tenures = parts.tenures;
    this.#waiting = parts.waiting;
    this.#egress = parts.egress;
    this.#forwarder = parts.forwarder;
  }

  /** A packet of a known flow: the row's slot decides whose turn it is. */
  hit(entry: number): number {
    const { table, clock } = this.#context;
    const packet = this.#packet;
    const row = entry >> 1;
    const direction = entry & 1;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    const zone = (place >> (16 + direction * 8)) & 0xff;
    if (zone !== packet.zone) return this.#forwarder.drop(packet.at, DROP_SPOOFED);
    const slot = place & 0xffff;
    const state = this.#view.state[slot]!;
    if (state === SLOT_OWNED) {
      if (clock[0]! >= this.#view.leaseUntilMs[0]!) {
        this.#tenures.interrupt(slot);
        return this.#shared(row, direction);
      }
      if (table.doubles[row * ROW_DOUBLES + D_DEADLINE]! <= clock[0]!) {
        this.expire(row);
        return this.miss();
      }
      return this.#owned(row, direction, slot);
    }
    if (state === SLOT_HANDOVER && !this.isLate) return this.#waiting.forSlot(packet, LIST_HANDOVER);
    if (state === SLOT_REMOTE && packet.way === DIRECT) {
      const verdict = this.#forwarder.redirect(slot);
      if (verdict !== OURS) return verdict;
    }
    return this.#shared(row, direction);
  }

  /** The shared action: forwards a packet of a replicated flow and decides nothing, so two nodes doing it do no harm. */
  #shared(row: number, direction: number): number {
    const verdict = this.#forwarder.routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    const left = this.#forwarder.leave(row, direction);
    return left === VERDICT_FORWARDED ? VERDICT_FORWARDED_SHARED : left;
  }

  /** A packet of a flow that this node decides. */
  #owned(row: number, direction: number, slot: number): number {
    const { table, clock, counters } = this.#context;
    const { words, doubles } = table;
    const packet = this.#packet;
    const base = row * ROW_WORDS;
    const wide = row * ROW_DOUBLES;
    const verdict = this.#forwarder.routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    if (packet.kind === KIND_ICMP_ERROR) return this.#forwarder.leave(row, direction);
    if (packet.kind === (direction === 0 ? KIND_ECHO_REPLY : KIND_ECHO)) {
      return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    }
    const mark = words[base + F_TRACKED]! >>> 0;
    if ((words[base + F_META]! & FLAG_REPLICA) !== 0 || this.#tenures.mayLack(slot, mark)) {
      // Another node tracked it until now, or nobody did: windows are as old as its last record.
      words[base + F_META] = (words[base + F_META]! & ~FLAG_REPLICA) | FLAG_RESEED;
    }
    words[base + F_TRACKED] = this.#tenures.mark(slot);
    const result = track(table, row, direction, packet, this.#bytes);
    if (result === TRACK_NEW) {
      this.#book.end(row);
      return this.miss();
    }
    if (result === TRACK_INVALID) return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    if (result === TRACK_OUT_OF_WINDOW) return this.#forwarder.drop(packet.at, DROP_OUT_OF_WINDOW);
    doubles[wide + D_PACKETS + direction] = doubles[wide + D_PACKETS + direction]! + 1;
    doubles[wide + D_BYTES + direction] = doubles[wide + D_BYTES + direction]! + packet.totalBytes;
    if (result !== TRACK_IGNORED) {
      const life = this.#book.lifeMs[lifeOf(words, row)]!;
      doubles[wide + D_DEADLINE] = clock[0]! + life;
      if (result === TRACK_CHANGED) {
        table.rearm(row);
        this.#book.change(row);
      } else if (result === TRACK_RESEEDED) {
        count(counters, COUNT.windowReseeded);
        this.#book.change(row);
      } else if (clock[0]! - doubles[wide + D_PUBLISHED_AT]! > life / 4 || this.#movedFar(base, direction)) {
        this.#book.change(row);
      }
    }
    return this.#forwarder.leave(row, direction);
  }

  #movedFar(base: number, direction: number): boolean {
    const words = this.#context.table.words;
    const end = words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!;
    return ((end - words[base + F_PUBLISHED_END + direction]!) | 0) > PUBLISH_SPAN;
  }

  /** A packet of no known flow: finds its slot from packet and policy, and decides it if that is ours. */
  miss(): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const { key } = this.#context;
    const slots = this.#view.slots;
    const wrong = this.#judgeAddresses();
    if (wrong !== PARSED) return this.#forwarder.drop(packet.at, wrong);
    const dnat = policy.dnatOf(packet.zone, packet.destination, packet.protocol, packet.destinationPort);
    if (dnat === NO_DNAT) {
      const isEcho = packet.kind === KIND_ECHO;
      if (!isEcho && policy.pools.get(packet.destination) >= 0) {
        // A reply to a binding: its port tells the slot. Here nobody knows the binding any more.
        const turn = this.#turn(slotOfPoolPort(key, slots, packet.destinationPort));
        return turn === OURS ? this.#forwarder.drop(packet.at, this.#unexpected(DROP_BAD_DESTINATION)) : turn;
      }
      if (policy.isOwn(packet.destination)) return this.#own();
    }
    const destination = dnat === NO_DNAT ? packet.destination : policy.dnatTo[dnat]!;
    const destinationPort =
      dnat === NO_DNAT
        ? packet.destinationPort
        : packet.destinationPort - policy.dnatPortFrom[dnat]! + policy.dnatToPort[dnat]!;
    const route = policy.routeTo(destination);
    if (route === NO_ROUTE) return this.#forwarder.drop(packet.at, DROP_NO_ROUTE);
    const zone = policy.routeZone[route]!;
    const slot = policy.isBySource
      ? slotBySource(key, slots, packet.source, destination, policy.trust[packet.zone]!, policy.trust[zone]!)
      : slotByFlow(key, slots, packet.source, destination, packet.sourcePort, destinationPort);
    const turn = this.#turn(slot);
    if (turn !== OURS) return turn;
    return this.#create(slot, zone, dnat !== NO_DNAT, destination, destinationPort);
  }

  /** Addresses that a forwarded packet may have: PARSED, or the verdict. */
  #judgeAddresses(): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const { outerSource, outerDestination } = packet;
    if (isUnroutable(outerSource) || policy.isOwn(outerSource) || policy.isDirectedBroadcast(outerSource)) {
      return DROP_BAD_SOURCE;
    }
    if (isUnroutable(outerDestination) || policy.isDirectedBroadcast(outerDestination)) {
      return DROP_BAD_DESTINATION;
    }
    // Strict reverse path by zone (RFC 3704): an answer would have to leave by the zone that the packet came from.
    const back = policy.routeTo(outerSource);
    return back === NO_ROUTE || policy.routeZone[back] !== packet.zone ? DROP_SPOOFED : PARSED;
  }

  /** The drop reason of a packet that only a known flow could explain; else `otherwise`. */
  #unexpected(otherwise: number): number {
    const kind = this.#packet.kind;
    if (kind === KIND_ICMP_ERROR) return DROP_ICMP_UNRELATED;
    if (kind === KIND_ECHO_REPLY) return DROP_INVALID_STATE;
    return kind === KIND_TCP && !isOpening(tcp.flags(this.#bytes, this.#packet.l4At))
      ? DROP_INVALID_STATE
      : otherwise;
  }

  /** Whether this node decides a packet without a flow in `slot` now: OURS, or what became of the packet. */
  #turn(slot: number): number {
    const packet = this.#packet;
    const state = this.#view.state[slot]!;
    if (state === SLOT_OWNED) {
      return isExclusive(this.#context, slot) ? OURS : this.#forwarder.drop(packet.at, DROP_FENCED);
    }
    if (state === SLOT_HANDOVER) {
      if (this.isLate) return this.#forwarder.drop(packet.at, DROP_HOLD_TIMEOUT);
      return this.#waiting.forSlot(packet, LIST_HANDOVER);
    }
    if (state === SLOT_REMOTE) {
      if (packet.way !== DIRECT) {
        // The other node may know a table that has not reached this one yet, or that the owner whose backup we are is dead.
        const isAhead = packet.wayEpoch > this.#view.epoch;
        const isBackup = this.#view.backup[slot]! === this.#view.selfId;
        if (this.isLate || !(isAhead || isBackup)) return this.#forwarder.drop(packet.at, DROP_TWICE);
        return this.#waiting.forSlot(packet, isAhead ? LIST_HANDOVER : LIST_TAKEOVER);
      }
      const verdict = this.#forwarder.redirect(slot);
      if (verdict !== OURS) return verdict;
    }
    // The owner is dead or being replaced: the decision is a matter of milliseconds.
    if (this.isLate) return this.#forwarder.drop(packet.at, DROP_NO_OWNER);
    return this.#waiting.forSlot(packet, LIST_TAKEOVER);
  }

  /** A packet to an address of the cluster itself: echo requests are answered, nothing else is spoken here. */
  #own(): number {
    const { key } = this.#context;
    const packet = this.#packet;
    const policy = this.#policy;
    if (packet.kind !== KIND_ECHO) {
      return this.#forwarder.drop(packet.at, this.#unexpected(DROP_BAD_DESTINATION));
    }
    const slots = this.#view.slots;
    const gateway = policy.gateways.get(packet.destination);
    const answered = policy.answered.get(packet.destination);
    const home = gateway >= 0 ? gateway : policy.answeredZone[answered]!;
    // The far side of the firewall is nobody's business from a less trusted zone.
    if (policy.trust[packet.zone]! < policy.trust[home]!) return this.#forwarder.drop(packet.at, DROP_DENIED);
    const slot = gateway >= 0 ? slotOfAddress(key, slots, packet.source) : answered & (slots - 1);
    const turn = this.#turn(slot);
    if (turn !== OURS) return turn;
    const route = policy.routeTo(packet.source);
    const via = policy.routeVia[route]!;
    turnEchoRound(packet, this.#bytes, ECHO_TTL);
    const lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
    const sent = this.#egress.transmit(packet.at, lengthBytes, packet.zone, via === 0 ? packet.source : via);
    return sent === VERDICT_FORWARDED ? VERDICT_ANSWERED : sent;
  }

  /**
   * A new flow in a slot that is ours and that leaves by `toZone`: rules, NAT, row, record, and then the packet itself. The
   * rules come before anything that could answer: to whom they deny it, the firewall is not there.
   */
  #create(
    slot: number,
    toZone: number,
    isDnat: boolean,
    destination: number,
    destinationPort: number,
  ): number {
    const packet = this.#packet;
    const unexpected = this.#unexpected(PARSED);
    if (unexpected !== PARSED) return this.#forwarder.drop(packet.at, unexpected);
    if (packet.kind === KIND_TCP && hasBadFlags(tcp.flags(this.#bytes, packet.l4At))) {
      return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    }
    const query = this.#query;
    query.fromZone = packet.zone;
    query.toZone = toZone;
    query.interface = packet.port;
    query.protocol = packet.protocol;
    setIpv4(query.words, 0, packet.source);
    setIpv4(query.words, 4, destination);
    query.sourcePort = packet.sourcePort;
    query.destinationPort = destinationPort;
    query.icmpType = packet.icmpType;
    query.icmpCode = packet.icmpCode;
    query.tcpFlags = packet.kind === KIND_TCP ? tcp.flags(this.#bytes, packet.l4At) : -1;
    query.isTranslated = isDnat;
    const rule = this.#rules.match(query);
    if (rule === NO_RULE) return this.#forwarder.drop(packet.at, DROP_DENIED);
    const verdict =
      this.#rules.action[rule] === ACTION_ACCEPT
        ? this.#admit(slot, toZone, rule, isDnat, destination, destinationPort)
        : this.#deny();
    if (this.#rules.log[rule] === 1) {
      const ports = (this.#newSourcePort << 16) | destinationPort;
      this.#ruleLog.add(packet, rule, verdict, toZone, this.#newSource, destination, ports);
    }
    return verdict;
  }

  #deny(): number {
    const packet = this.#packet;
    this.#newSource = packet.source;
    this.#newSourcePort = packet.sourcePort;
    return this.#forwarder.drop(packet.at, DROP_DENIED);
  }

  /** A flow that a rule accepts: the rest of #create(). */
  #admit(
    slot: number,
    toZone: number,
    rule: number,
    isDnat: boolean,
    destination: number,
    destinationPort: number,
  ): number {
    const packet = this.#packet;
    const policy = this.#policy;
    this.#newSource = packet.source;
    this.#newSourcePort = packet.sourcePort;
    const verdict = this.#forwarder.route(destination);
    if (verdict !== NO_EGRESS) return verdict;
    const snat = policy.snatOf(packet.zone, toZone, packet.source);
    let source = packet.source;
    let sourcePort = packet.sourcePort;
    if (snat !== NO_SNAT) {
      // Without a port there is nothing by which a reply could be told apart.
      if (packet.kind === KIND_OTHER) return this.#forwarder.drop(packet.at, DROP_UNKNOWN_PROTOCOL);
      sourcePort = this.#nat.allocate(
        snat,
        slot,
        packet.protocol,
        packet.source,
        destination,
        destinationPort,
      );
      if (sourcePort === NONE) return this.#forwarder.drop(packet.at, DROP_NAT_PORTS);
      source = this.#nat.address;
      this.#newSource = source;
      this.#newSourcePort = sourcePort;
    }
    const flags = (snat === NO_SNAT ? 0 : FLAG_SNAT) | (isDnat ? FLAG_DNAT : 0);
    const replyPorts = (destinationPort << 16) | sourcePort;
    if (this.#context.table.find(packet.protocol, destination, source, replyPorts) !== NONE) {
      // Another flow's replies look like this one's: there is no way to tell them apart.
      return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    }
    const row = this.#fill(slot, flags, destination, source, replyPorts, rule);
    if (row === NONE) return this.#forwarder.drop(packet.at, DROP_TABLE_FULL);
    const isHeard = this.#book.change(row);
    this.#commit(row, slot, this.#rules.commit[rule]!, flags, isHeard);
    return this.#forwarder.leave(row, 0);
  }

  /** Makes the row of a new flow and enters it; NONE when the table is full. */
  #fill(
    slot: number,
    flags: number,
    destination: number,
    source: number,
    replyPorts: number,
    rule: number,
  ): number {
    const { table, clock, counters } = this.#context;
    const packet = this.#packet;
    const row = table.alloc();
    if (row === NONE) return NONE;
    const { words, doubles } = table;
    const base = row * ROW_WORDS;
    const wide = row * ROW_DOUBLES;
    words[base + F_SOURCE] = packet.source;
    words[base + F_DESTINATION] = packet.destination;
    words[base + F_PORTS] = packet.ports;
    words[base + REPLY_TUPLE + F_SOURCE] = destination;
    words[base + REPLY_TUPLE + F_DESTINATION] = source;
    words[base + REPLY_TUPLE + F_PORTS] = replyPorts;
    words[base + F_META] = packet.protocol | (FAMILY_IPV4 << 8) | flags;
    words[base + F_PLACE] = slot | (packet.zone << 16) | (this.#forwarder.egressZone << 24);
    words[base + F_RULE] = rule;
    words[base + F_TRACKED] = this.#tenures.mark(slot);
    beginTracking(table, row, packet, this.#bytes);
    doubles[wide + D_CREATED_AT] = clock[0]!;
    doubles[wide + D_PACKETS] = 1;
    doubles[wide + D_BYTES] = packet.totalBytes;
    doubles[wide + D_DEADLINE] = clock[0]! + this.#book.lifeMs[lifeOf(words, row)]!;
    this.#book.enter(row);
    count(counters, COUNT.flowsCreated);
    return row;
  }

  /** Decides whether the first packet waits for the backup, and marks the row if so: leave() then holds it. */
  #commit(row: number, slot: number, commit: number, flags: number, isHeard: boolean): void {
    const { counters } = this.#context;
    if (commit === COMMIT_ASYNC) return;
    const isByDefault = commit === COMMIT_DEFAULT;
    const isSync =
      commit === COMMIT_SYNC || (isByDefault && ((flags & FLAG_NAT) !== 0 || this.#packet.kind === KIND_TCP));
    if (!isSync) return;
    const backup = this.#view.backup[slot]!;
    if (!isHeard || (this.#view.peerFlags[backup]! & PEER_ALIVE) === 0) {
      count(counters, COUNT.unprotectedNoPeer);
      return;
    }
    this.#waiting.expect(row, backup);
  }

  /** Ends a flow whose time is over. */
  expire(row: number): void {
    count(this.#context.counters, COUNT.flowsExpired);
    this.#book.end(row);
  }
}
