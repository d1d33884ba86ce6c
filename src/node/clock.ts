/**
 * Clock: the real Env. CLOCK_MONOTONIC in milliseconds, the same number in every thread and process of a machine,
 * so journals of several nodes can be compared; and randomness that an outsider cannot guess.
 */
import { randomInt } from "node:crypto";
import type { Env } from "../base/env.ts";

/** performance.now() counts from the thread's start; hrtime() from boot. One difference makes them one clock. */
const OFFSET_MS = ((): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6 - performance.now();
})();

/** Milliseconds on CLOCK_MONOTONIC; allocates nothing. */
export function nowMs(): number {
  return performance.now() + OFFSET_MS;
}

export const realEnv: Env = { nowMs, random: (bound) => randomInt(bound) };
