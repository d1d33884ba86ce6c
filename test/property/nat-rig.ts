/**
 * A cluster of engines for properties of NAT: packets arrive anywhere, redirected frames and records go where a real cluster brings
 * them, slots move with their flows, and a node knows nothing of slots that are neither its own nor its backups.
 */
import { RECORD_BYTES, RECORD_SLOT_AT } from "../../src/base/record.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  type PeerAddress,
  SLOT_OWNED,
  SLOT_REMOTE,
  standaloneView,
} from "../../src/dataplane/cluster-view.ts";
import { F_META, F_PORTS, NONE, REPLY_TUPLE, ROW_WORDS } from "../../src/dataplane/flow-layout.ts";
import type { PolicyModel } from "../../src/dataplane/policy-model.ts";
import { DROP_REASONS, VERDICT_DROP_BASE } from "../../src/dataplane/verdict.ts";
import { ip, mac, macText, type SeenIp, see } from "../unit/dataplane/frames.ts";
import { PORT_CLUSTER, World } from "../unit/dataplane/world.ts";

export const SLOTS = 16;
/** What may happen to any frame: chatter of neighbours, and pools that are empty. */
const HARMLESS = new Set(["arp", "neighbour_discovery", "not_for_us", "nat_port_exhausted"]);

export interface Delivered {
  readonly port: number;
  readonly ip: SeenIp;
}

export class Cluster {
  readonly worlds: readonly World[];
  #epoch = 1;

  constructor(policy: PolicyModel, nodes: number, seed: number) {
    this.worlds = Array.from({ length: nodes }, (_, i) => {
      const view = viewOf(i + 1, nodes);
      return new World({ policy, view, ringRecords: 2048, capacity: 1024, seed: seed + i, chunks: 128 });
    });
    for (let slot = 0; slot < SLOTS; slot++) this.#own(slot, slot % nodes, (slot + 1) % nodes);
  }

  /** Sends a packet into a node; what left the cluster for hosts. */
  send(node: number, port: number, packet: Uint8Array): Delivered[] {
    const world = this.worlds[node % this.worlds.length]!;
    world.packet(port, packet);
    return this.settle();
  }

  /** Moves a slot with its flows to another node, and makes a third one its backup. */
  move(slot: number, to: number, backup: number): void {
    const nodes = this.worlds.length;
    const next = to % nodes;
    const second = backup % nodes === next ? (next + 1) % nodes : backup % nodes;
    this.settle();
    this.#epoch++;
    const was = this.worlds.findIndex((world) => world.view.state[slot] === SLOT_OWNED);
    if (was !== next) this.#copy(slot, was, next);
    this.#own(slot, next, second);
    for (const world of this.worlds) world.engine.slotsChanged(world.nowMs);
    this.#copy(slot, next, second);
    this.worlds.forEach((world, i) => {
      if (i !== next && i !== second) forget(world, slot);
    });
    this.settle();
  }

  /** Time passes on all nodes. */
  pass(ms: number, steps: number): void {
    for (let i = 0; i < steps; i++) {
      for (const world of this.worlds) world.tick(ms / steps);
      this.settle();
    }
  }

  /** Frames and records go where they belong until nothing moves; what left for hosts. */
  settle(): Delivered[] {
    const delivered: Delivered[] = [];
    for (let moved = 1; moved > 0; ) {
      moved = 0;
      for (const world of this.worlds) {
        for (const { port, frame } of world.take()) {
          if (port === PORT_CLUSTER) {
            moved++;
            this.#peer(frame).receive(PORT_CLUSTER, frame);
            continue;
          }
          const seen = see(frame).ip;
          if (seen !== undefined && (seen.icmpType < 133 || seen.icmpType > 137))
            delivered.push({ port, ip: seen });
        }
        moved += this.#replicate(world);
      }
    }
    return delivered;
  }

  /** Drops that no packet of a good flow meets, with their counts; empty when all is well. */
  mishaps(): string[] {
    return this.worlds.flatMap((world, i) =>
      DROP_REASONS.flatMap((reason, k) => {
        const drops = world.counters[VERDICT_DROP_BASE + k]!;
        return drops === 0 || HARMLESS.has(reason) ? [] : [`node ${i + 1}: ${drops} ${reason}`];
      }),
    );
  }

