/**
 * Flow table: owns every tracked flow's row, its two index entries, its timer and its place in its slot's list, all in one
 * SharedArrayBuffer with a fixed capacity. One thread writes; others read through flow-reader.ts.
 * Does not own what a flow may do (trackers), NAT ports (nat.ts) or records (flow-record.ts).
 *
 *   | header | buckets (hash chains) | wheel | slots: head, tail, count, sum, snapshot | rows ... |
 *
 * Nothing is scanned: expiry goes by the wheel, a slot's flows are a list, gauges and digests are kept up to date.
 */

import { isIpv4 } from "../base/address.ts";
import { assert } from "../base/assert.ts";
import { type HashKey, indexHash } from "../base/hash.ts";
import { MAX_SLOTS } from "./cluster-view.ts";
import {
  D_DEADLINE,
  F_ADDRESSES,
  F_DESTINATION,
  F_DIGEST,
  F_GENERATION,
  F_HASH,
  F_META,
  F_NEXT,
  F_PLACE,
  F_PORTS,
  F_SLOT_NEXT,
  F_SLOT_PREVIOUS,
  F_SNAPSHOT,
  F_SOURCE,
  FAMILY_ANY,
  FAMILY_AT,
  FAMILY_IPV6_ORIGINAL,
  FLAG_USED,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
  TUPLE_UPPER_WORDS,
} from "./flow-layout.ts";
import { TimerWheel, WHEEL_BUCKETS } from "./timer-wheel.ts";

const HEADER_WORDS = 16;
const H_MAGIC = 0;
const H_CAPACITY = 1;
const H_USED = 2;
const H_FREE = 3;
/** Rows that were ever used. */
export const H_FRESH = 4;
const MAGIC = 0x53574654;

/** Words per slot: both ends of the list, count, digest sum, snapshot generation. */
const SLOT_WORDS = 8;
const S_HEAD = 0;
const S_TAIL = 1;
const S_COUNT = 2;
const S_SUM = 3;
const S_SNAPSHOT = 4;

/** Bytes of the shared memory for a table of `capacity` flows. */
export function flowTableBytes(capacity: number): number {
  return 4 * (rowsAt(capacity) + capacity * ROW_WORDS);
}

function bucketCount(capacity: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(16, capacity)));
}

function rowsAt(capacity: number): number {
  const words = HEADER_WORDS + bucketCount(capacity) + WHEEL_BUCKETS + MAX_SLOTS * SLOT_WORDS;
  return words + (words & 1);
}

/** Whether the memory holds a table already, so that a reader can wait for its writer. */
export function isFlowTable(buffer: SharedArrayBuffer): boolean {
  return Atomics.load(new Int32Array(buffer, 0, HEADER_WORDS), H_MAGIC) === MAGIC;
}

/** Header and rows of a table that another thread made. */
export function flowTableLayout(buffer: SharedArrayBuffer): {
  readonly header: Int32Array;
  readonly words: Int32Array;
} {
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  const capacity = header[H_CAPACITY]!;
  return { header, words: new Int32Array(buffer, rowsAt(capacity) * 4, capacity * ROW_WORDS) };
}

export class FlowTable {
  readonly capacity: number;
  readonly buffer: SharedArrayBuffer;
  /** Rows as 32-bit words: row * ROW_WORDS + F_*. */
  readonly words: Int32Array;
  /** The same rows as 64-bit floats: row * ROW_DOUBLES + D_*. */
  readonly doubles: Float64Array;
  readonly wheel: TimerWheel;
  readonly #header: Int32Array;
  readonly #buckets: Int32Array;
  readonly #mask: number;
  readonly #slots: Int32Array;
  readonly #key: HashKey;
  /** A tuple's two addresses. */
  readonly #scratch = new Int32Array(8);
  /** A walk over a slot's list that must survive removals: the row that comes next. */
  #walker = NONE;

