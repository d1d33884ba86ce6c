/**
 * TCP of simulated hosts: small and honest (RFC 9293 without options). Handshake, ordered bytes, retransmission with back-off,
 * fast retransmit, slow start, FIN and RST. What a firewall loses, doubles or swaps is repaired or breaks the connection, as
 * with a kernel's. No window scaling, no SACK, no delayed acknowledgements.
 *
 *   unacknowledged segments:   | sent ......... | to be sent |
 *                              ^ queue[0]       ^ #next
 */
import { ACK, FIN, PSH, RST, SYN } from "../../../src/packet/tcp.ts";
import type { TrafficSocket } from "../../traffic/net.ts";
import type { Segment } from "./packets.ts";

/** The least that Linux waits, and what it waits for the answer to a SYN (RFC 6298). */
const RTO_MS_MIN = 200;
const RTO_MS_SYN = 1000;
const RTO_MS_MAX = 60_000;
/** Data that is sent again and again for so long without an answer: the connection is dead. */
const STUCK_MS_MAX = 5000;
const TIME_WAIT_MS = 60_000;
const SEGMENT_BYTES = 1460;
const WINDOW_BYTES = 0xffff;
const WINDOW_SEGMENTS_INITIAL = 10;
const DUPLICATE_ACKS = 3;
/** Segments that came too early are kept, so many of them. */
const EARLY_MAX = 64;

const NOTHING = Buffer.alloc(0);

export interface TcpHost {
  nowMs(): number;
  after(ms: number, callback: () => void): void;
  random(bound: number): number;
}

export interface TcpOptions {
  readonly host: TcpHost;
  readonly localPort: number;
  readonly remotePort: number;
  readonly send: (segment: Segment) => void;
  /** Nothing that belongs to this connection is expected any more. */
  readonly onGone: () => void;
}

interface OutSegment {
  readonly seq: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

interface Listeners {
  connect: (() => void)[];
  close: (() => void)[];
  data: ((bytes: Buffer) => void)[];
  error: ((error: NodeJS.ErrnoException) => void)[];
}

export class TcpSocket implements TrafficSocket {
  readonly #options: TcpOptions;
  readonly #listeners: Listeners = { connect: [], close: [], data: [], error: [] };
  readonly #early = new Map<number, Segment>();
  readonly #queue: OutSegment[] = [];
  #state: "synSent" | "synReceived" | "open" | "closed" = "synSent";
  /** Of the first byte that is not queued yet. */
  #sendSeq: number;
  /** Of the first byte that was never sent. */
  #unsentSeq: number;
  #receiveSeq = 0;
  #next = 0;
  #windowSegments = WINDOW_SEGMENTS_INITIAL;
  #duplicateAcks = 0;
  #rtoMs = RTO_MS_SYN;
  #progressAtMs: number;
  #timerAtMs = 0;
  /** When the next event of the timer is due. */
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #isFinQueued = false;
  #isFinReceived = false;
  #activeAtMs: number;

  constructor(options: TcpOptions) {
    this.#options = options;
    const { host } = options;
    this.#sendSeq = host.random(0xffff_ffff);
    this.#unsentSeq = this.#sendSeq;
    this.#progressAtMs = host.nowMs();
    this.#activeAtMs = host.nowMs();
  }

  /** Opens the connection from this end. */
  open(): void {
    this.#push(SYN, NOTHING);
  }

  /** The other end opened it with this SYN. */
  accept(syn: Segment): void {
    this.#state = "synReceived";
    this.#receiveSeq = plus(syn.seq, 1);
    this.#push(SYN | ACK, NOTHING);
  }

  on(event: "connect" | "close", listener: () => void): void;
  on(event: "data", listener: (bytes: Buffer) => void): void;
  on(event: "error", listener: (error: NodeJS.ErrnoException) => void): void;
  on(event: keyof Listeners, listener: never): void {
    this.#listeners[event].push(listener);
  }

  setNoDelay(): void {}

