/**
 * Decider: what becomes of a parsed packet. Known flows go by their row's slot, unknown ones by the slot that packet and
 * policy tell; who owns the slot now decides (ownership), then the trackers or the rules. Does not own how a flow is made
 * (flow-maker.ts), how a packet is sent on (forwarder.ts) or how it waits (waiting.ts).
 *
 *   hit  -> #owned | #shared | redirect | wait
 *   miss -> #turn  -> FlowMaker.create | #own | redirect | wait
 */
import * as ethernet from "../packet/ethernet.ts";
import { ICMP_ECHO } from "../packet/icmp.ts";
import { ICMPV6_ECHO } from "../packet/icmpv6.ts";
import { isTurnedBack, judgeAddresses } from "./address-rules.ts";
import { type Adjuncts, GO_ANEW, GO_ON, GO_OPEN, GO_PAST, MAY_LEAVE } from "./adjuncts.ts";
import { isExclusive } from "./arp-answer.ts";
import type { Bindings } from "./bindings.ts";
import { type Borrowed, NOT_BORROWED } from "./borrowed.ts";
import { type ClusterView, SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE } from "./cluster-view.ts";
import { NO_ROUTE } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_BYTES,
  D_DEADLINE,
  D_PACKETS,
  D_PUBLISHED_AT,
  F_META,
  F_PLACE,
  F_PUBLISHED_END,
  F_TRACKED,
  F_WINDOW,
  FLAG_REPLICA,
  FLAG_RESEED,
  FLAG_UNSURE,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
  W_END,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import type { FlowMaker } from "./flow-maker.ts";
import { type Forwarder, NO_EGRESS, OURS } from "./forwarder.ts";
import {
  DIRECT,
  KIND_ECHO,
  KIND_ECHO_REPLY,
  KIND_ICMP_ERROR,
  P_DESTINATION,
  P_SOURCE,
  PARSED,
  type Packet,
} from "./packet.ts";
import type { Permissions } from "./permissions.ts";
import type { Replaced } from "./replaced.ts";
import { isGoodIcmp, turnEchoRound } from "./rewrite.ts";
import { hasPorts, isBinding, isPointer } from "./satellites.ts";
import { slotByFlow, slotBySource, slotOfAddress, slotOfFarEnd, slotOfPoolPort } from "./slot.ts";
import {
  TRACK_CHANGED,
  TRACK_IGNORED,
  TRACK_INVALID,
  TRACK_NEW,
  TRACK_OUT_OF_WINDOW,
  TRACK_RESEEDED,
} from "./tcp-tracker.ts";
import type { Tenures } from "./tenures.ts";
import { track } from "./trackers.ts";
import {
  ANCHOR_DESTINATION,
  ANCHOR_FAR_DESTINATION,
  ANCHOR_FAR_SOURCE,
  ANCHOR_SOURCE,
  type Translation,
} from "./translation.ts";
import {
  dropVerdict,
  VERDICT_ANSWERED,
  VERDICT_FORWARDED,
  VERDICT_FORWARDED_SHARED,
  VERDICT_REDIRECTED,
} from "./verdict.ts";
import { LIST_HANDOVER, LIST_TAKEOVER, type Waiting } from "./waiting.ts";

/** A refresh is published when a side's sequence numbers moved this far: what a backup's windows may lack. */
const PUBLISH_SPAN = 262_144;
const ECHO_TTL = 64;
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_SPOOFED = dropVerdict("spoofed");
const DROP_NO_ROUTE = dropVerdict("no_route");
const DROP_DENIED = dropVerdict("denied");
const DROP_INVALID_STATE = dropVerdict("invalid_state");
const DROP_OUT_OF_WINDOW = dropVerdict("out_of_window");
const DROP_FRAGMENT = dropVerdict("fragment");
const DROP_FENCED = dropVerdict("fenced");
const DROP_NO_OWNER = dropVerdict("no_owner");
const DROP_TWICE = dropVerdict("redirected_twice");
const DROP_HOLD_TIMEOUT = dropVerdict("hold_timeout");

/** The engine's parts that a decision needs. */
export interface DeciderParts {
  readonly context: EngineContext;
  readonly packet: Packet;
  readonly book: FlowBook;
  readonly tenures: Tenures;
  readonly waiting: Waiting;
  readonly forwarder: Forwarder;
  readonly translation: Translation;
  readonly bindings: Bindings;
  readonly borrowed: Borrowed;
  readonly maker: FlowMaker;
  readonly adjuncts: Adjuncts;
  readonly replaced: Replaced;
}

