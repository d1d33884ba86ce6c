/**
 * Clock of a simulated cluster: virtual time for code that is written with callbacks and for code that is written with promises.
 *
 *   wire()   frames, ports, ticks of a dataplane: callbacks alone, many a millisecond
 *   after()  everything else; what awaits something goes on before the next event
 *
 * Time passes only inside drive(). Nothing here waits for the machine.
 */
import { setImmediate } from "node:timers";
import { AssertionError } from "../../../src/base/assert.ts";
import { Scheduler } from "../scheduler.ts";

/** Far from 0, which stands for "never" here and there. */
const START_MS = 1_000_000;
/** No run takes longer: what then still waits will wait for ever. */
const RUN_MS_MAX = 3_600_000;
/** The event loop turns once in so many waits for promises. */
const WAITS_PER_TURN = 1000;
/** Stamped into journals: the same wall time in every run. */
const START_WALL_MS = Date.UTC(2020, 0, 1);

export class SimClock {
  readonly #scheduler = new Scheduler();
  readonly #startWallMs: number;
  #isSettlingDue = false;

  constructor(startWallMs = START_WALL_MS) {
    this.#startWallMs = startWallMs;
    this.#scheduler.nowMs = START_MS;
  }

  nowMs(): number {
    return this.#scheduler.nowMs;
  }

  wallMs(): number {
    return this.#startWallMs + this.#scheduler.nowMs - START_MS;
  }

  /** Calls back in `ms`; the callback resolves no promise and queues no microtask. */
  wire(ms: number, callback: () => void): void {
    this.#scheduler.after(ms, callback);
  }

  /** Calls back in `ms`. */
  after(ms: number, callback: () => void): () => void {
    let isOn = true;
    this.#scheduler.after(ms, () => {
      if (!isOn) return;
      this.#isSettlingDue = true;
      callback();
    });
    return () => {
      isOn = false;
    };
  }

  every(ms: number, callback: () => void): () => void {
    let callOff = (): void => {};
    let isOn = true;
    const next = (): void => {
      callOff = this.after(ms, () => {
        callback();
        if (isOn) next();
      });
    };
    next();
    return () => {
      isOn = false;
      callOff();
    };
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Lets time pass until `work` has come to its end, and answers what it answered. */
  async drive<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const end = (): void => {
      isOver = true;
    };
    work.then(end, end);
    const endMs = this.nowMs() + RUN_MS_MAX;
    await settled();
    for (let waits = 1; !isOver; ) {
      if (!this.#scheduler.step(endMs)) {
        throw new AssertionError("a simulation waits for something that will never happen");
      }
      if (!this.#isSettlingDue) continue;
      this.#isSettlingDue = false;
      if (waits++ % WAITS_PER_TURN === 0) await turned();
      else await settled();
    }
    return work;
  }
}

/**
 * All that was promised is kept: asked for between microtasks, Node.js does what is due next when none of them is left. Unlike a turn
 * of the event loop this costs no system call.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** The same, and whoever else lives in this process has had its turn. */
function turned(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
