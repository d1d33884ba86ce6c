/**
 * Link: the duplex pipe between a sender and a receiver, as both see it. Transports implement it (gRPC, in-memory).
 * Owns the contract of order, back-pressure and memory; does not own connecting: a transport makes a new link after
 * each close, and the session that was given to the old one is given to the new one.
 *
 * Contract
 * - Messages arrive in order, each at most once; a link may lose a tail of them, and then it closes.
 * - `send()` before `onOpen` or after `onClose` answers false.
 * - `send()` that answers false took nothing: offer the message again after `onWritable`, which comes exactly once per
 *   refusal (or `onClose` comes instead). A link takes at least one message, however large, when it is idle, and bounds
 *   what it holds: LINK_BUFFER_BYTES is a good bound.
 * - `send()` that answers true has finished with the message: a slab is copied or encoded before it returns, because
 *   the sender reuses that memory.
 * - A received slab belongs to the handler for good: the link never writes to that memory again.
 * - `pause()` stops `onMessage` soon (messages already decoded may still come, boundedly) and lets the other side's
 *   `send()` run full; `resume()` goes on. Neither loses anything. They change nothing for `onClose`.
 * - Handlers are never called from within `send()`, `pause()` or `resume()`, nor after `onClose` was called, nor after
 *   `close()`: whoever closes is not told.
 */
import type { ReceiverMessage, SenderMessage } from "./messages.ts";

/** What a link should hold at most before send() answers false: four full batches. */
export const LINK_BUFFER_BYTES = 262_144;

export interface SyncLink<Out, In> {
  /** Attaches the one user of this link; call before anything else, once. */
  bind(handlers: LinkHandlers<In>): void;
  /** False: not now, nothing was taken. */
  send(message: Out): boolean;
  pause(): void;
  resume(): void;
  /** Ends the link; what was sent before is still delivered when that is possible. */
  close(): void;
}

export interface LinkHandlers<In> {
  /** Messages can be sent from now on. Called once, also for a link that was open when it was bound. */
  onOpen(): void;
  onMessage(message: In): void;
  /** A send() was refused before; now another may succeed. */
  onWritable(): void;
  /** The link is gone; `why` is for the log. */
  onClose(why: string): void;
}

/** The owner's end. */
export type SenderLink = SyncLink<SenderMessage, ReceiverMessage>;
/** The reading peer's end. */
export type ReceiverLink = SyncLink<ReceiverMessage, SenderMessage>;