export class Decider {
  /** The frame in hand waited until its deadline: it is decided now, one way or the other. */
  isLate = false;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #view: ClusterView;
  readonly #packet: Packet;
  readonly #book: FlowBook;
  readonly #tenures: Tenures;
  readonly #waiting: Waiting;
  readonly #forwarder: Forwarder;
  readonly #translation: Translation;
  readonly #bindings: Bindings;
  readonly #borrowed: Borrowed;
  readonly #maker: FlowMaker;
  readonly #permissions: Permissions;
  readonly #adjuncts: Adjuncts;
  readonly #replaced: Replaced;

  constructor(parts: DeciderParts) {
    this.#context = parts.context;
    this.#bytes = parts.context.frames.bytes;
    this.#view = parts.context.view;
    this.#packet = parts.packet;
    this.#book = parts.book;
    this.#tenures = parts.tenures;
    this.#waiting = parts.waiting;
    this.#forwarder = parts.forwarder;
    this.#translation = parts.translation;
    this.#bindings = parts.bindings;
    this.#borrowed = parts.borrowed;
    this.#maker = parts.maker;
    this.#permissions = parts.maker.permissions;
    this.#adjuncts = parts.adjuncts;
    this.#replaced = parts.replaced;
  }

  /** Decides the packet in hand: a verdict. */
  decide(): number {
    const packet = this.#packet;
    const entry = this.#context.table.find(packet.protocol, packet.words, P_SOURCE, packet.ports);
    return entry === NONE ? this.miss() : this.hit(entry);
  }

  /** Whether the packet in hand belongs to a flow in the table. */
  isKnown(): boolean {
    const packet = this.#packet;
    return this.#context.table.find(packet.protocol, packet.words, P_SOURCE, packet.ports) !== NONE;
  }

