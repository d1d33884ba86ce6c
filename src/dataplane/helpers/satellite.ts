/**
 * Satellites of flows: rows of the flow table under protocol numbers of their own, for what must be replicated, expire and
 * survive a takeover beside connections. Owns the numbers of those that helpers use, the parts of the table and the book that
 * they need, and the reading of tuples; what the rows' words mean is adjust.ts and expectations.ts.
 *
 *   203, 204   expectation of a TCP connection, of a UDP flow    found by the packet that is expected
 *   205        numbers of a TCP connection                       found by the connection's own tuples
 */
import {
  F_ADDRESSES,
  F_DESTINATION,
  F_PORTS,
  F_SOURCE,
  F_WINDOW,
  REPLY_TUPLE,
  ROW_WORDS,
} from "../flow-layout.ts";

/** Words of a tuple's two addresses. */
export const TUPLE_WORDS = 8;

/** What satellites need of the flow table (flow-table.ts). */
export interface RowTable {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** words[at..at+3] source, words[at+4..at+7] destination: row * 2 + direction, or NONE. */
  find(protocol: number, words: Int32Array, at: number, ports: number): number;
  setTuple(
    row: number,
    tuple: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): void;
  alloc(): number;
}

/** What satellites need of the flow book (flow-book.ts). */
export interface RowBook {
  /** A fresh row for what belongs to the flow in `master`, which stays; another may make way. NONE when there is none. */
  allocateFor(master: number): number;
  enter(row: number): void;
  /** Publishes the row's present state; false when no backup will hear of it. */
  change(row: number): boolean;
  end(row: number): void;
}

/** Copies both addresses of a row's tuple, source first. */
export function readTuple(words: Int32Array, row: number, tuple: number, to: Int32Array, at: number): void {
  const base = row * ROW_WORDS;
  const upper = base + F_ADDRESSES + tuple * 6;
  for (let i = 0; i < 3; i++) {
    to[at + i] = words[upper + i]!;
    to[at + 4 + i] = words[upper + 3 + i]!;
  }
  to[at + 3] = words[base + tuple * REPLY_TUPLE + F_SOURCE]!;
  to[at + 7] = words[base + tuple * REPLY_TUPLE + F_DESTINATION]!;
}

/** Source port << 16 | destination port of a row's tuple. */
export function portsOf(words: Int32Array, row: number, tuple: number): number {
  return words[row * ROW_WORDS + tuple * REPLY_TUPLE + F_PORTS]!;
}

/** One of the eight words that are a satellite's own. */
export function own(words: Int32Array, row: number, index: number): number {
  return words[row * ROW_WORDS + F_WINDOW + index]!;
}

export function setOwn(words: Int32Array, row: number, index: number, value: number): void {
  words[row * ROW_WORDS + F_WINDOW + index] = value;
}