  /** Rows that their slots' owners have, with their keys, both tuples in text. */
  tuples(): { readonly protocol: number; readonly original: string; readonly reply: string }[] {
    const all: { protocol: number; original: string; reply: string }[] = [];
    for (const world of this.worlds) {
      for (let slot = 0; slot < SLOTS; slot++) {
        if (world.view.state[slot] !== SLOT_OWNED) continue;
        for (const row of rowsOf(world, slot)) {
          const meta = world.table.words[row * ROW_WORDS + F_META]!;
          all.push({
            protocol: meta & 0xff,
            original: tupleOf(world, row, 0),
            reply: tupleOf(world, row, 1),
          });
        }
      }
    }
    return all;
  }

  #own(slot: number, owner: number, backup: number): void {
    this.worlds.forEach(({ view }, i) => {
      view.epoch = this.#epoch;
      view.owner[slot] = owner + 1;
      view.backup[slot] = backup + 1;
      const isOurs = i === owner;
      if (isOurs && view.state[slot] !== SLOT_OWNED) view.gainedEpoch[slot] = this.#epoch;
      view.state[slot] = isOurs ? SLOT_OWNED : SLOT_REMOTE;
    });
  }

  #copy(slot: number, from: number, to: number): void {
    const world = this.worlds[from]!;
    const target = this.worlds[to]!;
    world.engine.exportSlot(slot);
    while (world.engine.exportStep(64, world.nowMs)) this.#flush(world, target);
    this.#flush(world, target);
  }

  #flush(from: World, to: World): void {
    const ring = from.ring!;
    const length = ring.length();
    for (let i = 0; i < length; i++) {
      const at = ring.at(i);
      to.engine.applyReplica(ring.bytes.slice(at, at + RECORD_BYTES), 0, to.nowMs);
    }
    ring.release(length);
  }

  #replicate(from: World): number {
    const ring = from.ring!;
    const length = ring.length();
    for (let i = 0; i < length; i++) {
      const at = ring.at(i);
      const record = ring.bytes.slice(at, at + RECORD_BYTES);
      const slot = record[RECORD_SLOT_AT]! | (record[RECORD_SLOT_AT + 1]! << 8);
      const to = this.worlds[from.view.backup[slot]! - 1]!;
      to.engine.applyReplica(record, 0, to.nowMs);
    }
    ring.release(length);
    from.view.ackedSequence.fill(from.engine.book.sequence[0]!);
    from.engine.acknowledged(from.nowMs);
    from.answerArp();
    return length;
  }

  #peer(frame: Uint8Array): World {
    const to = macText(frame.subarray(0, 6));
    return this.worlds.find((world) => macText(world.ports[PORT_CLUSTER]!.mac) === to)!;
  }
}

function viewOf(selfId: number, nodes: number): ClusterView {
  const peers: (PeerAddress | undefined)[] = [];
  const view = standaloneView(SLOTS, selfId);
  for (let slot = 0; slot < SLOTS; slot++) view.home[slot] = (slot % nodes) + 1;
  for (let nodeId = 1; nodeId <= nodes; nodeId++) {
    if (nodeId === selfId) continue;
    const zoneMac = [0, 1, 2].map((port) => mac(`02:00:00:00:0${nodeId}:0${port}`));
    peers[nodeId] = { nodeId, clusterIp: ip(`172.16.0.${nodeId}`), clusterMac: zoneMac[2]!, zoneMac };
    view.peerFlags[nodeId] = PEER_ALIVE | PEER_ON_CLUSTER_LINK;
  }
  return { ...view, clusterIp: ip(`172.16.0.${selfId}`), peers };
}

function rowsOf(world: World, slot: number): number[] {
  const rows: number[] = [];
  world.table.startWalk(slot);
  for (let row = world.table.walkAt(); row !== NONE; row = world.table.walkAt()) {
    rows.push(row);
    world.table.walkOn();
  }
  return rows;
}

function forget(world: World, slot: number): void {
  for (const row of rowsOf(world, slot)) world.engine.book.leave(row);
}

function tupleOf(world: World, row: number, tuple: number): string {
  const words = new Int32Array(8);
  world.table.address(row, tuple, 0, words, 0);
  world.table.address(row, tuple, 1, words, 4);
  return `${[...words].join(".")}:${world.table.words[row * ROW_WORDS + tuple * REPLY_TUPLE + F_PORTS]}`;
}