  /** The slot of the packet in hand if its addresses alone tell it, whatever its ports are; else NONE. */
  slotByAddresses(): number {
    const { policy } = this.#context;
    const { words } = this.#packet;
    if (!policy.isBySource || this.#translation.inbound() !== PARSED) return NONE;
    const isPlain = this.#translation.flags === 0 && !policy.isOwn(words, P_DESTINATION);
    const route = isPlain ? policy.routeTo(words, P_DESTINATION) : NO_ROUTE;
    return route === NO_ROUTE ? NONE : this.#slotOf(policy.routeZone[route]!);
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
    if (packet.kind === KIND_ICMP_ERROR) {
      // The flow's addresses passed once; those of the error's sender are its own.
      const { policy } = this.#context;
      const wrong = isTurnedBack(policy, packet) ? PARSED : judgeAddresses(policy, packet);
      if (wrong !== PARSED) return this.#forwarder.drop(packet.at, wrong);
    }
    const slot = place & 0xffff;
    const state = this.#view.state[slot]!;
    if (state === SLOT_OWNED) {
      if (clock[0]! >= this.#view.leaseUntilMs[0]!) {
        this.#tenures.interrupt(slot);
        return this.#shared(row, direction);
      }
      if (table.doubles[row * ROW_DOUBLES + D_DEADLINE]! <= clock[0]! && this.expire(row)) return this.miss();
      return this.#owned(row, direction, slot);
    }
    if (state === SLOT_HANDOVER && !this.isLate) return this.#waiting.forSlot(packet, LIST_HANDOVER);
    if (state === SLOT_REMOTE && packet.mayRedirect) {
      const verdict = this.#forwarder.redirect(slot);
      if (verdict !== OURS) return verdict;
    }
    return this.#shared(row, direction);
  }

  /** The shared action: forwards a packet of a replicated flow and decides nothing, so two nodes doing it do no harm. */
  #shared(row: number, direction: number): number {
    const verdict = this.#forwarder.routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    if (this.#adjuncts.isHelped(row)) {
      const met = this.#adjuncts.arrive(row, direction);
      // Only who decides the slot may end the old connection.
      if (met === GO_ANEW) return this.#turn(this.#context.table.slotOf(row));
      if (met === GO_OPEN) return this.#forwarder.drop(this.#packet.at, DROP_FENCED);
      if (met >= 0) return met;
      const departing = met === GO_PAST ? MAY_LEAVE : this.#adjuncts.depart(row, direction, false);
      if (departing !== MAY_LEAVE) return departing;
    }
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
    if (!this.#permissions.isStillAllowed(row, direction)) {
      count(counters, COUNT.policyEnded);
      this.#book.end(row);
      return this.#forwarder.drop(packet.at, DROP_DENIED);
    }
    const verdict = this.#forwarder.routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    const isHelped = this.#adjuncts.isHelped(row);
    const met = isHelped ? this.#adjuncts.arrive(row, direction) : GO_ON;
    if (met === GO_ANEW) return this.#anew(row);
    if (met >= 0) return met;
    if (packet.kind === KIND_ICMP_ERROR || met === GO_PAST) return this.#forwarder.leave(row, direction);
    if (packet.kind === (direction === 0 ? KIND_ECHO_REPLY : KIND_ECHO)) {
      return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    }
    const mark = words[base + F_TRACKED]! >>> 0;
    if ((words[base + F_META]! & FLAG_REPLICA) !== 0 || this.#tenures.mayLack(slot, mark)) {
      // Another node tracked it until now, or nobody did: windows are as old as its last record.
      words[base + F_META] = (words[base + F_META]! & ~FLAG_REPLICA) | FLAG_RESEED | FLAG_UNSURE;
    }
    words[base + F_TRACKED] = this.#tenures.mark(slot);
    const result = track(table, row, direction, packet, this.#bytes);
    if (result === TRACK_NEW) return this.#anew(row);
    if (result === TRACK_INVALID) return this.#forwarder.drop(packet.at, DROP_INVALID_STATE);
    if (result === TRACK_OUT_OF_WINDOW) return this.#forwarder.drop(packet.at, DROP_OUT_OF_WINDOW);
    doubles[wide + D_PACKETS + direction] = doubles[wide + D_PACKETS + direction]! + 1;
    doubles[wide + D_BYTES + direction] = doubles[wide + D_BYTES + direction]! + packet.totalBytes;
    if (result !== TRACK_IGNORED) {
      const life = this.#book.life(row);
      doubles[wide + D_DEADLINE] = clock[0]! + life;
      if (result === TRACK_CHANGED) table.rearm(row);
      else if (result === TRACK_RESEEDED) count(counters, COUNT.windowReseeded);
      const isOld = clock[0]! - doubles[wide + D_PUBLISHED_AT]! > life / 4;
      if (result === TRACK_CHANGED || result === TRACK_RESEEDED || isOld || this.#movedFar(base, direction)) {
        this.#book.change(row);
        if (this.#context.policy.nat.hasBindings) this.#bindings.keep(row, direction);
      }
    }
    if (met === GO_OPEN) {
      const opened = this.#adjuncts.open(row);
      if (opened !== GO_ON) return opened;
      // The acknowledgement to the server went another way.
      const again = this.#forwarder.routeFlow(row, direction);
      if (again !== NO_EGRESS) return again;
    }
    if (isHelped) {
      const departing = this.#adjuncts.depart(row, direction, true);
      if (departing !== MAY_LEAVE) return departing;
    }
    return this.#forwarder.leave(row, direction);
  }

  /** A SYN on the tuples of a connection that is over, or was given up: that ends if the new one may begin, and only then. */
  #anew(row: number): number {
    const replaced = this.#replaced;
    replaced.setAside(row);
    const verdict = this.miss();
    // By the policy of now another node decides: what is left of the old one here would catch packets of the new one.
    if (verdict === VERDICT_REDIRECTED) replaced.end();
    else replaced.putBack();
    return verdict;
  }

