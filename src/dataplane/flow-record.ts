/**
 * Flow record: how a flow travels to other nodes, in the RECORD_BYTES of base/record.ts. Owns encoding and decoding of the
 * opaque part, and what of a flow its digest covers. Little endian.
 *
 * Addresses: the last word first, then the upper three, which mean nothing in IPv4. Family: 4 for IPv4, 7 for IPv6, 5 or 6
 * when the directions differ (NAT64).
 *
 *   16       17         18           20          21         22     24         40         56        72        88
 *   | family | protocol | flags      | orig zone | rep zone | rule | orig src | orig dst | rep src | rep dst |
 *   88           92          96      100       104              136      140             148                  160
 *   | orig ports | rep ports | state | left ms | windows, 8 x 4 | age ms | packets 2 x 4 | bytes 2 x 6 (48 bits) |
 *
 * A deadline travels as what is left of it plus a quarter of the flow's timeout: refreshes are sent that seldom, and a
 * backup must never end a flow that its owner would have kept. What came with such a quarter gets no second one.
 */
import { MAPPED, setIpv4 } from "../base/address.ts";
import { type HashKey, indexHash } from "../base/hash.ts";
import {
  RECORD_EPOCH_AT,
  RECORD_HASH_AT,
  RECORD_OP_AT,
  RECORD_SLOT_AT,
  RECORD_VERSION_AT,
  RECORD_WIRE_AT,
  RECORD_WIRE_VERSION,
} from "../base/record.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  F_ADDRESSES,
  F_DESTINATION,
  F_HASH,
  F_META,
  F_PLACE,
  F_PORTS,
  F_RECORD_EPOCH,
  F_RULE,
  F_SOURCE,
  F_STATE,
  F_VERSION,
  F_WINDOW,
  FLAGS_REPLICATED,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import type { FlowTable } from "./flow-table.ts";
import { isSatellite } from "./satellites.ts";

export const FAMILY_AT = 16;
export const PROTOCOL_AT = 17;
export const FLAGS_AT = 18;
const ZONES_AT = 20;
const RULE_AT = 22;
export const ADDRESSES_AT = 24;
export const PORTS_AT = 88;
export const STATE_AT = 96;
const LEFT_AT = 100;
const WINDOWS_AT = 104;
const AGE_AT = 136;
const PACKETS_AT = 140;
const BYTES_AT = 148;
const MS_MAX = 0xffffffff;

/** Writes the header that all records share. Operations without a flow leave hash and version 0. */
export function writeRecordHeader(
  bytes: Uint8Array,
  at: number,
  operation: number,
  slot: number,
  hash: number,
  version: number,
  epoch: number,
): void {
  bytes[at + RECORD_OP_AT] = operation;
  bytes[at + RECORD_WIRE_AT] = RECORD_WIRE_VERSION;
  bytes[at + RECORD_SLOT_AT] = slot;
  bytes[at + RECORD_SLOT_AT + 1] = slot >>> 8;
  writeWord(bytes, at + RECORD_HASH_AT, hash);
  writeWord(bytes, at + RECORD_VERSION_AT, version);
  writeWord(bytes, at + RECORD_EPOCH_AT, epoch);
}

