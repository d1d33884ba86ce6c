/**
 * WAL reader: replays the segments of a log as far as they are whole, and tells a torn tail from damage.
 *
 * A write is synced before the next one begins. So when the machine stops, at most the last write of the last segment is
 * incomplete, in any of its sectors: whatever is wrong there, with no sign of a later write behind it, is a torn tail, was
 * never acknowledged, and is dropped whole. Anything else wrong is damage, and the node must not go on with a hole in its
 * memory of votes and entries (it could elect two leaders).
 */
import type { Entry, HardState } from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import { type Founding, requireSameVoters } from "./founding.ts";
import type { StorageFs } from "./fs.ts";
import {
  decodeRecord,
  type Header,
  hasLaterBatch,
  isEnd,
  isWhole,
  type Meta,
  paddedBytes,
  readHeader,
  type WalRecord,
} from "./wal-record.ts";

export interface Segment {
  readonly name: string;
  readonly sequence: number;
  /** The highest index of an entry that was ever written there; 0 when none. */
  indexMax: number;
}

export interface Replay {
  readonly segments: Segment[];
  /** Contiguous, with later records over earlier ones. */
  readonly entries: Entry[];
  readonly hardState: HardState;
  /** The latest marker. */
  readonly snapshot: { readonly index: number; readonly term: number } | undefined;
  /** Where the next write goes, in the last segment. */
  readonly endAt: number;
  readonly lastSegmentBytes: number;
  readonly lastCrc: number;
  readonly lastBatch: number;
  /** The last write, as it stands before `endAt`: of it alone it is not known whether it is durable. */
  readonly lastWrite: Uint8Array;
  /** As the latest segment says; logs of version 1 do not. */
  readonly founding: Founding | undefined;
}

/** Whose log is expected. */
export interface Identity extends Pick<Meta, "cluster" | "node"> {
  readonly voters: readonly number[];
}

const SEGMENT_NAME = /^(\d{8})-\d{16}\.wal$/;

export function segmentName(sequence: number, firstIndex: number): string {
  return `${String(sequence).padStart(8, "0")}-${String(firstIndex).padStart(16, "0")}.wal`;
}

/** Undefined when the folder holds no log yet. Throws SW_STORAGE_CORRUPT, SW_CLUSTER_DIFFERS. */
export function replay(fs: StorageFs, folder: string, identity: Identity): Replay | undefined {
  const segments = findSegments(fs, folder);
  if (segments.length === 0) return undefined;
  const state = new ReplayState(folder, identity);
  for (const [i, segment] of segments.entries()) {
    state.read(segment, fs.read(`${folder}/${segment.name}`), i === segments.length - 1);
  }
  return state.finish(segments);
}

/** Whether a file of the folder holds a part of the log, and is not one that is only being made. */
export function isSegment(name: string): boolean {
  return SEGMENT_NAME.test(name);
}

function findSegments(fs: StorageFs, folder: string): Segment[] {
  const segments: Segment[] = [];
  for (const name of fs.list(folder)) {
    const match = SEGMENT_NAME.exec(name);
    if (match !== null) segments.push({ name, sequence: Number(match[1]), indexMax: 0 });
  }
  segments.sort((a, b) => a.sequence - b.sequence);
  for (const [i, segment] of segments.entries()) {
    const expected = segments[0]!.sequence + i;
    if (segment.sequence !== expected) throw corrupt(folder, `segment ${expected} is missing`);
  }
  return segments;
}

class ReplayState {
  readonly #folder: string;
  readonly #identity: Identity;
  #founding: Founding | undefined;
  #entries: Entry[] = [];
  #hardState: HardState = { term: 0, vote: 0, commit: 0 };
  #snapshot: { index: number; term: number } | undefined;
  /** Where entries must go on when there are none: right behind an installed snapshot; -1: anywhere. */
  #baseIndex = -1;
  #crc = 0;
  #batch = -1;
  #endAt = 0;
  #lastSegmentBytes = 0;
  #lastWrite = new Uint8Array(0);

  constructor(folder: string, identity: Identity) {
    this.#folder = folder;
    this.#identity = identity;
  }

