/**
 * WAL records: how they look on disk. Owns bytes; which records make a batch and what they mean together is wal.ts.
 *
 *   0        4        8        12     13      14       16                         8-aligned
 *   | length | crc    | batch  | type | flags | check  | payload (length bytes)   | zeros |
 *
 *   crc     CRC-32C of length, batch, type, flags and payload, going on from the crc of the record before: nothing can be
 *           missing, doubled or moved. The first record of a segment (meta) starts from 0 and names the crc before it.
 *   batch   numbers the writes: all records of one write have the same, and the last one has the flag LAST.
 *   check   16 bits over the header alone, so that headers behind a damaged place can be recognised.
 *
 * A header of zeros ends a segment: segments are preallocated with zeros. All integers are little-endian.
 */
import type { Entry, HardState } from "raft-ts";
import { crc32c } from "./crc32c.ts";
import type { Founding } from "./founding.ts";

export const HEADER_BYTES = 16;
const FLAG_LAST = 1;
const TYPE_META = 1;
const TYPE_ENTRY = 2;
const TYPE_HARD_STATE = 3;
const TYPE_SNAPSHOT = 4;
/** Types up to here may come one day; what lies beyond is no record. */
const TYPE_MAX = 31;
/** 2 added the founding. */
const FORMAT_VERSION = 2;
const FORMAT_WITHOUT_FOUNDING = 1;
/** Batch numbers this far apart are chance, not a log. */
const BATCH_SPAN_MAX = 2 ** 24;

export interface Meta {
  readonly cluster: string;
  readonly node: number;
  /** Number of the segment. */
  readonly sequence: number;
  /** crc of the last record of the segment before. */
  readonly previousCrc: number;
  /** Absent in logs of version 1. */
  readonly founding?: Founding;
}

export type WalRecord =
  | { readonly type: "meta"; readonly meta: Meta }
  | { readonly type: "entry"; readonly entry: Entry }
  | { readonly type: "hardState"; readonly hardState: HardState }
  /** `isInstalled`: it came from the leader and replaces the whole log before it. */
  | {
      readonly type: "snapshot";
      readonly index: number;
      readonly term: number;
      readonly isInstalled: boolean;
    };

/** What stands before a record's payload. */
export interface Header {
  readonly length: number;
  readonly crc: number;
  readonly batch: number;
  readonly type: number;
  readonly isLast: boolean;
}

export interface Encoded {
  readonly chunks: Uint8Array[];
  readonly bytes: number;
  readonly crc: number;
}

/** Encodes one write: its records, chained to `previousCrc`. */
export function encodeBatch(records: readonly WalRecord[], batch: number, previousCrc: number): Encoded {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let crc = previousCrc;
  for (const [i, record] of records.entries()) {
    const payload = encodePayload(record);
    const chunk = new Uint8Array(paddedBytes(payload.length));
    const view = new DataView(chunk.buffer);
    view.setUint32(0, payload.length, true);
    view.setUint32(8, batch, true);
    view.setUint8(12, typeOf(record));
    view.setUint8(13, i === records.length - 1 ? FLAG_LAST : 0);
    chunk.set(payload, HEADER_BYTES);
    crc = crcOf(chunk, 0, payload.length, record.type === "meta" ? 0 : crc);
    view.setUint32(4, crc, true);
    view.setUint16(14, checkOf(chunk, 0), true);
    chunks.push(chunk);
    bytes += chunk.length;
  }
  return { chunks, bytes, crc };
}

/** Bytes that a record with such a payload takes. */
export function paddedBytes(payloadBytes: number): number {
  return HEADER_BYTES + ((payloadBytes + 7) & ~7);
}

