/**
 * Timers: the little that the control plane needs of a clock, so that the simulator can drive it in virtual time.
 */
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";

export interface Timers {
  /** Milliseconds on a clock that never goes back. */
  nowMs(): number;
  /** Calls back about every `ms`; gives the function that ends it. */
  every(ms: number, callback: () => void): () => void;
  /** Calls back once, in `ms`; gives the function that calls it off. */
  after(ms: number, callback: () => void): () => void;
  /** Calls back once, after input that already arrived was delivered. */
  afterInput(callback: () => void): void;
}

export const systemTimers: Timers = {
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  every(ms, callback) {
    const timer = setInterval(callback, ms);
    return () => clearInterval(timer);
  },
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  afterInput(callback) {
    setImmediate(callback);
  },
};
