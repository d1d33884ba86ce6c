/**
 * Memory link: both ends of a replication link inside one process, with the contract of cluster/sync/link.ts: order, bounded
 * memory, back-pressure, and no handler called from within a call. Time and cuts come from the network that made it.
 */
import { LINK_BUFFER_BYTES, type LinkHandlers, type SyncLink } from "../sync/link.ts";
import type { ReceiverMessage, SenderMessage } from "../sync/messages.ts";

type Any = SenderMessage | ReceiverMessage;

/** What an end needs of the network between it and the other end. */
export interface Wire {
  /** Calls back when something sent now arrives, in order; never when the connection is lost before. */
  carry(deliver: () => void): void;
  /** Calls back soon, outside of whatever is running now. */
  soon(callback: () => void): void;
}

/** Counted for each message besides its slab. */
const MESSAGE_BYTES = 64;

export class MemoryLinkEnd<Out extends Any, In extends Any> implements SyncLink<Out, In> {
  readonly #wire: Wire;
  #other: MemoryLinkEnd<In, Out> | undefined;
  #handlers: LinkHandlers<In> | undefined;
  #state: "opening" | "open" | "closed" = "opening";
  #isTold = false;
  #isPaused = false;
  #isRefused = false;
  #heldBytes = 0;
  #inbox: In[] = [];
  #closedWhy: string | undefined;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  bind(handlers: LinkHandlers<In>): void {
    this.#handlers = handlers;
    this.#wire.soon(() => this.#catchUp());
  }

  send(message: Out): boolean {
    if (this.#state !== "open" || !this.#isTold) return false;
    const bytes = sizeOf(message);
    if (this.#heldBytes > 0 && this.#heldBytes + bytes > LINK_BUFFER_BYTES) {
      this.#isRefused = true;
      return false;
    }
    this.#heldBytes += bytes;
    // The sender goes on to use its slab.
    const copy = message.type === "batch" ? { ...message, slab: message.slab.slice() } : { ...message };
    this.#wire.carry(() => this.#other?.arrive(copy as Out));
    return true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#wire.soon(() => this.#drain());
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#handlers = undefined;
    this.#wire.carry(() => this.#other?.lose("the peer closed the link"));
  }

  // ---------------------------------------------------------------- for the network

  /** Joins two ends; both are open from here on. */
  join(other: MemoryLinkEnd<In, Out>): void {
    this.#other = other;
    if (this.#state === "opening") this.#state = "open";
    this.#catchUp();
  }

  arrive(message: In): void {
    if (this.#state !== "open") return;
    this.#inbox.push(message);
    this.#drain();
  }

  /** The link is gone, from the other side or from the network. */
  lose(why: string): void {
    if (this.#state === "closed") return;
    // What came before the end is still delivered, paused or not.
    this.#isPaused = false;
    this.#drain();
    if (this.isClosed) return;
    this.#state = "closed";
    this.#closedWhy = why;
    this.#tellClosed();
  }

  /** Not merely #state: a handler may have closed the link meanwhile. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  #catchUp(): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    if (this.#state === "open" && !this.#isTold) {
      this.#isTold = true;
      handlers.onOpen();
      this.#drain();
    }
    if (this.#closedWhy !== undefined) this.#tellClosed();
  }

  #tellClosed(): void {
    const handlers = this.#handlers;
    if (handlers === undefined || this.#closedWhy === undefined) return;
    this.#handlers = undefined;
    handlers.onClose(this.#closedWhy);
  }

  #drain(): void {
    while (!this.#isPaused && this.#isTold && this.#handlers !== undefined) {
      const message = this.#inbox.shift();
      if (message === undefined) return;
      const bytes = sizeOf(message);
      this.#wire.carry(() => this.#other?.consumed(bytes));
      this.#handlers.onMessage(message);
    }
  }

  consumed(bytes: number): void {
    this.#heldBytes -= bytes;
    if (!this.#isRefused || this.#heldBytes > LINK_BUFFER_BYTES / 2) return;
    this.#isRefused = false;
    this.#handlers?.onWritable();
  }
}

function sizeOf(message: Any): number {
  return MESSAGE_BYTES + (message.type === "batch" ? message.slab.length : 0);
}
