/**
 * Machine watch: looks after what a member stands on, and says what it sees: a dataplane worker or a disk that hangs, a disk that fills
 * up, a time of day that jumps, a machine that was suspended, certificates that end. Owns the pace of looking and the words; the rules are watchdog.ts,
 * disk-guard.ts, wall-jumps.ts and suspension.ts.
 */
import { SynwallError } from "../base/errors.ts";
import type { MachineSnapshot } from "../metrics/snapshot.ts";
import type { CertificateWatch } from "./certificate-watch.ts";
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

/**
 * A disk that takes so long for one write hangs. Meanwhile a member whose log is there learns nothing new that is decided, though it forwards,
 * replicates and keeps its lease; what it was to be given waits for it. Disks behind a network may take seconds when a path of theirs fails.
 */
export const DISK_HUNG_MS = 10_000;
const DISK_ALERT_MS = 1000;

export interface MachineWatchOptions {
  readonly disk: DiskWatch;
  readonly certificates: Pick<CertificateWatch, "untilMs" | "caUntilMs" | "alerts">;
  /** Ticks of the dataplane worker so far; absent on a witness. */
  readonly beats?: () => number;
  /** Tells the worker that this thread runs (main-watch.ts). */
  readonly beat?: () => void;
  /** Stand still while a write of the log, or a note of what a store keeps, waits for the disk. */
  readonly diskBeats: () => number;
  readonly clock: { nowMs(): number; wallMs(): number };
  /** How long the machine was suspended since the last call; puts it onto this thread's clock. */
  readonly readSuspension: () => number;
  readonly journal: Journal;
  /** The worker or the disk hangs: the process must end, without waiting for it. */
  readonly onHung: (error: SynwallError) => void;
}

export class MachineWatch {
  readonly #options: MachineWatchOptions;
  readonly #walls = new WallJumps();
  readonly #dog: Watchdog | undefined;
  readonly #diskDog: Watchdog;
  #suspensions = 0;
  #suspendedMs = 0;
  #isHung = false;

  constructor(options: MachineWatchOptions) {
    this.#options = options;
    const { beats, diskBeats, clock } = options;
    const dog = (limitMs: number, first: number): Watchdog =>
      new Watchdog({ checkMs: MACHINE_WATCH_MS, limitMs }, first, clock.nowMs());
    if (beats !== undefined) this.#dog = dog(WORKER_HUNG_MS, beats());
    this.#diskDog = dog(DISK_HUNG_MS, diskBeats());
  }

  /** To be called every MACHINE_WATCH_MS. */
  tick(): void {
    const { clock, disk, beat } = this.#options;
    beat?.();
    this.#watchSuspension();
    this.#watchWall();
    this.#watchWorker();
    this.#watchDisk();
    disk.tick(clock.nowMs());
  }

  snapshot(): MachineSnapshot {
    const { disk, certificates } = this.#options;
    return {
      diskFreeBytes: disk.freeBytes,
      diskFreeBytesMin: disk.freeBytesMin,
      wallJumps: this.#walls.count,
      suspensions: this.#suspensions,
      suspendedMs: this.#suspendedMs,
      ...(this.#dog === undefined ? {} : { workerStillMs: this.#dog.stillMs }),
      diskStillMs: this.#diskDog.stillMs,
      certificateUntilMs: certificates.untilMs,
      caUntilMs: certificates.caUntilMs,
    };
  }

  /** What `status` says to an operator. */
  alerts(): string[] {
    const { stillMs } = this.#diskDog;
    const { disk, certificates } = this.#options;
    const alerts = [...disk.alerts(), ...certificates.alerts()];
    if (stillMs < DISK_ALERT_MS) return alerts;
    return [
      `a write to control.dataDir has waited for the disk for ${seconds(stillMs)}: a member whose log is there does not learn what is decided, and this one ends itself at ${seconds(DISK_HUNG_MS)}; look at that disk`,
      ...alerts,
    ];
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
    const { beats, clock } = this.#options;
    if (this.#dog === undefined || beats === undefined || this.#isHung) return;
    if (!this.#dog.check(beats(), clock.nowMs())) return;
    const text = `the dataplane worker has not turned its loop for ${seconds(this.#dog.stillMs)}: this process ends, so that it can be started anew`;
    this.#end("SW_DATAPLANE_HUNG", text);
  }

  #watchDisk(): void {
    const { diskBeats, clock } = this.#options;
    if (this.#isHung || !this.#diskDog.check(diskBeats(), clock.nowMs())) return;
    const text = `a write to control.dataDir has waited for the disk for ${seconds(this.#diskDog.stillMs)}: this process ends, so that others take its place; look at that disk`;
    this.#end("SW_STORAGE_FAILED", text);
  }

  /** Once, whatever hangs. */
  #end(code: "SW_DATAPLANE_HUNG" | "SW_STORAGE_FAILED", text: string): void {
    const { journal, onHung } = this.#options;
    this.#isHung = true;
    journal.add("hung", text);
    onHung(new SynwallError(code, text));
  }
}

function seconds(ms: number): string {
  return `${(ms / 1e3).toFixed(1)} s`;
}
