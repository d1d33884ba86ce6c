/**
 * Waiting: frames that wait for a slot (to be processed again from the top) or for a commit (only to leave). Owns their
 * order and deadlines; the frames that wait for a neighbour are egress.ts.
 *
 *   list 0..255   commit, by the backup's node id     frames are finished; leave when acknowledged or late
 *   list 256      planned move of the slot            frames are untouched
 *   list 257      takeover, or an owner that is dead  frames are untouched
 */
import { ADDRESS_WORDS, copyAddress } from "../base/address.ts";
import { MAX_NODE_ID, PEER_ALIVE } from "./cluster-view.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import type { EngineLimits } from "./engine-options.ts";
import { F_COMMIT, NONE, ROW_WORDS } from "./flow-layout.ts";
import type { HoldPool } from "./hold.ts";
import type { Packet } from "./packet.ts";
import { dropVerdict, VERDICT_HELD } from "./verdict.ts";

export const LIST_HANDOVER = MAX_NODE_ID + 1;
export const LIST_TAKEOVER = MAX_NODE_ID + 2;
/** Frames for neighbours that do not answer, until their senders are told. */
export const LIST_UNDELIVERED = MAX_NODE_ID + 3;
/** First list of the neighbours'. */
export const LIST_NEIGHBOURS = MAX_NODE_ID + 4;

const DROP_HOLD_FULL = dropVerdict("hold_full");

export class Waiting {
  readonly hold: HoldPool;
  /** The list of the last packet that forSlot() kept. */
  lastList = LIST_HANDOVER;
  readonly #context: EngineContext;
  readonly #limits: EngineLimits;
  readonly #egress: Egress;
  #commits = 0;
  /** Cell 0: deadline that a frame keeps when it is processed again and has to wait again; 0: none. */
  readonly #kept = new Float64Array(1);

  constructor(context: EngineContext, limits: EngineLimits, hold: HoldPool, egress: Egress) {
    this.#context = context;
    this.#limits = limits;
    this.hold = hold;
    this.#egress = egress;
  }

  /** Keeps an untouched frame until its slot's state changes, or drops it when too many wait. */
  forSlot(packet: Packet, list: number): number {
    this.lastList = list;
    const entry = this.#append(list, packet.at, packet.lengthBytes);
    const { hold } = this;
    if (entry === NONE) {
      this.#context.frames.free(packet.at);
      return DROP_HOLD_FULL;
    }
    hold.port[entry] = packet.port;
    hold.zone[entry] = packet.zone;
    hold.way[entry] = packet.way;
    hold.wayEpoch[entry] = packet.wayEpoch;
    const wait = list === LIST_HANDOVER ? this.#limits.handoverHoldMs : this.#limits.takeoverHoldMs;
    hold.deadlineMs[entry] = this.#kept[0] !== 0 ? this.#kept[0]! : this.#context.clock[0]! + wait;
    this.#report();
    return VERDICT_HELD;
  }