  /** Makes an empty table in `buffer`, which is flowTableBytes(capacity) long. */
  constructor(capacity: number, key: HashKey, buffer = new SharedArrayBuffer(flowTableBytes(capacity))) {
    assert(capacity >= 1 && capacity < 2 ** 24, `a flow table cannot hold ${capacity} flows`);
    assert(buffer.byteLength >= flowTableBytes(capacity), "the flow table's memory is too small");
    this.capacity = capacity;
    this.buffer = buffer;
    this.#key = key;
    const buckets = bucketCount(capacity);
    let at = 0;
    this.#header = new Int32Array(buffer, 0, HEADER_WORDS);
    at += HEADER_WORDS;
    this.#buckets = new Int32Array(buffer, at * 4, buckets);
    at += buckets;
    const heads = new Int32Array(buffer, at * 4, WHEEL_BUCKETS);
    at += WHEEL_BUCKETS;
    this.#slots = new Int32Array(buffer, at * 4, MAX_SLOTS * SLOT_WORDS);
    this.words = new Int32Array(buffer, rowsAt(capacity) * 4, capacity * ROW_WORDS);
    this.doubles = new Float64Array(buffer, rowsAt(capacity) * 4, capacity * ROW_DOUBLES);
    this.#mask = buckets - 1;
    this.wheel = new TimerWheel(this.words, heads);
    this.#buckets.fill(NONE);
    heads.fill(NONE);
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      this.#slots[slot * SLOT_WORDS + S_HEAD] = NONE;
      this.#slots[slot * SLOT_WORDS + S_TAIL] = NONE;
    }
    this.#header[H_CAPACITY] = capacity;
    this.#header[H_USED] = 0;
    this.#header[H_FREE] = NONE;
    this.#header[H_FRESH] = 0;
    Atomics.store(this.#header, H_MAGIC, MAGIC);
  }

  /** Rows in use. */
  get used(): number {
    return this.#header[H_USED]!;
  }

  /**
   * Index hash of a tuple; also the key hash that records carry. `words[at]` and `words[at + 4]`: source and destination
   * (base/address.ts).
   */
  hash(protocol: number, words: Int32Array, at: number, ports: number): number {
    const key = this.#key;
    if (isIpv4(words, at)) return indexHash(key, words[at + 3]!, words[at + 7]!, ports, protocol);
    const source = indexHash(key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    const destination = indexHash(key, words[at + 4]!, words[at + 5]!, words[at + 6]!, words[at + 7]!);
    return indexHash(key, source, destination, ports, protocol);
  }

  /** The entry (row * 2 + direction) that holds the tuple of words[at..at + 7], or NONE. */
  find(protocol: number, tuple: Int32Array, at: number, ports: number): number {
    const hash = this.hash(protocol, tuple, at, ports);
    const isIpv6 = isIpv4(tuple, at) ? 0 : 1;
    const source = tuple[at + 3]!;
    const destination = tuple[at + 7]!;
    const words = this.words;
    let entry = this.#buckets[hash & this.#mask]!;
    while (entry !== NONE) {
      const row = (entry >> 1) * ROW_WORDS;
      const direction = entry & 1;
      if (words[row + F_HASH + direction] === hash) {
        const lower = row + direction * REPLY_TUPLE;
        const meta = words[row + F_META]!;
        if (
          words[lower + F_PORTS] === ports &&
          words[lower + F_SOURCE] === source &&
          words[lower + F_DESTINATION] === destination &&
          (meta & 0xff) === protocol &&
          ((meta >> (FAMILY_AT + direction)) & 1) === isIpv6 &&
          (isIpv6 === 0 || this.#isUpper(row + F_ADDRESSES + direction * TUPLE_UPPER_WORDS, tuple, at))
        ) {
          return entry;
        }
      }
      entry = words[row + F_NEXT + direction]!;
    }
    return NONE;
  }

  /** Whether the upper words of a row's tuple are these. */
  #isUpper(upper: number, tuple: Int32Array, at: number): boolean {
    const words = this.words;
    return (
      words[upper] === tuple[at] &&
      words[upper + 1] === tuple[at + 1] &&
      words[upper + 2] === tuple[at + 2] &&
      words[upper + 3] === tuple[at + 4] &&
      words[upper + 4] === tuple[at + 5] &&
      words[upper + 5] === tuple[at + 6]
    );
  }

  /** Writes a tuple (0: original, 1: reply) into a row that is not indexed. Source and destination are of one family. */
  setTuple(
    row: number,
    tuple: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const lower = at + tuple * REPLY_TUPLE;
    const upper = at + F_ADDRESSES + tuple * TUPLE_UPPER_WORDS;
    for (let i = 0; i < 3; i++) {
      words[upper + i] = source[sourceAt + i]!;
      words[upper + 3 + i] = destination[destinationAt + i]!;
    }
    words[lower + F_SOURCE] = source[sourceAt + 3]!;
    words[lower + F_DESTINATION] = destination[destinationAt + 3]!;
    words[lower + F_PORTS] = ports;
    // A tuple may be written twice before it is indexed, the second time in the other family.
    const bit = FAMILY_IPV6_ORIGINAL << tuple;
    const others = words[at + F_META]! & ~bit;
    words[at + F_META] = others | FAMILY_ANY | (isIpv4(source, sourceAt) ? 0 : bit);
  }

  /** Copies an address of a row's tuple: `end` 0 is its source, 1 its destination. */
  address(row: number, tuple: number, end: number, to: Int32Array, toAt: number): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const upper = at + F_ADDRESSES + tuple * TUPLE_UPPER_WORDS + end * 3;
    to[toAt] = words[upper]!;
    to[toAt + 1] = words[upper + 1]!;
    to[toAt + 2] = words[upper + 2]!;
    to[toAt + 3] = words[at + tuple * REPLY_TUPLE + F_SOURCE + end]!;
  }

