/**
 * Life: one process of a simulated member, from its start to its end. What it scheduled or is called back for happens while it
 * lives, waits while it is paused, and never happens once it is dead.
 */
import type { Message, MsgSnap } from "raft-ts";
import type { Timers } from "../../../cluster/control/timers.ts";
import type { SyncLink } from "../../../cluster/sync/link.ts";
import type { Transport, TransportHandlers } from "../../../cluster/transport/transport.ts";
import type { SimClock } from "./clock.ts";

export class Life implements Timers {
  readonly #clock: SimClock;
  #isOver = false;
  #isPaused = false;
  #waiting: (() => void)[] = [];

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  end(): void {
    this.#isOver = true;
    this.#waiting = [];
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** What waited happens now, in order. */
  resume(): void {
    this.#isPaused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const work of waiting) this.run(work);
  }

  run(work: () => void): void {
    if (this.#isOver) return;
    if (this.#isPaused) this.#waiting.push(work);
    else work();
  }

  // ---------------------------------------------------------------- timers

  nowMs(): number {
    return this.#clock.nowMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  after(ms: number, callback: () => void): () => void {
    let isOn = true;
    this.#clock.after(ms, () => this.run(() => isOn && callback()));
    return () => {
      isOn = false;
    };
  }

  every(ms: number, callback: () => void): () => void {
    return this.#repeat(ms, callback, (delayMs, work) => void this.#clock.after(delayMs, work));
  }

  afterInput(callback: () => void): void {
    this.after(0, callback);
  }

  /** As SimClock.wire(): callbacks that keep clear of promises. */
  wire(ms: number, callback: () => void): void {
    this.#clock.wire(ms, () => this.run(callback));
  }

  everyWire(ms: number, callback: () => void): () => void {
    return this.#repeat(ms, callback, (delayMs, work) => this.#clock.wire(delayMs, work));
  }

  #repeat(
    ms: number,
    callback: () => void,
    schedule: (delayMs: number, work: () => void) => void,
  ): () => void {
    let isOn = true;
    const due = (): void => this.run(turn);
    const turn = (): void => {
      if (!isOn) return;
      callback();
      schedule(ms, due);
    };
    schedule(ms, due);
    return () => {
      isOn = false;
    };
  }

  // ---------------------------------------------------------------- network

  /** The same transport, heard by this life only. */
  transport(inner: Transport): Transport {
    return {
      counters: inner.counters,
      start: (handlers) => inner.start(this.#handlers(handlers)),
      sendRaft: (message: Exclude<Message, MsgSnap>) => inner.sendRaft(message),
      sendSnapshot: (message) => inner.sendSnapshot(message),
      status: (to, timeoutMs) => inner.status(to, timeoutMs),
      openSyncLink: (to) => this.#link(inner.openSyncLink(to)),
      isConnected: (to) => inner.isConnected(to),
      setPeers: (peers) => inner.setPeers(peers),
      close: () => inner.close(),
    };
  }

  #handlers(handlers: TransportHandlers): TransportHandlers {
    return {
      onRaft: (from, message) => this.run(() => handlers.onRaft(from, message)),
      onStatus: (from) => handlers.onStatus(from),
      onSyncLink: (from, link) => this.run(() => handlers.onSyncLink(from, this.#link(link))),
      onUnreachable: (to) => this.run(() => handlers.onUnreachable(to)),
      onSnapshotSent: (to, isDelivered) => this.run(() => handlers.onSnapshotSent(to, isDelivered)),
    };
  }

  #link<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return {
      bind: (handlers) =>
        link.bind({
          onOpen: () => this.run(() => handlers.onOpen()),
          onMessage: (message) => this.run(() => handlers.onMessage(message)),
          onWritable: () => this.run(() => handlers.onWritable()),
          onClose: (why) => this.run(() => handlers.onClose(why)),
        }),
      send: (message) => link.send(message),
      pause: () => link.pause(),
      resume: () => link.resume(),
      close: () => link.close(),
    };
  }
}
