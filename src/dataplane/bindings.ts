/**
 * Bindings: endpoint-independent NAT (RFC 4787 REQ-1 and REQ-8; RFC 6146 section 3.1). An inside address and port keep one outside
 * address and port towards everybody, as long as a flow uses them. Owns the binding rows; a binding is a satellite (satellites.ts):
 *
 *   original   inside address : port  ->  unspecified : zone     found when the inside host opens a flow to a zone
 *   reply      unspecified : 0  ->  pool address : port          found when somebody sends to the pool address
 *
 * The zones of F_PLACE are the inside host's and the other one. How many flows a binding has is counted by nat-account.ts; while
 * it has any, it stays.
 */
import { ADDRESS_WORDS, copyAddress, isIpv4, setIpv4 } from "../base/address.ts";
import { type Borrowed, NOT_BORROWED } from "./borrowed.ts";
import type { EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_CREATED_AT,
  D_DEADLINE,
  F_META,
  F_PLACE,
  F_PORTS,
  FLAG_DNAT,
  FLAG_UNRULED,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import { own, setOwn } from "./helpers/satellite.ts";
import type { NatAllocator } from "./nat.ts";
import { NO_SNAT } from "./nat-policy.ts";
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";
import { bindingProtocol, NO_SATELLITE } from "./satellites.ts";

/** Own words of a binding: address and port to which its host opened a flow last. */
const B_FAR = 0;
const B_FAR_PORT = 4;
/** RFC 4787 REQ-5: not less than two minutes, five recommended. */
const LIFE_MS = 300_000;
/** A binding in use is extended when this much of its life is over. */
const REFRESH_AFTER_MS = 60_000;

export class Bindings {
  readonly #context: EngineContext;
  readonly #book: FlowBook;
  readonly #nat: NatAllocator;
  readonly #borrowed: Borrowed;
  /** Tuples of a binding: the inside's, and the outside's. */
  readonly #original = new Int32Array(2 * ADDRESS_WORDS);
  readonly #reply = new Int32Array(2 * ADDRESS_WORDS);
  /** Inside address and pool address. */
  readonly #ends = new Int32Array(2 * ADDRESS_WORDS);

  constructor(context: EngineContext, book: FlowBook, nat: NatAllocator, borrowed: Borrowed) {
    this.#context = context;
    this.#book = book;
    this.#nat = nat;
    this.#borrowed = borrowed;
  }

  /** The binding that lets the packet in without a rule: anybody may send to it from where its pool address looks; or NONE. */
  findOpen(packet: Packet): number {
    const { table } = this.#context;
    const row = this.#at(packet.protocol, packet.words, P_DESTINATION, packet.destinationPort);
    if (row === NONE) return NONE;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    if (place >>> 24 !== packet.zone) return NONE;
    table.address(row, 0, 0, this.#ends, 0);
    table.address(row, 1, 1, this.#ends, ADDRESS_WORDS);
    return this.#isOpen((place >>> 16) & 0xff, place >>> 24) ? row : NONE;
  }

  /** Whether the policy of now lets anybody send to the pool address through which a flow came in without a rule. */
  isOpenFor(row: number): boolean {
    const { table } = this.#context;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    table.address(row, 1, 0, this.#ends, 0);
    table.address(row, 0, 1, this.#ends, ADDRESS_WORDS);
    return this.#isOpen(place >>> 24, (place >>> 16) & 0xff);
  }

  /** The binding through which a flow came in without a rule, or NONE: a backup may lack it. */
  of(row: number): number {
    const { words } = this.#context.table;
    this.#context.table.address(row, 0, 1, this.#ends, 0);
    const base = row * ROW_WORDS;
    return this.#at(words[base + F_META]! & 0xff, this.#ends, 0, words[base + F_PORTS]! & 0xffff);
  }

  /** The binding of a pool address and port, or NONE. */
  #at(protocol: number, words: Int32Array, at: number, port: number): number {
    const binding = bindingProtocol(protocol);
    if (binding === NO_SATELLITE) return NONE;
    unspecified(words, at, this.#reply, 0);
    copyAddress(this.#reply, ADDRESS_WORDS, words, at);
    const entry = this.#context.table.find(binding, this.#reply, 0, port);
    return entry === NONE ? NONE : entry >> 1;
  }

  /** Whether what `ends` in these zones meets filters endpoint-independently. */
  #isOpen(insideZone: number, outsideZone: number): boolean {
    const { nat } = this.#context.policy;
    const ends = this.#ends;
    const isOutside6 = !isIpv4(ends, ADDRESS_WORDS);
    const snat = nat.snatOf(insideZone, outsideZone, ends, 0, isOutside6, !isIpv4(ends, 0));
    return (
      snat !== NO_SNAT &&
      nat.isMappingIndependent[snat] === 1 &&
      nat.isFilteringIndependent[snat] === 1 &&
      nat.isInPool(snat, ends, ADDRESS_WORDS)
    );
  }

  /** Writes where a binding's host opened a flow to last; returns the port. */
  far(row: number, to: Int32Array, toAt: number): number {
    const { words } = this.#context.table;
    for (let i = 0; i < ADDRESS_WORDS; i++) to[toAt + i] = own(words, row, B_FAR + i);
    return own(words, row, B_FAR_PORT);
  }

  #note(row: number, far: Int32Array, farPort: number): void {
    const { words } = this.#context.table;
    for (let i = 0; i < ADDRESS_WORDS; i++) setOwn(words, row, B_FAR + i, far[i]!);
    setOwn(words, row, B_FAR_PORT, farPort);
  }

  /** Writes a binding's inside address; returns its port. */
  inner(row: number, to: Int32Array): number {
    const { table } = this.#context;
    table.address(row, 0, 0, to, 0);
    return table.words[row * ROW_WORDS + F_PORTS]! >>> 16;
  }

  /**
   * The outside port of the packet's source on its way to `toZone`, bound now if it was not, and its address in `to`; NONE: no
   * port, or no room. `slot` is the inside host's.
   */
  bind(
    packet: Packet,
    snat: number,
    slot: number,
    toZone: number,
    destination: Int32Array,
    destinationPort: number,
    to: Int32Array,
  ): number {
    const { table, policy } = this.#context;
    const protocol = bindingProtocol(packet.protocol);
    copyAddress(this.#original, 0, packet.words, P_SOURCE);
    unspecified(packet.words, P_SOURCE, this.#original, ADDRESS_WORDS);
    const entry = table.find(protocol, this.#original, 0, (packet.sourcePort << 16) | toZone);
    if (entry !== NONE) {
      const row = entry >> 1;
      table.address(row, 1, 1, to, 0);
      if (policy.nat.isInPool(snat, to, 0)) {
        this.#note(row, destination, destinationPort);
        this.#extend(row);
        return table.words[row * ROW_WORDS + REPLY_TUPLE + F_PORTS]! & 0xffff;
      }
      // An older policy gave out an address that is no more: its flows go on with it, new ones get another.
      this.#book.end(row);
    }
    unspecified(destination, 0, this.#reply, 0);
    const { words, sourcePort } = packet;
    const port = this.#nat.allocate(snat, slot, protocol, words, P_SOURCE, sourcePort, this.#reply, 0);
    if (port === NONE) return NONE;
    copyAddress(this.#reply, ADDRESS_WORDS, this.#nat.address, 0);
    copyAddress(to, 0, this.#nat.address, 0);
    const row = this.#enter(packet, slot, toZone, protocol, port);
    if (row === NONE) return NONE;
    this.#note(row, destination, destinationPort);
    this.#book.change(row);
    return port;
  }

  /** Makes the row of a new binding, or NONE: the table is full. */
  #enter(packet: Packet, slot: number, toZone: number, protocol: number, port: number): number {
    const { table, clock } = this.#context;
    const row = this.#book.allocate();
    if (row === NONE) return NONE;
    const ports = (packet.sourcePort << 16) | toZone;
    const zones = (packet.zone << 16) | (toZone << 24);
    const portSlot = this.#nat.borrowedFrom;
    if (portSlot !== NOT_BORROWED) {
      const borrowed = this.#borrowed;
      if (!borrowed.lend(protocol, this.#original, ports, this.#reply, port, zones, slot, portSlot)) {
        table.release(row);
        return NONE;
      }
      borrowed.settle();
    }
    const base = row * ROW_WORDS;
    table.words[base + F_META] = protocol;
    table.setTuple(row, 0, this.#original, 0, this.#original, ADDRESS_WORDS, ports);
    table.setTuple(row, 1, this.#reply, 0, this.#reply, ADDRESS_WORDS, port);
    table.words[base + F_PLACE] = slot | zones;
    table.doubles[row * ROW_DOUBLES + D_CREATED_AT] = clock[0]!;
    table.doubles[row * ROW_DOUBLES + D_DEADLINE] = clock[0]! + LIFE_MS;
    this.#book.enter(row);
    return row;
  }

  /**
   * A flow was published because of a packet of `direction`: its binding is counted on, and what leaves refreshes it (RFC 4787
   * REQ-6; what comes from outside does not, RFC 7857 section 7).
   */
  keep(row: number, direction: number): void {
    const { table } = this.#context;
    const words = table.words;
    this.#book.account.rejoin(row);
    const meta = words[row * ROW_WORDS + F_META]!;
    const protocol = bindingProtocol(meta & 0xff);
    if (protocol === NO_SATELLITE) return;
    // The inside host is the flow's source, or the one that somebody outside found by the binding.
    const inside = (meta & FLAG_DNAT) !== 0 && (meta & FLAG_UNRULED) !== 0 ? 1 : 0;
    if (direction !== inside) return;
    table.address(row, inside, 0, this.#original, 0);
    unspecified(this.#original, 0, this.#original, ADDRESS_WORDS);
    const zone = (words[row * ROW_WORDS + F_PLACE]! >>> (24 - inside * 8)) & 0xff;
    const ports = words[row * ROW_WORDS + inside * REPLY_TUPLE + F_PORTS]! & 0xffff0000;
    const entry = table.find(protocol, this.#original, 0, ports | zone);
    if (entry !== NONE) this.#extend(entry >> 1);
  }

  /** Whether a binding whose time is over has flows still; then it has more time. */
  isNeeded(row: number): boolean {
    if (this.#book.account.users(row) === 0) return false;
    this.#extend(row);
    return true;
  }

  #extend(row: number): void {
    const { table, clock } = this.#context;
    const deadline = row * ROW_DOUBLES + D_DEADLINE;
    if (table.doubles[deadline]! - clock[0]! > LIFE_MS - REFRESH_AFTER_MS) return;
    table.doubles[deadline] = clock[0]! + LIFE_MS;
    this.#book.change(row);
  }
}

/** The unspecified address of another address's family. */
function unspecified(like: Int32Array, at: number, to: Int32Array, toAt: number): void {
  if (isIpv4(like, at)) setIpv4(to, toAt, 0);
  else to.fill(0, toAt, toAt + ADDRESS_WORDS);
}