  /** A zeroed row to fill, not yet indexed; NONE when the table is full. Between alloc() and insert() readers skip it. */
  alloc(): number {
    const header = this.#header;
    let row = header[H_FREE]!;
    if (row !== NONE) {
      header[H_FREE] = this.words[row * ROW_WORDS + F_NEXT]!;
    } else {
      // Fresh rows are taken in order, so untouched memory stays untouched.
      row = header[H_FRESH]!;
      if (row >= this.capacity) return NONE;
      header[H_FRESH] = row + 1;
    }
    const at = row * ROW_WORDS;
    const generation = this.words[at + F_GENERATION]!;
    this.words.fill(0, at, at + ROW_WORDS);
    this.words[at + F_GENERATION] = generation | 1;
    header[H_USED] = header[H_USED]! + 1;
    return row;
  }

  /** Indexes a filled row: both tuples, its slot's list, the wheel at its deadline. Its digest part starts at 0. */
  insert(row: number): void {
    const at = row * ROW_WORDS;
    this.words[at + F_META] = this.words[at + F_META]! | FLAG_USED;
    this.#link(row, 0);
    this.#link(row, 1);
    this.#join(row);
    this.wheel.add(row, this.doubles, row * ROW_DOUBLES + D_DEADLINE);
    this.#endWrite(at);
  }

  /** Forgets a row: index, list, wheel, digest. */
  remove(row: number): void {
    const at = row * ROW_WORDS;
    this.words[at + F_GENERATION] = this.words[at + F_GENERATION]! | 1;
    this.#unlink(row, 0);
    this.#unlink(row, 1);
    this.#leave(row);
    this.wheel.remove(row);
    this.release(row);
  }

  /** Takes an indexed row out of everybody's sight; it keeps its timer and its place in its slot. Then comes reveal(). */
  conceal(row: number): void {
    const meta = row * ROW_WORDS + F_META;
    this.#unlink(row, 0);
    this.#unlink(row, 1);
    this.words[meta] = this.words[meta]! & ~FLAG_USED;
  }

  /** Undoes conceal(). */
  reveal(row: number): void {
    const meta = row * ROW_WORDS + F_META;
    this.words[meta] = this.words[meta]! | FLAG_USED;
    this.#link(row, 0);
    this.#link(row, 1);
  }

  /** Gives an allocated row back that was never inserted, or that remove() unlinked. */
  release(row: number): void {
    const at = row * ROW_WORDS;
    this.words[at + F_META] = 0;
    this.words[at + F_NEXT] = this.#header[H_FREE]!;
    this.#header[H_FREE] = row;
    this.#header[H_USED] = this.#header[H_USED]! - 1;
    this.#endWrite(at);
  }

  /** Files the row in the wheel again, after its deadline was made earlier. */
  rearm(row: number): void {
    this.wheel.remove(row);
    this.wheel.add(row, this.doubles, row * ROW_DOUBLES + D_DEADLINE);
  }

  slotOf(row: number): number {
    return this.words[row * ROW_WORDS + F_PLACE]! & 0xffff;
  }

  /** Flows of a slot. */
  slotCount(slot: number): number {
    return this.#slots[slot * SLOT_WORDS + S_COUNT]!;
  }

  /** Sum of the digest parts of a slot's flows, modulo 2^32, signed. */
  slotSum(slot: number): number {
    return this.#slots[slot * SLOT_WORDS + S_SUM]!;
  }

  /** First row of a slot's list, or NONE; F_SLOT_NEXT leads on. */
  slotHead(slot: number): number {
    return this.#slots[slot * SLOT_WORDS + S_HEAD]!;
  }

  /** Last row of a slot's list, or NONE. */
  slotTail(slot: number): number {
    return this.#slots[slot * SLOT_WORDS + S_TAIL]!;
  }

  /** Last snapshot generation of a slot. */
  slotSnapshot(slot: number): number {
    return this.#slots[slot * SLOT_WORDS + S_SNAPSHOT]!;
  }

