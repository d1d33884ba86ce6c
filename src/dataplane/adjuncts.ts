/**
 * Adjuncts: what stands beside some flows: numbers that differ between their ends (SYN proxy, helpers), protocols that announce other
 * connections. Owns the order in which a packet of such a flow meets them; a plain flow pays for one test.
 *
 *   look-up -> arrive() -> tracker -> depart() -> translation -> leaves
 *      proxy: whose turn is it?         helpers: text, offsets
 *      numbers as the sender knows      numbers as the receiver knows
 */
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import { IPV4_BYTES } from "../packet/ipv4.ts";
import { IPV6_BYTES } from "../packet/ipv6.ts";
import { isExclusive } from "./arp-answer.ts";
import { PEER_ALIVE } from "./cluster-view.ts";
import type { EngineContext } from "./context.ts";
import * as judged from "./defence/syn-proxy.ts";
import { isProxyPending } from "./defence/syn-proxy.ts";
import type { FlowBook } from "./flow-book.ts";
import { F_META, F_PLACE, FLAG_ADJUSTED, helpersOf, NONE, ROW_WORDS } from "./flow-layout.ts";
import type { Forwarder } from "./forwarder.ts";
import { INSPECT_DROP } from "./helpers/helper.ts";
import { DROP_HELPER, Helpers } from "./helpers/helpers.ts";
import { mssLimit } from "./mss.ts";
import { KIND_ICMP_ERROR, KIND_TCP, P_OUTER_SOURCE, PARSED, type Packet } from "./packet.ts";
import { trackTcp } from "./tcp-tracker.ts";
import { dropVerdict, VERDICT_ANSWERED, VERDICT_FORWARDED } from "./verdict.ts";
import type { Waiting } from "./waiting.ts";

/** arrive(): on to the tracker. */
export const GO_ON = -1;
/** arrive(): on to the way out, past the tracker. */
export const GO_PAST = -2;
/** arrive(): the client gave the flow up, and begins again. */
export const GO_ANEW = -3;
/** arrive(): the server of a proxied connection is there: tracker, then open(). */
export const GO_OPEN = -4;
/** depart(): the packet may leave. */
export const MAY_LEAVE = -1;

const DROP_POOL = dropVerdict("tx_full");

export interface AdjunctParts {
  readonly context: EngineContext;
  readonly packet: Packet;
  readonly book: FlowBook;
  readonly forwarder: Forwarder;
  readonly waiting: Waiting;
  readonly proxy: judged.SynProxy;
  readonly allocatePort: (
    master: number,
    protocol: number,
    words: Int32Array,
    at: number,
    wanted: number,
  ) => number;
}

export class Adjuncts {
  readonly helpers: Helpers;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #packet: Packet;
  readonly #book: FlowBook;
  readonly #forwarder: Forwarder;
  readonly #waiting: Waiting;
  readonly #proxy: judged.SynProxy;

  constructor(parts: AdjunctParts) {
    const { context, book } = parts;
    this.#context = context;
    this.#bytes = context.frames.bytes;
    this.#packet = parts.packet;
    this.#book = book;
    this.#forwarder = parts.forwarder;
    this.#waiting = parts.waiting;
    this.#proxy = parts.proxy;
    const { table, clock, counters } = context;
    this.helpers = new Helpers({
      table,
      book,
      bytes: this.#bytes,
      clock,
      counters,
      index: book.expectations,
      allocatePort: parts.allocatePort,
    });
    book.adjuncts = this;
  }