  read(segment: Segment, bytes: Uint8Array, isLast: boolean): void {
    const where = `${this.#folder}/${segment.name}`;
    this.#lastSegmentBytes = bytes.length;
    let at = 0;
    for (;;) {
      const write = this.#readWrite(bytes, at, where);
      if (write === undefined) break;
      if (at === 0) this.#checkMeta(segment, write.records[0], where);
      for (const record of write.records) this.#apply(record, segment, where);
      this.#crc = write.crc;
      this.#batch = write.batch;
      this.#lastWrite = bytes.slice(at, write.endAt);
      at = write.endAt;
    }
    this.#endAt = at;
    const rest = lastNonZero(bytes, at);
    if (rest <= at) {
      if (at === 0) throw corrupt(where, "the segment is empty");
      return;
    }
    if (at === 0) throw corrupt(where, "its head is damaged");
    if (!isLast || hasLaterBatch(bytes, at, this.#batch + 1)) {
      throw corrupt(where, `the record at byte ${at} is damaged, and more was written behind it`);
    }
  }

  finish(segments: Segment[]): Replay {
    const snapshot = this.#snapshot;
    const first = this.#entries[0];
    if (first !== undefined && first.index > (snapshot?.index ?? 0) + 1) {
      throw corrupt(this.#folder, `entries begin at ${first.index}, after a gap`);
    }
    return {
      segments,
      entries: this.#entries,
      hardState: this.#hardState,
      snapshot,
      endAt: this.#endAt,
      lastSegmentBytes: this.#lastSegmentBytes,
      lastCrc: this.#crc,
      lastBatch: this.#batch,
      lastWrite: this.#lastWrite,
      founding: this.#founding,
    };
  }

  /** One whole write at `at`, all of it or nothing. */
  #readWrite(bytes: Uint8Array, start: number, where: string) {
    const records: WalRecord[] = [];
    let at = start;
    let crc = this.#crc;
    let header: Header | undefined;
    let batch = this.#batch < 0 ? undefined : this.#batch + 1;
    do {
      if (isEnd(bytes, at)) return undefined;
      header = readHeader(bytes, at);
      if (header === undefined || header.batch !== (batch ?? header.batch)) return undefined;
      batch = header.batch;
      if (!isWhole(bytes, at, header, crc)) return undefined;
      const record = decodeRecord(bytes, at, header);
      // Nothing torn looks like this: it must not be wiped as if it were.
      if (record === undefined) throw isNewer(where, at);
      records.push(record);
      crc = header.crc;
      at += paddedBytes(header.length);
    } while (!header.isLast);
    return { records, crc, batch, endAt: at };
  }

  #checkMeta(segment: Segment, record: WalRecord | undefined, where: string): void {
    if (record?.type !== "meta") throw corrupt(where, "it does not begin with its meta record");
    const { meta } = record;
    const { cluster, node, voters } = this.#identity;
    if (meta.cluster !== cluster || meta.node !== node) {
      throw new SynwallError(
        "SW_STORAGE_CORRUPT",
        `${where}: belongs to node ${meta.node} of cluster "${meta.cluster}", not to node ${node} of "${cluster}": correct control.dataDir`,
      );
    }
    if (meta.sequence !== segment.sequence)
      throw corrupt(where, `it is segment ${meta.sequence} by its content`);
    if (this.#batch >= 0 && meta.previousCrc !== this.#crc) {
      throw corrupt(where, "it does not follow the segment before it");
    }
    this.#founding = meta.founding;
    if (meta.founding !== undefined) requireSameVoters(this.#folder, meta.founding.voters, voters);
  }

  #apply(record: WalRecord, segment: Segment, where: string): void {
    switch (record.type) {
      case "meta":
        return;
      case "hardState":
        this.#hardState = record.hardState;
        return;
      case "snapshot":
        this.#snapshot = { index: record.index, term: record.term };
        if (!record.isInstalled) return;
        this.#entries = [];
        this.#baseIndex = record.index;
        return;
      case "entry":
        this.#append(record.entry, where);
        segment.indexMax = Math.max(segment.indexMax, record.entry.index);
        return;
      default:
        record satisfies never;
    }
  }

  /** Later records win: what stands at or behind the entry's index is gone. */
  #append(entry: Entry, where: string): void {
    const first = this.#entries[0]?.index;
    if (first === undefined) {
      if (this.#baseIndex >= 0 && entry.index > this.#baseIndex + 1) {
        throw corrupt(where, `entry ${entry.index} follows ${this.#baseIndex}`);
      }
      this.#entries.push(entry);
      return;
    }
    const keep = entry.index - first;
    if (keep < 0) this.#entries = [];
    else if (keep > this.#entries.length) {
      throw corrupt(where, `entry ${entry.index} follows ${first + this.#entries.length - 1}`);
    } else this.#entries.length = keep;
    this.#entries.push(entry);
  }
}

/** One behind the last byte that is not zero, at least `from`. */
function lastNonZero(bytes: Uint8Array, from: number): number {
  let end = bytes.length;
  while (end > from && bytes[end - 1] === 0) end--;
  return end;
}

function isNewer(where: string, at: number): SynwallError {
  return new SynwallError(
    "SW_STORAGE_CORRUPT",
    `${where}: the record at byte ${at} was written by a newer version, which this one cannot read: start that version again`,
  );
}

export function corrupt(where: string, what: string): SynwallError {
  return new SynwallError(
    "SW_STORAGE_CORRUPT",
    `${where}: ${what}: the log cannot be trusted; leave this member stopped and do as docs/errors.md says of SW_STORAGE_CORRUPT`,
  );
}
