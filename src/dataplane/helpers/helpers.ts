/**
 * Helpers: the door between the engine and its application layer gateways. Owns the order in which a packet of a helped flow
 * meets numbers, text and offsets, and what becomes of satellites when flows and deadlines end; knows no protocol.
 *
 *   table.find -> [arrive] -> track -> [depart] -> translate -> leave       both only for flows that helps() names
 *
 * With none of these flows the cost is one test of the flow's flags and its rule's bits.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../packet/ipv4.ts";
import * as tcp from "../../packet/tcp.ts";
import { COUNT, count } from "../context.ts";
import {
  D_DEADLINE,
  F_META,
  FLAG_ADJUSTED,
  FLAG_EXPECTED,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../flow-layout.ts";
import { HELPER_FTP, HELPER_SIP } from "../policy-model.ts";
import { ADJUSTMENT_TCP, EXPECTATION_TCP, EXPECTATION_UDP } from "../satellites.ts";
import { dropVerdict } from "../verdict.ts";
import { Adjuster, restoreAck, restoreEmbedded, SPLITS_CHANGE, shiftSequence } from "./adjust.ts";
import { DEFAULT_EXPECTATION_LIMITS, type ExpectationLimits, ExpectationRequest } from "./expectation.ts";
import type { ExpectationIndex } from "./expectation-index.ts";
import { Expectations } from "./expectations.ts";
import { FtpHelper } from "./ftp.ts";
import { type Helper, type HelperParts, INSPECT_DROP, INSPECT_EDITED, INSPECT_PASS } from "./helper.ts";
import { HelperContext, type HelperPacket } from "./helper-context.ts";
import { portsOf, type RowBook, type RowTable, readTuple, TUPLE_WORDS } from "./satellite.ts";
import { SipHelper } from "./sip.ts";
import { TftpHelper } from "./tftp.ts";

/** What becomes of a packet with INSPECT_DROP. */
export const DROP_HELPER = dropVerdict("helper");
/** A connection's satellite is looked at again when the connection's own time is over, and a little later. */
const BEHIND_MS = 1000;

export interface HelperHost {
  readonly table: RowTable;
  readonly book: RowBook;
  readonly bytes: Uint8Array;
  readonly clock: Float64Array;
  readonly counters: Float64Array;
  /** Kept by whoever enters rows and takes them out. */
  readonly index: ExpectationIndex;
  readonly allocatePort: HelperParts["allocatePort"];
  readonly limits?: Partial<ExpectationLimits>;
}

/** Notes that something was published. */
class NotingBook implements RowBook {
  hasPublished = false;
  readonly #book: RowBook;

  constructor(book: RowBook) {
    this.#book = book;
  }

  allocateFor(master: number): number {
    return this.#book.allocateFor(master);
  }

  enter(row: number): void {
    this.#book.enter(row);
  }

  change(row: number): boolean {
    this.hasPublished = true;
    return this.#book.change(row);
  }

  end(row: number): void {
    this.hasPublished = true;
    this.#book.end(row);
  }
}

export class Helpers {
  readonly expectations: Expectations;
  readonly adjuster: Adjuster;
  readonly #host: HelperHost;
  readonly #book: NotingBook;
  readonly #context = new HelperContext();
  readonly #ftp: FtpHelper;
  readonly #helpers: readonly Helper[];
  readonly #tuple = new Int32Array(TUPLE_WORDS);

  constructor(host: HelperHost) {
    const { table, clock, counters } = host;
    const book = new NotingBook(host.book);
    const limits = { ...DEFAULT_EXPECTATION_LIMITS, ...host.limits };
    this.#host = host;
    this.#book = book;
    this.expectations = new Expectations(
      table,
      book,
      clock,
      {
        now: () => counters[COUNT.expectationsNow]!,
        created: () => count(counters, COUNT.expectationsCreated),
        used: () => count(counters, COUNT.expectationsUsed),
        expired: () => count(counters, COUNT.expectationsExpired),
        refused: () => count(counters, COUNT.helperRefused),
      },
      limits,
      host.index,
    );
    this.adjuster = new Adjuster(table, book);
    const parts: HelperParts = {
      expectations: this.expectations,
      request: new ExpectationRequest(),
      adjuster: this.adjuster,
      counters: {
        edited: () => count(counters, COUNT.helperEdits),
        refused: () => count(counters, COUNT.helperRefused),
      },
      limits,
      allocatePort: host.allocatePort,
    };
    this.#ftp = new FtpHelper(parts, table, host.book);
    this.#helpers = [this.#ftp, new TftpHelper(parts), new SipHelper(parts, table)];
  }

  /** The packet in hand published something: it must not leave before the backup has it, as a flow's first packet. */
  get hasPublished(): boolean {
    return this.#book.hasPublished;
  }

  /** Whether packets of a flow with these flags (F_META) and its rule's helper bits go through arrive() and depart(). */
  helps(meta: number, bits: number): boolean {
    return (meta & FLAG_ADJUSTED) !== 0 || (bits !== 0 && (meta & FLAG_EXPECTED) === 0);
  }

  /** A packet of a helped flow, before the tracker: its acknowledgements as its receiver counts. */
  arrive(packet: HelperPacket, row: number, direction: number): void {
    if (packet.protocol !== PROTOCOL_TCP) return;
    const satellite = this.adjuster.find(row);
    if (satellite === NONE) return;
    const { table, bytes } = this.#host;
    restoreAck(table.words, satellite, direction, bytes, packet.l4At, tcp.headerBytes(bytes, packet.l4At));
  }

