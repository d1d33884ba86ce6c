/**
 * Worker rhythm: when a dataplane core has its turns and its ticks. It sleeps until the core is next needed, and frames wake it before
 * that. The worker thread runs it on an event loop, the simulator in virtual time.
 *
 *   readable port, timer --> wake = turn(), tick() if it is worth it          message --> receive()
 *
 * The frames that lay in the rings while the loop stood still are read before anybody is judged: turn() comes first.
 */
import type { DataplaneCore } from "./dataplane-core.ts";
import { Rhythm } from "./rhythm.ts";
import type { ToWorker } from "./worker-protocol.ts";

export interface WorkerRhythmOptions {
  readonly core: Pick<DataplaneCore, "turn" | "tick" | "receive" | "dueMs" | "isTickWorthwhile">;
  readonly nowMs: () => number;
  /** See RhythmOptions. */
  readonly after: (ms: number, callback: () => void) => () => void;
  /** Calls back once, after what the event loop has to do besides. */
  readonly soon: (callback: () => void) => void;
  /** After each wake-up. */
  readonly onWorked?: () => void;
}

export class WorkerRhythm {
  readonly #options: WorkerRhythmOptions;
  readonly #rhythm: Rhythm;
  #isTurnDue = false;
  #isStopped = false;

  constructor(options: WorkerRhythmOptions) {
    this.#options = options;
    const { core, after, nowMs } = options;
    this.#rhythm = new Rhythm({ beating: core, after, onTimer: () => this.wake() }, nowMs());
  }

  /** Frames may be waiting, or time is up. */
  readonly wake = (): void => {
    if (this.#isStopped) return;
    const { core, nowMs } = this.#options;
    if (core.turn(nowMs())) this.#turnSoon();
    this.#goOn();
  };

  receive(message: ToWorker): void {
    this.#options.core.receive(message, this.#options.nowMs());
    this.#goOn();
  }

  /** No more turns and ticks. */
  stop(): void {
    this.#isStopped = true;
    this.#rhythm.stop();
  }

  #goOn(): void {
    this.#rhythm.goOn(this.#options.nowMs());
    this.#options.onWorked?.();
  }

  #turnSoon(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#options.soon(this.#onSoon);
  }

  readonly #onSoon = (): void => {
    this.#isTurnDue = false;
    this.wake();
  };
}
