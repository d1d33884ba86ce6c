/**
 * Exporter: sends whole slots, one after the other, between the live changes: begin, bindings, every other row, end, digest. Owns
 * the queue of slots and where the walk stands; each step is bounded and leaves the ring room for live changes.
 *
 * Bindings go first because a flow counts at its binding when it is entered (nat-account.ts).
 */
import { OP_SNAPSHOT_BEGIN, OP_SNAPSHOT_END } from "../base/record.ts";
import { MAX_SLOTS, SLOT_OWNED } from "./cluster-view.ts";
import { COUNT, type EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import { F_META, NONE, ROW_WORDS } from "./flow-layout.ts";
import { isBinding } from "./satellites.ts";

const IDLE = 0;
const BINDINGS = 1;
const FLOWS = 2;
const ENDING = 3;
const PROVING = 4;
/** Rows of the other kind that one step passes over. */
const PASSED_MAX = 32;

export class Exporter {
  readonly #context: EngineContext;
  readonly #book: FlowBook;
  readonly #queue = new Uint16Array(MAX_SLOTS);
  readonly #isQueued = new Uint8Array(MAX_SLOTS);
  #head = 0;
  #count = 0;
  #slot = 0;
  #phase = IDLE;

  constructor(context: EngineContext, book: FlowBook) {
    this.#context = context;
    this.#book = book;
  }

  /** Queues a slot. One that is being sent now is sent once more afterwards: what asked for it came later. */
  add(slot: number): void {
    if (this.#isQueued[slot] === 1) return;
    this.#isQueued[slot] = 1;
    this.#queue[(this.#head + this.#count) % MAX_SLOTS] = slot;
    this.#count++;
    this.#report();
  }

  /** Queues the slots whose backup lacks something because the ring was full; not those that this node does not own any more. */
  addDirty(): void {
    const { view } = this.#context;
    for (let slot = 0; slot < view.slots; slot++) {
      if (this.#book.dirty[slot] === 0) continue;
      if (view.state[slot] === SLOT_OWNED) this.add(slot);
      else if (this.#isQueued[slot] === 0) this.#book.clean(slot);
    }
  }

  /** Publishes that nothing of a slot follows in `epoch`; first what the ring had no room for. False: not yet, try again. */
  barrier(slot: number, epoch: number): boolean {
    if (this.#book.dirty[slot] === 0) return this.#book.barrier(slot, epoch);
    this.add(slot);
    return false;
  }

  /** Slots not yet sent whole. */
  get pending(): number {
    return this.#count + (this.#phase === IDLE ? 0 : 1);
  }

  /** Writes at most `maxRecords` records. True while something is left: call again after the ring was read. */
  step(maxRecords: number): boolean {
    for (let i = 0; i < maxRecords; i++) {
      if (this.#phase === IDLE && this.#count === 0) return false;
      if (!this.#book.hasRoom() || !this.#write()) return true;
    }
    return this.pending > 0;
  }

  /** Writes one record. False: no room. */
  #write(): boolean {
    const { table } = this.#context;
    switch (this.#phase) {
      case IDLE: {
        const slot = this.#queue[this.#head]!;
        if (!this.#book.mark(OP_SNAPSHOT_BEGIN, slot)) return false;
        this.#head = (this.#head + 1) % MAX_SLOTS;
        this.#count--;
        this.#isQueued[slot] = 0;
        this.#slot = slot;
        this.#book.clean(slot);
        table.startWalk(slot);
        this.#phase = BINDINGS;
        return true;
      }
      case BINDINGS:
        if (!this.#copy(true)) return false;
        if (table.walkAt() !== NONE) return true;
        table.startWalk(this.#slot);
        this.#phase = FLOWS;
        return true;
      case FLOWS:
        if (!this.#copy(false)) return false;
        if (table.walkAt() === NONE) this.#phase = ENDING;
        return true;
      case ENDING:
        if (!this.#book.mark(OP_SNAPSHOT_END, this.#slot)) return false;
        this.#phase = PROVING;
        return true;
      default:
        if (!this.#book.digest(this.#slot)) return false;
        this.#phase = IDLE;
        this.#report();
        return true;
    }
  }

  /** Copies the next binding, or the next row that is none, if it is near. False: no room. */
  #copy(isBindings: boolean): boolean {
    const { table } = this.#context;
    for (let passed = 0; passed < PASSED_MAX; passed++) {
      const row = table.walkAt();
      if (row === NONE) return true;
      const protocol = table.words[row * ROW_WORDS + F_META]! & 0xff;
      const isWanted = isBinding(protocol) === isBindings;
      if (isWanted && !this.#book.copy(row)) return false;
      table.walkOn();
      if (isWanted) return true;
    }
    return true;
  }

  #report(): void {
    this.#context.counters[COUNT.exportsPendingNow] = this.pending;
  }
}