  /**
   * Keeps a finished frame of a flow until `sequence[0]` is acknowledged by `backup`, or the deadline. When too many wait it leaves at
   * once: a slow peer costs protection, never packets.
   */
  forCommit(
    backup: number,
    row: number,
    sequence: Float64Array,
    at: number,
    lengthBytes: number,
    zone: number,
    hop: Int32Array,
    hopAt: number,
  ): number {
    const entry = this.#append(backup, at, lengthBytes);
    const { hold } = this;
    if (entry === NONE) {
      count(this.#context.counters, COUNT.unprotectedHoldFull);
      // The flow's next packet need not wait, unless an earlier one does.
      const commit = row * ROW_WORDS + F_COMMIT;
      const { words } = this.#context.table;
      if (words[commit]! >>> 8 === 0) words[commit] = 0;
      return this.#egress.transmit(at, lengthBytes, zone, hop, hopAt);
    }
    hold.row[entry] = row;
    hold.egressZone[entry] = zone;
    copyAddress(hold.nextHop, entry * ADDRESS_WORDS, hop, hopAt);
    hold.sequence[entry] = sequence[0]!;
    hold.deadlineMs[entry] = this.#context.clock[0]! + this.#context.policy.model.syncDeadlineMs;
    // Later packets of the flow queue up behind this one; see committingFor().
    this.#context.table.words[row * ROW_WORDS + F_COMMIT] = ((entry + 1) << 8) | backup;
    this.#commits++;
    this.#report();
    return VERDICT_HELD;
  }

  /** Makes the packets of a flow wait from now on: the next is the first. */
  expect(row: number, backup: number): void {
    this.#context.table.words[row * ROW_WORDS + F_COMMIT] = backup;
  }

  /** The backup for which packets of a flow wait, or 0. */
  committingFor(row: number): number {
    return this.#context.table.words[row * ROW_WORDS + F_COMMIT]! & 0xff;
  }

  /** Frames wait here: for somebody, or until their time is over. */
  get isBusy(): boolean {
    const { hold } = this;
    return this.#commits > 0 || hold.count(LIST_HANDOVER) > 0 || hold.count(LIST_TAKEOVER) > 0;
  }

  /** Lets go what the backups acknowledged, and what waited too long. */
  release(): void {
    for (let node = 1; node <= MAX_NODE_ID && this.#commits > 0; node++) this.#releaseFor(node);
    this.#report();
  }

  /** Takes the next frame of a slot list; `isLate` tells whether only those past their deadline. NONE: no more. */
  take(list: number, isLate: boolean): number {
    const entry = this.hold.head(list);
    if (entry === NONE) return NONE;
    if (isLate && this.hold.deadlineMs[entry]! > this.#context.clock[0]!) return NONE;
    this.#kept[0] = this.hold.deadlineMs[entry]!;
    return this.hold.shift(list);
  }

  /** Ends a run of take(): new frames get deadlines of their own again. */
  done(): void {
    this.#kept[0] = 0;
    this.#report();
  }

  #releaseFor(node: number): void {
    const { view, clock, counters, table } = this.#context;
    const { hold } = this;
    const isAlive = (view.peerFlags[node]! & PEER_ALIVE) !== 0;
    const acked = view.ackedSequence[node]!;
    let entry = hold.head(node);
    while (entry !== NONE) {
      const isAcked = hold.sequence[entry]! <= acked && this.#isOnCoBackup(entry);
      if (!isAcked && isAlive && hold.deadlineMs[entry]! > clock[0]!) return;
      if (isAcked) count(counters, COUNT.heldCommitted);
      else count(counters, isAlive ? COUNT.unprotectedDeadline : COUNT.unprotectedNoPeer);
      hold.shift(node);
      this.#commits--;
      const commit = hold.row[entry]! * ROW_WORDS + F_COMMIT;
      if (table.words[commit] === (((entry + 1) << 8) | node)) table.words[commit] = 0;
      const verdict = this.#egress.transmit(
        hold.at[entry]!,
        hold.lengthBytes[entry]!,
        hold.egressZone[entry]!,
        hold.nextHop,
        entry * ADDRESS_WORDS,
      );
      count(counters, verdict);
      entry = hold.head(node);
    }
  }

  /** While a slot changes its backup two copies must be there. A node that is not heard keeps nobody waiting. */
  #isOnCoBackup(entry: number): boolean {
    const { view, table } = this.#context;
    const node = view.coBackup[table.slotOf(this.hold.row[entry]!)]!;
    if (node === 0 || (view.peerFlags[node]! & PEER_ALIVE) === 0) return true;
    return this.hold.sequence[entry]! <= view.ackedSequence[node]!;
  }

  /** NONE: too many wait; the frame is still the caller's. */
  #append(list: number, at: number, lengthBytes: number): number {
    if (this.#context.frames.available() < this.#limits.freeFramesMin) return NONE;
    return this.hold.append(list, at, lengthBytes);
  }

  #report(): void {
    const { counters } = this.#context;
    counters[COUNT.heldNow] = this.#commits;
    counters[COUNT.holdNow] = this.hold.count(LIST_HANDOVER) + this.hold.count(LIST_TAKEOVER);
  }
}
