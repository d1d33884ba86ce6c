/**
 * Expectation index: the expectations of a flow, found without trying every ordinal that they might have. Owns the chains, which are
 * this node's own: the flow book tells of every row that comes and goes, of replicas too, so they agree with the table.
 *
 *   bucket of the master's addresses and source port --> row --> row --> ...      the newest first
 *
 * What is hashed stands in the expectation's reply tuple, and never changes. A chain may hold rows of other masters.
 */
import { type HashKey, indexHash } from "../../base/hash.ts";
import { PROTOCOL_TCP } from "../../packet/ipv4.ts";
import {
  F_ADDRESSES,
  F_COMMIT,
  F_DESTINATION,
  F_META,
  F_SOURCE,
  NONE,
  REPLY_TUPLE,
  ROW_WORDS,
  TUPLE_UPPER_WORDS,
} from "../flow-layout.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP } from "../satellites.ts";
import { own, portsOf, readTuple, TUPLE_WORDS } from "./satellite.ts";

/** Own word of an expectation: ports of its master's original tuple. */
export const E_MASTER_PORTS = 0;
/**
 * Link to the next row of the chain, on this node: ~row, 0 ends. An expectation never waits for a commit; and what waits for one
 * of a flow that had this row before does not take a negative number for its own (waiting.ts).
 */
const F_CHAIN = F_COMMIT;
const BUCKETS = 4096;

export class ExpectationIndex {
  readonly #words: Int32Array;
  readonly #key: HashKey;
  /** Links to the first rows. */
  readonly #heads = new Int32Array(BUCKETS);
  readonly #tuple = new Int32Array(TUPLE_WORDS);

  constructor(words: Int32Array, key: HashKey) {
    this.#words = words;
    this.#key = key;
  }

  /** An expectation's row was entered. */
  enter(row: number): void {
    const bucket = this.#bucket(row, 1);
    this.#words[row * ROW_WORDS + F_CHAIN] = this.#heads[bucket]!;
    this.#heads[bucket] = ~row;
  }

  /** An expectation's row is about to leave. */
  leave(row: number): void {
    const words = this.#words;
    const bucket = this.#bucket(row, 1);
    const after = words[row * ROW_WORDS + F_CHAIN]!;
    words[row * ROW_WORDS + F_CHAIN] = 0;
    if (this.#heads[bucket] === ~row) {
      this.#heads[bucket] = after;
      return;
    }
    for (let link = this.#heads[bucket]!; link !== 0; ) {
      const at = ~link * ROW_WORDS + F_CHAIN;
      link = words[at]!;
      if (link === ~row) {
        words[at] = after;
        return;
      }
    }
  }

  /** The newest expectation of a flow, or NONE. */
  first(master: number): number {
    return this.#from(this.#heads[this.#bucket(master, 0)]!, master);
  }

  /** The one before, or NONE. */
  next(row: number, master: number): number {
    return this.#from(this.#words[row * ROW_WORDS + F_CHAIN]!, master);
  }

  #from(first: number, master: number): number {
    for (let link = first; link !== 0; link = this.#words[~link * ROW_WORDS + F_CHAIN]!) {
      if (this.#isOf(~link, master)) return ~link;
    }
    return NONE;
  }

  #isOf(row: number, master: number): boolean {
    const words = this.#words;
    if (own(words, row, E_MASTER_PORTS) !== portsOf(words, master, 0)) return false;
    const base = row * ROW_WORDS;
    const other = master * ROW_WORDS;
    const isTcp = (words[other + F_META]! & 0xff) === PROTOCOL_TCP;
    if ((words[base + F_META]! & 0xff) !== (isTcp ? EXPECTATION_TCP : EXPECTATION_UDP)) return false;
    if (
      words[base + REPLY_TUPLE + F_SOURCE] !== words[other + F_SOURCE] ||
      words[base + REPLY_TUPLE + F_DESTINATION] !== words[other + F_DESTINATION]
    ) {
      return false;
    }
    for (let i = 0; i < TUPLE_UPPER_WORDS; i++) {
      const upper = F_ADDRESSES + i;
      if (words[base + TUPLE_UPPER_WORDS + upper] !== words[other + upper]) return false;
    }
    return true;
  }

  #bucket(row: number, tuple: number): number {
    const key = this.#key;
    const ends = this.#tuple;
    readTuple(this.#words, row, tuple, ends, 0);
    const source = indexHash(key, ends[0]!, ends[1]!, ends[2]!, ends[3]!);
    const destination = indexHash(key, ends[4]!, ends[5]!, ends[6]!, ends[7]!);
    const port = portsOf(this.#words, row, tuple) >>> 16;
    return indexHash(key, source, destination, port, 0) & (BUCKETS - 1);
  }
}
