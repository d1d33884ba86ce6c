/**
 * Flow book: the one door through which flows enter and leave the table, so that gauges, digests and published changes
 * always agree with it. Owns the sequence of published records and the slots whose backup missed some.
 *
 * Every change that matters gets a new version, whether or not somebody reads it now; a record is written only for a slot
 * that has a backup. A full ring loses the record: the slot is marked, and whoever watches sends it whole again.
 */
import { OP_BARRIER, OP_DELETE, OP_DIGEST, OP_UPSERT, RECORD_OPAQUE_AT } from "../base/record.ts";
import type { RecordRing } from "../base/ring.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ipv4.ts";
import type { Adjuncts } from "./adjuncts.ts";
import { MAX_SLOTS, SLOT_OWNED } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Defence } from "./defence/defence.ts";
import { LIFE_WHOLE } from "./defence/pressure.ts";
import {
  D_PUBLISHED_AT,
  F_META,
  F_PUBLISHED_END,
  F_RECORD_EPOCH,
  F_VERSION,
  F_WINDOW,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
  W_END,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import { encodeFlow, flowDigest, writeRecordHeader, writeWord } from "./flow-record.ts";
import { ExpectationIndex } from "./helpers/expectation-index.ts";
import { NatAccount } from "./nat-account.ts";
import type { TimeoutsMs } from "./policy-model.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP, isSatellite } from "./satellites.ts";
import { lifeOf, lifetimes } from "./trackers.ts";

/** Records that may wait in the ring while slots are sent whole: live changes queue behind them. */
export const EXPORT_WAITING_MAX = 2048;

export class FlowBook {
  /** Cell 0: records published since start; ClusterView.ackedSequence counts in the same way. */
  readonly sequence = new Float64Array(1);
  /** By slot: 1 when a change of it found the ring full: the backup lacks something until the slot is sent again. */
  readonly dirty = new Uint8Array(MAX_SLOTS);
  /** Slots in `dirty`. */
  dirtyCount = 0;
  /** By life (trackers.ts): milliseconds. */
  lifeMs: Float64Array;
  readonly account: NatAccount;
  readonly expectations: ExpectationIndex;
  /** Who counts half-open connections, once the engine has made it. */
  defence: Defence | null = null;
  /** Who has satellites to end with their flows. */
  adjuncts: Pick<Adjuncts, "ended"> | null = null;
  readonly #context: EngineContext;
  readonly #ring: RecordRing | null;

  constructor(context: EngineContext, ring: RecordRing | null) {
    this.#context = context;
    this.#ring = ring;
    this.account = new NatAccount(context);
    this.expectations = new ExpectationIndex(context.table.words, context.key);
    this.lifeMs = lifetimes(context.policy.model.timeoutsMs);
  }

  /** Other time-outs hold from now on: for a flow, from its next packet. */
  useTimeouts(timeouts: TimeoutsMs): void {
    this.lifeMs = lifetimes(timeouts);
  }

  /** Indexes a filled row and counts it. */
  enter(row: number): void {
    const { table, clock } = this.#context;
    table.wheel.start(clock);
    table.insert(row);
    this.#gauge(row, 1);
    this.account.enter(row);
    this.defence?.settle(row);
  }

  /** A replica's state was replaced by a record. */
  replaced(row: number): void {
    this.defence?.settle(row);
  }

  /** How long a row lives from now on without another packet, in ms: less for unassured flows when the table fills. */
  life(row: number): number {
    const whole = this.lifeMs[lifeOf(this.#context.table.words, row)]!;
    const part = this.defence === null ? LIFE_WHOLE : this.defence.life(row);
    return part === LIFE_WHOLE ? whole : (whole * part) / LIFE_WHOLE;
  }

  /** A fresh row; when the table is full, an unassured flow of ours makes way. NONE when nothing can. */
  allocate(): number {
    const { table } = this.#context;
    const row = table.alloc();
    if (row !== NONE || this.defence === null) return row;
    const victim = this.defence.makeWay();
    if (victim === NONE) return NONE;
    this.end(victim);
    return table.alloc();
  }

  /**
   * A fresh row for what belongs to the flow in `master`: where a new flow would need another to make way, so does this, and only
   * when none can it takes of the reserve. NONE when the table is full.
   */
  allocateFor(master: number): number {
    const victim = this.defence === null ? NONE : this.defence.makeWayFor(master);
    if (victim !== NONE) this.end(victim);
    return this.#context.table.alloc();
  }

  /** Takes a row out and stops counting it. Publishes nothing. */
  leave(row: number): void {
    this.#gauge(row, -1);
    this.account.leave(row);
    this.defence?.forget(row);
    this.#context.table.remove(row);
    this.#context.counters[COUNT.flowsNow] = this.#context.table.used;
  }

  /** Ends a flow that this node decides: out of the table, and out of the backup's. */
  end(row: number): void {
    const { table, view, counters } = this.#context;
    this.adjuncts?.ended(row);
    const version = row * ROW_WORDS + F_VERSION;
    table.words[version] = (table.words[version]! + 1) | 0;
    const slot = table.slotOf(row);
    const at = this.#reserve(slot);
    if (at >= 0) {
      this.#encode(row, OP_DELETE, view.epoch, at);
      this.#publish();
    }
    const pointer = this.account.pointerOf(row);
    count(counters, COUNT.flowsEnded);
    this.leave(row);
    // Where another node decides the port's slot, the pointer ends by its time.
    if (pointer !== NONE && view.state[table.slotOf(pointer)] === SLOT_OWNED) this.end(pointer);
  }

  /** Publishes a flow's present state under a new version. False when no backup will hear of it. */
  change(row: number): boolean {
    this.defence?.settle(row);
    const { table, view, clock, key } = this.#context;
    const words = table.words;
    const base = row * ROW_WORDS;
    words[base + F_VERSION] = (words[base + F_VERSION]! + 1) | 0;
    words[base + F_RECORD_EPOCH] = view.epoch;
    table.setDigest(row, flowDigest(key, words, row));
    table.doubles[row * ROW_DOUBLES + D_PUBLISHED_AT] = clock[0]!;
    for (let side = 0; side < 2; side++) {
      words[base + F_PUBLISHED_END + side] = words[base + F_WINDOW + side * WINDOW_WORDS + W_END]!;
    }
    const at = this.#reserve(table.slotOf(row));
    if (at < 0) return false;
    this.#encode(row, OP_UPSERT, view.epoch, at);
    this.#publish();
    return true;
  }

  /** Writes a flow as it was last published, for a snapshot. False: the ring is full. */
  copy(row: number): boolean {
    const at = this.#claim();
    if (at < 0) return false;
    const { table } = this.#context;
    this.#encode(row, OP_UPSERT, table.words[row * ROW_WORDS + F_RECORD_EPOCH]!, at);
    this.#publish();
    return true;
  }

  /** Writes one end of a slot's snapshot. False: the ring is full. */
  mark(operation: number, slot: number): boolean {
    return this.#write(operation, slot, this.#context.view.epoch, 0, 0);
  }

  /** Writes the slot's digest as of now. False: the ring is full. */
  digest(slot: number): boolean {
    const { table, view } = this.#context;
    return this.#write(OP_DIGEST, slot, view.epoch, table.slotCount(slot), table.slotSum(slot));
  }

  /** Writes a barrier, which names its sender: a new owner may wait for several. False: the ring is full. */
  barrier(slot: number, epoch: number): boolean {
    return this.#write(OP_BARRIER, slot, epoch, this.#context.view.selfId, 0);
  }

  /** The slot is about to be sent whole. */
  clean(slot: number): void {
    if (this.dirty[slot] === 0) return;
    this.dirty[slot] = 0;
    this.dirtyCount--;
  }

  /** Whether a snapshot may write: live changes keep a quarter of the ring for themselves, and a peer takes it only so fast. */
  hasRoom(): boolean {
    const ring = this.#ring;
    if (ring === null || ring.isHeldBack) return false;
    return ring.length() < Math.min(EXPORT_WAITING_MAX, ring.capacity - (ring.capacity >> 2));
  }

  /** A free record for a live change of a slot with a backup, or -1. */
  #reserve(slot: number): number {
    const { view } = this.#context;
    const backup = view.backup[slot]!;
    if (this.#ring === null || backup === 0 || backup === view.selfId) return -1;
    const at = this.#claim();
    if (at < 0 && this.dirty[slot] === 0) {
      this.dirty[slot] = 1;
      this.dirtyCount++;
    }
    return at;
  }

  #claim(): number {
    if (this.#ring === null) return -1;
    const at = this.#ring.reserve();
    if (at < 0) count(this.#context.counters, COUNT.changesRefused);
    return at;
  }

  /** Writes a record without a flow: a header and two words. */
  #write(operation: number, slot: number, epoch: number, first: number, second: number): boolean {
    const at = this.#claim();
    if (at < 0 || this.#ring === null) return false;
    const bytes = this.#ring.bytes;
    writeRecordHeader(bytes, at, operation, slot, 0, 0, epoch);
    bytes.fill(0, at + RECORD_OPAQUE_AT, at + this.#ring.recordBytes);
    writeWord(bytes, at + RECORD_OPAQUE_AT, first);
    writeWord(bytes, at + RECORD_OPAQUE_AT + 4, second);
    this.#publish();
    return true;
  }

  #publish(): void {
    this.#ring?.publish();
    this.sequence[0] = this.sequence[0]! + 1;
    count(this.#context.counters, COUNT.changesOut);
  }

  #encode(row: number, operation: number, epoch: number, at: number): void {
    const { table, clock } = this.#context;
    const life = lifeOf(table.words, row);
    encodeFlow(table, row, operation, epoch, this.#ring!.bytes, at, clock, this.lifeMs, life);
  }

  #gauge(row: number, by: number): void {
    const { table, counters } = this.#context;
    const meta = table.words[row * ROW_WORDS + F_META]!;
    const protocol = meta & 0xff;
    counters[COUNT.flowsNow] = table.used;
    if (isSatellite(protocol)) counters[COUNT.satellitesNow] = counters[COUNT.satellitesNow]! + by;
    if (protocol === EXPECTATION_TCP || protocol === EXPECTATION_UDP) {
      counters[COUNT.expectationsNow] = counters[COUNT.expectationsNow]! + by;
      // The index has exactly those that are counted.
      if (by > 0) this.expectations.enter(row);
      else this.expectations.leave(row);
    }
    if (protocol === PROTOCOL_TCP) counters[COUNT.flowsTcpNow] = counters[COUNT.flowsTcpNow]! + by;
    else if (protocol === PROTOCOL_UDP) counters[COUNT.flowsUdpNow] = counters[COUNT.flowsUdpNow]! + by;
    else if (protocol === PROTOCOL_ICMP) counters[COUNT.flowsIcmpNow] = counters[COUNT.flowsIcmpNow]! + by;
  }
}