  /** Starts a new snapshot generation of a slot and returns it. */
  beginSnapshot(slot: number): number {
    const at = slot * SLOT_WORDS + S_SNAPSHOT;
    return (this.#slots[at] = (this.#slots[at]! + 1) | 0);
  }

  /** Replaces the row's part of its slot's digest. */
  setDigest(row: number, digest: number): void {
    const at = row * ROW_WORDS;
    const sum = (this.words[at + F_PLACE]! & 0xffff) * SLOT_WORDS + S_SUM;
    this.#slots[sum] = (this.#slots[sum]! - this.words[at + F_DIGEST]! + digest) | 0;
    this.words[at + F_DIGEST] = digest;
  }

  /** Marks a replica as refreshed by the running snapshot: it moves to the head of its slot's list. */
  refresh(row: number, generation: number): void {
    const at = row * ROW_WORDS;
    this.words[at + F_SNAPSHOT] = generation;
    const digest = this.words[at + F_DIGEST]!;
    this.#leave(row);
    this.#join(row);
    this.setDigest(row, digest);
  }

  /** Starts a walk over a slot's list; one walk at a time. */
  startWalk(slot: number): void {
    this.#walker = this.slotHead(slot);
  }

  /** The row where the walk stands, or NONE at its end. Removed rows are passed over, rows added meanwhile not visited. */
  walkAt(): number {
    return this.#walker;
  }

  /** Steps to the next row of the walk. */
  walkOn(): void {
    if (this.#walker !== NONE) this.#walker = this.words[this.#walker * ROW_WORDS + F_SLOT_NEXT]!;
  }

  #link(row: number, direction: number): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const scratch = this.#scratch;
    this.address(row, direction, 0, scratch, 0);
    this.address(row, direction, 1, scratch, 4);
    const ports = words[at + direction * REPLY_TUPLE + F_PORTS]!;
    const hash = this.hash(words[at + F_META]! & 0xff, scratch, 0, ports);
    const bucket = hash & this.#mask;
    words[at + F_HASH + direction] = hash;
    words[at + F_NEXT + direction] = this.#buckets[bucket]!;
    this.#buckets[bucket] = row * 2 + direction;
  }

  #unlink(row: number, direction: number): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const entry = row * 2 + direction;
    const next = words[at + F_NEXT + direction]!;
    const bucket = words[at + F_HASH + direction]! & this.#mask;
    let cursor = this.#buckets[bucket]!;
    if (cursor === entry) {
      this.#buckets[bucket] = next;
      return;
    }
    while (cursor !== NONE) {
      const link = (cursor >> 1) * ROW_WORDS + F_NEXT + (cursor & 1);
      cursor = words[link]!;
      if (cursor === entry) {
        words[link] = next;
        return;
      }
    }
    assert(false, "a flow's index entry is missing from its chain");
  }

  #join(row: number): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const slot = (words[at + F_PLACE]! & 0xffff) * SLOT_WORDS;
    const head = this.#slots[slot + S_HEAD]!;
    words[at + F_SLOT_NEXT] = head;
    words[at + F_SLOT_PREVIOUS] = NONE;
    words[at + F_DIGEST] = 0;
    if (head !== NONE) words[head * ROW_WORDS + F_SLOT_PREVIOUS] = row;
    else this.#slots[slot + S_TAIL] = row;
    this.#slots[slot + S_HEAD] = row;
    this.#slots[slot + S_COUNT] = this.#slots[slot + S_COUNT]! + 1;
  }

  #leave(row: number): void {
    const words = this.words;
    const at = row * ROW_WORDS;
    const slot = (words[at + F_PLACE]! & 0xffff) * SLOT_WORDS;
    const next = words[at + F_SLOT_NEXT]!;
    const previous = words[at + F_SLOT_PREVIOUS]!;
    if (this.#walker === row) this.#walker = next;
    if (next !== NONE) words[next * ROW_WORDS + F_SLOT_PREVIOUS] = previous;
    else this.#slots[slot + S_TAIL] = previous;
    if (previous !== NONE) words[previous * ROW_WORDS + F_SLOT_NEXT] = next;
    else this.#slots[slot + S_HEAD] = next;
    this.#slots[slot + S_COUNT] = this.#slots[slot + S_COUNT]! - 1;
    this.#slots[slot + S_SUM] = (this.#slots[slot + S_SUM]! - words[at + F_DIGEST]!) | 0;
  }

  #endWrite(at: number): void {
    Atomics.store(this.words, at + F_GENERATION, (this.words[at + F_GENERATION]! | 1) + 1);
  }
}
