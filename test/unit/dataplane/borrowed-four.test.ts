/**
 * Borrowed ports with more than two nodes: a reply to one arrives where neither its flow nor its pointer is, and finds its flow, whoever
 * owns the port's slot by then, and whoever has died.
 */
import { expect, test } from "vitest";
import { mix16 } from "../../../src/base/hash.ts";
import { RECORD_BYTES, RECORD_SLOT_AT } from "../../../src/base/record.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  SLOT_OWNED,
  SLOT_REMOTE,
  standaloneView,
} from "../../../src/dataplane/cluster-view.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { icmpError, ip, mac, see, udp, words } from "./frames.ts";
import { CLIENT, entry, natPolicy, POOL, SERVER } from "./nat-worlds.ts";
import { PORT_CLUSTER, PORT_INSIDE, PORT_OUTSIDE, TEST_KEY, World } from "./world.ts";

const NODES = [1, 2, 3, 4] as const;
const SLOTS = 64;
const FLOW_SLOT = slotOfAddress(TEST_KEY, SLOTS, words(CLIENT), 0);

interface Place {
  readonly owner: number;
  readonly backup: number;
}

function viewOf(selfId: number): ClusterView {
  const view = standaloneView(SLOTS, selfId);
  const peers = [undefined, ...NODES].map((nodeId) =>
    nodeId === undefined || nodeId === selfId
      ? undefined
      : {
          nodeId,
          clusterIp: ip(`172.16.0.${nodeId}`),
          clusterMac: mac(`02:00:00:00:0${nodeId}:02`),
          zoneMac: [mac(`02:00:00:00:0${nodeId}:00`), mac(`02:00:00:00:0${nodeId}:01`), new Uint8Array(6)],
        },
  );
  for (const node of NODES) view.peerFlags[node] = PEER_ALIVE | PEER_ON_CLUSTER_LINK;
  return { ...view, clusterIp: ip(`172.16.0.${selfId}`), peers };
}

class Four {
  readonly worlds: readonly World[];
  readonly #dead = new Set<number>();
  readonly #applied = new Float64Array(NODES.length + 1);
  #epoch = 0;

  constructor() {
    const policy = natPolicy({ snat: [entry({ ports: { from: 1024, to: 3071 } })] });
    this.worlds = NODES.map((id) => new World({ policy, view: viewOf(id), ringRecords: 4096, seed: id }));
    this.assign(() => ({ owner: 1, backup: 4 }));
  }

  world(id: number): World {
    return this.worlds[id - 1]!;
  }

  /** A settled table. */
  assign(place: (slot: number) => Place): void {
    this.#epoch++;
    for (const { view, engine, nowMs } of this.#living()) {
      view.epoch = this.#epoch;
      for (let slot = 0; slot < SLOTS; slot++) {
        const { owner, backup } = place(slot);
        const isMine = owner === view.selfId;
        if (isMine && view.state[slot] !== SLOT_OWNED) view.gainedEpoch[slot] = this.#epoch;
        view.owner[slot] = owner;
        view.backup[slot] = backup;
        view.home[slot] = owner;
        view.state[slot] = isMine ? SLOT_OWNED : SLOT_REMOTE;
      }
      engine.slotsChanged(nowMs);
    }
    for (const world of this.#living()) world.answerArp();
  }

  /** Everything of a slot is sent to its backup anew, as to a member that did not have it. */
  copy(slot: number): void {
    const owner = this.#living().find(({ view }) => view.state[slot] === SLOT_OWNED)!;
    owner.engine.exportSlot(slot);
    while (owner.engine.exportStep(64, owner.nowMs)) this.settle();
    this.settle();
  }

  kill(id: number): void {
    this.#dead.add(id);
    for (const { view } of this.#living()) view.peerFlags[id] = 0;
  }

  /** Carries frames and records until nothing moves. Answers what left by zones, and how often frames were redirected. */
  settle(): { left: { at: number; port: number; frame: Uint8Array }[]; hops: number } {
    const left: { at: number; port: number; frame: Uint8Array }[] = [];
    let hops = 0;
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const world of this.#living()) {
        for (const { port, frame } of world.take()) {
          isMore = true;
          if (port !== PORT_CLUSTER) {
            left.push({ at: world.view.selfId, port, frame });
            continue;
          }
          hops++;
          const to = Number(see(frame).ip!.to.split(".")[3]);
          if (!this.#dead.has(to)) this.world(to).receive(PORT_CLUSTER, frame);
        }
        if (this.#replicate(world)) isMore = true;
      }
    }
    return { left, hops };
  }

  #replicate(world: World): boolean {
    const ring = world.ring!;
    const count = ring.length();
    for (let i = 0; i < count; i++) {
      const record = ring.bytes.slice(ring.at(i), ring.at(i) + RECORD_BYTES);
      const slot = new DataView(record.buffer).getUint16(RECORD_SLOT_AT, true);
      const to = world.view.backup[slot]!;
      if (to !== 0 && !this.#dead.has(to)) this.world(to).engine.applyReplica(record, 0, world.nowMs);
    }
    ring.release(count);
    const self = world.view.selfId;
    this.#applied[self] = this.#applied[self]! + count;
    for (const node of NODES) world.view.ackedSequence[node] = this.#applied[self]!;
    world.engine.acknowledged(world.nowMs);
    world.answerArp();
    return count > 0;
  }

  #living(): World[] {
    return this.worlds.filter(({ view }) => !this.#dead.has(view.selfId));
  }
}

/** Node 1 has a flow with a port of another slot; that slot has moved to node 3, with node 2 as its backup. */
function setUp(): { four: Four; port: number; sport: number; portSlot: number } {
  const four = new Four();
  for (let sport = 1024; sport < 4096; sport++) {
    four.world(1).packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport, dport: 53 }));
    const port = see(four.settle().left[0]!.frame).ip!.sport;
    const portSlot = mix16(TEST_KEY, port) & (SLOTS - 1);
    if (portSlot === FLOW_SLOT) continue;
    // First it becomes the backup, and has a copy; then it is the owner.
    const moving = (owner: number, backup: number) => (slot: number) =>
      slot === portSlot ? { owner, backup } : { owner: 1, backup: 4 };
    four.assign(moving(1, 3));
    four.copy(portSlot);
    four.copy(FLOW_SLOT);
    four.assign(moving(3, 1));
    return { four, port, sport, portSlot };
  }
  throw new Error("no port was borrowed");
}

