import { expect, test } from "vitest";
import type { SynwallError } from "../../../src/base/errors.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import { DiskWatch } from "../../../src/node/disk-watch.ts";
import { Journal } from "../../../src/node/journal.ts";
import {
  DISK_HUNG_MS,
  MACHINE_WATCH_MS,
  MachineWatch,
  WORKER_HUNG_MS,
} from "../../../src/node/machine-watch.ts";

/** A node's machine, whose clocks and worker the test moves. */
class World {
  nowMs = 1000;
  wallMs = 1_700_000_000_000;
  beats = 0;
  suspendedMs = 0;
  isWorkerHung = false;
  isDiskHung = false;
  certificateAlerts: string[] = [];
  #diskBeats = 0;
  readonly events: JournalEvent[] = [];
  readonly fatal: SynwallError[] = [];
  readonly watch: MachineWatch;

  constructor({ isWitness = false } = {}) {
    const clock = { nowMs: () => this.nowMs, wallMs: () => this.wallMs };
    const journal = new Journal((event) => this.events.push(event), clock);
    this.watch = new MachineWatch({
      disk: new DiskWatch({
        self: { id: 1, name: "fw1" },
        directory: "/var/lib/synwall",
        freeBytesMin: 0,
        freeBytes: () => Promise.resolve(0),
        journal,
      }),
      certificates: { untilMs: 2e12, caUntilMs: 3e12, alerts: () => this.certificateAlerts },
      ...(isWitness ? {} : { beats: () => this.beats }),
      diskBeats: () => (this.isDiskHung ? this.#diskBeats : ++this.#diskBeats),
      clock,
      readSuspension: () => {
        const ms = this.suspendedMs;
        this.suspendedMs = 0;
        this.nowMs += ms;
        return ms;
      },
      journal,
      onHung: (error) => this.fatal.push(error),
    });
  }

  run(forMs: number): void {
    for (let ms = 0; ms < forMs; ms += MACHINE_WATCH_MS) {
      this.nowMs += MACHINE_WATCH_MS;
      this.wallMs += MACHINE_WATCH_MS;
      if (!this.isWorkerHung) this.beats += MACHINE_WATCH_MS;
      this.watch.tick();
    }
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }
}

test("a worker that hangs ends the process once, with one line that says so", () => {
  const world = new World();
  world.run(60_000);
  world.isWorkerHung = true;
  world.run(WORKER_HUNG_MS - MACHINE_WATCH_MS);
  expect(world.fatal).toEqual([]);
  expect(world.watch.snapshot().workerStillMs).toBe(WORKER_HUNG_MS - MACHINE_WATCH_MS);
  world.run(2000);
  expect(world.fatal.map(({ code }) => code)).toEqual(["SW_DATAPLANE_HUNG"]);
  expect(world.fatal[0]?.message).toBe(
    "the dataplane worker has not turned its loop for 5.0 s: this process ends, so that it can be started anew",
  );
  expect(world.kinds()).toEqual(["hung"]);
});

test("a disk that hangs is told after a second, and ends the process once, also a witness's", () => {
  for (const isWitness of [false, true]) {
    const world = new World({ isWitness });
    world.run(60_000);
    expect(world.watch.alerts()).toEqual([]);
    world.isDiskHung = true;
    world.run(1500);
    expect(world.watch.alerts()).toEqual([
      "a write to control.dataDir has waited for the disk for 1.5 s: a member whose log is there does not learn what is decided, and this one ends itself at 10.0 s; look at that disk",
    ]);
    world.isDiskHung = false;
    world.run(MACHINE_WATCH_MS);
    expect(world.watch.alerts()).toEqual([]);
    world.isDiskHung = true;
    world.run(DISK_HUNG_MS - MACHINE_WATCH_MS);
    expect([world.fatal, world.watch.snapshot().diskStillMs]).toEqual([[], DISK_HUNG_MS - MACHINE_WATCH_MS]);
    world.run(2000);
    expect(world.fatal.map(({ code }) => code)).toEqual(["SW_STORAGE_FAILED"]);
    expect(world.kinds()).toEqual(["hung"]);
  }
});

test("a witness has no worker that could hang", () => {
  const world = new World({ isWitness: true });
  world.run(60_000);
  expect([world.fatal, world.watch.snapshot().workerStillMs]).toEqual([[], undefined]);
});

test("a suspension is told, is no jump of the time of day, and accuses no worker", () => {
  const world = new World();
  world.run(1000);
  world.suspendedMs = 3_600_000;
  world.wallMs += 3_600_000;
  world.run(1000);
  expect(world.kinds()).toEqual(["suspended"]);
  expect(world.events[0]?.text).toContain("was suspended for 3600.0 s");
  expect(world.watch.snapshot()).toMatchObject({ suspensions: 1, suspendedMs: 3_600_000, wallJumps: 0 });
  expect(world.fatal).toEqual([]);
});

test.each([
  [3 * 3_600_000, "forward by 10800.0 s"],
  [-3 * 3_600_000, "back by 10800.0 s"],
])("a jump of the time of day by %d ms is told, and nothing else happens", (jumpMs, words) => {
  const world = new World();
  world.run(1000);
  world.wallMs += jumpMs;
  world.run(10_000);
  expect(world.kinds()).toEqual(["clock"]);
  expect(world.events[0]?.text).toContain(words);
  expect(world.watch.snapshot()).toMatchObject({ suspensions: 0, wallJumps: 1 });
  expect(world.fatal).toEqual([]);
});

test("certificates that end are told with the rest", () => {
  const world = new World({ isWitness: true });
  expect(world.watch.snapshot()).toMatchObject({ certificateUntilMs: 2e12, caUntilMs: 3e12 });
  expect(world.watch.alerts()).toEqual([]);
  world.certificateAlerts.push("it ends");
  expect(world.watch.alerts()).toEqual(["it ends"]);
});