export function isEnd(bytes: Uint8Array, at: number): boolean {
  if (at + HEADER_BYTES > bytes.length) return true;
  for (let i = at; i < at + HEADER_BYTES; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** The header at `at`, if one is there whole and its record fits into the file. */
export function readHeader(bytes: Uint8Array, at: number): Header | undefined {
  if (isEnd(bytes, at)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES);
  const length = view.getUint32(0, true);
  const type = view.getUint8(12);
  if (view.getUint16(14, true) !== checkOf(bytes, at)) return undefined;
  if (type < TYPE_META || type > TYPE_MAX || at + paddedBytes(length) > bytes.length) return undefined;
  return {
    length,
    crc: view.getUint32(4, true),
    batch: view.getUint32(8, true),
    type,
    isLast: (view.getUint8(13) & FLAG_LAST) !== 0,
  };
}

/** Whether the record at `at` is as it was written, behind one that ended with `previousCrc`. */
export function isWhole(bytes: Uint8Array, at: number, header: Header, previousCrc: number): boolean {
  return crcOf(bytes, at, header.length, header.type === TYPE_META ? 0 : previousCrc) === header.crc;
}

/** What a whole record says; undefined when only a newer version knows. */
export function decodeRecord(bytes: Uint8Array, at: number, { type, length }: Header): WalRecord | undefined {
  return decodePayload(type, bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
}

/** Whether a write later than `batch` left a header anywhere from `at` on. */
export function hasLaterBatch(bytes: Uint8Array, at: number, batch: number): boolean {
  for (let place = at; place + HEADER_BYTES <= bytes.length; place += 8) {
    const header = readHeader(bytes, place);
    if (header !== undefined && header.batch > batch && header.batch - batch < BATCH_SPAN_MAX) return true;
  }
  return false;
}

function crcOf(bytes: Uint8Array, at: number, length: number, previous: number): number {
  const head = crc32c(bytes.subarray(at + 8, at + 14), crc32c(bytes.subarray(at, at + 4), previous));
  return crc32c(bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length), head);
}

function checkOf(bytes: Uint8Array, at: number): number {
  return crc32c(bytes.subarray(at, at + 14)) & 0xffff;
}

function typeOf(record: WalRecord): number {
  switch (record.type) {
    case "meta":
      return TYPE_META;
    case "entry":
      return TYPE_ENTRY;
    case "hardState":
      return TYPE_HARD_STATE;
    case "snapshot":
      return TYPE_SNAPSHOT;
    default:
      return record satisfies never;
  }
}

function encodePayload(record: WalRecord): Uint8Array {
  switch (record.type) {
    case "meta": {
      const version = record.meta.founding === undefined ? FORMAT_WITHOUT_FOUNDING : FORMAT_VERSION;
      return new TextEncoder().encode(JSON.stringify({ version, ...record.meta }));
    }
    case "entry": {
      const { term, index, type, data } = record.entry;
      const bytes = new Uint8Array(24 + data.length);
      bytes.set(numbers(term, index, type === "normal" ? 0 : 1));
      bytes.set(data, 24);
      return bytes;
    }
    case "hardState": {
      const { term, vote, commit } = record.hardState;
      return numbers(term, vote, commit);
    }
    case "snapshot":
      return numbers(record.index, record.term, record.isInstalled ? 1 : 0);
    default:
      return record satisfies never;
  }
}

function numbers(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setBigUint64(i * 8, BigInt(value), true);
  return bytes;
}

/** Undefined when the payload does not fit its type; its crc was right, so a newer version wrote it. */
function decodePayload(type: number, payload: Uint8Array): WalRecord | undefined {
  if (type === TYPE_META) return decodeMeta(payload);
  if (type > TYPE_SNAPSHOT || payload.length < 24) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const [a, b, c] = [0, 8, 16].map((at) => Number(view.getBigUint64(at, true))) as [number, number, number];
  if (type === TYPE_HARD_STATE) return { type: "hardState", hardState: { term: a, vote: b, commit: c } };
  if (type === TYPE_SNAPSHOT) return { type: "snapshot", index: a, term: b, isInstalled: c === 1 };
  const entryType = c === 0 ? "normal" : "confChange";
  return { type: "entry", entry: { term: a, index: b, type: entryType, data: payload.slice(24) } };
}

function decodeMeta(payload: Uint8Array): WalRecord | undefined {
  const meta: unknown = JSON.parse(new TextDecoder().decode(payload));
  const { version, cluster, node, sequence, previousCrc, founding } = meta as Meta & { version: number };
  const known = { cluster, node, sequence, previousCrc };
  if (version === FORMAT_WITHOUT_FOUNDING) return { type: "meta", meta: known };
  if (version !== FORMAT_VERSION || founding === undefined) return undefined;
  return { type: "meta", meta: { ...known, founding } };
}
