/**
 * Early drop: which flow makes way when the table is full. Owns the choice, not the ending of the flow.
 *
 * Rows are looked at in random order, SAMPLES at most, until CANDIDATES that may go were seen; the one that was quiet for longest
 * goes, or one that is over. Not the one whose time runs out first: lives shrink as the table fills, so a handshake that just
 * began ends sooner than an old one, and would be the victim of the flood that it arrived in. No list of candidates has to be kept up to date with every packet, an attacker cannot tell which row is next, and the
 * work is bounded. When a share s of the rows may go, none is found with probability (1 - s) ** 64: below 1e-6 for a fifth.
 *
 * Never chosen: an assured flow, a satellite, a flow of a slot that this node may not end flows of now, or one whose first packets wait
 * for the backup.
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
import { TCP_CLOSED, TCP_TIME_WAIT, tcpState } from "../tcp-tracker.ts";
import { isAssured, isSatellite } from "./assurance.ts";

/** Rows looked at for one victim. */
const SAMPLES = 64;
/** Candidates after which the best of them is good enough. */
const CANDIDATES = 8;

export class EarlyDrop {
  readonly #table: FlowTable;
  readonly #isOurs: (slot: number) => boolean;
  readonly #random: (bound: number) => number;

  /** `isOurs`: whether this node alone decides a slot's flows now, by a valid lease. */
  constructor(table: FlowTable, isOurs: (slot: number) => boolean, random: (bound: number) => number) {
    this.#table = table;
    this.#isOurs = isOurs;
    this.#random = random;
  }

  /** A row to end, or NONE. */
  choose(): number {
    const table = this.#table;
    let best = NONE;
    let candidates = 0;
    for (let i = 0; i < SAMPLES && candidates < CANDIDATES; i++) {
      const row = this.#random(table.capacity);
      if (!this.mayGo(row)) continue;
      candidates++;
      // What is over goes at once: nobody misses it.
      if (this.#isOver(row)) return row;
      if (best === NONE || this.#isQuieter(row, best)) best = row;
    }
    return best;
  }

  /** Whether a row may be ended before its time. */
  mayGo(row: number): boolean {
    const words = this.#table.words;
    const base = row * ROW_WORDS;
    return (
      (words[base + F_META]! & FLAG_USED) !== 0 &&
      words[base + F_COMMIT] === 0 &&
      !isSatellite(words, row) &&
      !isAssured(words, row) &&
      this.#isOurs(this.#table.slotOf(row))
    );
  }

  /** Whether `row` showed its last sign of life before `other`: a record is published at least every quarter of a time-out. */
  #isQuieter(row: number, other: number): boolean {
    const doubles = this.#table.doubles;
    const a = row * ROW_DOUBLES;
    const b = other * ROW_DOUBLES;
    return (
      Math.max(doubles[a + D_CREATED_AT]!, doubles[a + D_PUBLISHED_AT]!) <
      Math.max(doubles[b + D_CREATED_AT]!, doubles[b + D_PUBLISHED_AT]!)
    );
  }

  #isOver(row: number): boolean {
    const words = this.#table.words;
    if ((words[row * ROW_WORDS + F_META]! & 0xff) !== PROTOCOL_TCP) return false;
    const state = tcpState(words, row);
    return state === TCP_TIME_WAIT || state === TCP_CLOSED;
  }
}