/** Writes a flow's record. `epoch` is the row's record epoch for upserts. `lifeMs[life]` is the flow's whole timeout. */
export function encodeFlow(
  table: FlowTable,
  row: number,
  operation: number,
  epoch: number,
  bytes: Uint8Array,
  at: number,
  clock: Float64Array,
  lifeMs: Float64Array,
  life: number,
): void {
  const words = table.words;
  const doubles = table.doubles;
  const base = row * ROW_WORDS;
  const wide = row * ROW_DOUBLES;
  const meta = words[base + F_META]!;
  const place = words[base + F_PLACE]!;
  writeRecordHeader(
    bytes,
    at,
    operation,
    place & 0xffff,
    words[base + F_HASH]!,
    words[base + F_VERSION]!,
    epoch,
  );
  bytes[at + FAMILY_AT] = meta >>> 8;
  bytes[at + PROTOCOL_AT] = meta;
  bytes[at + FLAGS_AT] = (meta & FLAGS_REPLICATED) >>> 16;
  bytes[at + FLAGS_AT + 1] = (meta & FLAGS_REPLICATED) >>> 24;
  bytes[at + ZONES_AT] = place >>> 16;
  bytes[at + ZONES_AT + 1] = place >>> 24;
  bytes[at + RULE_AT] = words[base + F_RULE]!;
  bytes[at + RULE_AT + 1] = words[base + F_RULE]! >>> 8;
  for (let tuple = 0; tuple < 2; tuple++) {
    const from = base + tuple * REPLY_TUPLE;
    const to = at + ADDRESSES_AT + tuple * 32;
    writeWord(bytes, to, words[from + F_SOURCE]!);
    writeWord(bytes, to + 16, words[from + F_DESTINATION]!);
    for (let i = 0; i < 3; i++) {
      writeWord(bytes, to + 4 + i * 4, words[base + F_ADDRESSES + tuple * 6 + i]!);
      writeWord(bytes, to + 20 + i * 4, words[base + F_ADDRESSES + tuple * 6 + 3 + i]!);
    }
    writeWord(bytes, at + PORTS_AT + tuple * 4, words[from + F_PORTS]!);
    const packets = doubles[wide + D_PACKETS + tuple]!;
    const total = doubles[wide + D_BYTES + tuple]!;
    writeWord(bytes, at + PACKETS_AT + tuple * 4, packets >>> 0);
    writeWord(bytes, at + BYTES_AT + tuple * 6, total >>> 0);
    const high = Math.floor(total / 4_294_967_296);
    bytes[at + BYTES_AT + tuple * 6 + 4] = high;
    bytes[at + BYTES_AT + tuple * 6 + 5] = high >>> 8;
  }
  writeWord(bytes, at + STATE_AT, words[base + F_STATE]!);
  const rest = doubles[wide + D_DEADLINE]! - clock[0]!;
  const left = isSatellite(meta & 0xff) ? rest + lifeMs[life]! / 4 : withMargin(rest, lifeMs[life]!);
  writeWord(bytes, at + LEFT_AT, left < 0 ? 0 : left > MS_MAX ? MS_MAX : Math.floor(left));
  for (let i = 0; i < 2 * WINDOW_WORDS; i++) {
    writeWord(bytes, at + WINDOWS_AT + i * 4, words[base + F_WINDOW + i]!);
  }
  const age = clock[0]! - doubles[wide + D_CREATED_AT]!;
  writeWord(bytes, at + AGE_AT, age < 0 ? 0 : age > MS_MAX ? MS_MAX : Math.floor(age));
}

/** What a backup gives a flow of which its owner has `restMs` left: more, but never so that it grows from node to node. */
function withMargin(restMs: number, lifeMs: number): number {
  return Math.max(restMs, Math.min(restMs + lifeMs / 4, lifeMs + lifeMs / 4));
}

/** Writes a record's keys into a row that was just allocated: what insert() needs. */
export function decodeKeys(bytes: Uint8Array, at: number, words: Int32Array, row: number): void {
  const base = row * ROW_WORDS;
  words[base + F_META] = bytes[at + PROTOCOL_AT]! | (bytes[at + FAMILY_AT]! << 8);
  for (let tuple = 0; tuple < 2; tuple++) {
    const to = base + tuple * REPLY_TUPLE;
    const from = at + ADDRESSES_AT + tuple * 32;
    words[to + F_SOURCE] = readWord(bytes, from);
    words[to + F_DESTINATION] = readWord(bytes, from + 16);
    for (let i = 0; i < 3; i++) {
      const mapped = i === 2 ? MAPPED : 0;
      const isIpv6 = isIpv6Tuple(bytes, at, tuple);
      words[base + F_ADDRESSES + tuple * 6 + i] = isIpv6 ? readWord(bytes, from + 4 + i * 4) : mapped;
      words[base + F_ADDRESSES + tuple * 6 + 3 + i] = isIpv6 ? readWord(bytes, from + 20 + i * 4) : mapped;
    }
    words[to + F_PORTS] = readWord(bytes, at + PORTS_AT + tuple * 4);
  }
  words[base + F_PLACE] =
    recordSlot(bytes, at) | (bytes[at + ZONES_AT]! << 16) | (bytes[at + ZONES_AT + 1]! << 24);
}

