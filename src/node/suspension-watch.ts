/**
 * Suspension watch: puts the time that the machine was suspended onto this thread's clock, so that every rule of time sees it as it
 * sees a stall: the lease is out, peers are forgiven, flows have aged. Each thread has its own; the rule is suspension.ts.
 */
import { bootTimeMs } from "../io/boot-time.ts";
import { addSuspendedMs, monotonicMs, nowMs } from "./clock.ts";
import { Suspension } from "./suspension.ts";

const CALIBRATIONS = 16;
/** Between two readings at least, on a clock that a suspension does not move: so long a thread may not know of it. */
const READ_MS = 0.2;

/** The clocks of a thread; a test brings its own. */
export interface ThreadClocks {
  bootTimeMs(): number;
  monotonicMs(): number;
  /** monotonicMs() and all that was added. */
  nowMs(): number;
  addSuspendedMs(ms: number): void;
}

const REAL: ThreadClocks = { bootTimeMs, monotonicMs, nowMs, addSuspendedMs };

export class SuspensionWatch {
  readonly #clocks: ThreadClocks;
  readonly #rule = new Suspension();
  #nextMs = Number.NEGATIVE_INFINITY;
  #untoldMs = 0;

  constructor(clocks: ThreadClocks = REAL) {
    this.#clocks = clocks;
    for (let i = 0; i < CALIBRATIONS; i++) this.#rule.calibrate(clocks.bootTimeMs(), clocks.monotonicMs());
  }

  /**
   * The time by which a vote, a fence or a lease is judged: a suspension is on it before anything is promised or believed after it. A
   * promise that was made on the clock from before would end when that leaps. Allocates nothing.
   */
  readonly nowMs = (): number => {
    this.#read();
    return this.#clocks.nowMs();
  };

  /** How long the machine was suspended since the last call, for whoever tells an operator. */
  takeSuspendedMs(): number {
    this.#read();
    const untoldMs = this.#untoldMs;
    this.#untoldMs = 0;
    return untoldMs;
  }

  #read(): void {
    const monotonic = this.#clocks.monotonicMs();
    if (monotonic < this.#nextMs) return;
    this.#nextMs = monotonic + READ_MS;
    const boot = this.#clocks.bootTimeMs();
    const suspendedMs = this.#rule.read(boot, this.#clocks.monotonicMs());
    if (suspendedMs === 0) return;
    this.#untoldMs += suspendedMs;
    this.#clocks.addSuspendedMs(suspendedMs);
  }
}
