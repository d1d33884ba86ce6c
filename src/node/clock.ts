/**
 * Clock: the real Env. CLOCK_MONOTONIC in milliseconds, the same number in every thread and process of a machine,
 * so journals of several nodes can be compared; and randomness that an outsider cannot guess.
 *
 * CLOCK_MONOTONIC stands still while the machine is suspended. What that lasted is added as soon as a thread knows of it
 * (suspension-watch.ts); processes that lived through different suspensions differ by them.
 */
import { randomInt } from "node:crypto";
import type { Env } from "../base/env.ts";

/** Readings of both clocks that are compared. */
const READINGS = 32;

/**
 * What has to be added to `count()` to have `clock()`, both in milliseconds and equally fast. Between two readings a thread may stand
 * still for a long time, above all while it starts on a busy machine, and would go wrong by that for ever: so `clock` is read
 * between two readings of `count`, again and again, and what was least interrupted counts.
 */
export function offsetBetween(clock: () => number, count: () => number): number {
  let leastMs = Number.POSITIVE_INFINITY;
  let offsetMs = 0;
  for (let i = 0; i < READINGS; i++) {
    const before = count();
    const at = clock();
    const tookMs = count() - before;
    if (tookMs >= leastMs) continue;
    leastMs = tookMs;
    offsetMs = at - before - tookMs / 2;
  }
  return offsetMs;
}

/** performance.now() counts from the thread's start; hrtime() from boot. One difference makes them one clock. */
const OFFSET_MS = offsetBetween(
  () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e3 + nanoseconds / 1e6;
  },
  () => performance.now(),
);

/** How long the machine was suspended in the life of this process, as far as this thread knows. */
let suspendedMs = 0;

/** Milliseconds on CLOCK_MONOTONIC and the time suspended; allocates nothing. */
export function nowMs(): number {
  return performance.now() + OFFSET_MS + suspendedMs;
}

/** Milliseconds on CLOCK_MONOTONIC alone. */
export function monotonicMs(): number {
  return performance.now() + OFFSET_MS;
}

/** This thread learned of a suspension: its clock goes forward by that. */
export function addSuspendedMs(ms: number): void {
  suspendedMs += ms;
}

/** Time of day, which anybody may set: for dates, never for durations. */
export function wallMs(): number {
  return Date.now();
}

export const realEnv: Env = { nowMs, random: (bound) => randomInt(bound) };
