/**
 * A flow table for tests of helpers: rows as flow-layout.ts has them, look-up through a map, and a book that notes what was
 * published. Owns no policy of its own; `now` is cell 0 of `clock`.
 */

import { writeAddress } from "../../../../src/base/address.ts";
import { COUNT } from "../../../../src/dataplane/context.ts";
import { COUNTER_CELLS } from "../../../../src/dataplane/counters.ts";
import {
  D_DEADLINE,
  F_ADDRESSES,
  F_DESTINATION,
  F_META,
  F_PLACE,
  F_PORTS,
  F_SOURCE,
  F_STATE,
  F_TRACKED,
  FLAG_REPLICA,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../../src/dataplane/flow-layout.ts";
import { ExpectationIndex } from "../../../../src/dataplane/helpers/expectation-index.ts";
import { type RowBook, type RowTable, readTuple } from "../../../../src/dataplane/helpers/satellite.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP } from "../../../../src/dataplane/satellites.ts";
import { TCP_ESTABLISHED } from "../../../../src/dataplane/tcp-state.ts";
import { TEST_KEY } from "../world.ts";
import { parseIp } from "./packets.ts";

export class FakeTable implements RowTable, RowBook {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly clock = Float64Array.of(1_000_000);
  readonly counters = new Float64Array(COUNTER_CELLS);
  /** Rows in the order in which they were published and ended: "change 205 #3". */
  readonly published: string[] = [];
  readonly expectations: ExpectationIndex;
  readonly #index = new Map<string, number>();
  readonly #free: number[];
  readonly #used = new Set<number>();
  /** By row: its words when it was published last. */
  readonly #records = new Map<number, Int32Array>();

  constructor(capacity = 64) {
    const buffer = new ArrayBuffer(capacity * ROW_WORDS * 4);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.expectations = new ExpectationIndex(this.words, TEST_KEY);
    this.#free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
  }

  find(protocol: number, words: Int32Array, at: number, ports: number): number {
    return this.#index.get([protocol, ...words.subarray(at, at + 8), ports].join()) ?? NONE;
  }

  setTuple(
    row: number,
    tuple: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): void {
    const base = row * ROW_WORDS;
    for (let i = 0; i < 3; i++) {
      this.words[base + F_ADDRESSES + tuple * 6 + i] = source[sourceAt + i]!;
      this.words[base + F_ADDRESSES + tuple * 6 + 3 + i] = destination[destinationAt + i]!;
    }
    this.words[base + tuple * REPLY_TUPLE + F_SOURCE] = source[sourceAt + 3]!;
    this.words[base + tuple * REPLY_TUPLE + F_DESTINATION] = destination[destinationAt + 3]!;
    this.words[base + tuple * REPLY_TUPLE + F_PORTS] = ports;
  }

  alloc(): number {
    const row = this.#free.pop() ?? NONE;
    if (row !== NONE) this.words.fill(0, row * ROW_WORDS, (row + 1) * ROW_WORDS);
    return row;
  }

  allocateFor(): number {
    return this.alloc();
  }

  enter(row: number): void {
    for (const tuple of [0, 1]) {
      const key = this.#key(row, tuple);
      if (this.#index.has(key)) throw new Error(`two rows hold the tuple ${key}`);
      this.#index.set(key, row * 2 + tuple);
    }
    this.#used.add(row);
    this.#record(row);
    this.#gauge(row, 1);
  }

  change(row: number): boolean {
    if (!this.#used.has(row)) throw new Error(`row ${row} is not in use`);
    this.published.push(`change ${this.protocolOf(row)}`);
    this.#record(row);
    return true;
  }

  end(row: number): void {
    if (!this.#used.delete(row)) throw new Error(`row ${row} is not in use`);
    this.published.push(`end ${this.protocolOf(row)}`);
    for (const tuple of [0, 1]) this.#index.delete(this.#key(row, tuple));
    this.#gauge(row, -1);
    this.#free.push(row);
  }

  protocolOf(row: number): number {
    return this.words[row * ROW_WORDS + F_META]! & 0xff;
  }

  /** Rows of a protocol that are in use. */
  rows(protocol: number): number[] {
    return [...this.#used].filter((row) => this.protocolOf(row) === protocol);
  }

  allRows(): number[] {
    return [...this.#used];
  }

  isUsed(row: number): boolean {
    return this.#used.has(row);
  }

  /** A flow: "a:1 > b:2" as its client sees it and "b:2 > a:1" as its server answers. Zones 0 (client) and 1. */
  flow(protocol: number, original: string, reply: string, lifeMs = 30_000): number {
    const row = this.alloc();
    const base = row * ROW_WORDS;
    const family = original.startsWith("[") ? 6 : 4;
    this.words[base + F_META] = protocol | (family << 8);
    this.words[base + F_PLACE] = 5 | (0 << 16) | (1 << 24);
    for (const [tuple, text] of [original, reply].entries()) {
      const [from, to] = text.split(" > ").map(parseEnd) as [End, End];
      const words = new Int32Array(8);
      writeAddress(words, 0, from.address);
      writeAddress(words, 4, to.address);
      this.setTuple(row, tuple, words, 0, words, 4, (from.port << 16) | to.port);
    }
    if (protocol === 6) this.words[base + F_STATE] = TCP_ESTABLISHED;
    this.doubles[row * ROW_DOUBLES + D_DEADLINE] = this.clock[0]! + lifeMs;
    this.enter(row);
    return row;
  }

  /** What a backup has: every row as it was published last, marked as a replica. */
  takenOver(): FakeTable {
    const backup = new FakeTable(this.words.length / ROW_WORDS);
    backup.clock[0] = this.clock[0]!;
    for (const row of [...this.#used].sort((a, b) => a - b)) {
      backup.words.set(this.#records.get(row)!, row * ROW_WORDS);
      const meta = row * ROW_WORDS + F_META;
      backup.words[meta] = backup.words[meta]! | FLAG_REPLICA;
      backup.words[row * ROW_WORDS + F_TRACKED] = 0;
      backup.#free.splice(backup.#free.indexOf(row), 1);
      backup.enter(row);
    }
    return backup;
  }

  #record(row: number): void {
    this.#records.set(row, this.words.slice(row * ROW_WORDS, (row + 1) * ROW_WORDS));
  }

  #key(row: number, tuple: number): string {
    const words = new Int32Array(8);
    readTuple(this.words, row, tuple, words, 0);
    const ports = this.words[row * ROW_WORDS + tuple * REPLY_TUPLE + F_PORTS]!;
    return [this.protocolOf(row), ...words, ports].join();
  }

  #gauge(row: number, by: number): void {
    const protocol = this.protocolOf(row);
    if (protocol !== EXPECTATION_TCP && protocol !== EXPECTATION_UDP) return;
    const cell = COUNT.expectationsNow;
    this.counters[cell] = this.counters[cell]! + by;
    if (by > 0) this.expectations.enter(row);
    else this.expectations.leave(row);
  }
}

interface End {
  readonly address: number | bigint;
  readonly port: number;
}

function parseEnd(text: string): End {
  const colon = text.lastIndexOf(":");
  return {
    address: parseIp(text.slice(0, colon).replace(/[[\]]/g, "")),
    port: Number(text.slice(colon + 1)),
  };
}