  setTimeout(ms: number, callback: () => void): void {
    const { host } = this.#options;
    const check = (): void => {
      if (this.#state === "closed") return;
      const leftMs = this.#activeAtMs + ms - host.nowMs();
      if (leftMs <= 0) callback();
      else host.after(leftMs, check);
    };
    host.after(ms, check);
  }

  /** Bytes that the other end has not acknowledged. */
  get waitingBytes(): number {
    return this.#queue.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  write(bytes: Uint8Array): void {
    if (this.#state === "closed" || this.#isFinQueued) return;
    for (let at = 0; at < bytes.length; at += SEGMENT_BYTES) {
      this.#push(ACK | PSH, Buffer.from(bytes.subarray(at, at + SEGMENT_BYTES)));
    }
  }

  end(): void {
    if (this.#state === "closed" || this.#isFinQueued) return;
    this.#isFinQueued = true;
    this.#push(ACK | FIN, NOTHING);
  }

  destroy(): void {
    if (this.#state === "closed") return;
    this.#sendNow(RST | ACK, this.#unsentSeq, NOTHING);
    this.#close();
    this.#options.onGone();
  }

  receive(segment: Segment): void {
    this.#activeAtMs = this.#options.host.nowMs();
    if ((segment.flags & RST) !== 0) {
      this.#onReset(segment);
      return;
    }
    if (this.#state === "closed") {
      // TIME-WAIT: the last acknowledgement got lost.
      if ((segment.flags & FIN) !== 0) this.#acknowledge();
      return;
    }
    if (this.#state === "synSent") this.#onSynAnswer(segment);
    else if ((segment.flags & SYN) !== 0) this.#onRepeatedSyn();
    else this.#onSegment(segment);
  }

  // ---------------------------------------------------------------- receiving

  #onReset(segment: Segment): void {
    if (this.#state === "closed") return;
    const isOurs =
      this.#state === "synSent" ? segment.ack === this.#unsentSeq : segment.seq === this.#receiveSeq;
    if (isOurs) this.#fail(this.#state === "synSent" ? "ECONNREFUSED" : "ECONNRESET");
  }

  #onSynAnswer(segment: Segment): void {
    if ((segment.flags & (SYN | ACK)) !== (SYN | ACK) || segment.ack !== this.#unsentSeq) return;
    this.#receiveSeq = plus(segment.seq, 1);
    this.#state = "open";
    this.#onAck(segment);
    this.#acknowledge();
    this.#emit("connect");
  }

  /** Of a handshake whose other half got lost. */
  #onRepeatedSyn(): void {
    if (this.#state === "synReceived") this.#resendFirst();
    else this.#acknowledge();
  }

  #onSegment(segment: Segment): void {
    if ((segment.flags & ACK) !== 0) this.#onAck(segment);
    if (this.#state === "synReceived" && this.#queue[0]?.flags !== (SYN | ACK)) {
      this.#state = "open";
      this.#emit("connect");
    }
    const isSilent = segment.payload.length === 0 && (segment.flags & FIN) === 0;
    if (isSilent) {
      this.#closeWhenOver();
      return;
    }
    this.#take(segment);
    for (;;) {
      const early = this.#early.get(this.#receiveSeq);
      if (early === undefined || this.isClosed) break;
      this.#early.delete(this.#receiveSeq);
      this.#take(early);
    }
    if (this.isClosed) return;
    this.#acknowledge();
    // Nobody here keeps one direction open alone.
    if (this.#isFinReceived) this.end();
    this.#closeWhenOver();
  }

  /** Not merely #state: a listener may have closed the connection meanwhile. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  #take(segment: Segment): void {
    const behind = distance(this.#receiveSeq, segment.seq);
    if (behind < 0) {
      if (this.#early.size < EARLY_MAX) this.#early.set(segment.seq, copied(segment));
      return;
    }
    const fresh = segment.payload.subarray(Math.min(behind, segment.payload.length));
    const isFin = (segment.flags & FIN) !== 0 && behind <= segment.payload.length && !this.#isFinReceived;
    this.#receiveSeq = plus(this.#receiveSeq, fresh.length + (isFin ? 1 : 0));
    if (isFin) this.#isFinReceived = true;
    if (fresh.length > 0) this.#emit("data", Buffer.from(fresh));
  }

  #onAck({ ack, payload }: Segment): void {
    if (distance(ack, this.#unsentSeq) > 0) return;
    const before = this.#queue.length;
    while (this.#queue.length > 0 && distance(ack, endOf(this.#queue[0]!)) >= 0) {
      this.#queue.shift();
      this.#next = Math.max(0, this.#next - 1);
      this.#windowSegments++;
    }
    if (this.#queue.length < before) {
      this.#progressAtMs = this.#options.host.nowMs();
      this.#duplicateAcks = 0;
      this.#rtoMs = RTO_MS_MIN;
      this.#startTimer();
      this.#transmit();
      return;
    }
    if (payload.length > 0 || this.#next === 0 || ack !== this.#queue[0]?.seq) return;
    if (++this.#duplicateAcks === DUPLICATE_ACKS) this.#resendFirst();
  }

  // ---------------------------------------------------------------- sending

  #push(flags: number, payload: Uint8Array): void {
    const segment: OutSegment = { seq: this.#sendSeq, flags, payload };
    const isFirst = this.#queue.length === 0;
    this.#queue.push(segment);
    this.#sendSeq = endOf(segment);
    if (isFirst) {
      this.#progressAtMs = this.#options.host.nowMs();
      this.#startTimer();
    }
    this.#transmit();
  }

  #transmit(): void {
    let inFlightBytes = 0;
    for (let i = 0; i < this.#next; i++) inFlightBytes += this.#queue[i]!.payload.length;
    while (this.#next < this.#queue.length && this.#next < this.#windowSegments) {
      const segment = this.#queue[this.#next]!;
      // Nothing but the handshake before the connection stands.
      if (this.#state !== "open" && (segment.flags & SYN) === 0) return;
      inFlightBytes += segment.payload.length;
      if (inFlightBytes > WINDOW_BYTES) return;
      this.#next++;
      if (distance(endOf(segment), this.#unsentSeq) > 0) this.#unsentSeq = endOf(segment);
      this.#sendNow(segment.flags, segment.seq, segment.payload);
    }
  }

  #resendFirst(): void {
    const first = this.#queue[0];
    if (first !== undefined) this.#sendNow(first.flags, first.seq, first.payload);
  }

  #acknowledge(): void {
    this.#sendNow(ACK, this.#unsentSeq, NOTHING);
  }

  #sendNow(flags: number, seq: number, payload: Uint8Array): void {
    const { localPort, remotePort, send, host } = this.#options;
    this.#activeAtMs = host.nowMs();
    const ack = (flags & ACK) === 0 ? 0 : this.#receiveSeq;
    send({ sourcePort: localPort, destinationPort: remotePort, seq, ack, flags, payload });
  }

  // ---------------------------------------------------------------- timer

  /** The first unacknowledged segment has so long from now. */
  #startTimer(): void {
    this.#timerAtMs = this.#options.host.nowMs() + this.#rtoMs;
    this.#wakeAt(this.#timerAtMs);
  }

  /** An event that comes too early looks how long is left; so one is enough, unless it would come too late. */
  #wakeAt(atMs: number): void {
    if (atMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    const { host } = this.#options;
    host.after(atMs - host.nowMs(), () => {
      if (this.#wakeAtMs !== atMs) return;
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.#onTimer();
    });
  }

  #onTimer(): void {
    if (this.isClosed || this.#queue.length === 0) return;
    const now = this.#options.host.nowMs();
    if (now < this.#timerAtMs) {
      this.#wakeAt(this.#timerAtMs);
      return;
    }
    if (this.#state === "open" && now - this.#progressAtMs > STUCK_MS_MAX) {
      this.#fail("ETIMEDOUT");
      return;
    }
    this.#rtoMs = Math.min(this.#rtoMs * 2, RTO_MS_MAX);
    this.#windowSegments = 1;
    this.#duplicateAcks = 0;
    this.#next = 0;
    this.#startTimer();
    this.#transmit();
  }

  // ---------------------------------------------------------------- end

  #closeWhenOver(): void {
    if (!this.#isFinReceived || !this.#isFinQueued || this.#queue.length > 0 || this.isClosed) return;
    const { host, onGone } = this.#options;
    this.#close();
    host.after(TIME_WAIT_MS, onGone);
  }

  #fail(code: string): void {
    this.#state = "closed";
    this.#options.onGone();
    this.#emit("error", Object.assign(new Error(code), { code }));
    this.#emit("close");
  }

  #close(): void {
    this.#state = "closed";
    this.#emit("close");
  }

  #emit(event: "connect" | "close"): void;
  #emit(event: "data", bytes: Buffer): void;
  #emit(event: "error", error: NodeJS.ErrnoException): void;
  #emit(event: keyof Listeners, what?: unknown): void {
    for (const listener of this.#listeners[event]) (listener as (what: unknown) => void)(what);
  }
}

function endOf({ seq, flags, payload }: OutSegment): number {
  return plus(seq, payload.length + ((flags & (SYN | FIN)) === 0 ? 0 : 1));
}

function plus(seq: number, bytes: number): number {
  return (seq + bytes) >>> 0;
}

/** How far `a` is ahead of `b`, negative when it is behind (RFC 9293 section 3.4). */
function distance(a: number, b: number): number {
  return (a - b) | 0;
}

function copied(segment: Segment): Segment {
  return { ...segment, payload: Buffer.from(segment.payload) };
}
