/**
 * Expectations: the connections that a helper saw announced and that may come although no rule says so. Owns their rows
 * (satellites 203 and 204), their limits, and how long each lives; not what was announced nor the flows that come of it.
 *
 * An expectation belongs to its master, the flow in which it was announced, and to the master's slot. It holds as long as the
 * master is alive (TCP: established) and its own deadline has not passed. Its rule is the master's.
 *
 *   original tuple   source, its port 0 -> destination, port        what the expected packet carries when it arrives
 *   reply tuple      the master's original tuple, its destination port + ordinal
 *                    (the ordinal only keeps a master's expectations apart; which are its own is told by own word 0)
 *   own words        0 ports of the master's original tuple | 1 real port << 16, port of the last sender | 2 kind
 *                    3 call | 4..7 address of the last sender
 *
 * `toward` says to which end of the master the expected packet goes: 0 to its client, 1 to its server. Every address in what
 * the expected flow is translated to is one of the master's four; so a port is all that must be kept.
 */
import { copyAddress, isSameAddress } from "../../base/address.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../packet/ipv4.ts";
import {
  D_CREATED_AT,
  D_DEADLINE,
  F_META,
  F_PLACE,
  F_RULE,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../flow-layout.ts";
import { HELPER_FTP, HELPER_SIP, HELPER_TFTP } from "../policy-model.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP, expectationProtocol, NO_SATELLITE } from "../satellites.ts";
import { TCP_ESTABLISHED, tcpState } from "../tcp-state.ts";
import {
  type ExpectationCounters,
  type ExpectationLimits,
  type ExpectationRequest,
  IS_FOREIGN,
  IS_LASTING,
  IS_SIGNALLING,
  TOWARD_SERVER,
} from "./expectation.ts";
import { E_MASTER_PORTS, type ExpectationIndex } from "./expectation-index.ts";
import { own, portsOf, type RowBook, type RowTable, readTuple, setOwn, TUPLE_WORDS } from "./satellite.ts";

const E_PORTS = 1;
const E_KIND = 2;
const E_CALL = 3;
const E_SENDER = 4;

/** Further bits of the kind. */
const IS_USED = 32;
const STREAM_AT = 8;
const IS_CONTROL = 1 << 15;

/** Up to so many expectations of a master the lowest free ordinal is looked for, beyond that the one behind the newest. */
const LOW_ORDINALS = 32;

/** How long a lasting expectation, once used, outlives the flow that used it. */
const LASTING_MS = 30_000;

export class Expectations {
  /** Set by resolve(): destination at 0, source at 4. */
  readonly resolved = new Int32Array(TUPLE_WORDS);
  resolvedPort = 0;
  /** Whether the source becomes `resolved[4..7]`, and the port that it shall have: NONE, any of that address. */
  isSourceResolved = false;
  resolvedSourcePort = NONE;
  readonly #table: RowTable;
  readonly #book: RowBook;
  readonly #clock: Float64Array;
  readonly #counters: ExpectationCounters;
  readonly #limits: ExpectationLimits;
  readonly #index: ExpectationIndex;
  readonly #key = new Int32Array(TUPLE_WORDS);
  readonly #scratch = new Int32Array(2 * TUPLE_WORDS);

  constructor(
    table: RowTable,
    book: RowBook,
    clock: Float64Array,
    counters: ExpectationCounters,
    limits: ExpectationLimits,
    index: ExpectationIndex,
  ) {
    this.#table = table;
    this.#book = book;
    this.#clock = clock;
    this.#counters = counters;
    this.#limits = limits;
    this.#index = index;
  }

  /** Enters and publishes an expectation, or refreshes the equal one of this master: its row, or NONE when refused. */
  expect(request: ExpectationRequest): number {
    const { master } = request;
    const words = this.#table.words;
    const masterPorts = portsOf(words, master, 0);
    // A source port 0 would make the two kinds of tuples alike.
    if (request.port === 0 || request.realPort === 0 || masterPorts >>> 16 === 0) return this.#refuse();
    const protocol = expectationProtocol(request.protocol);
    const entry = this.#table.find(protocol, request.words, 0, request.port);
    if (entry !== NONE) {
      const row = (entry & 1) === 0 ? entry >> 1 : NONE;
      if (row === NONE || !this.#isOfSlot(row, master)) return this.#refuse();
      const holder = this.masterOf(row);
      if (holder === master && this.#isSame(row, request)) return this.#refresh(row, request);
      const isOver = this.#table.doubles[row * ROW_DOUBLES + D_DEADLINE]! <= this.#clock[0]!;
      if (holder !== NONE && holder !== master && !isOver) return this.#refuse();
      this.close(row);
    }
    if (this.#counters.now() >= this.#limits.expectationsMax) return this.#refuse();
    let ordinal = this.#freeOrdinal(master, protocol, request.perMasterMax);
    if (ordinal === NONE && request.isReplacing) {
      this.#endFirst(master);
      ordinal = this.#freeOrdinal(master, protocol, request.perMasterMax);
    }
    if (ordinal === NONE) return this.#refuse();
    const row = this.#table.alloc();
    if (row === NONE) return this.#refuse();
    this.#fill(row, request, protocol, ordinal);
    this.#book.enter(row);
    this.#book.change(row);
    this.#counters.created();
    return row;
  }

  /** Whether another expectation, or an old connection, holds what the request asks for: its helper shall announce another port. */
  isTaken(request: ExpectationRequest): boolean {
    const isTcp = request.protocol === PROTOCOL_TCP;
    const likely = (request.likelySourcePort << 16) | request.port;
    if (isTcp && this.#table.find(PROTOCOL_TCP, request.words, 0, likely) !== NONE) return true;
    const protocol = expectationProtocol(request.protocol);
    const entry = this.#table.find(protocol, request.words, 0, request.port);
    if (entry === NONE) return false;
    return (
      (entry & 1) !== 0 || this.masterOf(entry >> 1) !== request.master || !this.#isSame(entry >> 1, request)
    );
  }

  /**
   * The expectation that lets in a packet which no flow explains: its row, or NONE. `words`: source and destination
   * as it carries them. TCP: only for the opening segment.
   */
  find(protocol: number, words: Int32Array, at: number, port: number, zone: number): number {
    if (this.#counters.now() === 0) return NONE;
    const kind = expectationProtocol(protocol);
    if (kind === NO_SATELLITE || port === 0) return NONE;
    const entry = this.#table.find(kind, words, at, port);
    if (entry === NONE || (entry & 1) !== 0) return NONE;
    const row = entry >> 1;
    if (this.#table.doubles[row * ROW_DOUBLES + D_DEADLINE]! <= this.#clock[0]!) return NONE;
    const place = this.#table.words[row * ROW_WORDS + F_PLACE]!;
    return ((place >>> 16) & 0xff) === zone && this.isHeld(row) ? row : NONE;
  }

  /** Whether the expectation is there, and its master is there and open. */
  isHeld(row: number): boolean {
    const words = this.#table.words;
    const kind = words[row * ROW_WORDS + F_META]! & 0xff;
    if (kind !== EXPECTATION_TCP && kind !== EXPECTATION_UDP) return false;
    const master = this.masterOf(row);
    if (master === NONE) return false;
    return (
      (words[master * ROW_WORDS + F_META]! & 0xff) !== PROTOCOL_TCP ||
      tcpState(words, master) === TCP_ESTABLISHED
    );
  }

  /** The flow in which the expectation was announced, or NONE. */
  masterOf(row: number): number {
    const words = this.#table.words;
    const protocol = words[row * ROW_WORDS + F_META]! & 0xff;
    readTuple(words, row, 1, this.#key, 0);
    const flow = protocol === EXPECTATION_TCP ? PROTOCOL_TCP : PROTOCOL_UDP;
    const entry = this.#table.find(flow, this.#key, 0, own(words, row, E_MASTER_PORTS));
    return entry === NONE || (entry & 1) !== 0 ? NONE : entry >> 1;
  }

  /** The zone that it opens: what is routed elsewhere is not what was announced. */
  zoneOf(row: number): number {
    return this.#table.words[row * ROW_WORDS + F_PLACE]! >>> 24;
  }

  /** Whether the rule's helpers look at what comes of it. */
  isSignalling(row: number): boolean {
    return (own(this.#table.words, row, E_KIND) & IS_SIGNALLING) !== 0;
  }

  /**
   * Sets `resolved`: to what the expected packet's addresses are translated. `sourcePort` is the packet's own. Where the source is
   * resolved, its port is the one that was announced for it, else any whose replies lead to the master's slot.
   */
  resolve(row: number, sourcePort: number): void {
    const words = this.#table.words;
    const kind = own(words, row, E_KIND);
    const toward = kind & TOWARD_SERVER;
    const master = this.masterOf(row);
    const tuples = this.#scratch;
    readTuple(words, master, 0, tuples, 0);
    readTuple(words, master, 1, tuples, TUPLE_WORDS);
    readTuple(words, row, 0, this.#key, 0);
    // The end's own address: the source of the tuple in which it speaks.
    if ((kind & IS_FOREIGN) !== 0) copyAddress(this.resolved, 0, this.#key, 4);
    else copyAddress(this.resolved, 0, tuples, toward * TUPLE_WORDS);
    this.resolvedPort = own(words, row, E_PORTS) >>> 16;
    const from = (1 - toward) * TUPLE_WORDS;
    // Whoever speaks from the master's other end appears on this side as that end does.
    const isMasters = isSameAddress(this.#key, 0, tuples, from);
    const shown = toward * TUPLE_WORDS + 4;
    this.isSourceResolved = isMasters && !isSameAddress(tuples, from, tuples, shown);
    this.resolvedSourcePort = NONE;
    copyAddress(
      this.resolved,
      4,
      this.isSourceResolved ? tuples : this.#key,
      this.isSourceResolved ? shown : 0,
    );
    if (this.isSourceResolved) this.resolvedSourcePort = this.#announced(master, row, 1 - toward, sourcePort);
  }

  /** A flow came of it: it is gone, or remembers who sent, if it lasts. `words`: the packet's source and destination. */
  consume(row: number, words: Int32Array, at: number, sourcePort: number): void {
    this.#counters.used();
    const rows = this.#table.words;
    const kind = own(rows, row, E_KIND);
    if ((kind & IS_LASTING) === 0) {
      this.#book.end(row);
      return;
    }
    setOwn(rows, row, E_KIND, kind | IS_USED);
    setOwn(rows, row, E_PORTS, (own(rows, row, E_PORTS) & 0xffff0000) | sourcePort);
    for (let i = 0; i < 4; i++) setOwn(rows, row, E_SENDER + i, words[at + i]!);
    this.#book.change(row);
  }

  /**
   * A row's time is over: whether it goes on, with a new deadline in the row. An expectation that lasts does while media flows; a
   * UDP flow does while it has expectations. Others never.
   */
  keeps(row: number): boolean {
    const { words, doubles } = this.#table;
    const protocol = words[row * ROW_WORDS + F_META]! & 0xff;
    const deadline = row * ROW_DOUBLES + D_DEADLINE;
    if (protocol === PROTOCOL_UDP) {
      const untilMs = this.#heldUntil(row);
      if (untilMs <= this.#clock[0]!) return false;
      doubles[deadline] = untilMs;
      return true;
    }
    if (this.isHeld(row) && this.#isAlive(row)) {
      doubles[deadline] = this.#clock[0]! + LASTING_MS;
      return true;
    }
    this.#counters.expired();
    return false;
  }

  /** Ends all expectations of a flow that is about to end. */
  endAll(master: number): void {
    this.endUnhelped(master, 0);
  }

  /** Ends the expectations of a flow that came of other helpers than `bits`, which its rule asks for now. */
  endUnhelped(master: number, bits: number): void {
    for (let row = this.first(master); row !== NONE; ) {
      const next = this.next(row, master);
      if ((this.helperOf(row) & bits) === 0) this.close(row);
      row = next;
    }
  }

  /** HELPER_* bit of the helper that asked for it. */
  helperOf(row: number): number {
    if ((this.#table.words[row * ROW_WORDS + F_META]! & 0xff) === EXPECTATION_TCP) return HELPER_FTP;
    return (this.kindOf(row) & IS_LASTING) !== 0 ? HELPER_SIP : HELPER_TFTP;
  }

  /** Ends what a master expects for a call, with the flows that came of it. */
  endCall(master: number, call: number): void {
    for (let row = this.first(master); row !== NONE; ) {
      const next = this.next(row, master);
      if (this.callOf(row) === call) this.close(row);
      row = next;
    }
  }

  /** Ends an expectation and, if it lasted, the flow that came of it last. */
  close(row: number): void {
    const child = this.#childOf(row);
    this.#book.end(row);
    if (child !== NONE) this.#book.end(child);
  }

  /** Ends an expectation alone: another takes its place. */
  forget(row: number): void {
    this.#book.end(row);
  }

  /** The master's newest expectation, or NONE. */
  first(master: number): number {
    return this.#index.first(master);
  }

  /** The one before a master's expectation, or NONE; asked before that is closed. */
  next(row: number, master: number): number {
    return this.#index.next(row, master);
  }

  /** Which end the expected packet goes to: 0 client, 1 server. */
  towardOf(row: number): number {
    return own(this.#table.words, row, E_KIND) & TOWARD_SERVER;
  }

  kindOf(row: number): number {
    return own(this.#table.words, row, E_KIND);
  }

  addKind(row: number, bits: number): void {
    setOwn(this.#table.words, row, E_KIND, own(this.#table.words, row, E_KIND) | bits);
  }

  callOf(row: number): number {
    return own(this.#table.words, row, E_CALL);
  }

  streamOf(row: number): number {
    return (own(this.#table.words, row, E_KIND) >>> STREAM_AT) & 0x7f;
  }

  isControl(row: number): boolean {
    return (own(this.#table.words, row, E_KIND) & IS_CONTROL) !== 0;
  }

  /** Port that the expected packet goes to. */
  portOf(row: number): number {
    return portsOf(this.#table.words, row, 0) & 0xffff;
  }

  /** Port that the master's end listens on. */
  realPortOf(row: number): number {
    return own(this.#table.words, row, E_PORTS) >>> 16;
  }

  /** Lets an expectation live at least `ms` from now; what it has left is not published. */
  prolong(row: number, ms: number): void {
    const at = row * ROW_DOUBLES + D_DEADLINE;
    const untilMs = this.#clock[0]! + ms;
    if (this.#table.doubles[at]! < untilMs) this.#table.doubles[at] = untilMs;
  }

  #refuse(): number {
    this.#counters.refused();
    return NONE;
  }

  #isOfSlot(row: number, master: number): boolean {
    const words = this.#table.words;
    return ((words[row * ROW_WORDS + F_PLACE]! ^ words[master * ROW_WORDS + F_PLACE]!) & 0xffff) === 0;
  }

  #isSame(row: number, request: ExpectationRequest): boolean {
    return (
      this.realPortOf(row) === request.realPort && ((this.kindOf(row) ^ request.kind) & TOWARD_SERVER) === 0
    );
  }

  #refresh(row: number, request: ExpectationRequest): number {
    const words = this.#table.words;
    const isChanged = own(words, row, E_CALL) !== request.call;
    setOwn(words, row, E_CALL, request.call);
    this.addKind(row, request.kind);
    this.prolong(row, request.lifeMs);
    if (isChanged) this.#book.change(row);
    return row;
  }

  #fill(row: number, request: ExpectationRequest, protocol: number, ordinal: number): void {
    const table = this.#table;
    const { words, doubles } = table;
    const { master } = request;
    const base = row * ROW_WORDS;
    const from = master * ROW_WORDS;
    const ports = portsOf(words, master, 0);
    const place = words[from + F_PLACE]!;
    const original = (place >>> 16) & 0xff;
    const reply = place >>> 24;
    const isToServer = (request.kind & TOWARD_SERVER) !== 0;
    words[base + F_META] = protocol;
    table.setTuple(row, 0, request.words, 0, request.words, 4, request.port);
    readTuple(words, master, 0, this.#key, 0);
    table.setTuple(row, 1, this.#key, 0, this.#key, 4, withOrdinal(ports, ordinal));
    words[base + F_PLACE] =
      (place & 0xffff) | ((isToServer ? original : reply) << 16) | ((isToServer ? reply : original) << 24);
    words[base + F_RULE] = words[from + F_RULE]!;
    setOwn(words, row, E_MASTER_PORTS, ports);
    setOwn(words, row, E_PORTS, request.realPort << 16);
    const stream = (request.stream << STREAM_AT) | (request.isControl ? IS_CONTROL : 0);
    setOwn(words, row, E_KIND, request.kind | stream);
    setOwn(words, row, E_CALL, request.call);
    doubles[row * ROW_DOUBLES + D_CREATED_AT] = this.#clock[0]!;
    doubles[row * ROW_DOUBLES + D_DEADLINE] = this.#clock[0]! + request.lifeMs;
  }

  #entryAt(master: number, protocol: number, ordinal: number): number {
    const words = this.#table.words;
    readTuple(words, master, 0, this.#key, 0);
    return this.#table.find(protocol, this.#key, 0, withOrdinal(portsOf(words, master, 0), ordinal));
  }

  /** An ordinal for one more, or NONE when the master has its fill. */
  #freeOrdinal(master: number, protocol: number, max: number): number {
    let held = 0;
    for (let row = this.first(master); row !== NONE; row = this.next(row, master)) held++;
    if (held >= max) return NONE;
    const from = held < LOW_ORDINALS ? 0 : this.#ordinalOf(this.first(master)) + 1;
    // A neighbour with the same source port may have rows in between.
    for (let i = 0; i <= 2 * max; i++) {
      if (this.#entryAt(master, protocol, from + i) === NONE) return (from + i) & 0xffff;
    }
    return NONE;
  }

  #ordinalOf(row: number): number {
    const words = this.#table.words;
    return (portsOf(words, row, 1) - own(words, row, E_MASTER_PORTS)) & 0xffff;
  }

  #endFirst(master: number): void {
    let first = NONE;
    for (let row = this.first(master); row !== NONE; row = this.next(row, master)) {
      const doubles = this.#table.doubles;
      if (
        first === NONE ||
        doubles[row * ROW_DOUBLES + D_DEADLINE]! < doubles[first * ROW_DOUBLES + D_DEADLINE]!
      ) {
        first = row;
      }
    }
    if (first !== NONE) this.close(first);
  }

  /** The announced port of `end` of the master whose real one is `realPort`, beside `row` and for the same kind; else NONE. */
  #announced(master: number, row: number, end: number, realPort: number): number {
    for (let other = this.first(master); other !== NONE; other = this.next(other, master)) {
      if (other === row || this.towardOf(other) !== end) continue;
      if (this.realPortOf(other) === realPort && (this.kindOf(other) & IS_FOREIGN) === 0) {
        return this.portOf(other);
      }
    }
    return NONE;
  }

  /** The flow that came of a lasting expectation last, if it is there; else NONE. */
  #childOf(row: number): number {
    const words = this.#table.words;
    if ((own(words, row, E_KIND) & IS_USED) === 0) return NONE;
    readTuple(words, row, 0, this.#key, 0);
    for (let i = 0; i < 4; i++) this.#key[i] = own(words, row, E_SENDER + i);
    const ports = ((own(words, row, E_PORTS) & 0xffff) << 16) | this.portOf(row);
    const isTcp = (words[row * ROW_WORDS + F_META]! & 0xff) === EXPECTATION_TCP;
    const entry = this.#table.find(isTcp ? PROTOCOL_TCP : PROTOCOL_UDP, this.#key, 0, ports);
    return entry === NONE || (entry & 1) !== 0 ? NONE : entry >> 1;
  }

  /** Whether a flow of the expectation, or of one of the same call, is there. */
  #isAlive(row: number): boolean {
    if ((this.kindOf(row) & IS_LASTING) === 0) return false;
    if (this.#childOf(row) !== NONE) return true;
    const call = this.callOf(row);
    if (call === 0) return false;
    const master = this.masterOf(row);
    for (let other = this.first(master); other !== NONE; other = this.next(other, master)) {
      if (this.callOf(other) === call && this.#childOf(other) !== NONE) return true;
    }
    return false;
  }

  /** Until when a flow's expectations need it. */
  #heldUntil(master: number): number {
    let untilMs = 0;
    for (let row = this.first(master); row !== NONE; row = this.next(row, master)) {
      untilMs = Math.max(untilMs, this.#table.doubles[row * ROW_DOUBLES + D_DEADLINE]!);
      if (this.#childOf(row) !== NONE) untilMs = Math.max(untilMs, this.#clock[0]! + LASTING_MS);
    }
    return untilMs;
  }
}

function withOrdinal(ports: number, ordinal: number): number {
  return (ports & 0xffff0000) | (((ports & 0xffff) + ordinal) & 0xffff);
}