  #movedFar(base: number, direction: number): boolean {
    const words = this.#context.table.words;
    const end = words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!;
    return ((end - words[base + F_PUBLISHED_END + direction]!) | 0) > PUBLISH_SPAN;
  }

  /** A packet of no known flow: finds its slot from packet and policy, and decides it if that is ours. */
  miss(): number {
    const packet = this.#packet;
    const { words } = packet;
    const { policy } = this.#context;
    const translation = this.#translation;
    let wrong = isTurnedBack(policy, packet) ? PARSED : judgeAddresses(policy, packet);
    if (wrong === PARSED) wrong = translation.inbound();
    if (wrong !== PARSED) return this.#forwarder.drop(packet.at, wrong);
    if (translation.isToPool) return this.#toPool();
    if (!translation.isTranslated && !translation.isLoop && policy.isOwn(words, P_DESTINATION)) {
      return this.#own();
    }
    const route = policy.routeTo(translation.destination, 0);
    if (route === NO_ROUTE) return this.#forwarder.drop(packet.at, DROP_NO_ROUTE);
    const zone = policy.routeZone[route]!;
    const slot = this.#slotOfNew(zone);
    const turn = this.#turn(slot);
    return turn === OURS ? this.#maker.create(slot, zone) : turn;
  }

  /** Slot of a packet without a flow, by what translation.inbound() found. */
  #slotOfNew(zone: number): number {
    const { binding, expectation } = this.#translation;
    if (expectation !== NONE) return this.#context.table.slotOf(expectation);
    return binding === NONE ? this.#slotOf(zone) : this.#slotOfReply();
  }

  /** A reply to a binding: its port tells the slot. Where that is decided, nobody knows the binding, or it is a borrowed port. */
  #toPool(): number {
    const packet = this.#packet;
    const turn = this.#turn(this.#slotOfReply());
    if (turn !== OURS) return turn;
    const slot = this.#borrowed.slotOf(packet);
    if (slot !== NOT_BORROWED && this.#view.state[slot] !== SLOT_OWNED) {
      // It came to the right place, and has to go on from here: that other node asks nobody else.
      packet.way = DIRECT;
      return this.#turn(slot);
    }
    return this.#forwarder.drop(packet.at, this.#maker.unexpected(DROP_BAD_DESTINATION));
  }

  /** Slot of a packet to a pool address. */
  #slotOfReply(): number {
    const packet = this.#packet;
    const { key } = this.#context;
    const slots = this.#view.slots;
    return hasPorts(packet.protocol)
      ? slotOfPoolPort(key, slots, packet.destinationPort)
      : slotOfFarEnd(key, slots, packet.words, P_SOURCE);
  }

  /** Slot of a packet on its way to `zone`, by what translation.inbound() found. */
  #slotOf(zone: number): number {
    const packet = this.#packet;
    const { words } = packet;
    const { key, policy } = this.#context;
    const slots = this.#view.slots;
    const { destination, destinationPort } = this.#translation;
    switch (this.#translation.anchor(zone)) {
      case ANCHOR_SOURCE:
        return slotOfAddress(key, slots, words, P_SOURCE);
      case ANCHOR_DESTINATION:
        return slotOfAddress(key, slots, destination, 0);
      case ANCHOR_FAR_SOURCE:
        return slotOfFarEnd(key, slots, words, P_SOURCE);
      case ANCHOR_FAR_DESTINATION:
        return slotOfFarEnd(key, slots, destination, 0);
      default:
        break;
    }
    if (!policy.isBySource) {
      return slotByFlow(key, slots, words, P_SOURCE, destination, 0, packet.sourcePort, destinationPort);
    }
    const trust = policy.trust[packet.zone]!;
    return slotBySource(key, slots, words, P_SOURCE, destination, 0, trust, policy.trust[zone]!);
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
      if (!packet.mayRedirect) {
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
    const { key, policy } = this.#context;
    const packet = this.#packet;
    const { words } = packet;
    // An echo in fragments would have to be put together to be answered.
    if (packet.isFragment) return this.#forwarder.drop(packet.at, DROP_FRAGMENT);
    if (packet.icmpType !== (packet.isIpv6 ? ICMPV6_ECHO : ICMP_ECHO) || packet.kind !== KIND_ECHO) {
      return this.#forwarder.drop(packet.at, this.#maker.unexpected(DROP_BAD_DESTINATION));
    }
    const slots = this.#view.slots;
    const gateway = policy.gateways.get(words, P_DESTINATION);
    const answered = policy.answered.get(words, P_DESTINATION);
    const home = gateway >= 0 ? gateway : policy.answeredZone[answered]!;
    // The far side of the firewall is nobody's business from a less trusted zone.
    if (policy.trust[packet.zone]! < policy.trust[home]!) return this.#forwarder.drop(packet.at, DROP_DENIED);
    const slot = gateway >= 0 ? slotOfAddress(key, slots, words, P_SOURCE) : answered & (slots - 1);
    const turn = this.#turn(slot);
    if (turn !== OURS) return turn;
    if (!isGoodIcmp(packet, this.#bytes)) return this.#forwarder.drop(packet.at, DROP_BAD_CHECKSUM);
    const route = policy.routeTo(words, P_SOURCE);
    turnEchoRound(packet, this.#bytes, ECHO_TTL);
    const sent = this.#forwarder.reply(packet.at, ethernet.ETHERNET_BYTES + packet.totalBytes, route);
    return sent === VERDICT_FORWARDED ? VERDICT_ANSWERED : sent;
  }

  /** Ends a row whose time is over: a flow, or what no flow needs any more. False when something beside it keeps it alive. */
  expire(row: number): boolean {
    const { table, counters } = this.#context;
    const protocol = table.words[row * ROW_WORDS + F_META]! & 0xff;
    if (isBinding(protocol) && this.#bindings.isNeeded(row)) return false;
    if (isPointer(protocol) && this.#borrowed.isNeeded(row)) return false;
    if (this.#adjuncts.keeps(row)) {
      table.rearm(row);
      return false;
    }
    count(counters, COUNT.flowsExpired);
    this.#book.end(row);
    return true;
  }
}
