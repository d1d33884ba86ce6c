import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { applyCommand } from "../../../cluster/control/machine.ts";
import type { ClusterState, CommandResult, Member, MemberState } from "../../../cluster/control/model.ts";
import type { DiskCommand } from "../../../src/node/disk-guard.ts";
import { checkDiskRoom, DiskWatch, roomIn } from "../../../src/node/disk-watch.ts";
import { Journal } from "../../../src/node/journal.ts";
import { clusterState } from "./cluster-state.ts";

const MIB = 1024 * 1024;
const MEASURE_MS = 2000;

/** fw1 of a pair, with a disk that the test fills, and a cluster that decides at once. */
class World {
  freeMiB = 1000;
  nowMs = 0;
  state: ClusterState;
  isDecided = true;
  error: Error | undefined;
  readonly told: string[] = [];
  readonly proposed: string[] = [];
  readonly watch: DiskWatch;

  constructor(own: MemberState = "active", other: MemberState = "active", { isWitness = false } = {}) {
    this.state = clusterState([
      ["node", own],
      ["node", other],
      ["witness", "active"],
    ]);
    this.watch = this.watchOf(() => this.state.members, isWitness);
  }

  watchOf(members: () => readonly Member[], isWitness = false): DiskWatch {
    const node = { members, propose: (command: DiskCommand) => this.#decide(command) };
    return new DiskWatch({
      self: { id: 1, name: "fw1" },
      directory: "/data",
      freeBytesMin: 64 * MIB,
      freeBytes: () =>
        this.error === undefined ? Promise.resolve(this.freeMiB * MIB) : Promise.reject(this.error),
      ...(isWitness ? {} : node),
      journal: new Journal((event) => this.told.push(event.text), { nowMs: () => 0, wallMs: () => 0 }),
    });
  }

  /** The next measurement, and all that comes of it. */
  async measure(freeMiB: number): Promise<void> {
    this.freeMiB = freeMiB;
    this.nowMs += MEASURE_MS;
    this.watch.tick(this.nowMs);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }

  setState(id: number, state: MemberState): void {
    const members = this.state.members.map((member) => (member.id === id ? { ...member, state } : member));
    this.state = { ...this.state, members };
  }

  get own(): MemberState | undefined {
    return this.state.members[0]?.state;
  }

  #decide(command: DiskCommand): Promise<CommandResult> {
    this.proposed.push(command.state);
    if (!this.isDecided) return Promise.reject(new Error("nobody decided"));
    const { cluster, result } = applyCommand(this.state, command);
    this.state = cluster;
    return Promise.resolve(result);
  }
}

describe("a node whose disk fills up", () => {
  test("leaves in order before it is full, and takes part again when there is room", async () => {
    const world = new World();
    await world.measure(64);
    expect([world.own, world.watch.alerts()]).toEqual(["active", []]);
    await world.measure(63);
    expect(world.own).toBe("draining");
    expect(world.watch.alerts()).toEqual([
      "/data has 63 MiB free, less than the 64 MiB of control.diskFreeMiBMin: this node gives up its slots; make room",
    ]);
    world.setState(1, "drained");
    await world.measure(90);
    expect(world.own).toBe("drained");
    await world.measure(96);
    expect([world.own, world.watch.alerts()]).toEqual(["joining", []]);
    expect(world.told).toEqual([
      "/data has 63 MiB free: this node gives up its slots",
      "fw1 gives up its slots: its disk is nearly full",
      "/data has room again: 96 MiB free",
      "fw1 takes part again: its disk has room",
    ]);
  });

  test("stays when it is the last active node, and says so", async () => {
    const world = new World("active", "down");
    await world.measure(1);
    await world.measure(1);
    expect([world.own, world.proposed]).toEqual(["active", []]);
    expect(world.told).toEqual([
      "/data has 1 MiB free: this node stays, since no other node is active, and ends when the disk is full",
    ]);
  });

  test("comes back when the node that took its slots is gone", async () => {
    const world = new World();
    await world.measure(1);
    world.setState(1, "drained");
    world.setState(2, "down");
    await world.measure(1);
    expect(world.own).toBe("joining");
    expect(world.told.at(-1)).toBe("fw1 takes part again: no other node is active");
  });

  test("of two nodes whose disks fill up at once, the cluster lets one go only", async () => {
    const world = new World();
    const believed = world.state.members;
    world.setState(2, "draining");
    world.freeMiB = 1;
    // What fw1 believes is older than what is committed.
    const watch = world.watchOf(() => believed);
    watch.tick(MEASURE_MS);
    for (let i = 0; i < 10; i++) await Promise.resolve();
    expect([world.proposed, world.own]).toEqual([["draining"], "active"]);
  });

  test("asks again when nobody decided", async () => {
    const world = new World();
    world.isDecided = false;
    await world.measure(1);
    world.isDecided = true;
    await world.measure(1);
    expect([world.own, world.proposed]).toEqual(["draining", ["draining", "draining"]]);
  });

  test("measures no more often than every two seconds", async () => {
    const world = new World();
    await world.measure(1000);
    world.freeMiB = 1;
    world.watch.tick(world.nowMs + MEASURE_MS - 1);
    await Promise.resolve();
    expect(world.watch.freeBytes).toBe(1000 * MIB);
  });

  test("that cannot be measured stays, and says so", async () => {
    const world = new World();
    world.error = new Error("EIO");
    await world.measure(1);
    expect([world.own, world.watch.alerts()]).toEqual([
      "active",
      ["the room of /data cannot be measured: EIO"],
    ]);
  });
});

test("a witness only says that its disk fills up", async () => {
  const world = new World("active", "active", { isWitness: true });
  await world.measure(1);
  expect(world.proposed).toEqual([]);
  expect(world.told).toEqual(["/data has 1 MiB free: when it is full, this witness ends"]);
});

describe("checkDiskRoom()", () => {
  test("lets a member start where there is room", () => {
    expect(() => checkDiskRoom(tmpdir(), 1)).not.toThrow();
    expect(() => checkDiskRoom(tmpdir(), 0)).not.toThrow();
  });

  test("refuses with one line that names key, need and state", () => {
    expect(() => checkDiskRoom(tmpdir(), 2 ** 60)).toThrow(
      /^control\.dataDir: \S+ has \d+ MiB free, control\.diskFreeMiBMin asks for \d+ MiB: make room, or lower the limit$/,
    );
  });
});

test.each([
  ["blocks and inodes", { files: 1000, ffree: 64 }, 4096_000],
  ["no inodes", { files: 1000, ffree: 63 }, 0],
  ["no limit of inodes", { files: 0, ffree: 0 }, 4096_000],
])("the room of a file system with %s", (_what, inodes, bytes) => {
  expect(roomIn({ type: 0, bsize: 4096, blocks: 2000, bfree: 1000, bavail: 1000, ...inodes })).toBe(bytes);
});
