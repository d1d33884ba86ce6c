/**
 * Suspension watch: puts the time that the machine was suspended onto this thread's clock, so that every rule of time sees it as it
 * sees a stall: the lease is out, peers are forgiven, flows have aged. Each thread has its own; the rule is suspension.ts.
 */
import { bootTimeMs } from "../io/boot-time.ts";
import { addSuspendedMs, monotonicMs } from "./clock.ts";
import { Suspension } from "./suspension.ts";

const CALIBRATIONS = 16;
/** Between two readings at least, on a clock that a suspension does not move: so long a thread may not know of it. */
const READ_MS = 0.2;

export class SuspensionWatch {
  readonly #rule = new Suspension();
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor() {
    for (let i = 0; i < CALIBRATIONS; i++) this.#rule.calibrate(bootTimeMs(), monotonicMs());
  }

  /** To be called before the clock is asked. Answers how long the machine was suspended since the last call; allocates nothing. */
  read(): number {
    const nowMs = monotonicMs();
    if (nowMs < this.#nextMs) return 0;
    this.#nextMs = nowMs + READ_MS;
    const bootMs = bootTimeMs();
    const suspendedMs = this.#rule.read(bootMs, monotonicMs());
    if (suspendedMs > 0) addSuspendedMs(suspendedMs);
    return suspendedMs;
  }
}
