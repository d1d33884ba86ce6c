/**
 * Defence: whether a new flow may begin, and at whose cost. Owns the order of the limits, their counters and the gauges; each limit is a
 * file beside this one. Established flows never come here.
 *
 *   flooded? --yes--> prove your address first (cookie), at no cost to anybody's limits: the source may be forged
 *      | no, or proven
 *   rate of the source -> half-open -> room in the table: reserve, or an unassured flow makes way
 *
 * Sources on the allowlist meet the last step only, and may use the reserve. So does what NAT turned back, without the reserve: it met
 * the others when it went out, under its own address.
 */
import type { HashKey } from "../../base/hash.ts";
import { COUNT, count } from "../context.ts";
import { NONE } from "../flow-layout.ts";
import type { FlowTable } from "../flow-table.ts";
import type { ProtectionModel } from "../policy-model.ts";
import { dropVerdict } from "../verdict.ts";
import { isAssured } from "./assurance.ts";
import { EarlyDrop } from "./early-drop.ts";
import {
  HALF_OPEN_ALLOWED,
  HALF_OPEN_IN_ALL,
  HALF_OPEN_OF_DESTINATION,
  HALF_OPEN_OF_SOURCE,
  HalfOpen,
} from "./half-open.ts";
import { LIFE_WHOLE, Pressure } from "./pressure.ts";
import { SourceRate } from "./source-rate.ts";

/** admit(): the flow may begin; `victim` has to end first if it is not NONE. */
export const ADMITTED = 0;
/** admit(): the source has to prove its address first. Anything else is the verdict of a drop. */
export const ADMIT_BY_COOKIE = -1;

const DROP_HALF_OPEN = dropVerdict("half_open_limit");
const DROP_SOURCE_RATE = dropVerdict("source_rate");
const DROP_TABLE_FULL = dropVerdict("table_full");
const DROP_TABLE_RESERVED = dropVerdict("table_reserved");

/** No limit at all. */
export const NO_PROTECTION: ProtectionModel = {
  halfOpenPerSource: 0,
  halfOpenPerDestination: 0,
  halfOpenMax: 0,
  synProxyAbove: 0,
  newFlowsPerSecond: 0,
  newFlowsBurst: 0,
  shrinkFromPercent: 0,
  shrinkToPercent: 0,
  reservePercent: 0,
  allow: [],
};

export interface DefenceParts {
  readonly table: FlowTable;
  readonly counters: Float64Array;
  readonly key: HashKey;
  /** Cell 0: the time of the call being served, in ms. */
  readonly clock: Float64Array;
  readonly random: (bound: number) => number;
  /** Whether the address at `at` is on the allowlist. */
  readonly isAllowed: (words: Int32Array, at: number) => boolean;
  /** Whether this node alone decides a slot's flows now, by a valid lease. */
  readonly isOurs: (slot: number) => boolean;
}

export class Defence {
  /** Set by admit(): an unassured flow that has to end before the new one begins, or NONE. */
  victim = NONE;
  /** An ended connection that ends for good if the flow in hand begins (replaced.ts), or NONE: its row is room enough. */
  replaced = NONE;
  readonly #parts: DefenceParts;
  readonly #halfOpen: HalfOpen;
  readonly #rate: SourceRate | null;
  readonly #pressure: Pressure;
  readonly #earlyDrop: EarlyDrop;

  constructor(parts: DefenceParts, protection: ProtectionModel = NO_PROTECTION) {
    this.#parts = parts;
    this.#halfOpen = new HalfOpen(parts.table, parts.key, {
      perSource: protection.halfOpenPerSource,
      perDestination: protection.halfOpenPerDestination,
      total: protection.halfOpenMax,
      proxyAbove: protection.synProxyAbove,
    });
    const { newFlowsPerSecond, newFlowsBurst } = protection;
    this.#rate =
      newFlowsPerSecond > 0 ? new SourceRate(parts.key, newFlowsPerSecond, Math.max(1, newFlowsBurst)) : null;
    this.#pressure = new Pressure(parts.table.capacity, protection);
    this.#earlyDrop = new EarlyDrop(parts.table, parts.isOurs, parts.random);
  }

  /**
   * Whether a flow may begin that a rule accepts: ADMITTED, ADMIT_BY_COOKIE or the verdict of a drop. The destination is the
   * one after translation. `isTcp`: it begins with a SYN; `isProven`: a cookie came back from its source, or it was announced.
   */
  admit(
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    port: number,
    isTcp: boolean,
    isProven: boolean,
  ): number {
    this.victim = NONE;
    const { clock, counters, isAllowed } = this.#parts;
    if (isAllowed(source, sourceAt)) return this.#room(true);
    if (isTcp && !isProven && this.#halfOpen.isFlooded(destination, destinationAt, port)) {
      return ADMIT_BY_COOKIE;
    }
    if (this.#rate !== null && !this.#rate.take(source, sourceAt, clock)) return DROP_SOURCE_RATE;
    if (isTcp) {
      const judged = this.#halfOpen.judge(source, sourceAt, destination, destinationAt, port);
      if (judged !== HALF_OPEN_ALLOWED) {
        if (judged === HALF_OPEN_OF_SOURCE) count(counters, COUNT.halfOpenRefusedBySource);
        else if (judged === HALF_OPEN_OF_DESTINATION) count(counters, COUNT.halfOpenRefusedByDestination);
        else if (judged === HALF_OPEN_IN_ALL) count(counters, COUNT.halfOpenRefusedInAll);
        return DROP_HALF_OPEN;
      }
    }
    return this.#room(false);
  }

  /** admit() for the way back of a flow that was admitted on its way out (hairpin): its source is everybody's pool address. */
  admitTurnedBack(): number {
    this.victim = NONE;
    return this.#room(false);
  }

  /** A flow other than `spared` whose row has to go so that another row finds room, or NONE. */
  makeWay(spared = NONE): number {
    const victim = this.#earlyDrop.choose(spared);
    count(this.#parts.counters, victim === NONE ? COUNT.earlyDropsFailed : COUNT.earlyDrops);
    return victim;
  }

  /** A flow that has to go before the one in `master` gets one row more, as before a new flow; NONE: none has to, or none can. */
  makeWayFor(master: number): number {
    return this.#pressure.mayTake(this.#parts.table.used, false) ? NONE : this.makeWay(master);
  }

  /** How much of its time-out a row gets now, in thousandths. */
  life(row: number): number {
    const { table } = this.#parts;
    const life = this.#pressure.life(table.used);
    return life === LIFE_WHOLE || isAssured(table.words, row) ? LIFE_WHOLE : life;
  }

  /** A row's state, or its being a replica, has changed. */
  settle(row: number): void {
    this.#halfOpen.settle(row);
  }

  /** A row is about to leave the table. */
  forget(row: number): void {
    this.#halfOpen.forget(row);
  }

  /** Gauges; with each tick. */
  report(): void {
    const { counters, table } = this.#parts;
    counters[COUNT.halfOpenNow] = this.#halfOpen.now;
    counters[COUNT.unassuredLifePermilleNow] = this.#pressure.life(table.used);
    counters[COUNT.sourcesEvicted] = this.#rate === null ? 0 : this.#rate.evicted;
  }

  #room(isPrivileged: boolean): number {
    const { table } = this.#parts;
    if (this.replaced !== NONE) return ADMITTED;
    if (this.#pressure.mayTake(table.used, isPrivileged)) return ADMITTED;
    this.victim = this.makeWay();
    if (this.victim !== NONE) return ADMITTED;
    return table.used < table.capacity ? DROP_TABLE_RESERVED : DROP_TABLE_FULL;
  }
}
