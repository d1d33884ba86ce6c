/**
 * Flow reader: looks into a flow table from another thread, without stopping its writer. Owns nothing of the table: a row
 * that appears or vanishes while it is read is left out; counters and deadlines may be a moment old.
 *
 *   generation even -> copy the row -> generation unchanged -> the copy is of one flow
 */
import { type Address, readAddress } from "../base/address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../packet/ipv6.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  F_ADDRESSES,
  F_GENERATION,
  F_META,
  F_PLACE,
  F_PORTS,
  F_RULE,
  F_SOURCE,
  F_STATE,
  FLAG_DNAT,
  FLAG_REPLICA,
  FLAG_REPLIED,
  FLAG_SNAT,
  FLAG_USED,
  REPLY_TUPLE,
  ROW_WORDS,
  TUPLE_UPPER_WORDS,
} from "./flow-layout.ts";
import { flowTableLayout, H_FRESH, isFlowTable } from "./flow-table.ts";
import { isSatellite } from "./satellites.ts";
import { TCP_STATE_NAMES } from "./tcp-state.ts";

/** One end of a tuple. ICMP echo: the id is the asking end's port, the other is 0. */
export interface FlowEnd {
  readonly address: Address;
  readonly port: number;
}

export interface FlowSnapshot {
  readonly protocol: number;
  /** "established", "unreplied", ... */
  readonly state: string;
  readonly original: { readonly source: FlowEnd; readonly destination: FlowEnd };
  readonly reply: { readonly source: FlowEnd; readonly destination: FlowEnd };
  readonly slot: number;
  /** Zone ids: of the original source, and of the reply's. */
  readonly zones: readonly [from: number, to: number];
  /** Nothing of it was decided by this node yet. */
  readonly isReplica: boolean;
  readonly isSnat: boolean;
  readonly isDnat: boolean;
  readonly createdAtMs: number;
  readonly deadlineMs: number;
  /** Index of the rule that let it in, and by which policy since start that was; 0: another node's. */
  readonly rule: number;
  readonly policy: number;
  /** By direction. */
  readonly packets: readonly [number, number];
  readonly bytes: readonly [number, number];
}

/** What to look for; absent fields match all. An address or port matches either end of either tuple. */
export interface FlowQuery {
  readonly protocol?: number;
  /** Original source, or destination, before or after translation. */
  readonly source?: Address;
  readonly destination?: Address;
  readonly port?: number;
  readonly slot?: number;
  /** By slot: 1 for those wanted. */
  readonly slots?: Uint8Array;
  /** Connections only, no satellites (satellites.ts). */
  readonly isConnection?: boolean;
  /** Whether its original addresses are IPv6. */
  readonly isIpv6?: boolean;
}

