/**
 * Borrowed ports: when a slot's own ports towards a far end are used up, a flow gets a port of another slot of the same node
 * (nat.ts). Its replies then lead to the port's slot, which may move to another node than the flow's. Owns the pointers that bring them
 * to the flow: satellites (satellites.ts) in the port's slot, with the flow's own tuples, and the flow's slot in F_STATE.
 *
 *   reply -> slot of the port -> pointer -> slot of the flow -> flow
 *
 * A pointer also keeps the port's slot from giving the same end to somebody else.
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
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";
import { bindingProtocol, NO_SATELLITE, pointedProtocol, pointerProtocol } from "./satellites.ts";

export const NOT_BORROWED = -1;
/** A pointer outlives the longest idle time of what it points to by this. */
const MARGIN_MS = 60_000;
/** A pointer in use is extended when this much of its time is over. */
const REFRESH_AFTER_MS = 30_000;

export class Borrowed {
  readonly #context: EngineContext;
  readonly #book: FlowBook;
  readonly #tuple = new Int32Array(2 * ADDRESS_WORDS);
  /** The last pointer that was made: its flow is not there yet. */
  #last = NONE;

  constructor(context: EngineContext, book: FlowBook) {
    this.#context = context;
    this.#book = book;
  }

  /**
   * Makes the pointer in `portSlot` to what is about to be entered in `slot`: its tuples, eight words each, and the zones of F_PLACE.
   * False: the table is full.
   */
  lend(
    protocol: number,
    original: Int32Array,
    originalPorts: number,
    reply: Int32Array,
    replyPorts: number,
    zones: number,
    slot: number,
    portSlot: number,
  ): boolean {
    const { table, clock } = this.#context;
    const row = table.alloc();
    if (row === NONE) return false;
    const base = row * ROW_WORDS;
    table.words[base + F_META] = pointerProtocol(protocol);
    table.setTuple(row, 0, original, 0, original, ADDRESS_WORDS, originalPorts);
    table.setTuple(row, 1, reply, 0, reply, ADDRESS_WORDS, replyPorts);
    table.words[base + F_PLACE] = portSlot | zones;
    table.words[base + F_STATE] = slot;
    table.doubles[row * ROW_DOUBLES + D_CREATED_AT] = clock[0]!;
    table.doubles[row * ROW_DOUBLES + D_DEADLINE] = clock[0]! + this.#lifeMs();
    this.#book.enter(row);
    this.#book.change(row);
    this.#last = row;
    return true;
  }

  /** What the last pointer was made for is there. */
  settle(): void {
    this.#last = NONE;
  }

  /** What the last pointer was made for will not be there. */
  takeBack(): void {
    if (this.#last !== NONE) this.#book.end(this.#last);
    this.#last = NONE;
  }

  /** The slot of the flow that a packet to a pool address belongs to, if its port is a borrowed one; else NOT_BORROWED. */
  slotOf(packet: Packet): number {
    const { table, natUsage } = this.#context;
    const protocol = pointerProtocol(packet.protocol);
    if (natUsage.pointers === 0 || protocol === NO_SATELLITE) return NOT_BORROWED;
    const { words } = packet;
    let entry = table.find(protocol, words, P_SOURCE, packet.ports);
    if (entry === NONE) {
      if (isIpv4(words, P_DESTINATION)) setIpv4(this.#tuple, 0, 0);
      else this.#tuple.fill(0, 0, ADDRESS_WORDS);
      copyAddress(this.#tuple, ADDRESS_WORDS, words, P_DESTINATION);
      entry = table.find(protocol, this.#tuple, 0, packet.destinationPort);
    }
    if (entry === NONE || (entry & 1) === 0) return NOT_BORROWED;
    this.#extend(entry >> 1);
    return table.words[(entry >> 1) * ROW_WORDS + F_STATE]!;
  }

  /** Whether a pointer whose time is over is needed still; then it has more time. */
  isNeeded(row: number): boolean {
    const { table } = this.#context;
    const base = row * ROW_WORDS;
    table.address(row, 1, 0, this.#tuple, 0);
    table.address(row, 1, 1, this.#tuple, ADDRESS_WORDS);
    const ports = table.words[base + REPLY_TUPLE + F_PORTS]!;
    const protocol = pointedProtocol(table.words[base + F_META]! & 0xff);
    const isFlow = table.find(protocol, this.#tuple, 0, ports) !== NONE;
    if (!isFlow && table.find(bindingProtocol(protocol), this.#tuple, 0, ports) === NONE) return false;
    this.#extend(row);
    return true;
  }

  /** Gives a pointer that is used its whole time again, and tells the backup now and then. */
  #extend(row: number): void {
    const { table, clock } = this.#context;
    const deadline = row * ROW_DOUBLES + D_DEADLINE;
    const life = this.#lifeMs();
    if (table.doubles[deadline]! - clock[0]! > life - REFRESH_AFTER_MS) return;
    table.doubles[deadline] = clock[0]! + life;
    this.#book.change(row);
  }

  #lifeMs(): number {
    const lives = this.#book.lifeMs;
    let longest = 0;
    for (let i = 0; i < lives.length; i++) if (lives[i]! > longest) longest = lives[i]!;
    return longest + MARGIN_MS;
  }
}