  /**
   * A packet that belongs to its flow, before it is translated: helpers see it, and its numbers become its receiver's. INSPECT_*;
   * when edited, the packet's lengths are the new ones. `isOwner`: this node decides the flow.
   */
  depart(
    packet: HelperPacket,
    row: number,
    direction: number,
    bits: number,
    isOwner: boolean,
    isSenderOuter: boolean,
    totalBytesMax: number,
  ): number {
    const { table, bytes } = this.#host;
    const { words } = table;
    const isTcp = packet.protocol === PROTOCOL_TCP;
    const meta = words[row * ROW_WORDS + F_META]!;
    if (isTcp && (meta & FLAG_ADJUSTED) !== 0) this.#acknowledge(packet, row, direction, bits, isOwner);
    this.#book.hasPublished = false;
    let result = INSPECT_PASS;
    if (packet.isFragment) {
      // Text in pieces is not read, and of a control connection nothing passes unread.
      if (isTcp && (bits & HELPER_FTP) !== 0 && this.#mustRead(row)) return INSPECT_DROP;
    } else if (bits !== 0 && (meta & FLAG_EXPECTED) === 0) {
      const context = this.#context;
      context.isOwner = isOwner;
      context.isSenderOuter = isSenderOuter;
      if (context.begin(packet, bytes, words, row, direction, totalBytesMax)) {
        result = this.#inspect(packet.protocol, bits);
      }
    }
    if (result !== INSPECT_DROP && isTcp) {
      const satellite = this.adjuster.find(row);
      if (satellite !== NONE) {
        const { l4At, l4Bytes } = packet;
        const dataBytes = l4Bytes - tcp.headerBytes(bytes, l4At);
        const isEdited = result === INSPECT_EDITED;
        const shifted = shiftSequence(words, satellite, direction, bytes, l4At, dataBytes, isEdited);
        if (shifted === SPLITS_CHANGE) result = INSPECT_DROP;
      }
    }
    return result;
  }

  /** The datagram inside an ICMP error, which a sender of `direction` sent: its numbers as that sender knows them. */
  restoreError(row: number, direction: number, icmpAt: number, innerL4At: number, end: number): void {
    const satellite = this.adjuster.find(row);
    if (satellite === NONE) return;
    const { table, bytes } = this.#host;
    restoreEmbedded(table.words, satellite, direction, bytes, icmpAt, innerL4At, end);
  }

  /** A flow is about to end, and with it what belongs to it. `bits`: its rule's helpers. */
  ended(row: number, bits: number): void {
    const words = this.#host.table.words;
    const meta = words[row * ROW_WORDS + F_META]!;
    if ((meta & FLAG_ADJUSTED) !== 0) {
      const satellite = this.adjuster.find(row);
      if (satellite !== NONE) this.#book.end(satellite);
    }
    const protocol = meta & 0xff;
    if (bits === 0 || (meta & FLAG_EXPECTED) !== 0) return;
    if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) this.expectations.endAll(row);
  }

  /**
   * A row's deadline passed, and this node decides it: true when it goes on, with a new deadline in the row. For satellites, and
   * for UDP flows whose rule's `bits` name a helper.
   */
  keeps(row: number, bits: number): boolean {
    const { table } = this.#host;
    const meta = table.words[row * ROW_WORDS + F_META]!;
    const protocol = meta & 0xff;
    if (protocol === ADJUSTMENT_TCP) return this.#keepsAdjusted(row);
    if (protocol === EXPECTATION_TCP || protocol === EXPECTATION_UDP) {
      return this.expectations.keeps(row);
    }
    const isCall = protocol === PROTOCOL_UDP && (bits & HELPER_SIP) !== 0 && (meta & FLAG_EXPECTED) === 0;
    return isCall && this.expectations.keeps(row);
  }

  #mustRead(row: number): boolean {
    const satellite = this.adjuster.find(row);
    return satellite === NONE || this.#ftp.mustRead(satellite);
  }

  #inspect(protocol: number, bits: number): number {
    const helpers = this.#helpers;
    for (let i = 0; i < helpers.length; i++) {
      const helper = helpers[i]!;
      if ((helper.bit & bits) === 0 || helper.protocol !== protocol) continue;
      const result = helper.inspect(this.#context);
      if (result !== INSPECT_PASS) return result;
    }
    return INSPECT_PASS;
  }

  /** What a segment acknowledges of the other direction. */
  #acknowledge(packet: HelperPacket, row: number, direction: number, bits: number, isOwner: boolean): void {
    const { bytes } = this.#host;
    if ((tcp.flags(bytes, packet.l4At) & tcp.ACK) === 0) return;
    const satellite = this.adjuster.find(row);
    if (satellite === NONE) return;
    const ack = tcp.acknowledgement(bytes, packet.l4At);
    if (isOwner) this.adjuster.settle(satellite, 1 - direction, ack);
    if ((bits & HELPER_FTP) !== 0) this.#ftp.acknowledged(satellite, 1 - direction, ack);
  }

  #keepsAdjusted(row: number): boolean {
    const { words, doubles } = this.#host.table;
    readTuple(words, row, 0, this.#tuple, 0);
    const entry = this.#host.table.find(PROTOCOL_TCP, this.#tuple, 0, portsOf(words, row, 0));
    if (entry === NONE || (entry & 1) !== 0) return false;
    // After a pause the flow's own time may be over as well, and its turn still to come: a deadline in the past would be due again
    // at once, before it.
    const master = (entry >> 1) * ROW_DOUBLES + D_DEADLINE;
    doubles[row * ROW_DOUBLES + D_DEADLINE] = Math.max(doubles[master]!, this.#host.clock[0]!) + BEHIND_MS;
    return true;
  }
}
