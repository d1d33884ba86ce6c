/**
 * gRPC link: one end of a replication stream (SyncService.Replicate) with the contract of cluster/sync/link.ts. The same
 * class serves both ends, since client and server streams of grpc-js are duplex streams alike.
 * Owns encoding ahead of the queue, its bound, and the order of events; does not own connecting (grpc.ts).
 */
import { MalformedError } from "raft-ts";
import { LINK_BUFFER_BYTES, type LinkHandlers, type SyncLink } from "../sync/link.ts";
import type { Read } from "./grpc-services.ts";

/** What a link uses of a grpc-js stream, client's or server's. Written: encoded messages. Read: decoded ones. */
export interface LinkDuplex<In> {
  write(encoded: Buffer, done: () => void): boolean;
  end(): unknown;
  pause(): unknown;
  resume(): unknown;
  on(event: "data", listener: (message: Read<In>) => void): unknown;
}

export interface LinkStream<In> {
  readonly duplex: LinkDuplex<In>;
  /** Ends both directions at once. */
  abort(): void;
  /** Calls back when the stream is gone, with a reason for the log; may do so more than once. */
  onGone(gone: (why: string) => void): void;
}

/** How long the other side may take to read what was sent before close(). */
const CLOSE_MS_MAX = 1_000;

export class GrpcLink<Out, In> implements SyncLink<Out, In> {
  readonly #encode: (message: Out) => Buffer;
  readonly #onMalformed: (error: MalformedError) => void;
  #stream: LinkStream<In> | undefined;
  #handlers: LinkHandlers<In> | undefined;
  #isOpen = false;
  #isTold = false;
  #isClosed = false;
  #isPaused = false;
  #isRefused = false;
  #heldBytes = 0;
  #closedWhy: string | undefined;

  /** `onMalformed`: the other end sent what cannot be read, once; the link ends with it. */
  constructor(encode: (message: Out) => Buffer, onMalformed: (error: MalformedError) => void) {
    this.#encode = encode;
    this.#onMalformed = onMalformed;
  }

  bind(handlers: LinkHandlers<In>): void {
    this.#handlers = handlers;
    setImmediate(() => this.#tell());
  }

  send(message: Out): boolean {
    const stream = this.#stream;
    if (!this.#isTold || this.#isClosed || stream === undefined) return false;
    if (this.#heldBytes >= LINK_BUFFER_BYTES) {
      this.#isRefused = true;
      return false;
    }
    const encoded = this.#encode(message);
    this.#heldBytes += encoded.length;
    stream.duplex.write(encoded, () => this.#written(encoded.length));
    return true;
  }

  pause(): void {
    this.#isPaused = true;
    this.#stream?.duplex.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#isTold) this.#stream?.duplex.resume();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handlers = undefined;
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.duplex.end();
    // The other side's half must be read to its end, else ours stays open as well.
    stream.duplex.resume();
    const timer = setTimeout(() => stream.abort(), CLOSE_MS_MAX);
    timer.unref();
    stream.onGone(() => clearTimeout(timer));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  // ---------------------------------------------------------------- for the transport

  /** The stream is there and the peer has answered. */
  open(stream: LinkStream<In>): void {
    if (this.#isClosed) {
      stream.abort();
      return;
    }
    this.#stream = stream;
    this.#isOpen = true;
    stream.onGone((why) => this.lose(why));
    this.#tell();
  }

  /** The link is gone, or was never to be had. */
  lose(why: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closedWhy = why;
    this.#stream?.abort();
    this.#tell();
  }

  /** Handlers may be bound before or after the stream opened, and after it was lost. */
  #tell(): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    if (this.#isOpen && !this.#isTold) {
      this.#isTold = true;
      handlers.onOpen();
      const duplex = this.#stream?.duplex;
      duplex?.on("data", (message: Read<In>) => this.#take(message));
      if (this.#isPaused) duplex?.pause();
    }
    if (this.#closedWhy !== undefined && this.#handlers !== undefined) {
      this.#handlers = undefined;
      handlers.onClose(this.#closedWhy);
    }
  }

  #take(message: Read<In>): void {
    if (this.#isClosed) return;
    if (message instanceof MalformedError) {
      this.#onMalformed(message);
      this.lose(message.message);
    } else this.#handlers?.onMessage(message);
  }

  #written(bytes: number): void {
    this.#heldBytes -= bytes;
    if (!this.#isRefused || this.#heldBytes > LINK_BUFFER_BYTES / 2) return;
    this.#isRefused = false;
    this.#handlers?.onWritable();
  }
}
