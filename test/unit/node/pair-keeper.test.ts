import { describe, expect, test } from "vitest";
import { FIRST_GENERATION, type Generation } from "../../../cluster/control/generation.ts";
import type { ClusterState } from "../../../cluster/control/model.ts";
import { PROFILES } from "../../../cluster/liveness/model.ts";
import { PairKeeper } from "../../../src/node/pair-keeper.ts";
import { clusterState } from "./cluster-state.ts";

const PEER = 2;
const LEASE_MS = PROFILES.lan.leaseMs;

class Bench {
  nowMs = 50_000;
  readonly alive = new Set([1, PEER]);
  readonly asked: string[] = [];
  readonly journal: string[] = [];
  readonly forced: number[] = [];
  isHeld = false;
  isReleased = false;
  generation: Generation = FIRST_GENERATION;
  readonly keeper: PairKeeper;

  constructor(isHeld = false) {
    this.isHeld = isHeld;
    const state = bothActive();
    const bench = this;
    this.keeper = new PairKeeper({
      self: 1,
      founders: [1, PEER],
      profile: PROFILES.lan,
      startPatienceMs: 10_000,
      timers: { nowMs: () => this.nowMs },
      driver: {
        state: () => state,
        force: (peer) => {
          this.forced.push(peer);
          return true;
        },
        release: () => {
          this.isReleased = true;
          this.isHeld = false;
        },
        get isHeld() {
          return bench.isHeld;
        },
        isYielding: false,
        get generation() {
          return bench.generation;
        },
      },
      alive: () => this.alive,
      isAdmitted: () => !isHeld,
      probe: (node, isOn) => this.asked.push(`${isOn ? "probe" : "leave"} ${node}`),
      journal: { add: (_kind, text) => this.journal.push(text) },
      nameOf: (id) => `fw${id}`,
    });
    this.keeper.onLiveness({ type: "peerUp", node: PEER, atMs: this.nowMs });
  }

  die(cause: "silent" | "lifeline" | "admin"): void {
    this.alive.delete(PEER);
    const { nowMs } = this;
    const event = { type: "peerDown", node: PEER, atMs: nowMs, incarnation: 1 } as const;
    this.keeper.onLiveness({ ...event, cause, lastHeardMs: nowMs });
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.keeper.tick();
  }

  probed(found: { isAnswering?: boolean; isSpeaking?: boolean; lastHeardMs?: number } = {}): void {
    this.keeper.probed({
      ...{ node: PEER, probes: 3, probesHeard: 3, isAnswering: false, isSpeaking: false },
      ...{ lastHeardMs: Number.NEGATIVE_INFINITY, ...found },
    });
  }
}

/** Each backs up the other's slots, proven. */
function bothActive(): ClusterState {
  const state = clusterState([
    ["node", "active"],
    ["node", "active"],
  ]);
  const { table } = state;
  return {
    ...state,
    members: state.members.map((member) => ({ ...member, incarnation: 1 })),
    table: {
      ...table,
      owner: table.owner.map((_, s) => 1 + (s % 2)),
      backup: table.owner.map((_, s) => 2 - (s % 2)),
      synced: table.owner.map(() => true),
    },
  };
}

describe("a node of a pair", () => {
  test("has a silent one probed, and goes on when nothing speaks for it", () => {
    const bench = new Bench();
    bench.die("silent");
    expect(bench.asked).toEqual([`probe ${PEER}`]);
    bench.pass(LEASE_MS * 2);
    expect(bench.forced).toEqual([]);
    bench.probed();
    expect(bench.forced).toEqual([PEER]);
  });

  test("goes on at once when the other one's process is gone, and not for a good-bye alone", () => {
    const gone = new Bench();
    gone.die("lifeline");
    expect(gone.forced).toEqual([PEER]);
    const deaf = new Bench();
    deaf.die("admin");
    expect(deaf.forced).toEqual([]);
    deaf.keeper.claimed(PEER, { generation: FIRST_GENERATION, isServing: false, isStopped: true });
    expect(deaf.forced).toEqual([PEER]);
  });

  test("does not go on while its datagrams arrive, though it does not hear this node", () => {
    const bench = new Bench();
    bench.die("silent");
    bench.pass(LEASE_MS * 2);
    bench.probed({ lastHeardMs: bench.nowMs - 1 });
    expect(bench.forced).toEqual([]);
  });

  test("says once why it must not go on, and shows it", () => {
    const bench = new Bench();
    bench.die("silent");
    bench.pass(LEASE_MS * 2);
    for (let i = 0; i < 3; i++) bench.probed({ isAnswering: true });
    expect(bench.forced).toEqual([]);
    expect(bench.journal).toHaveLength(1);
    expect(bench.journal[0]).toMatch(/fw2 is silent, but its machine answers ARP/);
    expect(bench.keeper.view).toMatchObject({ isHeld: true, why: "answers", isAlone: false });
  });

  test("waits while the other one is heard at a pace of its own, and says so", () => {
    const bench = new Bench();
    bench.die("silent");
    bench.pass(LEASE_MS * 2);
    for (let i = 0; i < 3; i++) bench.probed({ isSpeaking: true });
    expect(bench.forced).toEqual([]);
    expect(bench.journal.join()).toMatch(/fw2 is heard, but does not answer this node/);
    bench.probed();
    expect(bench.forced).toHaveLength(1);
  });

  test("leaves the other one alone when it is heard again", () => {
    const bench = new Bench();
    bench.die("silent");
    bench.alive.add(PEER);
    bench.keeper.onLiveness({ type: "peerUp", node: PEER, atMs: bench.nowMs });
    expect(bench.asked).toEqual([`probe ${PEER}`, `leave ${PEER}`]);
  });
});

describe("a node that was alone when it ended", () => {
  test("waits when it starts, unless all had come together again", () => {
    const { keeper } = new Bench();
    const none = { votersOutgoing: [], learnersNext: [], autoLeave: false };
    expect(keeper.isToWait({ ...none, voters: [1], learners: [PEER] })).toBe(true);
    expect(keeper.isToWait({ ...none, voters: [1, PEER], learners: [] })).toBe(false);
    expect(keeper.isToWait({ ...none, voters: [1], learners: [] })).toBe(false);
  });

  test("goes on when it meets one that gives way, and not when it meets one that serves", () => {
    const served = new Bench(true);
    served.generation = { epoch: 47, by: 1 };
    served.keeper.claimed(PEER, { generation: { epoch: 46, by: 2 }, isServing: true });
    expect(served.isReleased).toBe(false);
    served.keeper.claimed(PEER, { generation: { epoch: 46, by: 2 }, isServing: false });
    expect(served.isReleased).toBe(true);
  });

  test("goes on when it meets nobody for long enough", () => {
    const bench = new Bench(true);
    bench.pass(9_999);
    expect(bench.isReleased).toBe(false);
    bench.pass(1);
    expect(bench.isReleased).toBe(true);
  });
});
