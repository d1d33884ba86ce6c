/**
 * Early drop: which flow makes way when the table is full. Owns the choice, not the ending of the flow.
 *
 * Rows are looked at in random order, SAMPLES at most, until CANDIDATES that may go were seen. They are put in order, what is over
 * first and then what was quiet for longest; the first half goes, one for each new flow, the other half is spared. No list of
 * candidates has to be kept up to date with every packet, an attacker cannot tell which row is next, and the work is bounded. When a
 * share s of the rows may go, none is found with probability (1 - s) ** 64: below 1e-6 for a fifth.
 *
 * Not the flow whose time runs out first: lives shrink as the table fills, so a handshake that just began ends sooner than an old
 * one, and would be the victim of the flood that it arrived in.
 *
 * Never chosen: an assured flow, a satellite, a flow of a slot that this node may not end flows of now, or one whose first packets
 * wait for the backup.
 */
import { PROTOCOL_TCP } from "../../packet/ipv4.ts";
import {
  D_CREATED_AT,
  D_PUBLISHED_AT,
  F_COMMIT,
  F_META,
  FLAG_USED,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../flow-layout.ts";
import type { FlowTable } from "../flow-table.ts";
import { TCP_CLOSED, TCP_TIME_WAIT, tcpState } from "../tcp-state.ts";
import { isAssured } from "./assurance.ts";

/** Rows looked at in one search. */
const SAMPLES = 64;
/** Candidates after which a search has enough. */
const CANDIDATES = 16;
/** Tables have fewer rows; so many high bits of a random word choose one. */
const ROWS_MAX = 2 ** 24;
const SEEDS = 2 ** 31;
/** Before any time: the flow is over. */
const OVER = -1;

export class EarlyDrop {
  readonly #table: FlowTable;
  readonly #isOurs: (slot: number) => boolean;
  readonly #random: (bound: number) => number;
  /** Victims of the last search that are left, and when they gave their last sign of life. */
  readonly #rows = new Int32Array(CANDIDATES);
  readonly #signs = new Float64Array(CANDIDATES);
  #next = 0;
  #end = 0;
  /** The sign of the row in hand; a cell, since a fraction would be boxed on its way. */
  readonly #sign = new Float64Array(1);

  /** `isOurs`: whether this node alone decides a slot's flows now, by a valid lease. */
  constructor(table: FlowTable, isOurs: (slot: number) => boolean, random: (bound: number) => number) {
    this.#table = table;
    this.#isOurs = isOurs;
    this.#random = random;
  }

  /** A row to end other than `spared`, or NONE. */
  choose(spared = NONE): number {
    const left = this.#takeLeft(spared);
    if (left !== NONE) return left;
    this.#search(spared);
    return this.#takeLeft(spared);
  }

  /** Whether a row may be ended before its time. */
  mayGo(row: number): boolean {
    const words = this.#table.words;
    const base = row * ROW_WORDS;
    return (
      (words[base + F_META]! & FLAG_USED) !== 0 &&
      words[base + F_COMMIT] === 0 &&
      !isAssured(words, row) &&
      this.#isOurs(this.#table.slotOf(row))
    );
  }

  /** The next victim of the last search that has not changed since, or NONE. */
  #takeLeft(spared: number): number {
    while (this.#next < this.#end) {
      const i = this.#next++;
      const row = this.#rows[i]!;
      if (row === spared || !this.mayGo(row)) continue;
      this.#readSign(row);
      if (this.#sign[0] === this.#signs[i]) return row;
    }
    return NONE;
  }

  #search(spared: number): void {
    const { capacity } = this.#table;
    // One number that nobody can guess, spread by mulberry32: randomness from outside is worth more than a row looked at.
    let state = this.#random(SEEDS) | 0;
    let found = 0;
    for (let i = 0; i < SAMPLES && found < CANDIDATES; i++) {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      const row = Math.floor((((mixed ^ (mixed >>> 14)) >>> 8) * capacity) / ROWS_MAX);
      if (row === spared || !this.mayGo(row)) continue;
      this.#readSign(row);
      this.#insert(row, found++);
    }
    this.#next = 0;
    this.#end = (found + 1) >> 1;
  }

  /** Inserts the row in hand into the `found` rows before it, by its sign. */
  #insert(row: number, found: number): void {
    const rows = this.#rows;
    const signs = this.#signs;
    let i = found;
    for (; i > 0 && signs[i - 1]! > this.#sign[0]!; i--) {
      rows[i] = rows[i - 1]!;
      signs[i] = signs[i - 1]!;
    }
    rows[i] = row;
    signs[i] = this.#sign[0]!;
  }

  /** When the row gave its last sign of life: it is published at least every quarter of a time-out. */
  #readSign(row: number): void {
    const { words, doubles } = this.#table;
    if ((words[row * ROW_WORDS + F_META]! & 0xff) === PROTOCOL_TCP) {
      const state = tcpState(words, row);
      if (state === TCP_TIME_WAIT || state === TCP_CLOSED) {
        this.#sign[0] = OVER;
        return;
      }
    }
    const wide = row * ROW_DOUBLES;
    this.#sign[0] = Math.max(doubles[wide + D_CREATED_AT]!, doubles[wide + D_PUBLISHED_AT]!);
  }
}
