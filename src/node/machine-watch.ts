/**
 * Machine watch: looks after what a member stands on, and says what it sees: a dataplane worker that hangs, a disk that fills up, a
 * time of day that jumps, a machine that was suspended. Owns the pace of looking and the words; the rules are watchdog.ts,
 * disk-guard.ts, wall-jumps.ts and suspension.ts.
 */
import { SynwallError } from "../base/errors.ts";
import type { MachineSnapshot } from "../metrics/snapshot.ts";
import type { DiskWatch } from "./disk-watch.ts";
import type { Journal } from "./journal.ts";
import { WallJumps } from "./wall-jumps.ts";
import { Watchdog } from "./watchdog.ts";

/** Between two looks. */
export const MACHINE_WATCH_MS = 250;
/**
 * A worker that stands still for so long hangs. Peers take over after 60 to 900 ms of it, so this need not be quick; it must be longer
 * than any stall of a machine that is short of CPU: 57 ms with real-time scheduling (ADR 20), a few seconds without.
 */
export const WORKER_HUNG_MS = 5000;

export interface MachineWatchOptions {
  readonly disk: DiskWatch;
  /** Ticks of the dataplane worker so far; absent on a witness. */
  readonly beats?: () => number;
  readonly clock: { nowMs(): number; wallMs(): number };
  /** How long the machine was suspended since the last call; puts it onto this thread's clock. */
  readonly readSuspension: () => number;
  readonly journal: Journal;
  /** The worker hangs: the process must end, without waiting for it. */
  readonly onHung: (error: SynwallError) => void;
}

export class MachineWatch {
  readonly #options: MachineWatchOptions;
  readonly #walls = new WallJumps();
  readonly #dog: Watchdog | undefined;
  #suspensions = 0;
  #suspendedMs = 0;
  #isHung = false;

  constructor(options: MachineWatchOptions) {
    this.#options = options;
    const { beats, clock } = options;
    if (beats === undefined) return;
    const limits = { checkMs: MACHINE_WATCH_MS, limitMs: WORKER_HUNG_MS };
    this.#dog = new Watchdog(limits, beats(), clock.nowMs());
  }

  /** To be called every MACHINE_WATCH_MS. */
  tick(): void {
    const { clock, disk } = this.#options;
    this.#watchSuspension();
    this.#watchWall();
    this.#watchWorker();
    disk.tick(clock.nowMs());
  }

  snapshot(): MachineSnapshot {
    const { disk } = this.#options;
    return {
      diskFreeBytes: disk.freeBytes,
      diskFreeBytesMin: disk.freeBytesMin,
      wallJumps: this.#walls.count,
      suspensions: this.#suspensions,
      suspendedMs: this.#suspendedMs,
      ...(this.#dog === undefined ? {} : { workerStillMs: this.#dog.stillMs }),
    };
  }

  /** What `status` says to an operator. */
  alerts(): string[] {
    return this.#options.disk.alerts();
  }

  /** First: the other rules go by a clock that knows of it. */
  #watchSuspension(): void {
    const suspendedMs = this.#options.readSuspension();
    if (suspendedMs === 0) return;
    this.#suspensions++;
    this.#suspendedMs += suspendedMs;
    const text = `the machine was suspended for ${seconds(suspendedMs)}: what was left of the lease is void`;
    this.#options.journal.add("suspended", text);
  }

  #watchWall(): void {
    const { clock, journal } = this.#options;
    const beforeMs = clock.nowMs();
    const wallMs = clock.wallMs();
    const jumpMs = this.#walls.read(beforeMs, wallMs, clock.nowMs());
    if (jumpMs === 0) return;
    const way = jumpMs > 0 ? "forward" : "back";
    journal.add(
      "clock",
      `the time of day was set ${way} by ${seconds(Math.abs(jumpMs))}: leases and time-outs do not go by it, schedules of rules and SYN cookies do`,
    );
  }

  #watchWorker(): void {
    const { beats, clock, journal, onHung } = this.#options;
    if (this.#dog === undefined || beats === undefined || this.#isHung) return;
    if (!this.#dog.check(beats(), clock.nowMs())) return;
    this.#isHung = true;
    const text = `the dataplane worker has not turned its loop for ${seconds(this.#dog.stillMs)}: this process ends, so that it can be started anew`;
    journal.add("hung", text);
    onHung(new SynwallError("SW_DATAPLANE_HUNG", text));
  }
}

function seconds(ms: number): string {
  return `${(ms / 1e3).toFixed(1)} s`;
}
