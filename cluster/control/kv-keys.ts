/**
 * Keys of a cluster in a key-value store, and what their values look like. Owns the format, version 1:
 *
 *   <prefix>/<cluster>/cluster          { v, id, slots }                  what the log was begun with
 *                     /head             { index, chain }                  the last entry; every commit compares and replaces it
 *                     /log/0000000042   an entry's bytes, as in Raft's log
 *                     /snapshot         { index, chain } \n state         the state as of that entry; older ones may be gone
 *                     /leader           { term, node, beat }              who plans
 *                     /lease/2          a number                          the latest promise that node 2 was given
 *
 * `chain` is a checksum over all entries up to this one, so that a log that is another one is never taken for this one.
 */
import { crc32c } from "../storage/crc32c.ts";
import { endOfPrefix, type KvOperation, type KvPair } from "../storage/kv.ts";

export const FORMAT_VERSION = 1;
const INDEX_DIGITS = 10;
const NEWLINE = 10;

export interface LogPosition {
  readonly index: number;
  readonly chain: number;
}

export const LOG_START: LogPosition = { index: 0, chain: 0 };

export interface LogEntry {
  readonly index: number;
  readonly data: Uint8Array;
}

export interface StoreIdentity {
  readonly v: number;
  /** Drawn when the log was begun. */
  readonly id: string;
  readonly slots: number;
}

export interface LeaderRecord {
  readonly term: number;
  readonly node: number;
  /** Counts what the leader wrote in this term. */
  readonly beat: number;
}

export interface KvSnapshot {
  readonly at: LogPosition;
  readonly data: Uint8Array;
}

/** What was read at one moment. */
export interface StoreImage {
  readonly identity?: StoreIdentity;
  readonly head?: LogPosition;
  readonly leader?: { readonly record: LeaderRecord; readonly modRevision: number };
  /** Absent when it was not asked for, or is not there. */
  readonly snapshot?: { readonly snapshot: KvSnapshot; readonly modRevision: number };
  /** In order; not all when there are more than ENTRIES_A_READ. */
  readonly entries: readonly LogEntry[];
  readonly leases: readonly { readonly node: number; readonly modRevision: number }[];
}

/** Entries that one read brings at most. */
export const ENTRIES_A_READ = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class KvKeys {
  readonly root: string;
  readonly identity: string;
  readonly head: string;
  readonly leader: string;
  readonly snapshot: string;
  readonly #log: string;
  readonly #leases: string;

  constructor(prefix: string, cluster: string) {
    this.root = `${prefix}/${cluster}/`;
    this.identity = `${this.root}cluster`;
    this.head = `${this.root}head`;
    this.leader = `${this.root}leader`;
    this.snapshot = `${this.root}snapshot`;
    this.#log = `${this.root}log/`;
    this.#leases = `${this.root}lease/`;
  }

  entry(index: number): string {
    return this.#log + String(index).padStart(INDEX_DIGITS, "0");
  }

  lease(node: number): string {
    return this.#leases + node;
  }

  /** The index of an entry's key; undefined: it is another key. */
  indexOf(key: string): number | undefined {
    return key.startsWith(this.#log) ? Number(key.slice(this.#log.length)) : undefined;
  }

  nodeOf(key: string): number | undefined {
    return key.startsWith(this.#leases) ? Number(key.slice(this.#leases.length)) : undefined;
  }

  /** Reads what imageOf() takes: what came after `index`, and the snapshot when `isWhole`. */
  readImage(index: number, isWhole: boolean): KvOperation[] {
    return [
      { type: "get", key: this.identity },
      { type: "get", key: this.head },
      { type: "get", key: this.leader },
      { type: "get", key: this.entry(index + 1), to: endOfPrefix(this.#log), limit: ENTRIES_A_READ },
      { type: "get", key: this.#leases, to: endOfPrefix(this.#leases) },
      ...(isWhole ? [{ type: "get", key: this.snapshot } as const] : []),
    ];
  }

  imageOf(reads: readonly (readonly KvPair[])[]): StoreImage {
    const [identity, head, leader, entries = [], leases = [], snapshot] = reads;
    return {
      ...ifThere(identity?.[0], ({ value }) => ({ identity: fromJson<StoreIdentity>(value) })),
      ...ifThere(head?.[0], ({ value }) => ({ head: fromJson<LogPosition>(value) })),
      ...ifThere(leader?.[0], ({ value, modRevision }) => ({
        leader: { record: fromJson<LeaderRecord>(value), modRevision },
      })),
      ...ifThere(snapshot?.[0], ({ value, modRevision }) => ({
        snapshot: { snapshot: decodeKvSnapshot(value), modRevision },
      })),
      entries: entries.map(({ key, value }) => ({ index: this.indexOf(key)!, data: value })),
      leases: leases.map(({ key, modRevision }) => ({ node: this.nodeOf(key)!, modRevision })),
    };
  }

  /** Removes entries up to and with `index`. */
  dropLog(index: number): KvOperation {
    return { type: "delete", key: this.entry(0), to: this.entry(index + 1) };
  }
}

export function advance({ index, chain }: LogPosition, data: Uint8Array): LogPosition {
  return { index: index + 1, chain: crc32c(data, chain) };
}

/** Always the same bytes for the same position: commits compare them. */
export function encodePosition({ index, chain }: LogPosition): Uint8Array {
  return toJson({ index, chain });
}

export function toJson(value: StoreIdentity | LogPosition | LeaderRecord): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

export function fromJson<T>(value: Uint8Array): T {
  return JSON.parse(decoder.decode(value)) as T;
}

export function encodeKvSnapshot({ at, data }: KvSnapshot): Uint8Array {
  const first = encodePosition(at);
  const bytes = new Uint8Array(first.length + 1 + data.length);
  bytes.set(first);
  bytes[first.length] = NEWLINE;
  bytes.set(data, first.length + 1);
  return bytes;
}

export function decodeKvSnapshot(bytes: Uint8Array): KvSnapshot {
  const end = bytes.indexOf(NEWLINE);
  return { at: fromJson<LogPosition>(bytes.subarray(0, end)), data: bytes.subarray(end + 1) };
}

function ifThere<T extends object>(pair: KvPair | undefined, make: (pair: KvPair) => T): Partial<T> {
  return pair === undefined ? {} : make(pair);
}