export class FlowReader {
  readonly #buffer: SharedArrayBuffer;
  #words: Int32Array | undefined;
  #header: Int32Array | undefined;
  readonly #row = new Int32Array(ROW_WORDS);
  readonly #wide = new Float64Array(this.#row.buffer);

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
  }

  /** The flows that match, at most `limit` of them, and how many match in all. */
  list(query: FlowQuery, limit: number): { readonly flows: FlowSnapshot[]; readonly total: number } {
    const flows: FlowSnapshot[] = [];
    let total = 0;
    const rows = this.#rows();
    for (let row = 0; row < rows; row++) {
      if (!this.#copy(row) || !this.#matches(query)) continue;
      total++;
      if (flows.length < limit) flows.push(this.#snapshot());
    }
    return { flows, total };
  }

  /** How many match, in all, by slot and by protocol number; ICMPv6 apart from ICMP. */
  count(query: FlowQuery): {
    readonly total: number;
    readonly bySlot: Uint32Array;
    readonly byProtocol: Uint32Array;
  } {
    const bySlot = new Uint32Array(0x10000);
    const byProtocol = new Uint32Array(256);
    let total = 0;
    const rows = this.#rows();
    for (let row = 0; row < rows; row++) {
      if (!this.#copy(row) || !this.#matches(query)) continue;
      total++;
      const slot = this.#row[F_PLACE]! & 0xffff;
      const kept = this.#row[F_META]! & 0xff;
      const protocol = kept === PROTOCOL_ICMP && isIpv6Row(this.#row) ? PROTOCOL_ICMPV6 : kept;
      bySlot[slot] = bySlot[slot]! + 1;
      byProtocol[protocol] = byProtocol[protocol]! + 1;
    }
    return { total, bySlot, byProtocol };
  }

  /** Rows that were ever used; 0 before the writer made the table. */
  #rows(): number {
    if (this.#words === undefined) {
      if (!isFlowTable(this.#buffer)) return 0;
      const layout = flowTableLayout(this.#buffer);
      this.#words = layout.words;
      this.#header = layout.header;
    }
    return Atomics.load(this.#header!, H_FRESH);
  }

  /** Copies a row; false when it is not in use or changed meanwhile. */
  #copy(row: number): boolean {
    const words = this.#words!;
    const at = row * ROW_WORDS;
    if ((words[at + F_META]! & FLAG_USED) === 0) return false;
    const before = Atomics.load(words, at + F_GENERATION);
    if ((before & 1) !== 0) return false;
    for (let i = 0; i < ROW_WORDS; i++) this.#row[i] = words[at + i]!;
    return Atomics.load(words, at + F_GENERATION) === before && (this.#row[F_META]! & FLAG_USED) !== 0;
  }

  #matches(query: FlowQuery): boolean {
    const row = this.#row;
    const slot = row[F_PLACE]! & 0xffff;
    if (query.protocol !== undefined && (row[F_META]! & 0xff) !== query.protocol) return false;
    if (query.isConnection === true && isSatellite(row[F_META]! & 0xff)) return false;
    if (query.isIpv6 !== undefined && isIpv6Row(row) !== query.isIpv6) return false;
    if (query.slot !== undefined && slot !== query.slot) return false;
    if (query.slots !== undefined && query.slots[slot] !== 1) return false;
    if (query.source !== undefined && addressOf(row, 0, 0) !== query.source) {
      if (addressOf(row, 1, 1) !== query.source) return false;
    }
    if (query.destination !== undefined && addressOf(row, 0, 1) !== query.destination) {
      if (addressOf(row, 1, 0) !== query.destination) return false;
    }
    if (query.port === undefined) return true;
    const original = row[F_PORTS]!;
    const reply = row[REPLY_TUPLE + F_PORTS]!;
    return (
      original >>> 16 === query.port ||
      (original & 0xffff) === query.port ||
      reply >>> 16 === query.port ||
      (reply & 0xffff) === query.port
    );
  }

  #snapshot(): FlowSnapshot {
    const row = this.#row;
    const wide = this.#wide;
    const meta = row[F_META]!;
    const place = row[F_PLACE]!;
    return {
      protocol: meta & 0xff,
      state: stateName(meta, row[F_STATE]!),
      original: tuple(row, 0),
      reply: tuple(row, 1),
      slot: place & 0xffff,
      zones: [(place >>> 16) & 0xff, place >>> 24],
      isReplica: (meta & FLAG_REPLICA) !== 0,
      isSnat: (meta & FLAG_SNAT) !== 0,
      isDnat: (meta & FLAG_DNAT) !== 0,
      createdAtMs: wide[D_CREATED_AT]!,
      deadlineMs: wide[D_DEADLINE]!,
      rule: row[F_RULE]! & 0xffff,
      policy: row[F_RULE]! >>> 16,
      packets: [wide[D_PACKETS]!, wide[D_PACKETS + 1]!],
      bytes: [wide[D_BYTES]!, wide[D_BYTES + 1]!],
    };
  }
}

function isIpv6Row(row: Int32Array): boolean {
  return typeof addressOf(row, 0, 0) === "bigint";
}

function tuple(row: Int32Array, which: number): { source: FlowEnd; destination: FlowEnd } {
  const ports = row[which * REPLY_TUPLE + F_PORTS]!;
  return {
    source: { address: addressOf(row, which, 0), port: ports >>> 16 },
    destination: { address: addressOf(row, which, 1), port: ports & 0xffff },
  };
}

/** An address of a copied row: `end` 0 is the tuple's source, 1 its destination. */
function addressOf(row: Int32Array, which: number, end: number): Address {
  const upper = F_ADDRESSES + which * TUPLE_UPPER_WORDS + end * 3;
  const words = Int32Array.of(
    row[upper]!,
    row[upper + 1]!,
    row[upper + 2]!,
    row[which * REPLY_TUPLE + F_SOURCE + end]!,
  );
  return readAddress(words, 0);
}

function stateName(meta: number, state: number): string {
  const protocol = meta & 0xff;
  if (protocol === PROTOCOL_TCP) return TCP_STATE_NAMES[state & 0xff] ?? "unknown";
  if (isSatellite(protocol)) return "kept";
  const isReplied = (meta & FLAG_REPLIED) !== 0;
  if (protocol === PROTOCOL_UDP) return isReplied ? "replied" : "unreplied";
  return isReplied ? "replied" : "new";
}
