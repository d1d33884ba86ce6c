/**
 * Virtual clock: timers that fire when a test says so, in order of time, then of making. Drivers and networks of one test
 * share one.
 */
import type { Timers } from "../../../../cluster/control/timers.ts";

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class VirtualClock implements Timers {
  #nowMs = 0;
  #order = 0;
  #due: Due[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): void {
    const due = { atMs: this.#nowMs + delayMs, order: this.#order++, callback };
    let i = this.#due.length;
    while (i > 0 && this.#due[i - 1]!.atMs > due.atMs) i--;
    this.#due.splice(i, 0, due);
  }

  every(ms: number, callback: () => void): () => void {
    let isOn = true;
    const again = (): void => {
      if (!isOn) return;
      callback();
      this.schedule(ms, again);
    };
    this.schedule(ms, again);
    return () => {
      isOn = false;
    };
  }

  after(ms: number, callback: () => void): () => void {
    let isOn = true;
    this.schedule(ms, () => {
      if (isOn) callback();
    });
    return () => {
      isOn = false;
    };
  }

  afterInput(callback: () => void): void {
    this.schedule(0, callback);
  }

  /** Lets `ms` pass. Microtasks run after each callback, as in Node.js. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await drainMicrotasks();
      const next = this.#due[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#due.shift();
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass until `condition` holds; answers the milliseconds that it took, throws after `limitMs`. */
  async until(condition: () => boolean, limitMs = 10_000): Promise<number> {
    const startMs = this.#nowMs;
    await drainMicrotasks();
    while (!condition()) {
      if (this.#nowMs - startMs > limitMs) throw new Error(`condition did not hold within ${limitMs} ms`);
      await this.pass(1);
    }
    return this.#nowMs - startMs;
  }
}

async function drainMicrotasks(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve();
}
