/**
 * Hold: owns the frames that wait, in bounded lists that keep their order: for a commit (a list per backup), for a slot
 * (planned move, takeover), for a neighbour's address (a list per neighbour). Does not own why or until when.
 *
 * Entries come from one pool, so that all waiting together has one maximum.
 */
import { ADDRESS_WORDS } from "../base/address.ts";
import { NONE } from "./flow-layout.ts";
import { freeLinks } from "./linked-lists.ts";

export class HoldPool {
  readonly capacity: number;
  /** Entries waiting in all lists. */
  used = 0;
  readonly at: Uint32Array;
  readonly lengthBytes: Uint16Array;
  /** Ingress, to process the frame again from the top. */
  readonly port: Uint8Array;
  readonly zone: Uint8Array;
  readonly way: Uint8Array;
  readonly wayEpoch: Int32Array;
  /** Egress, of frames that only have to leave. */
  readonly egressZone: Uint8Array;
  /** Four words an entry. */
  readonly nextHop: Int32Array;
  readonly row: Int32Array;
  readonly deadlineMs: Float64Array;
  readonly sequence: Float64Array;
  readonly #next: Int32Array;
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;
  readonly #counts: Int32Array;
  #free = 0;

  constructor(capacity: number, lists: number) {
    this.capacity = capacity;
    this.at = new Uint32Array(capacity);
    this.lengthBytes = new Uint16Array(capacity);
    this.port = new Uint8Array(capacity);
    this.zone = new Uint8Array(capacity);
    this.way = new Uint8Array(capacity);
    this.wayEpoch = new Int32Array(capacity);
    this.egressZone = new Uint8Array(capacity);
    this.nextHop = new Int32Array(capacity * ADDRESS_WORDS);
    this.row = new Int32Array(capacity);
    this.deadlineMs = new Float64Array(capacity);
    this.sequence = new Float64Array(capacity);
    this.#next = freeLinks(capacity);
    this.#heads = new Int32Array(lists).fill(NONE);
    this.#tails = new Int32Array(lists).fill(NONE);
    this.#counts = new Int32Array(lists);
  }

  /** Takes an entry for a frame and puts it at the end of a list; NONE when all are taken. The caller fills the rest. */
  append(list: number, at: number, lengthBytes: number): number {
    const entry = this.#free;
    if (entry === NONE) return NONE;
    this.#free = this.#next[entry]!;
    this.at[entry] = at;
    this.lengthBytes[entry] = lengthBytes;
    this.#next[entry] = NONE;
    const tail = this.#tails[list]!;
    if (tail === NONE) this.#heads[list] = entry;
    else this.#next[tail] = entry;
    this.#tails[list] = entry;
    this.#counts[list] = this.#counts[list]! + 1;
    this.used++;
    return entry;
  }

  /** The oldest entry of a list, or NONE. */
  head(list: number): number {
    return this.#heads[list]!;
  }

  /** Entries of a list. */
  count(list: number): number {
    return this.#counts[list]!;
  }

  /** Takes the oldest entry out of its list and gives it back to the pool; its fields stay readable until append(). */
  shift(list: number): number {
    const entry = this.#heads[list]!;
    const next = this.#next[entry]!;
    this.#heads[list] = next;
    if (next === NONE) this.#tails[list] = NONE;
    this.#counts[list] = this.#counts[list]! - 1;
    this.#next[entry] = this.#free;
    this.#free = entry;
    this.used--;
    return entry;
  }
}
