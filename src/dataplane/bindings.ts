/**
 * Bindings: endpoint-independent NAT (RFC 4787 REQ-1 and REQ-8). An inside address and port keep one outside address and port
 * towards everybody, as long as a flow uses them. Owns the binding rows; a binding is a satellite (satellites.ts):
 *
 *   original   inside address : port  ->  unspecified : 0        found when the inside host opens a flow
 *   reply      unspecified : 0  ->  pool address : port          found when somebody sends to the pool address
 */
import { ADDRESS_WORDS, copyAddress, isIpv4, setIpv4 } from "../base/address.ts";
import type { EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import {
  D_CREATED_AT,
  D_DEADLINE,
  F_META,
  F_PLACE,
  F_PORTS,
  F_STATE,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import type { NatAllocator } from "./nat.ts";
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";
import { bindingProtocol, NO_BINDING_PROTOCOL } from "./satellites.ts";

/** F_STATE of a binding: anybody may send to it. */
const OPEN_TO_ALL = 1;
/** RFC 4787 REQ-5: not less than two minutes, five recommended. */
const LIFE_MS = 300_000;
/** A binding in use is extended when this much of its life is over. */
const REFRESH_AFTER_MS = 60_000;

export class Bindings {
  readonly #context: EngineContext;
  readonly #book: FlowBook;
  readonly #nat: NatAllocator;
  readonly #tuple = new Int32Array(2 * ADDRESS_WORDS);
  readonly #far = new Int32Array(ADDRESS_WORDS);

  constructor(context: EngineContext, book: FlowBook, nat: NatAllocator) {
    this.#context = context;
    this.#book = book;
    this.#nat = nat;
  }

  /** The binding that the packet's destination belongs to, or NONE. */
  findOuter(packet: Packet): number {
    const protocol = bindingProtocol(packet.protocol);
    if (protocol === NO_BINDING_PROTOCOL) return NONE;
    unspecified(packet.words, P_DESTINATION, this.#tuple, 0);
    copyAddress(this.#tuple, ADDRESS_WORDS, packet.words, P_DESTINATION);
    const entry = this.#context.table.find(protocol, this.#tuple, 0, packet.destinationPort);
    return entry === NONE ? NONE : entry >> 1;
  }

  /** Whether anybody may send to a binding. */
  isOpenToAll(row: number): boolean {
    return (this.#context.table.words[row * ROW_WORDS + F_STATE]! & OPEN_TO_ALL) !== 0;
  }

  /** Writes a binding's inside address; returns its port. */
  inner(row: number, to: Int32Array): number {
    const { table } = this.#context;
    table.address(row, 0, 0, to, 0);
    return table.words[row * ROW_WORDS + F_PORTS]! >>> 16;
  }

  /** The outside port of the packet's source, bound now if it was not, and its address in `to`; NONE: no port, or no room. */
  bind(packet: Packet, snat: number, slot: number, destination: Int32Array, to: Int32Array): number {
    const { table, policy, clock } = this.#context;
    const protocol = bindingProtocol(packet.protocol);
    copyAddress(this.#tuple, 0, packet.words, P_SOURCE);
    unspecified(packet.words, P_SOURCE, this.#tuple, ADDRESS_WORDS);
    const entry = table.find(protocol, this.#tuple, 0, packet.sourcePort << 16);
    if (entry !== NONE) {
      const row = entry >> 1;
      this.#extend(row);
      table.address(row, 1, 1, to, 0);
      return table.words[row * ROW_WORDS + REPLY_TUPLE + F_PORTS]! & 0xffff;
    }
    unspecified(destination, 0, this.#far, 0);
    const { words, sourcePort } = packet;
    const port = this.#nat.allocate(snat, slot, protocol, words, P_SOURCE, sourcePort, this.#far, 0);
    const row = port === NONE ? NONE : table.alloc();
    if (row === NONE) return NONE;
    copyAddress(to, 0, this.#nat.address, 0);
    const base = row * ROW_WORDS;
    table.words[base + F_META] = protocol;
    table.setTuple(row, 0, words, P_SOURCE, this.#tuple, ADDRESS_WORDS, sourcePort << 16);
    table.setTuple(row, 1, this.#far, 0, to, 0, port);
    table.words[base + F_PLACE] = slot | (packet.zone << 16) | (packet.zone << 24);
    table.words[base + F_STATE] = policy.nat.isFilteringIndependent[snat] === 1 ? OPEN_TO_ALL : 0;
    table.doubles[row * ROW_DOUBLES + D_CREATED_AT] = clock[0]!;
    table.doubles[row * ROW_DOUBLES + D_DEADLINE] = clock[0]! + LIFE_MS;
    this.#book.enter(row);
    this.#book.change(row);
    return port;
  }

  /** Keeps the binding of a flow of the inside host alive; called when the flow is published (RFC 4787 REQ-6). */
  keep(row: number): void {
    const { table } = this.#context;
    const words = table.words;
    const protocol = bindingProtocol(words[row * ROW_WORDS + F_META]! & 0xff);
    if (protocol === NO_BINDING_PROTOCOL) return;
    table.address(row, 0, 0, this.#tuple, 0);
    unspecified(this.#tuple, 0, this.#tuple, ADDRESS_WORDS);
    const ports = words[row * ROW_WORDS + F_PORTS]! & 0xffff0000;
    const entry = table.find(protocol, this.#tuple, 0, ports);
    if (entry !== NONE) this.#extend(entry >> 1);
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