const reply = (port: number) => udp({ from: SERVER, to: POOL, sport: 53, dport: port });

test.each(NODES)("a reply that arrives at node %i finds its flow at node 1 within two hops", (at) => {
  const { four, port, sport } = setUp();
  four.world(at).packet(PORT_OUTSIDE, reply(port));
  const { left, hops } = four.settle();
  expect(left.map(({ frame }) => see(frame).ip)).toMatchObject([{ to: CLIENT, dport: sport, bodyOk: true }]);
  expect(left[0]!.port).toBe(PORT_INSIDE);
  expect(hops).toBeLessThanOrEqual(2);
});

test("node 2, which has neither flow nor pointer, needs both hops", () => {
  const { four, port } = setUp();
  expect(four.world(3).table.used).toBe(1);
  four.world(2).packet(PORT_OUTSIDE, reply(port));
  const { left, hops } = four.settle();
  expect([hops, left[0]!.at]).toEqual([2, 1]);
});

test("an ICMP error about what was sent from a borrowed port takes the same way", () => {
  const { four, port, sport } = setUp();
  const about = udp({ from: POOL, to: SERVER, sport: port, dport: 53 });
  four.world(2).packet(PORT_OUTSIDE, icmpError({ from: SERVER, to: POOL }, 3, 3, about));
  const { left } = four.settle();
  expect(left.map(({ frame }) => see(frame).ip)).toMatchObject([{ to: CLIENT, icmpType: 3 }]);
  expect(sport).toBeGreaterThan(0);
});

test("when the owner of the port's slot dies, its backup leads replies home", () => {
  const { four, port, sport, portSlot } = setUp();
  four.assign((slot) => (slot === portSlot ? { owner: 3, backup: 2 } : { owner: 1, backup: 4 }));
  four.copy(portSlot);
  four.kill(3);
  four.assign((slot) => (slot === portSlot ? { owner: 2, backup: 4 } : { owner: 1, backup: 4 }));
  four.world(4).packet(PORT_OUTSIDE, reply(port));
  const { left } = four.settle();
  expect(left.map(({ frame }) => see(frame).ip)).toMatchObject([{ to: CLIENT, dport: sport }]);
});

test("when the owner of the flow dies, replies reach the heir of its slot", () => {
  const { four, port, sport, portSlot } = setUp();
  four.kill(1);
  four.assign((slot) => (slot === portSlot ? { owner: 3, backup: 2 } : { owner: 4, backup: 2 }));
  for (const at of [2, 3, 4]) {
    four.world(at).packet(PORT_OUTSIDE, reply(port));
    const { left } = four.settle();
    expect(left.map(({ frame }) => see(frame).ip)).toMatchObject([{ to: CLIENT, dport: sport }]);
    expect(left[0]!.at).toBe(4);
  }
});