/** Writes the rest of a record into a row: state, windows, lifetime, counters, version. Flags other than given stay. */
export function decodeState(
  bytes: Uint8Array,
  at: number,
  table: FlowTable,
  row: number,
  clock: Float64Array,
): void {
  const words = table.words;
  const doubles = table.doubles;
  const base = row * ROW_WORDS;
  const wide = row * ROW_DOUBLES;
  words[base + F_META] =
    (words[base + F_META]! & ~FLAGS_REPLICATED) | (recordFlags(bytes, at) & FLAGS_REPLICATED);
  words[base + F_RULE] = bytes[at + RULE_AT]! | (bytes[at + RULE_AT + 1]! << 8);
  words[base + F_STATE] = readWord(bytes, at + STATE_AT);
  for (let i = 0; i < 2 * WINDOW_WORDS; i++) {
    words[base + F_WINDOW + i] = readWord(bytes, at + WINDOWS_AT + i * 4);
  }
  doubles[wide + D_DEADLINE] = clock[0]! + (readWord(bytes, at + LEFT_AT) >>> 0);
  doubles[wide + D_CREATED_AT] = clock[0]! - (readWord(bytes, at + AGE_AT) >>> 0);
  for (let tuple = 0; tuple < 2; tuple++) {
    doubles[wide + D_PACKETS + tuple] = readWord(bytes, at + PACKETS_AT + tuple * 4) >>> 0;
    const high = bytes[at + BYTES_AT + tuple * 6 + 4]! | (bytes[at + BYTES_AT + tuple * 6 + 5]! << 8);
    doubles[wide + D_BYTES + tuple] =
      (readWord(bytes, at + BYTES_AT + tuple * 6) >>> 0) + high * 4_294_967_296;
  }
  words[base + F_VERSION] = recordVersion(bytes, at);
  words[base + F_RECORD_EPOCH] = recordEpoch(bytes, at);
}

/** The entry of a record's original tuple in the table, or NONE. */
export function findRecord(table: FlowTable, bytes: Uint8Array, at: number): number {
  readTuple(bytes, at, 0);
  return table.find(bytes[at + PROTOCOL_AT]!, TUPLE, 0, readWord(bytes, at + PORTS_AT));
}

/** The entry of a record's reply tuple in the table, or NONE. */
export function findRecordReply(table: FlowTable, bytes: Uint8Array, at: number): number {
  readTuple(bytes, at, 1);
  return table.find(bytes[at + PROTOCOL_AT]!, TUPLE, 0, readWord(bytes, at + PORTS_AT + 4));
}

/** The two addresses of the tuple that is being looked for: a thread looks for one at a time. */
const TUPLE = new Int32Array(8);

function readTuple(bytes: Uint8Array, at: number, tuple: number): void {
  for (let end = 0; end < 2; end++) {
    const from = at + ADDRESSES_AT + tuple * 32 + end * 16;
    if (!isIpv6Tuple(bytes, at, tuple)) {
      setIpv4(TUPLE, end * 4, readWord(bytes, from));
      continue;
    }
    TUPLE[end * 4 + 3] = readWord(bytes, from);
    for (let i = 0; i < 3; i++) TUPLE[end * 4 + i] = readWord(bytes, from + 4 + i * 4);
  }
}

/** Whether a tuple (0: original, 1: reply) of a record is IPv6. */
export function isIpv6Tuple(bytes: Uint8Array, at: number, tuple: number): boolean {
  return ((bytes[at + FAMILY_AT]! >> tuple) & 1) !== 0;
}

/**
 * A row's part of its slot's digest: keys, version and epoch of the last record. What changes without a record
 * (windows, counters, deadline) is not in it: owner and backup agree as soon as all records are applied.
 */
export function flowDigest(key: HashKey, words: Int32Array, row: number): number {
  const base = row * ROW_WORDS;
  return indexHash(
    key,
    words[base + F_HASH]!,
    words[base + F_HASH + 1]!,
    words[base + F_VERSION]!,
    words[base + F_RECORD_EPOCH]!,
  );
}

export function recordOperation(bytes: Uint8Array, at: number): number {
  return bytes[at + RECORD_OP_AT]!;
}

export function recordWire(bytes: Uint8Array, at: number): number {
  return bytes[at + RECORD_WIRE_AT]!;
}

export function recordSlot(bytes: Uint8Array, at: number): number {
  return bytes[at + RECORD_SLOT_AT]! | (bytes[at + RECORD_SLOT_AT + 1]! << 8);
}

/** The flags of a record's flow, as in F_META. */
export function recordFlags(bytes: Uint8Array, at: number): number {
  return (bytes[at + FLAGS_AT]! << 16) | (bytes[at + FLAGS_AT + 1]! << 24);
}

export function recordVersion(bytes: Uint8Array, at: number): number {
  return readWord(bytes, at + RECORD_VERSION_AT);
}

export function recordEpoch(bytes: Uint8Array, at: number): number {
  return readWord(bytes, at + RECORD_EPOCH_AT);
}

export function writeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
