/**
 * What a dataplane worker does while its control thread hangs, and after its machine was suspended: a pair of real workers over
 * memory wires, whose control threads say something once and never again.
 */
import { expect, test } from "vitest";
import { counterIndex, type ExtraCounter } from "../../../src/dataplane/counters.ts";
import { DROP_REASONS, VERDICT_DROP_BASE } from "../../../src/dataplane/verdict.ts";
import { copyable } from "../../../src/io/copy.ts";
import { ethernet, tcp } from "../dataplane/frames.ts";
import { hostMac } from "../dataplane/world.ts";
import { WorkerWorld } from "./worker-world.ts";

const SLOTS = 64;
/** Longer than every lease, promise, detection and quiet time. */
const LONG_MS = 10_000;
const MINUTE_MS = 60_000;

class Pair {
  readonly first = new WorkerWorld(256);
  readonly second = new WorkerWorld(256, this.first);
  #port = 1024;

  /** Both are active, and fw1 owns all slots. */
  constructor() {
    const each = <T>(value: T): T[] => Array.from({ length: SLOTS }, () => value);
    const members = [1, 2].map((id) => ({
      id,
      name: `fw${id}`,
      role: "node" as const,
      address: `192.0.2.${id}`,
      weight: 1,
      state: "active" as const,
      incarnation: 1,
    }));
    const table = {
      epoch: 1,
      owner: each(1),
      backup: each(2),
      synced: each(true),
      awaiting: each([]),
      movedEpoch: each(1),
      backupEpoch: each(1),
      cause: "initial" as const,
    };
    for (const { core, nowMs } of [this.first, this.second]) {
      core.receive({ type: "state", table, members, ownIncarnation: 1 }, nowMs);
      core.receive({ type: "caughtUp" }, nowMs);
    }
  }

  run(forMs: number): void {
    for (let ms = 0; ms < forMs; ms++) {
      this.first.run(1);
      this.second.run(1);
    }
  }

  /** A host inside begins a connection through fw1. */
  connect(): void {
    const syn = tcp({ from: "10.10.0.2", to: "203.0.113.7", sport: this.#port++, dport: 443, flags: "S" });
    const { mac } = this.first.ports[0]!;
    const frame = ethernet(mac, hostMac("10.10.0.2"), 0x0800, syn);
    this.first.ports[0]!.accept(copyable(frame), 0, frame.length);
  }
}

function counterOf({ memory }: WorkerWorld, name: ExtraCounter): number {
  return new Float64Array(memory.counters)[counterIndex(name)]!;
}

function dropsOf({ memory }: WorkerWorld, reason: (typeof DROP_REASONS)[number]): number {
  return new Float64Array(memory.counters)[VERDICT_DROP_BASE + DROP_REASONS.indexOf(reason)]!;
}

/** What a worker said of its lease and of deaths, in order. */
function verdicts({ said }: WorkerWorld): string[] {
  return said.flatMap((message) => {
    if (typeof message !== "object") return [];
    if (message.type === "fenced") return [message.isFenced ? "fenced" : "unfenced"];
    return message.type === "liveness" && message.event.type === "peerDown" ? ["peer down"] : [];
  });
}

test("while the control threads hang, heartbeats and leases go on, and nobody is called dead", () => {
  const pair = new Pair();
  pair.run(LONG_MS);
  expect(verdicts(pair.first)).toEqual(["unfenced"]);
  pair.run(MINUTE_MS);
  expect([verdicts(pair.first), verdicts(pair.second)]).toEqual([["unfenced"], ["unfenced"]]);
});

test("while the control thread hangs, new flows are let through after the deadline, without a backup", () => {
  const pair = new Pair();
  pair.run(LONG_MS);
  pair.connect();
  pair.run(2);
  expect([counterOf(pair.first, "flowsNow"), counterOf(pair.first, "heldNow")]).not.toEqual([0, 0]);
  pair.run(20);
  expect(counterOf(pair.first, "flowsNow")).toBeGreaterThan(0);
  expect(counterOf(pair.first, "unprotectedDeadline")).toBe(1);
  expect(dropsOf(pair.first, "fenced")).toBe(0);
});

test("the first packet after a suspension finds the lease out", () => {
  const pair = new Pair();
  pair.run(LONG_MS);
  pair.connect();
  // The peer goes on; suspension-watch.ts puts the hour onto the clock before the next turn.
  pair.second.run(100);
  pair.first.nowMs += 60 * MINUTE_MS;
  pair.first.core.turn(pair.first.nowMs);
  expect(counterOf(pair.first, "flowsNow")).toBe(0);
  expect(dropsOf(pair.first, "fenced")).toBe(1);
  pair.first.core.tick(pair.first.nowMs);
  expect(verdicts(pair.first)).toEqual(["unfenced", "fenced"]);
});

test("a promise outlives the lease, though the turn that reads the request stood still between its begin and the reading", () => {
  const pair = new Pair();
  pair.run(LONG_MS);
  const beganMs = pair.second.nowMs;
  // What the first says meanwhile lies in the rings that the turn is about to read.
  pair.first.run(40);
  pair.second.nowMs += 40;
  pair.second.core.turn(beganMs);
  // Long enough for the acknowledgement of the last request to leave.
  pair.second.run(12);
  pair.first.nowMs += 12;
  pair.first.core.turn(pair.first.nowMs);
  const leaseMs = pair.first.core.authority.leaseUntilMs - pair.first.nowMs;
  expect(leaseMs).toBeGreaterThan(30);
  const { remainingMs } = pair.second.core.authority.voter.fence(1, 1, pair.second.nowMs);
  expect(remainingMs).toBeGreaterThanOrEqual(leaseMs);
});
