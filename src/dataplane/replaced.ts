/**
 * Replaced: an ended connection whose tuples a new SYN asks for. Owns its being out of the way while that SYN is decided as if nothing
 * were there, NAT port and row included: it ends when the new connection is accepted, and is back where it was when not.
 */
import { SLOT_OWNED } from "./cluster-view.ts";
import type { EngineContext } from "./context.ts";
import type { FlowBook } from "./flow-book.ts";
import { NONE } from "./flow-layout.ts";

export class Replaced {
  /** The connection that is set aside, or NONE. */
  row = NONE;
  /** What leads replies of its borrowed port to it (borrowed.ts), if that ends with it; else NONE. */
  #pointer = NONE;
  readonly #context: EngineContext;
  readonly #book: FlowBook;

  constructor(context: EngineContext, book: FlowBook) {
    this.#context = context;
    this.#book = book;
  }

  /** Nobody finds the connection until putBack() or end(), and nothing else may have its row. */
  setAside(row: number): void {
    const { table, view } = this.#context;
    const pointer = this.#book.account.pointerOf(row);
    const isOurs = pointer !== NONE && view.state[table.slotOf(pointer)] === SLOT_OWNED;
    this.row = row;
    this.#pointer = isOurs ? pointer : NONE;
    table.conceal(row);
    if (isOurs) table.conceal(pointer);
  }

  /** No new connection came: the old one is as it was. */
  putBack(): void {
    const { table } = this.#context;
    if (this.row === NONE) return;
    table.reveal(this.row);
    if (this.#pointer !== NONE) table.reveal(this.#pointer);
    this.row = NONE;
    this.#pointer = NONE;
  }

  /** The new connection is accepted: the old one ends. */
  end(): void {
    const { row } = this;
    if (row === NONE) return;
    this.putBack();
    this.#book.end(row);
  }
}