  /** HELPER_* bits of the rule that let a flow in. */
  bitsOf(row: number): number {
    return helpersOf(this.#context.table.words[row * ROW_WORDS + F_META]!);
  }

  /** Whether the packets of a flow need arrive() and depart(). */
  isHelped(row: number): boolean {
    const meta = this.#context.table.words[row * ROW_WORDS + F_META]!;
    return this.helpers.helps(meta, helpersOf(meta));
  }

  /** A packet of a helped flow, before the tracker: GO_*, or the verdict of what became of it. */
  arrive(row: number, direction: number): number {
    const packet = this.#packet;
    const { words } = this.#context.table;
    if (packet.kind === KIND_ICMP_ERROR) {
      const end = packet.l4At + packet.l4Bytes;
      this.helpers.restoreError(row, 1 - direction, packet.l4At, packet.innerL4At, end);
      return GO_ON;
    }
    if (packet.kind === KIND_TCP && (words[row * ROW_WORDS + F_META]! & FLAG_ADJUSTED) !== 0) {
      const satellite = this.helpers.adjuster.find(row);
      if (satellite !== NONE && isProxyPending(words, satellite))
        return this.#judge(row, direction, satellite);
    }
    this.helpers.arrive(packet, row, direction);
    return GO_ON;
  }

  /** A packet of a helped flow that belongs to it, before it is translated: MAY_LEAVE, or the verdict of its drop. */
  depart(row: number, direction: number, isOwner: boolean): number {
    const packet = this.#packet;
    if (packet.kind === KIND_ICMP_ERROR) return MAY_LEAVE;
    const { policy } = this.#context;
    const forwarder = this.#forwarder;
    const isOuter = policy.trust[packet.zone]! < policy.trust[forwarder.egressZone]!;
    const room = forwarder.roomBytes(packet);
    const result = this.helpers.depart(packet, row, direction, this.bitsOf(row), isOwner, isOuter, room);
    if (result === INSPECT_DROP) return forwarder.drop(packet.at, DROP_HELPER);
    if (this.helpers.hasPublished) this.#protect(row);
    return MAY_LEAVE;
  }

  /** A flow that this node decides is about to end. */
  ended(row: number): void {
    this.helpers.ended(row, this.bitsOf(row));
  }

  /** A row's time is over: true when it goes on, with a new deadline. */
  keeps(row: number): boolean {
    return this.helpers.keeps(row, this.bitsOf(row));
  }

  /** Gives a new connection, which came with a cookie, the satellite that remembers it. False: there is no room. */
  beginProxied(row: number): boolean {
    const satellite = this.helpers.adjuster.ensure(row);
    if (satellite === NONE) return false;
    this.#proxy.begin(this.#context.table.words, satellite);
    this.#book.change(satellite);
    return true;
  }

  /** The SYN proxy's say about a segment of a connection whose server has not answered yet. */
  #judge(row: number, direction: number, satellite: number): number {
    const packet = this.#packet;
    const { words } = this.#context.table;
    const proxy = this.#proxy;
    const what = proxy.judge(packet, this.#bytes, direction, words, row, satellite, this.#mssMax(row));
    if (what === judged.JUDGED_DROP) return this.#forwarder.drop(packet.at, judged.DROP_SYN_PROXY);
    if (what === judged.JUDGED_ANSWER) return this.#answer();
    if (what === judged.JUDGED_AGAIN) return GO_ANEW;
    if (proxy.bytesNow > 0 && !this.#reread()) return this.#forwarder.drop(packet.at, judged.DROP_SYN_PROXY);
    if (what === judged.JUDGED_SYN) return GO_PAST;
    return what === judged.JUDGED_OPEN ? GO_OPEN : GO_ON;
  }

  #answer(): number {
    const packet = this.#packet;
    const route = this.#context.policy.routeTo(packet.words, P_OUTER_SOURCE);
    const sent = this.#forwarder.reply(packet.at, ETHERNET_BYTES + this.#proxy.bytesNow, route);
    return sent === VERDICT_FORWARDED ? VERDICT_ANSWERED : sent;
  }

  /** The packet in hand was rewritten by the proxy. */
  #reread(): boolean {
    const packet = this.#packet;
    return packet.parse(this.#bytes, packet.at, ETHERNET_BYTES + this.#proxy.bytesNow) === PARSED;
  }

  /**
   * The server answered, and the tracker took it: the server gets its acknowledgement, and the packet in hand opens the client's
   * window. GO_ON: it leaves now. Else the verdict of its drop; the server repeats itself.
   */
  open(row: number): number {
    const { frames, table, policy } = this.#context;
    const packet = this.#packet;
    const spare = frames.alloc();
    const satellite = this.helpers.adjuster.find(row);
    if (spare < 0 || satellite === NONE) {
      if (spare >= 0) frames.free(spare);
      return this.#forwarder.drop(packet.at, DROP_POOL);
    }
    const spareIp = spare + ETHERNET_BYTES;
    const bytes = this.#bytes;
    const mssMax = this.#mssMax(row);
    const spareBytes = this.#proxy.open(packet, bytes, table.words, row, satellite, spareIp, mssMax);
    // The spare has no options, whatever came has.
    const header = packet.isIpv6 ? IPV6_BYTES : IPV4_BYTES;
    trackTcp(table, row, 0, bytes, spareIp + header, spareBytes - header);
    this.#book.change(satellite);
    this.#book.change(row);
    this.#protect(row);
    const route = policy.routeTo(packet.words, P_OUTER_SOURCE);
    this.#forwarder.replyCommitted(row, spare, ETHERNET_BYTES + spareBytes, route);
    return this.#reread() ? GO_ON : this.#forwarder.drop(packet.at, judged.DROP_SYN_PROXY);
  }

  /** The largest segment that the zones of a flow allow; 0: any. */
  #mssMax(row: number): number {
    const { policy, table } = this.#context;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    return mssLimit(policy, (place >>> 16) & 0xff, place >>> 24);
  }

  /** What was just published must be on the backup before the packet leaves. */
  #protect(row: number): void {
    const { view, table } = this.#context;
    const slot = table.slotOf(row);
    const backup = view.backup[slot]!;
    const isHeard = backup !== 0 && backup !== view.selfId && (view.peerFlags[backup]! & PEER_ALIVE) !== 0;
    if (isHeard && isExclusive(this.#context, slot) && this.#waiting.committingFor(row) === 0) {
      this.#waiting.expect(row, backup);
    }
  }
}
