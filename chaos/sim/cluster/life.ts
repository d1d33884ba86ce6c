/**
 * Life: one process of a simulated member, from its start to its end. What it scheduled or is called back for happens while it
 * lives, waits while its thread stands still, and never happens once it is dead. Its clocks are those of its machine.
 *
 *   main     control plane: timers, transport, links, admin
 *   worker   dataplane: wire() and afterWire()
 */
import type { Message, MsgSnap } from "raft-ts";
import type { Timers } from "../../../cluster/control/timers.ts";
import type { SyncLink } from "../../../cluster/sync/link.ts";
import {
  CANNOT_RESTART,
  type Transport,
  type TransportHandlers,
} from "../../../cluster/transport/transport.ts";
import type { SimClock } from "./clock.ts";
import { EXACT_CLOCKS, type MachineClocks } from "./machine-clocks.ts";
import { SimThread } from "./thread.ts";

export interface LifeOptions {
  readonly clocks?: MachineClocks;
  /** Sees each Raft message that leaves the process. */
  readonly onRaft?: (message: Message) => void;
  /** A planted bug may make something else of what arrives. */
  readonly spoiledRaft?: (message: Message) => Message;
  readonly spoiledReply?: (message: Message) => Message;
  readonly spoiledSync?: (message: unknown) => unknown;
}

const asIs = <Value>(value: Value): Value => value;

export class Life implements Timers {
  readonly main: SimThread;
  readonly worker: SimThread;
  readonly #clock: SimClock;
  readonly #clocks: MachineClocks;
  readonly #onRaft: (message: Message) => void;
  readonly #spoiledRaft: (message: Message) => Message;
  readonly #spoiledReply: (message: Message) => Message;
  readonly #spoiledSync: (message: unknown) => unknown;

  constructor(clock: SimClock, options: LifeOptions = {}) {
    const {
      clocks = EXACT_CLOCKS,
      onRaft = () => undefined,
      spoiledRaft = asIs,
      spoiledReply = asIs,
      spoiledSync = asIs,
    } = options;
    this.#spoiledRaft = spoiledRaft;
    this.#spoiledReply = spoiledReply;
    this.#spoiledSync = spoiledSync;
    this.#clock = clock;
    this.#clocks = clocks;
    this.#onRaft = onRaft;
    this.main = new SimThread(clock);
    this.worker = new SimThread(clock);
  }

  get isOver(): boolean {
    return this.main.isOver;
  }

  get isPaused(): boolean {
    return this.main.isPaused && this.worker.isPaused;
  }

  end(): void {
    this.main.end();
    this.worker.end();
  }

  /** The whole process stands still. */
  pause(): void {
    this.main.pause();
    this.worker.pause();
  }

  /** Its threads wake up in this order. */
  resume({ isWorkerFirst = false }: { readonly isWorkerFirst?: boolean } = {}): void {
    if (isWorkerFirst) this.worker.resume();
    this.main.resume();
    if (!isWorkerFirst) this.worker.resume();
  }

  run(work: () => void): void {
    this.main.run(work);
  }

  // ---------------------------------------------------------------- timers

  nowMs(): number {
    return this.#clocks.localMs(this.#clock.nowMs());
  }

  /** What the worker reads at the begin of a turn: it may stand still right after it. */
  workerNowMs(): number {
    return this.#clocks.localMs(this.worker.nowMs());
  }

  wallMs(): number {
    return this.#clock.wallMs() + this.#clocks.wallAheadMs;
  }

  after(ms: number, callback: () => void): () => void {
    let isOn = true;
    this.#clock.after(this.#clocks.trueMs(ms), () => this.main.run(() => isOn && callback()));
    return () => {
      isOn = false;
    };
  }

  every(ms: number, callback: () => void): () => void {
    const trueMs = this.#clocks.trueMs(ms);
    return repeat(callback, this.main, (work) => void this.#clock.after(trueMs, work));
  }

  afterInput(callback: () => void): void {
    this.after(0, callback);
  }

  /** In the worker; as SimClock.wire(): callbacks that keep clear of promises. */
  wire(ms: number, callback: () => void): void {
    this.#clock.wire(ms, () => this.worker.run(callback));
  }

  /** In the worker, in `ms` on its clock; gives the function that calls it off. */
  afterWire(ms: number, callback: () => void): () => void {
    let isOn = true;
    this.#clock.wire(this.#clocks.trueMs(ms), () => this.worker.run(() => isOn && callback()));
    return () => {
      isOn = false;
    };
  }

  // ---------------------------------------------------------------- network

  /** The same transport, heard by this life only. What a disk holds up leaves when it is done. */
  transport(inner: Transport): Transport {
    return {
      counters: inner.counters,
      start: (handlers) => inner.start(this.#handlers(handlers)),
      sendRaft: (message: Exclude<Message, MsgSnap>) =>
        this.main.run(() => {
          const said = this.#spoiledReply(message) as Exclude<Message, MsgSnap>;
          this.#onRaft(said);
          inner.sendRaft(said);
        }),
      sendSnapshot: (message) =>
        this.main.run(() => {
          this.#onRaft(message);
          inner.sendSnapshot(message);
        }),
      status: (to, timeoutMs) => inner.status(to, timeoutMs),
      restart: (to, incarnation, timeoutMs) => inner.restart(to, incarnation, timeoutMs),
      openSyncLink: (to) => this.#link(inner.openSyncLink(to)),
      isConnected: (to) => inner.isConnected(to),
      setPeers: (peers) => inner.setPeers(peers),
      close: () => inner.close(),
    };
  }

  #handlers(handlers: TransportHandlers): TransportHandlers {
    return {
      onRaft: (from, message) => this.run(() => handlers.onRaft(from, this.#spoiledRaft(message))),
      onStatus: (from) => handlers.onStatus(from),
      onRestart: (from, incarnation) => handlers.onRestart?.(from, incarnation) ?? CANNOT_RESTART,
      onSyncLink: (from, link) => this.run(() => handlers.onSyncLink(from, this.#link(link))),
      onUnreachable: (to) => this.run(() => handlers.onUnreachable(to)),
      onTurnedAway: (by) => this.run(() => handlers.onTurnedAway?.(by)),
      onSnapshotSent: (to, isDelivered) => this.run(() => handlers.onSnapshotSent(to, isDelivered)),
    };
  }

  #link<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return {
      bind: (handlers) =>
        link.bind({
          onOpen: () => this.run(() => handlers.onOpen()),
          onMessage: (message) => this.run(() => handlers.onMessage(this.#spoiledSync(message) as In)),
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

function repeat(callback: () => void, thread: SimThread, schedule: (work: () => void) => void): () => void {
  let isOn = true;
  const due = (): void => thread.run(turn);
  const turn = (): void => {
    if (!isOn) return;
    callback();
    schedule(due);
  };
  schedule(due);
  return () => {
    isOn = false;
  };
}
